namespace Dromaius.Jit.Ir.SoftFloat;

public enum FpClass : byte
{
    Zero, Normal, Infinity, QuietNan, SignalingNan,
}

/// <summary>
/// A number taken apart: (-1)^Sign * 1.f * 2^Exp with the significand's leading one in bit 63 of <see cref="Hi"/>, and bits
/// below it in <see cref="Lo"/>, whose bit 0 also stands for all further ones ("sticky"). NaNs keep their payload in Hi
/// (quiet bit: 62).
/// </summary>
public struct FpValue
{
    public ulong Hi, Lo;
    public int Exp;
    public FpClass Class;
    public bool Sign;

    /// <summary>It was encoded as a denormal.</summary>
    public bool Denormal;

    public readonly bool IsNan => Class >= FpClass.QuietNan;

    public readonly bool IsInfinity => Class == FpClass.Infinity;

    public readonly bool IsZero => Class == FpClass.Zero;

    public static FpValue Zero(bool sign) => new() { Sign = sign };

    public static FpValue Infinity(bool sign) => new() { Class = FpClass.Infinity, Sign = sign };

    /// <summary>The number 2^exp * hi.lo; any hi and lo.</summary>
    public static FpValue Normalized(bool sign, int exp, ulong hi, ulong lo)
    {
        if (hi == 0)
        {
            if (lo == 0)
                return Zero(sign);
            hi = lo;
            lo = 0;
            exp -= 64;
        }

        var shift = System.Numerics.BitOperations.LeadingZeroCount(hi);
        if (shift != 0)
        {
            hi = hi << shift | lo >> 64 - shift;
            lo <<= shift;
        }

        return new FpValue { Class = FpClass.Normal, Sign = sign, Exp = exp - shift, Hi = hi, Lo = lo };
    }

    public static FpValue FromInteger(long value) => FromInteger(value < 0, value < 0 ? 0 - (ulong)value : (ulong)value);

    public static FpValue FromInteger(bool sign, ulong magnitude) => Normalized(sign, 63, magnitude, 0);
}
