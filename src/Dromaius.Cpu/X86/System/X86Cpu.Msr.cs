using Dromaius.Core.Errors;
using Dromaius.Core.Time;

namespace Dromaius.Cpu.X86;

/// <content>Model-specific registers and the time-stamp counter (Intel SDM volume 4; AMD APM volume 2, appendix A).</content>
public sealed unsafe partial class X86Cpu
{
    private const int MachineCheckBanks = 10;

    /// <summary>IA32_MCG_CAP: ten banks, with MCG_CTL and software error recovery.</summary>
    private const ulong McgCapability = MachineCheckBanks | 0x100 | 0x1000000;

    /// <summary>The time-stamp counter counts nanoseconds of the virtual clock.</summary>
    public const long TscFrequency = Clock.NanosecondsPerSecond;

    private readonly ulong[] _mtrr = new ulong[0x100];
    private readonly ulong[] _machineCheck = new ulong[MachineCheckBanks * 4];
    private ulong _tscAdjust, _mcgStatus, _mcgControl, _debugControl, _specControl, _thermal, _perfControl, _smiCount;

    /// <summary>The guest's time-stamp counter.</summary>
    public ulong Tsc
    {
        get => (ulong)Clock.Now + State->TscOffset;
        private set
        {
            var offset = value - (ulong)Clock.Now;
            _tscAdjust += offset - State->TscOffset;
            State->TscOffset = offset;
        }
    }

    /// <summary>When the guest's time-stamp counter reaches a value, in nanoseconds of the virtual clock.</summary>
    public long TscToNanoseconds(ulong tsc) => (long)(tsc - State->TscOffset);

    internal void ReadTsc()
    {
        CheckTscAccess();
        SetEdxEax(Tsc);
    }

    internal void ReadTscp()
    {
        CheckTscAccess();
        SetEdxEax(Tsc);
        State->Gpr[1] = (uint)State->TscAux;
    }

    private void CheckTscAccess()
    {
        if ((State->Cr4 & Cr.Tsd) != 0 && Cpl != 0)
            throw Gp();
    }

    /// <summary>RDPMC: there are no performance counters.</summary>
    internal void ReadPerformanceCounter() => throw Gp();

    internal void ReadMsrInstruction()
    {
        RequirePrivilege();
        var index = (uint)State->Gpr[1];
        if (!TryReadMsr(index, out var value))
        {
            GuestLog.GuestError("x86", $"RDMSR of register 0x{index:x} refused");
            throw Gp();
        }

        SetEdxEax(value);
    }

    internal void WriteMsrInstruction()
    {
        RequirePrivilege();
        var index = (uint)State->Gpr[1];
        var value = EdxEax;
        if (!TryWriteMsr(index, value))
        {
            GuestLog.GuestError("x86", $"WRMSR of 0x{value:x} to register 0x{index:x} refused");
            throw Gp();
        }
    }

    /// <summary>Reads a model-specific register; false where RDMSR raises #GP.</summary>
    public bool TryReadMsr(uint index, out ulong value)
    {
        ulong? found = index switch
        {
            0x10 => Tsc,
            0x17 => 0,
            0x1B => Apic?.BaseMsr ?? 0xFEE00900,
            0x2A => 0,
            0x34 => _smiCount,
            0x3A => State->FeatureControl,
            0x3B when Model.Has(X86Feature.TscAdjust) => _tscAdjust,
            0x48 when Model.Has(X86Feature.SpecCtrl) => _specControl,
            0x8B => Model.IsAmd ? 0x01000065UL : 0x1_0000_0000,
            0x9E when State->InSmm != 0 => State->SmBase,
            0xCE => 0,
            0xFE when Model.Has(X86Feature.Mtrr) => 0x508,
            0x174 when Model.Has(X86Feature.Sep) => State->SysenterCs,
            0x175 when Model.Has(X86Feature.Sep) => State->SysenterEsp,
            0x176 when Model.Has(X86Feature.Sep) => State->SysenterEip,
            0x179 => McgCapability,
            0x17A => _mcgStatus,
            0x17B => _mcgControl,
            0x198 => 1000 | (4UL << 40),
            0x199 => _perfControl,
            0x19A or 0x19B => _thermal,
            0x19C => 0,
            0x1A0 => State->MiscEnable,
            0x1D9 => _debugControl,
            0x1DB or 0x1DC or 0x1DD or 0x1DE => 0,
            >= 0x200 and < 0x210 or 0x250 or 0x258 or 0x259 or (>= 0x268 and <= 0x26F) or 0x2FF
                when Model.Has(X86Feature.Mtrr) => _mtrr[index - 0x200],
            0x277 when Model.Has(X86Feature.Pat) => State->Pat,
            >= 0x400 and < 0x400 + (MachineCheckBanks * 4) => _machineCheck[index - 0x400],
            0x6E0 when Model.Has(X86Feature.TscDeadline) => Apic?.TscDeadline ?? 0,
            0xDA0 when Model.Has(X86Feature.Xsaves) => State->Xss,
            0xC0000080 when Model.Has(X86Feature.Nx) || Model.Has(X86Feature.Syscall) || Model.Has(X86Feature.Lm) => State->Efer,
            0xC0000081 when Model.Has(X86Feature.Syscall) => State->Star,
            0xC0000082 when Model.Has(X86Feature.Lm) => State->Lstar,
            0xC0000083 when Model.Has(X86Feature.Lm) => State->Cstar,
            0xC0000084 when Model.Has(X86Feature.Syscall) => State->Fmask,
            0xC0000100 when Model.Has(X86Feature.Lm) => State->Fs.Base,
            0xC0000101 when Model.Has(X86Feature.Lm) => State->Gs.Base,
            0xC0000102 when Model.Has(X86Feature.Lm) => State->KernelGsBase,
            0xC0000103 when Model.Has(X86Feature.Rdtscp) || Model.Has(X86Feature.Rdpid) => State->TscAux,

            // System configuration of AMD processors: read as zero, writes have no effect.
            >= 0xC0010000 and <= 0xC0011FFF when Model.IsAmd => 0,
            _ => null,
        };
        if (found is null && index is >= 0x800 and <= 0x8FF && Apic is { } apic && Model.Has(X86Feature.X2Apic))
            return apic.TryReadMsr(index, out value);
        value = found.GetValueOrDefault();
        if (found.HasValue)
            return true;
        if (BelongsToFeature(index))
            return false;
        GuestLog.GuestError("x86", $"RDMSR of unknown register 0x{index:x} gives 0");
        return true;
    }

