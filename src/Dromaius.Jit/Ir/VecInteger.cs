using System.Runtime.Intrinsics;

namespace Dromaius.Jit.Ir;

/// <summary>C# semantics of integer lanes (Intel SDM volume 2).</summary>
internal static unsafe class VecInteger
{
    public static void Paddb(VecArgs* v) => v->Set(v->Av<byte>() + v->Bv<byte>());

    public static void Paddw(VecArgs* v) => v->Set(v->Av<ushort>() + v->Bv<ushort>());

    public static void Paddd(VecArgs* v) => v->Set(v->Av<uint>() + v->Bv<uint>());

    public static void Paddq(VecArgs* v) => v->Set(v->Av<ulong>() + v->Bv<ulong>());

    public static void Psubb(VecArgs* v) => v->Set(v->Av<byte>() - v->Bv<byte>());

    public static void Psubw(VecArgs* v) => v->Set(v->Av<ushort>() - v->Bv<ushort>());

    public static void Psubd(VecArgs* v) => v->Set(v->Av<uint>() - v->Bv<uint>());

    public static void Psubq(VecArgs* v) => v->Set(v->Av<ulong>() - v->Bv<ulong>());

    public static void Pcmpeqb(VecArgs* v) => v->Set(Vector256.Equals(v->Av<byte>(), v->Bv<byte>()));

    public static void Pcmpeqw(VecArgs* v) => v->Set(Vector256.Equals(v->Av<ushort>(), v->Bv<ushort>()));

    public static void Pcmpeqd(VecArgs* v) => v->Set(Vector256.Equals(v->Av<uint>(), v->Bv<uint>()));

    public static void Pcmpeqq(VecArgs* v) => v->Set(Vector256.Equals(v->Av<ulong>(), v->Bv<ulong>()));

    public static void Pcmpgtb(VecArgs* v) => v->Set(Vector256.GreaterThan(v->Av<sbyte>(), v->Bv<sbyte>()));

    public static void Pcmpgtw(VecArgs* v) => v->Set(Vector256.GreaterThan(v->Av<short>(), v->Bv<short>()));

    public static void Pcmpgtd(VecArgs* v) => v->Set(Vector256.GreaterThan(v->Av<int>(), v->Bv<int>()));

    public static void Pcmpgtq(VecArgs* v) => v->Set(Vector256.GreaterThan(v->Av<long>(), v->Bv<long>()));

    public static void Pminub(VecArgs* v) => v->Set(Vector256.Min(v->Av<byte>(), v->Bv<byte>()));

    public static void Pminuw(VecArgs* v) => v->Set(Vector256.Min(v->Av<ushort>(), v->Bv<ushort>()));

    public static void Pminud(VecArgs* v) => v->Set(Vector256.Min(v->Av<uint>(), v->Bv<uint>()));

    public static void Pminsb(VecArgs* v) => v->Set(Vector256.Min(v->Av<sbyte>(), v->Bv<sbyte>()));

    public static void Pminsw(VecArgs* v) => v->Set(Vector256.Min(v->Av<short>(), v->Bv<short>()));

    public static void Pminsd(VecArgs* v) => v->Set(Vector256.Min(v->Av<int>(), v->Bv<int>()));

    public static void Pmaxub(VecArgs* v) => v->Set(Vector256.Max(v->Av<byte>(), v->Bv<byte>()));

    public static void Pmaxuw(VecArgs* v) => v->Set(Vector256.Max(v->Av<ushort>(), v->Bv<ushort>()));

    public static void Pmaxud(VecArgs* v) => v->Set(Vector256.Max(v->Av<uint>(), v->Bv<uint>()));

    public static void Pmaxsb(VecArgs* v) => v->Set(Vector256.Max(v->Av<sbyte>(), v->Bv<sbyte>()));

    public static void Pmaxsw(VecArgs* v) => v->Set(Vector256.Max(v->Av<short>(), v->Bv<short>()));

    public static void Pmaxsd(VecArgs* v) => v->Set(Vector256.Max(v->Av<int>(), v->Bv<int>()));

    public static void Pabsb(VecArgs* v) => v->Set(Abs(v->Av<sbyte>()));

    public static void Pabsw(VecArgs* v) => v->Set(Abs(v->Av<short>()));

