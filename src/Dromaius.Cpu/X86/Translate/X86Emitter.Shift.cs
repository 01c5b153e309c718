using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>
/// This file: shifts and rotates (Intel SDM volume 2). A count that is 0 after masking leaves the flags as they are; with a count in
/// CL that is a selection between the old flag record and the new one.
/// </remarks>
public sealed partial class X86Emitter
{
    /// <summary>The count's operand position: the last one.</summary>
    private bool HasConstantCount(out int count, W w)
    {
        var last = Insn.OpCount - 1;
        count = 1;
        if (last == 0)
            return true;
        if (Insn.GetOpKind(last) == OpKind.Register)
            return false;
        count = (int)Insn.GetImmediate(last) & (w == W.Q ? 63 : 31);
        return true;
    }

    /// <summary>CL masked to what shifts of the width use.</summary>
    private Val MaskedCount(W w) => B.And(W.D, Rcx, B.Const(w == W.Q ? 63 : 31));

    private void ShiftLeft()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        var constant = HasConstantCount(out var count, w);
        var a = LoadOperand(0, w);
        if (constant && count == 0)
        {
            ShiftByNothing(w, a);
            return;
        }

        if (constant)
        {
            var result = B.Shl(wide, a, B.Const(count));
            StoreResultMemory(w, result);
            if (!_flagsDead)
                SetFlags(CcOp.Shl, w, result, count == 1 ? a : B.Shl(wide, a, B.Const(count - 1)));
            StoreResultRegister(result);
            return;
        }

