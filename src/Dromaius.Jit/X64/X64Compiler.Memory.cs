using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>Guest memory: the inline TLB look-up and its cold path.</summary>
internal sealed unsafe partial class X64Compiler
{
    private const int TlbEntryShift = 5; // sizeof(TlbEntry) == 32
    private const int PageShift = 12;
    private const int TagRead = 0, TagWrite = 8, Addend = 16;

    private readonly (int Global, Reg Reg, ulong Const)[] _dirty = new (int, Reg, ulong)[64];
    private readonly SavedVector[] _vectors = new SavedVector[16];

    private void EmitMemory(ref IrInsn i)
    {
        var access = PackedAccess.Of(i);
        var isStore = i.Op is not (IrOp.GuestLd or IrOp.VGuestLd);
        var address = _alloc.Use(i.A);
        var cold = new ColdPath
        {
            Kind = ColdKind.Memory, Op = i.Op, Access = access, Address = address, Pc = _pc, ValueReg = Reg.None,
            Value2Reg = Reg.None, Result = Reg.None,
        };
        if (i.Op == IrOp.VGuestSt)
            cold.Xmm = _alloc.UseVec(i.B);
        else if (i.Op == IrOp.GuestSt && _alloc.TryImm(i.B, i.Width, out var imm))
            cold.ValueConst = (ulong)(long)imm;
        else if (i.B.IsValue || i.B.IsConst)
            cold.ValueReg = _alloc.Use(i.B);
        if (!i.C.IsNone)
            cold.Value2Reg = _alloc.Use(i.C);

        // Every register is chosen before the check: the cold path joins behind it and must find the same assignment.
        var host = _alloc.Scratch();
        var tag = _alloc.Scratch();
        var result = i.Op == IrOp.GuestLd ? _alloc.IsPinned(i.Dst) ? _alloc.Target(i.Dst) : host : Reg.None;
        var x = i.Op == IrOp.VGuestLd ? _alloc.TargetVec() : -1;
        var rax = i.Op == IrOp.GuestCas || (i.Op == IrOp.GuestRmw && (RmwKind)i.Extra > RmwKind.Add)
            ? _alloc.Scratch() : Reg.None;
        var next = i.Op == IrOp.GuestRmw && rax != Reg.None ? _alloc.Scratch() : Reg.None;
        cold.Dirty = Snapshot();
        cold.Vectors = LiveVectors();
        EmitTlbCheck(access, address, host, tag, isStore ? TagWrite : TagRead);
        cold.Jump = (nint)_asm.Jcc(Cc.Ne);
        _asm.Load(3, tag, new Mem(host, Addend));
        switch (i.Op)
        {
            case IrOp.GuestLd:
                {
                    _asm.Load((int)i.Width, result, new Mem(tag, 0, address));
                    cold.Result = result;
                    cold.Back = (nint)_asm.Position;
                    _alloc.Define(i.Dst, result, i.LastNeed);
                    break;
                }
            case IrOp.GuestSt:
                {
                    var m = new Mem(tag, 0, address);
                    if (cold.ValueReg == Reg.None)
                        _asm.StoreImm((int)i.Width, m, (int)cold.ValueConst);
                    else
                        _asm.Store((int)i.Width, m, cold.ValueReg);
                    cold.Back = (nint)_asm.Position;
                    break;
                }
            case IrOp.GuestRmw:
                EmitRmw(ref i, cold, address, host, tag, rax, next);
                break;
            case IrOp.GuestCas:
                EmitCas(ref i, cold, address, host, tag, rax);
                break;
            case IrOp.VGuestLd:
                {
                    VecMemory((int)i.Width, x, new Mem(tag, 0, address), false);
                    cold.Xmm = x;
                    cold.Back = (nint)_asm.Position;
                    _alloc.DefineVec(i.Dst, x, i.LastNeed);
                    break;
                }
            default:
                VecMemory((int)i.Width, cold.Xmm, new Mem(tag, 0, address), true);
                cold.Back = (nint)_asm.Position;
                break;
        }

        _cold.Add(cold);
    }

    private (int, Reg, ulong)[] Snapshot()
    {
        var n = _alloc.Dirty(_dirty);
        return n == 0 ? [] : _dirty.AsSpan(0, n).ToArray();
    }

    private SavedVector[] LiveVectors()
    {
        var n = _alloc.LiveVectors(_vectors);
        return n == 0 ? [] : _vectors.AsSpan(0, n).ToArray();
    }

    /// <summary>
    /// Leaves the TLB entry in <paramref name="host"/> and the comparison of its tag in the flags. An access that crosses a page
    /// or is misaligned where it must not be fails the comparison.
    /// </summary>
    private void EmitTlbCheck(PackedAccess access, Reg address, Reg host, Reg tag, int tagOffset)
    {
        var table = EngineOffsets.Tlb + 16 * access.MmuIndex;
        _asm.Mov(3, host, address);
        _asm.ShiftImm(Shift.Shr, 3, host, PageShift - TlbEntryShift);
        _asm.Op(Alu.And, 3, host, Eng(table));
        _asm.Op(Alu.Add, 3, host, Eng(table + 8));
        if (access.AlignMask != 0 || access.Size == 1)
            _asm.Mov(3, tag, address);
        else
            _asm.Lea(3, tag, new Mem(address, access.Size - 1));
        _asm.OpImm(Alu.And, 3, tag, -(1 << PageShift) | (int)access.AlignMask);
        _asm.Op(Alu.Cmp, 3, tag, new Mem(host, tagOffset));
    }

