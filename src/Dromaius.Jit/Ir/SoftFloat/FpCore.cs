using System.Numerics;

namespace Dromaius.Jit.Ir.SoftFloat;

/// <summary>
/// Arithmetic on taken-apart numbers (IEEE 754). Operands are finite; results are exact or carry a sticky bit, so that
/// <see cref="Round"/> rounds them correctly to any precision up to 64 bits.
/// </summary>
public static class FpCore
{
    /// <summary>a + b. The sign of an exact zero sum depends on the rounding mode.</summary>
    public static FpValue Add(in FpValue a, in FpValue b, FpRounding rounding)
    {
        if (a.IsZero || b.IsZero)
        {
            if (!a.IsZero)
                return a;
            return !b.IsZero || a.Sign == b.Sign ? b : FpValue.Zero(rounding == FpRounding.Down);
        }

        return a.Sign == b.Sign ? AddMagnitudes(a, b) : SubtractMagnitudes(a, b, rounding);
    }

    private static FpValue AddMagnitudes(in FpValue a, in FpValue b)
    {
        ref readonly var big = ref a.Exp >= b.Exp ? ref a : ref b;
        ref readonly var small = ref a.Exp >= b.Exp ? ref b : ref a;
        ulong hi = small.Hi, lo = small.Lo;
        ShiftRightJam(ref hi, ref lo, big.Exp - small.Exp);
        var r = big;
        r.Denormal = false;
        r.Lo += lo;
        var carry = r.Lo < lo ? 1ul : 0;
        r.Hi += hi;
        var carryOut = r.Hi < hi;
        r.Hi += carry;
        carryOut |= carry != 0 && r.Hi == 0;
        if (carryOut)
        {
            r.Lo = r.Lo >> 1 | r.Lo & 1 | r.Hi << 63;
            r.Hi = r.Hi >> 1 | 1ul << 63;
            r.Exp++;
        }

        return r;
    }

    private static FpValue SubtractMagnitudes(in FpValue a, in FpValue b, FpRounding rounding)
    {
        var swap = a.Exp != b.Exp ? a.Exp < b.Exp : a.Hi != b.Hi ? a.Hi < b.Hi : a.Lo < b.Lo;
        ref readonly var big = ref swap ? ref b : ref a;
        ref readonly var small = ref swap ? ref a : ref b;
        ulong hi = small.Hi, lo = small.Lo;
        ShiftRightJam(ref hi, ref lo, big.Exp - small.Exp);
        var resultLo = big.Lo - lo;
        var resultHi = big.Hi - hi - (big.Lo < lo ? 1ul : 0);
        if ((resultHi | resultLo) == 0)
            return FpValue.Zero(rounding == FpRounding.Down);
        return FpValue.Normalized(big.Sign, big.Exp, resultHi, resultLo);
    }

    /// <summary>a * b, both with at most 64 significant bits.</summary>
    public static FpValue Multiply(in FpValue a, in FpValue b)
    {
        var sign = a.Sign != b.Sign;
        if (a.IsZero || b.IsZero)
            return FpValue.Zero(sign);
        var hi = Math.BigMul(a.Hi, b.Hi, out var lo);
        var exp = a.Exp + b.Exp + 1;
        if ((long)hi >= 0)
        {
            hi = hi << 1 | lo >> 63;
            lo <<= 1;
            exp--;
        }

        return new FpValue { Class = FpClass.Normal, Sign = sign, Exp = exp, Hi = hi, Lo = lo };
    }

    /// <summary>a / b, b not zero, both with at most 64 significant bits.</summary>
    public static FpValue Divide(in FpValue a, in FpValue b)
    {
        var sign = a.Sign != b.Sign;
        if (a.IsZero)
            return FpValue.Zero(sign);
        var exp = a.Exp - b.Exp;
        var dividend = (UInt128)a.Hi << 63;
        if (a.Hi < b.Hi)
        {
            dividend <<= 1;
            exp--;
        }

        var q = (ulong)(dividend / b.Hi);
        var r = (ulong)dividend - q * b.Hi;
        // One more quotient bit, then sticky.
        ulong lo = 0;
        if (r >= b.Hi - r)
        {
            lo = 1ul << 63;
            r -= b.Hi - r;
        }
        else
        {
            r += r;
        }

        return new FpValue { Class = FpClass.Normal, Sign = sign, Exp = exp, Hi = q, Lo = lo | (r != 0 ? 1ul : 0) };
    }

