using Dromaius.Boards.Pc;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;

namespace Dromaius.Boards.Tests;

/// <summary>The wiring, looked at through memory and ports as a processor sees them, without running one.</summary>
public sealed class PcMachineTests : IDisposable
{
    private readonly string _bios = Path.GetTempFileName();

    public PcMachineTests()
    {
        var image = new byte[0x20000];
        image[0x1FFF0] = 0xEA;
        image[0x1FFFF] = 0x5A;
        image[0] = 0xB0;
        File.WriteAllBytes(_bios, image);
    }

    public void Dispose() => File.Delete(_bios);

    [Fact]
    public void FirmwareIsBelowFourGiBAndBelowOneMiB()
    {
        using var machine = Make(new());
        Assert.Equal(0xEAUL, machine.Memory.Load(0xFFFF_FFF0, 1));
        Assert.Equal(0xEAUL, machine.Memory.Load(0xF_FFF0, 1));
        Assert.Equal(0xB0UL, machine.Memory.Load(0xE_0000, 1));
        Assert.Equal(0xB0UL, machine.Memory.Load(0xFFFE_0000, 1));
        machine.Memory.Store(0xF_FFF0, 1, 1);
        Assert.Equal(0xEAUL, machine.Memory.Load(0xF_FFF0, 1));
    }

    [Fact]
    public void MemorySplitsAroundTheHole()
    {
        using var machine = Make(new() { RamSize = 5UL << 30 });
        machine.Memory.Store(0xBFFF_FFF8, 8, 1);
        machine.Memory.Store(0x1_0000_0000, 8, 2);
        machine.Memory.Store(0x1_7FFF_FFF8, 8, 3);
        Assert.Equal(1UL, machine.Memory.Load(0xBFFF_FFF8, 8));
        Assert.Equal(2UL, machine.Memory.Load(0x1_0000_0000, 8));
        Assert.Equal(3UL, machine.Memory.Load(0x1_7FFF_FFF8, 8));
        Assert.Equal(ulong.MaxValue, machine.Memory.Load(0xC000_0000, 8));
        Assert.Equal(ulong.MaxValue, machine.Memory.Load(0x1_8000_0000, 8));
        Assert.Equal(0x8000UL, Cmos(machine, 0x5B) | (Cmos(machine, 0x5C) << 8) | (Cmos(machine, 0x5D) << 16));
    }

    [Fact]
    public void ChipsAnswer()
    {
        using var machine = Make(new() { Smp = new SmpOption { Cpus = 2 } });
        Assert.Equal(0x1237_8086UL, Pci(machine, 0, 0));
        Assert.Equal(0x7000_8086UL, Pci(machine, 8, 0));
        Assert.Equal(0x7113_8086UL, Pci(machine, 11, 0));
        Assert.Equal(1UL, Cmos(machine, 0x5F));
        Assert.Equal(0x80UL, Cmos(machine, 0x15));
        machine.Io.Store(0x21, 1, 0x5A);
        Assert.Equal(0x5AUL, machine.Io.Load(0x21, 1));
        machine.Memory.Store(0xFEC0_0000, 4, 1);
        Assert.Equal(0x17UL, machine.Memory.Load(0xFEC0_0010, 4) >> 16);
        Assert.Equal(0x8086A201UL, machine.Memory.Load(0xFED0_0000, 4) & 0xFFFF_E0FF | 0x200);
    }

    /// <summary>A machine without PCI has an adapter of its time, unless another is asked for.</summary>
    [Theory]
    [InlineData(null, 0xA0)]
    [InlineData(VgaKind.Cirrus, 0xA0)]
    [InlineData(VgaKind.Standard, 0x00)]
    public void IsapcHasACirrusAdapter(VgaKind? kind, int part)
    {
        var folder = Directory.CreateTempSubdirectory();
        foreach (var rom in (string[])["vgabios-cirrus.bin", "vgabios-isavga.bin"])
            File.WriteAllBytes(Path.Combine(folder.FullName, rom), [0x55, 0xAA, 1]);
        using (var machine = Machine.Create(new() { Machine = "isapc", Bios = _bios, Vga = kind, FirmwarePath = [folder.FullName] }))
        {
            machine.Io.Store(0x3C2, 1, 1);
            machine.Io.Store(0x3D4, 1, 0x27);
            Assert.Equal((ulong)part, machine.Io.Load(0x3D5, 1));
        }

        folder.Delete(recursive: true);
    }

    [Fact]
    public void PowerManagementMoves()
    {
        using var machine = Make(new());
        Assert.Equal(0xFFFFUL, machine.Io.Load(0x600, 2));
        PciWrite(machine, 11, 0x40, 0x601);
        PciWrite(machine, 11, 0x80, 1);
        Assert.Equal(0UL, machine.Io.Load(0x602, 2));
        PciWrite(machine, 11, 0x40, 0xB001);
        Assert.Equal(0xFFFFUL, machine.Io.Load(0x602, 2));
        Assert.Equal(0UL, machine.Io.Load(0xB002, 2));
    }

    [Fact]
    public void FirmwareConfigurationIsComplete()
    {
        using var machine = Make(new()
        {
            FwCfg = [new FwCfgOption("opt/test", null, "text", "-fw_cfg name=opt/test,string=text")],
            Smbios = [new SmbiosOption([new("type", "1"), new("serial", "S123")], "-smbios type=1,serial=S123")],
        });
        var config = machine.Devices.OfType<FwCfg>().Single();
        string[] expected =
        [
            "bootorder", "etc/acpi/rsdp", "etc/acpi/tables", "etc/boot-fail-wait", "etc/e820", "etc/smbios/smbios-anchor",
            "etc/smbios/smbios-tables", "etc/system-states", "etc/table-loader", "opt/test",
        ];
        Assert.Equal(expected, config.FileNames.Order(StringComparer.Ordinal));
        Assert.Equal("text"u8.ToArray(), config.File("opt/test"));
        Assert.Contains("S123", System.Text.Encoding.Latin1.GetString(config.File("etc/smbios/smbios-tables")!), StringComparison.Ordinal);
    }

