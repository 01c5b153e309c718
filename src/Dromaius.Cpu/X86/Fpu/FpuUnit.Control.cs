using static Dromaius.Cpu.X86.FpuState;

namespace Dromaius.Cpu.X86;

/// <remarks>
/// This file: FLDENV, FSTENV, FSAVE, FRSTOR (Intel SDM volume 1, section 8.1.10, figures 8-9 to 8-12).
/// </remarks>
internal static unsafe partial class FpuUnit
{
    private const int RegisterBytes = 10;

    /// <summary>Whether the environment has the protected-mode layout, and 32-bit fields.</summary>
    internal readonly record struct EnvironmentFormat(bool Protected, bool Wide)
    {
        public int Size => Wide ? 28 : 14;
    }

    public static void StoreEnvironment(X86Cpu cpu, ulong address, EnvironmentFormat format)
    {
        var s = cpu.State;
        var to = new LinearRange(address, cpu.Code64);
        ProbeRange(cpu, to, format.Size);
        PutEnvironment(cpu, to, format);
        s->FpControl |= 0x3F;
        UpdateSummary(s);
    }

    public static void LoadEnvironment(X86Cpu cpu, ulong address, EnvironmentFormat format)
    {
        var words = stackalloc uint[7];
        GetEnvironment(cpu, new LinearRange(address, cpu.Code64), format, words);
        SetEnvironment(cpu.State, format, words);
    }

    public static void Save(X86Cpu cpu, ulong address, EnvironmentFormat format)
    {
        var s = cpu.State;
        var to = new LinearRange(address, cpu.Code64);
        ProbeRange(cpu, to, format.Size + 8 * RegisterBytes);
        PutEnvironment(cpu, to, format);
        for (var i = 0; i < 8; i++)
        {
            var r = *Register(s, i);
            cpu.Store(to[format.Size + i * RegisterBytes], 8, r.Significand, Privilege.Current);
            cpu.Store(to[format.Size + i * RegisterBytes + 8], 2, r.SignExponent, Privilege.Current);
        }

        Initialize(s);
    }

    public static void Restore(X86Cpu cpu, ulong address, EnvironmentFormat format)
    {
        var s = cpu.State;
        var from = new LinearRange(address, cpu.Code64);
        var words = stackalloc uint[7];
        GetEnvironment(cpu, from, format, words);
        var registers = stackalloc Float80[8];
        for (var i = 0; i < 8; i++)
        {
            var significand = cpu.Load(from[format.Size + i * RegisterBytes], 8, Privilege.Current);
            var high = cpu.Load(from[format.Size + i * RegisterBytes + 8], 2, Privilege.Current);
            registers[i] = new Float80((ushort)high, significand);
        }

        SetEnvironment(s, format, words);
        for (var i = 0; i < 8; i++)
            *Register(s, i) = registers[i];
    }

    private static void PutEnvironment(X86Cpu cpu, LinearRange to, EnvironmentFormat format)
    {
        var s = cpu.State;
        var words = stackalloc uint[7];
        words[0] = s->FpControl;
        words[1] = StatusWord(s);
        words[2] = TagWord(s);
        if (format.Protected)
        {
            words[3] = (uint)s->FpIp;
            words[4] = s->FpCodeSelector | (uint)s->FpOpcode << 16;
            words[5] = (uint)s->FpDp;
            words[6] = s->FpDataSelector;
        }
        else
        {
            var code = (uint)s->FpIp + ((uint)s->FpCodeSelector << 4);
            var data = (uint)s->FpDp + ((uint)s->FpDataSelector << 4);
            words[3] = code & 0xFFFF;
            words[4] = format.Wide ? code >> 16 << 12 | s->FpOpcode : code >> 4 & 0xF000 | s->FpOpcode;
            words[5] = data & 0xFFFF;
            words[6] = format.Wide ? data >> 16 << 12 : data >> 4 & 0xF000;
        }

        for (var i = 0; i < 7; i++)
        {
            // The halves that nothing defines read as ones in the 32-bit layouts.
            var reserved = i < 3 || i == 6 && format.Protected || !format.Protected && i is 3 or 5 ? 0xFFFF0000 : 0;
            if (format.Wide)
                cpu.Store(to[4 * i], 4, words[i] | reserved, Privilege.Current);
            else
                cpu.Store(to[2 * i], 2, (ushort)words[i], Privilege.Current);
        }
    }

    private static void GetEnvironment(X86Cpu cpu, LinearRange from, EnvironmentFormat format, uint* words)
    {
        for (var i = 0; i < 7; i++)
        {
            words[i] = format.Wide
                ? (uint)cpu.Load(from[4 * i], 4, Privilege.Current)
                : (uint)cpu.Load(from[2 * i], 2, Privilege.Current);
        }
    }

    private static void SetEnvironment(X86State* s, EnvironmentFormat format, uint* words)
    {
        SetStatusWord(s, (ushort)words[1]);
        SetTagWord(s, (ushort)words[2]);
        SetControlWord(s, (ushort)words[0]);
        if (format.Protected)
        {
            s->FpIp = format.Wide ? words[3] : (ushort)words[3];
            s->FpCodeSelector = (ushort)words[4];
            s->FpOpcode = format.Wide ? (ushort)(words[4] >> 16 & 0x7FF) : (ushort)0;
            s->FpDp = format.Wide ? words[5] : (ushort)words[5];
            s->FpDataSelector = (ushort)words[6];
            return;
        }

        s->FpIp = (ushort)words[3] | (format.Wide ? words[4] >> 12 << 16 : (words[4] & 0xF000) << 4);
        s->FpDp = (ushort)words[5] | (format.Wide ? words[6] >> 12 << 16 : (words[6] & 0xF000) << 4);
        s->FpOpcode = (ushort)(words[4] & 0x7FF);
        s->FpCodeSelector = s->FpDataSelector = 0;
    }

    /// <summary>Both ends: a range of at most a page's length faults on one of them or not at all.</summary>
    internal static void ProbeRange(X86Cpu cpu, LinearRange range, int size)
    {
        cpu.Probe(range[0], 1, AccessKind.Write, Privilege.Current);
        cpu.Probe(range[size - 1], 1, AccessKind.Write, Privilege.Current);
    }
}
