namespace Dromaius.Cpu.X86;

/// <content>IRET and far RET (Intel SDM volume 2, IRET and RET; volume 3, sections 5.8.6 and 6.12).</content>
public sealed unsafe partial class X86Cpu
{
    internal void InterruptReturn(int size, ulong nextRip)
    {
        if (!ProtectedMode)
            ReturnReal(size);
        else if (VirtualMode)
            ReturnVirtual(size);
        else if ((State->Eflags & Eflags.Nt) != 0)
        {
            if (LongMode)
                throw Gp();
            ReturnFromTask(nextRip);
        }
        else
            ReturnProtected(size);

        State->NmiBlocked = 0;
        RecheckRequests();
    }

    private void ReturnReal(int size)
    {
        var stack = CurrentStack();
        var rip = stack.Pop(size);
        var selector = (ushort)stack.Pop(size);
        var flags = stack.Pop(size);
        if (rip > State->Cs.Limit)
            throw Gp();
        stack.Commit();
        SetRealSegment(Seg.Cs, selector);
        State->Rip = rip;
        const uint kept = Eflags.Vm | Eflags.Vif | Eflags.Vip;
        WriteEflags(flags, size == 2 ? 0xFFFF : Eflags.All & ~kept);
    }

    private void ReturnVirtual(int size)
    {
        var privileged = (State->Eflags & Eflags.Iopl) == Eflags.Iopl;
        if (!privileged && ((State->Cr4 & Cr.Vme) == 0 || size != 2))
            throw Gp();
        var stack = CurrentStack();
        var rip = stack.Pop(size);
        var selector = (ushort)stack.Pop(size);
        var flags = stack.Pop(size);
        if (rip > 0xFFFF)
            throw Gp();
        var mask = (size == 2 ? 0xFFFFu : Eflags.All & ~(Eflags.Vm | Eflags.Vif | Eflags.Vip)) & ~Eflags.Iopl;
        if (!privileged)
        {
            if ((flags & Eflags.Tf) != 0 || ((flags & Eflags.If) != 0 && (State->Eflags & Eflags.Vip) != 0))
                throw Gp();
            flags = (flags & ~(ulong)Eflags.Vif) | ((flags & Eflags.If) != 0 ? Eflags.Vif : 0);
            mask = (mask & ~Eflags.If) | Eflags.Vif;
        }

        stack.Commit();
        SetVirtualSegment(Seg.Cs, selector);
        State->Rip = rip;
        WriteEflags(flags, mask);
    }

    private void ReturnProtected(int size)
    {
        var cpl = Cpl;
        var from64 = Code64;
        var stack = CurrentStack();
        var rip = stack.Pop(size);
        var selector = (ushort)stack.Pop(size);
        var flags = stack.Pop(size);
        if (size == 4 && (flags & Eflags.Vm) != 0 && cpl == 0 && !LongMode)
        {
            ReturnToVirtual(ref stack, rip, selector, flags);
            return;
        }

        // From 64-bit code SS:RSP is always there, whatever the level (SDM volume 3, section 6.14.3).
        var mask = FlagsWritable(size, cpl);
        ReturnFar(ref stack, size, rip, selector, 0, from64);
        WriteEflags(flags, mask);
    }

    /// <summary>The flags that IRET and POPF may change at a privilege level.</summary>
    private uint FlagsWritable(int size, int cpl)
    {
        var mask = Eflags.Arithmetic | Eflags.Tf | Eflags.Df | Eflags.Nt;
        if (size >= 4)
            mask |= Eflags.Rf | Eflags.Ac | Eflags.Id;
        if (cpl <= (int)((State->Eflags & Eflags.Iopl) >> 12))
            mask |= Eflags.If;
        if (cpl == 0)
            mask |= Eflags.Iopl | (size >= 4 ? Eflags.Vif | Eflags.Vip : 0);
        return mask;
    }

    private void ReturnToVirtual(ref GuestStack stack, ulong rip, ushort selector, ulong flags)
    {
        var rsp = stack.Pop(4);
        var ss = (ushort)stack.Pop(4);
        var es = (ushort)stack.Pop(4);
        var ds = (ushort)stack.Pop(4);
        var fs = (ushort)stack.Pop(4);
        var gs = (ushort)stack.Pop(4);
        if (rip > 0xFFFF)
            throw Gp();
        SetVirtualSegment(Seg.Cs, selector);
        SetVirtualSegment(Seg.Ss, ss);
        SetVirtualSegment(Seg.Es, es);
        SetVirtualSegment(Seg.Ds, ds);
        SetVirtualSegment(Seg.Fs, fs);
        SetVirtualSegment(Seg.Gs, gs);
        State->Gpr[4] = rsp;
        State->Rip = rip;
        WriteEflags(flags, Eflags.All);
    }

