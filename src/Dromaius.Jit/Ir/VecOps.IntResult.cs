using static Dromaius.Jit.Ir.VecFeatures;
using static Dromaius.Jit.Ir.VecForm;

namespace Dromaius.Jit.Ir;

/// <summary>Rows of operations whose result is an integer.</summary>
public static unsafe partial class VecOps
{
    private static void AddIntResultRows(VecInfo?[] t)
    {
        Row(t, VecKind.Movmskps, ToGpr, 0, 1, 0x50, Sse2, Avx, &VecIntResults.Movmskps);
        Row(t, VecKind.Movmskpd, ToGpr, 0x66, 1, 0x50, Sse2, Avx, &VecIntResults.Movmskpd);
        Row(t, VecKind.Pmovmskb, ToGpr, 0x66, 1, 0xD7, Sse2, Avx2, &VecIntResults.Pmovmskb);
        Row(t, VecKind.Pextrb, ToGprImmStore, 0x66, 3, 0x14, Sse41, Avx, &VecIntResults.Pextrb, no256: true);
        Row(t, VecKind.Pextrw, ToGprImm, 0x66, 1, 0xC5, Sse2, Avx, &VecIntResults.Pextrw, no256: true);
        Row(t, VecKind.Pextrd, ToGprImmStore, 0x66, 3, 0x16, Sse41, Avx, &VecIntResults.Pextrd, no256: true);
        Row(t, VecKind.Pextrq, ToGprImmStore, 0x66, 3, 0x16, Sse41, Avx, &VecIntResults.Pextrq, no256: true, w: true);
        Row(t, VecKind.Cvtss2si32, ToGpr, 0xF3, 1, 0x2D, Sse2, Avx, &VecIntResults.Cvtss2si32, no256: true, mxcsr: true);
        Row(t, VecKind.Cvtss2si64, ToGpr, 0xF3, 1, 0x2D, Sse2, Avx, &VecIntResults.Cvtss2si64, no256: true, mxcsr: true,
            w: true);
        Row(t, VecKind.Cvtsd2si32, ToGpr, 0xF2, 1, 0x2D, Sse2, Avx, &VecIntResults.Cvtsd2si32, no256: true, mxcsr: true);
        Row(t, VecKind.Cvtsd2si64, ToGpr, 0xF2, 1, 0x2D, Sse2, Avx, &VecIntResults.Cvtsd2si64, no256: true, mxcsr: true,
            w: true);
        Row(t, VecKind.Cvttss2si32, ToGpr, 0xF3, 1, 0x2C, Sse2, Avx, &VecIntResults.Cvttss2si32, no256: true, mxcsr: true);
        Row(t, VecKind.Cvttss2si64, ToGpr, 0xF3, 1, 0x2C, Sse2, Avx, &VecIntResults.Cvttss2si64, no256: true, mxcsr: true,
            w: true);
        Row(t, VecKind.Cvttsd2si32, ToGpr, 0xF2, 1, 0x2C, Sse2, Avx, &VecIntResults.Cvttsd2si32, no256: true, mxcsr: true);
        Row(t, VecKind.Cvttsd2si64, ToGpr, 0xF2, 1, 0x2C, Sse2, Avx, &VecIntResults.Cvttsd2si64, no256: true, mxcsr: true,
            w: true);
        Row(t, VecKind.Comiss, ToFlags, 0, 1, 0x2F, Sse2, Avx, &VecIntResults.Comiss, no256: true, mxcsr: true);
        Row(t, VecKind.Comisd, ToFlags, 0x66, 1, 0x2F, Sse2, Avx, &VecIntResults.Comisd, no256: true, mxcsr: true);
        Row(t, VecKind.Ucomiss, ToFlags, 0, 1, 0x2E, Sse2, Avx, &VecIntResults.Ucomiss, no256: true, mxcsr: true);
        Row(t, VecKind.Ucomisd, ToFlags, 0x66, 1, 0x2E, Sse2, Avx, &VecIntResults.Ucomisd, no256: true, mxcsr: true);
        Row(t, VecKind.Ptest, ToFlags, 0x66, 2, 0x17, Sse41, Avx, &VecIntResults.Ptest);
        Row(t, VecKind.Vtestps, ToFlags, 0x66, 2, 0x0E, Avx, Avx, &VecIntResults.Vtestps, vexOnly: true);
        Row(t, VecKind.Vtestpd, ToFlags, 0x66, 2, 0x0F, Avx, Avx, &VecIntResults.Vtestpd, vexOnly: true);
    }
}
