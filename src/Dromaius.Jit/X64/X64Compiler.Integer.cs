using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

internal sealed unsafe partial class X64Compiler
{
    private static int Bits(W w) => w == W.D ? 32 : 64;

    private void EmitAdd(ref IrInsn i)
    {
        var w = (int)i.Width;
        if (_alloc.TryImm(i.A, i.Width, out _) && !_alloc.TryConst(i.B, out _))
            (i.A, i.B) = (i.B, i.A);
        if (_alloc.TryImm(i.B, i.Width, out var imm))
        {
            var a = _alloc.Use(i.A);
            var d = _alloc.Target(i.Dst, i.A);
            if (d == a)
            {
                _asm.OpImm(Alu.Add, w, d, imm);
                NoteFlags();
            }
            else
                _asm.Lea(w, d, new Mem(a, imm));
            _alloc.Define(i.Dst, d, i.LastNeed);
            return;
        }

        {
            var a = _alloc.Use(i.A);
            var b = _alloc.Use(i.B);
            var d = _alloc.Target(i.Dst, i.A, i.B);
            if (d == a || d == b)
            {
                _asm.Op(Alu.Add, w, d, d == a ? b : a);
                NoteFlags();
            }
            else
                _asm.Lea(w, d, new Mem(a, 0, b));
            _alloc.Define(i.Dst, d, i.LastNeed);
        }
    }

    private void EmitBinary(ref IrInsn i, Alu op, bool commutes)
    {
        var w = (int)i.Width;
        if (commutes && _alloc.TryConst(i.A, out _) && !_alloc.TryConst(i.B, out _))
            (i.A, i.B) = (i.B, i.A);
        if (_alloc.TryImm(i.B, i.Width, out var imm))
        {
            // AND with a small mask is a zero-extension that needs no copy.
            if (op == Alu.And && imm is 0xFF or 0xFFFF)
            {
                var s = _alloc.Use(i.A);
                var t = _alloc.Target(i.Dst, i.A);
                _asm.Movzx(imm == 0xFF ? 0 : 1, t, s);
                _alloc.Define(i.Dst, t, i.LastNeed);
                return;
            }

            var a = _alloc.Use(i.A);
            var d = _alloc.Target(i.Dst, i.A);
            if (op == Alu.Sub && d != a && imm != int.MinValue)
                _asm.Lea(w, d, new Mem(a, -imm));
            else
            {
                MoveFor(w, d, a);
                _asm.OpImm(op, w, d, imm);
                NoteFlags();
            }

            _alloc.Define(i.Dst, d, i.LastNeed);
            return;
        }

        {
            var a = _alloc.Use(i.A);
            var memory = _alloc.TryMemory(i.B, out var m);
            var b = memory ? Reg.None : _alloc.Use(i.B);
            var d = commutes ? _alloc.Target(i.Dst, i.A, i.B) : _alloc.Target(i.Dst, i.A);
            if (memory && !_alloc.TryMemory(i.B, out m))
                throw new InvalidOperationException("operand moved");
            if (d == a)
                OpWith(op, w, d, b, m);
            else if (d != b)
            {
                MoveFor(w, d, a);
                OpWith(op, w, d, b, m);
            }
            else if (commutes)
                _asm.Op(op, w, d, a);
            else
            {
                var t = _alloc.Scratch();
                _asm.Mov(3, t, b);
                MoveFor(w, d, a);
                _asm.Op(op, w, d, t);
            }

            NoteFlags();
            _alloc.Define(i.Dst, d, i.LastNeed);
        }
    }

    private void OpWith(Alu op, int w, Reg d, Reg b, in Mem m)
    {
        if (b == Reg.None)
            _asm.Op(op, w, d, m);
        else
            _asm.Op(op, w, d, b);
    }

    /// <summary>Copies the bits an operation of this width reads; nothing when they are there.</summary>
    private void MoveFor(int w, Reg d, Reg s)
    {
        if (d != s)
            _asm.Mov(w == 3 ? 3 : 2, d, s);
    }

    private void EmitAndNot(ref IrInsn i)
    {
        var w = (int)i.Width;
        var a = _alloc.Use(i.A);
        var b = _alloc.Use(i.B);
        var t = _alloc.Scratch();
        _asm.Mov(3, t, a);
        _asm.Not(w, t);
        _asm.Op(Alu.And, w, t, b);
        Result(ref i, t);
    }

