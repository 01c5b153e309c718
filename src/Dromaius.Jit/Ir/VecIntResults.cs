using System.Runtime.Intrinsics;
using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Jit.Ir;

/// <summary>C# semantics of vector operations with an integer result (Intel SDM volume 2).</summary>
internal static unsafe class VecIntResults
{
    private const uint Cf = 1, Pf = 4, Zf = 0x40;

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

    public static void Cvtss2si32(VecArgs* v) => v->Int = ToInt32<F32>(v, truncate: false);

    public static void Cvtss2si64(VecArgs* v) => v->Int = ToInt64<F32>(v, truncate: false);

    public static void Cvtsd2si32(VecArgs* v) => v->Int = ToInt32<F64>(v, truncate: false);

    public static void Cvtsd2si64(VecArgs* v) => v->Int = ToInt64<F64>(v, truncate: false);

    public static void Cvttss2si32(VecArgs* v) => v->Int = ToInt32<F32>(v, truncate: true);

    public static void Cvttss2si64(VecArgs* v) => v->Int = ToInt64<F32>(v, truncate: true);

    public static void Cvttsd2si32(VecArgs* v) => v->Int = ToInt32<F64>(v, truncate: true);

    public static void Cvttsd2si64(VecArgs* v) => v->Int = ToInt64<F64>(v, truncate: true);

    public static void Comiss(VecArgs* v) => Compare<F32>(v, signalQuiet: true);

    public static void Comisd(VecArgs* v) => Compare<F64>(v, signalQuiet: true);

    public static void Ucomiss(VecArgs* v) => Compare<F32>(v, signalQuiet: false);

    public static void Ucomisd(VecArgs* v) => Compare<F64>(v, signalQuiet: false);

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

    private static ulong ToInt32<F>(VecArgs* v, bool truncate) where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        var result = (uint)FpConvert.ToInt32<F>(F.Load(v->A.Q, 0), truncate, ref env);
        v->Mxcsr |= env.Flags;
        return result;
    }

    private static ulong ToInt64<F>(VecArgs* v, bool truncate) where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        var result = (ulong)FpConvert.ToInt64<F>(F.Load(v->A.Q, 0), truncate, ref env);
        v->Mxcsr |= env.Flags;
        return result;
    }

    private static void Compare<F>(VecArgs* v, bool signalQuiet) where F : struct, IFpFormat
    {
        var env = FpEnv.FromMxcsr(v->Mxcsr);
        v->Int = FpCompare.Order<F>(F.Load(v->A.Q, 0), F.Load(v->B.Q, 0), signalQuiet, ref env) switch
        {
            FpOrder.Less => Cf,
            FpOrder.Equal => Zf,
            FpOrder.Greater => 0,
            _ => Zf | Pf | Cf,
        };
        v->Mxcsr |= env.Flags;
    }
}