    public static void Pabsd(VecArgs* v) => v->Set(Abs(v->Av<int>()));

    public static void Psignb(VecArgs* v) => v->Set(Sign(v->Av<sbyte>(), v->Bv<sbyte>()));

    public static void Psignw(VecArgs* v) => v->Set(Sign(v->Av<short>(), v->Bv<short>()));

    public static void Psignd(VecArgs* v) => v->Set(Sign(v->Av<int>(), v->Bv<int>()));

    public static void Pmullw(VecArgs* v) => v->Set(v->Av<ushort>() * v->Bv<ushort>());

    public static void Pmulld(VecArgs* v) => v->Set(v->Av<uint>() * v->Bv<uint>());

    public static void Paddsb(VecArgs* v)
    {
        for (var i = 0; i < 32; i++)
            D8(v)[i] = (byte)Sat8(A8(v)[i] + B8(v)[i]);
    }

    public static void Psubsb(VecArgs* v)
    {
        for (var i = 0; i < 32; i++)
            D8(v)[i] = (byte)Sat8(A8(v)[i] - B8(v)[i]);
    }

    public static void Paddusb(VecArgs* v)
    {
        for (var i = 0; i < 32; i++)
            D8(v)[i] = SatU8((byte)A8(v)[i] + (byte)B8(v)[i]);
    }

    public static void Psubusb(VecArgs* v)
    {
        for (var i = 0; i < 32; i++)
            D8(v)[i] = SatU8((byte)A8(v)[i] - (byte)B8(v)[i]);
    }

