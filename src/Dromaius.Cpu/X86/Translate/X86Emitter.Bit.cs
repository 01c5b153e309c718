using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: bit tests, scans, counts and BMI (Intel SDM volume 2).</remarks>
public sealed partial class X86Emitter
{
    private enum BitOp
    {
        Test, Set, Reset, Complement,
    }

    private void BitTest(BitOp op)
    {
        ExpectResult();
        ref readonly var insn = ref Insn;
        var w = OperandWidth(0);
        var wide = Wide(w);
        var memory = insn.Op0Kind == OpKind.Memory;
        var byRegister = insn.Op1Kind == OpKind.Register;
        var address = Val.None;
        if (memory && byRegister)
        {
            if (!Is64 && !IsFlat(SegmentOf(insn.MemorySegment)))
            {
                CheckRange(SegmentOf(insn.MemorySegment), BitOperandOffset(), 1 << (int)w, op != BitOp.Test,
                    ColdKind.BitOperand, 0);
            }

            address = ToLinear(SegmentOf(insn.MemorySegment), BitOperandOffset());
        }
        else if (memory)
        {
            address = EffectiveAddress();
        }

        var mask = Bits(w) - 1;
        var position = byRegister
            ? B.And(W.D, ReadGpr(insn.Op1Register), B.Const(mask))
            : B.Const((int)insn.GetImmediate(1) & mask);
        var bit = op == BitOp.Test ? Val.None : B.Shl(wide, B.Const(1), position);
        Val value;
        if (op != BitOp.Test && IsLockedMemory)
        {
            value = op switch
            {
                BitOp.Set => B.GuestRmw(RmwKind.Or, w, address, bit, MemOpFor(w)),
                BitOp.Reset => B.GuestRmw(RmwKind.And, w, address, B.Not(wide, bit), MemOpFor(w)),
                _ => B.GuestRmw(RmwKind.Xor, w, address, bit, MemOpFor(w)),
            };
            SetBitCarry(wide, value, position);
            return;
        }

        value = memory ? LoadMemory(w, address) : ReadGpr(insn.Op0Register);
        if (op == BitOp.Test)
        {
            SetBitCarry(wide, value, position);
            return;
        }

        var result = op switch
        {
            BitOp.Set => B.Or(wide, value, bit),
            BitOp.Reset => B.AndNot(wide, bit, value),
            _ => B.Xor(wide, value, bit),
        };
        if (memory)
            StoreMemory(w, address, result);
        SetBitCarry(wide, value, position);
        if (!memory)
            WriteGprClean(insn.Op0Register, result);
    }

    /// <summary>The offset of the unit that a register bit index selects, before or behind the memory operand.</summary>
    private Val BitOperandOffset()
    {
        var w = OperandWidth(0);
        var size = AddressSize;
        var wide = size == 8 ? W.Q : W.D;
        var index = ReadGpr(Insn.Op1Register);
        if (w < W.Q)
            index = B.SExt(w, index);
        var unit = B.Shl(W.Q, B.Sar(W.Q, index, B.Const(3 + (int)w)), B.Const((int)w));
        var offset = B.Add(wide, EffectiveOffset(), unit);
        return size == 2 ? B.ZExt(W.W, offset) : offset;
    }

    /// <summary>
    /// Before <see cref="SetBitCarry"/>: flags of unknown origin become such as it can take. Places a label: call before other
    /// temporaries exist.
    /// </summary>
    private void ExpectResult()
    {
        if (_ccOp != Unknown || _flagsDead)
            return;
        var back = B.NewLabel();
        B.BrCond(Cond.UGe, W.D, CcOpGlobal, B.Const((int)CcOp.Cmp), NewCold(ColdKind.MaterializeFlags, back));
        PlaceLabel(back);
    }

    /// <summary>
    /// CF from a bit; ZF stays. Where the flags come from a result, a "shifted right" record over the same result says just that.
    /// </summary>
    private void SetBitCarry(W wide, Val value, Val position)
    {
        if (_flagsDead)
            return;
        if (IsRotateOver)
            MaterializeFlags();
        var bit = B.And(W.D, B.Shr(wide, value, position), B.Const(1));
        if (HasCarries)
        {
            SetRecord(_ccOp, bit, FlagSrc, FlagSrc2);
        }
        else if (_ccOp == (int)CcOp.Eflags)
        {
            SetFlagsFromBits(B.Deposit(FlagSrc, bit, 0, 1));
        }
        else if (_ccOp != Unknown)
        {
            var w = (W)(_ccOp & 3);
            var difference = (CcOp)(_ccOp & ~3) == CcOp.Cmp ? B.Sub(Wide(w), FlagDst, FlagSrc)
                : IsCountOver ? FlagSrc2
                : Val.None;
            var dst = difference.IsNone ? _flagDst : difference;
            SetFlags(CcOp.Sar, w, difference, bit);
            _flagDst = dst;
        }
        else
        {
            var isResult = B.SetCond(Cond.UGe, W.D, CcOpGlobal, B.Const(4));
            var fromResult = B.Or(W.D, B.And(W.D, CcOpGlobal, B.Const(3)), B.Const((int)CcOp.Sar));
            B.Set(CcSrcGlobal, B.Select(Cond.Ne, W.D, isResult, B.Const(0), bit, B.Deposit(CcSrcGlobal, bit, 0, 1)));
            B.Set(CcOpGlobal, B.Select(Cond.Ne, W.D, isResult, B.Const(0), fromResult, B.Const(0)));
            ForgetFlagOperands();
        }

        NoteCarry(bit);
    }