    /// <summary>Gives a value computed in a scratch register to the destination.</summary>
    private void Result(ref IrInsn i, Reg t)
    {
        if (_alloc.IsPinned(i.Dst))
        {
            var d = _alloc.Target(i.Dst);
            _asm.Mov(3, d, t);
            _alloc.Define(i.Dst, d, i.LastNeed);
        }
        else
            _alloc.Define(i.Dst, t, i.LastNeed);
    }

    /// <param name="i">The operation.</param>
    /// <param name="op">Its legacy form.</param>
    /// <param name="bmiPrefix">VEX prefix of the BMI2 form, or -1 when there is none.</param>
    private void EmitShift(ref IrInsn i, Shift op, int bmiPrefix)
    {
        var w = (int)i.Width;
        if (_alloc.TryConst(i.B, out var count))
        {
            var a = _alloc.Use(i.A);
            var d = _alloc.Target(i.Dst, i.A);
            if (d != a || w == 2)
                MoveFor(w, d, a);
            count &= (ulong)Bits(i.Width) - 1;
            if (count != 0)
                _asm.ShiftImm(op, w, d, (int)count);
            else if (w == 2)
                _asm.Movzx(2, d, d);
            _alloc.Define(i.Dst, d, i.LastNeed);
            return;
        }

        var src = _alloc.Use(i.A);
        var c = _alloc.Use(i.B);
        if (bmiPrefix >= 0 && HostFeatures.Bmi2)
        {
            var d = _alloc.Target(i.Dst, i.A, i.B);
            _asm.VexGpr(2, bmiPrefix, 0xF7, w, d, c, src);
            _alloc.Define(i.Dst, d, i.LastNeed);
            return;
        }

        _alloc.Lock(Reg.Rcx);
        var t = _alloc.Scratch();
        _asm.Mov(3, t, src);
        if (c != Reg.Rcx)
            _asm.Xchg(3, Reg.Rcx, c);
        _asm.ShiftCl(op, w, t);
        if (c != Reg.Rcx)
            _asm.Xchg(3, Reg.Rcx, c);
        Result(ref i, t);
    }

    private void EmitMul(ref IrInsn i)
    {
        var w = (int)i.Width;
        if (HostFeatures.Bmi2 && i.Width == W.Q && NextOf(_alloc.At) is var next and >= 0)
        {
            // Both halves of one product.
            ref var upper = ref _b.Insns[next];
            if (upper is { Op: IrOp.MulHiU, Width: W.Q } && upper.A == i.A && upper.B == i.B && i.Dst != i.A && i.Dst != i.B)
            {
                var (high, low) = EmitMulx(i.A, i.B);
                Result(ref i, low);
                Result(ref upper, high);
                upper.Op = IrOp.Nop;
                return;
            }
        }

        if (_alloc.TryImm(i.B, i.Width, out var imm))
        {
            var s = _alloc.Use(i.A);
            var d = _alloc.Target(i.Dst, i.A);
            _asm.ImulImm(w, d, s, imm);
            _alloc.Define(i.Dst, d, i.LastNeed);
            return;
        }

        var a = _alloc.Use(i.A);
        var b = _alloc.Use(i.B);
        var t = _alloc.Target(i.Dst, i.A, i.B);
        if (t == a)
            _asm.Imul(w, t, b);
        else if (t == b)
            _asm.Imul(w, t, a);
        else
        {
            MoveFor(w, t, a);
            _asm.Imul(w, t, b);
        }

        _alloc.Define(i.Dst, t, i.LastNeed);
    }

    /// <summary>The 128-bit product. One of the operands has to be in RDX.</summary>
    private (Reg High, Reg Low) EmitMulx(Val a, Val b)
    {
        var (one, other) = (_alloc.Use(a), _alloc.Use(b));
        if (other == Reg.Rdx)
            (one, other) = (other, one);
        var (high, low) = (_alloc.Scratch(), _alloc.Scratch());
        var rdx = Reg.None;
        if (one != Reg.Rdx)
        {
            rdx = _alloc.Scratch();
            _asm.Mov(3, rdx, Reg.Rdx);
            _asm.Mov(3, Reg.Rdx, one);
        }

        _asm.VexGpr(2, 3, 0xF6, 3, high, low, other);
        if (rdx != Reg.None)
            _asm.Mov(3, Reg.Rdx, rdx);
        return (high, low);
    }

