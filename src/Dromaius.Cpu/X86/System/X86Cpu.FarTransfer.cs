namespace Dromaius.Cpu.X86;

/// <content>Far JMP and CALL, to code and through gates (Intel SDM volume 3, section 5.8; volume 2, JMP and CALL).</content>
public sealed unsafe partial class X86Cpu
{
    internal void FarJump(ushort selector, ulong offset, int size, ulong nextRip)
    {
        if (size == 2)
            offset &= 0xFFFF;
        if (RealOrVirtual)
        {
            JumpReal(selector, offset);
            return;
        }

        if (IsNull(selector))
            throw Gp();
        var d = ReadDescriptorOrGp(selector);
        if (!d.IsSystem)
        {
            CheckDirectTarget(selector, d, offset);
            SetCode(selector, d, offset, Cpl);
            return;
        }

        CheckSystemTarget(selector, d);
        switch (d.Type)
        {
            case Descriptor.CallGate16 when !LongMode:
            case Descriptor.CallGate32:
                var target = ReadGateTarget(d, out var codeSelector);
                if (target.IsConforming ? target.Dpl > Cpl : target.Dpl != Cpl)
                    throw Gp(codeSelector);
                if (!target.Present)
                    throw Np(codeSelector);
                var rip = GateTargetOffset(d);
                CheckTarget(rip, target, LongMode);
                SetCode(codeSelector, target, rip, Cpl);
                break;
            case Descriptor.TaskGate:
                if (!d.Present)
                    throw Np(selector);
                SwitchTask(d.GateSelector, ReadTaskDescriptor(d.GateSelector, false), TaskSwitchReason.Jump, nextRip,
                    ReadEflags());
                break;
            default:
                SwitchTask(selector, ReadTaskDescriptor(selector, false), TaskSwitchReason.Jump, nextRip, ReadEflags());
                break;
        }
    }

    internal void FarCall(ushort selector, ulong offset, int size, ulong nextRip)
    {
        if (size == 2)
            offset &= 0xFFFF;
        if (RealOrVirtual)
        {
            var frame = CurrentStack();
            frame.Push(State->Cs.Selector, size);
            frame.Push(nextRip, size);
            JumpReal(selector, offset);
            frame.Commit();
            return;
        }

        if (IsNull(selector))
            throw Gp();
        var d = ReadDescriptorOrGp(selector);
        if (!d.IsSystem)
        {
            CheckDirectTarget(selector, d, offset);
            var frame = CurrentStack();
            frame.Push(State->Cs.Selector, size);
            frame.Push(nextRip, size);
            MarkAccessed(d);
            frame.Commit();
            SetCode(selector, d, offset, Cpl);
            return;
        }

        CheckSystemTarget(selector, d);
        switch (d.Type)
        {
            case Descriptor.CallGate16 when !LongMode:
            case Descriptor.CallGate32:
                CallGate(d, nextRip);
                break;
            case Descriptor.TaskGate:
                if (!d.Present)
                    throw Np(selector);
                SwitchTask(d.GateSelector, ReadTaskDescriptor(d.GateSelector, false), TaskSwitchReason.Call, nextRip,
                    ReadEflags());
                break;
            default:
                SwitchTask(selector, ReadTaskDescriptor(selector, false), TaskSwitchReason.Call, nextRip, ReadEflags());
                break;
        }
    }

    private void JumpReal(ushort selector, ulong offset)
    {
        if (offset > (VirtualMode ? 0xFFFF : State->Cs.Limit))
            throw Gp();
        if (VirtualMode)
            SetVirtualSegment(Seg.Cs, selector);
        else
            SetRealSegment(Seg.Cs, selector);
        State->Rip = offset;
        UpdateMode();
    }

    private void SetCode(ushort selector, in Descriptor code, ulong rip, int cpl)
    {
        SetSegment(Seg.Cs, (ushort)((selector & ~3) | cpl), code);
        State->Rip = rip;
        UpdateMode();
    }

