namespace Dromaius.Jit.Ir;

/// <summary>A field of the CPU state that the IR names as a value.</summary>
/// <param name="Name">For dumps.</param>
/// <param name="Offset">Byte offset in the CPU state; 8 bytes wide.</param>
/// <param name="Pinned">Held in a fixed host register across blocks, where the host has enough of them.</param>
public readonly record struct Global(string Name, int Offset, bool Pinned);

/// <summary>What the engine must know of an architecture's CPU state.</summary>
public sealed class GuestLayout
{
    public required Global[] Globals { get; init; }

    /// <summary>The global that is the stack pointer.</summary>
    public required int StackPointer { get; init; }

    /// <summary>Offset of the 64-bit program counter.</summary>
    public required int PcOffset { get; init; }

    /// <summary>Offset of the 32-bit mode word that, with the address, keys translations.</summary>
    public required int ModeOffset { get; init; }

    /// <summary>Offset of the 64-bit code base that the third part of the key (x86: CS base).</summary>
    public required int CodeBaseOffset { get; init; }

    /// <summary>Offset of the 32-bit FP control and status register in MXCSR's layout; 0 for none.</summary>
    public int FpControlOffset { get; init; }

    /// <summary>The x87 part of the state, if it has one.</summary>
    public X87Layout? X87 { get; init; }

    /// <summary>Offset of the <see cref="EngineState"/>.</summary>
    public required int EngineOffset { get; init; }

    /// <summary>Slow paths of guest memory; needed by units that touch it.</summary>
    public GuestMemoryCallbacks? Memory { get; init; }
}
