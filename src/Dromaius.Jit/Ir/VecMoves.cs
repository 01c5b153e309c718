using System.Runtime.Intrinsics;

namespace Dromaius.Jit.Ir;

/// <summary>C# semantics of moves, shuffles, blends and bitwise operations (Intel SDM volume 2).</summary>
internal static unsafe class VecMoves
{
    public static void Pand(VecArgs* v) => v->Set(v->Av<ulong>() & v->Bv<ulong>());

    public static void Pandn(VecArgs* v) => v->Set(~v->Av<ulong>() & v->Bv<ulong>());

    public static void Por(VecArgs* v) => v->Set(v->Av<ulong>() | v->Bv<ulong>());

    public static void Pxor(VecArgs* v) => v->Set(v->Av<ulong>() ^ v->Bv<ulong>());

    public static void Movss(VecArgs* v) => v->Set(v->Av<uint>().WithElement(0, v->Bv<uint>()[0]));

    public static void Movsd(VecArgs* v) => v->Set(v->Av<ulong>().WithElement(0, v->Bv<ulong>()[0]));

    public static void Movhlps(VecArgs* v) => v->Set(v->Av<ulong>().WithElement(0, v->Bv<ulong>()[1]));

    public static void Movlhps(VecArgs* v) => v->Set(v->Av<ulong>().WithElement(1, v->Bv<ulong>()[0]));

    public static void Movq(VecArgs* v) => v->Set(Vector256.CreateScalar(v->Av<ulong>()[0]));

    public static void Movsldup(VecArgs* v) => Lanes32(v, 0, 0, 2, 2);

    public static void Movshdup(VecArgs* v) => Lanes32(v, 1, 1, 3, 3);

    public static void Movddup(VecArgs* v) => Lanes32(v, 0, 1, 0, 1);

    public static void Pshufd(VecArgs* v) => Lanes32(v, v->Imm & 3, v->Imm >> 2 & 3, v->Imm >> 4 & 3, v->Imm >> 6);

    public static void VpermilpdI(VecArgs* v)
    {
        ulong* d = v->Dst.Q, a = v->A.Q;
        for (var i = 0; i < 4; i++)
            d[i] = a[(i & 2) + (v->Imm >> i & 1)];
    }

    public static void Vpermilps(VecArgs* v)
    {
        uint* d = (uint*)v->Dst.Q, a = (uint*)v->A.Q, b = (uint*)v->B.Q;
        for (var i = 0; i < 8; i++)
            d[i] = a[(i & 4) + (b[i] & 3)];
    }

    public static void Vpermilpd(VecArgs* v)
    {
        ulong* d = v->Dst.Q, a = v->A.Q, b = v->B.Q;
        for (var i = 0; i < 4; i++)
            d[i] = a[(i & 2) + (int)(b[i] >> 1 & 1)];
    }

    public static void Shufps(VecArgs* v)
    {
        uint* d = (uint*)v->Dst.Q, a = (uint*)v->A.Q, b = (uint*)v->B.Q;
        for (var l = 0; l < 8; l += 4)
        {
            d[l] = a[l + (v->Imm & 3)];
            d[l + 1] = a[l + (v->Imm >> 2 & 3)];
            d[l + 2] = b[l + (v->Imm >> 4 & 3)];
            d[l + 3] = b[l + (v->Imm >> 6)];
        }
    }

    public static void Shufpd(VecArgs* v)
    {
        ulong* d = v->Dst.Q, a = v->A.Q, b = v->B.Q;
        for (var l = 0; l < 4; l += 2)
        {
            d[l] = a[l + (v->Imm >> l & 1)];
            d[l + 1] = b[l + (v->Imm >> l + 1 & 1)];
        }
    }

    public static void Pshuflw(VecArgs* v) => Words(v, 0);

    public static void Pshufhw(VecArgs* v) => Words(v, 4);

