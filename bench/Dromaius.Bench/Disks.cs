using System.Diagnostics;
using System.Globalization;

namespace Dromaius.Bench;

/// <summary>The images of a guest with disks: a raw one and a qcow2 one, empty.</summary>
internal sealed class Disks : IDisposable
{
    private const long Size = 256 << 20;
    private readonly string _folder;

    public Disks(string folder, string imageTool)
    {
        _folder = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"disks.{Environment.ProcessId}"));
        _ = Directory.CreateDirectory(_folder);
        Raw = Path.Combine(_folder, "disk.raw");
        Qcow2 = Path.Combine(_folder, "disk.qcow2");
        using (var file = File.Create(Raw))
            file.SetLength(Size);
        _ = Command.Output(imageTool, ["create", "-q", "-f", "qcow2", Qcow2, $"{Size}"]);
    }

    public string Raw { get; }
    public string Qcow2 { get; }

    /// <summary>How long a tool takes to convert a full image.</summary>
    public TimeSpan Convert(string[] tool)
    {
        var source = Path.Combine(_folder, "source.raw");
        var target = Path.Combine(_folder, "target.qcow2");
        var block = new byte[1 << 20];
        new Random(1).NextBytes(block);
        using (var file = File.Create(source))
        {
            for (var at = 0L; at < Size; at += block.Length)
                file.Write(block);
        }

        var watch = Stopwatch.StartNew();
        _ = Command.Output(tool[0], [.. tool[1..], "convert", "-f", "raw", "-O", "qcow2", source, target]);
        return watch.Elapsed;
    }

    public void Dispose() => Directory.Delete(_folder, true);
}
