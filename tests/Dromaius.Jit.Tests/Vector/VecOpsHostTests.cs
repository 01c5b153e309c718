using System.Text;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Tests.Vector;

/// <summary>Every row of the vector table against the host processor: encoding, result and MXCSR flags.</summary>
public sealed unsafe class VecOpsHostTests
{
    private const uint DefaultMxcsr = 0x1F80;

    public static TheoryData<string> Kinds()
    {
        var data = new TheoryData<string>();
        for (var kind = VecKind.None + 1; kind < VecKind.Count; kind++)
            data.Add(kind.ToString());
        return data;
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void MatchesTheHost(string name)
    {
        var info = VecOps.Info(Enum.Parse<VecKind>(name));
        var seed = int.TryParse(Environment.GetEnvironmentVariable("DROMAIUS_SEED"), out var s) ? s : 20240731;
        var rounds = int.TryParse(Environment.GetEnvironmentVariable("DROMAIUS_ROUNDS"), out var r) ? r : 60;
        var random = new Random(seed + (int)info.Kind);
        var host = new HostVector();
        if (!info.VexOnly && HostVector.Has(info.Feature))
            Compare(host, info, random, rounds, vex: false, wide: false, seed);
        var hasVex = !info.LegacyOnly && HostVector.Has(info.Feature | VecFeatures.Avx);
        if (hasVex && info.Kind is not (VecKind.Vpermd or VecKind.Vpermps or VecKind.Vpermq or VecKind.Vpermpd
            or VecKind.Vperm2f128 or VecKind.Vperm2i128 or VecKind.Vbroadcastsd))
            Compare(host, info, random, rounds, vex: true, wide: false, seed);
        if (hasVex && !info.No256 && HostVector.Has(info.Feature256))
            Compare(host, info, random, rounds, vex: true, wide: true, seed);
    }

    private static void Compare(HostVector host, VecInfo info, Random random, int rounds, bool vex, bool wide, int seed)
    {
        VecArgs input = default, ours = default, theirs = default;
        for (var i = 0; i < rounds; i++)
        {
            var imm = (byte)random.Next(256);
            if (!vex && imm > info.MaxLegacyImm)
                imm &= info.MaxLegacyImm;
            if (info.Kind is >= VecKind.Cmpps and <= VecKind.Cmpsd)
                imm &= 31;
            if (info.Kind == VecKind.Pclmulqdq)
                imm &= 0x11;
            var code = host.Compile(info, vex, wide, imm);
            for (var k = 0; k < 40; k++)
            {
                Fill(&input.A, info, random);
                Fill(&input.B, info, random);
                Fill(&input.C, info, random);
                if (random.Next(8) == 0)
                    input.B = input.A;
                if (info.Kind is >= VecKind.Psrlw and <= VecKind.Psllq && random.Next(3) != 0)
                    input.B.Q[0] = (ulong)random.Next(70);
                input.Mxcsr = info.UsesMxcsr
                    ? DefaultMxcsr | (uint)random.Next(4) << 13 | (uint)random.Next(64) * (uint)random.Next(2)
                        | (random.Next(3) == 0 ? 0x40u : 0) | (random.Next(3) == 0 ? 0x8000u : 0)
                    : DefaultMxcsr;
                input.Imm = imm;
                input.Bytes = wide ? 32 : 16;
                ours = theirs = input;
                VecOps.Run(info.Kind, &ours);
                code(&theirs);
                if (!Same(ours, theirs, info))
                {
                    Assert.Fail($"{info.Name} vex={vex} bytes={input.Bytes} imm={imm:X2} mxcsr={input.Mxcsr:X4} seed={seed}\n"
                        + $"A    {Hex(input.A)}\nB    {Hex(input.B)}\nC    {Hex(input.C)}\n"
                        + $"ours {Hex(ours.Dst)} int {ours.Int:X} mxcsr {ours.Mxcsr:X4}\n"
                        + $"host {Hex(theirs.Dst)} int {theirs.Int:X} mxcsr {theirs.Mxcsr:X4}");
                }
            }
        }
    }

    private static bool Same(VecArgs a, VecArgs b, VecInfo info)
    {
        if (a.Mxcsr != b.Mxcsr)
            return false;
        if (info.HasIntResult)
            return a.Int == b.Int;
        for (var i = 0; i < a.Bytes / 8; i++)
        {
            if (a.Dst.Q[i] != b.Dst.Q[i] && !SameNaNs(info.Kind, a.Dst.Q[i], b.Dst.Q[i]))
                return false;
        }

        return true;
    }

    /// <summary>Which NaN of a dot product's wins differs from maker to maker.</summary>
    private static bool SameNaNs(VecKind kind, ulong a, ulong b) => kind switch
    {
        VecKind.Dppd => double.IsNaN(BitConverter.UInt64BitsToDouble(a)) && double.IsNaN(BitConverter.UInt64BitsToDouble(b)),
        VecKind.Dpps => SameOrNaN((uint)a, (uint)b) && SameOrNaN((uint)(a >> 32), (uint)(b >> 32)),
        _ => false,
    };

    private static bool SameOrNaN(uint a, uint b) =>
        a == b || (float.IsNaN(BitConverter.UInt32BitsToSingle(a)) && float.IsNaN(BitConverter.UInt32BitsToSingle(b)));

    private static string Hex(V256 v)
    {
        var text = new StringBuilder();
        for (var i = 3; i >= 0; i--)
            text.Append($"{v.Q[i]:X16} ");
        return text.ToString();
    }

    private static void Fill(V256* v, VecInfo info, Random random)
    {
        var shape = random.Next(10);
        if (info.Kind == VecKind.Cvtph2ps && shape < 7)
        {
            for (var i = 0; i < 16; i++)
                ((ushort*)v)[i] = (ushort)FpOperands.Next(random, 16, 11);
            return;
        }

        for (var i = 0; i < 4; i++)
        {
            v->Q[i] = shape switch
            {
                < 4 => FpOperands.Next(random, 64, 53),
                < 8 => FpOperands.Next(random, 32, 24) | FpOperands.Next(random, 32, 24) << 32,
                8 => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
                _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue) & 0x8001FF008000FF7F,
            };
        }
    }
}

