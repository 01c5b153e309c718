
using static Dromaius.Jit.Ir.VecForm;

namespace Dromaius.Jit.Ir;

/// <summary>Rows of floating-point arithmetic and conversions.</summary>
public static unsafe partial class VecOps
{
    private static void AddFloatRows(VecInfo?[] t)
    {
        Fp4(t, VecKind.Addps, 0x58, Binary, null, null,
            null, null);
        Fp4(t, VecKind.Subps, 0x5C, Binary, null, null,
            null, null);
        Fp4(t, VecKind.Mulps, 0x59, Binary, null, null,
            null, null);
        Fp4(t, VecKind.Divps, 0x5E, Binary, null, null,
            null, null);
        Fp4(t, VecKind.Minps, 0x5D, Binary, null, null,
            null, null);
        Fp4(t, VecKind.Maxps, 0x5F, Binary, null, null,
            null, null);
        Fp4(t, VecKind.Sqrtps, 0x51, Unary, null, null,
            null, null);
        Fp4(t, VecKind.Cmpps, 0xC2, BinaryImm, null, null,
            null, null, maxLegacyImm: 7);

        Fp(t, VecKind.Rcpps, 0, 0x53, Unary, null, mxcsr: false);
        Fp(t, VecKind.Rcpss, 0xF3, 0x53, Binary, null, mxcsr: false, no256: true);
        Fp(t, VecKind.Rsqrtps, 0, 0x52, Unary, null, mxcsr: false);
        Fp(t, VecKind.Rsqrtss, 0xF3, 0x52, Binary, null, mxcsr: false, no256: true);

        Fp(t, VecKind.Addsubps, 0xF2, 0xD0, Binary, null, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Addsubpd, 0x66, 0xD0, Binary, null, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Haddps, 0xF2, 0x7C, Binary, null, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Haddpd, 0x66, 0x7C, Binary, null, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Hsubps, 0xF2, 0x7D, Binary, null, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Hsubpd, 0x66, 0x7D, Binary, null, feature: VecFeatures.Sse3);
        Fp(t, VecKind.Dpps, 0x66, 0x40, BinaryImm, null, feature: VecFeatures.Sse41, map: 3);
        Fp(t, VecKind.Dppd, 0x66, 0x41, BinaryImm, null, feature: VecFeatures.Sse41, map: 3, no256: true);
        Fp(t, VecKind.Roundps, 0x66, 0x08, UnaryImm, null, feature: VecFeatures.Sse41, map: 3);
        Fp(t, VecKind.Roundpd, 0x66, 0x09, UnaryImm, null, feature: VecFeatures.Sse41, map: 3);
        Fp(t, VecKind.Roundss, 0x66, 0x0A, BinaryImm, null, feature: VecFeatures.Sse41, map: 3,
            no256: true);
        Fp(t, VecKind.Roundsd, 0x66, 0x0B, BinaryImm, null, feature: VecFeatures.Sse41, map: 3,
            no256: true);

        Fp(t, VecKind.Cvtps2pd, 0, 0x5A, Unary, null);
        Fp(t, VecKind.Cvtpd2ps, 0x66, 0x5A, Unary, null);
        Fp(t, VecKind.Cvtss2sd, 0xF3, 0x5A, Binary, null, no256: true);
        Fp(t, VecKind.Cvtsd2ss, 0xF2, 0x5A, Binary, null, no256: true);
        Fp(t, VecKind.Cvtdq2ps, 0, 0x5B, Unary, null);
        Fp(t, VecKind.Cvtps2dq, 0x66, 0x5B, Unary, null);
        Fp(t, VecKind.Cvttps2dq, 0xF3, 0x5B, Unary, null);
        Fp(t, VecKind.Cvtdq2pd, 0xF3, 0xE6, Unary, null, mxcsr: false);
        Fp(t, VecKind.Cvtpd2dq, 0xF2, 0xE6, Unary, null);
        Fp(t, VecKind.Cvttpd2dq, 0x66, 0xE6, Unary, null);
        Fp(t, VecKind.Cvtph2ps, 0x66, 0x13, Unary, null, feature: VecFeatures.F16c, map: 2, vexOnly: true);
        Fp(t, VecKind.Cvtps2ph, 0x66, 0x1D, UnaryImmStore, null, feature: VecFeatures.F16c, map: 3, vexOnly: true);
        Fp(t, VecKind.Cvtsi2ss32, 0xF3, 0x2A, FromGpr, null, no256: true);
        Fp(t, VecKind.Cvtsi2ss64, 0xF3, 0x2A, FromGpr, null, no256: true, w: true);
        Fp(t, VecKind.Cvtsi2sd32, 0xF2, 0x2A, FromGpr, null, no256: true, mxcsr: false);
        Fp(t, VecKind.Cvtsi2sd64, 0xF2, 0x2A, FromGpr, null, no256: true, w: true);
    }

    /// <summary>The four fused multiply-add shapes in their three operand orders (SDM: 132, 213, 231).</summary>
    private static void AddFmaRows(VecInfo?[] t)
    {
        Fma(t, VecKind.Vfmadd132ps, 0x98, null, null,
            null, null);
        Fma(t, VecKind.Vfmadd213ps, 0xA8, null, null,
            null, null);
        Fma(t, VecKind.Vfmadd231ps, 0xB8, null, null,
            null, null);
        Fma(t, VecKind.Vfmsub132ps, 0x9A, null, null,
            null, null);
        Fma(t, VecKind.Vfmsub213ps, 0xAA, null, null,
            null, null);
        Fma(t, VecKind.Vfmsub231ps, 0xBA, null, null,
            null, null);
        Fma(t, VecKind.Vfnmadd132ps, 0x9C, null, null,
            null, null);
        Fma(t, VecKind.Vfnmadd213ps, 0xAC, null, null,
            null, null);
        Fma(t, VecKind.Vfnmadd231ps, 0xBC, null, null,
            null, null);
        Fma(t, VecKind.Vfnmsub132ps, 0x9E, null, null,
            null, null);
        Fma(t, VecKind.Vfnmsub213ps, 0xAE, null, null,
            null, null);
        Fma(t, VecKind.Vfnmsub231ps, 0xBE, null, null,
            null, null);

        Fma(t, VecKind.Vfmaddsub132ps, 0x96, null, null);
        Fma(t, VecKind.Vfmaddsub213ps, 0xA6, null, null);
        Fma(t, VecKind.Vfmaddsub231ps, 0xB6, null, null);
        Fma(t, VecKind.Vfmsubadd132ps, 0x97, null, null);
        Fma(t, VecKind.Vfmsubadd213ps, 0xA7, null, null);
        Fma(t, VecKind.Vfmsubadd231ps, 0xB7, null, null);
    }

    /// <summary>Four kinds in the order ps, pd, ss, sd. Scalars take a second operand for their upper lanes.</summary>
    private static void Fp4(VecInfo?[] t, VecKind ps, byte opcode, VecForm form, delegate*<VecArgs*, void> runPs,
        delegate*<VecArgs*, void> runPd, delegate*<VecArgs*, void> runSs, delegate*<VecArgs*, void> runSd, byte maxLegacyImm = 255)
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
            Kind = kind, Name = NameOf(kind), Form = form, Prefix = prefix, Map = map, Opcode = opcode, W = w,
            VexOnly = vexOnly, Feature = feature, Feature256 = feature | VecFeatures.Avx, No256 = no256, UsesMxcsr = mxcsr,
            MaxLegacyImm = maxLegacyImm, Run = run,
        });
}
