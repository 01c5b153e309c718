using System.Diagnostics;

namespace Dromaius.Cli.Tests;

/// <summary>A tool that is killed at any moment leaves an image that can be repaired and that has every flushed write.</summary>
public sealed class CrashTests
{
    private const int Blocks = 2048, BlockSize = 4096;

    [Theory]
    [InlineData("", 41)]
    [InlineData("lazy_refcounts=on", 42)]
    [InlineData("extended_l2=on,cluster_size=32k", 43)]
    [InlineData("cluster_size=512", 44)]
    public void FlushedWritesSurviveAKill(string options, int seed)
    {
        if (!File.Exists("/usr/bin/qemu-img"))
            return;
        var folder = Directory.CreateTempSubdirectory("dromaius-crash-").FullName;
        try
        {
            var random = new Random(seed);
            for (var round = 0; round < 3; round++)
                Round(folder, options, random, $"seed {seed} round {round}");
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private static void Round(string folder, string options, Random random, string context)
    {
        var image = Path.Combine(folder, "a.qcow2");
        string[] o = options.Length == 0 ? [] : ["-o", options];
        Assert.Equal(0, Run("qemu-img", ["create", "-q", "-f", "qcow2", .. o, image, $"{Blocks * BlockSize}"]).Status);
        var (commands, writes, flushes) = Plan(random);
        using var process = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "dromaius.dll"), "io", image])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        var killAfter = random.Next(1, flushes.Count);
        var feeder = Task.Run(() =>
        {
            try
            {
                process.StandardInput.Write(commands);
                process.StandardInput.Flush();
            }
            catch (IOException)
            {
                // It was killed meanwhile.
            }
        });
        var seen = 0;
        while (seen < killAfter && process.StandardOutput.ReadLine() is { } line)
        {
            if (line.EndsWith("8 MiB", StringComparison.Ordinal))
                seen++;
        }

        Thread.Sleep(random.Next(15));
        process.Kill();
        process.WaitForExit();
        feeder.Wait();

        var (status, output) = Run("qemu-img", ["check", "-r", "all", image]);
        Assert.True(status == 0, $"{context}: {output}");
        var raw = Path.Combine(folder, "a.raw");
        (status, output) = Run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", image, raw]);
        Assert.True(status == 0, $"{context}: {output}");
        Verify(File.ReadAllBytes(raw), writes, flushes[seen - 1], context);
    }

    /// <summary>Writes of patterns, with a flush and a sign of life now and then.</summary>
    private static (string Commands, List<(int Block, int Count, byte Pattern)> Writes, List<int> Flushes) Plan(Random random)
    {
        var text = new System.Text.StringBuilder();
        var writes = new List<(int, int, byte)>();
        var flushes = new List<int>();
        for (var i = 0; i < 600; i++)
        {
            var count = random.Next(1, 40);
            var block = random.Next(Blocks - count);
            var pattern = (byte)random.Next(1, 256);
            writes.Add((block, count, pattern));
            text.Append($"write -q -P {pattern} {block * BlockSize} {count * BlockSize}\n");
            if (random.Next(5) != 0)
                continue;
            text.Append("flush\nlength\n");
            flushes.Add(writes.Count);
        }

        return (text.ToString(), writes, flushes);
    }

    private static void Verify(byte[] disk, List<(int Block, int Count, byte Pattern)> writes, int flushed, string context)
    {
        for (var block = 0; block < Blocks; block++)
        {
            // What was flushed last, or anything that was written after that.
            var allowed = new HashSet<byte> { 0 };
            for (var i = 0; i < writes.Count; i++)
            {
                var (first, count, pattern) = writes[i];
                if (block < first || block >= first + count)
                    continue;
                if (i < flushed)
                    allowed.Clear();
                _ = allowed.Add(pattern);
            }

            var data = disk.AsSpan(block * BlockSize, BlockSize);
            foreach (var b in data)
                Assert.True(allowed.Contains(b), $"{context}: block {block} holds {b}, not {string.Join(" or ", allowed.Take(5))}");
        }
    }

    private static (int Status, string Output) Run(string tool, string[] args)
    {
        using var process = Process.Start(new ProcessStartInfo(tool, args) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.Result);
    }
}
