using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>Guest memory: the inline TLB look-up and its cold path.</summary>
internal sealed unsafe partial class X64Compiler
{
    private const int TlbEntryShift = 5; // sizeof(TlbEntry) == 32
    private const int PageShift = 12;
    private const int TagRead = 0, TagWrite = 8, Addend = 16;

    // Of each group: the distance of the access whose check is in force from the group's first, and whether it allows stores.
    private int[] _groupAnchor = new int[64];
    private bool[] _groupWritable = new bool[64];

    private void EmitMemory(ref IrInsn i)
    {
        var access = PackedAccess.Of(i);
        var isStore = i.Op == IrOp.X87Mem ? X87Access.Of(i).IsStore : i.Op is not (IrOp.GuestLd or IrOp.VGuestLd);
        var cold = NewCold(ColdKind.Memory);
        (cold.Op, cold.Access, cold.Displacement, cold.Pc) = (i.Op, access, (int)i.Imm, _pc);
        cold.Address = cold.ValueReg = cold.Value2Reg = cold.Result = cold.GroupOffset = Reg.None;
        cold.PageSlot = -1;
        cold.AddressHome = new Mem(Reg.None, 0);
        if (i.Op == IrOp.X87Mem)
        {
            cold.X87Access = X87Access.Of(i);
            PrepareX87Access(i);
        }

        cold.X87 = _x87;
        if (i.Group != 0 && (_groupWritable[i.Group] || !isStore) && _alloc.TryGroup(i.Group, out var offset, out var page))
            EmitShared(ref i, cold, access, offset, page);
        else if (i.Op is IrOp.GuestRmw or IrOp.GuestCas)
            EmitAtomic(ref i, cold, access);
        else
            EmitChecked(ref i, cold, access, isStore);
    }

    /// <summary>An access close to one that was checked: it only must not leave the page.</summary>
    private void EmitShared(ref IrInsn i, ColdPath cold, PackedAccess access, Reg offset, Reg page)
    {
        if (i.A.IsConst)
            cold.AddressConst = _b.ConstValue(i.A);
        else if (_alloc.TryMemory(i.A, out var home))
            cold.AddressHome = home;
        else
            cold.Address = _alloc.Use(i.A);
        UseValue(ref i, cold);
        var distance = i.Delta - _groupAnchor[i.Group];
        var limit = (1 << PageShift) - access.Size;
        // Ending no later than the anchor begins, an access can only leave the page at its start.
        var below = distance + access.Size - 1 <= 0;
        var low = distance < 0 && !below ? _alloc.Scratch() : Reg.None;
        var result = i.Op == IrOp.GuestLd ? _alloc.Target(i.Dst) : Reg.None;
        var x = i.Op == IrOp.VGuestLd ? _alloc.TargetVec() : -1;
        Snapshot(cold);
        if (low != Reg.None)
            _asm.Lea(2, low, new Mem(offset, distance));
        _asm.OpImm(Alu.Cmp, 2, low != Reg.None ? low : offset, low != Reg.None ? limit : below ? -distance : limit - distance);
        cold.Jump = (nint)_asm.Jcc(below ? Cc.L : Cc.A);
        Access(ref i, cold, new Mem(page, distance), result, x);
    }

    private void EmitChecked(ref IrInsn i, ColdPath cold, PackedAccess access, bool isStore)
    {
        var address = cold.Address = _alloc.Use(i.A);
        UseValue(ref i, cold);

        // Every register is chosen before the check: the cold path joins behind it and must find the same assignment.
        if (i.Group != 0)
            _alloc.DropGroup(i.Group);
        var host = _alloc.Scratch();
        var tag = _alloc.Scratch();
        var grouped = i.Group != 0 && _addresses.LastOf(i.Group) > _alloc.At;
        var result = i.Op != IrOp.GuestLd ? Reg.None : grouped || _alloc.IsPinned(i.Dst) ? _alloc.Target(i.Dst) : host;
        var x = i.Op == IrOp.VGuestLd ? _alloc.TargetVec() : -1;
        Snapshot(cold);
        var writable = isStore || (grouped && StoresNext(i));
        if (_b.IsHot && access.AlignMask == 0 && _steady.IsSteady(_alloc.At))
            EmitLastPage(cold, access, address, host, tag, writable ? TagWrite : TagRead);
        else
        {
            EmitTlbCheck(access, address, cold.Displacement, host, tag, writable ? TagWrite : TagRead);
            cold.Jump = (nint)_asm.Jcc(Cc.Ne);
            _asm.Load(3, tag, new Mem(host, Addend));
        }

        if (!grouped)
        {
            Access(ref i, cold, new Mem(tag, cold.Displacement, address), result, x);
            return;
        }

        if (cold.PageSlot < 0)
            EmitGroup(cold, host, tag);
        else
            _asm.Lea(3, tag, new Mem(tag, cold.Displacement, address));
        cold.GroupOffset = host;
        cold.GroupHost = tag;
        cold.Slot = writable ? TagWrite : TagRead;
        _groupAnchor[i.Group] = i.Delta;
        _groupWritable[i.Group] = writable;
        _alloc.KeepGroup(i.Group, host, tag, _addresses.LastOf(i.Group));
        Access(ref i, cold, new Mem(tag, 0), result, x);
    }

