using Dromaius.Jit.Ir.SoftFloat;
using static Dromaius.Jit.Ir.VecForm;

namespace Dromaius.Jit.Ir;

/// <summary>Rows of floating-point arithmetic and conversions.</summary>
public static unsafe partial class VecOps
{
    private static void AddFloatRows(VecInfo?[] t)
    {
        Fp4(t, VecKind.Addps, 0x58, Binary, &VecFloat.Packed<FpAdd, F32>, &VecFloat.Packed<FpAdd, F64>,
            &VecFloat.Scalar<FpAdd, F32>, &VecFloat.Scalar<FpAdd, F64>);
        Fp4(t, VecKind.Subps, 0x5C, Binary, &VecFloat.Packed<FpSub, F32>, &VecFloat.Packed<FpSub, F64>,
            &VecFloat.Scalar<FpSub, F32>, &VecFloat.Scalar<FpSub, F64>);
        Fp4(t, VecKind.Mulps, 0x59, Binary, &VecFloat.Packed<FpMul, F32>, &VecFloat.Packed<FpMul, F64>,
            &VecFloat.Scalar<FpMul, F32>, &VecFloat.Scalar<FpMul, F64>);
        Fp4(t, VecKind.Divps, 0x5E, Binary, &VecFloat.Packed<FpDiv, F32>, &VecFloat.Packed<FpDiv, F64>,
            &VecFloat.Scalar<FpDiv, F32>, &VecFloat.Scalar<FpDiv, F64>);
        Fp4(t, VecKind.Minps, 0x5D, Binary, &VecFloat.Packed<FpMin, F32>, &VecFloat.Packed<FpMin, F64>,
            &VecFloat.Scalar<FpMin, F32>, &VecFloat.Scalar<FpMin, F64>);
        Fp4(t, VecKind.Maxps, 0x5F, Binary, &VecFloat.Packed<FpMax, F32>, &VecFloat.Packed<FpMax, F64>,
            &VecFloat.Scalar<FpMax, F32>, &VecFloat.Scalar<FpMax, F64>);
        Fp4(t, VecKind.Sqrtps, 0x51, Unary, &VecFloat.PackedUnary<FpSqrt, F32>, &VecFloat.PackedUnary<FpSqrt, F64>,
            &VecFloat.ScalarUnary<FpSqrt, F32>, &VecFloat.ScalarUnary<FpSqrt, F64>);
        Fp4(t, VecKind.Cmpps, 0xC2, BinaryImm, &VecFloat.Packed<FpCompare, F32>, &VecFloat.Packed<FpCompare, F64>,
            &VecFloat.Scalar<FpCompare, F32>, &VecFloat.Scalar<FpCompare, F64>, maxLegacyImm: 7);

        Fp(t, VecKind.Rcpps, 0, 0x53, Unary, &VecFloat.Rcpps, mxcsr: false);
        Fp(t, VecKind.Rcpss, 0xF3, 0x53, Binary, &VecFloat.Rcpss, mxcsr: false, no256: true);
        Fp(t, VecKind.Rsqrtps, 0, 0x52, Unary, &VecFloat.Rsqrtps, mxcsr: false);
        Fp(t, VecKind.Rsqrtss, 0xF3, 0x52, Binary, &VecFloat.Rsqrtss, mxcsr: false, no256: true);

        Fp(t, VecKind.Addsubps, 0xF2, 0xD0, Binary, &VecFloat.AddSub<F32>, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Addsubpd, 0x66, 0xD0, Binary, &VecFloat.AddSub<F64>, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Haddps, 0xF2, 0x7C, Binary, &VecFloat.Horizontal<FpAdd, F32>, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Haddpd, 0x66, 0x7C, Binary, &VecFloat.Horizontal<FpAdd, F64>, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Hsubps, 0xF2, 0x7D, Binary, &VecFloat.Horizontal<FpSub, F32>, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Hsubpd, 0x66, 0x7D, Binary, &VecFloat.Horizontal<FpSub, F64>, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Dpps, 0x66, 0x40, BinaryImm, &VecFloat.DotProduct<F32>, feature: VecFeatures.Sse41, map: 3);
        Fp(t, VecKind.Dppd, 0x66, 0x41, BinaryImm, &VecFloat.DotProduct<F64>, feature: VecFeatures.Sse41, map: 3, no256: true);
        Fp(t, VecKind.Roundps, 0x66, 0x08, UnaryImm, &VecFloat.PackedUnary<FpRound, F32>, feature: VecFeatures.Sse41, map: 3);
        Fp(t, VecKind.Roundpd, 0x66, 0x09, UnaryImm, &VecFloat.PackedUnary<FpRound, F64>, feature: VecFeatures.Sse41, map: 3);
        Fp(t, VecKind.Roundss, 0x66, 0x0A, BinaryImm, &VecFloat.ScalarUnary<FpRound, F32>, feature: VecFeatures.Sse41, map: 3,
            no256: true);
        Fp(t, VecKind.Roundsd, 0x66, 0x0B, BinaryImm, &VecFloat.ScalarUnary<FpRound, F64>, feature: VecFeatures.Sse41, map: 3,
            no256: true);

        Fp(t, VecKind.Cvtps2pd, 0, 0x5A, Unary, &VecFloat.Cvtps2pd);
        Fp(t, VecKind.Cvtpd2ps, 0x66, 0x5A, Unary, &VecFloat.Cvtpd2ps);
        Fp(t, VecKind.Cvtss2sd, 0xF3, 0x5A, Binary, &VecFloat.Cvtss2sd, no256: true);
        Fp(t, VecKind.Cvtsd2ss, 0xF2, 0x5A, Binary, &VecFloat.Cvtsd2ss, no256: true);
        Fp(t, VecKind.Cvtdq2ps, 0, 0x5B, Unary, &VecFloat.Cvtdq2ps);
        Fp(t, VecKind.Cvtps2dq, 0x66, 0x5B, Unary, &VecFloat.Cvtps2dq);
        Fp(t, VecKind.Cvttps2dq, 0xF3, 0x5B, Unary, &VecFloat.Cvttps2dq);
        Fp(t, VecKind.Cvtdq2pd, 0xF3, 0xE6, Unary, &VecFloat.Cvtdq2pd, mxcsr: false);
        Fp(t, VecKind.Cvtpd2dq, 0xF2, 0xE6, Unary, &VecFloat.Cvtpd2dq);
        Fp(t, VecKind.Cvttpd2dq, 0x66, 0xE6, Unary, &VecFloat.Cvttpd2dq);
        Fp(t, VecKind.Cvtph2ps, 0x66, 0x13, Unary, &VecFloat.Cvtph2ps, feature: VecFeatures.F16c, map: 2, vexOnly: true);
        Fp(t, VecKind.Cvtps2ph, 0x66, 0x1D, UnaryImmStore, &VecFloat.Cvtps2ph, feature: VecFeatures.F16c, map: 3, vexOnly: true);
        Fp(t, VecKind.Cvtsi2ss32, 0xF3, 0x2A, FromGpr, &VecFloat.Cvtsi2ss32, no256: true);
        Fp(t, VecKind.Cvtsi2ss64, 0xF3, 0x2A, FromGpr, &VecFloat.Cvtsi2ss64, no256: true, w: true);
        Fp(t, VecKind.Cvtsi2sd32, 0xF2, 0x2A, FromGpr, &VecFloat.Cvtsi2sd32, no256: true, mxcsr: false);
        Fp(t, VecKind.Cvtsi2sd64, 0xF2, 0x2A, FromGpr, &VecFloat.Cvtsi2sd64, no256: true, w: true);
    }

