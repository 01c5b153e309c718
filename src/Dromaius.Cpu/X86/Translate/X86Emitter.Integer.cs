using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: arithmetic, logic and atomic read-modify-write (Intel SDM volume 2).</remarks>
public sealed partial class X86Emitter
{
    /// <summary>Width of an operand: its register's or its memory's.</summary>
    public W OperandWidth(int operand) => Insn.GetOpKind(operand) == OpKind.Register
        ? WidthOf(Insn.GetOpRegister(operand))
        : WidthOf(Insn.MemorySize.GetSize());

    private bool IsLockedMemory => Insn.HasLockPrefix && Insn.Op0Kind == OpKind.Memory;

    private bool SameRegisters => Insn.Op0Kind == OpKind.Register && Insn.Op1Kind == OpKind.Register
        && Insn.Op0Register == Insn.Op1Register;

    /// <summary>Stores the result of a read-modify-write to memory; registers are written later, after the flags.</summary>
    private void StoreResultMemory(W w, Val result)
    {
        if (Insn.Op0Kind == OpKind.Memory)
            StoreMemory(w, EffectiveAddress(), result);
    }

    private void StoreResultRegister(Val result)
    {
        if (Insn.Op0Kind != OpKind.Memory)
            WriteGprClean(Insn.Op0Register, result);
    }

    private void Add()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        if (IsLockedMemory)
        {
            var operand = LoadOperand(1, w);
            var old = B.GuestRmw(RmwKind.Add, w, EffectiveAddress(), operand, MemOpFor(w));
            SetFlags(CcOp.Add, w, B.Add(wide, old, operand), operand);
            return;
        }

