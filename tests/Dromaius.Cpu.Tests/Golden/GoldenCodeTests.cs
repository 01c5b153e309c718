using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using Dromaius.Cpu.Tests.Oracle;
using Dromaius.Jit.X64;
using Iced.Intel;

namespace Dromaius.Cpu.Tests.Golden;

/// <summary>
/// The host code that guest instructions become, kept beside this file so that a review shows what a change does to it. Cold
/// paths are left out. <c>DROMAIUS_GOLDEN=update</c> writes the files anew.
/// </summary>
public sealed class GoldenCodeTests
{
    private static readonly string Folder = Path.GetDirectoryName(ThisFile())!;

    [Fact]
    public void Instructions() => Compare("instructions.txt", GoldenPrograms.Instructions());

    [Fact]
    public void Sequences() => Compare("sequences.txt", GoldenPrograms.Sequences());

    [Fact]
    public void Loops() => Compare("loops.txt", GoldenPrograms.Sequences(), loops: true);

    private static void Compare(string file, IEnumerable<(string Title, byte[] Code)> programs, bool loops = false)
    {
        if (!HostProcessor.IsSupported)
            return;
        using var guest = new GuestProcessor(native: true);
        var text = new StringBuilder(Host()).Append('\n');
        foreach (var (title, code) in programs)
        {
            var host = guest.Compile(code, loops, out var address);
            if (host.Length == 0)
                continue;
            text.Append("\n# ").Append(title).Append('\n').Append(Listing(code, MachineState.CodeBase, "", null))
                .Append(Listing(host.ToArray(), address, "    ", address));
        }

        var path = Path.Combine(Folder, file);
        if (Environment.GetEnvironmentVariable("DROMAIUS_GOLDEN") == "update")
        {
            File.WriteAllText(path, text.ToString());
            return;
        }

        var expected = File.ReadAllLines(path);
        var actual = text.ToString().Split('\n');
        if (expected[0] != actual[0])
            return; // another processor, other code
        for (var i = 0; i < Math.Max(expected.Length, actual.Length - 1); i++)
        {
            var (was, now) = (i < expected.Length ? expected[i] : "(end)", i < actual.Length ? actual[i] : "(end)");
            Assert.True(was == now, $"{file}:{i + 1}: '{was}' is '{now}' now; DROMAIUS_GOLDEN=update accepts it");
        }
    }

    /// <summary>What the code depends on.</summary>
    private static string Host() =>
        $"host: avx2={HostFeatures.Avx2} bmi2={HostFeatures.Bmi2} fma={HostFeatures.Fma} f16c={HostFeatures.F16c} sha={HostFeatures.Sha}";

    /// <summary>Instructions, a line each; targets of jumps as distances from the start, or as outside.</summary>
    private static string Listing(byte[] code, ulong address, string indent, ulong? start)
    {
        var decoder = Iced.Intel.Decoder.Create(64, code, address);
        var formatter = new NasmFormatter();
        formatter.Options.RipRelativeAddresses = false;
        var output = new StringOutput();
        var text = new StringBuilder();
        while (decoder.IP < address + (ulong)code.Length)
        {
            decoder.Decode(out var instruction);
            if (start is { } first && instruction.FlowControl is FlowControl.UnconditionalBranch or FlowControl.ConditionalBranch
                or FlowControl.Call && instruction.Op0Kind == OpKind.NearBranch64)
            {
                var distance = instruction.NearBranchTarget - first;
                var target = distance < (ulong)code.Length ? string.Create(CultureInfo.InvariantCulture, $"+{distance:x}")
                    : instruction.FlowControl == FlowControl.ConditionalBranch ? "cold" : "out";
                text.Append(indent).Append(instruction.Mnemonic.ToString().ToLowerInvariant()).Append(' ').Append(target).Append('\n');
                continue;
            }

            formatter.Format(instruction, output);
            text.Append(indent).Append(output.ToStringAndReset()).Append('\n');
        }

        return text.ToString();
    }

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