/// <summary>Floating-point operands: special values, values near powers of two, close exponents, random bits.</summary>
internal static class FpOperands
{
    public static ulong Next(Random random, int bits, int precision)
    {
        var fraction = precision - 1;
        var exponentMax = (1ul << bits - precision) - 1;
        var bias = exponentMax >> 1;
        var fractionMask = (1ul << fraction) - 1;
        var sign = (ulong)random.Next(2) << bits - 1;
        var noise = (ulong)random.NextInt64() & fractionMask;
        var sparse = random.Next(4) switch
        {
            0 => 0ul,
            1 => 1ul << random.Next(fraction),
            2 => fractionMask << random.Next(fraction) & fractionMask,
            _ => noise,
        };
        return random.Next(14) switch
        {
            0 => sign,
            1 => sign | exponentMax << fraction,
            2 => sign | exponentMax << fraction | 1ul << fraction - 1 | sparse,
            3 => sign | exponentMax << fraction | (sparse & fractionMask >> 1) | 1,
            4 => sign | sparse,
            5 => sign | (ulong)random.Next(1, 4) << fraction | sparse,
            6 => sign | exponentMax - (ulong)random.Next(1, 3) << fraction | sparse,
            7 or 8 => sign | bias + (ulong)random.Next(0, 70) << fraction & (exponentMax << fraction) | sparse,
            9 or 10 => sign | bias - (ulong)random.Next(0, 3) << fraction | sparse,
            11 => sign | (bias & ~1ul) >> 1 << fraction | sparse,
            _ => sign | (ulong)random.NextInt64((long)exponentMax) << fraction | noise,
        };
    }
}
