using static Dromaius.Cpu.X86.FpuState;

namespace Dromaius.Cpu.X86;

/// <summary>
/// FXSAVE, FXRSTOR and the XSAVE family (Intel SDM volume 1, section 10.5 and chapter 13) for the components x87, SSE, AVX and PKRU.
/// </summary>
internal static unsafe class XState
{
    public const ulong X87 = 1, Sse = 2, Avx = 4, Pkru = 0x200;

    /// <summary>Where components lie in the standard form, as CPUID 0xD says.</summary>
    public const int AvxOffset = 576, AvxSize = 256, PkruOffset = 2688, PkruSize = 8;

    public const uint InitialMxcsr = 0x1F80;
    private const int MxcsrOffset = 24, RegistersOffset = 32, XmmOffset = 160, HeaderOffset = 512;
    private const int LegacySize = 512;
    private const ulong Compacted = 1ul << 63;

    /// <summary>Bytes that an area with some components takes.</summary>
    public static int Size(ulong components, bool compact)
    {
        if ((components & Pkru) != 0)
            return PkruOffsetIn(components, compact) + PkruSize;
        return (components & Avx) != 0 ? AvxOffset + AvxSize : AvxOffset;
    }

    private static int PkruOffsetIn(ulong components, bool compact) =>
        !compact ? PkruOffset : (components & Avx) != 0 ? AvxOffset + AvxSize : AvxOffset;

    public static void FxSave(X86Cpu cpu, ulong address, bool wide)
    {
        RequireAlignment(address, 16);
        var to = new LinearRange(address, cpu.Code64);
        FpuUnit.ProbeRange(cpu, to, LegacySize);
        SaveX87(cpu, to, wide);
        SaveMxcsr(cpu, to);
        if (!FastSave(cpu))
            SaveXmm(cpu, to);
    }

    public static void FxRestore(X86Cpu cpu, ulong address, bool wide)
    {
        RequireAlignment(address, 16);
        var from = new LinearRange(address, cpu.Code64);
        ProbeRead(cpu, from, LegacySize);
        var mxcsr = CheckedMxcsr(cpu, from);
        RestoreX87(cpu, from, wide);
        cpu.State->Mxcsr = mxcsr;
        if (!FastSave(cpu))
            RestoreXmm(cpu, from);
        cpu.UpdateMode();
    }

    /// <summary>IA32_EFER.FFXSR leaves the XMM registers out in 64-bit code at CPL 0.</summary>
    private static bool FastSave(X86Cpu cpu) =>
        (cpu.State->Efer & Cr.EferFfxsr) != 0 && cpu.Code64 && cpu.Cpl == 0;

    /// <param name="compact">XSAVEC, XSAVES.</param>
    /// <param name="optimize">Components in their initial state are not written.</param>
    public static void Save(X86Cpu cpu, ulong address, ulong requested, bool wide, bool compact, bool optimize)
    {
        RequireAlignment(address, 64);
        var s = cpu.State;
        var components = requested & s->Xcr0;
        var to = new LinearRange(address, cpu.Code64);
        FpuUnit.ProbeRange(cpu, to, Size(components, compact));
        var inUse = InUse(s) & components;
        var written = compact || optimize ? inUse : components;
        if ((written & X87) != 0)
            SaveX87(cpu, to, wide);
        if ((components & (Sse | Avx)) != 0 && (!compact || (inUse & Sse) != 0))
            SaveMxcsr(cpu, to);
        if ((written & Sse) != 0)
            SaveXmm(cpu, to);
        if ((written & Avx) != 0)
            SaveUpper(cpu, to);
        if ((written & Pkru) != 0)
            Put(cpu, to, PkruOffsetIn(components, compact), (uint)s->Pkru);
        if (compact)
        {
            Put(cpu, to, HeaderOffset, inUse);
            Put(cpu, to, HeaderOffset + 8, components | Compacted);
            return;
        }

        var old = Get(cpu, to, HeaderOffset);
        Put(cpu, to, HeaderOffset, (old & ~components) | inUse);
    }

