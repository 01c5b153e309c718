using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Cpu.X86;

/// <summary>
/// The transcendental instructions (Intel SDM volume 1, section 8.3.7) by series in 128-bit arithmetic, rounded once: well
/// within one unit in the last place. Trigonometric arguments are reduced by the 66-bit pi that the SDM documents.
/// </summary>
internal static class FpuTranscendental
{
    // Intel's pi: 4 * 0.C90FDAA2 2168C234 C, 66 bits.
    private static readonly UInt128 Pi66 = ((UInt128)0xC90FDAA22168C234 << 2) | 3;

    // Series stop when a term no longer reaches 2^-SeriesBits of the sum.
    private const int SeriesBits = 100;

    // Below this the sine and the tangent of x are taken to be x, as processors do, in all rounding modes.
    private const int TinyExponent = -66;

    private static readonly FpValue One = FpValue.FromInteger(1);

    /// <summary>Sine, cosine, both, or tangent and 1, of a finite number below 2^63.</summary>
    public static void Trigonometric(FpuFunction function, in FpValue x, ref FpEnv env, out Float80 first, out Float80 second)
    {
        second = default;
        if (x.IsZero)
        {
            first = function == FpuFunction.Cos ? Float80.One(false) : Float80.Zero(x.Sign);
            second = Float80.One(false);
            return;
        }

        FpuArithmetic.NoteDenormals(x, x, ref env);
        env.Flags |= FpFlags.Inexact;
        if (x.Exp < TinyExponent)
        {
            first = function == FpuFunction.Cos ? Float80.One(false) : Float80.FromExact(x);
            second = Float80.One(false);
            return;
        }

        var r = ReduceAngle(x, out var quadrant);
        var sin = Sine(r);
        var cos = Cosine(r);
        // sin and cos of r + quadrant * pi/2, then the sign of x.
        if ((quadrant & 1) != 0)
            (sin, cos) = (cos, sin);
        var quarter = quadrant & 3;
        sin.Sign ^= quarter >= 2;
        cos.Sign ^= quarter is 1 or 2;
        sin.Sign ^= x.Sign;
        switch (function)
        {
            case FpuFunction.Sin:
                first = Float80.Pack(sin, 64, ref env);
                break;
            case FpuFunction.Cos:
                first = Float80.Pack(cos, 64, ref env);
                break;
            case FpuFunction.SinCos:
                first = Float80.Pack(sin, 64, ref env);
                second = Float80.Pack(cos, 64, ref env);
                break;
            default:
                first = Float80.Pack(Divide(sin, cos), 64, ref env);
                second = Float80.One(false);
                break;
        }
    }

    /// <summary>|x| less the nearest multiple of pi/2; the multiple's low bits.</summary>
    private static FpValue ReduceAngle(in FpValue x, out int quadrant)
    {
        // x = Hi * 2^(Exp-63); pi/2 = Pi66 * 2^-65. In units of 2^(-65-s) both are integers, s making room for small x.
        quadrant = 0;
        var shift = x.Exp - 63 + 65;
        if (x.Exp < -1)
        {
            var small = x;
            small.Sign = false;
            return small;
        }

        // From exponent -1 on shift is positive; the quotient is built bit by bit.
        UInt128 rest = x.Hi;
        var quotient = 0ul;
        if (rest >= Pi66)
        {
            rest -= Pi66;
            quotient = 1;
        }

        for (var i = 0; i < shift; i++)
        {
            rest <<= 1;
            quotient <<= 1;
            if (rest >= Pi66)
            {
                rest -= Pi66;
                quotient |= 1;
            }
        }

        var negative = rest << 1 > Pi66;
        if (negative)
        {
            rest = Pi66 - rest;
            quotient++;
        }

        quadrant = (int)quotient & 3;
        return FpValue.Normalized(negative, 62, (ulong)(rest >> 64), (ulong)rest);
    }

    /// <summary>x - x^3/3! + ...</summary>
    private static FpValue Sine(in FpValue x) => AlternatingSeries(x, x, 1);

    /// <summary>1 - x^2/2! + ...</summary>
    private static FpValue Cosine(in FpValue x) => AlternatingSeries(One, x, 0);

    private static FpValue AlternatingSeries(in FpValue start, in FpValue x, int n)
    {
        var sum = start;
        var term = start;
        var square = Multiply(x, x);
        while (!term.IsZero && term.Exp > sum.Exp - SeriesBits)
        {
            term = DivideBySmall(Multiply(term, square), (n + 1) * (n + 2));
            term.Sign = !term.Sign;
            sum = Add(sum, term);
            n += 2;
        }

        return sum;
    }