    private void EmitMulHigh(ref IrInsn i)
    {
        var signed = i.Op == IrOp.MulHiS;
        if (!signed && i.Width == W.Q && HostFeatures.Bmi2)
        {
            Result(ref i, EmitMulx(i.A, i.B).High);
            return;
        }

        var a = _alloc.Use(i.A);
        var b = _alloc.Use(i.B);
        var t = _alloc.Scratch();
        if (i.Width == W.D)
        {
            var u = _alloc.Scratch();
            if (signed)
            {
                _asm.Movsx(2, t, a);
                _asm.Movsx(2, u, b);
            }
            else
            {
                _asm.Movzx(2, t, a);
                _asm.Movzx(2, u, b);
            }

            _asm.Imul(3, t, u);
            _asm.ShiftImm(Shift.Shr, 3, t, 32);
        }
        else
        {
            // One-operand multiplication takes RAX and RDX: kept in scratch registers meanwhile.
            var rax = _alloc.Scratch();
            var rdx = _alloc.Scratch();
            _asm.Mov(3, rax, Reg.Rax);
            _asm.Mov(3, rdx, Reg.Rdx);
            _asm.Mov(3, t, b);
            _asm.Mov(3, Reg.Rax, a);
            _asm.Group3(3, signed ? 5 : 4, t);
            _asm.Mov(3, t, Reg.Rdx);
            _asm.Mov(3, Reg.Rax, rax);
            _asm.Mov(3, Reg.Rdx, rdx);
        }

        Result(ref i, t);
    }

    private void EmitUnary(ref IrInsn i)
    {
        var w = (int)i.Width;
        var a = _alloc.Use(i.A);
        var d = _alloc.Target(i.Dst, i.A);
        MoveFor(w, d, a);
        switch (i.Op)
        {
            case IrOp.Neg:
                _asm.Neg(w, d);
                break;
            case IrOp.Not:
                _asm.Not(w, d);
                break;
            default:
                _asm.Bswap(w, d);
                break;
        }

        _alloc.Define(i.Dst, d, i.LastNeed);
    }

    private void EmitCount(ref IrInsn i)
    {
        var w = (int)i.Width;
        var a = _alloc.Use(i.A);
        if (i.Op == IrOp.Popcnt || HostFeatures.Lzcnt)
        {
            var d = _alloc.Target(i.Dst, i.A);
            _asm.CountOp(i.Op switch { IrOp.Popcnt => 0xB8, IrOp.Ctz => 0xBC, _ => 0xBD }, w, d, a);
            _alloc.Define(i.Dst, d, i.LastNeed);
            return;
        }

        var t = _alloc.Scratch();
        var zero = _alloc.Scratch();
        if (i.Op == IrOp.Ctz)
        {
            _asm.MovImm(zero, (ulong)Bits(i.Width));
            _asm.BitScan(0xBC, w, t, a);
            _asm.Cmov(Cc.E, w, t, zero);
        }
        else
        {
            _asm.MovImm(zero, (ulong)(2 * Bits(i.Width)) - 1);
            _asm.BitScan(0xBD, w, t, a);
            _asm.Cmov(Cc.E, w, t, zero);
            _asm.OpImm(Alu.Xor, w, t, Bits(i.Width) - 1);
        }

        Result(ref i, t);
    }

    private void EmitDeposit64(ref IrInsn i)
    {
        if (!HostFeatures.Bmi2)
        {
            FlushX87();
            StoreArg(0, i.A);
            StoreArg(1, i.B);
            StoreArg(2, _b.Const((ulong)i.Width));
            _alloc.SpillVectors();
            _asm.CallTo(_thunks.Of(i.Op == IrOp.Pdep ? BitHelpers.Pdep : BitHelpers.Pext));
            var t = _alloc.Target(i.Dst);
            _asm.Load(3, t, Eng(EngineOffsets.Result));
            _alloc.Define(i.Dst, t, i.LastNeed);
            return;
        }

        var a = _alloc.Use(i.A);
        var b = _alloc.Use(i.B);
        var d = _alloc.Target(i.Dst, i.A, i.B);
        _asm.VexGpr(2, i.Op == IrOp.Pdep ? 3 : 2, 0xF5, (int)i.Width, d, a, b);
        _alloc.Define(i.Dst, d, i.LastNeed);
    }

    private void EmitExtend(ref IrInsn i)
    {
        if (_alloc.TryMemory(i.A, out var m) && i.Op == IrOp.ZExt)
        {
            var t = _alloc.Target(i.Dst);
            _asm.Load((int)i.Width, t, m);
            _alloc.Define(i.Dst, t, i.LastNeed);
            return;
        }

        var a = _alloc.Use(i.A);
        var d = _alloc.Target(i.Dst, i.A);
        if (i.Op == IrOp.ZExt)
            _asm.Movzx((int)i.Width, d, a);
        else
            _asm.Movsx((int)i.Width, d, a);
        _alloc.Define(i.Dst, d, i.LastNeed);
    }