    /// <summary>Checks a code segment named directly by a far JMP or CALL.</summary>
    private void CheckDirectTarget(ushort selector, in Descriptor code, ulong offset)
    {
        if (!code.IsCode)
            throw Gp(selector);
        if (code.IsConforming ? code.Dpl > Cpl : (selector & 3) > Cpl || code.Dpl != Cpl)
            throw Gp(selector);
        if (!code.Present)
            throw Np(selector);
        var to64 = LongMode && code.Long;
        if (to64 && code.Big)
            throw Gp(selector);
        CheckTarget(offset, code, to64);
    }

    /// <summary>The checks that call gates, task gates and task-state segments share.</summary>
    private void CheckSystemTarget(ushort selector, in Descriptor d)
    {
        var possible = LongMode
            ? d.Type == Descriptor.CallGate32
            : d.Type is Descriptor.Tss16 or Descriptor.CallGate16 or Descriptor.TaskGate or Descriptor.Tss32
                or Descriptor.CallGate32;
        if (!possible || d.Dpl < Cpl || d.Dpl < (selector & 3))
            throw Gp(selector);
        if (LongMode && (d.High & SystemTypeBits) != 0)
            throw Gp(selector);
        if (!d.Present)
            throw Np(selector);
    }

    private ulong GateTargetOffset(in Descriptor gate) => LongMode ? gate.GateOffset64
        : gate.Type == Descriptor.CallGate16 ? gate.GateOffset & 0xFFFF : gate.GateOffset;

    private Descriptor ReadGateTarget(in Descriptor gate, out ushort selector)
    {
        selector = gate.GateSelector;
        if (IsNull(selector))
            throw Gp();
        var code = ReadDescriptorOrGp(selector);
        if (!code.IsCode || code.Dpl > Cpl || (LongMode && (!code.Long || code.Big)))
            throw Gp(selector);
        return code;
    }

    private void CallGate(in Descriptor gate, ulong nextRip)
    {
        var code = ReadGateTarget(gate, out var selector);
        if (!code.Present)
            throw Np(selector);
        var rip = GateTargetOffset(gate);
        var size = LongMode ? 8 : gate.Type == Descriptor.CallGate32 ? 4 : 2;
        var cpl = code.IsConforming ? Cpl : code.Dpl;
        if (cpl == Cpl)
        {
            var same = new GuestStack(this, State->Ss, State->Gpr[4], Privilege.Current, LongMode);
            same.Push(State->Cs.Selector, size);
            same.Push(nextRip, size);
            CheckTarget(rip, code, LongMode);
            MarkAccessed(code);
            same.Commit();
            SetCode(selector, code, rip, cpl);
            return;
        }

        if (LongMode)
        {
            var inner = new GuestStack(this, default, ReadStackPointer(4 + (8 * (uint)cpl)), Privilege.Supervisor, true);
            inner.Push(State->Ss.Selector, 8);
            inner.Push(State->Gpr[4], 8);
            inner.Push(State->Cs.Selector, 8);
            inner.Push(nextRip, 8);
            CheckTarget(rip, code, true);
            MarkAccessed(code);
            SetNullSegment(Seg.Ss, (ushort)cpl, cpl);
            inner.Commit();
        }
        else
            CallInner(gate, code, rip, size, cpl, nextRip);
        SetCode(selector, code, rip, cpl);
    }

    /// <summary>The stack of a call gate to an inner level outside long mode, with its parameters copied.</summary>
    private void CallInner(in Descriptor gate, in Descriptor code, ulong rip, int size, int cpl, ulong nextRip)
    {
        var pointer = ReadInnerStack(cpl, out var stackSelector, out var stackDescriptor);
        var stack = new GuestStack(this, stackDescriptor.ToSegment(stackSelector), pointer, Privilege.Supervisor, false,
            stackSelector);
        var caller = CurrentStack();
        stack.Push(State->Ss.Selector, size);
        stack.Push(State->Gpr[4], size);
        for (var i = gate.GateParameters - 1; i >= 0; i--)
            stack.Push(caller.Peek((ulong)(i * size), size), size);
        stack.Push(State->Cs.Selector, size);
        stack.Push(nextRip, size);
        CheckTarget(rip, code, false);
        MarkAccessed(code);
        SetSegment(Seg.Ss, stackSelector, stackDescriptor);
        stack.Commit();
    }
}