    /// <summary>Atomic read-modify-write with the host's own; the TLB entry's addend is in <paramref name="tag"/>.</summary>
    private void EmitRmw(ref IrInsn i, ColdPath cold, Reg address, Reg host, Reg tag, Reg rax, Reg next)
    {
        var w = (int)i.Width;
        var m = new Mem(host, 0);
        var old = tag;
        _asm.Lea(3, host, new Mem(tag, 0, address));
        switch ((RmwKind)i.Extra)
        {
            case RmwKind.Exchange:
                _asm.Mov(3, old, cold.ValueReg);
                _asm.Xchg(w, m, old);
                break;
            case RmwKind.Add:
                _asm.Mov(3, old, cold.ValueReg);
                _asm.LockXadd(w, m, old);
                break;
            default:
                {
                    // A loop around CMPXCHG, which wants the old value in RAX.
                    var operand = cold.ValueReg == Reg.Rax ? rax : cold.ValueReg;
                    _asm.Mov(3, rax, Reg.Rax);
                    _asm.Load(w, Reg.Rax, m);
                    var again = _asm.ExecPosition;
                    _asm.Mov(3, next, Reg.Rax);
                    _asm.Op((RmwKind)i.Extra switch { RmwKind.And => Alu.And, RmwKind.Or => Alu.Or, _ => Alu.Xor }, 3, next,
                        operand);
                    _asm.LockCmpxchg(w, m, next);
                    _asm.JccTo(Cc.Ne, again);
                    _asm.Mov(3, old, Reg.Rax);
                    _asm.Mov(3, Reg.Rax, rax);
                    break;
                }
        }

        FinishAtomic(ref i, cold, old);
    }

    private void EmitCas(ref IrInsn i, ColdPath cold, Reg address, Reg host, Reg tag, Reg rax)
    {
        var old = tag;
        _asm.Lea(3, host, new Mem(tag, 0, address));
        var desired = cold.Value2Reg == Reg.Rax ? rax : cold.Value2Reg;
        _asm.Mov(3, rax, Reg.Rax);
        if (cold.ValueReg != Reg.Rax)
            _asm.Mov(3, Reg.Rax, cold.ValueReg);
        _asm.LockCmpxchg((int)i.Width, new Mem(host, 0), desired);
        _asm.Mov(3, old, Reg.Rax);
        _asm.Mov(3, Reg.Rax, rax);
        FinishAtomic(ref i, cold, old);
    }

    private void FinishAtomic(ref IrInsn i, ColdPath cold, Reg old)
    {
        if (i.Width != W.Q)
            _asm.Movzx((int)i.Width, old, old);
        cold.Result = old;
        cold.Back = (nint)_asm.Position;

        // Operands and scratch registers are done with: the result may need one to move a value out of its way.
        _alloc.ClearLocks();
        _alloc.Lock(old);
        Result(ref i, old);
    }

    /// <summary>A vector load (clearing the rest) or store of 4, 8, 16 or 32 bytes.</summary>
    private void VecMemory(int width, int x, in Mem m, bool store)
    {
        var (pp, load, st) = width switch
        {
            2 => (1, 0x6E, 0x7E), // MOVD
            3 => (store ? 1 : 2, 0x7E, 0xD6), // MOVQ
            _ => (0, 0x10, 0x11), // MOVUPS
        };
        var op = store ? st : load;
        if (HostFeatures.Avx)
            _asm.VexRM(1, pp, op, false, width == 5, x, 0, m);
        else
            _asm.SseRM(1, pp, op, false, x, m);
    }

    private void EmitColdMemory(ColdPath c)
    {
        _asm.PatchHere((byte*)c.Jump);
        foreach (var (global, reg, value) in c.Dirty)
        {
            var home = new Mem(Allocator.State, _layout.Globals[global].Offset);
            if (reg == Reg.None)
                _alloc.StoreConst(home, value);
            else
                _asm.Store(3, home, reg);
        }

        _alloc.StoreConst(new Mem(Allocator.State, _layout.PcOffset), c.Pc);
        _asm.Store(3, Eng(EngineOffsets.Args), c.Address);
        var n = 1;
        if (c.Op is IrOp.GuestSt or IrOp.GuestRmw or IrOp.GuestCas)
        {
            var m = Eng(EngineOffsets.Args + 8 * n++);
            if (c.ValueReg == Reg.None)
                _alloc.StoreConst(m, c.ValueConst);
            else
                _asm.Store(3, m, c.ValueReg);
        }

        if (c.Op == IrOp.GuestCas)
            _asm.Store(3, Eng(EngineOffsets.Args + 8 * n++), c.Value2Reg);
        _alloc.StoreConst(Eng(EngineOffsets.Args + 8 * n), c.Access.Bits);
        var width = (int)c.Access.Width;
        if (c.Op == IrOp.VGuestSt)
            VecMemory(width, c.Xmm, Eng(EngineOffsets.Bounce), true);
        foreach (var saved in c.Vectors)
        {
            if (saved.Store)
                _alloc.StoreVec(saved.Home, saved.Xmm);
        }

        _asm.CallTo(c.Op switch
        {
            IrOp.GuestLd => _thunks.Load,
            IrOp.GuestSt => _thunks.Store,
            IrOp.GuestRmw => _thunks.Rmw,
            IrOp.GuestCas => _thunks.Cas,
            IrOp.VGuestLd => _thunks.VecLoad,
            _ => _thunks.VecStore,
        });
        foreach (var saved in c.Vectors)
            _alloc.LoadVec(saved.Xmm, saved.Home, saved.Width);
        if (c.Result != Reg.None)
            _asm.Load(3, c.Result, Eng(EngineOffsets.Result));
        if (c.Op == IrOp.VGuestLd)
            VecMemory(width, c.Xmm, Eng(EngineOffsets.Bounce), false);
        _asm.JmpTo((byte*)c.Back + _cache.ExecDelta);
    }
}
