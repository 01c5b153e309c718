namespace Dromaius.Cpu.X86;

/// <content>SYSCALL, SYSRET, SYSENTER and SYSEXIT (Intel SDM volume 3, sections 5.8.7 and 5.8.8).</content>
public sealed unsafe partial class X86Cpu
{
    private const ushort FlatCode32 = 0xC09B, FlatCode64 = 0xA09B, FlatStack = 0xC093;

    /// <summary>Flat segments as the fast system calls load them, without reading descriptors.</summary>
    private void SetFlatSegments(ulong code, ulong stack, int cpl, bool code64)
    {
        var dpl = (ushort)(cpl << 5);
        State->Cs = new Segment
        {
            Limit = uint.MaxValue,
            Attributes = (ushort)((code64 ? FlatCode64 : FlatCode32) | dpl),
            Selector = (ushort)((code & 0xFFFC) | (uint)cpl),
        };
        State->Ss = new Segment
        {
            Limit = uint.MaxValue,
            Attributes = (ushort)(FlatStack | dpl),
            Selector = (ushort)((stack & 0xFFFC) | (uint)cpl),
        };
    }

    internal void Syscall(ulong nextRip)
    {
        if ((State->Efer & Cr.EferSce) == 0 || (!Code64 && !Model.IsAmd) || !ProtectedMode)
            throw GuestFaultException.InvalidOpcode();
        var selector = (State->Star >> 32) & 0xFFFF;
        if (LongMode)
        {
            var flags = ReadEflags();
            var target = Code64 ? State->Lstar : State->Cstar;
            State->Gpr[1] = nextRip;
            State->Gpr[11] = flags & ~(ulong)Eflags.Rf;
            SetEflagsRaw(flags & ~State->Fmask & ~(ulong)Eflags.Rf);
            SetFlatSegments(selector, selector + 8, 0, true);
            State->Rip = target;
        }
        else
        {
            State->Gpr[1] = (uint)nextRip;
            SetEflagsRaw(ReadEflags() & ~(ulong)(Eflags.If | Eflags.Rf | Eflags.Vm));
            SetFlatSegments(selector, selector + 8, 0, false);
            State->Rip = (uint)State->Star;
        }

        UpdateMode();
    }

    internal void Sysret(int size)
    {
        if ((State->Efer & Cr.EferSce) == 0 || (!Code64 && !Model.IsAmd))
            throw GuestFaultException.InvalidOpcode();
        if (!ProtectedMode || Cpl != 0)
            throw Gp();
        var selector = State->Star >> 48;
        var to64 = size == 8 && LongMode;
        var target = State->Gpr[1];
        if (to64 && !IsCanonical(target))
            throw Gp();
        if (LongMode)
        {
            const uint mask = Eflags.All & ~(Eflags.Rf | Eflags.Vm);
            SetEflagsRaw(State->Gpr[11] & mask);
        }
        else
            SetEflagsRaw(ReadEflags() | Eflags.If);
        SetFlatSegments(to64 ? selector + 16 : selector, selector + 8, 3, to64);
        State->Rip = to64 ? target : (uint)target;
        UpdateMode();
        RecheckRequests();

        // As for SYSCALL, TF counts as it is afterwards.
        StepTrap(ulong.MaxValue, 2);
    }

    internal void Sysenter()
    {
        if (!ProtectedMode || IsNull((uint)State->SysenterCs))
            throw Gp();
        SetEflagsRaw(ReadEflags() & ~(ulong)(Eflags.Vm | Eflags.If | Eflags.Rf));
        SetFlatSegments(State->SysenterCs, State->SysenterCs + 8, 0, LongMode);
        State->Gpr[4] = LongMode ? State->SysenterEsp : (uint)State->SysenterEsp;
        State->Rip = LongMode ? State->SysenterEip : (uint)State->SysenterEip;
        UpdateMode();
    }

    internal void Sysexit(int size)
    {
        if (!ProtectedMode || VirtualMode || Cpl != 0 || IsNull((uint)State->SysenterCs))
            throw Gp();
        var to64 = size == 8 && LongMode;
        if (to64 && !(IsCanonical(State->Gpr[1]) && IsCanonical(State->Gpr[2])))
            throw Gp();
        var selector = State->SysenterCs + (to64 ? 32u : 16u);
        SetFlatSegments(selector, selector + 8, 3, to64);
        State->Gpr[4] = to64 ? State->Gpr[1] : (uint)State->Gpr[1];
        State->Rip = to64 ? State->Gpr[2] : (uint)State->Gpr[2];
        UpdateMode();
    }
}
