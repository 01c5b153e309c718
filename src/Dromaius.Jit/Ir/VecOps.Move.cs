using static Dromaius.Jit.Ir.VecFeatures;
using static Dromaius.Jit.Ir.VecForm;

namespace Dromaius.Jit.Ir;

/// <summary>Rows of moves, shuffles and bitwise operations on floating-point lanes.</summary>
public static unsafe partial class VecOps
{
    private static void AddMoveRows(VecInfo?[] t)
    {
        Row(t, VecKind.Andps, Binary, 0, 1, 0x54, Sse2, Avx, &VecMoves.Pand);
        Row(t, VecKind.Andnps, Binary, 0, 1, 0x55, Sse2, Avx, &VecMoves.Pandn);
        Row(t, VecKind.Orps, Binary, 0, 1, 0x56, Sse2, Avx, &VecMoves.Por);
        Row(t, VecKind.Xorps, Binary, 0, 1, 0x57, Sse2, Avx, &VecMoves.Pxor);
        Row(t, VecKind.Movss, Binary, 0xF3, 1, 0x10, Sse2, Avx, &VecMoves.Movss, no256: true);
        Row(t, VecKind.Movsd, Binary, 0xF2, 1, 0x10, Sse2, Avx, &VecMoves.Movsd, no256: true);
        Row(t, VecKind.Movhlps, Binary, 0, 1, 0x12, Sse2, Avx, &VecMoves.Movhlps, no256: true);
        Row(t, VecKind.Movlhps, Binary, 0, 1, 0x16, Sse2, Avx, &VecMoves.Movlhps, no256: true);
        Row(t, VecKind.Movq, Unary, 0xF3, 1, 0x7E, Sse2, Avx, &VecMoves.Movq, no256: true);
        Row(t, VecKind.Unpcklps, Binary, 0, 1, 0x14, Sse2, Avx, &VecMoves.Punpckldq);
        Row(t, VecKind.Unpcklpd, Binary, 0x66, 1, 0x14, Sse2, Avx, &VecMoves.Punpcklqdq);
        Row(t, VecKind.Unpckhps, Binary, 0, 1, 0x15, Sse2, Avx, &VecMoves.Punpckhdq);
        Row(t, VecKind.Unpckhpd, Binary, 0x66, 1, 0x15, Sse2, Avx, &VecMoves.Punpckhqdq);
        Row(t, VecKind.Shufps, BinaryImm, 0, 1, 0xC6, Sse2, Avx, &VecMoves.Shufps);
        Row(t, VecKind.Shufpd, BinaryImm, 0x66, 1, 0xC6, Sse2, Avx, &VecMoves.Shufpd);
        Row(t, VecKind.Movsldup, Unary, 0xF3, 1, 0x12, Sse3, Avx, &VecMoves.Movsldup);
        Row(t, VecKind.Movshdup, Unary, 0xF3, 1, 0x16, Sse3, Avx, &VecMoves.Movshdup);
        Row(t, VecKind.Movddup, Unary, 0xF2, 1, 0x12, Sse3, Avx, &VecMoves.Movddup);
        Row(t, VecKind.Insertps, BinaryImm, 0x66, 3, 0x21, Sse41, Avx, &VecMoves.Insertps, no256: true);
        Row(t, VecKind.Blendps, BinaryImm, 0x66, 3, 0x0C, Sse41, Avx, &VecMoves.Vpblendd);
        Row(t, VecKind.Blendpd, BinaryImm, 0x66, 3, 0x0D, Sse41, Avx, &VecMoves.Blendpd);
        Row(t, VecKind.Blendvps, Blendv, 0x66, 2, 0x14, Sse41, Avx, &VecMoves.Blendvps, vexOpcode: 0x4A);
        Row(t, VecKind.Blendvpd, Blendv, 0x66, 2, 0x15, Sse41, Avx, &VecMoves.Blendvpd, vexOpcode: 0x4B);
        Row(t, VecKind.Vbroadcastss, Unary, 0x66, 2, 0x18, Avx2, Avx2, &VecMoves.Vpbroadcastd, vexOnly: true);
        Row(t, VecKind.Vbroadcastsd, Unary, 0x66, 2, 0x19, Avx2, Avx2, &VecMoves.Vpbroadcastq, vexOnly: true);
        Row(t, VecKind.Vpermilps, Binary, 0x66, 2, 0x0C, Avx, Avx, &VecMoves.Vpermilps, vexOnly: true);
        Row(t, VecKind.Vpermilpd, Binary, 0x66, 2, 0x0D, Avx, Avx, &VecMoves.Vpermilpd, vexOnly: true);
        Row(t, VecKind.VpermilpsI, UnaryImm, 0x66, 3, 0x04, Avx, Avx, &VecMoves.Pshufd, vexOnly: true);
        Row(t, VecKind.VpermilpdI, UnaryImm, 0x66, 3, 0x05, Avx, Avx, &VecMoves.VpermilpdI, vexOnly: true);
        Row(t, VecKind.Vperm2f128, BinaryImm, 0x66, 3, 0x06, Avx, Avx, &VecMoves.Vperm2f128, vexOnly: true);
        Row(t, VecKind.Vperm2i128, BinaryImm, 0x66, 3, 0x46, Avx2, Avx2, &VecMoves.Vperm2f128, vexOnly: true);
        Row(t, VecKind.Vpbroadcastb, Unary, 0x66, 2, 0x78, Avx2, Avx2, &VecMoves.Vpbroadcastb, vexOnly: true);
        Row(t, VecKind.Vpbroadcastw, Unary, 0x66, 2, 0x79, Avx2, Avx2, &VecMoves.Vpbroadcastw, vexOnly: true);
        Row(t, VecKind.Vpbroadcastd, Unary, 0x66, 2, 0x58, Avx2, Avx2, &VecMoves.Vpbroadcastd, vexOnly: true);
        Row(t, VecKind.Vpbroadcastq, Unary, 0x66, 2, 0x59, Avx2, Avx2, &VecMoves.Vpbroadcastq, vexOnly: true);
        Row(t, VecKind.Vpermd, Binary, 0x66, 2, 0x36, Avx2, Avx2, &VecMoves.Vpermd, vexOnly: true);
        Row(t, VecKind.Vpermps, Binary, 0x66, 2, 0x16, Avx2, Avx2, &VecMoves.Vpermd, vexOnly: true);
        Row(t, VecKind.Vpermq, UnaryImm, 0x66, 3, 0x00, Avx2, Avx2, &VecMoves.Vpermq, vexOnly: true, w: true);
        Row(t, VecKind.Vpermpd, UnaryImm, 0x66, 3, 0x01, Avx2, Avx2, &VecMoves.Vpermq, vexOnly: true, w: true);
        Row(t, VecKind.Vpblendd, BinaryImm, 0x66, 3, 0x02, Avx2, Avx2, &VecMoves.Vpblendd, vexOnly: true);
    }

    private static void Row(VecInfo?[] t, VecKind kind, VecForm form, byte prefix, byte map, byte opcode, VecFeatures feature,
        VecFeatures feature256, delegate*<VecArgs*, void> run, bool w = false, byte group = 0, byte vexOpcode = 0,
        bool vexOnly = false, bool legacyOnly = false, bool no256 = false, bool mxcsr = false) =>
        Add(t, new VecInfo
        {
            Kind = kind, Form = form, Prefix = prefix, Map = map, Opcode = opcode, W = w, Group = group,
            VexOpcode = vexOpcode, VexOnly = vexOnly, LegacyOnly = legacyOnly, Feature = feature, Feature256 = feature256,
            No256 = no256, UsesMxcsr = mxcsr, Run = run,
        });
}