    public static void Pshufb(VecArgs* v)
    {
        byte* d = (byte*)v->Dst.Q, a = (byte*)v->A.Q, b = (byte*)v->B.Q;
        for (var i = 0; i < 32; i++)
            d[i] = b[i] >= 0x80 ? (byte)0 : a[(i & 16) + (b[i] & 15)];
    }

    public static void Palignr(VecArgs* v)
    {
        byte* d = (byte*)v->Dst.Q, a = (byte*)v->A.Q, b = (byte*)v->B.Q;
        for (var i = 0; i < 32; i++)
        {
            var from = (i & 15) + v->Imm;
            d[i] = from < 16 ? b[(i & 16) + from] : from < 32 ? a[(i & 16) + from - 16] : (byte)0;
        }
    }

    public static void Psrldq(VecArgs* v)
    {
        byte* d = (byte*)v->Dst.Q, a = (byte*)v->A.Q;
        for (var i = 0; i < 32; i++)
            d[i] = (i & 15) + v->Imm < 16 ? a[i + v->Imm] : (byte)0;
    }

    public static void Pslldq(VecArgs* v)
    {
        byte* d = (byte*)v->Dst.Q, a = (byte*)v->A.Q;
        for (var i = 0; i < 32; i++)
            d[i] = (i & 15) >= v->Imm ? a[i - v->Imm] : (byte)0;
    }

    public static void Punpcklbw(VecArgs* v) => Unpack<byte>(v, 0);

    public static void Punpcklwd(VecArgs* v) => Unpack<ushort>(v, 0);

    public static void Punpckldq(VecArgs* v) => Unpack<uint>(v, 0);

    public static void Punpcklqdq(VecArgs* v) => Unpack<ulong>(v, 0);

    public static void Punpckhbw(VecArgs* v) => Unpack<byte>(v, 8);

    public static void Punpckhwd(VecArgs* v) => Unpack<ushort>(v, 8);

    public static void Punpckhdq(VecArgs* v) => Unpack<uint>(v, 8);

    public static void Punpckhqdq(VecArgs* v) => Unpack<ulong>(v, 8);

    /// <summary>Imm: source lane (7:6), destination lane (5:4), lanes to clear (3:0). A memory operand is lane 0: the
    /// translator clears bits 7:6 for it.</summary>
    public static void Insertps(VecArgs* v)
    {
        uint* d = (uint*)v->Dst.Q, b = (uint*)v->B.Q;
        v->Dst = v->A;
        d[v->Imm >> 4 & 3] = b[v->Imm >> 6];
        for (var i = 0; i < 4; i++)
        {
            if ((v->Imm >> i & 1) != 0)
                d[i] = 0;
        }
    }

    public static void Vpblendd(VecArgs* v)
    {
        uint* d = (uint*)v->Dst.Q, a = (uint*)v->A.Q, b = (uint*)v->B.Q;
        for (var i = 0; i < 8; i++)
            d[i] = (v->Imm >> i & 1) != 0 ? b[i] : a[i];
    }

    public static void Blendpd(VecArgs* v)
    {
        ulong* d = v->Dst.Q, a = v->A.Q, b = v->B.Q;
        for (var i = 0; i < 4; i++)
            d[i] = (v->Imm >> i & 1) != 0 ? b[i] : a[i];
    }

    public static void Pblendw(VecArgs* v)
    {
        ushort* d = (ushort*)v->Dst.Q, a = (ushort*)v->A.Q, b = (ushort*)v->B.Q;
        for (var i = 0; i < 16; i++)
            d[i] = (v->Imm >> (i & 7) & 1) != 0 ? b[i] : a[i];
    }

    public static void Blendvps(VecArgs* v) =>
        v->Set(Vector256.ConditionalSelect(v->Cv<int>() >> 31, v->Bv<int>(), v->Av<int>()));

    public static void Blendvpd(VecArgs* v) =>
        v->Set(Vector256.ConditionalSelect(v->Cv<long>() >> 63, v->Bv<long>(), v->Av<long>()));

