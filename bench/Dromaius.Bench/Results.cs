using System.Globalization;
using System.Text;

namespace Dromaius.Bench;

/// <summary>Times by emulator and kernel, and the table made of them.</summary>
internal sealed class Results
{
    public const string Boot = "boot to userland";
    private const string Begin = "<!-- table -->", End = "<!-- end of table -->";

    private static readonly (string Kernel, string What)[] Order =
    [
        (Boot, "kernel and initramfs, from the start of the process"),
        ("integer", "records, strings, small functions"),
        ("branches", "quicksort, Collatz"),
        ("calls", "recursion, function pointers"),
        ("bytecode", "interpreter, indirect jumps"),
        ("chase", "dependent loads"),
        ("memory", "memcpy, memset, strlen, byte loop"),
        ("sha256", "SHA-256 in C"),
        ("nbody", "double, square roots"),
        ("matrix", "double, matrix product"),
        ("mandelbrot", "double, branches"),
        ("simd_float", "vectorised float"),
        ("simd_int", "vectorised bytes and words"),
        ("syscalls", "getppid, pipe"),
        ("pagefaults", "map, touch, unmap"),
        ("processes", "fork, wait, ping-pong"),
    ];

    /// <summary>What is plain integer code in user mode: the mean of these is the measure of the translator.</summary>
    private static readonly string[] Integer = ["integer", "branches", "calls", "bytecode", "chase", "memory", "sha256"];

    private readonly Dictionary<(string Emulator, string Kernel), List<double>> _times = [];
    private readonly Dictionary<(string Emulator, string Kernel), string> _checks = [];

    public int Disagreements { get; private set; }

    public void Add(string emulator, string kernel, double nanoseconds, string? check)
    {
        if (!_times.TryGetValue((emulator, kernel), out var list))
            _times.Add((emulator, kernel), list = []);
        list.Add(nanoseconds);
        if (check != null)
            _checks[(emulator, kernel)] = check;
    }

    /// <summary>Takes the results out of lines such as "bench NAME NANOSECONDS check VALUE".</summary>
    public void AddLines(string emulator, IEnumerable<string> lines)
    {
        foreach (var line in lines)
        {
            var words = line.Trim().Split(' ');
            if (words is ["bench", var kernel, var time, "check", var check])
                Add(emulator, kernel, double.Parse(time, CultureInfo.InvariantCulture), check);
        }
    }

    /// <summary>Says where an emulator computed something else than the host.</summary>
    public void CheckValuesAgree()
    {
        foreach (var ((emulator, kernel), check) in _checks)
        {
            if (_checks.TryGetValue(("native", kernel), out var right) && right != check)
            {
                Disagreements++;
                Console.Error.WriteLine($"{kernel}: {emulator} computed {check}, the host {right}");
            }
        }
    }

    public string Markdown(int runs, string cpu, string qemuVersion)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:yyyy-MM-dd}, {HostCpu()}, {Environment.ProcessorCount} processors; ");
        text.Append(CultureInfo.InvariantCulture, $"median of {runs} runs in turn, `-smp 1 -m 512 -cpu {cpu}`; {qemuVersion}.\n\n");
        text.Append("| kernel | what | native ms | QEMU ms | Dromaius ms | QEMU / Dromaius |\n");
        text.Append("| --- | --- | ---: | ---: | ---: | ---: |\n");
        foreach (var (kernel, what) in Order)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"| {kernel} | {what} | {Cell("native", kernel)} | {Cell("qemu", kernel)} | {Cell("dromaius", kernel)} | {RatioCell(kernel)} |\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"\nGeometric mean of QEMU / Dromaius (above 1: Dromaius is faster): ");
        text.Append(CultureInfo.InvariantCulture, $"integer kernels {Mean(Integer)}, all kernels {Mean(Order.Select(static o => o.Kernel).Where(static k => k != Boot))}.\n");
        return text.ToString();
    }

    /// <summary>Puts the table between the marks of a document.</summary>
    public static void WriteInto(string path, string table)
    {
        var document = File.ReadAllText(path);
        var begin = document.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var end = document.IndexOf(End, StringComparison.Ordinal);
        File.WriteAllText(path, $"{document[..begin]}\n\n{table}\n{document[end..]}");
    }

    private string Cell(string emulator, string kernel) =>
        Median(emulator, kernel) is { } ns ? (ns / 1e6).ToString(ns < 1e8 ? "0.0" : "0", CultureInfo.InvariantCulture) : "";

    private string RatioCell(string kernel) => Ratio(kernel) is { } ratio ? ratio.ToString("0.00", CultureInfo.InvariantCulture) : "";

    private double? Ratio(string kernel) => Median("qemu", kernel) / Median("dromaius", kernel);

    private string Mean(IEnumerable<string> kernels)
    {
        var ratios = kernels.Select(Ratio).OfType<double>().ToList();
        return ratios.Count == 0 ? "-" : Math.Exp(ratios.Average(Math.Log)).ToString("0.00", CultureInfo.InvariantCulture);
    }

    private double? Median(string emulator, string kernel)
    {
        if (!_times.TryGetValue((emulator, kernel), out var list))
            return null;
        var sorted = list.Order().ToList();
        var middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    private static string HostCpu() =>
        File.ReadLines("/proc/cpuinfo").FirstOrDefault(static l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "";
}
