using Dromaius.Jit.Ir.SoftFloat;
using static Dromaius.Cpu.X86.FpuState;

namespace Dromaius.Cpu.X86;

/// <summary>The two-operand operations as instructions encode them.</summary>
internal enum FpuArith : byte
{
    Add, Multiply, Subtract, SubtractReverse, Divide, DivideReverse,
}

/// <summary>Formats of memory operands.</summary>
internal enum FpuFormat : byte
{
    F32, F64, F80, I16, I32, I64, Bcd,

    /// <summary>FISTTP.</summary>
    I16Truncate, I32Truncate, I64Truncate,
}

/// <summary>
/// The x87 instructions on the state (Intel SDM volume 2; exceptions: volume 1, section 8.5). This file: arithmetic,
/// comparisons, register moves.
/// </summary>
internal static unsafe partial class FpuUnit
{
    /// <summary>ST(dst) = ST(dst) op ST(src), then perhaps a pop.</summary>
    public static void Arithmetic(X86State* s, FpuArith op, int dst, int src, bool pop)
    {
        ClearC1(s);
        if (IsEmpty(s, dst) || IsEmpty(s, src))
        {
            if (!Underflow(s))
                return;
            Write(s, dst, Float80.Indefinite);
        }
        else if (!TryHost(s, (FpuHost.Operation)op, Register(s, src), Register(s, dst), Register(s, dst)))
        {
            var env = Environment(s);
            var r = Compute(op, Register(s, dst)->Unpack(), Register(s, src)->Unpack(), Precision(s), ref env);
            if (!Finish(s, ref env))
                return;
            Write(s, dst, r);
        }

        if (pop)
            Pop(s);
    }

    /// <summary>ST(0) = ST(0) op memory.</summary>
    public static void ArithmeticMemory(X86State* s, FpuArith op, FpuFormat format, ulong bits)
    {
        ClearC1(s);
        if (IsEmpty(s, 0))
        {
            if (Underflow(s))
                Write(s, 0, Float80.Indefinite);
            return;
        }

        var operand = Operand(format, bits);
        if (operand.Class <= FpClass.Normal && !operand.Denormal)
        {
            var exact = Float80.FromExact(operand);
            if (TryHost(s, (FpuHost.Operation)op, &exact, Register(s, 0), Register(s, 0)))
                return;
        }

        var env = Environment(s);
        var r = Compute(op, Register(s, 0)->Unpack(), operand, Precision(s), ref env);
        if (Finish(s, ref env))
            Write(s, 0, r);
    }

    /// <summary>An unmasked underflow also reports tiny results that are exact: masking would hide them.</summary>
    private static bool UseHost(X86State* s) => FpuHost.Enabled && (s->FpControl & FpFlags.Underflow) != 0;

    /// <summary>Computes on the host's x87; false if the guest is to see an unmasked exception, or there is no such host.</summary>
    private static bool TryHost(X86State* s, FpuHost.Operation operation, Float80* st0, Float80* st1, Float80* target)
    {
        if (!UseHost(s))
            return false;
        uint status;
        if ((s->FpControl & FpFlags.All) == FpFlags.All)
        {
            // Nothing can stop it: straight to its place, where the host can take it from again at once.
            status = FpuHost.Run(operation, st0, st1, s->FpControl, s->FpStatus, target);
            s->FpStatus |= (ushort)(status & (FpFlags.All | C1));
            return true;
        }

        Float80 result;
        status = FpuHost.Run(operation, st0, st1, s->FpControl, 0, &result);
        if ((status & ~(uint)s->FpControl & FpFlags.All) != 0)
            return false;
        s->FpStatus |= (ushort)(status & (FpFlags.All | C1));
        *target = result;
        return true;
    }

    private static Float80 Compute(FpuArith op, in FpValue a, in FpValue b, int precision, ref FpEnv env) => op switch
    {
        FpuArith.Add => FpuArithmetic.Add(a, b, precision, ref env),
        FpuArith.Multiply => FpuArithmetic.Multiply(a, b, precision, ref env),
        FpuArith.Subtract => FpuArithmetic.Subtract(a, b, precision, ref env),
        FpuArith.SubtractReverse => FpuArithmetic.Subtract(b, a, precision, ref env),
        FpuArith.Divide => FpuArithmetic.Divide(a, b, precision, ref env),
        _ => FpuArithmetic.Divide(b, a, precision, ref env),
    };

    /// <summary>FCOM, FUCOM with pops: C3, C2, C0 as a flags register would have ZF, PF, CF.</summary>
    public static void Compare(X86State* s, int src, bool quiet, int pops)
    {
        ClearC1(s);
        var going = IsEmpty(s, 0) || IsEmpty(s, src)
            ? CompareEmpty(s)
            : CompareWith(s, Register(s, src)->Unpack(), quiet);
        if (!going)
            return;
        for (; pops > 0; pops--)
            Pop(s);
    }

    public static void CompareMemory(X86State* s, FpuFormat format, ulong bits, bool pop)
    {
        ClearC1(s);
        var going = IsEmpty(s, 0) ? CompareEmpty(s) : CompareWith(s, Operand(format, bits), quiet: false);
        if (going && pop)
            Pop(s);
    }