    private void EmitExtract(ref IrInsn i)
    {
        var pos = (int)(i.Imm & 0xFF);
        var len = (int)(i.Imm >> 8);
        var a = _alloc.Use(i.A);
        var d = _alloc.Target(i.Dst, i.A);
        if (pos == 8 && len == 8 && (int)a < 4 && (int)d < 8)
            _asm.MovzxHigh(d, a);
        else if (pos == 0 && len is 8 or 16 or 32)
            _asm.Movzx(len == 8 ? 0 : len == 16 ? 1 : 2, d, a);
        else if (pos + len == 64)
        {
            MoveFor(3, d, a);
            _asm.ShiftImm(Shift.Shr, 3, d, pos);
        }
        else
        {
            MoveFor(3, d, a);
            if (len is 8 or 16 or 32)
            {
                _asm.ShiftImm(Shift.Shr, 3, d, pos);
                _asm.Movzx(len == 8 ? 0 : len == 16 ? 1 : 2, d, d);
            }
            else
            {
                _asm.ShiftImm(Shift.Shl, 3, d, 64 - pos - len);
                _asm.ShiftImm(Shift.Shr, 3, d, 64 - len);
            }
        }

        _alloc.Define(i.Dst, d, i.LastNeed);
    }

    private void EmitDeposit(ref IrInsn i)
    {
        var pos = (int)(i.Imm & 0xFF);
        var len = (int)(i.Imm >> 8);
        var a = _alloc.Use(i.A);
        var b = _alloc.Use(i.B);
        var d = _alloc.Target(i.Dst, i.A);
        if (d == b)
        {
            var t = _alloc.Scratch();
            _asm.Mov(3, t, b);
            b = t;
        }

        MoveFor(3, d, a);
        if (len is 8 or 16 && pos + len <= 16 && pos % 8 == 0)
        {
            if (pos == 0)
                _asm.Mov(len == 8 ? 0 : 1, d, b);
            else
            {
                _asm.ShiftImm(Shift.Ror, 3, d, 8);
                _asm.Mov(0, d, b);
                _asm.ShiftImm(Shift.Rol, 3, d, 8);
            }
        }
        else
        {
            var mask = (len == 64 ? ulong.MaxValue : (1UL << len) - 1) << pos;
            var t = _alloc.Scratch();
            var m = _alloc.Scratch();
            _asm.Mov(3, t, b);
            if (pos != 0)
                _asm.ShiftImm(Shift.Shl, 3, t, pos);
            _asm.MovImm(m, mask);
            _asm.Op(Alu.And, 3, t, m);
            _asm.Not(3, m);
            _asm.Op(Alu.And, 3, d, m);
            _asm.Op(Alu.Or, 3, d, t);
        }

        _alloc.Define(i.Dst, d, i.LastNeed);
    }

    // Conditions.

    private static Cc ToCc(Cond c) => c switch
    {
        Cond.Eq or Cond.TestEq => Cc.E,
        Cond.Ne or Cond.TestNe => Cc.Ne,
        Cond.ULt => Cc.B,
        Cond.UGe => Cc.Ae,
        Cond.ULe => Cc.Be,
        Cond.UGt => Cc.A,
        Cond.SLt => Cc.L,
        Cond.SGe => Cc.Ge,
        Cond.SLe => Cc.Le,
        _ => Cc.G,
    };

    private static Cond Swap(Cond c) => c switch
    {
        Cond.ULt => Cond.UGt,
        Cond.UGe => Cond.ULe,
        Cond.ULe => Cond.UGe,
        Cond.UGt => Cond.ULt,
        Cond.SLt => Cond.SGt,
        Cond.SGe => Cond.SLe,
        Cond.SLe => Cond.SGe,
        Cond.SGt => Cond.SLt,
        _ => c,
    };

