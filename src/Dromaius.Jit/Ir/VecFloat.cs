using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Jit.Ir;

/// <summary>C# semantics of floating-point vector operations under the guest's MXCSR (Intel SDM volumes 1 and 2).</summary>
internal static unsafe class VecFloat
{
    public static void Packed<Op, F>(VecArgs* v) where Op : IFpBinary where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < Lanes<F>(v); i++)
            F.Store(v->Dst.Q, i, Op.Do<F>(F.Load(v->A.Q, i), F.Load(v->B.Q, i), v->Imm, ref env));
        Finish(v, env);
    }

    public static void Scalar<Op, F>(VecArgs* v) where Op : IFpBinary where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = v->A;
        F.Store(v->Dst.Q, 0, Op.Do<F>(F.Load(v->A.Q, 0), F.Load(v->B.Q, 0), v->Imm, ref env));
        Finish(v, env);
    }

    public static void PackedUnary<Op, F>(VecArgs* v) where Op : IFpUnary where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < Lanes<F>(v); i++)
            F.Store(v->Dst.Q, i, Op.Do<F>(F.Load(v->A.Q, i), v->Imm, ref env));
        Finish(v, env);
    }

    /// <summary>Low lane op(B), the others from A.</summary>
    public static void ScalarUnary<Op, F>(VecArgs* v) where Op : IFpUnary where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = v->A;
        F.Store(v->Dst.Q, 0, Op.Do<F>(F.Load(v->B.Q, 0), v->Imm, ref env));
        Finish(v, env);
    }

    /// <summary>Even lanes subtract, odd ones add.</summary>
    public static void AddSub<F>(VecArgs* v) where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < Lanes<F>(v); i++)
        {
            ulong a = F.Load(v->A.Q, i), b = F.Load(v->B.Q, i);
            F.Store(v->Dst.Q, i, (i & 1) == 0 ? FpSub.Do<F>(a, b, 0, ref env) : FpAdd.Do<F>(a, b, 0, ref env));
        }

        Finish(v, env);
    }

    /// <summary>In each 128-bit lane the pairs of A, then those of B.</summary>
    public static void Horizontal<Op, F>(VecArgs* v) where Op : IFpBinary where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        var n = 128 / F.Bits;
        for (var i = 0; i < Lanes<F>(v); i++)
        {
            var from = i % n < n / 2 ? v->A.Q : v->B.Q;
            var pair = i / n * n + i % (n / 2) * 2;
            F.Store(v->Dst.Q, i, Op.Do<F>(F.Load(from, pair), F.Load(from, pair + 1), 0, ref env));
        }

        Finish(v, env);
    }

    /// <summary>Imm bits 7:4 choose the products, 3:0 the lanes that receive the sum.</summary>
    public static void DotProduct<F>(VecArgs* v) where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        var n = 128 / F.Bits;
        var products = stackalloc ulong[4];
        for (var lane = 0; lane < Lanes<F>(v); lane += n)
        {
            for (var i = 0; i < n; i++)
            {
                products[i] = (v->Imm >> 4 + i & 1) == 0 ? 0
                    : FpMul.Do<F>(F.Load(v->A.Q, lane + i), F.Load(v->B.Q, lane + i), 0, ref env);
            }

            for (var i = 0; i < n; i++)
            {
                // The order of the additions matters for NaNs only.
                var sum = n == 2
                    ? FpAdd.Do<F>(products[i], products[i ^ 1], 0, ref env)
                    : FpAdd.Do<F>(PairSum<F>(products + (i & 2), i, ref env), PairSum<F>(products + (~i & 2), i, ref env), 0,
                        ref env);
                F.Store(v->Dst.Q, lane + i, (v->Imm >> i & 1) == 0 ? 0 : sum);
            }
        }

        Finish(v, env);
    }

    public static void Fma<Op, Order, F>(VecArgs* v) where Op : IFmaShape where Order : IFmaOrder where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < Lanes<F>(v); i++)
            F.Store(v->Dst.Q, i, FmaLane<Op, Order, F>(v, i, ref env));
        Finish(v, env);
    }

    public static void FmaScalar<Op, Order, F>(VecArgs* v)
        where Op : IFmaShape where Order : IFmaOrder where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = v->A;
        F.Store(v->Dst.Q, 0, FmaLane<Op, Order, F>(v, 0, ref env));
        Finish(v, env);
    }

    // Conversions.

    public static void Cvtps2pd(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < v->Bytes / 8; i++)
            v->Dst.Q[i] = FpConvert.Convert<F32, F64>(F32.Load(v->A.Q, i), ref env);
        Finish(v, env);
    }

    public static void Cvtpd2ps(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = default;
        for (var i = 0; i < v->Bytes / 8; i++)
            F32.Store(v->Dst.Q, i, FpConvert.Convert<F64, F32>(v->A.Q[i], ref env));
        Finish(v, env);
    }

    public static void Cvtss2sd(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = v->A;
        v->Dst.Q[0] = FpConvert.Convert<F32, F64>(F32.Load(v->B.Q, 0), ref env);
        Finish(v, env);
    }

    public static void Cvtsd2ss(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = v->A;
        F32.Store(v->Dst.Q, 0, FpConvert.Convert<F64, F32>(v->B.Q[0], ref env));
        Finish(v, env);
    }

    public static void Cvtdq2ps(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < v->Bytes / 4; i++)
            F32.Store(v->Dst.Q, i, FpConvert.FromInt<F32>((int)F32.Load(v->A.Q, i), ref env));
        Finish(v, env);
    }

    public static void Cvtdq2pd(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < v->Bytes / 8; i++)
            v->Dst.Q[i] = FpConvert.FromInt<F64>((int)F32.Load(v->A.Q, i), ref env);
    }

    public static void Cvtps2dq(VecArgs* v) => SinglesToInts(v, truncate: false);

    public static void Cvttps2dq(VecArgs* v) => SinglesToInts(v, truncate: true);

    public static void Cvtpd2dq(VecArgs* v) => DoublesToInts(v, truncate: false);

    public static void Cvttpd2dq(VecArgs* v) => DoublesToInts(v, truncate: true);

    public static void Cvtsi2ss32(VecArgs* v) => FromInteger<F32>(v, (int)v->B.Q[0]);

    public static void Cvtsi2ss64(VecArgs* v) => FromInteger<F32>(v, (long)v->B.Q[0]);

    public static void Cvtsi2sd32(VecArgs* v) => FromInteger<F64>(v, (int)v->B.Q[0]);

    public static void Cvtsi2sd64(VecArgs* v) => FromInteger<F64>(v, (long)v->B.Q[0]);

    /// <summary>Half precision denormals are neither flushed nor reported.</summary>
    public static void Cvtph2ps(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        env.DenormalsAreZeros = false;
        for (var i = 0; i < v->Bytes / 4; i++)
            F32.Store(v->Dst.Q, i, FpConvert.Convert<F16, F32>(F16.Load(v->A.Q, i), ref env));
        env.Flags &= ~FpFlags.Denormal;
        Finish(v, env);
    }

    /// <summary>Imm bits 1:0 are the rounding mode unless bit 2 asks for that of MXCSR. Results are not flushed.</summary>
    public static void Cvtps2ph(VecArgs* v)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        env.FlushToZero = false;
        if ((v->Imm & 4) == 0)
            env.Rounding = (FpRounding)(v->Imm & 3);
        v->Dst = default;
        for (var i = 0; i < v->Bytes / 4; i++)
            F16.Store(v->Dst.Q, i, FpConvert.Convert<F32, F16>(F32.Load(v->A.Q, i), ref env));
        // Denormal singles are far below the smallest half: inexact even where an unmasked underflow keeps all their bits.
        if ((env.Flags & FpFlags.Denormal) != 0)
            env.Flags |= FpFlags.Inexact;
        Finish(v, env);
    }

    // Approximations to 12 bits. They are not specified to the bit: the host's own where it has them.

    public static void Rcpps(VecArgs* v)
    {
        for (var i = 0; i < v->Bytes / 4; i++)
            ((float*)v->Dst.Q)[i] = Reciprocal(((float*)v->A.Q)[i]);
    }

    public static void Rcpss(VecArgs* v)
    {
        v->Dst = v->A;
        *(float*)v->Dst.Q = Reciprocal(*(float*)v->B.Q);
    }

    public static void Rsqrtps(VecArgs* v)
    {
        for (var i = 0; i < v->Bytes / 4; i++)
            ((float*)v->Dst.Q)[i] = ReciprocalSqrt(((float*)v->A.Q)[i]);
    }

    public static void Rsqrtss(VecArgs* v)
    {
        v->Dst = v->A;
        *(float*)v->Dst.Q = ReciprocalSqrt(*(float*)v->B.Q);
    }

    private static float Reciprocal(float x)
    {
        if (Sse.IsSupported)
            return Sse.ReciprocalScalar(Vector128.CreateScalar(x)).ToScalar();
        return float.IsSubnormal(x) ? 1 / (x * 0) : Approximate(1 / x);
    }

    private static float ReciprocalSqrt(float x)
    {
        if (Sse.IsSupported)
            return Sse.ReciprocalSqrtScalar(Vector128.CreateScalar(x)).ToScalar();
        return float.IsSubnormal(x) ? 1 / (x * 0) : Approximate(1 / MathF.Sqrt(x));
    }

    /// <summary>Keeps 12 bits of the significand; denormals become zeros.</summary>
    private static float Approximate(float x) =>
        float.IsNaN(x) ? x
        : float.IsSubnormal(x) ? x * 0
        : BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(x) & ~0xFFFu);

    private static int Lanes<F>(VecArgs* v) where F : struct, IFpFormat => v->Bytes * 8 / F.Bits;

    private static void Finish(VecArgs* v, in FpEnv env) => v->Mxcsr |= env.Flags;

    private static ulong FmaLane<Op, Order, F>(VecArgs* v, int i, ref FpEnv env)
        where Op : IFmaShape where Order : IFmaOrder where F : struct, IFpFormat
    {
        ulong x = F.Load(v->A.Q, i), y = F.Load(v->B.Q, i), z = F.Load(v->C.Q, i);
        Order.Arrange(ref x, ref y, ref z);
        return FpFma.Do<F>(x, y, z, Op.NegateProduct, Op.NegatesAddend(i), ref env);
    }

    private static ulong PairSum<F>(ulong* pair, int lane, ref FpEnv env) where F : struct, IFpFormat =>
        FpAdd.Do<F>(pair[~lane & 1], pair[lane & 1], 0, ref env);

    private static void SinglesToInts(VecArgs* v, bool truncate)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        for (var i = 0; i < v->Bytes / 4; i++)
            ((int*)v->Dst.Q)[i] = FpConvert.ToInt32<F32>(F32.Load(v->A.Q, i), truncate, ref env);
        Finish(v, env);
    }

    private static void DoublesToInts(VecArgs* v, bool truncate)
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = default;
        for (var i = 0; i < v->Bytes / 8; i++)
            ((int*)v->Dst.Q)[i] = FpConvert.ToInt32<F64>(v->A.Q[i], truncate, ref env);
        Finish(v, env);
    }

    private static void FromInteger<F>(VecArgs* v, long value) where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Dst = v->A;
        F.Store(v->Dst.Q, 0, FpConvert.FromInt<F>(value, ref env));
        Finish(v, env);
    }
}
