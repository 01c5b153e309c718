using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Cpu.X86;

/// <summary>
/// Arithmetic of the x87 on taken-apart operands, with its rules for NaNs, unsupported formats and exceptions
/// (Intel SDM volume 1, sections 4.8.3.5, 8.4 and 8.5).
/// </summary>
internal static class FpuArithmetic
{
    public static Float80 Add(in FpValue a, in FpValue b, int precision, ref FpEnv env)
    {
        if (IsSpecial(a, b, ref env, out var special))
            return special;
        if (a.IsInfinity && b.IsInfinity && a.Sign != b.Sign)
            return Invalid(ref env);
        NoteDenormals(a, b, ref env);
        if (a.IsInfinity || b.IsInfinity)
            return Float80.Infinity(a.IsInfinity ? a.Sign : b.Sign);
        return Float80.Pack(FpCore.Add(a, b, env.Rounding), precision, ref env);
    }

    public static Float80 Subtract(in FpValue a, in FpValue b, int precision, ref FpEnv env)
    {
        if (IsSpecial(a, b, ref env, out var special))
            return special;
        var negated = b;
        negated.Sign = !b.Sign;
        return Add(a, negated, precision, ref env);
    }

    public static Float80 Multiply(in FpValue a, in FpValue b, int precision, ref FpEnv env)
    {
        if (IsSpecial(a, b, ref env, out var special))
            return special;
        if ((a.IsInfinity && b.IsZero) || (a.IsZero && b.IsInfinity))
            return Invalid(ref env);
        NoteDenormals(a, b, ref env);
        if (a.IsInfinity || b.IsInfinity)
            return Float80.Infinity(a.Sign != b.Sign);
        return Float80.Pack(FpCore.Multiply(a, b), precision, ref env);
    }

    public static Float80 Divide(in FpValue a, in FpValue b, int precision, ref FpEnv env)
    {
        if (IsSpecial(a, b, ref env, out var special))
            return special;
        if ((a.IsInfinity && b.IsInfinity) || (a.IsZero && b.IsZero))
            return Invalid(ref env);
        var sign = a.Sign != b.Sign;
        if (b.IsZero && !a.IsInfinity)
        {
            env.Flags |= FpFlags.ZeroDivide;
            return Float80.Infinity(sign);
        }

        NoteDenormals(a, b, ref env);
        if (a.IsInfinity)
            return Float80.Infinity(sign);
        return b.IsInfinity ? Float80.Zero(sign) : Float80.Pack(FpCore.Divide(a, b), precision, ref env);
    }

    public static Float80 Sqrt(in FpValue a, int precision, ref FpEnv env)
    {
        if (IsSpecial(a, a, ref env, out var special))
            return special;
        if (a.Sign && !a.IsZero)
            return Invalid(ref env);
        NoteDenormals(a, a, ref env);
        return a.IsInfinity ? Float80.Infinity(false) : Float80.Pack(FpCore.Sqrt(a), precision, ref env);
    }

    /// <summary>FRNDINT.</summary>
    public static Float80 RoundToInteger(in FpValue a, ref FpEnv env)
    {
        if (IsSpecial(a, a, ref env, out var special))
            return special;
        NoteDenormals(a, a, ref env);
        if (a.Class != FpClass.Normal || a.Exp >= 63)
            return Float80.FromExact(a);
        FpCore.TryToInteger(a, env.Rounding, out var magnitude, out var inexact, out env.RoundedUp);
        if (inexact)
            env.Flags |= FpFlags.Inexact;
        return Float80.FromExact(FpValue.FromInteger(a.Sign, magnitude));
    }

    /// <summary>FSCALE: a * 2^trunc(b).</summary>
    public static Float80 Scale(in FpValue a, in FpValue b, ref FpEnv env)
    {
        if (IsSpecial(a, b, ref env, out var special))
            return special;
        if (b.IsInfinity)
        {
            if (b.Sign ? a.IsInfinity : a.IsZero)
                return Invalid(ref env);
            NoteDenormals(a, b, ref env);
            return b.Sign ? Float80.Zero(a.Sign) : Float80.Infinity(a.Sign);
        }

        NoteDenormals(a, b, ref env);
        if (a.Class != FpClass.Normal || b.IsZero)
            return Float80.FromExact(a);
        // Beyond this any number overflows or underflows.
        const int limit = 0x10000;
        var scale = !FpCore.TryToInteger(b, FpRounding.TowardZero, out var magnitude, out _) || magnitude > limit
            ? limit : (int)magnitude;
        var scaled = a;
        scaled.Exp += b.Sign ? -scale : scale;
        return Float80.Pack(scaled, 64, ref env);
    }

