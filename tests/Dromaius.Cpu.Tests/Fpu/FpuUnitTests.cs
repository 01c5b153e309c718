using System.Runtime.InteropServices;
using Dromaius.Cpu.X86;
using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Cpu.Tests.Fpu;

/// <summary>x87 instructions against the host: registers, tags, status word with condition codes, memory.</summary>
public sealed unsafe class FpuUnitTests : IDisposable
{
    private delegate void Operation(X86State* s, byte* memory);

    private static readonly Dictionary<string, (byte[] Code, Operation Run)> Exact = new()
    {
        ["fadd st0,st1"] = ([0xD8, 0xC1], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Add, 0, 1, false)),
        ["fmul st0,st1"] = ([0xD8, 0xC9], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Multiply, 0, 1, false)),
        ["fsub st0,st1"] = ([0xD8, 0xE1], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Subtract, 0, 1, false)),
        ["fsubr st0,st1"] = ([0xD8, 0xE9], (s, _) => FpuUnit.Arithmetic(s, FpuArith.SubtractReverse, 0, 1, false)),
        ["fdiv st0,st1"] = ([0xD8, 0xF1], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Divide, 0, 1, false)),
        ["fdivr st0,st1"] = ([0xD8, 0xF9], (s, _) => FpuUnit.Arithmetic(s, FpuArith.DivideReverse, 0, 1, false)),
        ["fadd st2,st0"] = ([0xDC, 0xC2], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Add, 2, 0, false)),
        ["faddp st1"] = ([0xDE, 0xC1], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Add, 1, 0, true)),
        ["fmulp st1"] = ([0xDE, 0xC9], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Multiply, 1, 0, true)),
        ["fsubp st1"] = ([0xDE, 0xE9], (s, _) => FpuUnit.Arithmetic(s, FpuArith.Subtract, 1, 0, true)),
        ["fdivrp st1"] = ([0xDE, 0xF1], (s, _) => FpuUnit.Arithmetic(s, FpuArith.DivideReverse, 1, 0, true)),
        ["fadd m32"] = ([0xD8, 0x06], (s, m) => FpuUnit.ArithmeticMemory(s, FpuArith.Add, FpuFormat.F32, *(uint*)m)),
        ["fdiv m64"] = ([0xDC, 0x36], (s, m) => FpuUnit.ArithmeticMemory(s, FpuArith.Divide, FpuFormat.F64, *(ulong*)m)),
        ["fisub m32"] = ([0xDA, 0x26], (s, m) => FpuUnit.ArithmeticMemory(s, FpuArith.Subtract, FpuFormat.I32, *(uint*)m)),
        ["fimul m16"] = ([0xDE, 0x0E], (s, m) => FpuUnit.ArithmeticMemory(s, FpuArith.Multiply, FpuFormat.I16, *(ushort*)m)),
        ["fcom st1"] = ([0xD8, 0xD1], (s, _) => FpuUnit.Compare(s, 1, false, 0)),
        ["fcompp"] = ([0xDE, 0xD9], (s, _) => FpuUnit.Compare(s, 1, false, 2)),
        ["fucom st1"] = ([0xDD, 0xE1], (s, _) => FpuUnit.Compare(s, 1, true, 0)),
        ["fucompp"] = ([0xDA, 0xE9], (s, _) => FpuUnit.Compare(s, 1, true, 2)),
        ["fcomp m64"] = ([0xDC, 0x1E], (s, m) => FpuUnit.CompareMemory(s, FpuFormat.F64, *(ulong*)m, true)),
        ["ficom m16"] = ([0xDE, 0x16], (s, m) => FpuUnit.CompareMemory(s, FpuFormat.I16, *(ushort*)m, false)),
        ["ftst"] = ([0xD9, 0xE4], (s, _) => FpuUnit.Test(s)),
        ["fxam"] = ([0xD9, 0xE5], (s, _) => FpuUnit.Examine(s)),
        ["fchs"] = ([0xD9, 0xE0], (s, _) => FpuUnit.ChangeSign(s, false)),
        ["fabs"] = ([0xD9, 0xE1], (s, _) => FpuUnit.ChangeSign(s, true)),
        ["fxch st2"] = ([0xD9, 0xCA], (s, _) => FpuUnit.Exchange(s, 2)),
        ["fld st1"] = ([0xD9, 0xC1], (s, _) => FpuUnit.Duplicate(s, 1)),
        ["fst st2"] = ([0xDD, 0xD2], (s, _) => FpuUnit.StoreRegister(s, 2, false)),
        ["fstp st1"] = ([0xDD, 0xD9], (s, _) => FpuUnit.StoreRegister(s, 1, true)),
        ["ffree st1"] = ([0xDD, 0xC1], (s, _) => FpuUnit.Simple(s, FpuSimple.Free, 1)),
        ["fincstp"] = ([0xD9, 0xF7], (s, _) => FpuUnit.Simple(s, FpuSimple.IncrementTop, 0)),
        ["fdecstp"] = ([0xD9, 0xF6], (s, _) => FpuUnit.Simple(s, FpuSimple.DecrementTop, 0)),
        ["fnclex"] = ([0xDB, 0xE2], (s, _) => FpuUnit.Simple(s, FpuSimple.ClearExceptions, 0)),
        ["fld1"] = ([0xD9, 0xE8], (s, _) => FpuUnit.LoadConstant(s, FpuConstant.One)),
        ["fldl2t"] = ([0xD9, 0xE9], (s, _) => FpuUnit.LoadConstant(s, FpuConstant.Log2Of10)),
        ["fldl2e"] = ([0xD9, 0xEA], (s, _) => FpuUnit.LoadConstant(s, FpuConstant.Log2OfE)),
        ["fldpi"] = ([0xD9, 0xEB], (s, _) => FpuUnit.LoadConstant(s, FpuConstant.Pi)),
        ["fldlg2"] = ([0xD9, 0xEC], (s, _) => FpuUnit.LoadConstant(s, FpuConstant.Log10Of2)),
        ["fldln2"] = ([0xD9, 0xED], (s, _) => FpuUnit.LoadConstant(s, FpuConstant.LnOf2)),
        ["fldz"] = ([0xD9, 0xEE], (s, _) => FpuUnit.LoadConstant(s, FpuConstant.Zero)),
        ["fsqrt"] = ([0xD9, 0xFA], (s, _) => FpuUnit.Function(s, FpuFunction.Sqrt)),
        ["frndint"] = ([0xD9, 0xFC], (s, _) => FpuUnit.Function(s, FpuFunction.RoundToInteger)),
        ["fscale"] = ([0xD9, 0xFD], (s, _) => FpuUnit.Function(s, FpuFunction.Scale)),
        ["fxtract"] = ([0xD9, 0xF4], (s, _) => FpuUnit.Function(s, FpuFunction.Extract)),
        ["fprem"] = ([0xD9, 0xF8], (s, _) => FpuUnit.Function(s, FpuFunction.Remainder)),
        ["fprem1"] = ([0xD9, 0xF5], (s, _) => FpuUnit.Function(s, FpuFunction.RemainderNearest)),
        ["fld m32"] = ([0xD9, 0x06], (s, m) => FpuUnit.Load(s, FpuFormat.F32, *(uint*)m)),
        ["fld m64"] = ([0xDD, 0x06], (s, m) => FpuUnit.Load(s, FpuFormat.F64, *(ulong*)m)),
        ["fld m80"] = ([0xDB, 0x2E], (s, m) => FpuUnit.LoadExtended(s, *(ulong*)m, *(ushort*)(m + 8))),
        ["fild m16"] = ([0xDF, 0x06], (s, m) => FpuUnit.Load(s, FpuFormat.I16, *(ushort*)m)),
        ["fild m32"] = ([0xDB, 0x06], (s, m) => FpuUnit.Load(s, FpuFormat.I32, *(uint*)m)),
        ["fild m64"] = ([0xDF, 0x2E], (s, m) => FpuUnit.Load(s, FpuFormat.I64, *(ulong*)m)),
        ["fst m32"] = ([0xD9, 0x16], (s, m) => Store(s, m, FpuFormat.F32, 4, false)),
        ["fstp m32"] = ([0xD9, 0x1E], (s, m) => Store(s, m, FpuFormat.F32, 4, true)),
        ["fst m64"] = ([0xDD, 0x16], (s, m) => Store(s, m, FpuFormat.F64, 8, false)),
        ["fstp m64"] = ([0xDD, 0x1E], (s, m) => Store(s, m, FpuFormat.F64, 8, true)),
        ["fstp m80"] = ([0xDB, 0x3E], (s, m) => Store(s, m, FpuFormat.F80, 10, true)),
        ["fist m16"] = ([0xDF, 0x16], (s, m) => Store(s, m, FpuFormat.I16, 2, false)),
        ["fistp m32"] = ([0xDB, 0x1E], (s, m) => Store(s, m, FpuFormat.I32, 4, true)),
        ["fistp m64"] = ([0xDF, 0x3E], (s, m) => Store(s, m, FpuFormat.I64, 8, true)),
        ["fbstp"] = ([0xDF, 0x36], (s, m) => Store(s, m, FpuFormat.Bcd, 10, true)),
        ["fisttp m16"] = ([0xDF, 0x0E], (s, m) => Store(s, m, FpuFormat.I16Truncate, 2, true)),
        ["fisttp m32"] = ([0xDB, 0x0E], (s, m) => Store(s, m, FpuFormat.I32Truncate, 4, true)),
        ["fisttp m64"] = ([0xDD, 0x0E], (s, m) => Store(s, m, FpuFormat.I64Truncate, 8, true)),
    };

    private static readonly Dictionary<string, (byte[] Code, FpuFunction Function)> Approximate = new()
    {
        ["fsin"] = ([0xD9, 0xFE], FpuFunction.Sin),
        ["fcos"] = ([0xD9, 0xFF], FpuFunction.Cos),
        ["fsincos"] = ([0xD9, 0xFB], FpuFunction.SinCos),
        ["fptan"] = ([0xD9, 0xF2], FpuFunction.Tangent),
        ["fpatan"] = ([0xD9, 0xF3], FpuFunction.ArcTangent),
        ["f2xm1"] = ([0xD9, 0xF0], FpuFunction.PowerMinusOne),
        ["fyl2x"] = ([0xD9, 0xF1], FpuFunction.YLog2X),
        ["fyl2xp1"] = ([0xD9, 0xF9], FpuFunction.YLog2XPlusOne),
    };

    private static int Seed => int.TryParse(Environment.GetEnvironmentVariable("DROMAIUS_SEED"), out var s) ? s : 20240731;

    private static int Rounds => int.TryParse(Environment.GetEnvironmentVariable("DROMAIUS_ROUNDS"), out var r) ? r : 4000;

    public static TheoryData<string, bool> ExactNames() => BothWays(Exact.Keys);

    public static TheoryData<string, bool> ApproximateNames() => BothWays(Approximate.Keys);

    /// <summary>In software, and with the host's x87 at work.</summary>
    private static TheoryData<string, bool> BothWays(IEnumerable<string> names)
    {
        var data = new TheoryData<string, bool>();
        foreach (var name in names)
        {
            data.Add(name, false);
            data.Add(name, true);
        }

        return data;
    }

    /// <summary>Tests of a class run one after the other; others may use either way.</summary>
    public void Dispose() => FpuHost.Enabled = true;

    [Theory]
    [MemberData(nameof(ExactNames))]
    public void MatchesTheHost(string name, bool useHost)
    {
        FpuHost.Enabled = useHost;
        var (bytes, run) = Exact[name];
        var code = new HostFpu().Compile(bytes);
        var random = new Random(Seed + name.Length);
        byte* input = stackalloc byte[128], host = stackalloc byte[128], ours = stackalloc byte[128];
        byte* memory = stackalloc byte[16], hostMemory = stackalloc byte[16];
        var s = (X86State*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc((nuint)sizeof(X86State), 64);
        for (var i = 0; i < Rounds; i++)
        {
            Randomize(s, random);
            // A denormal scaled by 0, or its remainder to infinity, is tiny to some processors and unchanged to others, which shows
            // where underflow is unmasked.
            if (name is "fscale" or "fprem" or "fprem1")
                s->FpControl |= (ushort)FpFlags.Underflow;
            FillMemory(memory, random);
            *(UInt128*)hostMemory = *(UInt128*)memory;
            FpuImage.Write(input, s);
            code(input, hostMemory, host);
            var text = Describe(input, memory);
            run(s, memory);
            FpuImage.Write(ours, s);
            var same = FpuImage.Status(host) == FpuImage.Status(ours) && FpuImage.Tags(host) == FpuImage.Tags(ours)
                && *(UInt128*)memory == *(UInt128*)hostMemory;
            for (var k = 0; k < 8; k++)
            {
                Float80 a = FpuImage.Register(host, k), b = FpuImage.Register(ours, k);
                same &= a.Significand == b.Significand && a.SignExponent == b.SignExponent;
            }

            if (!same)
            {
                Assert.Fail($"{name} seed {Seed} round {i}\nbefore {text}\nhost   {Describe(host, hostMemory)}\n"
                    + $"ours   {Describe(ours, memory)}");
            }
        }

        System.Runtime.InteropServices.NativeMemory.AlignedFree(s);
    }

    [Theory]
    [MemberData(nameof(ApproximateNames))]
    public void IsCloseToTheHost(string name, bool useHost)
    {
        FpuHost.Enabled = useHost;
        var (bytes, function) = Approximate[name];
        var code = new HostFpu().Compile(bytes);
        var random = new Random(Seed + name.Length);
        byte* input = stackalloc byte[128], host = stackalloc byte[128], ours = stackalloc byte[128];
        byte* memory = stackalloc byte[16];
        *(UInt128*)memory = 0;
        var s = (X86State*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc((nuint)sizeof(X86State), 64);
        // Not compared: C1 and PE, and flags of results near the limits.
        const int ignored = 0x0200 | 0x20 | 0x10;
        for (var i = 0; i < Rounds; i++)
        {
            Randomize(s, random);
            s->FpControl |= 0x30;
            if (function == FpuFunction.PowerMinusOne)
                Limit(s, 0x3FFE);
            if (function == FpuFunction.YLog2XPlusOne)
                Limit(s, 0x3FFC);
            FpuImage.Write(input, s);
            code(input, memory, host);
            var text = Describe(input, memory);
            FpuUnit.Function(s, function);
            FpuImage.Write(ours, s);
            var same = ((FpuImage.Status(host) ^ FpuImage.Status(ours)) & ~ignored) == 0
                && Empty(FpuImage.Tags(host)) == Empty(FpuImage.Tags(ours));
            for (var k = 0; k < 8; k++)
                same &= IsClose(FpuImage.Register(host, k), FpuImage.Register(ours, k));
            if (!same)
            {
                Assert.Fail($"{name} seed {Seed} round {i}\nbefore {text}\nhost   {Describe(host, memory)}\n"
                    + $"ours   {Describe(ours, memory)}");
            }
        }

        System.Runtime.InteropServices.NativeMemory.AlignedFree(s);
    }

    /// <summary>FCOMI writes the processor's flags.</summary>
    [Theory]
    [InlineData("fcomi", false)]
    [InlineData("fucomi", true)]
    public void FlagsMatchTheHost(string name, bool quiet)
    {
        var code = new HostFpu().Compile(quiet ? [0xDB, 0xE9] : [0xDB, 0xF1]);
        var random = new Random(Seed);
        byte* input = stackalloc byte[128], host = stackalloc byte[128];
        var s = (X86State*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc((nuint)sizeof(X86State), 64);
        for (var i = 0; i < Rounds; i++)
        {
            Randomize(s, random);
            FpuImage.Write(input, s);
            var flags = code(input, input, host) & 0x8D5;
            var ours = FpuUnit.CompareFlags(s, 1, quiet, false);
            Assert.True(flags == ours, $"{name} seed {Seed} round {i}: host {flags:X} ours {ours:X} {Describe(input, input)}");
            Assert.Equal(FpuImage.Status(host), FpuState.StatusWord(s));
        }

        System.Runtime.InteropServices.NativeMemory.AlignedFree(s);
    }

    private static void Store(X86State* s, byte* memory, FpuFormat format, int size, bool pop)
    {
        var bits = FpuUnit.PrepareStore(s, format);
        if (!FpuUnit.StoreRefused(s))
        {
            new Span<byte>(&bits, Math.Min(size, 8)).CopyTo(new Span<byte>(memory, 16));
            if (size == 10)
                *(ushort*)(memory + 8) = (ushort)s->Vector.A.Q[0];
        }

        FpuUnit.CommitStore(s, pop);
    }

    private static void Randomize(X86State* s, Random random)
    {
        *s = default;
        FpuState.Initialize(s);
        s->FpControl = (ushort)(0x40 | random.Next(4) << 10 | (random.Next(4) switch { 0 => 0, 1 => 2, _ => 3 }) << 8
            | (random.Next(3) == 0 ? random.Next(64) : 0x3F));
        s->FpTop = (uint)random.Next(8);
        s->FpStatus = (ushort)(random.Next(16) switch { var c => (c & 7) << 8 | (c & 8) << 11 });
        s->FpEmpty = random.Next(6) == 0 ? (byte)random.Next(256) : (byte)(1 << (((int)s->FpTop + 7) & 7));
        for (var i = 0; i < 8; i++)
            *FpuState.Register(s, i) = Float80Operands.Next(random);
        // Close operands cancel.
        if (random.Next(5) == 0)
        {
            *FpuState.Register(s, 1) = *FpuState.Register(s, 0);
            FpuState.Register(s, 1)->Significand ^= 1ul << random.Next(64) & (ulong)random.NextInt64();
        }
    }

    private static void Limit(X86State* s, int exponent)
    {
        var r = FpuState.Register(s, 0);
        if (r->BiasedExponent > exponent && r->BiasedExponent != 0x7FFF)
            r->SignExponent = (ushort)(r->SignExponent & 0x8000 | exponent - (r->SignExponent & 15));
    }

    private static void FillMemory(byte* memory, Random random)
    {
        *(UInt128*)memory = 0;
        var shape = random.Next(4);
        if (shape == 0)
        {
            var v = Float80Operands.Next(random);
            *(ulong*)memory = v.Significand;
            *(ushort*)(memory + 8) = v.SignExponent;
        }
        else if (shape == 1)
        {
            var env = new FpEnv { Masks = FpFlags.All };
            var v = Float80Operands.Next(random).Unpack();
            *(ulong*)memory = random.Next(2) == 0 ? FpFormat<F64>.Pack(v, ref env) : FpFormat<F32>.Pack(v, ref env);
        }
        else
        {
            random.NextBytes(new Span<byte>(memory, 10));
            if (shape == 3)
                *(ulong*)memory &= 0x807F_FF80_7FFF_FFFF;
        }
    }

    /// <summary>Registers that are empty; the other tags follow from values that may differ a little.</summary>
    private static int Empty(ushort tags) => tags & tags >> 1 & 0x5555;

    private static bool IsClose(Float80 a, Float80 b)
    {
        if (a.SignExponent == b.SignExponent)
        {
            var distance = a.Significand > b.Significand ? a.Significand - b.Significand : b.Significand - a.Significand;
            return distance <= 2;
        }

        // Either side of a power of two.
        return (a.SignExponent & 0x8000) == (b.SignExponent & 0x8000) && Math.Abs(a.BiasedExponent - b.BiasedExponent) == 1
            && (a.Significand - b.Significand + 2 is <= 4 || a.Significand << 1 <= 4 || b.Significand << 1 <= 4);
    }

    private static string Describe(byte* image, byte* memory)
    {
        var text = $"cw {*(ushort*)image:X4} sw {FpuImage.Status(image):X4} tw {FpuImage.Tags(image):X4}";
        for (var i = 0; i < 3; i++)
        {
            var r = FpuImage.Register(image, i);
            text += $" {r.SignExponent:X4}:{r.Significand:X16}";
        }

        return text + $" top-1 {FpuImage.Register(image, 7).SignExponent:X4}:{FpuImage.Register(image, 7).Significand:X16}"
            + $" mem {*(UInt128*)memory:X32}";
    }
}
