using System.Diagnostics;

namespace Dromaius.Guests;

/// <summary>Video modes set by the BIOS and drawn in by a small ROM: the same pixels as QEMU shows for the same guest.</summary>
public sealed class ScreenTests : IDisposable
{
    private const string Reference = "/usr/bin/qemu-system-x86_64";

    private readonly string _folder = Directory.CreateTempSubdirectory("screen").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("text40", 640, 400)]
    [InlineData("text80", 720, 400)]
    [InlineData("cga4", 640, 400)]
    [InlineData("cga6", 640, 400)]
    [InlineData("ega16", 640, 350)]
    [InlineData("vga12", 640, 480)]
    [InlineData("vga13", 640, 400)]
    [InlineData("unchained", 640, 480)]
    [InlineData("vesa256", 800, 600)]
    [InlineData("vesa15", 640, 480)]
    [InlineData("vesa16", 640, 480)]
    [InlineData("vesa24", 800, 600)]
    [InlineData("vesa32", 1024, 768)]
    public void ModeShowsTheReferencePixels(string name, int width, int height)
    {
        var rom = Rom(name);
        var picture = Dump(Artifacts.Emulator(), rom, "ours");
        var header = $"P6\n{width} {height}\n255\n";
        Assert.Equal(header, System.Text.Encoding.ASCII.GetString(picture, 0, header.Length));
        // A mode that was not drawn in would have a colour or two.
        Assert.Equal(width * height * 3, picture.Length - header.Length);
        Assert.True(Colours(picture.AsSpan(header.Length)) > 1);
        if (File.Exists(Reference))
            Assert.True(picture.AsSpan().SequenceEqual(Dump(Reference, rom, "reference")), $"{name}: pixels differ");
    }

    private static int Colours(ReadOnlySpan<byte> pixels)
    {
        var seen = new HashSet<int>();
        for (var i = 0; i + 2 < pixels.Length; i += 3)
            seen.Add(pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2]);
        return seen.Count;
    }

    /// <summary>The ROM with its checksum set.</summary>
    private string Rom(string name)
    {
        var bytes = File.ReadAllBytes(Artifacts.Guest($"screen-{name}.rom"));
        byte sum = 0;
        foreach (var b in bytes)
            sum += b;
        bytes[^1] -= sum;
        var path = Path.Combine(_folder, "screen.rom");
        File.WriteAllBytes(path, bytes);
        return path;
    }

    private byte[] Dump(string program, string rom, string name)
    {
        var file = Path.Combine(_folder, name + ".ppm");
        var drawn = Path.Combine(_folder, name + ".log");
        var start = new ProcessStartInfo(program) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (ReadOnlySpan<string>)["-display", "none", "-serial", "null", "-monitor", "stdio", "-net", "none", "-fw_cfg",
            $"name=genroms/screen.rom,file={rom}", "-debugcon", $"file:{drawn}"])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        process.OutputDataReceived += static (_, _) => { };
        process.ErrorDataReceived += static (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            Wait(() => File.Exists(drawn) && new FileInfo(drawn).Length > 0 && Read(drawn).EndsWith('K'), "the guest to draw");
            process.StandardInput.WriteLine($"screendump {file}");
            process.StandardInput.WriteLine("quit");
            process.StandardInput.Flush();
            Assert.True(process.WaitForExit(30_000), "the monitor did not quit");
            return File.ReadAllBytes(file);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    private static string Read(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static void Wait(Func<bool> condition, string what)
    {
        for (var i = 0; i < 3000; i++)
        {
            if (condition())
                return;
            Thread.Sleep(20);
        }

        Assert.Fail($"waited in vain for {what}");
    }
}
