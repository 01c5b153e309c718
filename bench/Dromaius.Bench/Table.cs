using System.Globalization;
using System.Text;

namespace Dromaius.Bench;

/// <summary>What was measured.</summary>
internal sealed record Versions(string Dromaius, string Qemu, string Kernel, string Compiler);

/// <summary>The table made of results.</summary>
internal sealed class Table(Results results)
{
    private const string Begin = "<!-- table -->", End = "<!-- end of table -->";

    /// <summary>The table; a partial one leaves out what was not measured.</summary>
    public string Markdown(int runs, string cpu, Versions versions, bool partial)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:yyyy-MM-dd}, {HostCpu()}, {Environment.ProcessorCount} processors; ");
        text.Append(CultureInfo.InvariantCulture, $"median of {runs} runs in turn, `-accel tcg -smp 1 -m 512 -cpu {cpu}`.\n");
        text.Append(CultureInfo.InvariantCulture, $"{versions.Dromaius}; {versions.Qemu}; guest {versions.Kernel}; {versions.Compiler}.\n\n");
        text.Append("| kernel | what | native ms | QEMU ms | Dromaius ms | QEMU / Dromaius | Dromaius / native |\n");
        text.Append("| --- | --- | ---: | ---: | ---: | ---: | ---: |\n");
        if (!partial || Known(Results.Boot))
            Row(text, Results.Boot, "kernel and initramfs, from the start of the process");
        foreach (var group in Enum.GetValues<Group>())
        {
            var kernels = Kernel.All.Where(k => k.Group == group && (!partial || Known(k.Name))).ToList();
            if (kernels.Count == 0)
                continue;
            text.Append(CultureInfo.InvariantCulture,
                $"| **{Kernel.Title(group)}** | *geometric mean* | | | | **{Mean(kernels, results.Ratio)}** | {Mean(kernels, Slowdown)} |\n");
            foreach (var kernel in kernels)
                Row(text, kernel.Name, kernel.What);
        }

        // The disks are the host's more than the translator's.
        var computing = Kernel.All.Where(static k => k.Group != Group.Disks).ToList();
        text.Append(CultureInfo.InvariantCulture,
            $"| **all** | *geometric mean, without the boot and the disks* | | | | **{Mean(computing, results.Ratio)}** | {Mean(computing, Slowdown)} |\n");
        var least = Kernel.All.Where(k => results.Ratio(k.Name) is < 1).Select(static k => k.Name).ToList();
        text.Append(CultureInfo.InvariantCulture, $"\nSlower than QEMU: {(least.Count == 0 ? "none" : string.Join(", ", least))}.\n");
        if (Scaling("dromaius") is { } ours)
        {
            text.Append(CultureInfo.InvariantCulture, $"\nTwo busy processors do {ours:0.00} times the work of one (`-smp 2`)");
            text.Append(CultureInfo.InvariantCulture, $"; under QEMU {Scaling("qemu"):0.00}, natively {Scaling("native"):0.00}.\n");
        }

        return text.ToString();
    }

    /// <summary>Puts the table between the marks of a document, or makes a file of it.</summary>
    public static void WriteInto(string path, string table)
    {
        var document = File.Exists(path) ? File.ReadAllText(path) : "";
        var begin = document.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var end = document.IndexOf(End, StringComparison.Ordinal);
        File.WriteAllText(path, end < begin ? table : $"{document[..begin]}\n\n{table}\n{document[end..]}");
    }

    private void Row(StringBuilder text, string kernel, string what)
    {
        text.Append(CultureInfo.InvariantCulture, $"| {kernel} | {what} | {Cell("native", kernel)} | {Cell("qemu", kernel)} | ");
        text.Append(CultureInfo.InvariantCulture, $"{Cell("dromaius", kernel)} | {Number(results.Ratio(kernel))} | {Number(Slowdown(kernel))} |\n");
    }

    private bool Known(string kernel) => results.Median("native", kernel) != null || results.Median("dromaius", kernel) != null;

    private double? Slowdown(string kernel) => results.Median("dromaius", kernel) / results.Median("native", kernel);

    private double? Scaling(string machine) =>
        2 * results.Median(machine, Kernel.ScalingOne) / results.Median(machine, Kernel.ScalingTwo);

    private string Cell(string machine, string kernel) =>
        results.Median(machine, kernel) is { } ns ? (ns / 1e6).ToString(ns < 1e8 ? "0.0" : "0", CultureInfo.InvariantCulture) : "";

    private static string Number(double? number) => number?.ToString("0.00", CultureInfo.InvariantCulture) ?? "";

    private static string Mean(IEnumerable<Kernel> kernels, Func<string, double?> figure)
    {
        var figures = kernels.Select(k => figure(k.Name)).OfType<double>().ToList();
        return figures.Count == 0 ? "-" : Number(Math.Exp(figures.Average(Math.Log)));
    }

    private static string HostCpu() =>
        File.ReadLines("/proc/cpuinfo").FirstOrDefault(static l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "";
}