    internal void FarReturn(int size, uint release)
    {
        var stack = CurrentStack();
        if (RealOrVirtual)
        {
            var ip = stack.Pop(size);
            var cs = (ushort)stack.Pop(size);
            if (ip > (VirtualMode ? 0xFFFF : State->Cs.Limit))
                throw Gp();
            stack.Move(release);
            stack.Commit();
            if (VirtualMode)
                SetVirtualSegment(Seg.Cs, cs);
            else
                SetRealSegment(Seg.Cs, cs);
            State->Rip = ip;
            UpdateMode();
            return;
        }

        var rip = stack.Pop(size);
        var selector = (ushort)stack.Pop(size);
        ReturnFar(ref stack, size, rip, selector, release, false);
    }

    /// <summary>The part that IRET and far RET share: checks, then loads CS:RIP and, for an outer level, SS:RSP.</summary>
    /// <param name="stack">With offset, selector and flags popped.</param>
    /// <param name="size">Operand size.</param>
    /// <param name="rip">The popped offset.</param>
    /// <param name="selector">The popped selector.</param>
    /// <param name="release">Bytes of parameters to skip on both stacks.</param>
    /// <param name="alwaysStack">SS:RSP is popped even without a change of level.</param>
    private void ReturnFar(ref GuestStack stack, int size, ulong rip, ushort selector, uint release, bool alwaysStack)
    {
        var cpl = Cpl;
        var rpl = selector & 3;
        if (IsNull(selector))
            throw Gp();
        var code = ReadDescriptorOrGp(selector);
        if (!code.IsCode || rpl < cpl || (code.IsConforming ? code.Dpl > rpl : code.Dpl != rpl))
            throw Gp(selector);
        if (!code.Present)
            throw Np(selector);
        var to64 = LongMode && code.Long;
        if (to64 && code.Big)
            throw Gp(selector);

        stack.Move(release);
        if (rpl == cpl && !alwaysStack)
        {
            CheckTarget(rip, code, to64);
            SetSegment(Seg.Cs, selector, code);
            stack.Commit();
            State->Rip = rip;
            UpdateMode();
            return;
        }

        var rsp = stack.Pop(size);
        var ssSelector = (ushort)stack.Pop(size);
        Descriptor ss = default;
        if (IsNull(ssSelector))
        {
            if (!to64 || rpl == 3)
                throw Gp();
            if ((ssSelector & 3) != rpl)
                throw Gp(ssSelector);
        }
        else
        {
            ss = ReadDescriptorOrGp(ssSelector);
            if ((ssSelector & 3) != rpl || !ss.IsWritableData || ss.Dpl != rpl)
                throw Gp(ssSelector);
            if (!ss.Present)
                throw Ss(ssSelector);
        }

        CheckTarget(rip, code, to64);
        MarkAccessed(code);
        if (!IsNull(ssSelector))
            MarkAccessed(ss);
        SetSegment(Seg.Cs, selector, code);
        if (IsNull(ssSelector))
            SetNullSegment(Seg.Ss, ssSelector, rpl);
        else
            SetSegment(Seg.Ss, ssSelector, ss);
        State->Rip = rip;
        SetReturnedStack(rsp, size, to64, release);
        if (rpl > cpl)
            DropInnerSegments(rpl);
        UpdateMode();
    }

    private void SetReturnedStack(ulong rsp, int size, bool to64, uint release)
    {
        if (to64)
            State->Gpr[4] = rsp + release;
        else if (State->Ss.Big)
            State->Gpr[4] = (uint)(rsp + release);
        else
        {
            // A 16-bit stack takes SP only; the bits above stay.
            State->Gpr[4] = (State->Gpr[4] & ~0xFFFFUL) | ((rsp + release) & 0xFFFF);
        }
    }

    private void CheckTarget(ulong rip, in Descriptor code, bool to64)
    {
        if (to64 ? !IsCanonical(rip) : rip > code.Limit)
            throw Gp();
    }
}
