namespace Dromaius.Guests;

/// <summary>The boards beside the i440FX, and devices that come and go, with Linux at the other end.</summary>
public sealed class BoardTests : IDisposable
{
    private const int BootSeconds = 240;
    private const string Sum = "6a332577a9d74a94bb32dd570957ef30"; // 20 million bytes of "dromaius" lines
    private readonly string _folder = Directory.CreateTempSubdirectory("dromaius-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Disks on the board's AHCI, behind both kinds of root port, and behind two bridges.</summary>
    [Fact]
    public void Q35DrivesDisksBehindPortsAndBridges()
    {
        const string Steps = "sh /bench/load; sleep 3; yes dromaius | head -c 20000000 >/tmp/f; for d in sda vda vdb nvme0n1; do "
            + "dd if=/tmp/f of=/dev/$d bs=1M oflag=direct conv=fsync; echo 3 >/proc/sys/vm/drop_caches; head -c 20000000 /dev/$d | md5sum; done; "
            + "ls /sys/bus/pci/devices; grep -c pciehp /proc/interrupts; dmesg -l err";
        using var guest = Boot(Steps, "-machine", "q35", "-smp", "2", "-hda", Disk("a"), "-device", "pcie-root-port,id=p1,chassis=1",
            "-device", "ioh3420,id=p2,chassis=2", "-device", "pcie-root-port,id=p3,chassis=3", "-device", "pcie-pci-bridge,id=b1,bus=p3",
            "-device", "pci-bridge,id=b2,bus=b1,addr=3,chassis_nr=4", "-drive", $"file={Disk("b")},format=raw,if=none,id=b",
            "-device", "virtio-blk-pci,bus=p1,drive=b", "-drive", $"file={Disk("c")},format=raw,if=none,id=c", "-device", "virtio-blk-pci,bus=b2,drive=c,addr=5",
            "-drive", $"file={Disk("d")},format=raw,if=none,id=d", "-device", "nvme,bus=p2,drive=d,serial=n1");
        guest.ExpectExit(0, BootSeconds);
        Assert.Equal(4, guest.Output.Split(Sum).Length - 1);
        Assert.Contains("0000:05:05.0", guest.Output);
        Assert.DoesNotContain("I/O error", guest.Output);
        Assert.DoesNotContain("ACPI Error", guest.Output);
    }

    /// <summary>ACPI tells the kernel of the virtio devices, and it powers the machine off. Without a timer it needs to be told its clock.</summary>
    [Theory]
    [InlineData("on")]
    [InlineData("off")]
    public void MicrovmBootsFromItsTransports(string legacy)
    {
        const string Steps = "sh /bench/load; yes dromaius | head -c 20000000 >/tmp/f; dd if=/tmp/f of=/dev/vda bs=1M oflag=direct conv=fsync; "
            + "head -c 20000000 /dev/vda | md5sum; grep virtio /proc/interrupts";
        using var guest = LinuxTests.Start($"console=ttyS0 quiet panic=-1 tsc_early_khz=1000000 tsc=reliable session=run run=\"{Steps}\"",
            "-initrd", Artifacts.Guest("initramfs-disks.gz"), "-machine", "microvm", "-global", $"virtio-mmio.force-legacy={legacy}",
            "-drive", $"file={Disk("a")},format=raw,if=none,id=a", "-device", "virtio-blk-device,drive=a");
        guest.ExpectExit(0, BootSeconds);
        Assert.Contains(Sum, guest.Output);
        Assert.Contains("virtio0", guest.Output);
    }

    /// <summary>Without ACPI the small firmware starts the kernel, whose command line names the devices.</summary>
    [Fact]
    public void MicrovmBootsWithoutAcpi()
    {
        using var guest = Boot("cat /proc/cmdline", "-machine", "microvm,acpi=off", "-drive", $"file={Disk("a")},format=raw,if=none,id=a",
            "-device", "virtio-blk-device,drive=a");
        guest.WaitFor("virtio_mmio.device=512@0xfeb00e00:12", BootSeconds);
        guest.WaitFor("System halted", 30);
    }

    [Fact]
    public void IsaPcReachesItsBootPhase()
    {
        using var guest = FirmwareTests.WithDebugLog("-machine", "isapc", "-hda", Disk("a"));
        guest.WaitFor("ata0-0: DROMAIUS HARDDISK", 60);
        guest.WaitFor("No bootable device", 60);
    }

    /// <summary>A disk comes, is read, and goes when the system lets it.</summary>
    [Theory]
    [InlineData("pc", "pci.0")]
    [InlineData("q35", "port")]
    public void DisksComeAndGo(string machine, string bus)
    {
        var socket = Path.Combine(_folder, "qmp");
        string[] bridge = bus == "port" ? ["-device", "pcie-root-port,id=port"] : [];
        using var guest = LinuxTests.Boot("session=shell", ["-initrd", Artifacts.Guest("initramfs-disks.gz"), "-machine", machine,
            "-qmp", $"unix:{socket},server=on,wait=off", "-drive", $"file={Disk("a")},format=raw,if=none,id=a", .. bridge]);
        guest.WaitFor("root #", BootSeconds);
        guest.Send("sh /bench/load\n");
        using var client = new Qmp(socket);
        client.Ask("device_add", $"\"driver\":\"virtio-blk-pci\",\"id\":\"hd\",\"drive\":\"a\",\"bus\":\"{bus}\"");
        guest.Send("until [ -e /dev/vda ]; do sleep 1; done; dd if=/dev/vda bs=1M | wc -c\n");
        guest.WaitFor("33554432", 60);
        client.Ask("device_del", "\"id\":\"hd\"", "\"device\": \"hd\"");
        client.Ask("device_del", "\"id\":\"hd\"", "DeviceNotFound");
        guest.Send("ls /sys/block | wc -l; echo is''over\n");
        guest.WaitFor("0\r\nisover", 30);
    }

    private static Emulator Boot(string steps, params IEnumerable<string> more) =>
        LinuxTests.Boot($"session=run run=\"{steps}\"", ["-initrd", Artifacts.Guest("initramfs-disks.gz"), .. more]);

    private string Disk(string name)
    {
        var path = Path.Combine(_folder, name + ".img");
        using var file = System.IO.File.Create(path);
        file.SetLength(32 << 20);
        return path;
    }
}