    /// <param name="supervisor">XRSTORS: the compacted form only.</param>
    public static void Restore(X86Cpu cpu, ulong address, ulong requested, bool wide, bool supervisor)
    {
        RequireAlignment(address, 64);
        var s = cpu.State;
        var components = requested & s->Xcr0;
        var from = new LinearRange(address, cpu.Code64);
        ProbeRead(cpu, from, AvxOffset);
        var present = Get(cpu, from, HeaderOffset);
        var layout = Get(cpu, from, HeaderOffset + 8);
        var compact = (layout & Compacted) != 0;
        var valid = (supervisor || compact)
            ? compact && (layout & ~Compacted & ~s->Xcr0) == 0 && (present & ~layout) == 0
            : (present & ~s->Xcr0) == 0 && layout == 0;
        for (var at = 16; at < (compact ? 64 : 24); at += 8)
            valid &= Get(cpu, from, HeaderOffset + at) == 0;
        if (!valid)
            throw GuestFaultException.GeneralProtection();
        var load = components & present;
        var pkru = 0u;
        if ((load & Avx) != 0)
            ProbeRead(cpu, from, AvxOffset + AvxSize);
        if ((load & Pkru) != 0)
            pkru = (uint)Get(cpu, from, PkruOffsetIn(layout, compact));
        // In the standard form MXCSR comes with either vector component, even one that is initialized.
        var mxcsrLoaded = compact ? (load & Sse) != 0 : (components & (Sse | Avx)) != 0;
        var mxcsr = mxcsrLoaded ? CheckedMxcsr(cpu, from) : (components & Sse) != 0 ? InitialMxcsr : s->Mxcsr;
        if ((load & X87) != 0)
            RestoreX87(cpu, from, wide);
        else if ((components & X87) != 0)
            InitializeX87(s);
        if ((load & Sse) != 0)
            RestoreXmm(cpu, from);
        else if ((components & Sse) != 0)
            ClearVectors(s, 0);
        if ((load & Avx) != 0)
            RestoreUpper(cpu, from);
        else if ((components & Avx) != 0)
            ClearVectors(s, 2);
        if ((components & Pkru) != 0)
            cpu.SetPkru(pkru);
        s->Mxcsr = mxcsr;
        cpu.UpdateMode();
    }

    /// <summary>Components that differ from their initial state (XINUSE).</summary>
    public static ulong InUse(X86State* s)
    {
        ulong bits = 0;
        if (s->FpControl != InitialControl || s->FpStatus != 0 || s->FpTop != 0 || s->FpEmpty != 0xFF
            || s->FpIp != 0 || s->FpDp != 0 || s->FpOpcode != 0 || AnyRegister(s))
            bits |= X87;
        if (s->Mxcsr != InitialMxcsr || AnyVector(s, 0))
            bits |= Sse;
        if (AnyVector(s, 2))
            bits |= Avx;
        if (s->Pkru != 0)
            bits |= Pkru;
        return bits;
    }

    private static bool AnyRegister(X86State* s)
    {
        for (var i = 0; i < 8; i++)
        {
            var r = ((Float80*)s->FpRegs)[i];
            if (r.Significand != 0 || r.SignExponent != 0)
                return true;
        }

        return false;
    }

    /// <summary>Looks at the lower (0) or upper (2) quadwords of the YMM registers.</summary>
    private static bool AnyVector(X86State* s, int half)
    {
        for (var i = 0; i < 16; i++)
        {
            if ((s->Ymm[4 * i + half] | s->Ymm[4 * i + half + 1]) != 0)
                return true;
        }

        return false;
    }

    private static void ClearVectors(X86State* s, int half)
    {
        for (var i = 0; i < 16; i++)
            s->Ymm[4 * i + half] = s->Ymm[4 * i + half + 1] = 0;
    }

    private static void InitializeX87(X86State* s)
    {
        Initialize(s);
        new Span<ulong>(s->FpRegs, 16).Clear();
    }

    private static void SaveX87(X86Cpu cpu, LinearRange to, bool wide)
    {
        var s = cpu.State;
        Put(cpu, to, 0, s->FpControl | (ulong)StatusWord(s) << 16 | (ulong)(byte)~s->FpEmpty << 32 | (ulong)s->FpOpcode << 48);
        Put(cpu, to, 8, wide ? s->FpIp : (uint)s->FpIp | (ulong)s->FpCodeSelector << 32);
        Put(cpu, to, 16, wide ? s->FpDp : (uint)s->FpDp | (ulong)s->FpDataSelector << 32);
        for (var i = 0; i < 8; i++)
        {
            var r = *Register(s, i);
            Put(cpu, to, RegistersOffset + 16 * i, r.Significand);
            Put(cpu, to, RegistersOffset + 16 * i + 8, r.SignExponent);
        }
    }

