using System.Text;

namespace Dromaius.Guests;

/// <summary>Linux drives the devices that no machine has by itself, several in one boot.</summary>
public sealed class DeviceTests : IDisposable
{
    private const int BootSeconds = 180;
    private const string Sum = "429391c5e7c6062bc04688aebb166be7"; // four million bytes of "dromaius" lines
    private readonly string _folder = Directory.CreateTempSubdirectory("dromaius-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Controllers of disks: both kinds of virtio devices, IDE on PCI and ISA, SATA, floppy; and the port that ends the emulator.</summary>
    [Fact]
    public void DisksOfEveryController()
    {
        var disc = Path.Combine(_folder, "cd.iso");
        File.WriteAllBytes(disc, Encoding.ASCII.GetBytes(new string('\a', 2 << 20)));
        var floppy = Path.Combine(_folder, "floppy.img");
        File.WriteAllBytes(floppy, new byte[1440 << 10]);
        // Linux steps twice for each of its tracks.
        var small = Path.Combine(_folder, "small.img");
        File.WriteAllBytes(small, new byte[360 << 10]);
        using var guest = Boot("disks,leave", ["-machine", "q35",
            .. Drive(8), "-device", "virtio-blk-pci-transitional,drive=d8", .. Drive(9), "-device", "virtio-blk-pci-non-transitional,drive=d9",
            "-device", "virtio-scsi-pci-transitional,id=t", .. Drive(10), "-device", "scsi-hd,drive=d10,bus=t.0",
            "-device", "virtio-scsi-pci-non-transitional,id=n", .. Drive(11), "-device", "scsi-hd,drive=d11,bus=n.0",
            "-device", "piix4-ide,id=p", .. Drive(12), "-device", "ide-hd,drive=d12,bus=p.0",
            "-device", "isa-ide,id=i,iobase=0x1e8,iobase2=0x3ee,irq=11", .. Drive(13), "-device", "ide-hd,drive=d13,bus=i.0",
            "-device", "ich9-ahci,id=a", .. Drive(14), "-device", "ide-hd,drive=d14,bus=a.0",
            "-drive", $"file={disc},format=raw,if=none,id=c,media=cdrom", "-device", "ide-cd,drive=c,bus=a.1",
            "-drive", $"file={floppy},format=raw,if=floppy", "-drive", $"file={small},format=raw,if=none,id=small",
            "-device", "floppy,unit=1,drive=small,drive-type=120", "-device", "isa-debug-exit,iobase=0xf4"]);
        guest.ExpectExit((0x31 << 1) | 1, BootSeconds);
        Assert.Contains($"disk of 8 MiB {Sum} virtio_blk", guest.Output);
        Assert.Contains($"disk of 9 MiB {Sum} virtio_blk", guest.Output);
        Assert.Contains($"disk of 10 MiB {Sum} sd virtio_scsi", guest.Output);
        Assert.Contains($"disk of 11 MiB {Sum} sd virtio_scsi", guest.Output);
        Assert.Contains($"disk of 12 MiB {Sum} sd ata_piix", guest.Output);
        Assert.Contains($"disk of 13 MiB {Sum} sd\r", guest.Output); // on no bus that has drivers
        Assert.Contains($"disk of 14 MiB {Sum} sd ahci", guest.Output);
        Assert.Contains("disk of 0 MiB 2272566489a5e3e5c3f2fb41ec112f10 floppy", guest.Output);
        Assert.Contains("disk of 0 MiB b726b312ef4283732b929368c50a3e71 floppy", guest.Output);
        Assert.Contains("disc 02be6fa5865787ef074eefff70bacd33", guest.Output);
        Assert.DoesNotContain("I/O error", guest.Output);
    }

    /// <summary>The devices of virtio's own bus.</summary>
    [Fact]
    public void MicrovmHasDisksAndANetwork()
    {
        using var guest = LinuxTests.Start("console=ttyS0 quiet panic=-1 tsc_early_khz=1000000 tsc=reliable session=run part=disks "
            + "run=\"sh /bench/devices; ip link set eth0 up; udhcpc -i eth0 -s /bin/true -n -q -t 10 -T 1; readlink /sys/class/net/eth0/device/driver\"",
            ["-initrd", Artifacts.Guest("initramfs-devices.gz"), "-machine", "microvm", "-device", "virtio-scsi-device,id=s", .. Drive(8),
            "-device", "scsi-hd,drive=d8,bus=s.0", .. Drive(9), "-device", "virtio-blk-device,drive=d9", "-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n"]);
        guest.ExpectExit(0, BootSeconds);
        Assert.Contains($"disk of 8 MiB {Sum} sd virtio_scsi virtio-mmio", guest.Output);
        Assert.Contains($"disk of 9 MiB {Sum} virtio_blk virtio-mmio", guest.Output);
        Assert.Contains("lease of 10.0.2.15 obtained", guest.Output);
        Assert.Contains("drivers/virtio_net", guest.Output);
    }

    /// <summary>The variants of network adapters each get a lease.</summary>
    [Fact]
    public void AdaptersGetLeases()
    {
        string[] models = ["virtio-net-pci-transitional", "virtio-net-pci-non-transitional", "e1000-82544gc", "e1000-82545em"];
        using var guest = LinuxTests.Run("sh /bench/load; sleep 1; for d in eth0 eth1 eth2 eth3; do ip link set $d up; "
            + "echo $(readlink /sys/class/net/$d/device/driver) $(udhcpc -i $d -s /bin/true -n -q -t 10 -T 1 2>&1 | tail -1); done",
            ["-initrd", Artifacts.Guest("initramfs-devices.gz"), .. models.SelectMany(static (m, i) => new[] { "-netdev", $"user,id=n{i}", "-device", $"{m},netdev=n{i}" })]);
        guest.ExpectExit(0, BootSeconds);
        const string Lease = " udhcpc: lease of 10.0.2.15 obtained";
        Assert.Equal(2, guest.Output.Split("virtio_net" + Lease).Length - 1);
        Assert.Equal(2, guest.Output.Split("e1000" + Lease).Length - 1);
    }

    /// <summary>The kernel's drivers set modes; what is written to their frame buffers is on the screens.</summary>
    [Theory]
    [InlineData("VGA", "secondary-vga", "bochs-display")]
    [InlineData("cirrus-vga")]
    public void ScreensShowWhatIsDrawn(params string[] adapters)
    {
        using var guest = Boot("screens", ["-vga", "none", .. adapters.SelectMany(static a => new[] { "-device", $"{a},id={a}" })]);
        guest.WaitFor("part screens is over", BootSeconds);
        using var monitor = new Qmp(Socket);
        foreach (var adapter in adapters)
            ExpectPicture(monitor, adapter);
        guest.Send("\n");
        guest.ExpectExit(0, BootSeconds);
    }

    /// <summary>
    /// The frame buffer in the guest's memory that its firmware asked for, and the mouse behind VMware's backdoor, which Linux looks
    /// for when the identity is that of VMware's machines and no other hypervisor names itself.
    /// </summary>
    [Fact]
    public void FirmwareFramebufferAndVmwareMouse()
    {
        // The mode is 1024x768 with 32 bits a pixel; no cursor is to blink in the picture.
        using var guest = Boot("screens,inputs vga=0x344 vt.global_cursor_default=0", "-vga", "none", "-device", "ramfb,id=ramfb", "-cpu", "max,-hypervisor", "-smbios", "type=1,serial=VMware-1");
        guest.WaitFor("inputs are read", BootSeconds);
        using var monitor = new Qmp(Socket);
        Assert.Contains("screen VESA VGA 1024,768 32", guest.Output);
        ExpectPicture(monitor, "ramfb");
        monitor.Ask("input-send-event", "\"events\":[{\"type\":\"abs\",\"data\":{\"axis\":\"x\",\"value\":16384}},{\"type\":\"abs\",\"data\":{\"axis\":\"y\",\"value\":8192}}]");
        monitor.Ask("input-send-event", "\"events\":[{\"type\":\"btn\",\"data\":{\"button\":\"left\",\"down\":true}}]");
        foreach (var said in (ReadOnlySpan<string>)["00000003 00008000", "00010003 00004000", "01100001 00000001"])
            guest.WaitFor("VMware VMMouse: " + said, 60);
        guest.Send("\n");
        guest.WaitFor("part inputs is over", 60);
        guest.Send("\n");
        guest.ExpectExit(0, BootSeconds);
    }

    /// <summary>Linux's text console draws the same on both adapters of the ISA bus.</summary>
    [Fact]
    public void TextOnIsaAdapters()
    {
        var pictures = new List<byte[]>();
        foreach (var adapter in (ReadOnlySpan<string>)["isa-vga", "isa-cirrus-vga"])
        {
            using var guest = LinuxTests.Boot("session=run run=\"dmesg -n 1; printf '\\033[2J\\033[H\\033[31mwhat is written' > /dev/tty0; echo drawn $((6*7)); read -r _\" "
                + "vt.global_cursor_default=0", "-vga", "none", "-device", adapter, "-qmp", $"unix:{Socket},server=on,wait=off");
            guest.WaitFor("drawn 42", BootSeconds);
            using var monitor = new Qmp(Socket);
            var picture = Path.Combine(_folder, adapter);
            monitor.Ask("screendump", $"\"filename\":\"{picture}\"");
            pictures.Add(File.ReadAllBytes(picture));
            guest.Send("\n");
            guest.ExpectExit(0, BootSeconds);
        }

        Assert.StartsWith("P6\n720 400\n255\n", System.Text.Encoding.Latin1.GetString(pictures[0]));
        // Red ink.
        Assert.Contains(pictures[0].Skip(15), static b => b > 0x80);
        Assert.Equal(pictures[0], pictures[1]);
    }

    /// <summary>Text on a VGA of the ISA bus, keys and the mouse, the ports of small devices, and the guest's panic.</summary>
    [Fact]
    public void InputsPortsAndPanic()
    {
        var (printed, logged, second) = (Path.Combine(_folder, "printed"), Path.Combine(_folder, "logged"), Path.Combine(_folder, "second"));
        using var guest = Boot("inputs,ports,panic", "-serial", "mon:stdio", "-vga", "none", "-device", "isa-vga", "-chardev", $"file,id=p,path={printed}", "-parallel", "none",
            "-device", "isa-parallel,chardev=p", "-chardev", $"file,id=l,path={logged}", "-device", "isa-debugcon,iobase=0x402,chardev=l",
            "-chardev", $"file,id=s,path={second}", "-device", "isa-serial,index=1,chardev=s", "-device", "pvpanic", "-device", "pc-testdev",
            "-device", "pci-testdev", "-no-reboot");
        guest.WaitFor("inputs are read", BootSeconds);
        using var monitor = new Qmp(Socket);
        monitor.Press("x");
        monitor.Ask("input-send-event", "\"events\":[{\"type\":\"rel\",\"data\":{\"axis\":\"x\",\"value\":10}},{\"type\":\"rel\",\"data\":{\"axis\":\"y\",\"value\":-5}}]");
        // Type and code, value: EV_REL 0 and 1, EV_KEY 2Dh, 110h and 113h, EV_REL 8.
        Said("Mouse: 00000002 0000000a", "Mouse: 00010002 fffffffb", "keyboard: 002d0001 00000001", "keyboard: 002d0001 00000000");
        foreach (var (button, pressed, released) in (ReadOnlySpan<(string, string, string)>)[
            ("left", "01100001 00000001", "01100001 00000000"), ("wheel-up", "00080002 00000001", ""), ("side", "01130001 00000001", "01130001 00000000")])
        {
            monitor.Ask("input-send-event", $"\"events\":[{{\"type\":\"btn\",\"data\":{{\"button\":\"{button}\",\"down\":true}}}}]");
            Said("Mouse: " + pressed);
            monitor.Ask("input-send-event", $"\"events\":[{{\"type\":\"btn\",\"data\":{{\"button\":\"{button}\",\"down\":false}}}}]");
            Said("Mouse: " + released);
        }

        void Said(params ReadOnlySpan<string> lines)
        {
            foreach (var line in lines)
                guest.WaitFor(line, 60);
        }

        guest.Send("\n");
        monitor.Ask("query-status", "", "GUEST_PANICKED");
        guest.ExpectExit(0, BootSeconds);
        Assert.Contains("port 0xe8 holds 5a", guest.Output);
        Assert.Contains("counted 0x00000003", guest.Output);
        Assert.Equal("what is printed\n", File.ReadAllText(printed));
        Assert.Equal("second\r\n", File.ReadAllText(second));
        Assert.EndsWith("hello", File.ReadAllText(logged));
    }

    private void ExpectPicture(Qmp monitor, string adapter)
    {
        var picture = Path.Combine(_folder, "picture.ppm");
        Expect(() =>
        {
            monitor.Ask("screendump", $"\"filename\":\"{picture}\",\"device\":\"{adapter}\"");
            return IsDrawn(File.ReadAllBytes(picture), adapter == "cirrus-vga");
        }, $"{adapter} to show the picture");
    }

    /// <summary>The serial mouse says who it is when Linux opens its line, and then what moves.</summary>
    [Fact]
    public void SerialMouse()
    {
        using var guest = LinuxTests.Run("stty -F /dev/ttyS1 1200 raw; dd if=/dev/ttyS1 bs=1 count=10 2>/dev/null | od -A n -t x1; read -r _",
            "-serial", "mon:stdio", "-serial", "msmouse", "-qmp", $"unix:{Socket},server=on,wait=off");
        guest.WaitFor("userland after", BootSeconds);
        using var monitor = new Qmp(Socket);
        Expect(() =>
        {
            monitor.Ask("input-send-event", "\"events\":[{\"type\":\"rel\",\"data\":{\"axis\":\"x\",\"value\":10}},{\"type\":\"rel\",\"data\":{\"axis\":\"y\",\"value\":-5}}]");
            return guest.Output.Contains("4d 33 4c 0a 3b 00 4c 0a 3b 00", StringComparison.Ordinal);
        }, "the mouse's bytes");
        guest.Send("\n");
        guest.ExpectExit(0, BootSeconds);
    }

    /// <summary>The picture counts by four in its first byte and has FFh in its third, in 32 bits a pixel or in twice 16.</summary>
    private static bool IsDrawn(ReadOnlySpan<byte> picture, bool has16Bits)
    {
        for (var line = 0; line < 3; line++)
            picture = picture[(picture.IndexOf((byte)'\n') + 1)..];
        for (var i = 0; i < 64; i++)
        {
            var (green, blue) = (i >> 3, (i * 4) & 0x1F);
            ReadOnlySpan<byte> expected = has16Bits
                ? [0, (byte)((green << 2) | (green >> 4)), (byte)((blue << 3) | (blue >> 2)), 0, 0x1C, 0xFF]
                : [0xFF, 0, (byte)(i * 4)];
            if (!picture.Slice(i * expected.Length, expected.Length).SequenceEqual(expected))
                return false;
        }

        return true;
    }

    private string Socket => Path.Combine(_folder, "qmp");

    private Emulator Boot(string parts, params IEnumerable<string> more) => LinuxTests.Boot($"session=run part={parts} run=\"sh /bench/devices; read -r _\"",
        ["-initrd", Artifacts.Guest("initramfs-devices.gz"), "-qmp", $"unix:{Socket},server=on,wait=off", .. more]);

    /// <summary>A disk whose size in MiB names it.</summary>
    private string[] Drive(int size)
    {
        var path = Path.Combine(_folder, $"{size}.img");
        using var file = File.Create(path);
        file.SetLength((long)size << 20);
        return ["-drive", $"file={path},format=raw,if=none,id=d{size}"];
    }

    private static void Expect(Func<bool> condition, string what)
    {
        for (var i = 0; !condition(); i++)
        {
            Assert.True(i < 600, $"waited in vain for {what}");
            Thread.Sleep(100);
        }
    }
}
