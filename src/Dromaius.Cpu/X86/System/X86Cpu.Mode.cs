using System.Runtime.CompilerServices;

namespace Dromaius.Cpu.X86;

/// <summary>Bits of CR0, CR4 and IA32_EFER (Intel SDM volume 3, sections 2.5 and 2.2.1).</summary>
internal static class Cr
{
    public const ulong Pe = 1, Mp = 2, Em = 4, Ts = 8, Et = 0x10, Ne = 0x20, Wp = 0x10000, Am = 0x40000, Nw = 0x20000000,
        Cd = 0x40000000, Pg = 0x80000000;

    public const ulong Vme = 1, Pvi = 2, Tsd = 4, De = 8, Pse = 0x10, Pae = 0x20, Mce = 0x40, Pge = 0x80, Pce = 0x100,
        OsFxsr = 0x200, OsXmmExcpt = 0x400, Umip = 0x800, La57 = 0x1000, FsGsBase = 0x10000, Pcide = 0x20000,
        OsXsave = 0x40000, Smep = 0x100000, Smap = 0x200000, Pke = 0x400000;

    public const ulong EferSce = 1, EferLme = 0x100, EferLma = 0x400, EferNxe = 0x800, EferSvme = 0x1000, EferFfxsr = 0x4000;
}

public sealed unsafe partial class X86Cpu
{
    private const uint WritableExpandUpMask = 0x9E, WritableExpandUp = 0x92;

    /// <summary>Current privilege level: 0 in real mode, 3 in virtual-8086 mode, else the DPL of SS.</summary>
    public int Cpl => (int)(State->Mode & (uint)Mode.Cpl);

    public bool ProtectedMode => (State->Cr0 & Cr.Pe) != 0;

    public bool VirtualMode => (State->Eflags & Eflags.Vm) != 0;

    /// <summary>IA32_EFER.LMA.</summary>
    public bool LongMode => (State->Efer & Cr.EferLma) != 0;

    /// <summary>In 64-bit code now.</summary>
    public bool Code64 => (State->Mode & (uint)Mode.Code64) != 0;

    /// <summary>A segment register of the state.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Segment* SegmentOf(Seg seg) => &State->Es + (int)seg;

    /// <summary>Derives <see cref="X86State.Mode"/> and <see cref="X86State.CodeBase"/>.</summary>
    public void UpdateMode()
    {
        var s = State;
        var mode = default(Mode);
        var flags = s->Eflags;
        var cpl = 0u;
        var protectedMode = (s->Cr0 & Cr.Pe) != 0;
        var v86 = protectedMode && (flags & Eflags.Vm) != 0;
        if (protectedMode)
        {
            cpl = v86 ? 3 : (uint)s->Ss.Dpl;
            mode |= Mode.Protected | (Mode)cpl;
            if (v86)
                mode |= Mode.V86;
        }

        var longMode = (s->Efer & Cr.EferLma) != 0;
        var code64 = longMode && s->Cs.Long;
        if (longMode)
            mode |= Mode.LongMode;
        if (code64)
            mode |= Mode.Code64 | Mode.FlatData | Mode.FlatCode | Mode.Stack32;
        else
        {
            if (s->Cs.Big)
                mode |= Mode.Code32;
            if (s->Ss.Big)
                mode |= Mode.Stack32;
            if (!v86 && IsFlatData(s->Ds) && IsFlatData(s->Es) && IsFlatData(s->Ss))
                mode |= Mode.FlatData;
            if (s->Cs.Base == 0 && s->Cs.Limit == uint.MaxValue)
                mode |= Mode.FlatCode;
        }

        if (s->InSmm != 0)
            mode |= Mode.Smm;
        if ((flags & Eflags.Tf) != 0)
            mode |= Mode.Trap;
        if (s->Shadow != 0)
            mode |= Mode.InterruptShadow;
        if ((s->Cr0 & Cr.Em) != 0)
            mode |= Mode.Cr0Em;
        if ((s->Cr0 & Cr.Ts) != 0)
            mode |= Mode.Cr0Ts;
        if ((s->Cr0 & Cr.Mp) != 0)
            mode |= Mode.Cr0Mp;
        if ((s->Cr4 & Cr.OsFxsr) != 0)
            mode |= Mode.OsFxsr;
        if ((s->Cr4 & Cr.OsXsave) != 0)
        {
            mode |= Mode.OsXsave;
            if ((s->Xcr0 & 6) == 6 && protectedMode && !v86)
                mode |= Mode.Avx;
        }

        if (cpl == 3 && (flags & Eflags.Ac) != 0 && (s->Cr0 & Cr.Am) != 0)
            mode |= Mode.AlignCheck;
        if (!protectedMode || (!v86 && cpl <= (flags & Eflags.Iopl) >> 12))
            mode |= Mode.IoAllowed;
        mode |= DebugMode(s->Dr[7]);

        // Every instruction clears RF; where no breakpoint could strike it is cleared at once.
        if ((mode & Mode.CodeBreakpoints) == 0)
            s->Eflags &= ~(ulong)Eflags.Rf;
        if ((~s->Mxcsr & 0x1F80) != 0)
            mode |= Mode.SimdExceptions;
        if (cpl != 3 && (s->Cr4 & Cr.Smap) != 0 && (flags & Eflags.Ac) == 0)
            mode |= Mode.Smap;
        if (cpl != 3 && (s->Cr0 & Cr.Pg) != 0)
            mode |= Mode.FpuIgnored;
        s->Mode = (uint)mode;
        FpuState.UpdateMode(s);
        s->JumpGeneration = _jumpGenerations[JumpSide];
        s->CodeBase = code64 ? 0 : s->Cs.Base;
    }

    private static bool IsFlatData(in Segment segment) =>
        segment.Base == 0 && segment.Limit == uint.MaxValue && segment.Unusable == 0
        && (segment.Attributes & WritableExpandUpMask) == WritableExpandUp;

    /// <summary>Which kinds of breakpoints DR7 enables (Intel SDM volume 3, section 18.2.4).</summary>
    private static Mode DebugMode(ulong dr7)
    {
        if ((dr7 & 0xFF) == 0)
            return 0;
        var mode = default(Mode);
        for (var i = 0; i < 4; i++)
        {
            if ((dr7 & (3UL << (2 * i))) != 0)
                mode |= ((dr7 >> (16 + (4 * i))) & 3) == 0 ? Mode.CodeBreakpoints : Mode.DataBreakpoints;
        }

        return mode;
    }
}
