using System.Globalization;

namespace Dromaius.Jit.Ir;

/// <summary>
/// Checks that a unit keeps the rules of the IR: operands present and of the right type, widths that the operation has,
/// labels defined once, temporaries written before they are read and not used across labels, an exit at the end.
/// </summary>
public static class IrVerifier
{
    private const int MaxField = 64;

    private enum Operands
    {
        None, A, AB, ABC, ABCD,
    }

    private readonly record struct Shape(ValType? Dst, Operands Count, ValType A = ValType.Int, ValType B = ValType.Int,
        W Min = W.D, W Max = W.Q);

    /// <summary>Null, or what is wrong with the first bad operation.</summary>
    public static string? Verify(IrBuilder b)
    {
        var defined = new bool[b.ValueCount];
        var labels = new bool[b.LabelCount];
        var last = IrOp.Nop;
        foreach (ref readonly var i in b.Insns)
        {
            if (i.Op == IrOp.Nop)
                continue;
            if (i.Op is IrOp.Label or IrOp.LoopHead)
            {
                if ((uint)i.Aux >= labels.Length || labels[i.Aux])
                    return Complain(b, i, "label unknown or defined twice");
                labels[i.Aux] = true;
                Array.Clear(defined);
            }

            if (Check(b, i, defined) is { } complaint)
                return Complain(b, i, complaint);
            if (i.Dst.IsValue)
                defined[i.Dst.Id] = true;
            last = i.Op;
        }

        foreach (ref readonly var i in b.Insns)
        {
            if (i.Op is IrOp.Br or IrOp.BrCond or IrOp.LoopBack && ((uint)i.Aux >= labels.Length || !labels[i.Aux]))
                return Complain(b, i, "branch to a label that is not in the unit");
        }

        return last is IrOp.Br or IrOp.LoopBack || last >= IrOp.ExitDirect ? null : "the unit does not end with an exit";
    }

    private static string? Check(IrBuilder b, in IrInsn i, bool[] defined)
    {
        if (Operand(b, i.A, defined) is { } a)
            return "A " + a;
        if (Operand(b, i.B, defined) is { } bb)
            return "B " + bb;
        if (Operand(b, i.C, defined) is { } c)
            return "C " + c;
        if (Operand(b, i.D, defined) is { } d)
            return "D " + d;
        if (i.Dst.IsConst || (i.Dst.IsValue && i.Dst.Id >= b.ValueCount))
            return "the result is not a value of the unit";
        switch (i.Op)
        {
            case IrOp.VecOp:
            case IrOp.VecToIntOp:
                return CheckVector(b, i);
            case IrOp.X87:
                return CheckX87(b, i);
            case IrOp.Call:
                return i.Dst.IsValue && b.TypeOf(i.Dst) != ValType.Int ? "a helper gives an integer" : null;
        }

        var shape = ShapeOf(i.Op);
        if (i.Width < shape.Min || i.Width > shape.Max)
            return "no such width";
        if (i.Dst.IsNone && shape.Dst != null && i.Op != IrOp.GuestRmw)
            return "no result";
        if (i.Dst.IsValue && (shape.Dst == null || b.TypeOf(i.Dst) != shape.Dst))
            return "result of the wrong type";
        return Expect(b, i.A, shape.Count >= Operands.A, shape.A)
            ?? Expect(b, i.B, shape.Count >= Operands.AB, shape.B)
            ?? Expect(b, i.C, shape.Count >= Operands.ABC, ValType.Int)
            ?? Expect(b, i.D, shape.Count >= Operands.ABCD, ValType.Int)
            ?? CheckField(i);
    }

    private static string? CheckVector(IrBuilder b, in IrInsn i)
    {
        if ((VecKind)i.Aux is <= VecKind.None or >= VecKind.Count)
            return "no such vector operation";
        var info = VecOps.Info((VecKind)i.Aux);
        if (info.HasIntResult != (i.Op == IrOp.VecToIntOp))
            return "vector operation with the other kind of result";
        if (i.Width != W.X && (i.Width != W.Y || info.No256))
            return "no such width";
        var operands = info.Form switch
        {
            VecForm.Unary or VecForm.UnaryImm or VecForm.UnaryImmStore or VecForm.ShiftImm or VecForm.ToGpr or VecForm.ToGprImm
                or VecForm.ToGprImmStore => 1,
            VecForm.Ternary or VecForm.Blendv => 3,
            _ => 2,
        };
        if (i.Dst.IsNone || b.TypeOf(i.Dst) != (info.HasIntResult ? ValType.Int : ValType.Vec))
            return "result missing or of the wrong type";
        return Expect(b, i.A, true, ValType.Vec)
            ?? Expect(b, i.B, operands >= 2, ValType.Vec)
            ?? Expect(b, i.C, operands >= 3, ValType.Vec)
            ?? Expect(b, i.D, false, ValType.Vec);
    }

