namespace Dromaius.Guests;

/// <summary>Linux drives the SCSI adapters and what hangs on them.</summary>
public sealed class ScsiTests : IDisposable
{
    private const int BootSeconds = 180;
    private readonly string _folder = Directory.CreateTempSubdirectory("dromaius-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Both adapters in one boot: a disk and a disc each, written, read back and counted.</summary>
    [Fact]
    public void DisksAndDiscsOfBothAdapters()
    {
        var disc = File("disc.iso", 4 << 20);
        const string Steps = "sh /bench/load; sleep 4; cd /tmp; yes dromaius | head -c 20000000 >f; "
            + "for d in sda sdb; do dd if=f of=/dev/$d bs=1M oflag=direct conv=fsync; head -c 20000000 /dev/$d | md5sum; done; "
            + "echo 3 >/proc/sys/vm/drop_caches; for d in sda sdb; do head -c 20000000 /dev/$d | md5sum; done; cat /dev/sr0 /dev/sr1 | md5sum; "
            + "blkdiscard -o 1048576 -l 1048576 /dev/sda; cat /sys/block/sd?/device/vpd_pg80; dmesg -l err";
        using var guest = LinuxTests.Boot($"session=run run=\"{Steps}\"", "-initrd", Artifacts.Guest("initramfs-scsi.gz"),
            "-device", "virtio-scsi-pci,id=v", "-device", "lsi,id=l", "-drive", $"file={File("a.img", 32 << 20)},format=raw,if=none,id=a",
            "-drive", $"file={File("b.img", 32 << 20)},format=raw,if=none,id=b", "-drive", $"file={disc},format=raw,if=none,id=c,media=cdrom",
            "-drive", $"file={disc},format=raw,if=none,id=d,media=cdrom", "-device", "scsi-hd,bus=v.0,drive=a,lun=3,serial=VIRT1",
            "-device", "scsi-hd,bus=l.0,drive=b,serial=LSI2", "-device", "scsi-cd,bus=v.0,drive=c", "-device", "scsi-cd,bus=l.0,drive=d");
        guest.ExpectExit(0, BootSeconds);
        var output = guest.Output;
        Assert.Equal(4, output.Split("6a332577a9d74a94bb32dd570957ef30").Length - 1);
        Assert.Contains("96995b58d4cbf6aaa9041b4f00c7f6ae", output); // 8 MiB of zeroes
        Assert.Contains("VIRT1", output);
        Assert.Contains("LSI2", output);
        Assert.DoesNotContain("I/O error", output);
    }

    /// <summary>The firmware finds the boot sector behind either adapter.</summary>
    [Theory]
    [InlineData("virtio-scsi-pci")]
    [InlineData("lsi53c895a")]
    public void FirmwareBoots(string adapter)
    {
        // Writes 31h to the debug exit port.
        var image = new byte[1 << 20];
        byte[] code = [0xB0, 0x31, 0xBA, 0xF4, 0x00, 0xEE, 0xF4, 0xEB, 0xFD];
        code.CopyTo(image, 0);
        (image[510], image[511]) = (0x55, 0xAA);
        var path = Path.Combine(_folder, "boot.img");
        System.IO.File.WriteAllBytes(path, image);
        using var guest = new Emulator("-nographic", "-net", "none", "-device", $"{adapter},id=s", "-drive", $"file={path},format=raw,if=none,id=a",
            "-device", "scsi-hd,bus=s.0,scsi-id=3,drive=a,bootindex=0", "-device", "isa-debug-exit,iobase=0xf4");
        guest.ExpectExit((0x31 << 1) | 1, BootSeconds);
    }

    private string File(string name, int size)
    {
        var path = Path.Combine(_folder, name);
        System.IO.File.WriteAllBytes(path, new byte[size]);
        return path;
    }
}