    /// <summary>BSF and BSR: with a source of 0 the destination stays, all of it.</summary>
    private void BitScan(bool reverse)
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        var source = LoadOperand(1, w);
        if (w == W.W)
            source = B.ZExt(W.W, source);
        var found = reverse
            ? B.Xor(wide, B.Clz(wide, source), B.Const(w == W.Q ? 63 : 31))
            : B.Ctz(wide, source);
        SetLogicFlags(w, source);
        var number = GprNumber(Insn.Op0Register);
        if (w == W.W)
            found = B.Deposit(Gpr(number), found, 0, 16);
        GprChanges(number);
        B.Set(Gpr(number), B.Select(Cond.Eq, w, source, B.Const(0), Gpr(number), found));
    }

    private void CountZeros(bool leading)
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        var source = LoadOperand(1, w);
        Val count;
        if (w == W.W)
        {
            count = leading
                ? B.Sub(W.D, B.Clz(W.D, B.ZExt(W.W, source)), B.Const(16))
                : B.Ctz(W.D, B.Or(W.D, source, B.Const(0x10000)));
        }
        else
        {
            count = leading ? B.Clz(wide, source) : B.Ctz(wide, source);
        }

        SetFlags(CcOp.Count, w, count, source);
        WriteGprClean(Insn.Op0Register, count);
    }

    private void PopCount()
    {
        var w = OperandWidth(0);
        var source = LoadOperand(1, w);
        if (w == W.W)
            source = B.ZExt(W.W, source);
        var count = B.Popcnt(Wide(w), source);
        SetFlags(CcOp.Popcnt, w, count);
        WriteGprClean(Insn.Op0Register, count);
    }

    private void AndNot()
    {
        var w = OperandWidth(0);
        var result = B.AndNot(w, ReadGpr(Insn.Op1Register), LoadOperand(2, w));
        SetLogicFlags(w, result);
        WriteGprClean(Insn.Op0Register, result);
    }

    private void Bextr()
    {
        var w = OperandWidth(0);
        var source = LoadOperand(1, w);
        var control = ReadGpr(Insn.GetOpRegister(2));
        var start = B.ZExt(W.B, control);
        var length = B.Extract(control, 8, 8);
        var bits = B.Const(Bits(w));
        var shifted = B.Select(Cond.ULt, W.D, start, bits, B.Shr(w, source, B.And(W.D, start, B.Const(Bits(w) - 1))), B.Const(0));
        var mask = B.Sub(w, B.Shl(w, B.Const(1), B.And(W.D, length, B.Const(Bits(w) - 1))), B.Const(1));
        var result = B.Select(Cond.ULt, W.D, length, bits, B.And(w, shifted, mask), shifted);
        SetLogicFlags(w, result);
        WriteGpr(Insn.Op0Register, result);
    }

    private void Blsi()
    {
        var w = OperandWidth(0);
        var source = LoadOperand(1, w);
        FinishLowestBit(w, source, B.And(w, source, B.Neg(w, source)), Cond.Ne);
    }

    private void Blsmsk()
    {
        var w = OperandWidth(0);
        var source = LoadOperand(1, w);
        FinishLowestBit(w, source, B.Xor(w, source, B.Sub(w, source, B.Const(1))), Cond.Eq);
    }

    private void Blsr()
    {
        var w = OperandWidth(0);
        var source = LoadOperand(1, w);
        FinishLowestBit(w, source, B.And(w, source, B.Sub(w, source, B.Const(1))), Cond.Eq);
    }

    /// <summary>CF says whether the source was 0 (BLSR, BLSMSK) or was not (BLSI).</summary>
    private void FinishLowestBit(W w, Val source, Val result, Cond carry)
    {
        if (!_flagsDead)
            SetFlags(CcOp.Bmi, w, result, carry == Cond.Ne ? source : B.SetCond(Cond.Eq, w, source, B.Const(0)));
        WriteGprClean(Insn.Op0Register, result);
    }

    private void Bzhi()
    {
        var w = OperandWidth(0);
        var source = LoadOperand(1, w);
        var index = B.ZExt(W.B, ReadGpr(Insn.GetOpRegister(2)));
        var bits = B.Const(Bits(w));
        var mask = B.Sub(w, B.Shl(w, B.Const(1), B.And(W.D, index, B.Const(Bits(w) - 1))), B.Const(1));
        var beyond = B.SetCond(Cond.UGe, W.D, index, bits);
        var result = B.Select(Cond.Ne, W.D, beyond, B.Const(0), source, B.And(w, source, mask));
        SetFlags(CcOp.Bmi, w, result, beyond);
        WriteGpr(Insn.Op0Register, result);
    }

    private void PdepPext(bool deposit)
    {
        var w = OperandWidth(0);
        var source = ReadGpr(Insn.Op1Register);
        var mask = LoadOperand(2, w);
        WriteGprClean(Insn.Op0Register, deposit ? B.Pdep(w, source, mask) : B.Pext(w, source, mask));
    }
}
