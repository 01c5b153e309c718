using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>A condition on two values: what a condition code became.</summary>
public readonly record struct FlagTest(Cond Cond, W Width, Val A, Val B)
{
    public FlagTest Negated() => this with { Cond = Negate(Cond) };

    private static Cond Negate(Cond cond) => cond switch
    {
        Cond.Eq => Cond.Ne,
        Cond.Ne => Cond.Eq,
        Cond.ULt => Cond.UGe,
        Cond.UGe => Cond.ULt,
        Cond.ULe => Cond.UGt,
        Cond.UGt => Cond.ULe,
        Cond.SLt => Cond.SGe,
        Cond.SGe => Cond.SLt,
        Cond.SLe => Cond.SGt,
        Cond.SGt => Cond.SLe,
        Cond.TestEq => Cond.TestNe,
        _ => Cond.TestEq,
    };
}

/// <remarks>
/// This file: the lazy arithmetic flags (<see cref="CcOp"/>). Known while translating: which operation the flags come from, and the
/// values still at hand, so that a compare and its branch meet.
/// </remarks>
public sealed partial class X86Emitter
{
    public const int FlagC = 1, FlagP = 4, FlagA = 0x10, FlagZ = 0x40, FlagS = 0x80, FlagO = 0x800;
    public const int ArithmeticFlags = FlagC | FlagP | FlagA | FlagZ | FlagS | FlagO;

    private const int Unknown = -1, AnyCarries = -2;

    // The CcOp in force: a known one, Unknown, or one from CcOp.Carries on.
    private int _ccOp;

    // Operands in force where they are at hand; none: only in the globals.
    private Val _flagDst, _flagSrc, _flagSrc2;

    // The minuend of a Sub; the two operands of a TEST or AND; CF as 0 or 1.
    private Val _minuend, _testA, _testB, _carry;

    // The flags of the current instruction are overwritten before anybody can look.
    private bool _flagsDead;

    private static Val CcDstGlobal => new(X86Layout.CcDst);
    private static Val CcSrcGlobal => new(X86Layout.CcSrc);
    private static Val CcSrc2Global => new(X86Layout.CcSrc2);
    private static Val CcOpGlobal => new(X86Layout.CcOp);

    private Val FlagDst => _flagDst.IsNone ? CcDstGlobal : _flagDst;
    private Val FlagSrc => _flagSrc.IsNone ? CcSrcGlobal : _flagSrc;
    private Val FlagSrc2 => _flagSrc2.IsNone ? CcSrc2Global : _flagSrc2;

    // What the global CcOp holds; differs from the record in force only while that one is pending.
    private int _storedOp;

    // The record in force has not been stored: only an exit whose successor wants it does that.
    private bool _pending;

    // The current instruction's record is to be left pending.
    private bool _deferFlags;

    // No register changes between here and the end of the block.
    private bool _registersStay;

    // Whether the successor behind the taken branch, or behind the end of the block, may look at the flags.
    private bool _takenLive, _nextLive;

    /// <summary>The flags are no longer known in any way.</summary>
    private void ForgetFlags()
    {
        _ccOp = _storedOp = Unknown;
        _pending = false;
        ForgetFlagOperands();
    }

    private void ForgetFlagOperands()
    {
        _flagDst = _flagSrc = _flagSrc2 = Val.None;
        _minuend = _testA = _testB = _carry = Val.None;
    }

    /// <summary>A general register is about to change: operands that named it are lost.</summary>
    private void GprChanges(int number)
    {
        var register = Gpr(number);
        if (_flagSrc == register)
            _flagSrc = Val.None;
        if (_flagDst == register)
            _flagDst = Val.None;
        if (_minuend == register)
            _minuend = Val.None;
        if (_testA == register || _testB == register)
            _testA = _testB = Val.None;
    }

