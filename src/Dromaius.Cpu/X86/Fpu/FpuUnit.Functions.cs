using Dromaius.Jit.Ir.SoftFloat;
using static Dromaius.Cpu.X86.FpuState;

namespace Dromaius.Cpu.X86;

/// <summary>Operations on the top of the stack without other operands.</summary>
internal enum FpuFunction : byte
{
    Sqrt, RoundToInteger, Scale, Extract, Remainder, RemainderNearest, Sin, Cos, SinCos, Tangent, ArcTangent, PowerMinusOne,
    YLog2X, YLog2XPlusOne,
}

/// <summary>The constants of FLD1 to FLDZ.</summary>
internal enum FpuConstant : byte
{
    One, Log2Of10, Log2OfE, Pi, Log10Of2, LnOf2, Zero,
}

/// <remarks>This file: square root to logarithm.</remarks>
internal static unsafe partial class FpuUnit
{
    /// <summary>FLD1 and its kin: rounded as the control word says, without an exception.</summary>
    public static void LoadConstant(X86State* s, FpuConstant constant)
    {
        ClearC1(s);
        if (!Room(s))
            return;
        var v = constant switch
        {
            FpuConstant.One => FpValue.FromInteger(1),
            FpuConstant.Log2Of10 => FpuConstants.Log2Of10,
            FpuConstant.Log2OfE => FpuConstants.Log2OfE,
            FpuConstant.Pi => FpuConstants.Pi,
            FpuConstant.Log10Of2 => FpuConstants.Log10Of2,
            FpuConstant.LnOf2 => FpuConstants.LnOf2,
            _ => FpValue.Zero(false),
        };
        var env = Environment(s);
        Push(s, Float80.Pack(v, 64, ref env));
    }

    public static void Function(X86State* s, FpuFunction function)
    {
        switch (function)
        {
            case FpuFunction.Scale:
                Binary(s, function, pop: false);
                break;
            case FpuFunction.Remainder:
            case FpuFunction.RemainderNearest:
                Remainder(s, function == FpuFunction.RemainderNearest);
                break;
            case FpuFunction.Extract:
                Extract(s);
                break;
            case FpuFunction.ArcTangent:
            case FpuFunction.YLog2X:
            case FpuFunction.YLog2XPlusOne:
                Binary(s, function, pop: true);
                break;
            case FpuFunction.Sin:
            case FpuFunction.Cos:
            case FpuFunction.SinCos:
            case FpuFunction.Tangent:
                Trigonometric(s, function);
                break;
            default:
                Unary(s, function);
                break;
        }
    }

    private static void Unary(X86State* s, FpuFunction function)
    {
        ClearC1(s);
        if (IsEmpty(s, 0))
        {
            if (Underflow(s))
                Write(s, 0, Float80.Indefinite);
            return;
        }

        var host = function switch
        {
            FpuFunction.Sqrt => FpuHost.Operation.Sqrt,
            FpuFunction.RoundToInteger => FpuHost.Operation.RoundToInteger,
            _ => FpuHost.Operation.PowerMinusOne,
        };
        if (TryHost(s, host, Register(s, 0), Register(s, 0), Register(s, 0)))
            return;
        var env = Environment(s);
        var a = Register(s, 0)->Unpack();
        var r = function switch
        {
            FpuFunction.Sqrt => FpuArithmetic.Sqrt(a, Precision(s), ref env),
            FpuFunction.RoundToInteger => FpuArithmetic.RoundToInteger(a, ref env),
            _ => FpuTranscendental.PowerMinusOne(a, ref env),
        };
        if (Finish(s, ref env))
            Write(s, 0, r);
    }

    /// <summary>Functions of ST(0) and ST(1): FSCALE to ST(0), the others to ST(1) with a pop.</summary>
    private static void Binary(X86State* s, FpuFunction function, bool pop)
    {
        ClearC1(s);
        var target = pop ? 1 : 0;
        if (IsEmpty(s, 0) || IsEmpty(s, 1))
        {
            if (!Underflow(s))
                return;
            Write(s, target, Float80.Indefinite);
        }
        else if (!TryHost(s, HostBinary(function), Register(s, 0), Register(s, 1), Register(s, target)))
        {
            var env = Environment(s);
            var x = Register(s, 0)->Unpack();
            var y = Register(s, 1)->Unpack();
            var r = function switch
            {
                FpuFunction.Scale => FpuArithmetic.Scale(x, y, ref env),
                FpuFunction.ArcTangent => FpuTranscendental.ArcTangent(y, x, ref env),
                FpuFunction.YLog2X => FpuTranscendental.YLog2X(y, x, ref env),
                _ => FpuTranscendental.YLog2XPlusOne(y, x, ref env),
            };
            if (!Finish(s, ref env))
                return;
            Write(s, target, r);
        }

        if (pop)
            Pop(s);
    }