        var a = LoadOperand(0, w);
        var b = LoadOperand(1, w);
        var sum = B.Add(wide, a, b);
        StoreResultMemory(w, sum);
        SetFlags(CcOp.Add, w, sum, b);
        StoreResultRegister(sum);
    }

    private void Adc()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        ExpectCarries();
        var carry = CarryFlag();
        var b = LoadOperand(1, w);
        Val sum, carryOut = default;
        if (IsLockedMemory)
        {
            var addend = B.Add(wide, b, carry);
            sum = B.Add(wide, B.GuestRmw(RmwKind.Add, w, EffectiveAddress(), addend, MemOpFor(w)), addend);
        }
        else if (w < W.D)
        {
            sum = B.Add(wide, B.Add(wide, LoadOperand(0, w), b), carry);
            StoreResultMemory(w, sum);
        }
        else
        {
            (sum, carryOut) = B.AddCarry(w, LoadOperand(0, w), b, carry);
            StoreResultMemory(w, sum);
        }

        SetFlags(CcOp.Adc, w, sum, b, carry);
        NoteCarry(carryOut);
        StoreResultRegister(sum);
    }

    private void Sub()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        if (SameRegisters)
        {
            SetLogicFlags(w, B.Const(0));
            WriteGpr(Insn.Op0Register, B.Const(0));
            return;
        }

        var b = LoadOperand(1, w);
        if (IsLockedMemory)
        {
            var old = B.GuestRmw(RmwKind.Add, w, EffectiveAddress(), B.Neg(wide, b), MemOpFor(w));
            SetFlags(CcOp.Sub, w, B.Sub(wide, old, b), b, default, old);
            return;
        }

        var a = LoadOperand(0, w);
        var difference = B.Sub(wide, a, b);
        StoreResultMemory(w, difference);
        SetFlags(CcOp.Sub, w, difference, b, default, a);
        StoreResultRegister(difference);
    }

    private void Sbb()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        ExpectCarries();
        var borrow = CarryFlag();
        if (SameRegisters)
        {
            // r - r - CF: the operand cancels out.
            var mask = B.Neg(wide, borrow);
            SetFlags(CcOp.Sbb, w, mask, B.Const(0), borrow);
            StoreResultRegister(mask);
            return;
        }

        var b = LoadOperand(1, w);
        Val difference, borrowOut = default;
        if (IsLockedMemory)
        {
            var addend = B.Neg(wide, B.Add(wide, b, borrow));
            difference = B.Add(wide, B.GuestRmw(RmwKind.Add, w, EffectiveAddress(), addend, MemOpFor(w)), addend);
        }
        else if (w < W.D)
        {
            difference = B.Sub(wide, B.Sub(wide, LoadOperand(0, w), b), borrow);
            StoreResultMemory(w, difference);
        }
        else
        {
            (difference, borrowOut) = B.SubBorrow(w, LoadOperand(0, w), b, borrow);
            StoreResultMemory(w, difference);
        }

        SetFlags(CcOp.Sbb, w, difference, b, borrow);
        NoteCarry(borrowOut);
        StoreResultRegister(difference);
    }

    private void Cmp()
    {
        var w = OperandWidth(0);
        var a = LoadOperand(0, w);
        var b = LoadOperand(1, w);
        if (!_flagsDead)
            SetFlags(CcOp.Cmp, w, a, b);
    }

    private void Logic(RmwKind kind)
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        if (SameRegisters && kind == RmwKind.Xor)
        {
            SetLogicFlags(w, B.Const(0));
            WriteGpr(Insn.Op0Register, B.Const(0));
            return;
        }

        var b = LoadOperand(1, w);
        if (IsLockedMemory)
        {
            var old = B.GuestRmw(kind, w, EffectiveAddress(), b, MemOpFor(w));
            SetLogicFlags(w, Combine(kind, wide, old, b));
            return;
        }

        var a = LoadOperand(0, w);
        var result = Combine(kind, wide, a, b);
        StoreResultMemory(w, result);
        SetLogicFlags(w, result);
        StoreResultRegister(result);
    }

    private Val Combine(RmwKind kind, W wide, Val a, Val b) => kind switch
    {
        RmwKind.And => B.And(wide, a, b),
        RmwKind.Or => B.Or(wide, a, b),
        _ => B.Xor(wide, a, b),
    };

    private void Test()
    {
        var w = OperandWidth(0);
        var a = LoadOperand(0, w);
        var b = SameRegisters ? a : LoadOperand(1, w);
        if (!_flagsDead)
            SetLogicFlags(w, SameRegisters ? a : B.And(Wide(w), a, b), a, b);
    }

    private void IncDec(int delta)
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        // The counter of a long addition: its carry goes on behind it.
        var counts = HasCarries || !_carry.IsNone;
        var over = !_flagsDead && !counts && (IsCountOver || ExpectCount()) && !_deferFlags;
        var carry = _flagsDead || over || (_deferFlags && !counts && !IsRotateOver) ? Val.None : CarryFlag();
        Val result;
        if (IsLockedMemory)
        {
            result = B.Add(wide, B.GuestRmw(RmwKind.Add, w, EffectiveAddress(), B.Const(delta), MemOpFor(w)), B.Const(delta));
        }
        else
        {
            result = B.Add(wide, LoadOperand(0, w), B.Const(delta));
            StoreResultMemory(w, result);
        }

        if (counts && !_flagsDead)
        {
            var overflow = B.SetCond(Cond.Eq, w, result, B.Const(delta > 0 ? SignBit(w) : SignBit(w) - 1));
            SetFlags(delta > 0 ? CcOp.CarriesInc : CcOp.CarriesDec, w, carry, result, overflow);
        }
        else if (over)
            SetFlagsOver((int)(delta > 0 ? CcOp.IncOver : CcOp.DecOver) + (int)w, result, BeforeCount(_ccOp));
        else
            SetFlags(delta > 0 ? CcOp.Inc : CcOp.Dec, w, result, carry);
        StoreResultRegister(result);
    }

    private void Not()
    {
        var w = OperandWidth(0);
        if (IsLockedMemory)
        {
            B.GuestRmw(RmwKind.Xor, w, EffectiveAddress(), B.Const(-1), MemOpFor(w));
            return;
        }

        var result = B.Not(Wide(w), LoadOperand(0, w));
        StoreResultMemory(w, result);
        StoreResultRegister(result);
    }

    private void Neg()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        if (IsLockedMemory)
        {
            var retry = B.NewLabel();
            PlaceLabel(retry);
            var expected = LoadMemory(w, EffectiveAddress());
            var old = B.GuestCas(w, EffectiveAddress(), expected, B.Neg(wide, expected), MemOpFor(w));
            B.BrCond(Cond.Ne, w, old, expected, retry);
            SetFlags(CcOp.Sub, w, B.Neg(wide, old), old, default, B.Const(0));
            return;
        }

        var a = LoadOperand(0, w);
        var result = B.Neg(wide, a);
        StoreResultMemory(w, result);
        SetFlags(CcOp.Sub, w, result, a, default, B.Const(0));
        StoreResultRegister(result);
    }

    private void Xadd()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        var b = ReadGpr(Insn.Op1Register);
        if (Insn.Op0Kind == OpKind.Memory)
        {
            Val old;
            if (Insn.HasLockPrefix)
            {
                old = B.GuestRmw(RmwKind.Add, w, EffectiveAddress(), b, MemOpFor(w));
            }
            else
            {
                old = LoadMemory(w, EffectiveAddress());
                StoreMemory(w, EffectiveAddress(), B.Add(wide, old, b));
            }

            SetFlags(CcOp.Add, w, B.Add(wide, old, b), b);
            WriteGpr(Insn.Op1Register, old);
            return;
        }

        var a = B.Copy(ReadGpr(Insn.Op0Register));
        var sum = B.Add(wide, a, b);
        SetFlags(CcOp.Add, w, sum, b);
        WriteGpr(Insn.Op1Register, a);
        WriteGprClean(Insn.Op0Register, sum);
    }

    private void Cmpxchg()
    {
        var w = OperandWidth(0);
        var wide = Wide(w);
        var desired = ReadGpr(Insn.Op1Register);
        Val old;
        if (Insn.Op0Kind == OpKind.Memory)
        {
            if (Insn.HasLockPrefix)
            {
                old = B.GuestCas(w, EffectiveAddress(), Rax, desired, MemOpFor(w));
            }
            else
            {
                old = LoadMemory(w, EffectiveAddress());
                StoreMemory(w, EffectiveAddress(), B.Select(Cond.Eq, w, Rax, old, desired, old));
            }

            FinishCompare(w, wide, old);
            return;
        }

        // Register form: all values are read before any is written, for the registers may overlap.
        old = B.Copy(ReadGpr(Insn.Op0Register));
        var result = B.Select(Cond.Eq, w, Rax, old, desired, old);
        var register = Insn.Op0Register;
        var accumulator = GprNumber(register) == X86Layout.Rax && !IsHighByte(register);
        if (accumulator)
        {
            // The comparison cannot fail.
            SetFlags(CcOp.Sub, w, B.Const(0), old, default, old);
            WriteGpr(register, result);
            return;
        }

        // Without a match a 32-bit destination keeps its upper half: it is not written.
        if (w == W.D)
            result = B.Select(Cond.Eq, W.D, Rax, old, B.ZExt(W.D, desired), old);
        FinishCompare(w, wide, old);
        if (w == W.D)
            WriteGprClean(register, result);
        else
            WriteGpr(register, result);
    }

    /// <summary>Flags of accumulator - old, and the accumulator replaced if they differ.</summary>
    private void FinishCompare(W w, W wide, Val old)
    {
        var accumulator = B.Copy(Rax);
        SetFlags(CcOp.Sub, w, B.Sub(wide, accumulator, old), old, default, accumulator);
        GprChanges(X86Layout.Rax);
        var replaced = w switch
        {
            W.B => B.Deposit(accumulator, old, 0, 8),
            W.W => B.Deposit(accumulator, old, 0, 16),
            W.D => B.ZExt(W.D, old),
            _ => old,
        };
        B.Set(Rax, B.Select(Cond.Eq, w, accumulator, old, accumulator, replaced));
    }

    private void Cmpxchg8B()
    {
        if (Insn.Op0Kind != OpKind.Memory)
        {
            RaiseInvalidOpcode();
            return;
        }

        var expected = B.Deposit(B.ZExt(W.D, Rax), Rdx, 32, 32);
        var desired = B.Deposit(B.ZExt(W.D, Rbx), Rcx, 32, 32);
        var old = B.GuestCas(W.Q, EffectiveAddress(), expected, desired, MemOpFor(W.Q));
        var equal = B.SetCond(Cond.Eq, W.Q, old, expected);
        SetZero(equal);
        GprChanges(X86Layout.Rax);
        GprChanges(X86Layout.Rdx);
        B.Set(Rax, B.Select(Cond.Ne, W.D, equal, B.Const(0), Rax, B.ZExt(W.D, old)));
        B.Set(Rdx, B.Select(Cond.Ne, W.D, equal, B.Const(0), Rdx, B.Shr(W.Q, old, B.Const(32))));
    }

    /// <summary>The helper compares RDX:RAX, stores RCX:RBX and gives 1 or 0; the registers it changes are its effect.</summary>
    private void Cmpxchg16B()
    {
        MaterializeFlags();
        var equal = CallKeepingFlags(IntegerHelpers.Cmpxchg16B, EffectiveAddress());
        SetZero(equal);
    }

    /// <summary>Sets ZF alone from a 0 or 1.</summary>
    private void SetZero(Val zero) => SetFlagsFromBits(B.Deposit(MaterializeFlags(), zero, 6, 1));

    /// <summary>Sets CF alone from a 0 or 1.</summary>
    private void SetCarry(Val carry) => SetFlagsFromBits(B.Deposit(MaterializeFlags(), carry, 0, 1));

    /// <summary>ADCX and ADOX: an addition whose carry goes through one flag and leaves the others.</summary>
    private void AddWithFlag(bool overflow)
    {
        var w = OperandWidth(0);
        ExpectCarries();
        var op = HasCarries ? _ccOp : (int)CcOp.Carries;
        var (carry, others, over) = SplitFlags();
        var b = LoadOperand(1, w);
        var (sum, next) = B.AddCarry(w, ReadGpr(Insn.Op0Register), b, overflow ? over : carry);
        SetRecord(op, overflow ? carry : next, others, overflow ? next : over);
        WriteGprClean(Insn.Op0Register, sum);
    }
}
