using System.Numerics;

namespace Dromaius.Jit.Ir;

/// <summary>C# semantics of AES-NI (FIPS 197), PCLMULQDQ and the SHA extensions (FIPS 180-4), after Intel SDM volume 2.</summary>
internal static unsafe class VecCrypto
{
    private static readonly byte[] SBox = BuildSBox();
    private static readonly byte[] InverseSBox = Invert(SBox);

    public static void Aesenc(VecArgs* v)
    {
        var s = stackalloc byte[16];
        ShiftRows((byte*)v->A.Q, s, SBox, 1);
        MixColumns(s, 2, 3, 1, 1);
        AddRoundKey(v, s);
    }

    public static void Aesenclast(VecArgs* v)
    {
        var s = stackalloc byte[16];
        ShiftRows((byte*)v->A.Q, s, SBox, 1);
        AddRoundKey(v, s);
    }

    public static void Aesdec(VecArgs* v)
    {
        var s = stackalloc byte[16];
        ShiftRows((byte*)v->A.Q, s, InverseSBox, 3);
        MixColumns(s, 14, 11, 13, 9);
        AddRoundKey(v, s);
    }

    public static void Aesdeclast(VecArgs* v)
    {
        var s = stackalloc byte[16];
        ShiftRows((byte*)v->A.Q, s, InverseSBox, 3);
        AddRoundKey(v, s);
    }

    public static void Aesimc(VecArgs* v)
    {
        v->Dst = v->A;
        MixColumns((byte*)v->Dst.Q, 14, 11, 13, 9);
    }

    public static void Aeskeygenassist(VecArgs* v)
    {
        uint* a = (uint*)v->A.Q, d = (uint*)v->Dst.Q;
        for (var i = 0; i < 2; i++)
        {
            var x = SubWord(a[2 * i + 1]);
            d[2 * i] = x;
            d[2 * i + 1] = BitOperations.RotateRight(x, 8) ^ v->Imm;
        }
    }

    public static void Pclmulqdq(VecArgs* v)
    {
        ulong a = v->A.Q[v->Imm & 1], b = v->B.Q[v->Imm >> 4 & 1], lo = 0, hi = 0;
        for (var i = 0; i < 64; i++)
        {
            if ((b >> i & 1) == 0)
                continue;
            lo ^= a << i;
            hi ^= i == 0 ? 0 : a >> 64 - i;
        }

        v->Dst.Q[0] = lo;
        v->Dst.Q[1] = hi;
    }

    // SHA. Doubleword 3 is the most significant one: the first word of a message block.

    public static void Sha1nexte(VecArgs* v)
    {
        v->Dst = v->B;
        D(v)[3] += BitOperations.RotateLeft(A(v)[3], 30);
    }

    public static void Sha1msg1(VecArgs* v)
    {
        uint* d = D(v), a = A(v), b = B(v);
        d[3] = a[1] ^ a[3];
        d[2] = a[0] ^ a[2];
        d[1] = b[3] ^ a[1];
        d[0] = b[2] ^ a[0];
    }

    public static void Sha1msg2(VecArgs* v)
    {
        uint* d = D(v), a = A(v), b = B(v);
        d[3] = BitOperations.RotateLeft(a[3] ^ b[2], 1);
        d[2] = BitOperations.RotateLeft(a[2] ^ b[1], 1);
        d[1] = BitOperations.RotateLeft(a[1] ^ b[0], 1);
        d[0] = BitOperations.RotateLeft(a[0] ^ d[3], 1);
    }

    public static void Sha1rnds4(VecArgs* v)
    {
        ReadOnlySpan<uint> constants = [0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6];
        var kind = v->Imm & 3;
        uint a = A(v)[3], b = A(v)[2], c = A(v)[1], d = A(v)[0], e = 0;
        for (var i = 0; i < 4; i++)
        {
            var f = kind switch
            {
                0 => (b & c) ^ (~b & d),
                2 => (b & c) ^ (b & d) ^ (c & d),
                _ => b ^ c ^ d,
            };
            // E of the first round is already in the first message word (SHA1NEXTE).
            var next = f + BitOperations.RotateLeft(a, 5) + B(v)[3 - i] + e + constants[kind];
            e = d;
            d = c;
            c = BitOperations.RotateLeft(b, 30);
            b = a;
            a = next;
        }

        D(v)[3] = a;
        D(v)[2] = b;
        D(v)[1] = c;
        D(v)[0] = d;
    }

