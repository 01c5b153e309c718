using Dromaius.Cpu.X86;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.Tests.Translate;

/// <summary>Any bytes become well-formed IR in any mode.</summary>
public class FuzzTests
{
    private const int Rounds = 4_000;

    private const Mode Common = Mode.OsFxsr | Mode.Cr0Mp;

    private static readonly Mode[] Modes =
    [
        Common | Mode.IoAllowed,
        Common | Mode.Protected | Mode.V86 | (Mode)3,
        Common | Mode.Protected | Mode.Stack32,
        Common | Mode.Protected | Mode.Code32 | Mode.Stack32 | Mode.IoAllowed,
        Common | Mode.Protected | Mode.Code32 | Mode.Stack32 | Mode.FlatData | Mode.FlatCode,
        Common | Mode.Protected | Mode.Code32 | Mode.Stack32 | Mode.FlatData | Mode.FlatCode | Mode.Trap,
        Common | Mode.Protected | Mode.Code64 | Mode.Stack32 | Mode.FlatData | Mode.FlatCode | Mode.LongMode | Mode.OsXsave | Mode.Avx,
        Common | Mode.Protected | Mode.Code64 | Mode.Stack32 | Mode.FlatData | Mode.FlatCode | Mode.LongMode | (Mode)3
            | Mode.AlignCheck | Mode.OsXsave | Mode.Avx,
        Common | Mode.Protected | Mode.Code64 | Mode.Stack32 | Mode.FlatData | Mode.FlatCode | Mode.LongMode | Mode.Trap
            | Mode.CodeBreakpoints | Mode.InterruptShadow,
    ];

    public static TheoryData<int> ModeNumbers => new(Enumerable.Range(0, Modes.Length));

    [Theory]
    [MemberData(nameof(ModeNumbers))]
    public void RandomBytesTranslate(int number)
    {
        var mode = Modes[number];
        var random = new Random(1000 + number);
        var code = new ByteFetcher(new byte[4096]);
        var translator = new X86Translator(X86Model.Find("max")!);
        var builder = new IrBuilder(X86Layout.Layout);
        var wide = (mode & Mode.Code64) != 0;
        for (var round = 0; round < Rounds; round++)
        {
            var block = code.Bytes.AsSpan(0, 64);
            random.NextBytes(block);
            MakeLikely(block, random);
            builder.Reset();
            var start = round % 50 == 0 ? 4096UL - (ulong)random.Next(1, 20) : 0;
            var rip = start == 0 ? 0x1000UL : 0x1000 + start;
            try
            {
                var result = translator.Translate(builder, code, rip, wide ? 0UL : 0x70000UL, mode, 1 + round % 16);
                Assert.True(result.Instructions > 0 && result.Length > 0);
                if (IrVerifier.Verify(builder) is { } complaint)
                    throw new InvalidOperationException(complaint + Environment.NewLine + IrPrinter.Print(builder));
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"{Convert.ToHexString(block[..32])} in {mode}: {e}");
            }
        }
    }

    /// <summary>Random bytes seldom reach the two-byte maps or prefixes: help them.</summary>
    private static void MakeLikely(Span<byte> block, Random random)
    {
        for (var i = 0; i < block.Length - 1; i++)
        {
            switch (random.Next(24))
            {
                case 0: block[i] = 0x0F; break;
                case 1: block[i] = 0x66; break;
                case 2: block[i] = 0xF0; break;
                case 3: block[i] = (byte)random.Next(0xF2, 0xF4); break;
                case 4: block[i] = (byte)random.Next(0x40, 0x50); break;
                case 5: block[i] = (byte)random.Next(0xC4, 0xC6); break;
            }
        }
    }
}