    private static FpuHost.Operation HostBinary(FpuFunction function) => function switch
    {
        FpuFunction.Scale => FpuHost.Operation.Scale,
        FpuFunction.ArcTangent => FpuHost.Operation.ArcTangent,
        FpuFunction.YLog2X => FpuHost.Operation.YLog2X,
        _ => FpuHost.Operation.YLog2XPlusOne,
    };

    /// <summary>C0, C3 and C1 receive the quotient's bits 2, 1 and 0; C2 says that the remainder is partial.</summary>
    private static void Remainder(X86State* s, bool nearest)
    {
        SetConditions(s, s->FpStatus & (C0 | C3));
        if (IsEmpty(s, 0) || IsEmpty(s, 1))
        {
            if (Underflow(s))
                Write(s, 0, Float80.Indefinite);
            return;
        }

        var env = Environment(s);
        var r = FpuArithmetic.Remainder(Register(s, 0)->Unpack(), Register(s, 1)->Unpack(), nearest, ref env, out var quotient,
            out var partial);
        if (!Finish(s, ref env))
            return;
        Write(s, 0, r);
        if ((env.Flags & FpFlags.Invalid) != 0 || r.BiasedExponent == 0x7FFF)
            return;
        SetConditions(s, partial ? C2
            : ((quotient & 4) != 0 ? C0 : 0) | ((quotient & 2) != 0 ? C3 : 0) | ((quotient & 1) != 0 ? C1 : 0));
    }

    /// <summary>FXTRACT: ST(0) becomes the exponent, then the significand is pushed.</summary>
    private static void Extract(X86State* s)
    {
        ClearC1(s);
        Float80 exponent, significand;
        if (IsEmpty(s, 0))
        {
            if (!Underflow(s))
                return;
            exponent = significand = Float80.Indefinite;
        }
        else if (!IsEmpty(s, -1))
        {
            if (!Overflow(s))
                return;
            exponent = significand = Float80.Indefinite;
        }
        else
        {
            var env = Environment(s);
            var v = Register(s, 0)->Unpack();
            if (FpuArithmetic.IsSpecial(v, v, ref env, out exponent))
            {
                significand = exponent;
            }
            else if (v.IsZero)
            {
                env.Flags |= FpFlags.ZeroDivide;
                exponent = Float80.Infinity(true);
                significand = Float80.Zero(v.Sign);
            }
            else if (v.IsInfinity)
            {
                exponent = Float80.Infinity(false);
                significand = Float80.Infinity(v.Sign);
            }
            else
            {
                FpuArithmetic.NoteDenormals(v, v, ref env);
                exponent = Float80.FromExact(FpValue.FromInteger(v.Exp));
                v.Exp = 0;
                significand = Float80.FromExact(v);
            }

            if (!Finish(s, ref env))
                return;
        }

        Write(s, 0, exponent);
        Push(s, significand);
    }

    /// <summary>FSIN, FCOS, FSINCOS, FPTAN: operands from 2^63 on are left alone with C2 set.</summary>
    private static void Trigonometric(X86State* s, FpuFunction function)
    {
        SetConditions(s, s->FpStatus & (C0 | C3));
        var pushes = function is FpuFunction.SinCos or FpuFunction.Tangent;
        if (IsEmpty(s, 0) || (pushes && !IsEmpty(s, -1)))
        {
            if (!(IsEmpty(s, 0) ? Underflow(s) : Overflow(s)))
                return;
            Write(s, 0, Float80.Indefinite);
            if (pushes)
                Push(s, Float80.Indefinite);
            return;
        }

        var env = Environment(s);
        var v = Register(s, 0)->Unpack();
        if (v.Class == FpClass.Normal && v.Exp >= 63)
        {
            s->FpStatus |= (ushort)C2;
            return;
        }

        if (TryHostTrigonometric(s, function, pushes))
            return;
        Float80 second = default;
        Float80 first;
        if (FpuArithmetic.IsSpecial(v, v, ref env, out first))
            second = first;
        else if (v.IsInfinity)
            second = first = FpuArithmetic.Invalid(ref env);
        else
            FpuTranscendental.Trigonometric(function, v, ref env, out first, out second);
        if (!Finish(s, ref env))
            return;
        Write(s, 0, first);
        if (pushes)
            Push(s, second);
    }

    private static bool TryHostTrigonometric(X86State* s, FpuFunction function, bool pushes)
    {
        if (!UseHost(s))
            return false;
        var results = stackalloc Float80[2];
        var operation = FpuHost.Operation.Sin + (function - FpuFunction.Sin);
        var status = FpuHost.Run(operation, Register(s, 0), Register(s, 0), s->FpControl, 0, results);
        if ((status & ~(uint)s->FpControl & FpFlags.All) != 0)
            return false;
        s->FpStatus |= (ushort)(status & (FpFlags.All | C1));
        Write(s, 0, results[pushes ? 1 : 0]);
        if (pushes)
            Push(s, results[0]);
        return true;
    }
}
