using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <remarks>
/// This file: flag records upon another. INC and DEC keep CF, rotates keep all but CF and OF: the record before them stays where it
/// is, its <see cref="CcOp"/> moves to the upper half of the field, and whoever asks for one of its flags, which is rare, looks there.
/// </remarks>
public sealed partial class X86Emitter
{
    /// <summary>Sets a record upon the one that is stored.</summary>
    /// <param name="op">The new record's <see cref="CcOp"/>.</param>
    /// <param name="result">What its own flags come from.</param>
    /// <param name="before">The <see cref="CcOp"/> of the record that it stands upon.</param>
    private void SetFlagsOver(int op, Val result, Val before)
    {
        ForgetFlagOperands();
        B.Set(CcOpGlobal, B.Or(W.Q, B.Shl(W.Q, before, B.Const(32)), B.Const(op)));
        B.Set(CcSrc2Global, result);
        _flagSrc2 = result;
        (_ccOp, _storedOp, _pending) = (op, Unknown, false);
    }

    private Val RecordBelow => B.Shr(W.Q, CcOpGlobal, B.Const(32));

    /// <summary>What an INC or DEC stands upon, given what is stored: another one gives way.</summary>
    private Val BeforeCount(int stored) => stored is >= 0 and < (int)CcOp.IncOver ? B.Const(stored)
        : stored >= 0 ? RecordBelow
        : B.Select(Cond.UGe, W.D, CcOpGlobal, B.Const((int)CcOp.IncOver), RecordBelow, CcOpGlobal);

    /// <summary>What a rotate stands upon: another one gives way.</summary>
    private Val BeforeRotate() => _ccOp is >= 0 and < (int)CcOp.IncOver ? B.Const(_ccOp)
        : _ccOp >= 0 ? RecordBelow
        : B.Select(Cond.ULt, W.D, B.Sub(W.D, CcOpGlobal, B.Const((int)CcOp.RolOver)), B.Const(8), RecordBelow, CcOpGlobal);

    /// <summary>
    /// Before an INC or DEC: flags of unknown origin become such as its record can stand upon. Places a label: call before other
    /// temporaries exist.
    /// </summary>
    private bool ExpectCount()
    {
        if (_ccOp != Unknown)
            return false;
        var back = B.NewLabel();
        B.BrCond(Cond.UGe, W.D, CcOpGlobal, B.Const((int)CcOp.Adc), NewCold(ColdKind.MaterializeFlags, back));
        PlaceLabel(back);
        return true;
    }

    /// <summary>The same before a rotate; false if its record can stand upon none that is there.</summary>
    private bool ExpectRotate()
    {
        if (_ccOp is >= 0 and < (int)CcOp.IncOver || IsRotateOver)
            return true;
        if (_ccOp != Unknown)
            return false;
        var back = B.NewLabel();
        B.BrCond(Cond.UGe, W.D, BeforeRotate(), B.Const((int)CcOp.IncOver), NewCold(ColdKind.MaterializeFlags, back));
        PlaceLabel(back);
        return true;
    }
}
