namespace Dromaius.Guests;

/// <summary>Boot loaders and programs for the bare machine from each kind of medium: read off the screen, driven by the keyboard.</summary>
public sealed class BootMediaTests : IDisposable
{
    private const int Seconds = 120;
    private readonly string _folder = Directory.CreateTempSubdirectory("dromaius-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("grub-rescue-floppy.img", "floppy", "(fd0)")]
    [InlineData("grub-rescue-cdrom.iso", "cdrom", "(cd)")]
    public void GrubRescueListsItsDevicesAndPowersOff(string image, string medium, string device)
    {
        using var guest = Boot(medium, Artifacts.Guest(image));
        using var monitor = Monitor();
        monitor.WaitForText("for a command-line", Seconds);
        monitor.Press("c");
        monitor.WaitForText("grub>", Seconds);
        monitor.TypeLine("ls");
        monitor.WaitForText(device, Seconds);
        monitor.TypeLine("halt");
        guest.ExpectExit(0, Seconds);
    }

    /// <summary>SYSLINUX takes the choice at its prompt and loads the memory test, whose menu answers keys and which restarts the machine.</summary>
    [Theory]
    [InlineData("floppy")]
    [InlineData("disk")]
    public void SyslinuxLoadsMemtest(string medium)
    {
        using var guest = Boot(medium, Artifacts.Guest($"syslinux-{medium}.img"));
        using var monitor = Monitor();
        monitor.WaitForText("boot:", Seconds);
        monitor.TypeLine("mt");
        DriveMemtest(guest, monitor);
    }

    /// <summary>It comes as an image of a disc, and its kernel has a boot sector of its own.</summary>
    [Theory]
    [InlineData("cdrom", "memtest86+x64.iso")]
    [InlineData("floppy", "memtest86+x64.bin")]
    public void MemtestStartsByItself(string medium, string image)
    {
        var path = Artifacts.Guest(image);
        if (medium == "floppy")
        {
            path = Path.Combine(_folder, "floppy.img");
            File.Copy(Artifacts.Guest(image), path);
            using var floppy = new FileStream(path, FileMode.Open, FileAccess.Write);
            floppy.SetLength(1440 << 10);
        }

        using var guest = Boot(medium, path);
        using var monitor = Monitor();
        DriveMemtest(guest, monitor);
    }

    private static void DriveMemtest(Emulator guest, Qmp monitor)
    {
        monitor.WaitForText("Memtest86+", Seconds);
        // The menu before the tests, or the one during them.
        monitor.WaitForText("Configuration", Seconds);
        monitor.Press("f1");
        monitor.WaitForText("Settings:", Seconds);
        monitor.Press("f10");
        monitor.WaitForText("Testing", Seconds);
        monitor.Press("esc");
        guest.ExpectExit(0, Seconds);
    }

    private string SocketPath => Path.Combine(_folder, "qmp");

    private Emulator Boot(string medium, string image) => new("-display", "none", "-net", "none", "-m", "32", "-no-reboot",
        "-qmp", $"unix:{SocketPath},server=on,wait=off", "-boot", medium switch { "floppy" => "a", "cdrom" => "d", _ => "c" },
        "-drive", $"file={image},if={(medium == "floppy" ? "floppy" : "ide")},media={(medium == "cdrom" ? "cdrom" : "disk")},format=raw,readonly={(medium == "disk" ? "off" : "on")}",
        "-snapshot");

    private Qmp Monitor() => new(SocketPath);
}
