using System.Globalization;
using System.Text;

namespace Dromaius.Jit.Ir;

/// <summary>Writes a unit as text, an operation a line: <c>add.d t3, rax, $0x10</c>.</summary>
public static class IrPrinter
{
    public static string Print(IrBuilder b)
    {
        var text = new StringBuilder();
        foreach (ref readonly var insn in b.Insns)
        {
            if (insn.Op == IrOp.Nop)
                continue;
            Append(text, b, insn);
            text.Append('\n');
        }

        return text.ToString();
    }

    public static string Print(IrBuilder b, in IrInsn insn)
    {
        var text = new StringBuilder();
        Append(text, b, insn);
        return text.ToString();
    }

    private static void Append(StringBuilder text, IrBuilder b, in IrInsn i)
    {
        switch (i.Op)
        {
            case IrOp.InsnStart:
                text.Append(" ---- ").Append(Hex(i.Imm));
                return;
            case IrOp.Label or IrOp.LoopHead:
                text.Append('L').Append(i.Aux).Append(':');
                return;
        }

        text.Append("  ").Append(Name(i)).Append(' ');
        var first = true;
        if (!i.Dst.IsNone)
            Operand(text, b, i.Dst, ref first);
        switch (i.Op)
        {
            case IrOp.SetCond:
            case IrOp.Select:
            case IrOp.BrCond:
            case IrOp.ExitIf:
                Item(text, CondName(i.Cond), ref first);
                break;
            case IrOp.Call:
                Item(text, b.HelperOf(i).Name, ref first);
                break;
            case IrOp.LdState:
            case IrOp.VLdState:
            case IrOp.StState:
            case IrOp.VStState:
                Item(text, string.Create(CultureInfo.InvariantCulture, $"[state+0x{i.Imm:x}]"), ref first);
                break;
        }

        if (i.Op is IrOp.X87 or IrOp.X87Mem)
            Item(text, string.Create(CultureInfo.InvariantCulture, $"r{i.Extra & 15}, r{i.Extra >> 4}"), ref first);
        Operands(text, b, i, ref first);
        switch (i.Op)
        {
            case IrOp.Extract:
            case IrOp.Deposit:
                Item(text, string.Create(CultureInfo.InvariantCulture, $"{IrFold.Pos(i.Imm)}:{IrFold.Len(i.Imm)}"), ref first);
                break;
            case IrOp.GuestLd:
            case IrOp.GuestSt:
            case IrOp.GuestRmw:
            case IrOp.GuestCas:
            case IrOp.VGuestLd:
            case IrOp.VGuestSt:
            case IrOp.X87Mem:
                var op = MemOp.Unpack(i.Aux);
                if (i.Imm != 0)
                    Item(text, string.Create(CultureInfo.InvariantCulture, $"{(long)i.Imm:+0;-0}"), ref first);
                Item(text, string.Create(CultureInfo.InvariantCulture, $"mmu={op.MmuIndex}"), ref first);
                if (i.Group != 0)
                    Item(text, string.Create(CultureInfo.InvariantCulture, $"group={i.Group}"), ref first);
                if (op.AlignMask != 0)
                    Item(text, string.Create(CultureInfo.InvariantCulture, $"align={op.AlignMask + 1}"), ref first);
                break;
            case IrOp.VecOp:
            case IrOp.VecToIntOp:
            case IrOp.X87:
            case IrOp.AddScaled:
                Item(text, "#" + Hex(i.Imm), ref first);
                break;
            case IrOp.Br:
            case IrOp.BrCond:
            case IrOp.LoopBack:
                Item(text, string.Create(CultureInfo.InvariantCulture, $"L{i.Aux}"), ref first);
                break;
            case IrOp.ExitDirect:
            case IrOp.ExitIf:
                if (i.Op != IrOp.ExitIf || i.Extra != IrInsn.ToOperand)
                    Item(text, Hex(i.Imm), ref first);
                Item(text, i.Aux < 0 ? "unlinked" : string.Create(CultureInfo.InvariantCulture, $"slot {i.Aux}"), ref first);
                if (i.Extra == IrInsn.CheckExit)
                    Item(text, "check", ref first);
                break;
        }
    }

    private static void Operands(StringBuilder text, IrBuilder b, in IrInsn i, ref bool first)
    {
        if (!i.A.IsNone)
            Operand(text, b, i.A, ref first);
        if (!i.B.IsNone)
            Operand(text, b, i.B, ref first);
        if (!i.C.IsNone)
            Operand(text, b, i.C, ref first);
        if (!i.D.IsNone)
            Operand(text, b, i.D, ref first);
    }

    private static void Operand(StringBuilder text, IrBuilder b, Val v, ref bool first)
    {
        Separator(text, ref first);
        if (v.IsConst)
            text.Append('$').Append(Hex(b.ConstValue(v)));
        else if (v.Id < b.GlobalCount)
            text.Append(b.Layout.Globals[v.Id].Name);
        else
            text.Append(b.TypeOf(v) == ValType.Vec ? 'v' : 't').Append(v.Id - b.GlobalCount);
    }

    private static void Item(StringBuilder text, string item, ref bool first)
    {
        Separator(text, ref first);
        text.Append(item);
    }

    private static void Separator(StringBuilder text, ref bool first)
    {
        if (!first)
            text.Append(", ");
        first = false;
    }

    private static string Name(in IrInsn i)
    {
        var name = i.Op switch
        {
            IrOp.VecOp or IrOp.VecToIntOp => ((VecKind)i.Aux).ToString(),
            IrOp.X87 => "x87." + (X87Op)i.Aux,
            IrOp.X87Mem => string.Create(CultureInfo.InvariantCulture, $"x87.{X87Access.Of(i).Opcode:x}/{X87Access.Of(i).Digit}"),
            IrOp.GuestRmw => "guestrmw." + (RmwKind)i.Extra,
            _ => i.Op.ToString(),
        };
        var width = i.Op is IrOp.Br or IrOp.LoopBack or IrOp.Call or IrOp.FpSync or IrOp.FpLoad or IrOp.X87 || i.Op >= IrOp.ExitDirect
            ? ""
            : "." + WidthName(i.Width);
        return (name + width).ToLowerInvariant();
    }

    private static string WidthName(W w) => w switch
    {
        W.B => "b",
        W.W => "w",
        W.D => "d",
        W.Q => "q",
        W.X => "x",
        W.T => "t",
        _ => "y",
    };

    private static string CondName(Cond cond) => cond switch
    {
        Cond.Eq => "eq",
        Cond.Ne => "ne",
        Cond.ULt => "ult",
        Cond.UGe => "uge",
        Cond.ULe => "ule",
        Cond.UGt => "ugt",
        Cond.SLt => "slt",
        Cond.SGe => "sge",
        Cond.SLe => "sle",
        Cond.SGt => "sgt",
        Cond.TestEq => "tsteq",
        _ => "tstne",
    };

    private static string Hex(ulong value) => string.Create(CultureInfo.InvariantCulture, $"0x{value:x}");
}
