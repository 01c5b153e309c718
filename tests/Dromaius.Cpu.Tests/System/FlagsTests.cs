using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.SystemTests;

/// <summary>The flags that follow from the held operands, against a plain computation.</summary>
public sealed class FlagsTests
{
    private static readonly ulong[] Edges =
    [
        0, 1, 2, 0xF, 0x10, 0x7F, 0x80, 0x81, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
        0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 0x123456789ABCDEF0,
    ];

    [Theory]
    [InlineData(CcOp.Add, false, false)]
    [InlineData(CcOp.Adc, false, true)]
    [InlineData(CcOp.Sub, true, false)]
    [InlineData(CcOp.Sbb, true, true)]
    public void AdditionsAndSubtractions(CcOp family, bool subtract, bool withCarry)
    {
        for (var size = 0; size < 4; size++)
        {
            var bits = 8 << size;
            foreach (var a in Edges)
            {
                foreach (var b in Edges)
                {
                    for (var carry = 0UL; carry <= (withCarry ? 1u : 0); carry++)
                        Check((CcOp)((int)family + size), a, b, carry, subtract, bits);
                }
            }
        }
    }

    private static void Check(CcOp op, ulong a, ulong b, ulong carry, bool subtract, int bits)
    {
        var mask = ulong.MaxValue >> (64 - bits);
        Int128 x = a & mask, y = b & mask;
        var wide = subtract ? x - y - carry : x + y + carry;
        var result = (ulong)(wide & (Int128)mask);
        Int128 sx = Sign(a, bits), sy = Sign(b, bits);
        var signed = subtract ? sx - sy - carry : sx + sy + carry;
        var expected = 0UL;
        expected |= wide < 0 || wide > mask ? Eflags.Cf : 0;
        expected |= signed != Sign(result, bits) ? Eflags.Of : 0;
        expected |= result == 0 ? Eflags.Zf : 0;
        expected |= (result >> (bits - 1)) != 0 ? Eflags.Sf : 0;
        expected |= (System.Numerics.BitOperations.PopCount((uint)(byte)result) & 1) == 0 ? Eflags.Pf : 0;
        var nibble = subtract ? (long)(a & 15) - (long)(b & 15) - (long)carry : (long)(a & 15) + (long)(b & 15) + (long)carry;
        expected |= nibble is < 0 or > 15 ? Eflags.Af : 0;
        var actual = X86Cpu.ComputeArithmeticFlags((ulong)op, result, b, carry);
        Assert.True(expected == actual, $"{op} {a:x} {b:x} {carry}: expected {expected:x}, got {actual:x}");
        Assert.Equal(expected & 1, X86Cpu.ComputeCarry((ulong)op, result, b, carry));
    }

    private static Int128 Sign(ulong value, int bits) => (long)(value << (64 - bits)) >> (64 - bits);

    [Theory]
    [InlineData(CcOp.Inc, 0x80UL, 1UL, Eflags.Cf | Eflags.Of | Eflags.Sf | Eflags.Af)]
    [InlineData(CcOp.Dec, 0x7FUL, 0UL, Eflags.Of | Eflags.Af)]
    [InlineData(CcOp.Logic, 0UL, 5UL, Eflags.Zf | Eflags.Pf)]
    [InlineData(CcOp.Shl, 0x80UL, 0x40UL, Eflags.Of | Eflags.Sf)]
    [InlineData(CcOp.Shl, 0x00UL, 0x80UL, Eflags.Cf | Eflags.Of | Eflags.Zf | Eflags.Pf)]
    [InlineData(CcOp.Sar, 0x41UL, 0x83UL, Eflags.Cf | Eflags.Of | Eflags.Pf)]
    [InlineData(CcOp.Mul, 0x03UL, 1UL, Eflags.Cf | Eflags.Of | Eflags.Pf)]
    [InlineData(CcOp.Count, 0UL, 0x80UL, Eflags.Zf)]
    [InlineData(CcOp.Popcnt, 0UL, 0UL, Eflags.Zf)]
    [InlineData(CcOp.Carries, 1UL, (ulong)(Eflags.Zf | Eflags.Of), Eflags.Cf | Eflags.Zf)]
    [InlineData(CcOp.Carries, 0UL, (ulong)(Eflags.Cf | Eflags.Sf), Eflags.Sf)]
    [InlineData(CcOp.CarriesInc, 1UL, 0x80UL, Eflags.Cf | Eflags.Sf | Eflags.Af)]
    [InlineData(CcOp.CarriesDec, 0UL, 0UL, Eflags.Zf | Eflags.Pf)]
    public void OtherFamilies(CcOp op, ulong dst, ulong src, uint expected) =>
        Assert.Equal(expected, X86Cpu.ComputeArithmeticFlags((ulong)op, dst, src, 0));
}