    /// <summary>
    /// FPREM (nearest: FPREM1): a - b * quotient. When the exponents are too far apart the remainder is partial.
    /// </summary>
    /// <param name="quotient">The low bits of the quotient.</param>
    public static Float80 Remainder(in FpValue a, in FpValue b, bool nearest, ref FpEnv env, out ulong quotient, out bool partial)
    {
        quotient = 0;
        partial = false;
        if (IsSpecial(a, b, ref env, out var special))
            return special;
        if (a.IsInfinity || b.IsZero)
            return Invalid(ref env);
        NoteDenormals(a, b, ref env);
        if (a.IsZero || b.IsInfinity)
            return Float80.FromExact(a);
        var distance = a.Exp - b.Exp;
        if (distance < -1)
            return Float80.Pack(a, 64, ref env);
        var r = a;
        if (distance >= 64)
        {
            // A multiple of b * 2^(distance - n) is taken off: n between 32 and 63.
            partial = true;
            var n = distance & 31 | 32;
            var rest = Reduce(a.Hi, b.Hi, n, out _);
            return Float80.Pack(FpValue.Normalized(a.Sign, b.Exp + distance - n, rest, 0), 64, ref env);
        }

        if (distance < 0)
        {
            // |a| < |b|; the nearest quotient may be 1.
            if (!nearest || !MoreThanHalf(a, b, 0))
                return Float80.Pack(a, 64, ref env);
            quotient = 1;
            var other = b;
            other.Sign = !a.Sign;
            return Float80.Pack(FpCore.Add(a, other, FpRounding.Nearest), 64, ref env);
        }

        var remainder = Reduce(a.Hi, b.Hi, distance, out quotient);
        r = FpValue.Normalized(a.Sign, b.Exp, remainder, 0);
        if (nearest && !r.IsZero && MoreThanHalf(r, b, quotient & 1))
        {
            quotient++;
            var other = b;
            other.Sign = !a.Sign;
            r = FpCore.Add(r, other, FpRounding.Nearest);
        }

        if (r.IsZero)
            r.Sign = a.Sign;
        return Float80.Pack(r, 64, ref env);
    }

    /// <summary>Whether 2|r| > |b|, or equal with an odd quotient.</summary>
    private static bool MoreThanHalf(in FpValue r, in FpValue b, ulong odd)
    {
        FpValue twice = r, divisor = b;
        twice.Exp++;
        twice.Sign = divisor.Sign = false;
        var order = FpCore.Compare(twice, divisor);
        return order > 0 || (order == 0 && odd != 0);
    }

    /// <summary>Long division of a * 2^steps by b, both with their top bit set: remainder and low quotient bits.</summary>
    private static ulong Reduce(ulong a, ulong b, int steps, out ulong quotient)
    {
        quotient = 0;
        if (a >= b)
        {
            a -= b;
            quotient = 1;
        }

        for (var i = 0; i < steps; i++)
        {
            var carry = a >> 63 != 0;
            a <<= 1;
            quotient <<= 1;
            if (carry || a >= b)
            {
                a -= b;
                quotient |= 1;
            }
        }

        return a;
    }

    public static FpOrder Compare(in FpValue a, in FpValue b, bool signalQuiet, ref FpEnv env)
    {
        if (a.IsNan || b.IsNan)
        {
            if (signalQuiet || a.Class == FpClass.SignalingNan || b.Class == FpClass.SignalingNan)
                env.Flags |= FpFlags.Invalid;
            return FpOrder.Unordered;
        }

        NoteDenormals(a, b, ref env);
        return FpCore.Compare(a, b) switch
        {
            < 0 => FpOrder.Less,
            0 => FpOrder.Equal,
            _ => FpOrder.Greater,
        };
    }

    /// <summary>Unsupported formats and NaNs among the operands: gives the result.</summary>
    public static bool IsSpecial(in FpValue a, in FpValue b, ref FpEnv env, out Float80 result)
    {
        result = default;
        if (!a.IsNan && !b.IsNan)
            return false;
        if (Float80.IsUnsupportedValue(a) || Float80.IsUnsupportedValue(b))
        {
            result = Invalid(ref env);
            return true;
        }

        if (a.Class == FpClass.SignalingNan || b.Class == FpClass.SignalingNan)
            env.Flags |= FpFlags.Invalid;
        result = Float80.QuietNan(a.IsNan && (!b.IsNan || Precedes(a, b)) ? a : b);
        return true;
    }

    /// <summary>Of two NaNs a quiet one beats a signaling one, then the larger significand, then the positive one.</summary>
    private static bool Precedes(in FpValue a, in FpValue b)
    {
        if (a.Class != b.Class)
            return a.Class == FpClass.QuietNan;
        return a.Hi != b.Hi ? a.Hi > b.Hi : !a.Sign;
    }

    public static Float80 Invalid(ref FpEnv env)
    {
        env.Flags |= FpFlags.Invalid;
        return Float80.Indefinite;
    }

    public static void NoteDenormals(in FpValue a, in FpValue b, ref FpEnv env)
    {
        if (a.Denormal || b.Denormal)
            env.Flags |= FpFlags.Denormal;
    }
}
