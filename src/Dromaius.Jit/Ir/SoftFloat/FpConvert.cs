namespace Dromaius.Jit.Ir.SoftFloat;

/// <summary>Conversions between formats and integers as SSE makes them.</summary>
public static class FpConvert
{
    /// <summary>Out of range, infinities and NaNs give the integer indefinite value and IE.</summary>
    public static int ToInt32<F>(ulong raw, bool truncate, ref FpEnv env) where F : struct, IFpFormat
    {
        if (TryToInteger<F>(raw, truncate, int.MaxValue, ref env, out var value))
            return (int)value;
        return int.MinValue;
    }

    public static long ToInt64<F>(ulong raw, bool truncate, ref FpEnv env) where F : struct, IFpFormat
    {
        if (TryToInteger<F>(raw, truncate, long.MaxValue, ref env, out var value))
            return value;
        return long.MinValue;
    }

    public static ulong FromInt<F>(long value, ref FpEnv env) where F : struct, IFpFormat =>
        FpFormat<F>.Pack(FpValue.FromInteger(value), ref env);

    /// <summary>Between floating-point formats.</summary>
    public static ulong Convert<From, To>(ulong raw, ref FpEnv env) where From : struct, IFpFormat where To : struct, IFpFormat
    {
        var v = FpFormat<From>.Unpack(raw, env);
        if (v.Class == FpClass.SignalingNan)
        {
            env.Flags |= FpFlags.Invalid;
            v.Class = FpClass.QuietNan;
        }

        FpNan.NoteDenormals(v, v, ref env);
        return FpFormat<To>.Pack(v, ref env);
    }

    private static bool TryToInteger<F>(ulong raw, bool truncate, long max, ref FpEnv env, out long value)
        where F : struct, IFpFormat
    {
        var v = FpFormat<F>.Unpack(raw, env);
        var rounding = truncate ? FpRounding.TowardZero : env.Rounding;
        if (v.Class <= FpClass.Normal && FpCore.TryToInteger(v, rounding, out var magnitude, out var inexact)
            && magnitude <= (ulong)max + (v.Sign ? 1ul : 0))
        {
            if (inexact)
                env.Flags |= FpFlags.Inexact;
            value = v.Sign ? (long)(0 - magnitude) : (long)magnitude;
            return true;
        }

        env.Flags |= FpFlags.Invalid;
        value = 0;
        return false;
    }
}
