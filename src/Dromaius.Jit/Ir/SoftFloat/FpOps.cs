namespace Dromaius.Jit.Ir.SoftFloat;

/// <summary>An operation on two encoded numbers with the exceptions and NaN rules of SSE (Intel SDM volume 1, 11.5).</summary>
public interface IFpBinary
{
    static abstract ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat;
}

/// <summary>An operation on one encoded number.</summary>
public interface IFpUnary
{
    static abstract ulong Do<F>(ulong a, byte imm, ref FpEnv env) where F : struct, IFpFormat;
}

/// <summary>What the operations share.</summary>
internal static class FpNan
{
    /// <summary>NaN operands: gives the result and raises IE for a signaling one.</summary>
    public static bool Propagate<F>(ulong a, ulong b, ref FpEnv env, out ulong result) where F : struct, IFpFormat
    {
        var nanA = FpFormat<F>.IsNan(a);
        if (!nanA && !FpFormat<F>.IsNan(b))
        {
            result = 0;
            return false;
        }

        if (FpFormat<F>.IsSignalingNan(a) || FpFormat<F>.IsSignalingNan(b))
            env.Flags |= FpFlags.Invalid;
        result = FpFormat<F>.Quiet(nanA ? a : b);
        return true;
    }

    public static ulong Invalid<F>(ref FpEnv env) where F : struct, IFpFormat
    {
        env.Flags |= FpFlags.Invalid;
        return FpFormat<F>.DefaultNan;
    }

    public static void NoteDenormals(in FpValue a, in FpValue b, ref FpEnv env)
    {
        if (a.Denormal || b.Denormal)
            env.Flags |= FpFlags.Denormal;
    }
}

public readonly struct FpAdd : IFpBinary
{
    public static ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        if (FpNan.Propagate<F>(a, b, ref env, out var nan))
            return nan;
        var x = FpFormat<F>.Unpack(a, env);
        var y = FpFormat<F>.Unpack(b, env);
        if (x.IsInfinity && y.IsInfinity && x.Sign != y.Sign)
            return FpNan.Invalid<F>(ref env);
        FpNan.NoteDenormals(x, y, ref env);
        if (x.IsInfinity || y.IsInfinity)
            return FpFormat<F>.InfinityOf(x.IsInfinity ? x.Sign : y.Sign);
        return FpFormat<F>.Pack(FpCore.Add(x, y, env.Rounding), ref env);
    }
}

public readonly struct FpSub : IFpBinary
{
    public static ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        return FpNan.Propagate<F>(a, b, ref env, out var nan) ? nan : FpAdd.Do<F>(a, FpFormat<F>.Negate(b), imm, ref env);
    }
}

public readonly struct FpMul : IFpBinary
{
    public static ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        if (FpNan.Propagate<F>(a, b, ref env, out var nan))
            return nan;
        var x = FpFormat<F>.Unpack(a, env);
        var y = FpFormat<F>.Unpack(b, env);
        if ((x.IsInfinity && y.IsZero) || (x.IsZero && y.IsInfinity))
            return FpNan.Invalid<F>(ref env);
        FpNan.NoteDenormals(x, y, ref env);
        if (x.IsInfinity || y.IsInfinity)
            return FpFormat<F>.InfinityOf(x.Sign != y.Sign);
        return FpFormat<F>.Pack(FpCore.Multiply(x, y), ref env);
    }
}

public readonly struct FpDiv : IFpBinary
{
    public static ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        if (FpNan.Propagate<F>(a, b, ref env, out var nan))
            return nan;
        var x = FpFormat<F>.Unpack(a, env);
        var y = FpFormat<F>.Unpack(b, env);
        if ((x.IsInfinity && y.IsInfinity) || (x.IsZero && y.IsZero))
            return FpNan.Invalid<F>(ref env);
        var sign = x.Sign != y.Sign;
        if (y.IsZero && !x.IsInfinity)
        {
            env.Flags |= FpFlags.ZeroDivide;
            return FpFormat<F>.InfinityOf(sign);
        }

        FpNan.NoteDenormals(x, y, ref env);
        if (x.IsInfinity)
            return FpFormat<F>.InfinityOf(sign);
        return y.IsInfinity ? FpFormat<F>.ZeroOf(sign) : FpFormat<F>.Pack(FpCore.Divide(x, y), ref env);
    }
}

public readonly struct FpSqrt : IFpUnary
{
    public static ulong Do<F>(ulong a, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        if (FpNan.Propagate<F>(a, a, ref env, out var nan))
            return nan;
        var x = FpFormat<F>.Unpack(a, env);
        if (x.Sign && !x.IsZero)
            return FpNan.Invalid<F>(ref env);
        FpNan.NoteDenormals(x, x, ref env);
        return x.IsInfinity ? a : FpFormat<F>.Pack(FpCore.Sqrt(x), ref env);
    }
}

/// <summary>MIN: the second operand unless the first is smaller; any NaN is invalid.</summary>
public readonly struct FpMin : IFpBinary
{
    public static ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        a = FpFormat<F>.Flush(a, env);
        b = FpFormat<F>.Flush(b, env);
        return FpCompare.Order<F>(a, b, true, ref env) == FpOrder.Less ? a : b;
    }
}

