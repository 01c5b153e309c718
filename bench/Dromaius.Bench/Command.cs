using System.Diagnostics;

namespace Dromaius.Bench;

/// <summary>Programs run for their output.</summary>
internal static class Command
{
    public static List<string> Output(string program, IEnumerable<string> arguments, string? root = null)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true };
        if (root != null)
            start.Environment["BENCH_ROOT"] = root;
        using var process = Process.Start(start)!;
        var lines = new List<string>();
        while (process.StandardOutput.ReadLine() is { } line)
            lines.Add(line);
        process.WaitForExit();
        return lines;
    }

    public static string FirstLine(string program, string argument) =>
        program.Length == 0 ? "" : Output(program, [argument]).FirstOrDefault("");
}