    private static void RestoreX87(X86Cpu cpu, LinearRange from, bool wide)
    {
        var s = cpu.State;
        var words = Get(cpu, from, 0);
        var ip = Get(cpu, from, 8);
        var dp = Get(cpu, from, 16);
        SetStatusWord(s, (ushort)(words >> 16));
        s->FpEmpty = (byte)~(words >> 32);
        s->FpOpcode = (ushort)(words >> 48 & 0x7FF);
        SetControlWord(s, (ushort)words);
        s->FpIp = wide ? ip : (uint)ip;
        s->FpDp = wide ? dp : (uint)dp;
        s->FpCodeSelector = wide ? (ushort)0 : (ushort)(ip >> 32);
        s->FpDataSelector = wide ? (ushort)0 : (ushort)(dp >> 32);
        for (var i = 0; i < 8; i++)
        {
            var significand = Get(cpu, from, RegistersOffset + 16 * i);
            var high = Get(cpu, from, RegistersOffset + 16 * i + 8);
            *Register(s, i) = new Float80((ushort)high, significand);
        }
    }

    private static void SaveMxcsr(X86Cpu cpu, LinearRange to) =>
        Put(cpu, to, MxcsrOffset, cpu.State->Mxcsr | (ulong)VectorHelpers.MxcsrMask << 32);

    private static uint CheckedMxcsr(X86Cpu cpu, LinearRange from)
    {
        var mxcsr = (uint)Get(cpu, from, MxcsrOffset);
        if ((mxcsr & ~(uint)VectorHelpers.MxcsrMask) != 0)
            throw GuestFaultException.GeneralProtection();
        return mxcsr;
    }

    private static int VectorCount(X86Cpu cpu) => cpu.Code64 ? 16 : 8;

    private static void SaveXmm(X86Cpu cpu, LinearRange to) => SaveHalves(cpu, to, XmmOffset, 0);

    private static void SaveUpper(X86Cpu cpu, LinearRange to) => SaveHalves(cpu, to, AvxOffset, 2);

    private static void RestoreXmm(X86Cpu cpu, LinearRange from) => RestoreHalves(cpu, from, XmmOffset, 0);

    private static void RestoreUpper(X86Cpu cpu, LinearRange from) => RestoreHalves(cpu, from, AvxOffset, 2);

    private static void SaveHalves(X86Cpu cpu, LinearRange to, int offset, int half)
    {
        for (var i = 0; i < VectorCount(cpu); i++)
        {
            Put(cpu, to, offset + 16 * i, cpu.State->Ymm[4 * i + half]);
            Put(cpu, to, offset + 16 * i + 8, cpu.State->Ymm[4 * i + half + 1]);
        }
    }

    private static void RestoreHalves(X86Cpu cpu, LinearRange from, int offset, int half)
    {
        for (var i = 0; i < VectorCount(cpu); i++)
        {
            cpu.State->Ymm[4 * i + half] = Get(cpu, from, offset + 16 * i);
            cpu.State->Ymm[4 * i + half + 1] = Get(cpu, from, offset + 16 * i + 8);
        }
    }

    private static void RequireAlignment(ulong address, ulong alignment)
    {
        if ((address & alignment - 1) != 0)
            throw GuestFaultException.GeneralProtection();
    }

    private static void ProbeRead(X86Cpu cpu, LinearRange range, int size)
    {
        cpu.Probe(range[0], 1, AccessKind.Read, Privilege.Current);
        cpu.Probe(range[size - 1], 1, AccessKind.Read, Privilege.Current);
    }

    private static ulong Get(X86Cpu cpu, LinearRange from, int offset) => cpu.Load(from[offset], 8, Privilege.Current);

    private static void Put(X86Cpu cpu, LinearRange to, int offset, ulong value) =>
        cpu.Store(to[offset], 8, value, Privilege.Current);
}
