using Dromaius.Core.Errors;

namespace Dromaius.Cpu.X86;

/// <content>Reset, INIT and start-up (Intel SDM volume 3, section 9.1, table 9-1, and section 8.4).</content>
public sealed unsafe partial class X86Cpu
{
    private const ulong ApicBaseBsp = 0x100;

    /// <summary>The bootstrap processor: its local APIC says so; without one, processor 0.</summary>
    public bool IsBootstrap => Apic is { } apic ? (apic.BaseMsr & ApicBaseBsp) != 0 : Index == 0;

    /// <summary>Power-on or RESET#. To be called by the vCPU's thread, or before it runs.</summary>
    public void Reset()
    {
        LogReset();
        Apic?.Reset(false);
        var s = State;
        s->Xcr0 = 1;
        s->Efer = s->Star = s->Lstar = s->Cstar = s->Fmask = s->KernelGsBase = 0;
        s->SysenterCs = s->SysenterEsp = s->SysenterEip = 0;
        s->Pat = 0x0007_0406_0007_0406;
        s->TscAux = s->FeatureControl = s->Pkru = s->Xss = 0;
        s->MiscEnable = 1;
        s->SmBase = 0x30000;
        s->InSmm = 0;

        // The counters of all processors keep in step: each is the virtual clock.
        s->TscOffset = 0;
        _tscAdjust = 0;
        _mcgStatus = _debugControl = _specControl = _thermal = _perfControl = _smiCount = 0;
        _mcgControl = ulong.MaxValue;
        Array.Clear(_mtrr);
        Array.Clear(_machineCheck);
        for (var i = 0; i < MachineCheckBanks; i++)
            _machineCheck[i * 4] = ulong.MaxValue;
        for (var i = 0; i < 16; i++)
            s->FpRegs[i] = 0;
        for (var i = 0; i < 64; i++)
            s->Ymm[i] = 0;
        s->FpTop = 0;
        s->FpControl = 0x40;
        s->FpStatus = 0;
        s->FpEmpty = 0;
        s->FpOpcode = s->FpCodeSelector = s->FpDataSelector = 0;
        s->FpIp = s->FpDp = 0;
        s->Mxcsr = 0x1F80;
        s->Cr0 = Cr.Cd | Cr.Nw | Cr.Et;
        ResetCommon();
    }

    /// <summary>INIT: as RESET, but caches' control bits, FPU, MSRs and SMBASE stay.</summary>
    private void Initialize()
    {
        LogReset();
        Apic?.Reset(true);
        State->Cr0 = (State->Cr0 & (Cr.Cd | Cr.Nw)) | Cr.Et;
        State->Efer = 0;
        ResetCommon();
    }

    private void ResetCommon()
    {
        var s = State;
        for (var i = 0; i < 16; i++)
            s->Gpr[i] = 0;
        s->Gpr[2] = Model.Signature;
        SetEflagsRaw(Eflags.Fixed);
        s->CcDst = s->CcSrc2 = 0;
        s->Cr2 = s->Cr3 = s->Cr4 = s->Cr8 = 0;
        for (var seg = Seg.Es; seg <= Seg.Gs; seg++)
            *SegmentOf(seg) = new Segment { Limit = 0xFFFF, Attributes = 0x93 };
        s->Cs = new Segment { Base = 0xFFFF0000, Limit = 0xFFFF, Attributes = 0x9B, Selector = 0xF000 };
        s->Ldt = new Segment { Limit = 0xFFFF, Attributes = 0x82 };
        s->Tr = new Segment { Limit = 0xFFFF, Attributes = 0x8B };
        s->Gdt = s->Idt = new DescriptorTable { Limit = 0xFFFF };
        s->Rip = 0xFFF0;
        for (var i = 0; i < 4; i++)
            s->Dr[i] = 0;
        s->Dr[6] = Dr6Fixed;
        s->Dr[7] = Dr7Fixed;
        s->Shadow = s->NmiBlocked = 0;
        s->Delivering = -1;
        _ext = 0;
        _dataBreakpointsHit = 0;
        Array.Clear(_pdptes);
        _shutDown = false;
        _waitingForStartUp = !IsBootstrap;
        s->Halted = _waitingForStartUp ? 1u : 0;
        FlushTlb(true);
        UpdateMode();
    }

    /// <summary>A start-up IPI: real mode at vector * 4096.</summary>
    private void Start(int vector)
    {
        _waitingForStartUp = false;
        State->Cs.Selector = (ushort)(vector << 8);
        State->Cs.Base = (uint)vector << 12;
        State->Rip = 0;
        State->Halted = 0;
        UpdateMode();
    }

    private void LogReset()
    {
        if (!GuestLog.Has(LogItems.CpuReset))
            return;
        var text = new StringWriter();
        text.WriteLine($"CPU Reset (CPU {Index})");
        DumpState(text);
        GuestLog.Write(text.ToString().TrimEnd());
    }
}