    public static void Sha256rnds2(VecArgs* v)
    {
        uint* x = A(v), y = B(v), wk = (uint*)v->C.Q;
        uint a = y[3], b = y[2], c = x[3], d = x[2], e = y[1], f = y[0], g = x[1], h = x[0];
        for (var i = 0; i < 2; i++)
        {
            var s1 = BitOperations.RotateRight(e, 6) ^ BitOperations.RotateRight(e, 11) ^ BitOperations.RotateRight(e, 25);
            var s0 = BitOperations.RotateRight(a, 2) ^ BitOperations.RotateRight(a, 13) ^ BitOperations.RotateRight(a, 22);
            var t = ((e & f) ^ (~e & g)) + s1 + wk[i] + h;
            h = g;
            g = f;
            f = e;
            e = t + d;
            var next = t + ((a & b) ^ (a & c) ^ (b & c)) + s0;
            d = c;
            c = b;
            b = a;
            a = next;
        }

        D(v)[3] = a;
        D(v)[2] = b;
        D(v)[1] = e;
        D(v)[0] = f;
    }

    public static void Sha256msg1(VecArgs* v)
    {
        uint* d = D(v), a = A(v);
        for (var i = 0; i < 4; i++)
        {
            var w = i == 3 ? B(v)[0] : a[i + 1];
            d[i] = a[i] + (BitOperations.RotateRight(w, 7) ^ BitOperations.RotateRight(w, 18) ^ w >> 3);
        }
    }

    public static void Sha256msg2(VecArgs* v)
    {
        uint* d = D(v), a = A(v), b = B(v);
        d[0] = a[0] + Sigma1(b[2]);
        d[1] = a[1] + Sigma1(b[3]);
        d[2] = a[2] + Sigma1(d[0]);
        d[3] = a[3] + Sigma1(d[1]);
    }

    private static uint Sigma1(uint w) => BitOperations.RotateRight(w, 17) ^ BitOperations.RotateRight(w, 19) ^ w >> 10;

    private static uint* D(VecArgs* v) => (uint*)v->Dst.Q;

    private static uint* A(VecArgs* v) => (uint*)v->A.Q;

    private static uint* B(VecArgs* v) => (uint*)v->B.Q;

    /// <summary>Substitutes bytes and rotates row r by r times the step (1 left, 3 right). Bytes are in column order.</summary>
    private static void ShiftRows(byte* a, byte* s, byte[] box, int step)
    {
        for (var i = 0; i < 16; i++)
        {
            var row = i & 3;
            var column = (i >> 2) + row * step & 3;
            s[i] = box[a[4 * column + row]];
        }
    }

    private static void MixColumns(byte* s, byte m0, byte m1, byte m2, byte m3)
    {
        for (var c = 0; c < 16; c += 4)
        {
            byte x0 = s[c], x1 = s[c + 1], x2 = s[c + 2], x3 = s[c + 3];
            s[c] = (byte)(Mul(x0, m0) ^ Mul(x1, m1) ^ Mul(x2, m2) ^ Mul(x3, m3));
            s[c + 1] = (byte)(Mul(x0, m3) ^ Mul(x1, m0) ^ Mul(x2, m1) ^ Mul(x3, m2));
            s[c + 2] = (byte)(Mul(x0, m2) ^ Mul(x1, m3) ^ Mul(x2, m0) ^ Mul(x3, m1));
            s[c + 3] = (byte)(Mul(x0, m1) ^ Mul(x1, m2) ^ Mul(x2, m3) ^ Mul(x3, m0));
        }
    }

    private static void AddRoundKey(VecArgs* v, byte* s)
    {
        for (var i = 0; i < 2; i++)
            v->Dst.Q[i] = ((ulong*)s)[i] ^ v->B.Q[i];
    }

    private static uint SubWord(uint x) =>
        SBox[(byte)x] | (uint)SBox[(byte)(x >> 8)] << 8 | (uint)SBox[(byte)(x >> 16)] << 16 | (uint)SBox[x >> 24] << 24;

    /// <summary>Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.</summary>
    private static byte Mul(byte a, byte b)
    {
        var r = 0;
        int x = a;
        for (; b != 0; b >>= 1)
        {
            if ((b & 1) != 0)
                r ^= x;
            x = (x << 1) ^ ((x & 0x80) != 0 ? 0x11B : 0);
        }

        return (byte)r;
    }

    private static byte[] BuildSBox()
    {
        var box = new byte[256];
        for (var i = 0; i < 256; i++)
        {
            // The inverse is the 254th power.
            byte inverse = 1;
            for (var k = 0; k < 254; k++)
                inverse = Mul(inverse, (byte)i);
            var x = inverse | inverse << 8;
            box[i] = (byte)(x ^ x >> 4 ^ x >> 5 ^ x >> 6 ^ x >> 7 ^ 0x63);
        }

        return box;
    }

    private static byte[] Invert(byte[] box)
    {
        var inverse = new byte[256];
        for (var i = 0; i < 256; i++)
            inverse[box[i]] = (byte)i;
        return inverse;
    }
}
