using System.Numerics;
using System.Runtime.InteropServices;
using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Cpu.X86;

/// <summary>The double extended-precision format in a register slot (Intel SDM volume 1, sections 4.2.2 and 8.2).</summary>
[StructLayout(LayoutKind.Sequential, Size = 16)]
public struct Float80
{
    public const int MaxExp = 16383, MinExp = -16382, Bias = 16383;
    private const ulong IntegerBit = 1ul << 63, QuietBit = 1ul << 62;

    /// <summary>How far exponents are moved in results of unmasked overflows and underflows.</summary>
    private const int TrapAdjustment = 24576;

    public ulong Significand;

    /// <summary>Sign in bit 15, biased exponent below.</summary>
    public ushort SignExponent;

    public Float80(ushort signExponent, ulong significand)
    {
        Significand = significand;
        SignExponent = signExponent;
    }

    /// <summary>The NaN of masked invalid operations.</summary>
    public static Float80 Indefinite => new(0xFFFF, IntegerBit | QuietBit);

    public static Float80 Zero(bool sign) => new(sign ? (ushort)0x8000 : (ushort)0, 0);

    public static Float80 Infinity(bool sign) => new(sign ? (ushort)0xFFFF : (ushort)0x7FFF, IntegerBit);

    public static Float80 One(bool sign) => new(sign ? (ushort)0xBFFF : (ushort)0x3FFF, IntegerBit);

    public readonly bool Sign => (SignExponent & 0x8000) != 0;
    public readonly int BiasedExponent => SignExponent & 0x7FFF;

    /// <summary>Pseudo-NaNs, pseudo-infinities and unnormals.</summary>
    public readonly bool IsUnsupported => BiasedExponent != 0 && (Significand & IntegerBit) == 0;

    /// <summary>Takes the number apart. An unsupported format becomes a signaling NaN without its integer bit.</summary>
    public readonly FpValue Unpack()
    {
        var v = default(FpValue);
        v.Sign = Sign;
        var exponent = BiasedExponent;
        v.Hi = Significand;
        if (exponent == 0)
        {
            if (Significand == 0)
                return v;
            // Pseudo-denormals have the integer bit and the same exponent.
            var shift = BitOperations.LeadingZeroCount(Significand);
            v.Class = FpClass.Normal;
            v.Denormal = true;
            v.Hi <<= shift;
            v.Exp = MinExp - shift;
        }
        else if ((Significand & IntegerBit) == 0)
        {
            v.Class = FpClass.SignalingNan;
        }
        else if (exponent == 0x7FFF)
        {
            v.Class = Significand == IntegerBit ? FpClass.Infinity
                : (Significand & QuietBit) != 0 ? FpClass.QuietNan : FpClass.SignalingNan;
        }
        else
        {
            v.Class = FpClass.Normal;
            v.Exp = exponent - Bias;
        }

        return v;
    }

    public static bool IsUnsupportedValue(in FpValue v) => v.Class == FpClass.SignalingNan && (v.Hi & IntegerBit) == 0;

    /// <summary>A NaN as a quiet one.</summary>
    public static Float80 QuietNan(in FpValue v) => new(v.Sign ? (ushort)0xFFFF : (ushort)0x7FFF, v.Hi | IntegerBit | QuietBit);

    /// <summary>A number that is exact in this format, of any class.</summary>
    public static Float80 FromExact(in FpValue v)
    {
        var env = new FpEnv { Masks = FpFlags.All };
        return v.IsNan
            ? new(v.Sign ? (ushort)0xFFFF : (ushort)0x7FFF, v.Hi | (v.Class == FpClass.QuietNan ? QuietBit : 0))
            : Pack(v, 64, ref env);
    }

    /// <summary>Rounds to 24, 53 or 64 bits. Not for NaNs.</summary>
    public static Float80 Pack(in FpValue v, int precision, ref FpEnv env)
    {
        if (v.Class == FpClass.Zero)
            return Zero(v.Sign);
        if (v.Class == FpClass.Infinity)
            return Infinity(v.Sign);
        if ((v.Exp >= MaxExp && (env.Masks & FpFlags.Overflow) == 0) || (v.Exp < MinExp && (env.Masks & FpFlags.Underflow) == 0))
            return PackUnmasked(v, precision, ref env);
        switch (FpCore.Round(v, precision, MinExp, MaxExp, ref env, out var significand, out var exp))
        {
            case FpClass.Zero:
                return Zero(v.Sign);
            case FpClass.Infinity:
                return Infinity(v.Sign);
        }

        significand <<= 64 - precision;
        return Encode(v.Sign, (significand & IntegerBit) != 0 ? exp + Bias : 0, significand);
    }

    /// <summary>Near the limits with their exceptions unmasked: the handler gets the significand and a moved exponent.</summary>
    private static Float80 PackUnmasked(in FpValue v, int precision, ref FpEnv env)
    {
        var exp = v.Exp;
        var inexact = FpCore.RoundTo(v.Hi, v.Lo, precision, env.Rounding, v.Sign, out var significand, out var carry,
            out env.RoundedUp);
        if (carry)
            exp++;
        if (exp > MaxExp)
        {
            env.Flags |= FpFlags.Overflow;
            exp -= TrapAdjustment;
        }
        else if (exp < MinExp)
        {
            env.Flags |= FpFlags.Underflow;
            exp += TrapAdjustment;
        }

        if (exp is > MaxExp or < MinExp)
        {
            // Even the moved exponent is out of range (FSCALE).
            env.Flags |= FpFlags.Inexact;
            env.RoundedUp = exp > MaxExp;
            return env.RoundedUp ? Infinity(v.Sign) : Zero(v.Sign);
        }

        if (inexact)
            env.Flags |= FpFlags.Inexact;
        return Encode(v.Sign, exp + Bias, significand << 64 - precision);
    }

    private static Float80 Encode(bool sign, int biased, ulong significand) =>
        new((ushort)((sign ? 0x8000 : 0) | biased & 0x7FFF), significand);
}
