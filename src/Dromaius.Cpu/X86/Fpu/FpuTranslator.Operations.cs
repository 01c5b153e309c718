using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: arithmetic, comparisons, loads and stores, functions.</remarks>
public static partial class FpuTranslator
{
    private static bool EmitArithmetic(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Fadd: Arithmetic(e, FpuArith.Add, false); break;
            case Mnemonic.Faddp: Arithmetic(e, FpuArith.Add, true); break;
            case Mnemonic.Fiadd: Arithmetic(e, FpuArith.Add, false); break;
            case Mnemonic.Fmul: Arithmetic(e, FpuArith.Multiply, false); break;
            case Mnemonic.Fmulp: Arithmetic(e, FpuArith.Multiply, true); break;
            case Mnemonic.Fimul: Arithmetic(e, FpuArith.Multiply, false); break;
            case Mnemonic.Fsub: Arithmetic(e, FpuArith.Subtract, false); break;
            case Mnemonic.Fsubp: Arithmetic(e, FpuArith.Subtract, true); break;
            case Mnemonic.Fisub: Arithmetic(e, FpuArith.Subtract, false); break;
            case Mnemonic.Fsubr: Arithmetic(e, FpuArith.SubtractReverse, false); break;
            case Mnemonic.Fsubrp: Arithmetic(e, FpuArith.SubtractReverse, true); break;
            case Mnemonic.Fisubr: Arithmetic(e, FpuArith.SubtractReverse, false); break;
            case Mnemonic.Fdiv: Arithmetic(e, FpuArith.Divide, false); break;
            case Mnemonic.Fdivp: Arithmetic(e, FpuArith.Divide, true); break;
            case Mnemonic.Fidiv: Arithmetic(e, FpuArith.Divide, false); break;
            case Mnemonic.Fdivr: Arithmetic(e, FpuArith.DivideReverse, false); break;
            case Mnemonic.Fdivrp: Arithmetic(e, FpuArith.DivideReverse, true); break;
            case Mnemonic.Fidivr: Arithmetic(e, FpuArith.DivideReverse, false); break;
            default: return false;
        }