    /// <summary>Square root of a positive number or a zero.</summary>
    public static FpValue Sqrt(in FpValue a)
    {
        if (a.IsZero)
            return FpValue.Zero(a.Sign);
        var odd = (a.Exp & 1) != 0;
        // An integer of 127 or 128 bits whose root has 64.
        var n = (UInt128)a.Hi << (odd ? 64 : 63);
        var root = SquareRoot(n, out var remainder);
        var lo = (remainder > root ? 1ul << 63 : 0) | (remainder != UInt128.Zero ? 1ul : 0);
        return new FpValue { Class = FpClass.Normal, Sign = false, Exp = a.Exp >> 1, Hi = root, Lo = lo };
    }

    /// <summary>Floor of the square root of a number of at least 2^126, and what is left.</summary>
    private static ulong SquareRoot(UInt128 n, out UInt128 remainder)
    {
        var high = (ulong)(n >> 64);
        var estimate = Math.Sqrt((double)high) * 4294967296.0;
        var root = estimate >= 18446744073709549568.0 ? ulong.MaxValue : (ulong)estimate;
        var quotient = n / root;
        // Newton: the mean of two 65-bit numbers.
        var mean = (root + quotient) >> 1;
        root = mean > ulong.MaxValue ? ulong.MaxValue : (ulong)mean;
        var square = (UInt128)root * root;
        while (square > n)
        {
            root--;
            square = (UInt128)root * root;
        }

        while (n - square > (UInt128)root << 1)
        {
            square += ((UInt128)root << 1) + UInt128.One;
            root++;
        }

        remainder = n - square;
        return root;
    }

    /// <summary>-1, 0 or 1 for finite or infinite numbers.</summary>
    public static int Compare(in FpValue a, in FpValue b)
    {
        if (a.IsZero && b.IsZero)
            return 0;
        var signA = a.IsZero ? 0 : a.Sign ? -1 : 1;
        var signB = b.IsZero ? 0 : b.Sign ? -1 : 1;
        return signA != signB ? signA.CompareTo(signB) : signA * CompareMagnitudes(a, b);
    }

    private static int CompareMagnitudes(in FpValue a, in FpValue b)
    {
        if (a.Class != b.Class)
            return a.Class.CompareTo(b.Class);
        if (a.IsInfinity)
            return 0;
        return a.Exp != b.Exp ? a.Exp.CompareTo(b.Exp) : a.Hi != b.Hi ? a.Hi.CompareTo(b.Hi) : a.Lo.CompareTo(b.Lo);
    }

    /// <summary>The nearest integer in a direction. Gives false when the magnitude needs more than 64 bits.</summary>
    public static bool TryToInteger(in FpValue a, FpRounding rounding, out ulong magnitude, out bool inexact) =>
        TryToInteger(a, rounding, out magnitude, out inexact, out _);

    public static bool TryToInteger(in FpValue a, FpRounding rounding, out ulong magnitude, out bool inexact, out bool up)
    {
        magnitude = 0;
        inexact = up = false;
        if (a.IsZero)
            return true;
        if (a.Exp >= 64)
            return false;
        ulong hi = a.Hi, lo = a.Lo;
        // Integer part into hi, fraction into lo.
        ShiftRightJam(ref hi, ref lo, 63 - a.Exp);
        inexact = lo != 0;
        magnitude = hi;
        if (!RoundsUp(rounding, a.Sign, (hi & 1) != 0, lo))
            return true;
        up = true;
        magnitude++;
        return magnitude != 0;
    }

    /// <summary>Whether a magnitude with fraction lo (bit 63: one half) goes up.</summary>
    public static bool RoundsUp(FpRounding rounding, bool sign, bool odd, ulong fraction) => rounding switch
    {
        FpRounding.Nearest => fraction > 1ul << 63 || (fraction == 1ul << 63 && odd),
        FpRounding.Down => sign && fraction != 0,
        FpRounding.Up => !sign && fraction != 0,
        _ => false,
    };

