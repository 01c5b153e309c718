namespace Dromaius.Guests;

/// <summary>What the user gets wrong is answered in one line with status 1, by the executable itself.</summary>
public sealed class BadInputTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("dromaius-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("-foo", "-foo: invalid option")]
    [InlineData("-nographc", "nographic")]
    [InlineData("-smp 0", "-smp 0: ")]
    [InlineData("-smp 4,sockets=2,cores=4", "Invalid CPU topology")]
    [InlineData("-smp 1000", "Invalid SMP CPUs 1000")]
    [InlineData("-m 100T", "cannot set up guest memory 'pc.ram'")]
    [InlineData("-m x", "Parameter 'size' expects")]
    [InlineData("-M pcc", "did you mean 'pc'")]
    [InlineData("-cpu Haswel", "did you mean 'Haswell'")]
    [InlineData("-cpu qemu64,+avx22", "did you mean")]
    [InlineData("-device isa-debug-exti", "did you mean 'isa-debug-exit'")]
    [InlineData("-device isa-debug-exit,iobas=1", "did you mean 'iobase'")]
    [InlineData("-device isa-debug-exit,iobase=hello", "iobase")]
    [InlineData("-machine pc,acpii=off", "did you mean 'acpi'")]
    [InlineData("-kernel /no/such/kernel", "No such file or directory")]
    [InlineData("-bios /no/such/bios", "could not load PC BIOS '/no/such/bios'")]
    [InlineData("-append x", "-append only allowed with -kernel option")]
    [InlineData("-serial file:/no/such/folder/file", "No such file or directory")]
    [InlineData("-serial chardev:nope", "nope")]
    [InlineData("-chardev null,id=a,foo=bar", "Invalid parameter 'foo'")]
    [InlineData("-accel kvm", "KVM is not available")]
    [InlineData("-rtc base=yesterday", "invalid datetime format")]
    [InlineData("-uuid 1234", "failed to parse UUID")]
    [InlineData("-D /no/such/folder/log", "No such file or directory")]
    [InlineData("-fw_cfg name=opt/x,file=/no/such/file", "/no/such/file")]
    [InlineData("-pidfile /no/such/folder/pid", "cannot create PID file")]
    [InlineData("-readconfig /no/such/file", "Cannot read config file")]
    public void OneLineAndStatusOne(string arguments, string expected) => Expect(expected, arguments.Split(' '));

    [Theory]
    [InlineData("empty", "-kernel")]
    [InlineData("text", "-kernel")]
    [InlineData("truncated", "-kernel")]
    [InlineData("foreign", "-kernel")]
    [InlineData("folder", "-kernel")]
    [InlineData("empty", "-bios")]
    [InlineData("text", "-bios")]
    [InlineData("huge", "-bios")]
    [InlineData("folder", "-bios")]
    public void FilesThatAreNotWhatTheyShouldBe(string kind, string option) => Expect(kind, option, Make(kind));

    [Theory]
    [InlineData("missing")]
    [InlineData("folder")]
    public void InitrdThatCannotBeRead(string kind) =>
        Expect(kind, "-kernel", Artifacts.Guest("vmlinuz-amd64"), "-initrd", Make(kind));

    [Fact]
    public void HelpGoesToStandardOutputWithStatusZero()
    {
        foreach (var arguments in (string[])["-help", "--version", "-machine help", "-cpu help", "-device help", "-device isa-debug-exit,help",
            "-accel help", "-d help", "-chardev help", "-display help"])
        {
            using var emulator = new Emulator(arguments.Split(' '));
            emulator.ExpectExit(0, 10);
            Assert.True(emulator.Output.Length > 10, arguments);
        }
    }

    [Fact]
    public void VersionIsQuick()
    {
        var best = TimeSpan.MaxValue;
        for (var i = 0; i < 10; i++)
        {
            var watch = System.Diagnostics.Stopwatch.StartNew();
            using var emulator = new Emulator("--version");
            emulator.ExpectExit(0, 10);
            best = watch.Elapsed < best ? watch.Elapsed : best;
        }

        // About 10 ms on an idle machine; tests often run on busy ones.
        Assert.True(best < TimeSpan.FromMilliseconds(200), $"{best.TotalMilliseconds:0} ms");
    }

    private static void Expect(string expected, params string[] arguments)
    {
        using var emulator = new Emulator(["-display", "none", .. arguments]);
        emulator.ExpectExit(1, 20);
        var lines = emulator.Output.TrimEnd('\n').Split('\n');
        Assert.True(lines.Length == 1, emulator.Output);
        Assert.StartsWith("dromaius-system-x86_64: ", lines[0], StringComparison.Ordinal);
        Assert.Contains(expected, lines[0]);
    }

    /// <summary>A file of that kind; its name says the kind.</summary>
    private string Make(string kind)
    {
        var path = Path.Combine(_folder, kind);
        switch (kind)
        {
            case "empty":
                File.WriteAllBytes(path, []);
                break;
            case "text":
                File.WriteAllText(path, string.Concat(Enumerable.Repeat("This is no machine code.\n", 100)));
                break;
            case "truncated":
                File.WriteAllBytes(path, File.ReadAllBytes(Artifacts.Guest("vmlinuz-amd64"))[..100_000]);
                break;
            case "foreign":
                var elf = new byte[4096];
                byte[] header = [0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0xB7, 0, 1];
                header.CopyTo(elf, 0); // an ELF of AArch64
                File.WriteAllBytes(path, elf);
                break;
            case "huge":
                File.WriteAllBytes(path, new byte[(20 << 20) + 1]);
                break;
            case "folder":
                Directory.CreateDirectory(path);
                break;
        }

        return path;
    }
}
