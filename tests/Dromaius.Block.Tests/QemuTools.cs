using System.Diagnostics;

namespace Dromaius.Block.Tests;

/// <summary>The reference tools, where they are installed.</summary>
internal static class QemuTools
{
    public static bool Available { get; } = File.Exists("/usr/bin/qemu-img") && File.Exists("/usr/bin/qemu-io");

    /// <summary>Runs a tool; its exit status and everything it said.</summary>
    public static (int Status, string Output) Run(string tool, params IEnumerable<string> args)
    {
        var info = new ProcessStartInfo(tool) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var arg in args)
            info.ArgumentList.Add(arg);
        using var process = Process.Start(info)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.Result);
    }

    public static void Check(string image)
    {
        var (status, output) = Run("qemu-img", "check", image);
        Assert.True(status == 0, output);
    }
}

/// <summary>A folder for the images of one test.</summary>
internal sealed class ImageFolder : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("dromaius-block-").FullName;

    public string this[string name] => Path.Combine(_path, name);

    public void Dispose() => Directory.Delete(_path, true);
}
