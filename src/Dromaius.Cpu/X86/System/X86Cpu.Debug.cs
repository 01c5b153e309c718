namespace Dromaius.Cpu.X86;

/// <content>Debug registers, breakpoints and single-stepping (Intel SDM volume 3, chapter 18).</content>
public sealed unsafe partial class X86Cpu
{
    private const ulong Dr6Fixed = 0xFFFF0FF0, Dr6Detected = 0x2000, Dr6SingleStep = 0x4000, Dr6TaskSwitch = 0x8000;
    private const ulong Dr7Fixed = 0x400, Dr7Writable = 0xFFFF23FF, Dr7GeneralDetect = 0x2000;

    /// <summary>Data and I/O breakpoints that the running instruction has hit, as DR6 bits.</summary>
    private uint _dataBreakpointsHit;

    /// <summary>Single-step trap held back by the shadow of MOV SS.</summary>
    private bool InMovSsShadow => State->Shadow == 2;

    internal ulong ReadDebugRegister(int number)
    {
        number = CheckDebugAccess(number);
        return State->Dr[number];
    }

    internal void WriteDebugRegister(int number, ulong value)
    {
        number = CheckDebugAccess(number);
        switch (number)
        {
            case 6:
                if (value >> 32 != 0)
                    throw Gp();
                State->Dr[6] = (value & 0xE00F) | Dr6Fixed;
                break;
            case 7:
                if (value >> 32 != 0)
                    throw Gp();
                State->Dr[7] = (value & Dr7Writable) | Dr7Fixed;

                // RF from an earlier return ended with its instruction; translations without breakpoints do not clear it.
                if ((State->Mode & (uint)Mode.CodeBreakpoints) == 0)
                    State->Eflags &= ~(ulong)Eflags.Rf;
                FlushTlb(true);
                UpdateMode();
                break;
            default:
                State->Dr[number] = value;
                if ((State->Mode & (uint)Mode.DataBreakpoints) != 0)
                    FlushTlb(true);
                break;
        }
    }

    /// <summary>The checks of MOV to and from debug registers; DR4 and DR5 are DR6 and DR7 unless CR4.DE.</summary>
    private int CheckDebugAccess(int number)
    {
        if (number > 7)
            throw GuestFaultException.InvalidOpcode();
        if (number is 4 or 5)
        {
            if ((State->Cr4 & Cr.De) != 0)
                throw GuestFaultException.InvalidOpcode();
            number += 2;
        }

        RequirePrivilege();
        if ((State->Dr[7] & Dr7GeneralDetect) != 0)
        {
            State->Dr[6] |= Dr6Detected;
            throw new GuestFaultException(DebugVector, 0, false);
        }

        return number;
    }

    internal void CheckCodeBreakpoint()
    {
        if ((State->Eflags & Eflags.Rf) != 0)
        {
            State->Eflags &= ~(ulong)Eflags.Rf;
            return;
        }

        // Intel's processors hold instruction breakpoints back behind MOV SS and POP SS, AMD's do not.
        if (InMovSsShadow && !Model.IsAmd)
            return;
        var linear = State->CodeBase + State->Rip;
        if (!Code64)
            linear = (uint)linear;
        var hit = 0u;
        var enabled = false;
        for (var i = 0; i < 4; i++)
        {
            if (BreakpointKind(i) != 0 || State->Dr[i] != linear)
                continue;
            hit |= 1u << i;
            enabled |= IsBreakpointEnabled(i);
        }

        if (!enabled)
            return;
        State->Dr[6] = (State->Dr[6] & ~0xFUL) | hit;
        throw new GuestFaultException(DebugVector, 0, false);
    }

    private bool IsBreakpointEnabled(int index) => (State->Dr[7] & (3UL << (2 * index))) != 0;

    /// <summary>R/W field: 0 execute, 1 write, 2 port, 3 read or write.</summary>
    private int BreakpointKind(int index) => (int)(State->Dr[7] >> (16 + (4 * index))) & 3;

    private ulong BreakpointLength(int index) => ((State->Dr[7] >> (18 + (4 * index))) & 3) switch
    {
        0 => 1,
        1 => 2,
        2 => 8,
        _ => 4,
    };

    /// <summary>A page that an enabled data breakpoint watches: accesses to it must come to
    /// <see cref="NoteDataAccess"/>.</summary>
    public bool IsPageWatched(ulong linear)
    {
        if ((State->Mode & (uint)Mode.DataBreakpoints) == 0)
            return false;
        for (var i = 0; i < 4; i++)
        {
            if (IsBreakpointEnabled(i) && BreakpointKind(i) is 1 or 3 && State->Dr[i] >> 12 == linear >> 12)
                return true;
        }

        return false;
    }

    /// <summary>Records the data breakpoints that an access hits; the trap follows the instruction.</summary>
    public void NoteDataAccess(ulong linear, int size, AccessKind kind)
    {
        for (var i = 0; i < 4; i++)
        {
            var type = BreakpointKind(i);
            if (type == 3 || (type == 1 && kind == AccessKind.Write))
                NoteBreakpoint(i, linear, (ulong)size);
        }
    }

    private void NotePortAccess(ushort port, int size)
    {
        if ((State->Mode & (uint)Mode.DataBreakpoints) == 0 || (State->Cr4 & Cr.De) == 0)
            return;
        for (var i = 0; i < 4; i++)
        {
            if (BreakpointKind(i) == 2)
                NoteBreakpoint(i, port, (ulong)size);
        }
    }

    private void NoteBreakpoint(int index, ulong address, ulong size)
    {
        if (!IsBreakpointEnabled(index))
            return;
        var length = BreakpointLength(index);
        var start = State->Dr[index] & ~(length - 1);
        if (address < start + length && start < address + size)
            _dataBreakpointsHit |= 1u << index;
    }

    /// <summary>See <see cref="SystemHelpers.StepTrap"/>.</summary>
    internal void StepTrap(ulong nextRip, uint trapFlag)
    {
        if (nextRip != ulong.MaxValue)
            State->Rip = nextRip;
        var step = trapFlag == 1 || (trapFlag == 2 && (State->Eflags & Eflags.Tf) != 0);
        var hit = _dataBreakpointsHit;
        if (InMovSsShadow)
        {
            // Data breakpoints stay pending, the single step is lost (SDM volume 3, section 6.8.3).
            return;
        }

        if (!step && hit == 0)
            return;
        _dataBreakpointsHit = 0;
        State->Dr[6] = (State->Dr[6] & ~0xFUL) | hit | (step ? Dr6SingleStep : 0);
        throw new GuestFaultException(DebugVector, 0, false);
    }

    internal void EndShadow()
    {
        State->Shadow = 0;
        UpdateMode();
        RecheckRequests();
    }
}
