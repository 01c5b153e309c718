using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>The ways out of a unit, and its loop.</summary>
internal sealed unsafe partial class X64Compiler
{
    private void EmitExitDirect(ref IrInsn i)
    {
        FlushX87();
        _alloc.SyncGlobals();
        if (i.Aux < 0)
        {
            _asm.MovImm(Reg.R10, i.Imm);
            EmitLookup(_b.HasFlatCode);
            return;
        }

        if (i.Extra == IrInsn.CheckExit)
            CheckExitRequest(i.Imm);
        LinkExit(_asm.JmpPatchable(), i);
    }

    /// <summary>Leaves at an address if somebody asked for it.</summary>
    private void CheckExitRequest(ulong pc)
    {
        _asm.OpImm(Alu.Cmp, 2, Eng(EngineOffsets.ExitRequest), 0);
        AddExit(_asm.Jcc(Cc.Ne), pc, -1);
    }

    private void LinkExit(byte* patch, in IrInsn exit)
    {
        SetSlot(exit.Aux, patch);
        AddExit(patch, exit.Imm, exit.Aux);
    }

    private void AddExit(byte* jump, ulong pc, int slot)
    {
        var cold = NewCold(ColdKind.Exit);
        (cold.Jump, cold.Pc, cold.Slot) = ((nint)jump, pc, slot);
    }

    /// <summary>Another cold path of the unit. The objects are used again from unit to unit.</summary>
    private ColdPath NewCold(ColdKind kind)
    {
        if (_coldCount == _cold.Count)
            _cold.Add(new ColdPath());
        var cold = _cold[_coldCount++];
        cold.Kind = kind;
        return cold;
    }

    /// <summary>
    /// Whether nothing but an exit that can be linked stands behind a label that only the present branch leads to: the branch
    /// may then be the exit.
    /// </summary>
    private bool TryExitAt(int label, out int exit)
    {
        exit = -1;
        var insns = _b.Insns;
        for (var j = 0; j < insns.Length; j++)
        {
            ref readonly var insn = ref insns[j];
            if (j != _alloc.At && insn.Op is IrOp.Br or IrOp.BrCond && insn.Aux == label)
                return false;
            if (insn.Op != IrOp.Label || insn.Aux != label)
                continue;
            if (j == 0 || j + 1 >= insns.Length || (IrInfo.Of(insns[j - 1].Op) & OpTraits.EndsPath) == 0
                || insns[j + 1] is not { Op: IrOp.ExitDirect, Aux: >= 0, Extra: 0 })
                return false;
            exit = j + 1;
        }

        return exit >= 0;
    }

    /// <summary>
    /// Whether nothing but an exit that can be linked stands between the present branch and its label: the branch, turned round, may
    /// then be that exit, and what is behind the label follows at once.
    /// </summary>
    private bool TryExitNext(int label, out int exit)
    {
        var insns = _b.Insns;
        exit = NextOf(_alloc.At);
        if (exit < 0 || insns[exit] is not { Op: IrOp.ExitDirect, Aux: >= 0, Extra: 0 })
            return false;
        var after = NextOf(exit);
        return after >= 0 && insns[after].Op == IrOp.Label && insns[after].Aux == label;
    }

    private int NextOf(int at)
    {
        var insns = _b.Insns;
        for (var j = at + 1; j < insns.Length; j++)
        {
            if (insns[j].Op != IrOp.Nop)
                return j;
        }

        return -1;
    }

    private void SetSlot(int slot, byte* patch)
    {
        while (_exits.Count <= slot)
            _exits.Add(default);
        CollectionsMarshal.AsSpan(_exits)[slot].Patch = patch;
    }

    /// <summary>An exit while it leads nowhere: tells which it was, and leaves.</summary>
    private void EmitUnlinked(ColdPath c)
    {
        if (c.Slot >= 0)
        {
            ref var exit = ref CollectionsMarshal.AsSpan(_exits)[c.Slot];
            exit.Unlinked = (int)(_asm.Position - (exit.Patch + 4));
        }

        _alloc.StoreConst(new Mem(Allocator.State, _layout.PcOffset), c.Pc);
        _alloc.StoreConst(Eng(EngineOffsets.LastExit), c.Slot < 0 ? 0 : _firstExit + (ulong)c.Slot);
        _asm.JmpTo(_thunks.Exit);
    }

    /// <summary>The path goes on in most cases: what only registers hold is stored on the way out.</summary>
    private void EmitExitIf(ref IrInsn i)
    {
        FlushX87();
        var target = i.Extra == IrInsn.ToOperand ? _alloc.Use(i.A) : Reg.None;
        var cc = EmitCompare(i.Cond, i.Width, i.A, i.B);
        var dirty = _dirty.Count;
        _alloc.Dirty(_dirty);
        if (target != Reg.None)
            AddSideExit(_asm.Jcc(cc), i, dirty, i.Aux).Address = target;
        else if (dirty == _dirty.Count && !_alloc.HasLateStores && i.Aux >= 0 && i.Extra == 0)
            LinkExit(_asm.JccPatchable(cc), i);
        else
            AddSideExit(_asm.Jcc(cc), i, dirty, i.Aux);
    }

