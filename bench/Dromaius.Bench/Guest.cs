using System.Diagnostics;

namespace Dromaius.Bench;

/// <summary>A boot of a benchmark guest: the same command line for every emulator.</summary>
internal static class Guest
{
    /// <summary>How long a guest may say nothing.</summary>
    private const int SilenceMilliseconds = 180_000;

    /// <summary>Runs the programs; each result goes to the receiver as it arrives. The boot's time is of that name.</summary>
    public static void Run(
        string emulator, string kernel, string initrd, string cpu, int processors, IEnumerable<string> programs, Results results, string name) =>
        Run(emulator, kernel, initrd, cpu, processors, $"session=bench programs=\"{string.Join(' ', programs)}\"", [], results, name);

    /// <summary>Measures the disks of a guest.</summary>
    public static void RunDisks(string emulator, string kernel, string initrd, string cpu, Disks disks, Results results, string name) =>
        Run(emulator, kernel, initrd, cpu, 1, "session=run run=\"sh /bench/load; /bench/disk /dev/vda raw; /bench/disk /dev/vdb qcow2\"",
            ["-drive", $"file={disks.Raw},format=raw,if=virtio", "-drive", $"file={disks.Qcow2},format=qcow2,if=virtio"], results, name, isBoot: false);

    private static void Run(
        string emulator, string kernel, string initrd, string cpu, int processors, string session, string[] further, Results results, string name, bool isBoot = true)
    {
        var start = new ProcessStartInfo(emulator)
        {
            RedirectStandardOutput = true,
            RedirectStandardInput = true,
        };
        foreach (var argument in (string[])
        [
            "-accel", "tcg", "-display", "none", "-serial", "stdio", "-net", "none", "-no-reboot", "-m", "512", "-smp", $"{processors}",
            "-cpu", cpu, "-kernel", kernel, "-initrd", initrd,
            "-append", $"console=ttyS0 quiet panic=-1 {session}", .. further,
        ])
            start.ArgumentList.Add(argument);

        var watch = Stopwatch.StartNew();
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        using var limit = new Timer(_ => process.Kill(), null, SilenceMilliseconds, Timeout.Infinite);
        var booted = false;
        var finished = false;
        while (process.StandardOutput.ReadLine() is { } line)
        {
            limit.Change(SilenceMilliseconds, Timeout.Infinite);
            if (!booted && line.Contains("userland after", StringComparison.Ordinal))
            {
                booted = true;
                Console.Error.WriteLine($"  userland after {watch.Elapsed.TotalSeconds:0.0} s");
                // The other guests differ in their initial RAM disk and their processors.
                if (isBoot && initrd.EndsWith(".gz", StringComparison.Ordinal) && processors == 1)
                    results.Add(name, Results.Boot, watch.Elapsed.TotalNanoseconds, null);
            }

            finished |= line.Contains("reboot: Power down", StringComparison.Ordinal);
            if (!results.AddLine(name, line) && (!booted || line.StartsWith("bench ", StringComparison.Ordinal)))
                Console.Error.WriteLine("  | " + line);
        }

        process.WaitForExit();
        if (!finished)
            results.Fail($"{name}: a guest did not finish (status {process.ExitCode})");
    }
}