    /// <summary>
    /// Rounds a normal number to a format. Gives its significand, right-aligned with the leading bit at bit precision-1 (below
    /// that for denormals, whose exponent is then minExp), the exponent, and the class: zero, normal or infinity.
    /// </summary>
    public static FpClass Round(in FpValue v, int precision, int minExp, int maxExp, ref FpEnv env, out ulong significand,
        out int exp)
    {
        ulong hi = v.Hi, lo = v.Lo;
        exp = v.Exp;
        var tiny = exp < minExp;
        if (tiny)
        {
            // Tininess is judged after rounding with an unbounded exponent.
            if (exp == minExp - 1 && RoundTo(hi, lo, precision, env.Rounding, v.Sign, out _, out var carry, out _) && carry)
                tiny = false;
            if (tiny && env.FlushToZero && (env.Masks & FpFlags.Underflow) != 0)
            {
                env.Flags |= FpFlags.Underflow | FpFlags.Inexact;
                significand = 0;
                return FpClass.Zero;
            }

            // For an unmasked underflow only what full precision loses counts as inexact.
            if (!tiny || (env.Masks & FpFlags.Underflow) != 0)
                ShiftRightJam(ref hi, ref lo, minExp - exp);
            exp = minExp;
        }

        var inexact = RoundTo(hi, lo, precision, env.Rounding, v.Sign, out significand, out var carried, out env.RoundedUp);
        if (carried)
            exp++;
        if (inexact)
            env.Flags |= FpFlags.Inexact;
        if (tiny && (inexact || (env.Masks & FpFlags.Underflow) == 0))
            env.Flags |= FpFlags.Underflow;
        if (exp > maxExp)
        {
            env.Flags |= (env.Masks & FpFlags.Overflow) != 0 ? FpFlags.Overflow | FpFlags.Inexact : FpFlags.Overflow;
            env.RoundedUp = OverflowsToInfinity(env.Rounding, v.Sign);
            if (env.RoundedUp)
                return FpClass.Infinity;
            exp = maxExp;
            significand = ulong.MaxValue >> 64 - precision;
        }

        return significand == 0 ? FpClass.Zero : FpClass.Normal;
    }

    private static bool OverflowsToInfinity(FpRounding rounding, bool sign) => rounding switch
    {
        FpRounding.Nearest => true,
        FpRounding.Down => sign,
        FpRounding.Up => !sign,
        _ => false,
    };

    /// <summary>
    /// Rounds to the top bits. Gives whether that lost anything, whether it carried into a new leading bit, and whether it went
    /// up.
    /// </summary>
    public static bool RoundTo(ulong hi, ulong lo, int precision, FpRounding rounding, bool sign, out ulong significand,
        out bool carry, out bool up)
    {
        ulong fraction;
        if (precision == 64)
        {
            significand = hi;
            fraction = lo;
        }
        else
        {
            significand = hi >> 64 - precision;
            fraction = hi << precision | (lo != 0 ? 1ul : 0);
        }

        carry = up = false;
        if (fraction == 0)
            return false;
        if (RoundsUp(rounding, sign, (significand & 1) != 0, fraction))
        {
            up = true;
            significand++;
            if (precision == 64 ? significand == 0 : significand >> precision != 0)
            {
                significand = 1ul << precision - 1;
                carry = true;
            }
        }

        return true;
    }

    /// <summary>Shifts 128 bits right; bits shifted out are kept as a sticky bit 0.</summary>
    public static void ShiftRightJam(ref ulong hi, ref ulong lo, int count)
    {
        if (count == 0)
            return;
        if (count < 64)
        {
            var lost = lo << 64 - count;
            lo = lo >> count | hi << 64 - count | (lost != 0 ? 1ul : 0);
            hi >>= count;
        }
        else if (count == 64)
        {
            lo = hi | (lo != 0 ? 1ul : 0);
            hi = 0;
        }
        else if (count < 128)
        {
            var lost = lo | hi << 128 - count;
            lo = hi >> count - 64 | (lost != 0 ? 1ul : 0);
            hi = 0;
        }
        else
        {
            lo = (hi | lo) != 0 ? 1ul : 0;
            hi = 0;
        }
    }
}