    /// <summary>From the addend in <paramref name="page"/>: the host address there, and the offset in the page.</summary>
    private void EmitGroup(ColdPath c, Reg offset, Reg page)
    {
        Displaced(offset, c.Address, c.Displacement);
        _asm.Op(Alu.Add, 3, page, offset);
        _asm.OpImm(Alu.And, 2, offset, (1 << PageShift) - 1);
    }

    /// <summary>The group is certain to store later: it asks for permission to write at once.</summary>
    private bool StoresNext(in IrInsn load)
    {
        var insns = _b.Insns;
        for (var j = _alloc.At + 1; j <= _addresses.LastOf(load.Group); j++)
        {
            if (insns[j].Group == load.Group && (insns[j].Op is IrOp.GuestSt or IrOp.VGuestSt
                || (insns[j].Op == IrOp.X87Mem && X87Access.Of(insns[j]).IsStore)))
                return true;
            if (insns[j].Op is IrOp.BrCond or IrOp.ExitIf)
                return false;
        }

        return false;
    }

    /// <summary>The operands beside the address.</summary>
    private void UseValue(ref IrInsn i, ColdPath cold)
    {
        if (i.Op == IrOp.VGuestSt)
            cold.Xmm = _alloc.UseVec(i.B);
        else if (i.Op == IrOp.GuestSt && _alloc.TryImm(i.B, i.Width, out var imm))
            cold.ValueConst = (ulong)(long)imm;
        else if (i.B.IsValue || i.B.IsConst)
            cold.ValueReg = _alloc.Use(i.B);
        if (!i.C.IsNone)
            cold.Value2Reg = _alloc.Use(i.C);
    }

    /// <summary>The access itself, once its host address is known.</summary>
    private void Access(ref IrInsn i, ColdPath cold, in Mem m, Reg result, int x)
    {
        switch (i.Op)
        {
            case IrOp.GuestLd:
                _asm.Load((int)i.Width, result, m);
                cold.Result = result;
                cold.Back = (nint)_asm.Position;
                _alloc.Define(i.Dst, result, i.LastNeed);
                break;
            case IrOp.GuestSt:
                if (cold.ValueReg == Reg.None)
                    _asm.StoreImm((int)i.Width, m, (int)cold.ValueConst);
                else
                    _asm.Store((int)i.Width, m, cold.ValueReg);
                cold.Back = (nint)_asm.Position;
                break;
            case IrOp.VGuestLd:
                VecMemory((int)i.Width, x, m, false);
                cold.Xmm = x;
                cold.Back = (nint)_asm.Position;
                _alloc.DefineVec(i.Dst, x, i.LastNeed);
                break;
            case IrOp.X87Mem:
                X87MemoryOperand(cold.X87Access, m);
                cold.Back = (nint)_asm.Position;
                FinishX87Access(ref _x87, cold.X87Access, i.Extra);
                break;
            default:
                VecMemory((int)i.Width, cold.Xmm, m, true);
                cold.Back = (nint)_asm.Position;
                break;
        }
    }

    private void EmitAtomic(ref IrInsn i, ColdPath cold, PackedAccess access)
    {
        var address = cold.Address = _alloc.Use(i.A);
        UseValue(ref i, cold);
        var host = _alloc.Scratch();
        var tag = _alloc.Scratch();
        var rax = i.Op == IrOp.GuestCas || (RmwKind)i.Extra > RmwKind.Add ? _alloc.Scratch() : Reg.None;
        var next = i.Op == IrOp.GuestRmw && rax != Reg.None ? _alloc.Scratch() : Reg.None;
        Snapshot(cold);
        EmitTlbCheck(access, address, cold.Displacement, host, tag, TagWrite);
        cold.Jump = (nint)_asm.Jcc(Cc.Ne);
        _asm.Load(3, tag, new Mem(host, Addend));
        _asm.Lea(3, host, new Mem(tag, cold.Displacement, address));
        if (i.Op == IrOp.GuestCas)
            EmitCas(ref i, cold, host, tag, rax);
        else
            EmitRmw(ref i, cold, host, tag, rax, next);
    }

    /// <summary>What the cold path of the present access must store and keep.</summary>
    private void Snapshot(ColdPath cold)
    {
        var (dirty, vectors) = (_dirty.Count, _vectors.Count);
        _alloc.Dirty(_dirty);
        _alloc.LiveVectors(_vectors);
        cold.Dirty = dirty.._dirty.Count;
        cold.Vectors = vectors.._vectors.Count;
        cold.Groups = _alloc.LiveGroups();
    }

    /// <summary>
    /// Leaves the TLB entry in <paramref name="host"/> and the comparison of its tag in the flags. An access that crosses a page
    /// or is misaligned where it must not be fails the comparison.
    /// </summary>
    private void EmitTlbCheck(PackedAccess access, Reg address, int displacement, Reg host, Reg tag, int tagOffset)
    {
        EmitTlbEntry(access, address, displacement, host);
        EmitTag(access, address, displacement, tag);
        _asm.Op(Alu.Cmp, 3, tag, new Mem(host, tagOffset));
    }

