using Dromaius.Core.Errors;
using Dromaius.Jit;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <content>Exceptions and interrupts: queueing, combining and delivery (Intel SDM volume 3, chapter 6).</content>
public sealed unsafe partial class X86Cpu
{
    private const int DebugVector = 1, NmiVector = 2, BreakpointVector = 3, OverflowVector = 4, DoubleFaultVector = 8,
        PageFaultVector = 14;

    /// <summary>Where an event comes from.</summary>
    private enum EventKind
    {
        /// <summary>A fault, or a trap that left RIP at the next instruction.</summary>
        Exception,

        /// <summary>INT n.</summary>
        Software,

        /// <summary>INT3 and INTO: gates are checked as for INT n, but virtual-8086 mode lets them through.</summary>
        SoftwareException,

        /// <summary>INT1: no check of the gate's privilege level.</summary>
        PrivilegedSoftware,

        /// <summary>A maskable interrupt or an NMI.</summary>
        External,
    }

    /// <summary>Raised when the processor shuts down after a triple fault. The board resets the machine.</summary>
    public event Action<X86Cpu>? TripleFaulted;

    /// <summary>Queues an exception for the vCPU loop and makes generated code leave.</summary>
    public void QueueException(int vector, uint error, bool hasError)
    {
        State->ExceptionVector = (uint)vector;
        State->ExceptionError = error;
        State->ExceptionFlags = hasError ? 1u : 0;
        State->ExceptionNextRip = State->Rip;
        State->Engine.ExitReason = ExitReason.Exception;
    }

    /// <summary>
    /// In <see cref="X86State.ExceptionFlags"/>: #GP for an address that is not canonical, which is #SS if the access went through
    /// SS. Generated code does not say which; the instruction does.
    /// </summary>
    private const uint MaybeStackFault = 0x100;