    /// <summary>
    /// Registers that processors without their feature lack: #GP tells so. Others belong to real processors' inner workings, which
    /// systems read without expecting #GP on a model that has them; they read as zero and take no value.
    /// </summary>
    private static bool BelongsToFeature(uint index) => index is 0x3B or 0x48 or 0x49 or 0x9E or 0xFE or (>= 0x174 and <= 0x176)
        or (>= 0x200 and <= 0x2FF) or 0x6E0 or (>= 0x800 and <= 0x8FF) or 0xDA0 or (>= 0xC0000080 and <= 0xC0000084)
        or (>= 0xC0000100 and <= 0xC0000103);

    /// <summary>Writes a model-specific register; false where WRMSR raises #GP.</summary>
    public bool TryWriteMsr(uint index, ulong value)
    {
        switch (index)
        {
            case 0x10:
                Tsc = value;
                return true;
            case 0x1B:
                return Apic is not { } local || WriteApicBase(local, value);
            case 0x3A:
                State->FeatureControl = value;
                return true;
            case 0x3B when Model.Has(X86Feature.TscAdjust):
                State->TscOffset += value - _tscAdjust;
                _tscAdjust = value;
                return true;
            case 0x48 when Model.Has(X86Feature.SpecCtrl):
                if (value >= 8)
                    return false;
                _specControl = value;
                return true;
            case 0x49 when Model.Has(X86Feature.SpecCtrl) || Model.Has(X86Feature.Ibpb):
            case 0x2A:
            case 0x79:
            case 0x8B:
            case 0x17:
                return true;
            case 0x9E when State->InSmm != 0:
                State->SmBase = value;
                return true;
            case 0x174 when Model.Has(X86Feature.Sep):
                State->SysenterCs = value & 0xFFFF;
                return true;
            case 0x175 when Model.Has(X86Feature.Sep):
                return SetCanonical(ref State->SysenterEsp, value);
            case 0x176 when Model.Has(X86Feature.Sep):
                return SetCanonical(ref State->SysenterEip, value);
            case 0x17A:
                _mcgStatus = value;
                return true;
            case 0x17B:
                if (value is not (0 or ulong.MaxValue))
                    return false;
                _mcgControl = value;
                return true;
            case 0x199:
                _perfControl = value;
                return true;
            case 0x19A or 0x19B:
                _thermal = value;
                return true;
            case 0x19C:
                return true;
            case 0x1A0:
                State->MiscEnable = value;
                return true;
            case 0x1D9:
                if (value >> 16 != 0)
                    return false;
                _debugControl = value & 3;
                return true;
            case >= 0x200 and < 0x210 or 0x250 or 0x258 or 0x259 or (>= 0x268 and <= 0x26F) or 0x2FF
                when Model.Has(X86Feature.Mtrr):
                return WriteMtrr(index, value);
            case 0x277 when Model.Has(X86Feature.Pat):
                return WritePat(value);
            case >= 0x400 and < 0x400 + (MachineCheckBanks * 4):
                // Status registers can only be cleared. Systems leave single bits of control registers out (AMD's bank 4, bit 10).
                if (value != 0 && (index & 3) == 1)
                    return false;
                _machineCheck[index - 0x400] = value;
                return true;
            case 0x6E0 when Model.Has(X86Feature.TscDeadline):
                if (Apic is { } timer)
                    timer.TscDeadline = value;
                return true;
            case >= 0x800 and <= 0x8FF when Model.Has(X86Feature.X2Apic):
                return Apic is { } apic && apic.TryWriteMsr(index, value);
            case 0xDA0 when Model.Has(X86Feature.Xsaves):
                return value == 0; // no supervisor state component exists
            default:
                return TryWriteExtendedMsr(index, value);
        }
    }

