using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: instructions that are one row of the table.</remarks>
public static partial class VectorTranslator
{
    private static void EmitCompute(X86Emitter e, VecKind kind)
    {
        var info = VecOps.Info(kind);
        var w = WidthOf(e);
        var vex = IsVex(e);
        // VEX has a destination of its own in front of the operands.
        var first = vex ? 1 : 0;
        var imm = info.HasImm ? LastImmediate(e) : (byte)0;
        Val a, b, c;
        switch (info.Form)
        {
            case VecForm.Binary:
            case VecForm.BinaryImm:
                b = LoadOperand(e, first + 1);
                a = LoadOperand(e, first);
                if (kind is >= VecKind.Cmpps and <= VecKind.Cmpsd)
                    imm &= (byte)(vex ? 31 : 7);
                StoreRegister(e, 0, Compute(e, info, w, a, b, Val.None, imm));
                break;
            case VecForm.Unary:
            case VecForm.UnaryImm:
                a = LoadOperand(e, 1);
                StoreRegister(e, 0, Compute(e, info, w, a, Val.None, Val.None, imm));
                break;
            case VecForm.UnaryImmStore:
                a = LoadOperand(e, 1);
                StoreResult(e, 0, w == W.Y ? W.X : W.Q, Compute(e, info, w, a, Val.None, Val.None, imm));
                break;
            case VecForm.ShiftImm:
                a = LoadOperand(e, first);
                StoreRegister(e, 0, Compute(e, info, w, a, Val.None, Val.None, imm));
                break;
            case VecForm.Ternary:
                c = LoadOperand(e, 2);
                b = LoadOperand(e, 1);
                a = LoadOperand(e, 0);
                StoreRegister(e, 0, Compute(e, info, w, a, b, c, 0));
                break;
            case VecForm.Blendv:
                b = LoadOperand(e, first + 1);
                a = LoadOperand(e, first);
                c = vex ? LoadOperand(e, 3) : e.B.VLdState(W.X, X86Layout.YmmRegisterOffset(0));
                StoreRegister(e, 0, Compute(e, info, w, a, b, c, 0));
                break;
            case VecForm.FromGpr:
            case VecForm.FromGprImm:
                b = LoadInteger(e, first + 1, info);
                a = LoadOperand(e, first);
                StoreRegister(e, 0, Compute(e, info, w, a, b, Val.None, imm));
                break;
            case VecForm.ToGpr:
            case VecForm.ToGprImm:
            case VecForm.ToGprImmStore:
                a = LoadOperand(e, 1);
                StoreInteger(e, ComputeInteger(e, info, w, a, Val.None, imm));
                break;
            default:
                b = LoadOperand(e, 1);
                a = LoadOperand(e, 0);
                e.SetFlagsFromBits(ComputeInteger(e, info, w, a, b, 0));
                break;
        }
    }

    /// <summary>An integer operand of PINSR and CVTSI2: a general register or memory of its size.</summary>
    private static Val LoadInteger(X86Emitter e, int operand, VecInfo info)
    {
        var w = info.W ? W.Q : W.D;
        if (!e.IsMemory(operand))
            return e.B.VFromInt(w, e.ReadGpr(e.Insn.GetOpRegister(operand)));
        return LoadMemory(e, e.Insn.MemorySize.GetSize(), aligned: false);
    }

    private static void StoreInteger(X86Emitter e, Val value)
    {
        if (e.IsMemory(0))
            e.StoreMemory(X86Emitter.WidthOf(e.Insn.MemorySize.GetSize()), e.EffectiveAddress(), value);
        else
            e.WriteGprClean(e.Insn.Op0Register, value);
    }

    /// <summary>A row at work: inline, or where MXCSR unmasks an exception in a helper that may raise #XM.</summary>
    private static Val Compute(X86Emitter e, VecInfo info, W w, Val a, Val b, Val c = default, byte imm = 0)
    {
        if (!info.UsesMxcsr || (e.Mode & Mode.SimdExceptions) == 0)
            return e.B.Vec(info.Kind, w, a, b, c, imm);
        CallArithmetic(e, info, w, a, b, c, imm);
        return e.B.VLdState(w, VectorHelpers.DstOffset);
    }

    private static Val ComputeInteger(X86Emitter e, VecInfo info, W w, Val a, Val b, byte imm)
    {
        if (!info.UsesMxcsr || (e.Mode & Mode.SimdExceptions) == 0)
            return e.B.VecToInt(info.Kind, w, a, b, imm);
        CallArithmetic(e, info, w, a, b, Val.None, imm);
        return e.B.LdState(W.Q, VectorHelpers.IntOffset);
    }

    private static void CallArithmetic(X86Emitter e, VecInfo info, W w, Val a, Val b, Val c, byte imm)
    {
        if (!a.IsNone)
            e.B.VStState(w, VectorHelpers.AOffset, a);
        if (!b.IsNone)
            e.B.VStState(w, VectorHelpers.BOffset, b);
        if (!c.IsNone)
            e.B.VStState(w, VectorHelpers.COffset, c);
        e.B.FpSync();
        e.CallKeepingFlags(VectorHelpers.Arithmetic, e.Const((int)info.Kind), e.Const(imm), e.Const(w == W.Y ? 32 : 16));
        e.B.FpLoad();
    }
}
