using System.Numerics;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (Intel SDM volume 2, section 4.1).</summary>
internal static unsafe class StringCompare
{
    private const uint Cf = 1, Zf = 0x40, Sf = 0x80, Of = 0x800;

    /// <param name="v">Operands A and B; the mask of PCMPxSTRM goes to Dst.</param>
    /// <param name="control">imm8; bit 8: explicit lengths; bit 9: mask wanted.</param>
    /// <returns>Index in bits 31:0, EFLAGS bits above 32.</returns>
    public static ulong Run(VecArgs* v, uint control, long lengthA, long lengthB)
    {
        var words = (control & 1) != 0;
        var signed = (control & 2) != 0;
        var n = words ? 8 : 16;
        var isExplicit = (control & 0x100) != 0;
        var countA = isExplicit ? Saturate(lengthA, n) : ImplicitLength(&v->A, words, n);
        var countB = isExplicit ? Saturate(lengthB, n) : ImplicitLength(&v->B, words, n);
        uint result = 0;
        for (var j = 0; j < n; j++)
        {
            if (Aggregate(v, (control >> 2) & 3, j, n, countA, countB, words, signed))
                result |= 1u << j;
        }

        var all = (1u << n) - 1;
        // Negative polarity, possibly of the valid elements of the second operand only.
        if ((control & 0x10) != 0)
            result ^= (control & 0x20) != 0 ? (1u << countB) - 1 : all;
        var flags = (result != 0 ? Cf : 0) | (countB < n ? Zf : 0) | (countA < n ? Sf : 0) | ((result & 1) != 0 ? Of : 0);
        var top = (control & 0x40) != 0;
        if ((control & 0x200) != 0)
        {
            StoreMask(&v->Dst, result, top, words, n);
            return (ulong)flags << 32;
        }

        var index = result == 0 ? n : top ? 31 - BitOperations.LeadingZeroCount(result) : BitOperations.TrailingZeroCount(result);
        return (ulong)flags << 32 | (uint)index;
    }

    private static bool Aggregate(VecArgs* v, uint mode, int j, int n, int countA, int countB, bool words, bool signed)
    {
        switch (mode)
        {
            case 0: // Equal any.
                if (j >= countB)
                    return false;
                for (var i = 0; i < countA; i++)
                {
                    if (Element(&v->A, i, words, signed) == Element(&v->B, j, words, signed))
                        return true;
                }

                return false;
            case 1: // Ranges.
                if (j >= countB)
                    return false;
                var x = Element(&v->B, j, words, signed);
                for (var i = 0; i + 1 < countA; i += 2)
                {
                    if (x >= Element(&v->A, i, words, signed) && x <= Element(&v->A, i + 1, words, signed))
                        return true;
                }

                return false;
            case 2: // Equal each: two invalid elements are equal.
                if (j >= countA || j >= countB)
                    return j >= countA && j >= countB;
                return Element(&v->A, j, words, signed) == Element(&v->B, j, words, signed);
            default: // Equal ordered: A is found at j, as far as the operand goes.
                for (var i = 0; i < countA && i + j < n; i++)
                {
                    if (i + j >= countB || Element(&v->A, i, words, signed) != Element(&v->B, i + j, words, signed))
                        return false;
                }

                return true;
        }
    }

    private static void StoreMask(V256* dst, uint result, bool expand, bool words, int n)
    {
        *dst = default;
        if (!expand)
        {
            dst->Q[0] = result;
            return;
        }

        for (var i = 0; i < n; i++)
        {
            if ((result >> i & 1) == 0)
                continue;
            if (words)
                ((ushort*)dst)[i] = 0xFFFF;
            else
                ((byte*)dst)[i] = 0xFF;
        }
    }

    private static int Saturate(long length, int n) => length >= n || length <= -n ? n : (int)Math.Abs(length);

    private static int ImplicitLength(V256* v, bool words, int n)
    {
        for (var i = 0; i < n; i++)
        {
            if (Element(v, i, words, false) == 0)
                return i;
        }

        return n;
    }

    private static int Element(V256* v, int i, bool words, bool signed)
    {
        if (words)
            return signed ? ((short*)v)[i] : ((ushort*)v)[i];
        return signed ? ((sbyte*)v)[i] : ((byte*)v)[i];
    }
}
