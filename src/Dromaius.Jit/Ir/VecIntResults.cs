using System.Runtime.Intrinsics;

namespace Dromaius.Jit.Ir;

/// <summary>C# semantics of vector operations with an integer result (Intel SDM volume 2).</summary>
internal static unsafe class VecIntResults
{
    private const uint Cf = 1, Zf = 0x40;

    public static void Movmskps(VecArgs* v) => v->Int = v->Av<uint>().ExtractMostSignificantBits() & (1u << v->Bytes / 4) - 1;

    public static void Movmskpd(VecArgs* v) => v->Int = v->Av<ulong>().ExtractMostSignificantBits() & (1u << v->Bytes / 8) - 1;

    public static void Pmovmskb(VecArgs* v) =>
        v->Int = v->Av<byte>().ExtractMostSignificantBits() & (uint)((1ul << v->Bytes) - 1);

    public static void Pextrb(VecArgs* v) => v->Int = ((byte*)v->A.Q)[v->Imm & 15];

    public static void Pextrw(VecArgs* v) => v->Int = ((ushort*)v->A.Q)[v->Imm & 7];

    public static void Pextrd(VecArgs* v) => v->Int = ((uint*)v->A.Q)[v->Imm & 3];

    public static void Pextrq(VecArgs* v) => v->Int = v->A.Q[v->Imm & 1];

    public static void Ptest(VecArgs* v) => Test(v, ulong.MaxValue);

    public static void Vtestps(VecArgs* v) => Test(v, 0x8000000080000000);

    public static void Vtestpd(VecArgs* v) => Test(v, 0x8000000000000000);

    /// <summary>ZF: no bit of A and B; CF: no bit of B outside A.</summary>
    private static void Test(VecArgs* v, ulong mask)
    {
        ulong both = 0, outside = 0;
        for (var i = 0; i < v->Bytes / 8; i++)
        {
            both |= v->A.Q[i] & v->B.Q[i] & mask;
            outside |= ~v->A.Q[i] & v->B.Q[i] & mask;
        }

        v->Int = (both == 0 ? Zf : 0) | (outside == 0 ? Cf : 0);
    }
}