    /// <summary>F2XM1: 2^x - 1 for |x| at most 1; beyond that the result is undefined and x is kept.</summary>
    public static Float80 PowerMinusOne(in FpValue x, ref FpEnv env)
    {
        if (FpuArithmetic.IsSpecial(x, x, ref env, out var special))
            return special;
        FpuArithmetic.NoteDenormals(x, x, ref env);
        if (x.IsZero)
            return Float80.Zero(x.Sign);
        if (x.IsInfinity)
            return x.Sign ? Float80.One(true) : Float80.Infinity(false);
        if (x.Exp == 0 && x.Hi << 1 == 0)
            return x.Sign ? Float80.Pack(FpValue.Normalized(true, -1, 1ul << 63, 0), 64, ref env) : Float80.One(false);
        env.Flags |= FpFlags.Inexact;
        if (x.Exp >= 0)
            return Float80.FromExact(x);
        // e^y - 1 = y + y^2/2! + ...
        var y = Multiply(x, FpuConstants.LnOf2);
        var sum = y;
        var term = y;
        for (var n = 2; !term.IsZero && term.Exp > sum.Exp - SeriesBits; n++)
        {
            term = DivideBySmall(Multiply(term, y), n);
            sum = Add(sum, term);
        }

        return Float80.Pack(sum, 64, ref env);
    }

    /// <summary>FYL2X: y * log2(x).</summary>
    public static Float80 YLog2X(in FpValue y, in FpValue x, ref FpEnv env)
    {
        if (FpuArithmetic.IsSpecial(y, x, ref env, out var special))
            return special;
        if (x.Sign && !x.IsZero)
            return FpuArithmetic.Invalid(ref env);
        if (x.IsZero)
        {
            if (y.IsZero)
                return FpuArithmetic.Invalid(ref env);
            if (!y.IsInfinity)
                env.Flags |= FpFlags.ZeroDivide;
            return Float80.Infinity(!y.Sign);
        }

        var isOne = x.Class == FpClass.Normal && x.Exp == 0 && x.Hi == 1ul << 63;
        if ((y.IsInfinity && isOne) || (x.IsInfinity && y.IsZero))
            return FpuArithmetic.Invalid(ref env);
        FpuArithmetic.NoteDenormals(x, y, ref env);
        var negative = !x.IsInfinity && x.Exp < 0;
        if (x.IsInfinity || y.IsInfinity)
            return Float80.Infinity(y.Sign != negative);
        if (y.IsZero || isOne)
            return Float80.Zero(y.Sign != negative);
        var log = Log2(x, out var exact);
        if (!exact)
            env.Flags |= FpFlags.Inexact;
        return Float80.Pack(Multiply(y, log), 64, ref env);
    }

    /// <summary>FYL2XP1: y * log2(x + 1), for |x| up to 1 - sqrt(1/2).</summary>
    public static Float80 YLog2XPlusOne(in FpValue y, in FpValue x, ref FpEnv env)
    {
        if (FpuArithmetic.IsSpecial(y, x, ref env, out var special))
            return special;
        if ((x.IsInfinity && x.Sign) || (x.IsZero && y.IsInfinity) || (x.IsInfinity && y.IsZero))
            return FpuArithmetic.Invalid(ref env);
        FpuArithmetic.NoteDenormals(x, y, ref env);
        if (x.IsInfinity || y.IsInfinity)
            return Float80.Infinity(x.Sign != y.Sign);
        if (x.IsZero || y.IsZero)
            return Float80.Zero(x.Sign != y.Sign);
        env.Flags |= FpFlags.Inexact;
        // From -1 down the result is undefined: processors leave x.
        if (x.Sign && x.Exp >= 0)
            return Float80.FromExact(x);
        // log(1+x) = 2 atanh(x / (2 + x)).
        var s = Divide(x, Add(FpValue.FromInteger(2), x));
        var log = x.Exp >= -1 ? Log2(Add(One, x), out _) : Multiply(AreaTangentTwice(s), FpuConstants.Log2OfE);
        return Float80.Pack(Multiply(y, log), 64, ref env);
    }

    /// <summary>log2 of a positive number: exponent + log2 of a significand near 1.</summary>
    private static FpValue Log2(in FpValue x, out bool exact)
    {
        var exponent = x.Exp;
        var m = x;
        m.Exp = 0;
        m.Sign = false;
        // Significands from sqrt(2) on belong to the next power.
        if (m.Hi >= 0xB504F333F9DE6484)
        {
            m.Exp = -1;
            exponent++;
        }

        var numerator = Add(m, FpValue.FromInteger(-1));
        exact = numerator.IsZero;
        if (exact)
            return FpValue.FromInteger(exponent);
        var log = Multiply(AreaTangentTwice(Divide(numerator, Add(m, One))), FpuConstants.Log2OfE);
        return Add(FpValue.FromInteger(exponent), log);
    }

    /// <summary>2 atanh(s) = 2 (s + s^3/3 + ...).</summary>
    private static FpValue AreaTangentTwice(in FpValue s)
    {
        var square = Multiply(s, s);
        var sum = s;
        var power = s;
        for (var n = 3; ; n += 2)
        {
            power = Multiply(power, square);
            if (power.IsZero || power.Exp <= sum.Exp - SeriesBits)
                break;
            sum = Add(sum, DivideBySmall(power, n));
        }

        sum.Exp++;
        return sum;
    }