        var masked = MaskedCount(w);
        var shifted = B.Shl(wide, a, masked);
        StoreResultMemory(w, shifted);
        if (!_flagsDead)
            SetFlagsUnlessZero(masked, CcOp.Shl, w, shifted, B.Shl(wide, a, CountMinusOne(w, masked)));
        StoreResultRegister(shifted);
    }

    private void ShiftRight(bool arithmetic)
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        var constant = HasConstantCount(out var count, w);
        var a = LoadOperand(0, w);
        if (constant && count == 0)
        {
            ShiftByNothing(w, a);
            return;
        }

        var op = arithmetic ? IrOp.Sar : IrOp.Shr;
        if (w < W.D)
            a = arithmetic ? B.SExt(w, a) : B.ZExt(w, a);
        if (constant)
        {
            var result = Shift(op, wide, a, B.Const(count));
            StoreResultMemory(w, result);
            if (!_flagsDead)
                SetFlags(CcOp.Sar, w, result, count == 1 ? a : Shift(op, wide, a, B.Const(count - 1)));
            StoreResultRegister(result);
            return;
        }

        var masked = MaskedCount(w);
        var shifted = Shift(op, wide, a, masked);
        StoreResultMemory(w, shifted);
        if (!_flagsDead)
            SetFlagsUnlessZero(masked, CcOp.Sar, w, shifted, Shift(op, wide, a, CountMinusOne(w, masked)));
        StoreResultRegister(shifted);
    }

    private Val Shift(IrOp op, W w, Val a, Val count) => op switch
    {
        IrOp.Shl => B.Shl(w, a, count),
        IrOp.Shr => B.Shr(w, a, count),
        _ => B.Sar(w, a, count),
    };

    /// <summary>count - 1, kept within the width for the count of 0 whose result nobody uses.</summary>
    private Val CountMinusOne(W w, Val count) =>
        B.And(W.D, B.Sub(W.D, count, B.Const(1)), B.Const(w == W.Q ? 63 : 31));

    /// <summary>A count of 0: memory is still written, a 32-bit register still clears its upper half, flags stay.</summary>
    private void ShiftByNothing(W w, Val a)
    {
        if (Insn.Op0Kind == OpKind.Memory)
            StoreMemory(w, EffectiveAddress(), a);
        else if (w == W.D)
            WriteGpr(Insn.Op0Register, a);
    }

    /// <summary>Records the flags of an operation, unless the count is 0.</summary>
    private void SetFlagsUnlessZero(Val count, CcOp family, W w, Val dst, Val src)
    {
        var zero = B.Const(0);
        var op = (int)family + (int)w;
        var newDst = B.Select(Cond.Eq, W.D, count, zero, FlagDst, dst);
        var newSrc = B.Select(Cond.Eq, W.D, count, zero, FlagSrc, src);
        if (_ccOp != op)
        {
            B.Set(CcOpGlobal, B.Select(Cond.Eq, W.D, count, zero, RecordOp, B.Const(op)));
            _ccOp = _storedOp = Unknown;
        }

        B.Set(CcDstGlobal, newDst);
        B.Set(CcSrcGlobal, newSrc);
        ForgetFlagOperands();
    }

    private void Rotate(bool left)
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        var constant = HasConstantCount(out var count, w);
        var over = constant && count != 0 && !_flagsDead && ExpectRotate();
        var a = LoadOperand(0, w);
        if (constant && count == 0)
        {
            ShiftByNothing(w, a);
            return;
        }

        // Narrow operands are repeated through 32 bits, so that any count comes out right.
        var pattern = w switch
        {
            W.B => B.Mul(W.D, B.ZExt(W.B, a), B.Const(0x01010101)),
            W.W => B.Deposit(B.ZExt(W.W, a), a, 16, 16),
            _ => a,
        };
        var amount = constant ? B.Const(count) : MaskedCount(w);
        var result = left ? B.Rol(wide, pattern, amount) : B.Ror(wide, pattern, amount);
        StoreResultMemory(w, result);
        if (over)
            SetFlagsOver((int)(left ? CcOp.RolOver : CcOp.RorOver) + (int)w, result, BeforeRotate());
        else if (!_flagsDead)
            SetRotateFlags(w, left, result, constant ? Val.None : amount);
        StoreResultRegister(result);
    }

    private void SetRotateFlags(W w, bool left, Val result, Val count)
    {
        var top = Bits(w) - 1;
        var old = MaterializeFlags();
        var topBit = B.Extract(result, top, 1);
        var carry = left ? B.And(W.D, result, B.Const(1)) : topBit;
        var overflow = B.Xor(W.D, topBit, left ? carry : B.Extract(result, top - 1, 1));
        ReplaceCarryAndOverflow(old, carry, overflow, count);
    }

    /// <summary>CF and OF from 0 or 1 values; with a count, only if that is not 0.</summary>
    private void ReplaceCarryAndOverflow(Val old, Val carry, Val overflow, Val count)
    {
        var flags = B.Deposit(B.Deposit(old, carry, 0, 1), overflow, 11, 1);
        if (!count.IsNone)
            flags = B.Select(Cond.Eq, W.D, count, B.Const(0), old, flags);
        SetFlagsFromBits(flags);
    }

    /// <summary>RCL and RCR: by one inline, by more through a helper. A whole turn (bits + 1) changes no flag, like a count of 0.</summary>
    private void RotateCarry(bool left)
    {
        var w = OperandWidth(0);
        var constant = HasConstantCount(out var count, w);
        if (w < W.D)
            count %= Bits(w) + 1;
        var old = MaterializeFlags();
        var a = LoadOperand(0, w);
        if (constant && count == 0)
        {
            ShiftByNothing(w, a);
            return;
        }

        var carryIn = B.And(W.D, old, B.Const(FlagC));
        if (w < W.Q)
            a = B.ZExt(w, a);
        Val result, carry;
        var amount = Val.None;
        if (constant && count == 1)
        {
            RotateCarryByOne(left, w, a, carryIn, out result, out carry);
        }
        else
        {
            amount = constant ? B.Const(count) : TurnCount(w);
            var width = B.Const(Bits(w));
            result = B.Call(left ? IntegerHelpers.RotateCarryLeft : IntegerHelpers.RotateCarryRight, a, carryIn, amount, width);
            carry = B.Call(left ? IntegerHelpers.RotateCarryLeftOut : IntegerHelpers.RotateCarryRightOut,
                a, carryIn, amount, width);
        }

        StoreResultMemory(w, result);
        if (!_flagsDead)
        {
            var top = Bits(w) - 1;
            var overflow = B.Xor(W.D, B.Extract(result, top, 1), left ? carry : B.Extract(result, top - 1, 1));
            ReplaceCarryAndOverflow(old, carry, overflow, constant ? Val.None : amount);
        }

        StoreResultRegister(result);
    }

    private void RotateCarryByOne(bool left, W w, Val a, Val carryIn, out Val result, out Val carry)
    {
        var wide = Wide(w);
        var top = Bits(w) - 1;
        result = left
            ? B.Or(wide, B.Shl(wide, a, B.Const(1)), carryIn)
            : B.Or(wide, B.Shr(wide, a, B.Const(1)), B.Shl(wide, carryIn, B.Const(top)));
        carry = left ? B.Extract(a, top, 1) : B.And(W.D, a, B.Const(1));
    }

    /// <summary>CL as a count of a rotate through carry, less whole turns.</summary>
    private Val TurnCount(W w)
    {
        var masked = MaskedCount(w);
        if (w >= W.D)
            return masked;
        var turn = B.Const(Bits(w) + 1);
        return B.Sub(W.D, masked, B.Mul(W.D, B.Call(IntegerHelpers.DivideUnsigned, masked, turn), turn));
    }

    /// <summary>SHLD and SHRD. 16-bit operands shift through destination, source and destination again, as processors do.</summary>
    private void ShiftDouble(bool left)
    {
        var w = OperandWidth(0);
        var constant = HasConstantCount(out var count, w);
        var a = LoadOperand(0, w);
        var b = ReadGpr(Insn.Op1Register);
        if (constant && count == 0)
        {
            ShiftByNothing(w, a);
            return;
        }

        var amount = constant ? B.Const(count) : MaskedCount(w);
        var before = constant ? B.Const(count - 1) : CountMinusOne(w, amount);
        Val result, last;
        if (w == W.W)
        {
            var low = B.ZExt(W.W, a);
            var triple = B.Or(W.Q, B.Deposit(low, b, 16, 16), B.Shl(W.Q, low, B.Const(32)));
            result = left ? B.Shr(W.Q, B.Shl(W.Q, triple, amount), B.Const(32)) : B.Shr(W.Q, triple, amount);
            last = left ? B.Shr(W.Q, B.Shl(W.Q, triple, before), B.Const(32)) : B.Shr(W.Q, triple, before);
        }
        else
        {
            // The other half moves one step by itself, so that a count of 0 shifts it out whole.
            var top = Bits(w) - 1;
            var complement = B.Xor(W.D, amount, B.Const(top));
            result = left
                ? B.Or(w, B.Shl(w, a, amount), B.Shr(w, B.Shr(w, b, B.Const(1)), complement))
                : B.Or(w, B.Shr(w, a, amount), B.Shl(w, B.Shl(w, b, B.Const(1)), complement));
            last = left ? B.Shl(w, a, before) : B.Shr(w, a, before);
        }

        StoreResultMemory(w, result);
        if (!_flagsDead)
        {
            var family = left ? CcOp.Shl : CcOp.Sar;
            if (constant)
                SetFlags(family, w, result, last);
            else
                SetFlagsUnlessZero(amount, family, w, result, last);
        }

        StoreResultRegister(result);
    }

    private void Rorx()
    {
        var w = OperandWidth(0);
        var value = LoadOperand(1, w);
        WriteGprClean(Insn.Op0Register, B.Ror(w, value, B.Const(Insn.Immediate8 & (Bits(w) - 1))));
    }

    private void ShiftX(IrOp op)
    {
        var w = OperandWidth(0);
        var value = LoadOperand(1, w);
        var count = B.And(W.D, ReadGpr(Insn.GetOpRegister(2)), B.Const(Bits(w) - 1));
        WriteGprClean(Insn.Op0Register, Shift(op, w, value, count));
    }
}