    /// <summary>Whether the instruction at RIP (64-bit code) accesses memory through SS.</summary>
    private bool UsesStackSegment()
    {
        var bytes = new byte[15];
        var length = ((ICodeFetcher)this).Fetch(CodeAddress(State->Rip), bytes);
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes, 0, length));
        decoder.Decode(out var instruction);
        for (var i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Memory)
                return instruction.MemorySegment == Register.SS;
        }

        return instruction.IsStackInstruction;
    }

    /// <summary>Queues a fault for the vCPU loop and makes generated code leave.</summary>
    public void QueueFault(GuestFaultException fault)
    {
        _ext = 0;
        QueueException(fault.Vector, fault.Error, fault.HasError);
    }

    /// <summary>Delivers what <see cref="QueueException"/> (or generated code) put into the state.</summary>
    public void DeliverQueuedException()
    {
        var flags = State->ExceptionFlags;
        if ((flags & MaybeStackFault) != 0 && UsesStackSegment())
            State->ExceptionVector = 12;
        var kind = (flags & 4) != 0 ? EventKind.PrivilegedSoftware : (flags & 2) == 0 ? EventKind.Exception
            : State->ExceptionVector is BreakpointVector or OverflowVector ? EventKind.SoftwareException : EventKind.Software;
        DeliverBetweenBlocks((int)State->ExceptionVector, State->ExceptionError, (flags & 1) != 0, kind,
            kind == EventKind.Exception ? State->Rip : State->ExceptionNextRip);
    }

    /// <summary>Delivers an event between blocks, where stores may hit any code.</summary>
    private void DeliverBetweenBlocks(int vector, uint error, bool hasError, EventKind kind, ulong nextRip)
    {
        var before = _mayWriteOwnCode;
        _mayWriteOwnCode = true;
        DeliverEvent(vector, error, hasError, kind, nextRip);
        _mayWriteOwnCode = before;
    }

    internal void SoftwareInterrupt(int vector, ulong nextRip) =>
        DeliverEvent(vector, 0, false, EventKind.Software, nextRip);

    internal void BreakpointInterrupt(ulong nextRip) =>
        DeliverEvent(BreakpointVector, 0, false, EventKind.SoftwareException, nextRip);

    internal void OverflowInterrupt(ulong nextRip) =>
        DeliverEvent(OverflowVector, 0, false, EventKind.SoftwareException, nextRip);

    internal void DebugInterrupt(ulong nextRip)
    {
        // Data breakpoints that the shadow of MOV SS held back come with it.
        State->Dr[6] |= _dataBreakpointsHit;
        _dataBreakpointsHit = 0;
        State->Dr[7] &= ~Dr7GeneralDetect;
        DeliverEvent(DebugVector, 0, false, EventKind.PrivilegedSoftware, nextRip);
    }

    /// <summary>Delivers an event; faults on the way make it another exception, a double fault or a shutdown.</summary>
    private void DeliverEvent(int vector, uint error, bool hasError, EventKind kind, ulong nextRip)
    {
        while (true)
        {
            State->Delivering = vector;
            _ext = kind is EventKind.Software or EventKind.SoftwareException ? 0 : 1u;
            if (GuestLog.Has(LogItems.Int))
                LogEvent(vector, error, kind, nextRip);
            try
            {
                State->Shadow = 0;
                DeliverOnce(vector, error, hasError, kind, nextRip);
                break;
            }
            catch (GuestFaultException fault) when (fault.Vector <= 0xFF)
            {
                if (GuestLog.Has(LogItems.Int))
                {
                    var old = kind == EventKind.Exception ? vector : -1;
                    GuestLog.Write($"check_exception old: 0x{old:x} new 0x{fault.Vector:x}");
                }

                if (kind == EventKind.Exception && vector == DoubleFaultVector)
                {
                    TripleFault();
                    break;
                }

                var isDouble = kind == EventKind.Exception && (IsContributory(vector)
                    ? IsContributory(fault.Vector)
                    : vector == PageFaultVector && (IsContributory(fault.Vector) || fault.Vector == PageFaultVector));
                (vector, error, hasError) = isDouble
                    ? (DoubleFaultVector, 0, true)
                    : (fault.Vector, fault.Error, fault.HasError);
                kind = EventKind.Exception;
                nextRip = State->Rip;
            }
        }

        _ext = 0;
        State->Delivering = -1;
    }

    private static bool IsContributory(int vector) => vector is 0 or (>= 10 and <= 13);

    private void TripleFault()
    {
        if (GuestLog.Has(LogItems.CpuReset | LogItems.Int))
            GuestLog.Write("Triple fault");
        _shutDown = true;
        State->Halted = 1;
        State->Shadow = 0;
        UpdateMode();
        State->Engine.ExitReason = ExitReason.Halt;
        RequestExit();
        TripleFaulted?.Invoke(this);
    }

    private void DeliverOnce(int vector, uint error, bool hasError, EventKind kind, ulong nextRip)
    {
        if (vector == DebugVector && kind == EventKind.Exception)
            State->Dr[7] &= ~Dr7GeneralDetect;
        if (!ProtectedMode)
            DeliverReal(vector, nextRip);
        else if (LongMode)
            DeliverLong(vector, error, hasError, kind, nextRip);
        else if (VirtualMode && kind == EventKind.Software && TryRedirect(vector, nextRip))
            return;
        else
            DeliverProtected(vector, error, hasError, kind, nextRip);
    }

    /// <summary>EFLAGS as it is pushed: faults set RF, so that an instruction breakpoint does not strike again.</summary>
    private ulong PushedFlags(int vector, EventKind kind)
    {
        var flags = ReadEflags();
        if ((State->Mode & (uint)Mode.CodeBreakpoints) == 0)
            flags &= ~(ulong)Eflags.Rf; // left over from an earlier return
        var isFault = kind == EventKind.Exception && vector is not (DebugVector or DoubleFaultVector or 18);
        return isFault ? flags | Eflags.Rf : flags;
    }

    /// <summary>Through the interrupt vector table (Intel SDM volume 3, section 20.1.4).</summary>
    private void DeliverReal(int vector, ulong nextRip)
    {
        var entry = (uint)vector * 4;
        if (entry + 3 > State->Idt.Limit)
            throw GuestFaultException.GeneralProtection((entry * 2) | 2);
        var pointer = (uint)Load(State->Idt.Base + entry, 4, Privilege.Supervisor);
        var stack = CurrentStack();
        stack.Push(ReadEflags() & 0xFFFF, 2);
        stack.Push(State->Cs.Selector, 2);
        stack.Push(nextRip & 0xFFFF, 2);
        stack.Commit();
        SetRealSegment(Seg.Cs, (ushort)(pointer >> 16));
        State->Rip = pointer & 0xFFFF;
        State->Eflags &= ~(ulong)(Eflags.If | Eflags.Tf | Eflags.Rf | Eflags.Ac);
        UpdateMode();
    }

    /// <summary>
    /// INT n in virtual-8086 mode: decides by IOPL and, under CR4.VME, by the redirection bitmap (Intel SDM volume 3,
    /// section 20.3.3).
    /// </summary>
    /// <returns>False to go through the IDT.</returns>
    private bool TryRedirect(int vector, ulong nextRip)
    {
        var privileged = (State->Eflags & Eflags.Iopl) == Eflags.Iopl;
        if ((State->Cr4 & Cr.Vme) == 0)
            return privileged ? false : throw Gp();
        if (!IsRedirected(vector))
            return privileged ? false : throw Gp();

        var flags = ReadEflags();
        var pushed = flags & 0xFFFF;
        if (!privileged)
        {
            pushed = (pushed & ~(ulong)Eflags.If) | Eflags.Iopl;
            if ((flags & Eflags.Vif) != 0)
                pushed |= Eflags.If;
        }

        var pointer = (uint)Load((uint)vector * 4, 4, Privilege.Current);
        var stack = CurrentStack();
        stack.Push(pushed, 2);
        stack.Push(State->Cs.Selector, 2);
        stack.Push(nextRip & 0xFFFF, 2);
        stack.Commit();
        SetVirtualSegment(Seg.Cs, (ushort)(pointer >> 16));
        State->Rip = pointer & 0xFFFF;
        State->Eflags &= ~(ulong)(Eflags.Tf | Eflags.Nt | Eflags.Rf | (privileged ? Eflags.If : Eflags.Vif));
        UpdateMode();
        return true;
    }

    private bool IsRedirected(int vector)
    {
        // The 32 bytes below the I/O permission bitmap; a clear bit sends the interrupt to the 8086 program.
        var map = (uint)Load(State->Tr.Base + 0x66, 2, Privilege.Supervisor);
        var offset = map - 32 + ((uint)vector >> 3);
        if (map < 32 || offset > State->Tr.Limit)
            throw Gp();
        return (Load(State->Tr.Base + offset, 1, Privilege.Supervisor) >> (vector & 7) & 1) == 0;
    }

    /// <summary>Through a gate of the IDT outside long mode (Intel SDM volume 3, section 6.12; volume 2, INT n).</summary>
    private void DeliverProtected(int vector, uint error, bool hasError, EventKind kind, ulong nextRip)
    {
        var idtError = ((uint)vector * 8) | 2 | _ext;
        if (((uint)vector * 8) + 7 > State->Idt.Limit)
            throw GuestFaultException.GeneralProtection(idtError);
        var gate = new Descriptor(Load((uint)(State->Idt.Base + ((uint)vector * 8)), 8, Privilege.Supervisor));
        if (!gate.IsSystem || gate.Type is not (Descriptor.TaskGate or Descriptor.InterruptGate16 or Descriptor.TrapGate16
                or Descriptor.InterruptGate32 or Descriptor.TrapGate32))
            throw GuestFaultException.GeneralProtection(idtError);
        if (kind is EventKind.Software or EventKind.SoftwareException && gate.Dpl < Cpl)
            throw GuestFaultException.GeneralProtection(idtError);
        if (!gate.Present)
            throw GuestFaultException.NotPresent(idtError);
        if (gate.Type == Descriptor.TaskGate)
        {
            DeliverToTask(gate.GateSelector, vector, error, hasError, kind, nextRip);
            return;
        }

        var selector = gate.GateSelector;
        if (IsNull(selector))
            throw Gp();
        var code = ReadDescriptorOrGp(selector);
        if (!code.IsCode || code.Dpl > Cpl)
            throw Gp(selector);
        if (!code.Present)
            throw Np(selector);
        var cpl = code.IsConforming ? Cpl : code.Dpl;
        if (VirtualMode && cpl != 0)
            throw Gp(selector);

        var size = gate.Type >= Descriptor.InterruptGate32 ? 4 : 2;
        var offset = size == 4 ? gate.GateOffset : gate.GateOffset & 0xFFFF;
        var flags = PushedFlags(vector, kind);
        var inner = cpl < Cpl;
        var stackSelector = State->Ss.Selector;
        Descriptor stackDescriptor = default;
        GuestStack stack;
        if (inner)
        {
            var pointer = ReadInnerStack(cpl, out stackSelector, out stackDescriptor);
            stack = new GuestStack(this, stackDescriptor.ToSegment(stackSelector), pointer, Privilege.Supervisor, false,
                stackSelector);
            if (VirtualMode)
            {
                stack.Push(State->Gs.Selector, size);
                stack.Push(State->Fs.Selector, size);
                stack.Push(State->Ds.Selector, size);
                stack.Push(State->Es.Selector, size);
            }

            stack.Push(State->Ss.Selector, size);
            stack.Push(State->Gpr[4], size);
        }
        else
            stack = CurrentStack();

        stack.Push(flags, size);
        stack.Push(State->Cs.Selector, size);
        stack.Push(nextRip, size);
        if (hasError)
            stack.Push(error, size);
        if (offset > code.Limit)
            throw Gp();

        if (inner)
        {
            MarkAccessed(code);
            MarkAccessed(stackDescriptor);
            if (VirtualMode)
            {
                SetNullSegment(Seg.Es, 0);
                SetNullSegment(Seg.Ds, 0);
                SetNullSegment(Seg.Fs, 0);
                SetNullSegment(Seg.Gs, 0);
            }

            SetSegment(Seg.Ss, stackSelector, stackDescriptor);
        }

        SetSegment(Seg.Cs, (ushort)((selector & ~3) | cpl), code);
        stack.Commit();
        EnterHandler(offset, (gate.Type & 1) == 0);
    }

    private void EnterHandler(ulong rip, bool disable)
    {
        State->Rip = rip;
        State->Eflags &= ~(ulong)(Eflags.Tf | Eflags.Nt | Eflags.Rf | Eflags.Vm | (disable ? Eflags.If : 0));
        UpdateMode();
    }

    /// <summary>SS:ESP of an inner level from the task-state segment, checked (outside long mode).</summary>
    private ulong ReadInnerStack(int cpl, out ushort selector, out Descriptor descriptor)
    {
        var tr = State->Tr;
        ulong pointer;
        if ((tr.Type & 8) != 0)
        {
            var offset = 4 + (8 * (uint)cpl);
            if (tr.Unusable != 0 || offset + 7 > tr.Limit)
                throw Ts(tr.Selector);
            pointer = Load((uint)(tr.Base + offset), 4, Privilege.Supervisor);
            selector = (ushort)Load((uint)(tr.Base + offset + 4), 2, Privilege.Supervisor);
        }
        else
        {
            var offset = 2 + (4 * (uint)cpl);
            if (tr.Unusable != 0 || offset + 3 > tr.Limit)
                throw Ts(tr.Selector);
            pointer = Load((uint)(tr.Base + offset), 2, Privilege.Supervisor);
            selector = (ushort)Load((uint)(tr.Base + offset + 2), 2, Privilege.Supervisor);
        }

        if (IsNull(selector))
            throw Ts(0);
        if (!TryReadDescriptor(selector, out descriptor) || (selector & 3) != cpl || descriptor.Dpl != cpl
            || !descriptor.IsWritableData)
            throw Ts(selector);
        if (!descriptor.Present)
            throw Ss(selector);
        return pointer;
    }

    private void DeliverToTask(ushort selector, int vector, uint error, bool hasError, EventKind kind, ulong nextRip)
    {
        var tss = ReadTaskDescriptor(selector, false);
        var flags = PushedFlags(vector, kind);
        SwitchTask(selector, tss, TaskSwitchReason.Interrupt, nextRip, flags);
        if (!hasError)
            return;
        var stack = CurrentStack();
        stack.Push(error, (State->Tr.Type & 8) != 0 ? 4 : 2);
        stack.Commit();
    }

    /// <summary>Through a gate of the IDT in long mode (Intel SDM volume 3, section 6.14).</summary>
    private void DeliverLong(int vector, uint error, bool hasError, EventKind kind, ulong nextRip)
    {
        var idtError = ((uint)vector * 8) | 2 | _ext;
        if (((uint)vector * 16) + 15 > State->Idt.Limit)
            throw GuestFaultException.GeneralProtection(idtError);
        var address = State->Idt.Base + ((uint)vector * 16);
        var gate = new Descriptor(Load(address, 8, Privilege.Supervisor), Load(address + 8, 8, Privilege.Supervisor));
        if (!gate.IsSystem || gate.Type is not (Descriptor.InterruptGate32 or Descriptor.TrapGate32))
            throw GuestFaultException.GeneralProtection(idtError);
        if (kind is EventKind.Software or EventKind.SoftwareException && gate.Dpl < Cpl)
            throw GuestFaultException.GeneralProtection(idtError);
        if (!gate.Present)
            throw GuestFaultException.NotPresent(idtError);
        var selector = gate.GateSelector;
        if (IsNull(selector))
            throw Gp();
        var code = ReadDescriptorOrGp(selector);
        if (!code.IsCode || code.Dpl > Cpl || !code.Long || code.Big)
            throw Gp(selector);
        if (!code.Present)
            throw Np(selector);
        var cpl = code.IsConforming ? Cpl : code.Dpl;
        var inner = cpl < Cpl;
        ulong rsp;
        if (gate.GateStack != 0)
            rsp = ReadStackPointer(0x1C + (8 * (uint)gate.GateStack));
        else if (inner)
            rsp = ReadStackPointer(4 + (8 * (uint)cpl));
        else
            rsp = State->Gpr[4];

        var stack = new GuestStack(this, default, rsp & ~0xFUL, inner ? Privilege.Supervisor : Privilege.Current, true);
        stack.Push(State->Ss.Selector, 8);
        stack.Push(State->Gpr[4], 8);
        stack.Push(PushedFlags(vector, kind), 8);
        stack.Push(State->Cs.Selector, 8);
        stack.Push(nextRip, 8);
        if (hasError)
            stack.Push(error, 8);
        if (!IsCanonical(gate.GateOffset64))
            throw Gp();
        MarkAccessed(code);
        if (inner)
            SetNullSegment(Seg.Ss, (ushort)cpl, cpl);
        SetSegment(Seg.Cs, (ushort)((selector & ~3) | cpl), code);
        stack.Commit();
        EnterHandler(gate.GateOffset64, (gate.Type & 1) == 0);
    }

    /// <summary>A stack pointer of the 64-bit task-state segment.</summary>
    private ulong ReadStackPointer(uint offset)
    {
        if (State->Tr.Unusable != 0 || offset + 7 > State->Tr.Limit)
            throw Ts(State->Tr.Selector);
        var pointer = Load(State->Tr.Base + offset, 8, Privilege.Supervisor);
        return IsCanonical(pointer) ? pointer : throw Ss();
    }
}
