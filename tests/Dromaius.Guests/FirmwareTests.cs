using System.Text.RegularExpressions;

namespace Dromaius.Guests;

/// <summary>BIOS images and programs that run on the bare machine.</summary>
public sealed class FirmwareTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void SeaBiosReachesItsBootPhase(int cpus)
    {
        using var guest = WithDebugLog("-smp", $"{cpus}", "-boot", "reboot-timeout=-1");
        guest.WaitFor("SeaBIOS (version", 20);
        guest.WaitFor($"Found {cpus} cpu(s)", 20);
        guest.WaitFor("No bootable device", 60);
    }

    [Fact]
    public void BochsBiosReachesItsBootPhase()
    {
        using var guest = WithDebugLog("-bios", Artifacts.Guest("BIOS-bochs-latest"));
        guest.WaitFor("bios_table_", 30);
        guest.WaitFor("No bootable device", 60);
    }

    [Fact]
    public void I386InstallerReachesItsFirstScreen()
    {
        using var guest = new Emulator("i386", [
            "-nographic", "-net", "none", "-m", "512", "-kernel", Artifacts.Guest("vmlinuz-i386"), "-initrd", Artifacts.Guest("initrd-i386.gz"),
            "-append", "console=ttyS0 quiet",
        ]);
        guest.WaitFor("Select a language", 240);
    }

    [Fact]
    public void MemtestRunsItsFirstTests()
    {
        using var guest = new Emulator("-display", "none", "-net", "none", "-serial", "stdio", "-m", "32",
            "-kernel", Artifacts.Guest("memtest86+x64.bin"), "-append", "console=ttyS0,115200");
        guest.WaitFor("Memtest86+", 30);
        // It writes what changes on its screen every two seconds: a fast test's number may never be seen.
        guest.WaitFor(new Regex("#[3-9] "), 240);
        Assert.DoesNotContain("Errors: 1", guest.Output);
    }

    internal static Emulator WithDebugLog(params IEnumerable<string> more) =>
        new(["-display", "none", "-net", "none", "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log", .. more]);
}
