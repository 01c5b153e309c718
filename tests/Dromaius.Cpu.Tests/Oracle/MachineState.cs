using System.Globalization;
using System.Text;

namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>What an instruction of user code can see and change, in a form that the host and the emulator share.</summary>
internal sealed class MachineState
{
    /// <summary>The memory operands lie here; the same address on the host and in the guest.</summary>
    public const ulong ArenaBase = 0x1000_0000;
    public const int ArenaSize = 0x4000;

    /// <summary>Where the instruction lies, and the places it may branch to.</summary>
    public const ulong CodeBase = 0x2000_1000;

    /// <summary>Where a sequence of instructions lies.</summary>
    public const ulong SequenceBase = CodeBase + 0x200;
    public const int PadDistance = 64, PadSize = 16, PadCount = 4;
    public const int NoTrap = -1;

    private const ulong ComparedFlags = 0xCD5;

    /// <summary>64: long mode. 32: flat compatibility mode. 16: compatibility mode with 16-bit segments that have bases and limits.</summary>
    public int Bits = 64;
    public readonly ulong[] Gpr = new ulong[16];
    public ulong Rflags;
    public ulong Rip;
    public readonly byte[] Ymm = new byte[16 * 32];
    public uint Mxcsr;
    public ushort FpControl, FpStatus;

    /// <summary>One bit a physical register, set when it holds something.</summary>
    public byte FpTags;

    /// <summary>ST(0) to ST(7), 10 bytes each.</summary>
    public readonly byte[] Fp = new byte[80];
    public readonly byte[] Memory = new byte[ArenaSize];
    public int Trap = NoTrap;

    /// <summary>Base of CS.</summary>
    public ulong CodeSegment => Bits == 16 ? CodeBase & ~0xFFFUL & ~0x1000UL : 0;

    /// <summary>Base of DS, ES and SS.</summary>
    public ulong DataSegment => Bits == 16 ? ArenaBase : 0;

    public static ulong Pad(int n) => CodeBase + PadDistance + (ulong)(n * PadSize);

    /// <summary>Drops what code of this width cannot see.</summary>
    public void Narrow()
    {
        if (Bits == 64)
            return;
        for (var i = 0; i < 16; i++)
            Gpr[i] = i < 8 ? (uint)Gpr[i] : 0;
    }

    public void CopyTo(MachineState other)
    {
        Gpr.CopyTo(other.Gpr, 0);
        Ymm.CopyTo(other.Ymm, 0);
        Fp.CopyTo(other.Fp, 0);
        Memory.CopyTo(other.Memory, 0);
        other.Bits = Bits;
        (other.Rflags, other.Rip, other.Mxcsr, other.Trap) = (Rflags, Rip, Mxcsr, Trap);
        (other.FpControl, other.FpStatus, other.FpTags) = (FpControl, FpStatus, FpTags);
    }

    /// <summary>What differs, or null. Flags in <paramref name="undefined"/> are not looked at.</summary>
    public static string? Difference(MachineState before, MachineState expected, MachineState actual, ulong undefined)
    {
        var text = new StringBuilder();
        if (expected.Trap != actual.Trap)
            text.Append(CultureInfo.InvariantCulture, $"  trap {actual.Trap} instead of {expected.Trap}\n");
        if (expected.Rip != actual.Rip)
            text.Append(CultureInfo.InvariantCulture, $"  rip {actual.Rip:x} instead of {expected.Rip:x}\n");
        for (var i = 0; i < 16; i++)
        {
            if (expected.Gpr[i] != actual.Gpr[i])
                Line(text, Names[i], before.Gpr[i], expected.Gpr[i], actual.Gpr[i]);
        }

        var mask = ComparedFlags & ~(expected.Trap == NoTrap ? undefined : 0);
        if (((expected.Rflags ^ actual.Rflags) & mask) != 0)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"  flags {Flags(actual.Rflags)} instead of {Flags(expected.Rflags)} (before: {Flags(before.Rflags)}, undefined: {Flags(undefined)})\n");
        }

        if (expected.Mxcsr != actual.Mxcsr)
            Line(text, "mxcsr", before.Mxcsr, expected.Mxcsr, actual.Mxcsr);
        if (expected.FpControl != actual.FpControl)
            Line(text, "fcw", before.FpControl, expected.FpControl, actual.FpControl);
        if (expected.FpStatus != actual.FpStatus)
            Line(text, "fsw", before.FpStatus, expected.FpStatus, actual.FpStatus);
        if (expected.FpTags != actual.FpTags)
            Line(text, "ftw", before.FpTags, expected.FpTags, actual.FpTags);
        Bytes(text, "ymm", 32, before.Ymm, expected.Ymm, actual.Ymm);
        Bytes(text, "st", 10, before.Fp, expected.Fp, actual.Fp);
        Bytes(text, "memory+0x", 16, before.Memory, expected.Memory, actual.Memory);
        return text.Length == 0 ? null : text.ToString();
    }

    public string Describe()
    {
        var text = new StringBuilder("  before:");
        for (var i = 0; i < 16; i++)
            text.Append(CultureInfo.InvariantCulture, $" {Names[i]}={Gpr[i]:x}");
        text.Append(CultureInfo.InvariantCulture,
            $" flags={Flags(Rflags)} mxcsr={Mxcsr:x} fcw={FpControl:x} fsw={FpStatus:x} ftw={FpTags:x}\n");
        return text.ToString();
    }

    public static string Hex(ReadOnlySpan<byte> littleEndian)
    {
        var text = new StringBuilder();
        for (var i = littleEndian.Length - 1; i >= 0; i--)
        {
            text.Append(CultureInfo.InvariantCulture, $"{littleEndian[i]:x2}");
            if (i % 8 == 0 && i != 0)
                text.Append('_');
        }

        return text.ToString();
    }

    private static readonly string[] Names =
    [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ];

    private static string Flags(ulong value)
    {
        var text = new StringBuilder();
        foreach (var (bit, name) in ((int, char)[])[(11, 'o'), (10, 'd'), (7, 's'), (6, 'z'), (4, 'a'), (2, 'p'), (0, 'c')])
            text.Append((value >> bit & 1) != 0 ? char.ToUpperInvariant(name) : '-');
        return text.ToString();
    }

    private static void Line(StringBuilder text, string name, ulong before, ulong expected, ulong actual) =>
        text.Append(CultureInfo.InvariantCulture, $"  {name} {actual:x} instead of {expected:x} (before: {before:x})\n");

    private static void Bytes(StringBuilder text, string name, int size, byte[] before, byte[] expected, byte[] actual)
    {
        for (var i = 0; i < expected.Length; i += size)
        {
            var e = expected.AsSpan(i, size);
            var a = actual.AsSpan(i, size);
            if (e.SequenceEqual(a))
                continue;
            var index = name.EndsWith("0x", StringComparison.Ordinal)
                ? i.ToString("x", CultureInfo.InvariantCulture)
                : (i / size).ToString(CultureInfo.InvariantCulture);
            text.Append(CultureInfo.InvariantCulture,
                $"  {name}{index} {Hex(a)}\n    instead of {Hex(e)}\n    (before:   {Hex(before.AsSpan(i, size))})\n");
        }
    }
}