    private ColdPath AddSideExit(byte* jump, in IrInsn exit, int dirty, int slot)
    {
        var cold = NewCold(ColdKind.SideExit);
        (cold.Op, cold.Jump, cold.Pc, cold.Slot, cold.Dirty) = (exit.Op, (nint)jump, exit.Imm, slot, dirty.._dirty.Count);
        (cold.Address, cold.Checks) = (Reg.None, exit.Extra == IrInsn.CheckExit);
        var vectors = _vectors.Count;
        _alloc.LateStores(_vectors);
        cold.Vectors = vectors.._vectors.Count;
        return cold;
    }

    private void EmitColdSideExit(ColdPath c)
    {
        _asm.PatchHere((byte*)c.Jump);
        StoreDirty(c);
        StoreVectors(c);
        if (c.Op == IrOp.ExitIf && c.Slot < 0)
        {
            if (c.Address == Reg.None)
                _asm.MovImm(Reg.R10, c.Pc);
            else if (c.Address != Reg.R10)
                _asm.Mov(3, Reg.R10, c.Address);
            EmitLookup(_b.HasFlatCode);
            return;
        }

        if (c.Slot >= 0)
        {
            if (c.Checks)
                CheckExitRequest(c.Pc);
            var patch = _asm.JmpPatchable();
            SetSlot(c.Slot, patch);
            _asm.PatchHere(patch);
        }

        EmitUnlinked(c);
    }

    private void StoreDirty(ColdPath c)
    {
        foreach (var (global, reg, value) in CollectionsMarshal.AsSpan(_dirty)[c.Dirty])
        {
            var home = new Mem(Allocator.State, _layout.Globals[global].Offset);
            if (reg == Reg.None)
                _alloc.StoreConst(home, value);
            else
                _asm.Store(3, home, reg);
        }
    }

    private void StoreVectors(ColdPath c)
    {
        foreach (var saved in CollectionsMarshal.AsSpan(_vectors)[c.Vectors])
        {
            if (saved.Store)
                _alloc.StoreVec(saved.Home, saved.Xmm, saved.Width);
        }
    }

    private void EmitLoopBack(ref IrInsn i)
    {
        FlushX87();
        _alloc.FlushVectors();
        _asm.OpImm(Alu.Cmp, 2, Eng(EngineOffsets.ExitRequest), 0);
        var dirty = _dirty.Count;
        _alloc.Dirty(_dirty);
        AddSideExit(_asm.Jcc(Cc.Ne), i, dirty, -1);
        _alloc.CloseLoop(_b);
        _jumps.Add(((nint)_asm.Jmp(), i.Aux));
    }

    /// <summary>Goes on at the address in R10 if the jump cache knows it in the state's mode; else leaves. No value lives.</summary>
    private void EmitLookup(bool flat)
    {
        // Index: (pc ^ pc >> 12) in entries of 32 bytes; EngineState.JumpIndex does the same.
        if (HostFeatures.Bmi2)
            _asm.Rorx(Reg.R11, Reg.R10, 12);
        else
        {
            _asm.Mov(3, Reg.R11, Reg.R10);
            _asm.ShiftImm(Shift.Shr, 3, Reg.R11, 12);
        }

        _asm.Op(Alu.Xor, 2, Reg.R11, Reg.R10);
        _asm.OpImm(Alu.And, 2, Reg.R11, (1 << EngineState.JumpCacheBits) - 1);
        _asm.ShiftImm(Shift.Shl, 2, Reg.R11, 5);
        _asm.Op(Alu.Add, 3, Reg.R11, Eng(EngineOffsets.JumpCache));
        _asm.Op(Alu.Cmp, 3, Reg.R10, new Mem(Reg.R11, 0));
        var miss0 = _asm.Jcc(Cc.Ne);
        _asm.Load(3, Reg.R12, new Mem(Allocator.State, _layout.ModeOffset));
        _asm.Op(Alu.Cmp, 3, Reg.R12, new Mem(Reg.R11, 16));
        var miss1 = _asm.Jcc(Cc.Ne);
        byte* miss2 = null;
        if (!flat)
        {
            _asm.Load(3, Reg.R12, new Mem(Allocator.State, _layout.CodeBaseOffset));
            _asm.Op(Alu.Cmp, 3, Reg.R12, new Mem(Reg.R11, 8));
            miss2 = _asm.Jcc(Cc.Ne);
        }

        _asm.OpImm(Alu.Cmp, 2, Eng(EngineOffsets.ExitRequest), 0);
        var miss3 = _asm.Jcc(Cc.Ne);
        _asm.JmpMem(new Mem(Reg.R11, 24));
        var cold = NewCold(ColdKind.LookupMiss);
        (cold.Jump, cold.Jump1, cold.Jump2, cold.Jump3) = ((nint)miss0, (nint)miss1, (nint)miss2, (nint)miss3);
    }
}