public readonly struct FpMax : IFpBinary
{
    public static ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        a = FpFormat<F>.Flush(a, env);
        b = FpFormat<F>.Flush(b, env);
        return FpCompare.Order<F>(a, b, true, ref env) == FpOrder.Greater ? a : b;
    }
}

/// <summary>ROUND: imm bits 1:0 are the mode unless bit 2 asks for that of MXCSR; bit 3 suppresses PE.</summary>
public readonly struct FpRound : IFpUnary
{
    public static ulong Do<F>(ulong a, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        if (FpNan.Propagate<F>(a, a, ref env, out var nan))
            return nan;
        a = FpFormat<F>.Flush(a, env);
        var x = FpFormat<F>.Unpack(a);
        if (x.Class != FpClass.Normal || x.Exp >= F.Precision - 1)
            return a;
        var mode = (imm & 4) != 0 ? env.Rounding : (FpRounding)(imm & 3);
        FpCore.TryToInteger(x, mode, out var magnitude, out var inexact);
        if (inexact && (imm & 8) == 0)
            env.Flags |= FpFlags.Inexact;
        var r = FpValue.FromInteger(x.Sign, magnitude);
        return FpFormat<F>.Pack(r, ref env);
    }
}

public enum FpOrder : byte
{
    Less = 1, Equal = 2, Greater = 4, Unordered = 8,
}

/// <summary>CMP with the 32 predicates of VCMPPD (Intel SDM volume 2, CMPPD): all ones or all zeros.</summary>
public readonly struct FpCompare : IFpBinary
{
    // For predicates 0 to 15, the orders (FpOrder bits) that satisfy them; 16 to 31 differ in signaling only.
    private static ReadOnlySpan<byte> Accepts => [2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15];

    // Predicates among 0 to 15 that raise IE for quiet NaNs: 1, 2, 5, 6, 9, 10, 13, 14.
    private const int Signaling = 0x6666;

    public static ulong Do<F>(ulong a, ulong b, byte imm, ref FpEnv env) where F : struct, IFpFormat
    {
        var signaling = (Signaling >> (imm & 15) & 1) != (imm >> 4 & 1);
        var order = Order<F>(a, b, signaling, ref env);
        return (Accepts[imm & 15] & (byte)order) != 0 ? ulong.MaxValue >> 64 - F.Bits : 0;
    }

    public static FpOrder Order<F>(ulong a, ulong b, bool signalQuiet, ref FpEnv env) where F : struct, IFpFormat
    {
        if (FpFormat<F>.IsNan(a) || FpFormat<F>.IsNan(b))
        {
            if (signalQuiet || FpFormat<F>.IsSignalingNan(a) || FpFormat<F>.IsSignalingNan(b))
                env.Flags |= FpFlags.Invalid;
            return FpOrder.Unordered;
        }

        var x = FpFormat<F>.Unpack(a, env);
        var y = FpFormat<F>.Unpack(b, env);
        FpNan.NoteDenormals(x, y, ref env);
        return FpCore.Compare(x, y) switch
        {
            < 0 => FpOrder.Less,
            0 => FpOrder.Equal,
            _ => FpOrder.Greater,
        };
    }
}

/// <summary>x * y + z rounded once (Intel SDM volume 1, section 14.5).</summary>
public static class FpFma
{
    public static ulong Do<F>(ulong x, ulong y, ulong z, bool negateProduct, bool negateAddend, ref FpEnv env)
        where F : struct, IFpFormat
    {
        var anyNan = FpFormat<F>.IsNan(x) || FpFormat<F>.IsNan(y) || FpFormat<F>.IsNan(z);
        if (anyNan)
        {
            if (FpFormat<F>.IsSignalingNan(x) || FpFormat<F>.IsSignalingNan(y) || FpFormat<F>.IsSignalingNan(z))
                env.Flags |= FpFlags.Invalid;
            return FpFormat<F>.Quiet(FpFormat<F>.IsNan(x) ? x : FpFormat<F>.IsNan(y) ? y : z);
        }

        var a = FpFormat<F>.Unpack(x, env);
        var b = FpFormat<F>.Unpack(y, env);
        var c = FpFormat<F>.Unpack(z, env);
        a.Sign ^= negateProduct;
        c.Sign ^= negateAddend;
        var productSign = a.Sign != b.Sign;
        var infinite = a.IsInfinity || b.IsInfinity;
        if ((infinite && (a.IsZero || b.IsZero)) || (infinite && c.IsInfinity && c.Sign != productSign))
            return FpNan.Invalid<F>(ref env);
        FpNan.NoteDenormals(a, b, ref env);
        FpNan.NoteDenormals(c, c, ref env);
        if (infinite)
            return FpFormat<F>.InfinityOf(productSign);
        return c.IsInfinity
            ? FpFormat<F>.InfinityOf(c.Sign)
            : FpFormat<F>.Pack(FpCore.Add(FpCore.Multiply(a, b), c, env.Rounding), ref env);
    }
}
