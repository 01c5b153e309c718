using Dromaius.Jit;

namespace Dromaius.Cpu.X86;

/// <content>Ports, the interrupt flag and halting (Intel SDM volume 1, chapter 19; volume 2; volume 3, section 20.3.3).</content>
public sealed unsafe partial class X86Cpu
{
    /// <summary>Raises #GP unless IOPL or the I/O permission bitmap of the task allows the ports.</summary>
    internal void CheckPortAccess(ushort port, int size)
    {
        if ((State->Mode & (uint)Mode.IoAllowed) == 0)
        {
            var tr = State->Tr;
            if (tr.Unusable != 0 || (tr.Type & 8) == 0 || tr.Limit < 0x67)
                throw Gp();
            var offset = (uint)Load(tr.Base + 0x66, 2, Privilege.Supervisor) + ((uint)port >> 3);
            if (offset + 1 > tr.Limit)
                throw Gp();
            var map = Load(tr.Base + offset, 2, Privilege.Supervisor) >> (port & 7);
            if ((map & ((1UL << size) - 1)) != 0)
                throw Gp();
        }

        NotePortAccess(port, size);
    }

    internal ulong PortIn(ushort port, int size)
    {
        CheckPortAccess(port, size);
        return Io.Load(port, size);
    }

    internal void PortOut(ushort port, int size, uint value)
    {
        CheckPortAccess(port, size);
        Io.Store(port, size, value);
    }

    /// <summary>The low half of a general register by its number, for devices that look into the processor at their ports.</summary>
    public uint Register32(int number) => (uint)State->Gpr[number & 15];

    /// <summary>Writes the low half and clears the high one, as a 32-bit instruction does.</summary>
    public void SetRegister32(int number, uint value) => State->Gpr[number & 15] = value;

    private int IoPrivilege => (int)(State->Eflags & Eflags.Iopl) >> 12;

    /// <summary>CLI and STI act on VIF: in virtual-8086 mode with VME, and at CPL 3 with PVI.</summary>
    private bool UsesVirtualInterruptFlag()
    {
        if (!ProtectedMode)
            return false;
        if (VirtualMode)
        {
            if (IoPrivilege == 3)
                return false;
            return (State->Cr4 & Cr.Vme) != 0 ? true : throw Gp();
        }

        if (Cpl <= IoPrivilege)
            return false;
        return Cpl == 3 && (State->Cr4 & Cr.Pvi) != 0 ? true : throw Gp();
    }

    internal void ClearInterruptFlag() =>
        State->Eflags &= ~(ulong)(UsesVirtualInterruptFlag() ? Eflags.Vif : Eflags.If);

    internal void SetInterruptFlag()
    {
        if (UsesVirtualInterruptFlag())
        {
            if ((State->Eflags & Eflags.Vip) != 0)
                throw Gp();
            State->Eflags |= Eflags.Vif;
            return;
        }

        if ((State->Eflags & Eflags.If) != 0)
            return;
        State->Eflags |= Eflags.If;
        State->Shadow = 1;
        UpdateMode();
        RecheckRequests();
    }

    internal void SetAccessCheck(bool value)
    {
        if (Cpl != 0 || !Model.Has(X86Feature.Smap))
            throw GuestFaultException.InvalidOpcode();
        if (value)
            State->Eflags |= Eflags.Ac;
        else
            State->Eflags &= ~(ulong)Eflags.Ac;
        UpdateMode();
    }

    internal ulong FlagsToPush(int size)
    {
        var flags = ReadEflags() & ~(ulong)(Eflags.Vm | Eflags.Rf);
        if (!VirtualMode || IoPrivilege == 3)
            return flags;
        if ((State->Cr4 & Cr.Vme) == 0 || size != 2)
            throw Gp();
        flags = (flags & ~(ulong)Eflags.If) | Eflags.Iopl;
        return (flags & Eflags.Vif) != 0 ? flags | Eflags.If : flags;
    }

    internal void PopFlags(ulong flags, int size)
    {
        var mask = Eflags.Arithmetic | Eflags.Tf | Eflags.Df | Eflags.Nt;
        if (size >= 4)
            mask |= Eflags.Ac | Eflags.Id;
        if (!ProtectedMode)
            mask |= Eflags.If | Eflags.Iopl;
        else if (VirtualMode)
        {
            if (IoPrivilege == 3)
                mask |= Eflags.If;
            else
            {
                if ((State->Cr4 & Cr.Vme) == 0 || size != 2 || (flags & Eflags.Tf) != 0
                    || ((flags & Eflags.If) != 0 && (State->Eflags & Eflags.Vip) != 0))
                    throw Gp();
                flags = (flags & ~(ulong)Eflags.Vif) | ((flags & Eflags.If) != 0 ? Eflags.Vif : 0);
                mask |= Eflags.Vif;
            }
        }
        else
        {
            if (Cpl == 0)
                mask |= Eflags.Iopl;
            if (Cpl <= IoPrivilege)
                mask |= Eflags.If;
        }

        // RF is cleared by every POPF.
        WriteEflags(flags & ~(ulong)Eflags.Rf, mask | Eflags.Rf);
    }

    internal void Halt(ulong nextRip)
    {
        RequirePrivilege();
        State->Rip = nextRip;
        State->Shadow = 0;
        if ((State->Eflags & Eflags.Tf) != 0)
            StepTrap(nextRip, 1); // the trap would end the halt at once
        State->Halted = 1;
        UpdateMode();
        State->Engine.ExitReason = ExitReason.Halt;
    }

    internal void Monitor(ulong linear)
    {
        CheckMonitor();
        if ((uint)State->Gpr[1] != 0)
            throw Gp();
        _ = Load(linear, 1);
    }

    /// <summary>No other processor can write what MONITOR watches. Set by the board.</summary>
    public bool IsAlone { get; set; }

    /// <summary>
    /// MWAIT halts a processor that is alone: only an interrupt can end its wait. Among others it returns at once, which the
    /// architecture allows, and only gives other threads a turn.
    /// </summary>
    internal void Mwait(ulong nextRip)
    {
        CheckMonitor();
        if ((uint)State->Gpr[1] > 1)
            throw Gp();
        // Bit 0: interrupts end the wait even while they are masked, which HLT does not do.
        if (IsAlone && (uint)State->Gpr[1] == 0)
        {
            Halt(nextRip);
            return;
        }

        State->Rip = nextRip;
        State->Engine.ExitReason = ExitReason.Reenter;
        Thread.Yield();
    }

    private void CheckMonitor()
    {
        if (!Model.Has(X86Feature.Monitor) || Cpl != 0)
            throw GuestFaultException.InvalidOpcode();
    }
}