    [Fact]
    public void DevicesFromOptions()
    {
        using var machine = Make(new()
        {
            Devices =
            [
                Device("isa-debug-exit", ("iobase", "0xf4"), ("iosize", "4")), Device("pc-testdev"), Device("pci-testdev"),
                Device("pvpanic"),
            ],
        });
        Assert.Equal(3UL, machine.Io.Load(0x505, 1));
        Assert.Equal(0x0005_1B36UL, Pci(machine, 0x10, 0));
        machine.Io.Store(0xE0, 4, 0x1234_5678);
        Assert.Equal(0x1234_5678UL, machine.Io.Load(0xE0, 4));
    }

    [Theory]
    [InlineData("isa-debug-exit", "foo", "1", "-device isa-debug-exit,foo=1: Property 'isa-debug-exit.foo' not found")]
    [InlineData("isa-serial", "chardev", "x", "-device isa-serial,chardev=x: Property 'isa-serial.chardev' can't find value 'x'")]
    [InlineData("pci-testdev", "addr", "1", "-device pci-testdev,addr=1: PCI: slot 1 function 0 not available for pci-testdev, in use by PIIX3,id=(null)")]
    [InlineData("pci-testdev", "addr", "99", "-device pci-testdev,addr=99: Property 'pci-testdev.addr' doesn't take value '99'")]
    [InlineData("pci-testdev", "bus", "foo", "-device pci-testdev,bus=foo: Bus 'foo' not found")]
    public void BadDevices(string name, string key, string value, string message) =>
        Fails(message, new() { Devices = [Device(name, (key, value))] });

    [Fact]
    public void DuplicateIds() => Fails("-device pci-testdev,id=a: Duplicate ID 'a' for device",
        new() { Devices = [Device("pci-testdev", ("id", "a")), Device("pci-testdev", ("id", "a"))] });

    [Fact]
    public void BadFirmware()
    {
        Fails("could not load PC BIOS '/nonexistent': No such file or directory", new() { Bios = "/nonexistent" });
        Fails("could not load PC BIOS '/dev/null': the file is empty", new() { Bios = "/dev/null" });
        Fails("could not load PC BIOS '/etc/passwd': its size is not a multiple of 64 KiB", new() { Bios = "/etc/passwd" });
    }

    [Fact]
    public void KernelOptionsNeedAKernel()
    {
        Fails("-append only allowed with -kernel option", new() { Append = "x" });
        Fails("-initrd only allowed with -kernel option", new() { Initrd = "x" });
    }

    [Fact]
    public void BadFirmwareConfiguration() => Fails("-fw_cfg name=foo: name, plus exactly one of file and string, are needed",
        new() { FwCfg = [new FwCfgOption("foo", null, null, "-fw_cfg name=foo")] });

    [Fact]
    public void RandomPortAndMemoryAccessesDoNoHarm()
    {
        using var machine = Make(new() { Devices = [Device("pc-testdev"), Device("pci-testdev")] });
        var random = new Random(3);
        ulong[] pages = [0xA0000, 0xFEC0_0000, 0xFED0_0000, 0xFEE0_0000, 0xFF00_0000, 0xC0000, 0xFFFF_0000];
        for (var i = 0; i < 20_000; i++)
        {
            var size = 1 << random.Next(3);
            var port = (ulong)random.Next(random.Next(3) == 0 ? 0x10000 : 0x600);
            if (port is 0x64 or 0x92 or 0xCF9 or 0xF4)
                continue;
            if (random.Next(2) == 0)
                _ = machine.Io.Load(port, size);
            else
                machine.Io.Store(port, size, (ulong)random.NextInt64());
            var address = pages[random.Next(pages.Length)] + (ulong)random.Next(0x1000);
            if (random.Next(2) == 0)
                _ = machine.Memory.Load(address, size);
            else
                machine.Memory.Store(address, size, (ulong)random.NextInt64());
        }
    }

    private static DeviceOption Device(string name, params (string Key, string Value)[] properties) => new(name,
        [.. properties.Select(static p => new KeyValuePair<string, string>(p.Key, p.Value))],
        "-device " + name + string.Concat(properties.Select(static p => $",{p.Key}={p.Value}")));

    private Machine Make(MachineOptions options) => Machine.Create(options with { Bios = _bios, Vga = VgaKind.None });

    private void Fails(string message, MachineOptions options)
    {
        var e = Assert.Throws<UserErrorException>(() =>
            Machine.Create(options with { Bios = options.Bios ?? _bios, Vga = VgaKind.None }).Dispose());
        Assert.Equal(message, e.Message);
    }

    private static ulong Cmos(Machine machine, int index)
    {
        machine.Io.Store(0x70, 1, (ulong)index);
        return machine.Io.Load(0x71, 1);
    }

    private static ulong Pci(Machine machine, int devfn, int register)
    {
        machine.Io.Store(0xCF8, 4, 0x8000_0000 | (uint)(devfn << 8) | (uint)register);
        return machine.Io.Load(0xCFC, 4);
    }

    private static void PciWrite(Machine machine, int devfn, int register, uint value)
    {
        machine.Io.Store(0xCF8, 4, 0x8000_0000 | (uint)(devfn << 8) | (uint)register);
        machine.Io.Store(0xCFC, 4, value);
    }
}
