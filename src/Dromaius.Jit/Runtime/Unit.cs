using Dromaius.Core.Memory;
using Dromaius.Jit.Interpreter;

namespace Dromaius.Jit;

/// <summary>What identifies a translation: where its bytes are in host memory, at which address and in which mode they run.</summary>
public readonly record struct UnitKey(nint Host, ulong Pc, ulong CodeBase, uint Mode)
{
    /// <summary>Keys differ in their first byte's place nearly always.</summary>
    public override int GetHashCode() => (int)((ulong)Host * 0x9E37_79B9_7F4A_7C15 >> 32) ^ (int)Mode;
}

/// <summary>The guest bytes that a translation was made from.</summary>
/// <param name="Ram">Memory that holds the first byte.</param>
/// <param name="Offset">Its offset there.</param>
/// <param name="Length">Bytes of code.</param>
/// <param name="WatchBefore">Bytes before the first that the translation depends on too (same page).</param>
/// <param name="WatchLength">Bytes from the first on that it depends on: at least <paramref name="Length"/>.</param>
/// <param name="Ram2">Memory that holds the bytes past the page's end, if any.</param>
/// <param name="Offset2">Offset of that page there.</param>
/// <param name="Trace">It is a trace, whose code lies anywhere in what it depends on; it takes the place of its first block.</param>
public readonly record struct CodeExtent(RamBlock Ram, ulong Offset, int Length, int WatchBefore, int WatchLength,
    RamBlock? Ram2, ulong Offset2, bool Trace = false);

/// <summary>A translated piece of guest code.</summary>
public sealed unsafe class Unit
{
    public required UnitKey Key { get; init; }

    /// <summary>Length of the guest code in bytes.</summary>
    public required int Length { get; init; }
    public required RamBlock Ram { get; init; }

    /// <summary>Offset in its block of RAM of the first byte that the translation depends on.</summary>
    public required ulong Offset { get; init; }

    /// <summary>Bytes from <see cref="Offset"/> on that the translation depends on (both pages together).</summary>
    public required int WatchLength { get; init; }

    /// <summary>Where the second page's bytes are, for a unit that runs over a page's end; else null.</summary>
    public RamBlock? Ram2 { get; init; }
    public ulong Offset2 { get; init; }
    public int Length2 { get; init; }

    /// <summary>The unit in the interpreter's form, when that runs it.</summary>
    public InterpretedUnit? Interpreted { get; internal set; }

    /// <summary>Host code.</summary>
    public byte* Code { get; internal set; }
    public int CodeLength { get; internal set; }
    public bool Invalid { get; internal set; }

    /// <summary>Address of the first byte of its code: below the key's for a trace that jumps back.</summary>
    public required ulong First { get; init; }

    /// <summary>Made of several blocks along a path that was taken.</summary>
    public bool IsTrace { get; init; }

    /// <summary>How often it was found running; negative when no trace is to begin here.</summary>
    public int Samples { get; set; }

    /// <summary>Where execution went on from here when a trace was first tried.</summary>
    public ulong[]? Path { get; set; }

    /// <summary>How often a trace was tried.</summary>
    public int Attempts { get; set; }

    /// <summary>Its number in <see cref="Links"/>, its first exit there and how many there are.</summary>
    internal int Number, FirstExit, ExitCount;

    /// <summary>The first exit that leads straight here; the others follow it in <see cref="Links"/>.</summary>
    internal int Incoming;

    internal byte* HostPage2 => Ram2 == null ? null : Ram2.Base + (Offset2 & ~0xFFFUL);
}