    /// <summary>FPATAN: the angle of the point (x, y).</summary>
    public static Float80 ArcTangent(in FpValue y, in FpValue x, ref FpEnv env)
    {
        if (FpuArithmetic.IsSpecial(y, x, ref env, out var special))
            return special;
        FpuArithmetic.NoteDenormals(x, y, ref env);
        if (y.IsZero || (x.IsInfinity && !x.Sign && !y.IsInfinity))
        {
            if (y.IsZero ? !x.Sign : true)
                return Float80.Zero(y.Sign);
            return Angle(FpuConstants.Pi, 0, y.Sign, ref env);
        }

        if (x.IsZero || y.IsInfinity)
        {
            if (!x.IsInfinity)
                return Angle(FpuConstants.Pi, -1, y.Sign, ref env);
            if (!x.Sign)
                return Angle(FpuConstants.Pi, -2, y.Sign, ref env);
            var three = FpuConstants.Pi;
            three.Exp -= 2;
            return Angle(Multiply(three, FpValue.FromInteger(3)), 0, y.Sign, ref env);
        }

        if (x.IsInfinity)
            return Angle(FpuConstants.Pi, 0, y.Sign, ref env);
        env.Flags |= FpFlags.Inexact;
        FpValue height = y, width = x;
        height.Sign = width.Sign = false;
        var steep = FpCore.Compare(height, width) > 0;
        var angle = steep ? FirstOctant(Divide(width, height)) : FirstOctant(Divide(height, width));
        if (steep)
        {
            var right = FpuConstants.Pi;
            right.Exp--;
            angle.Sign = true;
            angle = Add(right, angle);
        }

        if (x.Sign)
        {
            angle.Sign = true;
            angle = Add(FpuConstants.Pi, angle);
        }

        angle.Sign = y.Sign;
        return Float80.Pack(angle, 64, ref env);
    }

    /// <summary>atan(t) for t from 0 to 1: a table point k/16 and the series for (t-k/16)/(1+t*k/16).</summary>
    private static FpValue FirstOctant(in FpValue t)
    {
        var k = 0;
        if (t.Exp >= -5)
        {
            // Nearest sixteenth.
            var sixteenths = t;
            sixteenths.Exp += 4;
            FpCore.TryToInteger(sixteenths, FpRounding.Nearest, out var nearest, out _);
            k = (int)nearest;
        }

        var rest = t;
        if (k != 0)
        {
            var point = FpValue.FromInteger(k);
            point.Exp -= 4;
            var negative = point;
            negative.Sign = true;
            rest = Add(t, negative);
            if (!rest.IsZero)
                rest = Divide(rest, Add(One, Multiply(t, point)));
        }

        var sum = rest;
        if (!rest.IsZero)
        {
            var square = Multiply(rest, rest);
            var power = rest;
            for (var n = 3; ; n += 2)
            {
                power = Multiply(power, square);
                if (power.IsZero || power.Exp <= sum.Exp - SeriesBits)
                    break;
                power.Sign = !power.Sign;
                sum = Add(sum, DivideBySmall(power, n));
            }
        }

        return k == 0 ? sum : Add(FpuConstants.ArcTangents[k], sum);
    }

    private static Float80 Angle(in FpValue value, int scale, bool sign, ref FpEnv env)
    {
        env.Flags |= FpFlags.Inexact;
        var v = value;
        v.Exp += scale;
        v.Sign = sign;
        return Float80.Pack(v, 64, ref env);
    }

    // 128-bit arithmetic. The last bits are not exact; results need half of them.

    private static FpValue Add(in FpValue a, in FpValue b) => FpCore.Add(a, b, FpRounding.Nearest);

    private static FpValue Multiply(in FpValue a, in FpValue b)
    {
        if (a.IsZero || b.IsZero)
            return FpValue.Zero(a.Sign != b.Sign);
        var hi = Math.BigMul(a.Hi, b.Hi, out var lo);
        var cross = (UInt128)Math.BigMul(a.Hi, b.Lo, out _) + Math.BigMul(a.Lo, b.Hi, out _);
        var product = new UInt128(hi, lo) + cross;
        return FpValue.Normalized(a.Sign != b.Sign, a.Exp + b.Exp + 1, (ulong)(product >> 64), (ulong)product | 1);
    }

    private static FpValue DivideBySmall(in FpValue a, int divisor)
    {
        if (a.IsZero)
            return a;
        var d = (ulong)divisor;
        var q = new UInt128(a.Hi, a.Lo) / d;
        return FpValue.Normalized(a.Sign, a.Exp, (ulong)(q >> 64), (ulong)q | 1);
    }

    /// <summary>a / b in two steps of 64 bits.</summary>
    private static FpValue Divide(in FpValue a, in FpValue b)
    {
        if (a.IsZero)
            return FpValue.Zero(a.Sign != b.Sign);
        var first = Quotient(a, b);
        var back = Multiply(first, b);
        back.Sign = !back.Sign;
        var rest = Add(a, back);
        return rest.IsZero ? first : Add(first, Quotient(rest, b));
    }

    /// <summary>The quotient of the upper halves.</summary>
    private static FpValue Quotient(in FpValue a, in FpValue b)
    {
        var q = FpCore.Divide(a, b);
        q.Lo = 0;
        return q;
    }
}