    /// <summary>The four fused multiply-add shapes in their three operand orders (SDM: 132, 213, 231).</summary>
    private static void AddFmaRows(VecInfo?[] t)
    {
        Fma(t, VecKind.Vfmadd132ps, 0x98, &VecFloat.Fma<Madd, Order132, F32>, &VecFloat.Fma<Madd, Order132, F64>,
            &VecFloat.FmaScalar<Madd, Order132, F32>, &VecFloat.FmaScalar<Madd, Order132, F64>);
        Fma(t, VecKind.Vfmadd213ps, 0xA8, &VecFloat.Fma<Madd, Order213, F32>, &VecFloat.Fma<Madd, Order213, F64>,
            &VecFloat.FmaScalar<Madd, Order213, F32>, &VecFloat.FmaScalar<Madd, Order213, F64>);
        Fma(t, VecKind.Vfmadd231ps, 0xB8, &VecFloat.Fma<Madd, Order231, F32>, &VecFloat.Fma<Madd, Order231, F64>,
            &VecFloat.FmaScalar<Madd, Order231, F32>, &VecFloat.FmaScalar<Madd, Order231, F64>);
        Fma(t, VecKind.Vfmsub132ps, 0x9A, &VecFloat.Fma<Msub, Order132, F32>, &VecFloat.Fma<Msub, Order132, F64>,
            &VecFloat.FmaScalar<Msub, Order132, F32>, &VecFloat.FmaScalar<Msub, Order132, F64>);
        Fma(t, VecKind.Vfmsub213ps, 0xAA, &VecFloat.Fma<Msub, Order213, F32>, &VecFloat.Fma<Msub, Order213, F64>,
            &VecFloat.FmaScalar<Msub, Order213, F32>, &VecFloat.FmaScalar<Msub, Order213, F64>);
        Fma(t, VecKind.Vfmsub231ps, 0xBA, &VecFloat.Fma<Msub, Order231, F32>, &VecFloat.Fma<Msub, Order231, F64>,
            &VecFloat.FmaScalar<Msub, Order231, F32>, &VecFloat.FmaScalar<Msub, Order231, F64>);
        Fma(t, VecKind.Vfnmadd132ps, 0x9C, &VecFloat.Fma<Nmadd, Order132, F32>, &VecFloat.Fma<Nmadd, Order132, F64>,
            &VecFloat.FmaScalar<Nmadd, Order132, F32>, &VecFloat.FmaScalar<Nmadd, Order132, F64>);
        Fma(t, VecKind.Vfnmadd213ps, 0xAC, &VecFloat.Fma<Nmadd, Order213, F32>, &VecFloat.Fma<Nmadd, Order213, F64>,
            &VecFloat.FmaScalar<Nmadd, Order213, F32>, &VecFloat.FmaScalar<Nmadd, Order213, F64>);
        Fma(t, VecKind.Vfnmadd231ps, 0xBC, &VecFloat.Fma<Nmadd, Order231, F32>, &VecFloat.Fma<Nmadd, Order231, F64>,
            &VecFloat.FmaScalar<Nmadd, Order231, F32>, &VecFloat.FmaScalar<Nmadd, Order231, F64>);
        Fma(t, VecKind.Vfnmsub132ps, 0x9E, &VecFloat.Fma<Nmsub, Order132, F32>, &VecFloat.Fma<Nmsub, Order132, F64>,
            &VecFloat.FmaScalar<Nmsub, Order132, F32>, &VecFloat.FmaScalar<Nmsub, Order132, F64>);
        Fma(t, VecKind.Vfnmsub213ps, 0xAE, &VecFloat.Fma<Nmsub, Order213, F32>, &VecFloat.Fma<Nmsub, Order213, F64>,
            &VecFloat.FmaScalar<Nmsub, Order213, F32>, &VecFloat.FmaScalar<Nmsub, Order213, F64>);
        Fma(t, VecKind.Vfnmsub231ps, 0xBE, &VecFloat.Fma<Nmsub, Order231, F32>, &VecFloat.Fma<Nmsub, Order231, F64>,
            &VecFloat.FmaScalar<Nmsub, Order231, F32>, &VecFloat.FmaScalar<Nmsub, Order231, F64>);

        Fma(t, VecKind.Vfmaddsub132ps, 0x96, &VecFloat.Fma<MaddSub, Order132, F32>, &VecFloat.Fma<MaddSub, Order132, F64>);
        Fma(t, VecKind.Vfmaddsub213ps, 0xA6, &VecFloat.Fma<MaddSub, Order213, F32>, &VecFloat.Fma<MaddSub, Order213, F64>);
        Fma(t, VecKind.Vfmaddsub231ps, 0xB6, &VecFloat.Fma<MaddSub, Order231, F32>, &VecFloat.Fma<MaddSub, Order231, F64>);
        Fma(t, VecKind.Vfmsubadd132ps, 0x97, &VecFloat.Fma<MsubAdd, Order132, F32>, &VecFloat.Fma<MsubAdd, Order132, F64>);
        Fma(t, VecKind.Vfmsubadd213ps, 0xA7, &VecFloat.Fma<MsubAdd, Order213, F32>, &VecFloat.Fma<MsubAdd, Order213, F64>);
        Fma(t, VecKind.Vfmsubadd231ps, 0xB7, &VecFloat.Fma<MsubAdd, Order231, F32>, &VecFloat.Fma<MsubAdd, Order231, F64>);
    }