    /// <summary>Records the operation that the flags come from.</summary>
    private void SetFlags(CcOp family, W w, Val dst, Val src = default, Val src2 = default, Val minuend = default)
    {
        SetRecord((int)family + (family == CcOp.Eflags ? 0 : (int)w), dst, src, src2, minuend);
    }

    private void SetRecord(int op, Val dst, Val src, Val src2, Val minuend = default)
    {
        if (_flagsDead)
            return;
        ForgetFlagOperands();
        // Parts of the old record that go to another place in the new one: storing the record overwrites them.
        if (src == CcDstGlobal)
            src = B.Copy(src);
        if (src2 == CcDstGlobal || src2 == CcSrcGlobal)
            src2 = B.Copy(src2);
        if (_deferFlags)
        {
            // Values that later instructions of the block cannot change.
            _flagDst = Stable(dst);
            _flagSrc = src == dst ? _flagDst : Stable(src);
            _flagSrc2 = Stable(src2);
            _minuend = Stable(minuend);
            _ccOp = op;
            _pending = true;
            return;
        }

        StoreFlags(op, dst, src, src2);
        _flagDst = dst;
        _flagSrc = src;
        _flagSrc2 = src2;
        _minuend = minuend;
    }

    private Val Stable(Val value) =>
        !_registersStay && value.IsValue && value.Id < X86Layout.GlobalCount ? B.Copy(value) : value;

    private void StoreFlags(int op, Val dst, Val src, Val src2)
    {
        if (!dst.IsNone)
            B.Set(CcDstGlobal, dst);
        if (!src.IsNone)
            B.Set(CcSrcGlobal, src);
        if (!src2.IsNone)
            B.Set(CcSrc2Global, src2);
        if (_storedOp != op)
            B.Set(CcOpGlobal, B.Const(op));
        _ccOp = _storedOp = op;
        _pending = false;
    }

    /// <summary>Stores a record that was left pending. Operands stay at hand.</summary>
    private void FlushFlags()
    {
        if (!_pending)
            return;
        // INC and DEC left out the carry that they keep: it follows from the record before them.
        if ((CcOp)(_ccOp & ~3) is CcOp.Inc or CcOp.Dec && _flagSrc.IsNone)
        {
            if (_storedOp < (int)CcOp.Adc)
            {
                SetFlagsOver(_ccOp - (int)CcOp.Inc + (int)CcOp.IncOver, _flagDst, BeforeCount(_storedOp));
                return;
            }

            _flagSrc = B.Call(SystemHelpers.ComputeCarry, _storedOp < 0 ? CcOpGlobal : B.Const(_storedOp), CcDstGlobal,
                CcSrcGlobal, CcSrc2Global);
        }

        StoreFlags(_ccOp, _flagDst, _flagSrc, _flagSrc2);
    }

    /// <summary>Sets all arithmetic flags from a value with them in their EFLAGS positions (other bits 0).</summary>
    public void SetFlagsFromBits(Val bits) => SetFlags(CcOp.Eflags, W.D, Val.None, bits);

    /// <summary>Flags of a logical result; the operands if the result is their AND.</summary>
    public void SetLogicFlags(W w, Val result, Val testA = default, Val testB = default)
    {
        SetFlags(CcOp.Logic, w, result);
        if (_flagsDead || testA.IsNone)
            return;
        _testA = _deferFlags ? Stable(testA) : testA;
        _testB = testB == testA ? _testA : _deferFlags ? Stable(testB) : testB;
    }

    /// <summary>All six arithmetic flags in their EFLAGS positions. Afterwards the state holds them that way.</summary>
    public Val MaterializeFlags()
    {
        if (_ccOp != (int)CcOp.Eflags)
            EmitMaterialize();
        return FlagSrc;
    }

