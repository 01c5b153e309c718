using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>
/// This file: instructions that become the host's own. The stack is known (<see cref="Mode.Fpu"/>), so that registers are named
/// while translating and nothing is looked at when the code runs. What would find a register empty, or none free, and whatever the
/// table does not list goes through the helpers.
/// </remarks>
public static partial class FpuTranslator
{
    private const int Fcom = 0xD8D0, Fucom = 0xDDE0, Fcomi = 0xDBF0, Fucomi = 0xDBE8;

    /// <summary>Second bytes after D9.</summary>
    private const int Fchs = 0xE0, Fabs = 0xE1, Ftst = 0xE4, Fxam = 0xE5, Fsqrt = 0xFA, Frndint = 0xFC;

    private static bool TryInline(X86Emitter e)
    {
        if (!e.InlinesFpu || !e.IsFpuKnown)
            return false;
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Fadd or Mnemonic.Fiadd or Mnemonic.Faddp: return Arithmetic(e, X87Arith.Add);
            case Mnemonic.Fmul or Mnemonic.Fimul or Mnemonic.Fmulp: return Arithmetic(e, X87Arith.Multiply);
            case Mnemonic.Fsub or Mnemonic.Fisub or Mnemonic.Fsubp: return Arithmetic(e, X87Arith.Subtract);
            case Mnemonic.Fsubr or Mnemonic.Fisubr or Mnemonic.Fsubrp: return Arithmetic(e, X87Arith.SubtractReverse);
            case Mnemonic.Fdiv or Mnemonic.Fidiv or Mnemonic.Fdivp: return Arithmetic(e, X87Arith.Divide);
            case Mnemonic.Fdivr or Mnemonic.Fidivr or Mnemonic.Fdivrp: return Arithmetic(e, X87Arith.DivideReverse);
            case Mnemonic.Fcom or Mnemonic.Ficom: return Compare(e, Fcom, 0);
            case Mnemonic.Fcomp or Mnemonic.Ficomp: return Compare(e, Fcom, 1);
            case Mnemonic.Fcompp: return Compare(e, Fcom, 2);
            case Mnemonic.Fucom: return Compare(e, Fucom, 0);
            case Mnemonic.Fucomp: return Compare(e, Fucom, 1);
            case Mnemonic.Fucompp: return Compare(e, Fucom, 2);
            case Mnemonic.Fcomi: return CompareFlags(e, Fcomi, 0);
            case Mnemonic.Fcomip: return CompareFlags(e, Fcomi, 1);
            case Mnemonic.Fucomi: return CompareFlags(e, Fucomi, 0);
            case Mnemonic.Fucomip: return CompareFlags(e, Fucomi, 1);
            case Mnemonic.Fcmovb: return MoveIf(e, ConditionCode.b);
            case Mnemonic.Fcmove: return MoveIf(e, ConditionCode.e);
            case Mnemonic.Fcmovbe: return MoveIf(e, ConditionCode.be);
            case Mnemonic.Fcmovu: return MoveIf(e, ConditionCode.p);
            case Mnemonic.Fcmovnb: return MoveIf(e, ConditionCode.ae);
            case Mnemonic.Fcmovne: return MoveIf(e, ConditionCode.ne);
            case Mnemonic.Fcmovnbe: return MoveIf(e, ConditionCode.a);
            case Mnemonic.Fcmovnu: return MoveIf(e, ConditionCode.np);
            case Mnemonic.Fld when !HasMemory(e): return Duplicate(e);
            case Mnemonic.Fst when !HasMemory(e): return Move(e, X87Op.Copy, StackRegister(e, 0), 0, 0);
            case Mnemonic.Fstp or Mnemonic.Fstpnce when !HasMemory(e): return Move(e, X87Op.Move, StackRegister(e, 0), 0, 1);
            case Mnemonic.Fxch: return Move(e, X87Op.Exchange, 0, StackRegister(e, 1), 0);
            case Mnemonic.Fld or Mnemonic.Fild: return LoadOrStore(e, X87Load(e.Insn.MemorySize));
            case Mnemonic.Fst or Mnemonic.Fist: return LoadOrStore(e, X87Store(e.Insn.MemorySize, pops: false));
            case Mnemonic.Fstp or Mnemonic.Fistp: return LoadOrStore(e, X87Store(e.Insn.MemorySize, pops: true));
            case Mnemonic.Fisttp: return LoadOrStore(e, X87Truncate(e.Insn.MemorySize));
            case Mnemonic.Fld1 or Mnemonic.Fldl2t or Mnemonic.Fldl2e or Mnemonic.Fldpi or Mnemonic.Fldlg2 or Mnemonic.Fldln2
                or Mnemonic.Fldz: return Constant(e);
            case Mnemonic.Fchs: return Unary(e, X87Op.Unary, Fchs);
            case Mnemonic.Fabs: return Unary(e, X87Op.Unary, Fabs);
            case Mnemonic.Fsqrt: return Unary(e, X87Op.Unary, Fsqrt);
            case Mnemonic.Frndint: return Unary(e, X87Op.Unary, Frndint);
            case Mnemonic.Ftst: return Unary(e, X87Op.Examine, Ftst);
            case Mnemonic.Fxam: return Unary(e, X87Op.Examine, Fxam);
            case Mnemonic.Fnop: return true;
            default: return false;
        }
    }

    private static bool IsFull(X86Emitter e, int i) => i < e.FpuDepth;

    private static void Pop(X86Emitter e, int count) => e.SetFpuStack(e.FpuTop + count, e.FpuDepth - count);

    private static bool Arithmetic(X86Emitter e, X87Arith op)
    {
        if (HasMemory(e))
            return Access(e, (byte)op);
        var (dst, src) = (StackRegister(e, 0), StackRegister(e, 1));
        var pops = e.Insn.Mnemonic is Mnemonic.Faddp or Mnemonic.Fmulp or Mnemonic.Fsubp or Mnemonic.Fsubrp or Mnemonic.Fdivp
            or Mnemonic.Fdivrp;
        if (!IsFull(e, dst) || !IsFull(e, src) || (pops && dst == src))
            return false;
        e.B.X87(X87Op.Arithmetic, e.FpuRegister(dst), e.FpuRegister(src), (int)op | (pops ? X87Layout.Pops : 0));
        if (pops)
            Pop(e, 1);
        return true;
    }

    /// <summary>ST(0) with a memory operand.</summary>
    private static bool Access(X86Emitter e, byte digit)
    {
        if (!IsFull(e, 0))
            return false;
        var opcode = e.Insn.MemorySize switch
        {
            MemorySize.Float32 => 0xD8,
            MemorySize.Float64 => 0xDC,
            MemorySize.Int32 => 0xDA,
            _ => 0xDE,
        };
        Access(e, new X87Access((byte)opcode, digit), e.FpuRegister(0));
        return true;
    }

    private static void Access(X86Emitter e, X87Access access, int register)
    {
        var w = access.IsExtended ? W.T : X86Emitter.WidthOf(e.Insn.MemorySize.GetSize());
        e.B.X87Mem(access, w, register, e.EffectiveAddress(), e.MemOpFor(w == W.T ? W.Q : w));
    }

    private static bool Compare(X86Emitter e, int code, int pops)
    {
        if (HasMemory(e))
        {
            if (!Access(e, digit: 2))
                return false;
        }
        else
        {
            // FCOMPP names no operand.
            var src = e.Insn.OpCount > 1 ? StackRegister(e, 1) : 1;
            if (!IsFull(e, 0) || !IsFull(e, src))
                return false;
            e.B.X87(X87Op.Compare, e.FpuRegister(0), e.FpuRegister(src), code);
        }

        Free(e, pops);
        return true;
    }

    private static void Free(X86Emitter e, int pops)
    {
        for (var i = 0; i < pops; i++)
            e.B.X87(X87Op.Free, e.FpuRegister(i));
        Pop(e, pops);
    }

    private static bool CompareFlags(X86Emitter e, int code, int pops)
    {
        var src = StackRegister(e, 1);
        if (!IsFull(e, 0) || !IsFull(e, src))
            return false;
        var flags = e.B.X87ToInt(X87Op.CompareFlags, e.FpuRegister(0), e.FpuRegister(src), code);
        Free(e, pops);
        e.SetFlagsFromBits(flags);
        return true;
    }

    private static bool MoveIf(X86Emitter e, ConditionCode condition)
    {
        var src = StackRegister(e, 1);
        if (!IsFull(e, 0) || !IsFull(e, src))
            return false;
        e.B.X87(X87Op.MoveIf, e.FpuRegister(0), e.FpuRegister(src), 0, e.ConditionValue(condition));
        return true;
    }

    /// <summary>A move from ST(0), which must be full, or an exchange with it.</summary>
    private static bool Move(X86Emitter e, X87Op op, int dst, int src, int pops)
    {
        if (!IsFull(e, 0) || !IsFull(e, dst) || !IsFull(e, src))
            return false;
        e.B.X87(op, e.FpuRegister(dst), e.FpuRegister(src));
        Pop(e, pops);
        return true;
    }

    private static bool Duplicate(X86Emitter e)
    {
        var src = StackRegister(e, e.Insn.OpCount - 1);
        if (!IsFull(e, src) || e.FpuDepth == 8)
            return false;
        e.B.X87(X87Op.Copy, e.FpuRegister(-1), e.FpuRegister(src));
        Pop(e, -1);
        return true;
    }

    private static bool Constant(X86Emitter e)
    {
        if (e.FpuDepth == 8)
            return false;
        e.B.X87(X87Op.Constant, e.FpuRegister(-1), 0, ConstantByte(e.Insn.Mnemonic));
        Pop(e, -1);
        return true;
    }

    private static int ConstantByte(Mnemonic mnemonic) => mnemonic switch
    {
        Mnemonic.Fld1 => 0xE8,
        Mnemonic.Fldl2t => 0xE9,
        Mnemonic.Fldl2e => 0xEA,
        Mnemonic.Fldpi => 0xEB,
        Mnemonic.Fldlg2 => 0xEC,
        Mnemonic.Fldln2 => 0xED,
        Mnemonic.Fldz => 0xEE,
        _ => 0,
    };

    private static bool Unary(X86Emitter e, X87Op op, int second)
    {
        if (!IsFull(e, 0))
            return false;
        e.B.X87(op, e.FpuRegister(0), 0, second);
        return true;
    }

    private static bool LoadOrStore(X86Emitter e, X87Access access)
    {
        if (access.IsLoad ? e.FpuDepth == 8 : !IsFull(e, 0))
            return false;
        Access(e, access, e.FpuRegister(access.IsLoad ? -1 : 0));
        Pop(e, access.IsLoad ? -1 : access.Pops ? 1 : 0);
        return true;
    }

    private static X87Access X87Load(MemorySize size) => size switch
    {
        MemorySize.Float32 => new(0xD9, 0),
        MemorySize.Float64 => new(0xDD, 0),
        MemorySize.Float80 => new(0xDB, 5),
        MemorySize.Int16 => new(0xDF, 0),
        MemorySize.Int32 => new(0xDB, 0),
        _ => new(0xDF, 5),
    };

    private static X87Access X87Store(MemorySize size, bool pops) => size switch
    {
        MemorySize.Float32 => new(0xD9, pops ? (byte)3 : (byte)2),
        MemorySize.Float64 => new(0xDD, pops ? (byte)3 : (byte)2),
        MemorySize.Float80 => new(0xDB, 7),
        MemorySize.Int16 => new(0xDF, pops ? (byte)3 : (byte)2),
        MemorySize.Int32 => new(0xDB, pops ? (byte)3 : (byte)2),
        _ => new(0xDF, 7),
    };

    private static X87Access X87Truncate(MemorySize size) => size switch
    {
        MemorySize.Int16 => new(0xDF, 1),
        MemorySize.Int32 => new(0xDB, 1),
        _ => new(0xDD, 1),
    };
}
