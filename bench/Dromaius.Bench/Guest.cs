using System.Diagnostics;

namespace Dromaius.Bench;

/// <summary>A boot of the benchmark guest: the same command line for every emulator.</summary>
internal static class Guest
{
    private const int LimitSeconds = 600;

    public static void Run(string emulator, string kernel, string initrd, string cpu, string name, Results results)
    {
        var start = new ProcessStartInfo(emulator)
        {
            RedirectStandardOutput = true,
            RedirectStandardInput = true,
        };
        foreach (var argument in (string[])
        [
            "-accel", "tcg", "-display", "none", "-serial", "stdio", "-net", "none", "-no-reboot", "-m", "512", "-smp", "1", "-cpu", cpu,
            "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 session=bench",
        ])
            start.ArgumentList.Add(argument);

        var watch = Stopwatch.StartNew();
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        using var limit = new Timer(_ => process.Kill(), null, LimitSeconds * 1000, Timeout.Infinite);
        var booted = false;
        var finished = false;
        while (process.StandardOutput.ReadLine() is { } line)
        {
            if (!booted && line.Contains("userland after", StringComparison.Ordinal))
            {
                booted = true;
                results.Add(name, Results.Boot, watch.Elapsed.TotalNanoseconds, null);
            }

            results.AddLines(name, [line]);
            finished |= line.Contains("reboot: Power down", StringComparison.Ordinal);
        }

        process.WaitForExit();
        if (!finished)
            throw new InvalidOperationException($"{name} did not finish (status {process.ExitCode})");
    }
}
