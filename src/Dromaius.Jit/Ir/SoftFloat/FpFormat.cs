using System.Numerics;

namespace Dromaius.Jit.Ir.SoftFloat;

/// <summary>An IEEE 754 interchange format of up to 64 bits.</summary>
public unsafe interface IFpFormat
{
    /// <summary>Bits in all.</summary>
    static abstract int Bits { get; }

    /// <summary>Bits of the significand with the hidden one.</summary>
    static abstract int Precision { get; }

    /// <summary>A lane of a vector.</summary>
    static abstract ulong Load(ulong* lanes, int index);

    static abstract void Store(ulong* lanes, int index, ulong value);
}

/// <summary>binary16.</summary>
public readonly unsafe struct F16 : IFpFormat
{
    public static int Bits => 16;
    public static int Precision => 11;

    public static ulong Load(ulong* lanes, int index) => ((ushort*)lanes)[index];

    public static void Store(ulong* lanes, int index, ulong value) => ((ushort*)lanes)[index] = (ushort)value;
}

/// <summary>binary32.</summary>
public readonly unsafe struct F32 : IFpFormat
{
    public static int Bits => 32;
    public static int Precision => 24;

    public static ulong Load(ulong* lanes, int index) => ((uint*)lanes)[index];

    public static void Store(ulong* lanes, int index, ulong value) => ((uint*)lanes)[index] = (uint)value;
}

/// <summary>binary64.</summary>
public readonly unsafe struct F64 : IFpFormat
{
    public static int Bits => 64;
    public static int Precision => 53;

    public static ulong Load(ulong* lanes, int index) => lanes[index];

    public static void Store(ulong* lanes, int index, ulong value) => lanes[index] = value;
}

/// <summary>Taking formats apart and putting them together.</summary>
public static class FpFormat<F> where F : struct, IFpFormat
{
    private static int ExponentBits => F.Bits - F.Precision;
    private static ulong ExponentMax => (1ul << ExponentBits) - 1;
    public static int MaxExp => (1 << ExponentBits - 1) - 1;
    public static int MinExp => 1 - MaxExp;
    private static ulong FractionMask => (1ul << F.Precision - 1) - 1;
    private static ulong SignBit => 1ul << F.Bits - 1;
    private static ulong QuietBit => 1ul << F.Precision - 2;

    /// <summary>The NaN of invalid operations.</summary>
    public static ulong DefaultNan => SignBit | ExponentMax << F.Precision - 1 | QuietBit;

    public static bool IsNan(ulong raw) => (raw & ~SignBit) > ExponentMax << F.Precision - 1;

    public static bool IsSignalingNan(ulong raw) => IsNan(raw) && (raw & QuietBit) == 0;

    public static ulong Quiet(ulong raw) => raw | QuietBit;

    public static ulong Negate(ulong raw) => raw ^ SignBit;

    public static ulong ZeroOf(bool sign) => sign ? SignBit : 0;

    public static ulong InfinityOf(bool sign) => ZeroOf(sign) | ExponentMax << F.Precision - 1;

    public static bool IsDenormal(ulong raw) => (raw & ~SignBit) - 1 < FractionMask;

    /// <summary>A denormal as the environment sees it: itself, or a zero.</summary>
    public static ulong Flush(ulong raw, in FpEnv env) => env.DenormalsAreZeros && IsDenormal(raw) ? raw & SignBit : raw;

    public static FpValue Unpack(ulong raw, in FpEnv env) => Unpack(Flush(raw, env));

    public static FpValue Unpack(ulong raw)
    {
        var v = default(FpValue);
        v.Sign = (raw & SignBit) != 0;
        var exponent = raw >> F.Precision - 1 & ExponentMax;
        var fraction = raw & FractionMask;
        if (exponent == 0)
        {
            if (fraction == 0)
                return v;
            v.Class = FpClass.Normal;
            v.Denormal = true;
            var shift = BitOperations.LeadingZeroCount(fraction);
            v.Hi = fraction << shift;
            v.Exp = MinExp + 64 - F.Precision - shift;
            return v;
        }

        v.Hi = 1ul << 63 | fraction << 64 - F.Precision;
        if (exponent == ExponentMax)
        {
            v.Class = fraction == 0 ? FpClass.Infinity : (fraction & QuietBit) != 0 ? FpClass.QuietNan : FpClass.SignalingNan;
            return v;
        }

        v.Class = FpClass.Normal;
        v.Exp = (int)exponent - MaxExp;
        return v;
    }

    /// <summary>Rounds and encodes anything but a signaling NaN.</summary>
    public static ulong Pack(in FpValue v, ref FpEnv env)
    {
        switch (v.Class)
        {
            case FpClass.Zero:
                return ZeroOf(v.Sign);
            case FpClass.Infinity:
                return InfinityOf(v.Sign);
            case FpClass.Normal:
                break;
            default:
                return InfinityOf(v.Sign) | (v.Hi & ~(1ul << 63)) >> 64 - F.Precision | QuietBit;
        }

        return FpCore.Round(v, F.Precision, MinExp, MaxExp, ref env, out var significand, out var exp) switch
        {
            FpClass.Zero => ZeroOf(v.Sign),
            FpClass.Infinity => InfinityOf(v.Sign),
            // A denormal has no hidden bit: adding it is what makes the exponent field 1.
            _ => ZeroOf(v.Sign) | ((ulong)(exp + MaxExp - 1) << F.Precision - 1) + significand,
        };
    }
}