    private void EmitMaterialize()
    {
        var bits = (CcOp)_ccOp == CcOp.Carries ? B.Deposit(B.Deposit(FlagSrc, FlagDst, 0, 1), FlagSrc2, 11, 1)
            : IsLogicOfConstant(out var known) ? B.Const(known)
            : B.Call(SystemHelpers.ComputeFlags, RecordOp, FlagDst, FlagSrc, FlagSrc2);
        B.Set(CcSrcGlobal, bits);
        B.Set(CcOpGlobal, B.Const(0));
        ForgetFlagOperands();
        _ccOp = _storedOp = (int)CcOp.Eflags;
        _pending = false;
        _flagSrc = bits;
    }

    /// <summary>XOR of a register with itself: how CF and OF are cleared before long additions.</summary>
    private bool IsLogicOfConstant(out ulong flags)
    {
        flags = 0;
        if ((CcOp)(_ccOp & ~3) != CcOp.Logic || !B.TryConst(FlagDst, out var result))
            return false;
        flags = X86Cpu.ComputeArithmeticFlags((ulong)_ccOp, result, 0, 0);
        return true;
    }

    /// <summary>
    /// Before an instruction that adds a carry: flags that came from another block are most likely those of an earlier part of the same
    /// long addition. Places a label: call before other temporaries exist.
    /// </summary>
    private void ExpectCarries()
    {
        if (_ccOp != Unknown)
            return;
        var back = B.NewLabel();
        B.BrCond(Cond.ULt, W.D, CcOpGlobal, B.Const((int)CcOp.Carries), NewCold(ColdKind.SplitFlags, back));
        PlaceLabel(back);
        _ccOp = _storedOp = AnyCarries;
    }

    /// <summary>The record is that of an INC or DEC upon another.</summary>
    private bool IsCountOver => _ccOp is >= (int)CcOp.IncOver and < (int)CcOp.Adc;

    /// <summary>The record is that of a ROL or ROR upon another.</summary>
    private bool IsRotateOver => _ccOp is >= (int)CcOp.RolOver and < (int)CcOp.Carries;

    /// <summary>What CcOp holds.</summary>
    private Val RecordOp => _ccOp < 0 || IsCountOver || IsRotateOver ? CcOpGlobal : B.Const(_ccOp);

    private bool HasCarries => _ccOp is AnyCarries or >= (int)CcOp.Carries;

    /// <summary>CF, the flags beside CF and OF, and OF.</summary>
    private (Val Carry, Val Others, Val Overflow) SplitFlags()
    {
        if (HasCarries)
            return (FlagDst, FlagSrc, FlagSrc2);
        var flags = MaterializeFlags();
        return B.TryConst(flags, out var bits)
            ? (B.Const(bits & FlagC), flags, B.Const(bits >> 11 & 1))
            : (B.And(W.D, flags, B.Const(FlagC)), flags, B.Extract(flags, 11, 1));
    }

    /// <summary>CF of the record just set is at hand.</summary>
    private void NoteCarry(Val carry)
    {
        if (!_flagsDead)
            _carry = carry;
    }