        return true;
    }

    private static void Arithmetic(X86Emitter e, FpuArith op, bool pop)
    {
        if (HasMemory(e))
        {
            var value = LoadMemory(e, out var format);
            e.B.CallVoid(FpuHelpers.ArithmeticMemory, e.Const((int)op), e.Const((int)format), value);
            return;
        }

        e.B.CallVoid(FpuHelpers.Arithmetic, e.Const((int)op), e.Const(StackRegister(e, 0)), e.Const(StackRegister(e, 1)),
            e.Const(pop ? 1 : 0));
    }

    private static bool EmitCompare(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Fcom or Mnemonic.Ficom: Compare(e, quiet: false, 0); break;
            case Mnemonic.Fcomp or Mnemonic.Ficomp: Compare(e, quiet: false, 1); break;
            case Mnemonic.Fcompp: Compare(e, quiet: false, 2); break;
            case Mnemonic.Fucom: Compare(e, quiet: true, 0); break;
            case Mnemonic.Fucomp: Compare(e, quiet: true, 1); break;
            case Mnemonic.Fucompp: Compare(e, quiet: true, 2); break;
            case Mnemonic.Fcomi: CompareFlags(e, quiet: false, pop: false); break;
            case Mnemonic.Fcomip: CompareFlags(e, quiet: false, pop: true); break;
            case Mnemonic.Fucomi: CompareFlags(e, quiet: true, pop: false); break;
            case Mnemonic.Fucomip: CompareFlags(e, quiet: true, pop: true); break;
            case Mnemonic.Fcmovb: ConditionalMove(e, ConditionCode.b); break;
            case Mnemonic.Fcmove: ConditionalMove(e, ConditionCode.e); break;
            case Mnemonic.Fcmovbe: ConditionalMove(e, ConditionCode.be); break;
            case Mnemonic.Fcmovu: ConditionalMove(e, ConditionCode.p); break;
            case Mnemonic.Fcmovnb: ConditionalMove(e, ConditionCode.ae); break;
            case Mnemonic.Fcmovne: ConditionalMove(e, ConditionCode.ne); break;
            case Mnemonic.Fcmovnbe: ConditionalMove(e, ConditionCode.a); break;
            case Mnemonic.Fcmovnu: ConditionalMove(e, ConditionCode.np); break;
            default: return false;
        }

        return true;
    }

    private static void Compare(X86Emitter e, bool quiet, int pops)
    {
        if (HasMemory(e))
        {
            var value = LoadMemory(e, out var format);
            e.B.CallVoid(FpuHelpers.CompareMemory, e.Const((int)format), value, e.Const(pops));
            return;
        }

        // FCOMPP names no operand.
        var source = e.Insn.OpCount > 1 ? StackRegister(e, 1) : 1;
        e.B.CallVoid(FpuHelpers.Compare, e.Const(source), e.Const(quiet ? 1 : 0), e.Const(pops));
    }

    private static void CompareFlags(X86Emitter e, bool quiet, bool pop)
    {
        var flags = e.B.Call(FpuHelpers.CompareFlags, e.Const(StackRegister(e, 1)), e.Const(quiet ? 1 : 0), e.Const(pop ? 1 : 0));
        e.SetFlagsFromBits(flags);
    }

    private static void ConditionalMove(X86Emitter e, ConditionCode condition)
    {
        e.B.CallVoid(FpuHelpers.ConditionalMove, e.Const(StackRegister(e, 1)), e.ConditionValue(condition));
    }

    private static bool EmitTransfer(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Fld when !HasMemory(e): Simple(e, FpuSimple.Duplicate, StackRegister(e, e.Insn.OpCount - 1)); break;
            case Mnemonic.Fld or Mnemonic.Fild or Mnemonic.Fbld: Load(e); break;
            case Mnemonic.Fst when !HasMemory(e): Simple(e, FpuSimple.Store, StackRegister(e, 0)); break;
            case Mnemonic.Fstp or Mnemonic.Fstpnce when !HasMemory(e): Simple(e, FpuSimple.StorePop, StackRegister(e, 0)); break;
            case Mnemonic.Fst or Mnemonic.Fist: Store(e, pop: false); break;
            case Mnemonic.Fstp or Mnemonic.Fistp or Mnemonic.Fbstp or Mnemonic.Fisttp: Store(e, pop: true); break;
            case Mnemonic.Fxch: Simple(e, FpuSimple.Exchange, StackRegister(e, 1)); break;
            case Mnemonic.Ffree: Simple(e, FpuSimple.Free, StackRegister(e, 0)); break;
            case Mnemonic.Ffreep: Simple(e, FpuSimple.FreePop, StackRegister(e, 0)); break;
            case Mnemonic.Fld1: Simple(e, FpuSimple.Constant, (int)FpuConstant.One); break;
            case Mnemonic.Fldl2t: Simple(e, FpuSimple.Constant, (int)FpuConstant.Log2Of10); break;
            case Mnemonic.Fldl2e: Simple(e, FpuSimple.Constant, (int)FpuConstant.Log2OfE); break;
            case Mnemonic.Fldpi: Simple(e, FpuSimple.Constant, (int)FpuConstant.Pi); break;
            case Mnemonic.Fldlg2: Simple(e, FpuSimple.Constant, (int)FpuConstant.Log10Of2); break;
            case Mnemonic.Fldln2: Simple(e, FpuSimple.Constant, (int)FpuConstant.LnOf2); break;
            case Mnemonic.Fldz: Simple(e, FpuSimple.Constant, (int)FpuConstant.Zero); break;
            default: return false;
        }

        return true;
    }

    private static bool EmitFunction(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Fchs: Simple(e, FpuSimple.ChangeSign); break;
            case Mnemonic.Fabs: Simple(e, FpuSimple.Absolute); break;
            case Mnemonic.Ftst: Simple(e, FpuSimple.Test); break;
            case Mnemonic.Fxam: Simple(e, FpuSimple.Examine); break;
            case Mnemonic.Fincstp: Simple(e, FpuSimple.IncrementTop); break;
            case Mnemonic.Fdecstp: Simple(e, FpuSimple.DecrementTop); break;
            case Mnemonic.Fnop: break;
            case Mnemonic.Fsqrt: Function(e, FpuFunction.Sqrt); break;
            case Mnemonic.Frndint: Function(e, FpuFunction.RoundToInteger); break;
            case Mnemonic.Fscale: Function(e, FpuFunction.Scale); break;
            case Mnemonic.Fxtract: Function(e, FpuFunction.Extract); break;
            case Mnemonic.Fprem: Function(e, FpuFunction.Remainder); break;
            case Mnemonic.Fprem1: Function(e, FpuFunction.RemainderNearest); break;
            case Mnemonic.Fsin: Function(e, FpuFunction.Sin); break;
            case Mnemonic.Fcos: Function(e, FpuFunction.Cos); break;
            case Mnemonic.Fsincos: Function(e, FpuFunction.SinCos); break;
            case Mnemonic.Fptan: Function(e, FpuFunction.Tangent); break;
            case Mnemonic.Fpatan: Function(e, FpuFunction.ArcTangent); break;
            case Mnemonic.F2xm1: Function(e, FpuFunction.PowerMinusOne); break;
            case Mnemonic.Fyl2x: Function(e, FpuFunction.YLog2X); break;
            case Mnemonic.Fyl2xp1: Function(e, FpuFunction.YLog2XPlusOne); break;
            default: return false;
        }

        return true;
    }

    private static void Simple(X86Emitter e, FpuSimple operation, int operand = 0) =>
        e.B.CallVoid(FpuHelpers.Simple, e.Const((int)operation), e.Const(operand));

    private static void Function(X86Emitter e, FpuFunction function) =>
        e.B.CallVoid(FpuHelpers.Function, e.Const((int)function));

    // Memory operands.

    private static FpuFormat FormatOf(MemorySize size) => size switch
    {
        MemorySize.Float32 => FpuFormat.F32,
        MemorySize.Float64 => FpuFormat.F64,
        MemorySize.Float80 => FpuFormat.F80,
        MemorySize.Int16 => FpuFormat.I16,
        MemorySize.Int32 => FpuFormat.I32,
        MemorySize.Bcd => FpuFormat.Bcd,
        _ => FpuFormat.I64,
    };

    private static W WidthOf(FpuFormat format) => format switch
    {
        FpuFormat.I16 or FpuFormat.I16Truncate => W.W,
        FpuFormat.F32 or FpuFormat.I32 or FpuFormat.I32Truncate => W.D,
        _ => W.Q,
    };

    private static Val LoadMemory(X86Emitter e, out FpuFormat format)
    {
        format = FormatOf(e.Insn.MemorySize);
        return e.LoadMemory(WidthOf(format), e.EffectiveAddress());
    }

    private static void Load(X86Emitter e)
    {
        var low = LoadMemory(e, out var format);
        var high = format is FpuFormat.F80 or FpuFormat.Bcd ? e.LoadMemory(W.W, UpperAddress(e)) : e.Const(0);
        e.B.CallVoid(FpuHelpers.Load, e.Const((int)format), low, high);
    }

    private static Val UpperAddress(X86Emitter e) => e.B.Add(e.Is64 ? W.Q : W.D, e.EffectiveAddress(), e.Const(8));

    private static void Store(X86Emitter e, bool pop)
    {
        var b = e.B;
        var format = FormatOf(e.Insn.MemorySize);
        if (e.Insn.Mnemonic == Mnemonic.Fisttp)
            format += FpuFormat.I16Truncate - FpuFormat.I16;
        var address = e.EffectiveAddress();
        var done = b.NewLabel();
        var low = b.Call(FpuHelpers.PrepareStore, e.Const((int)format));
        // Bit 0 of the pending word's upper half: an unmasked exception keeps memory as it is.
        b.BrCond(Cond.TestNe, W.D, b.LdState(W.D, VectorHelpers.IntOffset + 4), e.Const(1), done);
        if (format is FpuFormat.F80 or FpuFormat.Bcd)
        {
            // The upper part first: when it faults nothing has been written.
            e.StoreMemory(W.W, UpperAddress(e), b.LdState(W.Q, VectorHelpers.AOffset));
        }

        e.StoreMemory(WidthOf(format), address, low);
        e.PlaceLabel(done);
        b.CallVoid(FpuHelpers.CommitStore, e.Const(pop ? 1 : 0));
    }
}