    /// <summary>Four kinds in the order ps, pd, ss, sd. Scalars take a second operand for their upper lanes.</summary>
    private static void Fp4(VecInfo?[] t, VecKind ps, byte opcode, VecForm form, delegate*<VecArgs*, void> runPs,
        delegate*<VecArgs*, void> runPd, delegate*<VecArgs*, void> runSs, delegate*<VecArgs*, void> runSd,
        byte maxLegacyImm = 255)
    {
        var scalar = form == Unary ? Binary : form;
        Fp(t, ps, 0, opcode, form, runPs, maxLegacyImm: maxLegacyImm);
        Fp(t, ps + 1, 0x66, opcode, form, runPd, maxLegacyImm: maxLegacyImm);
        Fp(t, ps + 2, 0xF3, opcode, scalar, runSs, no256: true, maxLegacyImm: maxLegacyImm);
        Fp(t, ps + 3, 0xF2, opcode, scalar, runSd, no256: true, maxLegacyImm: maxLegacyImm);
    }

    private static void Fma(VecInfo?[] t, VecKind ps, byte opcode, delegate*<VecArgs*, void> runPs,
        delegate*<VecArgs*, void> runPd, delegate*<VecArgs*, void> runSs = null, delegate*<VecArgs*, void> runSd = null)
    {
        Fp(t, ps, 0x66, opcode, Ternary, runPs, feature: VecFeatures.Fma, map: 2, vexOnly: true);
        Fp(t, ps + 1, 0x66, opcode, Ternary, runPd, feature: VecFeatures.Fma, map: 2, vexOnly: true, w: true);
        if (runSs == null)
            return;
        var scalar = (byte)(opcode + 1);
        Fp(t, ps + 2, 0x66, scalar, Ternary, runSs, feature: VecFeatures.Fma, map: 2, vexOnly: true, no256: true);
        Fp(t, ps + 3, 0x66, scalar, Ternary, runSd, feature: VecFeatures.Fma, map: 2, vexOnly: true, w: true, no256: true);
    }

    private static void Fp(VecInfo?[] t, VecKind kind, byte prefix, byte opcode, VecForm form, delegate*<VecArgs*, void> run,
        VecFeatures feature = VecFeatures.Sse2, byte map = 1, bool w = false, bool mxcsr = true, bool no256 = false,
        bool vexOnly = false, byte maxLegacyImm = 255) =>
        Add(t, new VecInfo
        {
            Kind = kind, Form = form, Prefix = prefix, Map = map, Opcode = opcode, W = w,
            VexOnly = vexOnly, Feature = feature, Feature256 = feature | VecFeatures.Avx, No256 = no256, UsesMxcsr = mxcsr,
            MaxLegacyImm = maxLegacyImm, Run = run,
        });
}
