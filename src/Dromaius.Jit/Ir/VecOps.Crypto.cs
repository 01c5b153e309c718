using static Dromaius.Jit.Ir.VecFeatures;
using static Dromaius.Jit.Ir.VecForm;

namespace Dromaius.Jit.Ir;

/// <summary>Rows of AES, CLMUL and SHA.</summary>
public static unsafe partial class VecOps
{
    private static void AddCryptoRows(VecInfo?[] t)
    {
        Row(t, VecKind.Aesimc, Unary, 0x66, 2, 0xDB, Aes, Sse2, &VecCrypto.Aesimc, no256: true);
        Row(t, VecKind.Aesenc, Binary, 0x66, 2, 0xDC, Aes, Sse2, &VecCrypto.Aesenc, no256: true);
        Row(t, VecKind.Aesenclast, Binary, 0x66, 2, 0xDD, Aes, Sse2, &VecCrypto.Aesenclast, no256: true);
        Row(t, VecKind.Aesdec, Binary, 0x66, 2, 0xDE, Aes, Sse2, &VecCrypto.Aesdec, no256: true);
        Row(t, VecKind.Aesdeclast, Binary, 0x66, 2, 0xDF, Aes, Sse2, &VecCrypto.Aesdeclast, no256: true);
        Row(t, VecKind.Aeskeygenassist, UnaryImm, 0x66, 3, 0xDF, Aes, Sse2, &VecCrypto.Aeskeygenassist, no256: true);
        Row(t, VecKind.Pclmulqdq, BinaryImm, 0x66, 3, 0x44, Pclmul, Sse2, &VecCrypto.Pclmulqdq, no256: true);
        Row(t, VecKind.Sha1nexte, Binary, 0, 2, 0xC8, Sha, Sse2, &VecCrypto.Sha1nexte, no256: true, legacyOnly: true);
        Row(t, VecKind.Sha1msg1, Binary, 0, 2, 0xC9, Sha, Sse2, &VecCrypto.Sha1msg1, no256: true, legacyOnly: true);
        Row(t, VecKind.Sha1msg2, Binary, 0, 2, 0xCA, Sha, Sse2, &VecCrypto.Sha1msg2, no256: true, legacyOnly: true);
        Row(t, VecKind.Sha256rnds2, Blendv, 0, 2, 0xCB, Sha, Sse2, &VecCrypto.Sha256rnds2, no256: true, legacyOnly: true);
        Row(t, VecKind.Sha256msg1, Binary, 0, 2, 0xCC, Sha, Sse2, &VecCrypto.Sha256msg1, no256: true, legacyOnly: true);
        Row(t, VecKind.Sha256msg2, Binary, 0, 2, 0xCD, Sha, Sse2, &VecCrypto.Sha256msg2, no256: true, legacyOnly: true);
        Row(t, VecKind.Sha1rnds4, BinaryImm, 0, 3, 0xCC, Sha, Sse2, &VecCrypto.Sha1rnds4, no256: true, legacyOnly: true);
    }
}
