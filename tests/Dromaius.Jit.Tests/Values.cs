namespace Dromaius.Jit.Tests;

/// <summary>Random operands with a bias to the edges.</summary>
internal static class Values
{
    private static readonly ulong[] Edges =
    [
        0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
        0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF80000000, 0xFFFFFFFFFFFFFF80,
        0x5555555555555555, 0xAAAAAAAAAAAAAAAA,
    ];

    private static readonly ulong[] Singles =
    [
        0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFC12345, 1, 0x007FFFFF,
        0x00800000, 0x7F7FFFFF, 0x4F000000, 0xCF000000, 0x5F000000, 0x3F000000, 0x40490FDB, 0x33800000,
    ];

    private static readonly ulong[] Doubles =
    [
        0, 0x8000000000000000, 0x3FF0000000000000, 0xBFF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000,
        0x7FF8000000000000, 0x7FF0000000000001, 0xFFF8123456789ABC, 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000,
        0x7FEFFFFFFFFFFFFF, 0x41E0000000000000, 0xC3E0000000000000, 0x3FE0000000000000, 0x400921FB54442D18,
        0x380FFFFFE0000000, 0x47EFFFFFF0000000,
    ];

    public static ulong Integer(Random random) => random.Next(3) switch
    {
        0 => Edges[random.Next(Edges.Length)],
        1 => (ulong)random.NextInt64() >> random.Next(64),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    /// <summary>64 bits of a vector: integers, two singles or a double.</summary>
    public static ulong Lane(Random random) => random.Next(4) switch
    {
        0 => Integer(random),
        1 => Singles[random.Next(Singles.Length)] | Singles[random.Next(Singles.Length)] << 32,
        2 => Doubles[random.Next(Doubles.Length)],
        _ => (ulong)BitConverter.DoubleToInt64Bits((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-5, 20))),
    };
}