    private static string? CheckX87(IrBuilder b, in IrInsn i)
    {
        var op = (X87Op)i.Aux;
        if (op > X87Op.Reload || (i.Extra & 0x88) != 0)
            return "no such x87 operation or register";
        if (i.Dst.IsNone == op is X87Op.CompareFlags or X87Op.Status)
            return "result missing or too many";
        return Expect(b, i.A, op is X87Op.MoveIf or X87Op.LoadControl, ValType.Int);
    }

    private static string? CheckField(in IrInsn i)
    {
        if (i.Op is not (IrOp.Extract or IrOp.Deposit))
            return null;
        var (pos, len) = (IrFold.Pos(i.Imm), IrFold.Len(i.Imm));
        return len == 0 || pos + len > MaxField ? "field outside of 64 bits" : null;
    }

    private static string? Operand(IrBuilder b, Val v, bool[] defined)
    {
        if (!v.IsValue)
            return null;
        if (v.Id >= b.ValueCount)
            return "is not a value of the unit";
        return v.Id >= b.GlobalCount && !defined[v.Id] ? "is a temporary without a value here" : null;
    }

    private static string? Expect(IrBuilder b, Val v, bool present, ValType type)
    {
        if (v.IsNone)
            return present ? "operand missing" : null;
        if (!present)
            return "operand too many";
        return b.TypeOf(v) == type ? null : "operand of the wrong type";
    }

    private static Shape ShapeOf(IrOp op) => op switch
    {
        IrOp.Nop or IrOp.FpSync or IrOp.FpLoad or IrOp.Label or IrOp.Br or IrOp.LoopHead or IrOp.LoopBack or IrOp.InsnStart or IrOp.ExitDirect
            or IrOp.ExitLookup or IrOp.ExitLoop => new Shape(null, Operands.None),
        IrOp.Mov or IrOp.Neg or IrOp.Not or IrOp.Bswap or IrOp.Clz or IrOp.Ctz or IrOp.Popcnt =>
            new Shape(ValType.Int, Operands.A),
        IrOp.ZExt or IrOp.SExt => new Shape(ValType.Int, Operands.A, Min: W.B, Max: W.D),
        IrOp.Extract => new Shape(ValType.Int, Operands.A, Min: W.Q),
        IrOp.Deposit => new Shape(ValType.Int, Operands.AB, Min: W.Q),
        IrOp.AddCarry or IrOp.SubBorrow or IrOp.CarryOf or IrOp.BorrowOf => new Shape(ValType.Int, Operands.ABC),
        IrOp.SetCond => new Shape(ValType.Int, Operands.AB, Min: W.B),
        IrOp.Select => new Shape(ValType.Int, Operands.ABCD, Min: W.B),
        IrOp.BrCond or IrOp.ExitIf => new Shape(null, Operands.AB, Min: W.B),
        IrOp.LdState => new Shape(ValType.Int, Operands.None, Min: W.B),
        IrOp.StState => new Shape(null, Operands.A, Min: W.B),
        IrOp.GuestLd => new Shape(ValType.Int, Operands.A, Min: W.B),
        IrOp.GuestSt => new Shape(null, Operands.AB, Min: W.B),
        IrOp.GuestRmw => new Shape(ValType.Int, Operands.AB, Min: W.B),
        IrOp.GuestCas => new Shape(ValType.Int, Operands.ABC, Min: W.B),
        IrOp.VLdState => new Shape(ValType.Vec, Operands.None, Max: W.Y),
        IrOp.VStState => new Shape(null, Operands.A, ValType.Vec, Max: W.Y),
        IrOp.VGuestLd => new Shape(ValType.Vec, Operands.A, Max: W.Y),
        IrOp.VGuestSt => new Shape(null, Operands.AB, ValType.Int, ValType.Vec, Max: W.Y),
        IrOp.VFromInt => new Shape(ValType.Vec, Operands.A),
        IrOp.VToInt => new Shape(ValType.Int, Operands.A, ValType.Vec),
        IrOp.VMov => new Shape(ValType.Vec, Operands.A, ValType.Vec, Max: W.Y),
        IrOp.X87Mem => new Shape(null, Operands.A, Min: W.W, Max: W.T),
        IrOp.ExitIndirect => new Shape(null, Operands.A),
        _ => new Shape(ValType.Int, Operands.AB),
    };

    private static string Complain(IrBuilder b, in IrInsn i, string what) =>
        string.Create(CultureInfo.InvariantCulture, $"{IrPrinter.Print(b, i).Trim()}: {what}");
}