    private Cc EmitCompare(Cond cond, W width, Val a, Val b)
    {
        var w = (int)width;
        if (_asm.FlagsHold && TryFlags(cond, width, a, b, out var cc))
            return cc;
        if (_alloc.TryConst(a, out _) && !_alloc.TryConst(b, out _))
        {
            (a, b) = (b, a);
            cond = Swap(cond);
        }

        var ra = _alloc.Use(a);
        var hasImm = _alloc.TryImm(b, width, out var imm);
        if (cond is Cond.TestEq or Cond.TestNe)
        {
            if (hasImm)
                _asm.TestImm(w, ra, imm);
            else
                _asm.Test(w, ra, _alloc.Use(b));
            return ToCc(cond);
        }

        if (hasImm && imm == 0)
        {
            _asm.Test(w, ra, ra);
            return cond switch { Cond.SLt => Cc.S, Cond.SGe => Cc.Ns, _ => ToCc(cond) };
        }

        if (hasImm)
            _asm.OpImm(Alu.Cmp, w, ra, imm);
        else if (_alloc.TryMemory(b, out var m))
            _asm.Op(Alu.Cmp, w, ra, m);
        else
            _asm.Op(Alu.Cmp, w, ra, _alloc.Use(b));
        return ToCc(cond);
    }

    /// <summary>The present operation's result and host flags belong together.</summary>
    private void NoteFlags()
    {
        _flagsAt = _alloc.At;
        _asm.MarkFlags();
    }

    /// <summary>Whether the host's flags, which are those of an earlier operation, answer a comparison.</summary>
    private bool TryFlags(Cond cond, W width, Val a, Val b, out Cc cc)
    {
        cc = default;
        var insns = _b.Insns;
        ref readonly var by = ref insns[_flagsAt];
        if (by.Width != width)
            return false;
        var isZero = _alloc.TryConst(b, out var constant) && (width == W.D ? (uint)constant : constant) == 0;
        if (by.Dst == a && (isZero || (b == a && cond is Cond.TestEq or Cond.TestNe)))
        {
            // Against zero only what ZF and SF tell: carry and overflow are the operation's.
            switch (cond)
            {
                case Cond.Eq or Cond.Ne when isZero:
                    cc = ToCc(cond);
                    break;
                case Cond.TestEq or Cond.TestNe when b == a:
                    cc = ToCc(cond);
                    break;
                case Cond.SLt or Cond.SGe when isZero:
                    cc = cond == Cond.SLt ? Cc.S : Cc.Ns;
                    break;
                default:
                    return false;
            }

            return StaysUntilNow(a);
        }

        if (by.Op != IrOp.Sub || by.A != a || by.B != b || cond is Cond.TestEq or Cond.TestNe || by.Dst == a || by.Dst == b)
            return false;
        cc = ToCc(cond);
        return StaysUntilNow(a) && StaysUntilNow(b);
    }

    /// <summary>No operation since the one that set the flags gave a value another content.</summary>
    private bool StaysUntilNow(Val v)
    {
        if (!v.IsValue)
            return true;
        var insns = _b.Insns;
        for (var j = _flagsAt + 1; j < _alloc.At; j++)
        {
            if (insns[j].Dst == v)
                return false;
        }

        return true;
    }

    private void EmitSetCond(ref IrInsn i)
    {
        var cc = EmitCompare(i.Cond, i.Width, i.A, i.B);
        var t = _alloc.Scratch();
        _asm.Setcc(cc, t);
        _asm.Movzx(0, t, t);
        Result(ref i, t);
    }

    private void EmitSelect(ref IrInsn i)
    {
        var c = _alloc.Use(i.C);
        var e = _alloc.Use(i.D);
        var cc = EmitCompare(i.Cond, i.Width, i.A, i.B);
        var t = _alloc.Scratch();
        _asm.Mov(3, t, e);
        _asm.Cmov(cc, 3, t, c);
        Result(ref i, t);
    }
}

/// <summary>Bit deposits and extracts for hosts without BMI2.</summary>
internal static unsafe class BitHelpers
{
    public static readonly Helper Pdep = new("pdep", &PdepImpl, HelperEffects.None);
    public static readonly Helper Pext = new("pext", &PextImpl, HelperEffects.None);

    [System.Runtime.InteropServices.UnmanagedCallersOnly]
    private static ulong PdepImpl(void* state, ulong a, ulong mask, ulong width, ulong unused) =>
        IrFold.TryFold(IrOp.Pdep, (W)width, 0, a, mask, 0, out var r) ? r : 0;

    [System.Runtime.InteropServices.UnmanagedCallersOnly]
    private static ulong PextImpl(void* state, ulong a, ulong mask, ulong width, ulong unused) =>
        IrFold.TryFold(IrOp.Pext, (W)width, 0, a, mask, 0, out var r) ? r : 0;
}