    /// <summary>CF as 0 or 1.</summary>
    public Val CarryFlag()
    {
        if (!_carry.IsNone)
            return _carry;
        if (HasCarries)
            return FlagDst;
        if (_ccOp == Unknown)
            MaterializeFlags();
        var w = (W)(_ccOp & 3);
        var wide = Wide(w);
        switch ((CcOp)(_ccOp & ~3))
        {
            case CcOp.Eflags:
                return B.And(W.D, FlagSrc, B.Const(FlagC));
            case CcOp.Add:
                return B.SetCond(Cond.ULt, w, FlagDst, FlagSrc);
            case CcOp.Adc:
                return B.Or(W.D, B.SetCond(Cond.ULt, w, FlagDst, FlagSrc),
                    B.And(W.D, FlagSrc2, B.SetCond(Cond.Eq, w, FlagDst, FlagSrc)));
            case CcOp.Sub:
                return B.SetCond(Cond.ULt, w, Minuend(w), FlagSrc);
            case CcOp.Cmp:
                return B.SetCond(Cond.ULt, w, FlagDst, FlagSrc);
            case CcOp.Sbb:
                var minuend = B.Add(wide, B.Add(wide, FlagDst, FlagSrc), FlagSrc2);
                return B.Or(W.D, B.SetCond(Cond.ULt, w, minuend, FlagSrc),
                    B.And(W.D, FlagSrc2, B.SetCond(Cond.Eq, w, minuend, FlagSrc)));
            case CcOp.Inc:
            case CcOp.Dec:
                return FlagSrc;
            case CcOp.IncOver:
            case CcOp.DecOver:
                return B.Call(SystemHelpers.ComputeCarry, CcOpGlobal, CcDstGlobal, CcSrcGlobal, CcSrc2Global);
            case CcOp.RolOver:
                return B.And(W.D, FlagSrc2, B.Const(1));
            case CcOp.RorOver:
                return B.Extract(FlagSrc2, Bits(w) - 1, 1);
            case CcOp.Shl:
                return B.Extract(FlagSrc, Bits(w) - 1, 1);
            case CcOp.Sar:
                return B.And(W.D, FlagSrc, B.Const(1));
            case CcOp.Mul:
            case CcOp.Bmi:
                return B.SetCond(Cond.Ne, w, FlagSrc, B.Const(0));
            case CcOp.Count:
                return B.SetCond(Cond.Eq, w, FlagSrc, B.Const(0));
            default:
                return B.Const(0);
        }
    }

    /// <summary>A condition code as 0 or 1.</summary>
    public Val ConditionValue(ConditionCode code)
    {
        var test = Condition(code);
        return B.SetCond(test.Cond, test.Width, test.A, test.B);
    }

    /// <summary>A condition code as a test for a branch or a selection.</summary>
    public FlagTest Condition(ConditionCode code)
    {
        var number = (int)code - (int)ConditionCode.o;
        var test = PositiveCondition(number >> 1);
        return (number & 1) != 0 ? test.Negated() : test;
    }

    private const int Overflow = 0, Below = 1, Equal = 2, BelowEqual = 3, Sign = 4, Parity = 5, Less = 6, LessEqual = 7;

    private FlagTest PositiveCondition(int condition)
    {
        if (condition == Below && !_carry.IsNone)
            return new FlagTest(Cond.Ne, W.D, _carry, B.Const(0));
        if (HasCarries && condition is Below or Overflow)
            return new FlagTest(Cond.Ne, W.D, condition == Below ? FlagDst : FlagSrc2, B.Const(0));
        if (_ccOp < 0 || (IsRotateOver && condition is not (Below or Overflow)) || (HasCarries && condition is BelowEqual or Less or LessEqual))
            MaterializeFlags();
        var w = (W)(_ccOp & 3);
        FlagTest? test = (CcOp)(_ccOp & ~3) switch
        {
            CcOp.Eflags => EflagsCondition(condition),
            CcOp.Carries => EflagsCondition(condition),
            CcOp.CarriesInc or CcOp.CarriesDec => ResultCondition(condition, w, FlagSrc),
            CcOp.Sub => SubCondition(condition, w),
            CcOp.Cmp => CmpCondition(condition, w),
            CcOp.Logic or CcOp.Bmi or CcOp.Count or CcOp.Popcnt => LogicCondition(condition, w),
            CcOp.Add => AddCondition(condition, w),
            CcOp.Inc => IncCondition(condition, w, FlagDst),
            CcOp.Dec => DecCondition(condition, w, FlagDst),
            CcOp.RolOver or CcOp.RorOver when condition == Overflow => new FlagTest(Cond.Ne, W.D, RotateOverflow(), B.Const(0)),
            CcOp.IncOver => IncCondition(condition, w, FlagSrc2) ?? ResultCondition(condition, w, FlagSrc2),
            CcOp.DecOver => DecCondition(condition, w, FlagSrc2) ?? ResultCondition(condition, w, FlagSrc2),
            CcOp.Mul when condition == Overflow => new FlagTest(Cond.Ne, w, FlagSrc, B.Const(0)),
            _ => null,
        };
        test ??= ResultCondition(condition, w, FlagDst);
        if (test is { } found)
            return found;
        MaterializeFlags();
        return EflagsCondition(condition);
    }