    private bool TryWriteExtendedMsr(uint index, ulong value)
    {
        switch (index)
        {
            case 0xC0000080:
                return WriteEfer(value);
            case 0xC0000081 when Model.Has(X86Feature.Syscall):
                State->Star = value;
                return true;
            case 0xC0000082 when Model.Has(X86Feature.Lm):
                return SetCanonical(ref State->Lstar, value);
            case 0xC0000083 when Model.Has(X86Feature.Lm):
                return SetCanonical(ref State->Cstar, value);
            case 0xC0000084 when Model.Has(X86Feature.Syscall):
                State->Fmask = (uint)value;
                return true;
            case 0xC0000100 when Model.Has(X86Feature.Lm):
                return SetCanonical(ref State->Fs.Base, value);
            case 0xC0000101 when Model.Has(X86Feature.Lm):
                return SetCanonical(ref State->Gs.Base, value);
            case 0xC0000102 when Model.Has(X86Feature.Lm):
                return SetCanonical(ref State->KernelGsBase, value);
            case 0xC0000103 when Model.Has(X86Feature.Rdtscp) || Model.Has(X86Feature.Rdpid):
                if (value >> 32 != 0)
                    return false;
                State->TscAux = value;
                return true;
            case >= 0xC0010000 and <= 0xC0011FFF when Model.IsAmd:
                return true;
            default:
                if (BelongsToFeature(index))
                    return false;
                GuestLog.GuestError("x86", $"WRMSR of 0x{value:x} to unknown register 0x{index:x} dropped");
                return true;
        }
    }

    private static bool SetCanonical(ref ulong register, ulong value)
    {
        if (!IsCanonical(value))
            return false;
        register = value;
        return true;
    }

    private bool WriteApicBase(Dromaius.Core.Cpus.ILocalApic apic, ulong value)
    {
        // EXTD (bit 10) exists with x2APIC only; bits 7:0 and 9 are reserved.
        if ((value & 0x2FF & ~0x100UL) != 0 || value >> Model.PhysicalBits != 0
            || ((value & 0x400) != 0 && !Model.Has(X86Feature.X2Apic)))
            return false;
        return apic.TrySetBaseMsr(value);
    }

    private bool WriteEfer(ulong value)
    {
        var allowed = Cr.EferLma;
        allowed |= Model.Has(X86Feature.Syscall) ? Cr.EferSce : 0;
        allowed |= Model.Has(X86Feature.Lm) ? Cr.EferLme : 0;
        allowed |= Model.Has(X86Feature.Nx) ? Cr.EferNxe : 0;
        allowed |= Model.Has(X86Feature.FxsrOpt) ? Cr.EferFfxsr : 0;
        if (allowed == Cr.EferLma || (value & ~allowed) != 0)
            return false;
        var changed = State->Efer ^ value;
        if ((changed & Cr.EferLme) != 0 && (State->Cr0 & Cr.Pg) != 0)
            return false;
        State->Efer = (value & ~Cr.EferLma) | (State->Efer & Cr.EferLma);
        if ((changed & Cr.EferNxe) != 0)
            FlushTlb(true);
        UpdateMode();
        return true;
    }

    private bool WritePat(ulong value)
    {
        for (var i = 0; i < 64; i += 8)
        {
            if ((value >> i & 0xFF) is 2 or 3 or > 7)
                return false;
        }

        State->Pat = value;
        return true;
    }

    private bool WriteMtrr(uint index, ulong value)
    {
        var valid = index switch
        {
            0x2FF => (value & ~0xCFFUL) == 0 && IsMemoryType(value),
            < 0x210 when (index & 1) == 0 => (value & 0xF00) == 0 && value >> Model.PhysicalBits == 0 && IsMemoryType(value),
            < 0x210 => (value & 0x7FF) == 0 && value >> Model.PhysicalBits == 0,
            // AMD's have RdDram and WrDram beside the type (AMD64 manual volume 2, section 7.9).
            _ => AreMemoryTypes(Model.IsAmd ? value & ~0x1818_1818_1818_1818UL : value),
        };
        if (valid)
            _mtrr[index - 0x200] = value;
        return valid;
    }

    private static bool IsMemoryType(ulong value) => (value & 0xFF) is 0 or 1 or 4 or 5 or 6;

    private static bool AreMemoryTypes(ulong value)
    {
        for (var i = 0; i < 64; i += 8)
        {
            if (!IsMemoryType(value >> i))
                return false;
        }

        return true;
    }
}