    /// <summary>What the tag must be: the page of the last byte, and the bits that must be clear.</summary>
    private void EmitTag(PackedAccess access, Reg address, int displacement, Reg tag)
    {
        Displaced(tag, address, access.AlignMask != 0 ? displacement : displacement + access.Size - 1);
        _asm.OpImm(Alu.And, 3, tag, -(1 << PageShift) | (int)access.AlignMask);
    }

    private void EmitTlbEntry(PackedAccess access, Reg address, int displacement, Reg host)
    {
        var table = EngineOffsets.Tlb + 16 * access.MmuIndex;
        if (displacement == 0 && HostFeatures.Bmi2)
            _asm.Rorx(host, address, PageShift - TlbEntryShift); // the mask takes what came round
        else
        {
            Displaced(host, address, displacement);
            _asm.ShiftImm(Shift.Shr, 3, host, PageShift - TlbEntryShift);
        }

        _asm.Op(Alu.And, 3, host, Eng(table));
        _asm.Op(Alu.Add, 3, host, Eng(table + 8));
    }

    private void Displaced(Reg d, Reg address, int displacement)
    {
        if (displacement == 0)
            _asm.Mov(3, d, address);
        else
            _asm.Lea(3, d, new Mem(address, displacement));
    }

    /// <summary>Atomic read-modify-write with the host's own; the host address is in <paramref name="host"/>.</summary>
    private void EmitRmw(ref IrInsn i, ColdPath cold, Reg host, Reg tag, Reg rax, Reg next)
    {
        var w = (int)i.Width;
        var m = new Mem(host, 0);
        var old = tag;
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

    private void EmitCas(ref IrInsn i, ColdPath cold, Reg host, Reg tag, Reg rax)
    {
        var old = tag;
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
        if (c.PageSlot >= 0)
            EmitColdLastPage(c);
        StoreDirty(c);
        _alloc.StoreConst(new Mem(Allocator.State, _layout.PcOffset), c.Pc);
        EmitColdAddress(c);
        SaveX87(c);
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
        StoreVectors(c);
        _asm.CallTo(c.Op switch
        {
            IrOp.GuestLd => _thunks.Load,
            IrOp.GuestSt => _thunks.Store,
            IrOp.GuestRmw => _thunks.Rmw,
            IrOp.GuestCas => _thunks.Cas,
            IrOp.VGuestLd => _thunks.VecLoad,
            IrOp.X87Mem when !c.X87Access.IsStore => _thunks.VecLoad,
            _ => _thunks.VecStore,
        });
        foreach (var saved in CollectionsMarshal.AsSpan(_vectors)[c.Vectors])
        {
            if (saved.Load)
                _alloc.LoadVec(saved.Xmm, saved.Home, saved.Width);
        }

        // The slow path may have changed what addresses mean (a device that moves memory).
        for (var groups = c.Groups; groups != 0; groups &= groups - 1)
            _asm.Op(Alu.Or, 2, (Reg)System.Numerics.BitOperations.TrailingZeroCount(groups), Eng(EngineOffsets.GroupsEnd));
        if (c.GroupOffset != Reg.None)
            EmitColdGroup(c);
        RestoreX87(c);
        if (c.Result != Reg.None)
            _asm.Load(3, c.Result, Eng(EngineOffsets.Result));
        if (c.Op == IrOp.VGuestLd)
            VecMemory(width, c.Xmm, Eng(EngineOffsets.Bounce), false);
        _asm.JmpTo((byte*)c.Back + _cache.ExecDelta);
    }

    private void EmitColdAddress(ColdPath c)
    {
        var into = Eng(EngineOffsets.Args);
        if (c.Address != Reg.None)
            _asm.Store(3, into, c.Address);
        else if (c.AddressHome.Base != Reg.None)
        {
            var saved = Eng(EngineOffsets.Scratch0);
            _asm.Store(3, saved, Reg.R10);
            _asm.Load(3, Reg.R10, c.AddressHome);
            _asm.Store(3, into, Reg.R10);
            _asm.Load(3, Reg.R10, saved);
        }
        else
        {
            _alloc.StoreConst(into, c.AddressConst + (ulong)c.Displacement);
            return;
        }

        if (c.Displacement != 0)
            _asm.OpImm(Alu.Add, 3, into, c.Displacement);
    }

    /// <summary>Behind a slow first access: its page is in the TLB now, or the rest of its group takes the slow path too.</summary>
    private void EmitColdGroup(ColdPath c)
    {
        EmitTlbCheck(c.Access, c.Address, c.Displacement, c.GroupOffset, c.GroupHost, c.Slot);
        var miss = _asm.Jcc(Cc.Ne);
        _asm.Load(3, c.GroupHost, new Mem(c.GroupOffset, Addend));
        EmitGroup(c, c.GroupOffset, c.GroupHost);
        var done = _asm.Jmp();
        _asm.PatchHere(miss);
        _asm.MovImm(c.GroupOffset, EngineState.NoPage);
        _asm.PatchHere(done);
    }
}
