using System.Globalization;
using System.Text;
using Dromaius.Jit.Interpreter;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Tests;

/// <summary>
/// Compares the back ends over random programs. <c>DROMAIUS_IR_COUNT</c> sets how many (default 3,000),
/// <c>DROMAIUS_IR_SEED</c> the first one's seed: with a count of 1 it repeats a failure. <c>DROMAIUS_IR_LOG</c>
/// names a file that gets each seed and program before it runs, for those that end the process.
/// </summary>
public sealed unsafe class RandomProgramTests
{
    private static readonly int Count = Setting("DROMAIUS_IR_COUNT", 3000);
    private static readonly string? Log = Environment.GetEnvironmentVariable("DROMAIUS_IR_LOG");
    private static readonly int FirstSeed = Setting("DROMAIUS_IR_SEED", 1);

    [Fact]
    public void GeneratedProgramsVerify()
    {
        var b = new IrBuilder(TestGuest.Layout);
        for (var n = 0; n < Math.Min(Count, 1000); n++)
        {
            Generate(b, FirstSeed + n, []);
            var complaint = IrVerifier.Verify(b);
            Assert.True(complaint == null, $"seed {FirstSeed + n}: {complaint}\n{IrPrinter.Print(b)}");
        }
    }

    [Fact]
    public void PassesKeepTheMeaning() => Compare(new OptimisedInterpreter());

    [Fact]
    public void HostCodeDoesWhatTheInterpreterDoes()
    {
        if (!System.Runtime.Intrinsics.X86.X86Base.X64.IsSupported)
            return;
        using var host = new X64BackEnd();
        Compare(host);
    }

    private static void Compare(IBackEnd tested)
    {
        using var left = new TestGuest();
        using var right = new TestGuest();
        var b = new IrBuilder(TestGuest.Layout);
        var oracle = new PlainInterpreter();
        for (var n = 0; n < Count; n++)
        {
            var seed = FirstSeed + n;
            if (Log != null)
            {
                Generate(b, seed, []);
                File.WriteAllText(Log, string.Create(CultureInfo.InvariantCulture, $"seed {seed}\n{IrPrinter.Print(b)}"));
            }

            if (Mismatch(oracle, tested, left, right, b, seed, []) is not { } difference)
                continue;
            var removed = Reduce(n => Mismatch(oracle, tested, left, right, b, seed, n) != null, b, seed);
            difference = Mismatch(oracle, tested, left, right, b, seed, removed);
            var after = IrPrinter.Print(b);
            Generate(b, seed, removed);
            Assert.Fail($"{tested.Name}: {difference}\nrepeat: DROMAIUS_IR_COUNT=1 DROMAIUS_IR_SEED={seed}\n"
                + $"reduced to:\n{IrPrinter.Print(b)}after:\n{after}");
        }
    }

    private static string? Mismatch(IBackEnd oracle, IBackEnd tested, TestGuest left, TestGuest right, IrBuilder b, int seed,
        HashSet<int> removed)
    {
        var expected = Run(oracle, left, b, seed, removed);
        var actual = Run(tested, right, b, seed, removed);
        return Difference(left, expected, right, actual);
    }

    /// <summary>Which operations a failing program can do without: the greatest set found by leaving out one after the other.</summary>
    private static HashSet<int> Reduce(Func<HashSet<int>, bool> fails, IrBuilder b, int seed)
    {
        var removed = new HashSet<int>();
        Generate(b, seed, removed);
        var count = b.Count;
        for (var again = true; again;)
        {
            again = false;
            for (var i = count - 1; i >= 0; i--)
            {
                if (!removed.Add(i))
                    continue;
                Generate(b, seed, removed);
                if (IrVerifier.Verify(b) == null && fails(removed))
                    again = true;
                else
                    removed.Remove(i);
            }
        }

        return removed;
    }

    private static UnitExit Run(IBackEnd backEnd, TestGuest guest, IrBuilder b, int seed, HashSet<int> removed)
    {
        Generate(b, seed, removed);
        var random = new Random(seed * 7 + 1);
        guest.Initialise(random);
        guest.State->Engine.ExitRequest = random.Next(4) == 0 ? 1U : 0;
        return backEnd.Run(b, guest.State);
    }

    private static void Generate(IrBuilder b, int seed, HashSet<int> removed)
    {
        b.Reset();
        b.IsHot = seed % 3 == 0;
        new ProgramGenerator(new Random(seed), b) { Vectors = (seed & 1) == 0 }.Write();
        foreach (var i in removed)
            b.Insns[i].Op = IrOp.Nop;
    }

    private static string? Difference(TestGuest left, UnitExit expected, TestGuest right, UnitExit actual)
    {
        var text = new StringBuilder();
        var reason = left.State->Engine.ExitReason;
        if (expected is UnitExit.DirectNoSlot or UnitExit.Indirect or UnitExit.Lookup && actual == UnitExit.Loop)
            actual = expected; // host code looks the address up by itself
        if (expected != actual)
            text.Append(CultureInfo.InvariantCulture, $"exit {actual} instead of {expected}\n");
        if (reason != right.State->Engine.ExitReason)
            text.Append(CultureInfo.InvariantCulture, $"reason {right.State->Engine.ExitReason} instead of {reason}\n");

        // A unit that is left in its middle keeps its sticky FP flags in the host's register.
        if (reason != ExitReason.None)
            right.State->Mxcsr = left.State->Mxcsr;
        Bytes(text, "state", left.StateBytes, right.StateBytes);
        Bytes(text, "memory", left.MemoryBytes, right.MemoryBytes);
        return text.Length == 0 ? null : text.ToString();
    }

    private static void Bytes(StringBuilder text, string what, Span<byte> expected, Span<byte> actual)
    {
        if (expected.SequenceEqual(actual))
            return;
        for (var i = 0; i + 8 <= expected.Length; i += 8)
        {
            var e = BitConverter.ToUInt64(expected[i..]);
            var a = BitConverter.ToUInt64(actual[i..]);
            if (e != a)
                text.Append(CultureInfo.InvariantCulture, $"{what}+0x{i:x}: {a:x16} instead of {e:x16}\n");
        }
    }

    private static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out var value) ? value : otherwise;
}
