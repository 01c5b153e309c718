using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.Fpu;

/// <summary>Extended-precision operands: every class and format the x87 knows, close exponents, sparse significands.</summary>
internal static class Float80Operands
{
    private const ulong IntegerBit = 1ul << 63;

    public static Float80 Next(Random random)
    {
        var sign = random.Next(2) << 15;
        var noise = (ulong)random.NextInt64() << 1 | (uint)random.Next(2);
        var sparse = random.Next(6) switch
        {
            0 => 0ul,
            1 => 1ul << random.Next(63),
            2 => ulong.MaxValue << random.Next(63),
            3 => noise & 0xFFFFF00000000000,
            4 => noise & ~0x7FFul,
            _ => noise,
        };
        var (exponent, significand) = random.Next(20) switch
        {
            0 => (0, 0ul),
            1 => (0x7FFF, IntegerBit),
            2 => (0x7FFF, sparse | IntegerBit | 1ul << 62),
            3 => (0x7FFF, (sparse & ~(1ul << 62)) | IntegerBit | 1),
            4 => (0x7FFF, sparse & ~IntegerBit),
            5 => (0, sparse & ~IntegerBit),
            6 => (0, sparse | IntegerBit),
            7 => (random.Next(1, 0x7FFF), sparse & ~IntegerBit),
            8 => (random.Next(1, 70), sparse | IntegerBit),
            9 => (0x7FFE - random.Next(70), sparse | IntegerBit),
            10 => (0x3FFF - 1022 - random.Next(60), sparse | IntegerBit),
            11 => (0x3FFF + 1020 + random.Next(6), sparse | IntegerBit),
            12 => (0x3FFF - 126 - random.Next(30), sparse | IntegerBit),
            13 => (0x3FFF, IntegerBit),
            14 or 15 => (0x3FFF + random.Next(70), sparse | IntegerBit),
            16 or 17 => (0x3FFF - random.Next(8), sparse | IntegerBit),
            18 => (random.Next(1, 0x7FFF), sparse | IntegerBit),
            _ => (0x3FFF + random.Next(-3, 4), sparse | IntegerBit),
        };
        return new Float80((ushort)(sign | exponent), significand);
    }
}