    private FlagTest EflagsCondition(int condition)
    {
        var flags = FlagSrc;
        switch (condition)
        {
            case Less:
                return TestNe(B.Xor(W.D, flags, B.Shr(W.D, flags, B.Const(4))), FlagS);
            case LessEqual:
                var less = B.And(W.D, B.Xor(W.D, flags, B.Shr(W.D, flags, B.Const(4))), B.Const(FlagS));
                return new FlagTest(Cond.Ne, W.D, B.Or(W.D, less, B.And(W.D, flags, B.Const(FlagZ))), B.Const(0));
            default:
                return TestNe(flags, condition switch
                {
                    Overflow => FlagO,
                    Below => FlagC,
                    Equal => FlagZ,
                    BelowEqual => FlagC | FlagZ,
                    Sign => FlagS,
                    _ => FlagP,
                });
        }
    }

    /// <summary>Conditions that follow from the result alone, whatever the operation.</summary>
    private FlagTest? ResultCondition(int condition, W w, Val result)
    {
        switch (condition)
        {
            case Equal:
                return new FlagTest(Cond.Eq, w, result, B.Const(0));
            case Sign:
                return new FlagTest(Cond.SLt, w, result, B.Const(0));
            case Below:
                return new FlagTest(Cond.Ne, W.D, CarryFlag(), B.Const(0));
            case BelowEqual:
                return new FlagTest(Cond.Ne, W.D,
                    B.Or(W.D, CarryFlag(), B.SetCond(Cond.Eq, w, result, B.Const(0))), B.Const(0));
            case Parity:
                return ParityOf(result);
            default:
                return null;
        }
    }

    /// <summary>The order of minuend and subtrahend that a condition asks for after a subtraction.</summary>
    private static Cond? OrderOf(int condition) => condition switch
    {
        Below => Cond.ULt,
        Equal => Cond.Eq,
        BelowEqual => Cond.ULe,
        Less => Cond.SLt,
        LessEqual => Cond.SLe,
        _ => null,
    };

    private FlagTest? SubCondition(int condition, W w)
    {
        // Equal: where only the result is at hand, that is as good.
        if (OrderOf(condition) is { } order && (condition != Equal || !_minuend.IsNone))
            return new FlagTest(order, w, Minuend(w), FlagSrc);
        return condition == Overflow ? SubOverflow(w, Minuend(w), FlagDst) : null;
    }

    private FlagTest CmpCondition(int condition, W w)
    {
        if (OrderOf(condition) is { } order)
            return new FlagTest(order, w, FlagDst, FlagSrc);
        var result = B.Sub(Wide(w), FlagDst, FlagSrc);
        return condition switch
        {
            Sign => new FlagTest(Cond.SLt, w, result, B.Const(0)),
            Parity => ParityOf(result),
            _ => SubOverflow(w, FlagDst, result),
        };
    }

    private FlagTest ParityOf(Val result) => new(Cond.TestEq, W.D, B.Popcnt(W.D, B.ZExt(W.B, result)), B.Const(1));

    private FlagTest SubOverflow(W w, Val minuend, Val result)
    {
        var wide = Wide(w);
        return new FlagTest(Cond.SLt, w,
            B.And(wide, B.Xor(wide, minuend, FlagSrc), B.Xor(wide, minuend, result)), B.Const(0));
    }