    /// <summary>FTST.</summary>
    public static void Test(X86State* s)
    {
        ClearC1(s);
        if (IsEmpty(s, 0))
            CompareEmpty(s);
        else
            CompareWith(s, FpValue.Zero(false), quiet: false);
    }

    /// <summary>The condition codes say unordered, masked or not; false when the instruction stops there.</summary>
    private static bool CompareEmpty(X86State* s)
    {
        SetConditions(s, C0 | C2 | C3);
        return Underflow(s);
    }

    private static bool CompareWith(X86State* s, in FpValue b, bool quiet)
    {
        var env = Environment(s);
        var order = FpuArithmetic.Compare(Register(s, 0)->Unpack(), b, !quiet, ref env);
        SetConditions(s, order switch
        {
            FpOrder.Less => C0,
            FpOrder.Equal => C3,
            FpOrder.Greater => 0,
            _ => C0 | C2 | C3,
        });
        return Finish(s, ref env);
    }

    /// <summary>FCOMI, FUCOMI: gives ZF, PF, CF, which change even when an exception is unmasked.</summary>
    public static uint CompareFlags(X86State* s, int src, bool quiet, bool pop)
    {
        const uint cf = 1, pf = 4, zf = 0x40;
        if (IsEmpty(s, 0) || IsEmpty(s, src))
        {
            if (Underflow(s) && pop)
                Pop(s);
            return cf | pf | zf;
        }

        var env = Environment(s);
        var order = FpuArithmetic.Compare(Register(s, 0)->Unpack(), Register(s, src)->Unpack(), !quiet, ref env);
        if (Finish(s, ref env) && pop)
            Pop(s);
        return order switch
        {
            FpOrder.Less => cf,
            FpOrder.Equal => zf,
            FpOrder.Greater => 0,
            _ => cf | pf | zf,
        };
    }

    /// <summary>FXAM.</summary>
    public static void Examine(X86State* s)
    {
        var r = *Register(s, 0);
        var bits = r.Sign ? C1 : 0;
        if (IsEmpty(s, 0))
            bits |= C3 | C0;
        else if (r.IsUnsupported)
            bits |= 0;
        else if (r.BiasedExponent == 0)
            bits |= r.Significand == 0 ? C3 : C3 | C2;
        else if (r.BiasedExponent == 0x7FFF)
            bits |= r.Significand << 1 == 0 ? C2 | C0 : C0;
        else
            bits |= C2;
        SetConditions(s, bits);
    }

    public static void Exchange(X86State* s, int i)
    {
        ClearC1(s);
        if (IsEmpty(s, 0) || IsEmpty(s, i))
        {
            if (!Underflow(s))
                return;
            if (IsEmpty(s, 0))
                Write(s, 0, Float80.Indefinite);
            if (IsEmpty(s, i))
                Write(s, i, Float80.Indefinite);
        }

        (*Register(s, 0), *Register(s, i)) = (*Register(s, i), *Register(s, 0));
    }

    /// <summary>FLD ST(i).</summary>
    public static void Duplicate(X86State* s, int i)
    {
        ClearC1(s);
        var value = *Register(s, i);
        if (IsEmpty(s, i))
        {
            if (!Underflow(s))
                return;
            value = Float80.Indefinite;
            Push(s, value);
        }
        else if (Room(s))
        {
            Push(s, value);
        }
    }

    /// <summary>FST ST(i), FSTP ST(i).</summary>
    public static void StoreRegister(X86State* s, int i, bool pop)
    {
        ClearC1(s);
        if (!IsEmpty(s, 0))
            Write(s, i, *Register(s, 0));
        else if (Underflow(s))
            Write(s, i, Float80.Indefinite);
        else
            return;
        if (pop)
            Pop(s);
    }

    /// <summary>FCMOVcc with its condition. An empty register counts whether it is moved or not.</summary>
    public static void ConditionalMove(X86State* s, int i, bool condition)
    {
        if (IsEmpty(s, 0) || IsEmpty(s, i))
        {
            if (Underflow(s))
                Write(s, 0, Float80.Indefinite);
        }
        else if (condition)
        {
            Write(s, 0, *Register(s, i));
        }
    }

    /// <summary>FCHS and FABS: the sign bit of whatever is there.</summary>
    public static void ChangeSign(X86State* s, bool absolute)
    {
        ClearC1(s);
        var r = Register(s, 0);
        if (IsEmpty(s, 0))
        {
            if (Underflow(s))
                Write(s, 0, Float80.Indefinite);
        }
        else
        {
            r->SignExponent = (ushort)(absolute ? r->SignExponent & 0x7FFF : r->SignExponent ^ 0x8000);
        }
    }

    private static FpValue Operand(FpuFormat format, ulong bits) => format switch
    {
        FpuFormat.F32 => FpFormat<F32>.Unpack(bits),
        FpuFormat.F64 => FpFormat<F64>.Unpack(bits),
        FpuFormat.I16 => FpValue.FromInteger((short)bits),
        FpuFormat.I32 => FpValue.FromInteger((int)bits),
        _ => FpValue.FromInteger((long)bits),
    };
}