    public static void Paddsw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)Sat16(A16(v)[i] + B16(v)[i]);
    }

    public static void Psubsw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)Sat16(A16(v)[i] - B16(v)[i]);
    }

    public static void Paddusw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = SatU16((ushort)A16(v)[i] + (ushort)B16(v)[i]);
    }

    public static void Psubusw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = SatU16((ushort)A16(v)[i] - (ushort)B16(v)[i]);
    }

    public static void Pavgb(VecArgs* v)
    {
        for (var i = 0; i < 32; i++)
            D8(v)[i] = (byte)((byte)A8(v)[i] + (byte)B8(v)[i] + 1 >> 1);
    }

    public static void Pavgw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)((ushort)A16(v)[i] + (ushort)B16(v)[i] + 1 >> 1);
    }

    public static void Pmulhw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)(A16(v)[i] * B16(v)[i] >> 16);
    }

    public static void Pmulhuw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)((uint)(ushort)A16(v)[i] * (ushort)B16(v)[i] >> 16);
    }

    public static void Pmulhrsw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)((A16(v)[i] * B16(v)[i] >> 14) + 1 >> 1);
    }

    public static void Pmuludq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (ulong)(uint)v->A.Q[i] * (uint)v->B.Q[i];
    }

    public static void Pmuldq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (ulong)((long)(int)v->A.Q[i] * (int)v->B.Q[i]);
    }

    public static void Pmaddwd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)(A16(v)[2 * i] * B16(v)[2 * i] + A16(v)[2 * i + 1] * B16(v)[2 * i + 1]);
    }

    /// <summary>Unsigned bytes of A by signed bytes of B.</summary>
    public static void Pmaddubsw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
        {
            D16(v)[i] = (ushort)Sat16((byte)A8(v)[2 * i] * B8(v)[2 * i] + (byte)A8(v)[2 * i + 1] * B8(v)[2 * i + 1]);
        }
    }

    public static void Psadbw(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
        {
            var sum = 0;
            for (var k = 8 * i; k < 8 * i + 8; k++)
                sum += Math.Abs((byte)A8(v)[k] - (byte)B8(v)[k]);
            v->Dst.Q[i] = (ulong)sum;
        }
    }

    public static void Mpsadbw(VecArgs* v)
    {
        for (var lane = 0; lane < 2; lane++)
        {
            var control = v->Imm >> 3 * lane;
            var a = A8(v) + 16 * lane + (control & 4);
            var b = B8(v) + 16 * lane + 4 * (control & 3);
            for (var i = 0; i < 8; i++)
            {
                var sum = 0;
                for (var k = 0; k < 4; k++)
                    sum += Math.Abs((byte)a[i + k] - (byte)b[k]);
                D16(v)[8 * lane + i] = (ushort)sum;
            }
        }
    }

    public static void Phminposuw(VecArgs* v)
    {
        var best = 0;
        for (var i = 1; i < 8; i++)
        {
            if ((ushort)A16(v)[i] < (ushort)A16(v)[best])
                best = i;
        }

        v->Set(Vector256.CreateScalar((uint)(ushort)A16(v)[best] | (uint)best << 16));
    }

    public static void Packsswb(VecArgs* v)
    {
        for (var i = 0; i < 32; i++)
            D8(v)[i] = (byte)Sat8(Half16(v, i));
    }

    public static void Packuswb(VecArgs* v)
    {
        for (var i = 0; i < 32; i++)
            D8(v)[i] = SatU8(Half16(v, i));
    }

    public static void Packssdw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)Sat16(Half32(v, i));
    }

    public static void Packusdw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = SatU16(Half32(v, i));
    }

    public static void Phaddw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)(Pair16(v, i)[0] + Pair16(v, i)[1]);
    }

    public static void Phsubw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)(Pair16(v, i)[0] - Pair16(v, i)[1]);
    }

    public static void Phaddsw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)Sat16(Pair16(v, i)[0] + Pair16(v, i)[1]);
    }

    public static void Phsubsw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)Sat16(Pair16(v, i)[0] - Pair16(v, i)[1]);
    }

    public static void Phaddd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)(Pair32(v, i)[0] + Pair32(v, i)[1]);
    }

    public static void Phsubd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)(Pair32(v, i)[0] - Pair32(v, i)[1]);
    }

    public static void Pmovsxbw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (ushort)A8(v)[i];
    }

    public static void Pmovsxbd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)A8(v)[i];
    }

    public static void Pmovsxbq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (ulong)A8(v)[i];
    }

    public static void Pmovsxwd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)A16(v)[i];
    }

    public static void Pmovsxwq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (ulong)A16(v)[i];
    }

    public static void Pmovsxdq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (ulong)A32(v)[i];
    }

    public static void Pmovzxbw(VecArgs* v)
    {
        for (var i = 0; i < 16; i++)
            D16(v)[i] = (byte)A8(v)[i];
    }

    public static void Pmovzxbd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (byte)A8(v)[i];
    }

    public static void Pmovzxbq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (byte)A8(v)[i];
    }

    public static void Pmovzxwd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (ushort)A16(v)[i];
    }

    public static void Pmovzxwq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (ushort)A16(v)[i];
    }

    public static void Pmovzxdq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = (uint)A32(v)[i];
    }

    // Shifts: a count at or above the lane width gives 0 (arithmetic: the sign).

    public static void Psrlw(VecArgs* v) => ShiftWords(v, v->B.Q[0], left: false);

    public static void Psllw(VecArgs* v) => ShiftWords(v, v->B.Q[0], left: true);

    public static void Psrld(VecArgs* v) => ShiftDwords(v, v->B.Q[0], left: false);

    public static void Pslld(VecArgs* v) => ShiftDwords(v, v->B.Q[0], left: true);

    public static void Psrlq(VecArgs* v) => ShiftQwords(v, v->B.Q[0], left: false);

    public static void Psllq(VecArgs* v) => ShiftQwords(v, v->B.Q[0], left: true);

    public static void Psraw(VecArgs* v) => v->Set(v->Av<short>() >> (int)Math.Min(v->B.Q[0], 15));

    public static void Psrad(VecArgs* v) => v->Set(v->Av<int>() >> (int)Math.Min(v->B.Q[0], 31));

    public static void PsrlwI(VecArgs* v) => ShiftWords(v, v->Imm, left: false);

    public static void PsllwI(VecArgs* v) => ShiftWords(v, v->Imm, left: true);

    public static void PsrldI(VecArgs* v) => ShiftDwords(v, v->Imm, left: false);

    public static void PslldI(VecArgs* v) => ShiftDwords(v, v->Imm, left: true);

    public static void PsrlqI(VecArgs* v) => ShiftQwords(v, v->Imm, left: false);

    public static void PsllqI(VecArgs* v) => ShiftQwords(v, v->Imm, left: true);

    public static void PsrawI(VecArgs* v) => v->Set(v->Av<short>() >> Math.Min((int)v->Imm, 15));

    public static void PsradI(VecArgs* v) => v->Set(v->Av<int>() >> Math.Min((int)v->Imm, 31));

    public static void Vpsrlvd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)B32(v)[i] < 32 ? (uint)A32(v)[i] >> B32(v)[i] : 0;
    }

    public static void Vpsllvd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)B32(v)[i] < 32 ? (uint)A32(v)[i] << B32(v)[i] : 0;
    }

    public static void Vpsravd(VecArgs* v)
    {
        for (var i = 0; i < 8; i++)
            D32(v)[i] = (uint)(A32(v)[i] >> (int)Math.Min((uint)B32(v)[i], 31));
    }

    public static void Vpsrlvq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = v->B.Q[i] < 64 ? v->A.Q[i] >> (int)v->B.Q[i] : 0;
    }

    public static void Vpsllvq(VecArgs* v)
    {
        for (var i = 0; i < 4; i++)
            v->Dst.Q[i] = v->B.Q[i] < 64 ? v->A.Q[i] << (int)v->B.Q[i] : 0;
    }

    private static void ShiftWords(VecArgs* v, ulong count, bool left)
    {
        var a = v->Av<ushort>();
        v->Set(count > 15 ? Vector256<ushort>.Zero : left ? a << (int)count : a >>> (int)count);
    }

    private static void ShiftDwords(VecArgs* v, ulong count, bool left)
    {
        var a = v->Av<uint>();
        v->Set(count > 31 ? Vector256<uint>.Zero : left ? a << (int)count : a >>> (int)count);
    }

    private static void ShiftQwords(VecArgs* v, ulong count, bool left)
    {
        var a = v->Av<ulong>();
        v->Set(count > 63 ? Vector256<ulong>.Zero : left ? a << (int)count : a >>> (int)count);
    }

    /// <summary>Two's complement: the most negative value stays.</summary>
    private static Vector256<T> Abs<T>(Vector256<T> a)
    {
        var negative = Vector256.LessThan(a, Vector256<T>.Zero);
        return (a ^ negative) - negative;
    }

    private static Vector256<T> Sign<T>(Vector256<T> a, Vector256<T> b)
    {
        var negative = Vector256.LessThan(b, Vector256<T>.Zero);
        return ((a ^ negative) - negative) & ~Vector256.Equals(b, Vector256<T>.Zero);
    }

    private static sbyte Sat8(int x) => (sbyte)Math.Clamp(x, sbyte.MinValue, sbyte.MaxValue);

    private static byte SatU8(int x) => (byte)Math.Clamp(x, 0, 255);

    private static short Sat16(int x) => (short)Math.Clamp(x, short.MinValue, short.MaxValue);

    private static ushort SatU16(int x) => (ushort)Math.Clamp(x, 0, 65535);

    /// <summary>Source of element i of a pack to bytes: in each 128-bit lane eight words of A, then eight of B.</summary>
    private static short Half16(VecArgs* v, int i) => ((i & 8) != 0 ? B16(v) : A16(v))[(i >> 4) * 8 + (i & 7)];

    private static int Half32(VecArgs* v, int i) => ((i & 4) != 0 ? B32(v) : A32(v))[(i >> 3) * 4 + (i & 3)];

    /// <summary>Source pair of element i of a horizontal operation: in each 128-bit lane the pairs of A, then of B.</summary>
    private static short* Pair16(VecArgs* v, int i) => ((i & 4) != 0 ? B16(v) : A16(v)) + (i >> 3) * 8 + 2 * (i & 3);

    private static int* Pair32(VecArgs* v, int i) => ((i & 2) != 0 ? B32(v) : A32(v)) + (i >> 2) * 4 + 2 * (i & 1);

    private static byte* D8(VecArgs* v) => (byte*)v->Dst.Q;

    private static ushort* D16(VecArgs* v) => (ushort*)v->Dst.Q;

    private static uint* D32(VecArgs* v) => (uint*)v->Dst.Q;

    private static sbyte* A8(VecArgs* v) => (sbyte*)v->A.Q;

    private static sbyte* B8(VecArgs* v) => (sbyte*)v->B.Q;

    private static short* A16(VecArgs* v) => (short*)v->A.Q;

    private static short* B16(VecArgs* v) => (short*)v->B.Q;

    private static int* A32(VecArgs* v) => (int*)v->A.Q;

    private static int* B32(VecArgs* v) => (int*)v->B.Q;
}