    /// <summary>Families with OF = 0: signed order is the sign.</summary>
    private FlagTest? LogicCondition(int condition, W w)
    {
        var family = (CcOp)(_ccOp & ~3);
        if (family is CcOp.Count or CcOp.Popcnt && condition is Sign or Less or Parity or Overflow)
            return Never;
        if (family is CcOp.Count or CcOp.Popcnt && condition == LessEqual)
            condition = Equal;
        switch (condition)
        {
            case Overflow:
                return Never;
            case Below when family == CcOp.Logic:
                return Never;
            case BelowEqual when family == CcOp.Logic:
            case Equal:
                return _testA.IsNone
                    ? new FlagTest(Cond.Eq, w, FlagDst, B.Const(0))
                    : new FlagTest(Cond.TestEq, w, _testA, _testB);
            case Less:
                return new FlagTest(Cond.SLt, w, FlagDst, B.Const(0));
            case LessEqual:
                return new FlagTest(Cond.SLe, w, FlagDst, B.Const(0));
            case Parity when family == CcOp.Bmi:
                return Never;
            default:
                return null;
        }
    }

    private FlagTest? AddCondition(int condition, W w)
    {
        var wide = Wide(w);
        switch (condition)
        {
            case Below:
                return new FlagTest(Cond.ULt, w, FlagDst, FlagSrc);
            case Overflow:
                return new FlagTest(Cond.SLt, w, AddOverflow(wide), B.Const(0));
            case Less:
                return new FlagTest(Cond.SLt, w, B.Xor(wide, AddOverflow(wide), FlagDst), B.Const(0));
            default:
                return null;
        }
    }

    /// <summary>A value whose sign bit is OF of an addition: both addends differ in sign from the sum.</summary>
    private Val AddOverflow(W wide)
    {
        var first = B.Sub(wide, FlagDst, FlagSrc);
        return B.And(wide, B.Xor(wide, FlagDst, FlagSrc), B.Xor(wide, FlagDst, first));
    }

    // The signed order of INC and DEC is that of the true result, one away from the operand.
    private FlagTest? IncCondition(int condition, W w, Val result) => condition switch
    {
        Overflow => new FlagTest(Cond.Eq, w, result, B.Const(SignBit(w))),
        Less => new FlagTest(Cond.SLt, w, B.Sub(Wide(w), result, B.Const(1)), B.Const(-1)),
        LessEqual => new FlagTest(Cond.SLt, w, B.Sub(Wide(w), result, B.Const(1)), B.Const(0)),
        _ => null,
    };

    private FlagTest? DecCondition(int condition, W w, Val result) => condition switch
    {
        Overflow => new FlagTest(Cond.Eq, w, result, B.Const(SignBit(w) - 1)),
        Less => new FlagTest(Cond.SLt, w, B.Add(Wide(w), result, B.Const(1)), B.Const(1)),
        LessEqual => new FlagTest(Cond.SLe, w, B.Add(Wide(w), result, B.Const(1)), B.Const(1)),
        _ => null,
    };

    /// <summary>OF after a rotate: whether the bits that it brought together differ.</summary>
    private Val RotateOverflow()
    {
        var top = Bits((W)(_ccOp & 3)) - 1;
        return B.Xor(W.D, B.Extract(FlagSrc2, top, 1),
            _ccOp < (int)CcOp.RorOver ? B.And(W.D, FlagSrc2, B.Const(1)) : B.Extract(FlagSrc2, top - 1, 1));
    }

    private FlagTest Never => new(Cond.Ne, W.D, B.Const(0), B.Const(0));

    private FlagTest TestNe(Val value, int mask) => new(Cond.TestNe, W.D, value, B.Const(mask));

    private static ulong SignBit(W w) => 1UL << (Bits(w) - 1);

    /// <summary>The first operand of the subtraction that the flags come from.</summary>
    private Val Minuend(W w) => _minuend.IsNone ? B.Add(Wide(w), FlagDst, FlagSrc) : _minuend;
}