    public static void Pblendvb(VecArgs* v) =>
        v->Set(Vector256.ConditionalSelect(v->Cv<sbyte>() >> 7, v->Bv<sbyte>(), v->Av<sbyte>()));

    public static void Pinsrb(VecArgs* v)
    {
        v->Dst = v->A;
        ((byte*)v->Dst.Q)[v->Imm & 15] = (byte)v->B.Q[0];
    }

    public static void Pinsrw(VecArgs* v)
    {
        v->Dst = v->A;
        ((ushort*)v->Dst.Q)[v->Imm & 7] = (ushort)v->B.Q[0];
    }

    public static void Pinsrd(VecArgs* v)
    {
        v->Dst = v->A;
        ((uint*)v->Dst.Q)[v->Imm & 3] = (uint)v->B.Q[0];
    }

    public static void Pinsrq(VecArgs* v)
    {
        v->Dst = v->A;
        v->Dst.Q[v->Imm & 1] = v->B.Q[0];
    }

    public static void Vpbroadcastb(VecArgs* v) => v->Set(Vector256.Create(v->Av<byte>()[0]));

    public static void Vpbroadcastw(VecArgs* v) => v->Set(Vector256.Create(v->Av<ushort>()[0]));

    public static void Vpbroadcastd(VecArgs* v) => v->Set(Vector256.Create(v->Av<uint>()[0]));

    public static void Vpbroadcastq(VecArgs* v) => v->Set(Vector256.Create(v->Av<ulong>()[0]));

    /// <summary>Indices in A, source in B.</summary>
    public static void Vpermd(VecArgs* v)
    {
        uint* d = (uint*)v->Dst.Q, a = (uint*)v->A.Q, b = (uint*)v->B.Q;
        for (var i = 0; i < 8; i++)
            d[i] = b[a[i] & 7];
    }

    public static void Vpermq(VecArgs* v)
    {
        ulong* d = v->Dst.Q, a = v->A.Q;
        for (var i = 0; i < 4; i++)
            d[i] = a[v->Imm >> 2 * i & 3];
    }

    public static void Vperm2f128(VecArgs* v)
    {
        ulong* d = v->Dst.Q, a = v->A.Q, b = v->B.Q;
        for (var half = 0; half < 2; half++)
        {
            var select = v->Imm >> 4 * half;
            var from = (select & 2) != 0 ? b : a;
            for (var i = 0; i < 2; i++)
                d[2 * half + i] = (select & 8) != 0 ? 0 : from[2 * (select & 1) + i];
        }
    }

    private static void Lanes32(VecArgs* v, int e0, int e1, int e2, int e3)
    {
        uint* d = (uint*)v->Dst.Q, a = (uint*)v->A.Q;
        for (var l = 0; l < 8; l += 4)
        {
            d[l] = a[l + e0];
            d[l + 1] = a[l + e1];
            d[l + 2] = a[l + e2];
            d[l + 3] = a[l + e3];
        }
    }

    private static void Words(VecArgs* v, int first)
    {
        ushort* d = (ushort*)v->Dst.Q, a = (ushort*)v->A.Q;
        v->Dst = v->A;
        for (var l = first; l < 16; l += 8)
        {
            for (var i = 0; i < 4; i++)
                d[l + i] = a[l + (v->Imm >> 2 * i & 3)];
        }
    }

    private static void Unpack<T>(VecArgs* v, int fromByte) where T : unmanaged
    {
        T* d = (T*)v->Dst.Q, a = (T*)v->A.Q, b = (T*)v->B.Q;
        var n = 16 / sizeof(T);
        for (var l = 0; l < 2 * n; l += n)
        {
            var from = l + fromByte / sizeof(T);
            for (var i = 0; i < n / 2; i++)
            {
                d[l + 2 * i] = a[from + i];
                d[l + 2 * i + 1] = b[from + i];
            }
        }
    }
}
