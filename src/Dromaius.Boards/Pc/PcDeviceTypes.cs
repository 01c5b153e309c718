using System.Numerics;
using Dromaius.Consoles;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Display;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Isa;
using Dromaius.Devices.Pci;

namespace Dromaius.Boards.Pc;

/// <summary>The device types that a PC takes.</summary>
public static class PcDeviceTypes
{
    private static readonly DeviceProperty Chardev = new("chardev", PropertyKind.Chardev);

    private static readonly DeviceProperty[] PciProperties =
    [
        new("addr", PropertyKind.PciAddress, "-1"),
        new("multifunction", PropertyKind.Bool, "off"),
        new("rombar", PropertyKind.UInt32, "1"),
        new("romfile", PropertyKind.String),
    ];

    public static DeviceRegistry Registry { get; } = new(
    [
        new DeviceType
        {
            Name = "isa-debug-exit", Bus = "ISA", Description = "Port whose writes end the emulator", Category = DeviceCategory.Misc,
            Properties = [new("iobase", PropertyKind.UInt32, "0x501"), new("iosize", PropertyKind.UInt32, "0x2")],
            Create = DebugExitOf,
        },
        new DeviceType
        {
            Name = "isa-debugcon", Bus = "ISA", Description = "Port whose writes go to a character device", Category = DeviceCategory.Misc,
            Properties = [Chardev, new("iobase", PropertyKind.UInt32, "0xe9"), new("readback", PropertyKind.UInt32, "0xe9")],
            Create = DebugConsoleOf,
        },
        new DeviceType { Name = "pc-testdev", Bus = "ISA", Description = "Test device of kvm-unit-tests", Category = DeviceCategory.Misc, Create = TestDeviceOf },
        new DeviceType
        {
            Name = "pvpanic", Bus = "ISA", Description = "Port that tells of the guest's panic", Category = DeviceCategory.Misc, Alias = "isa-pvpanic",
            Properties = [new("events", PropertyKind.UInt8, "3"), new("ioport", PropertyKind.UInt16, "0x505")],
            Create = PanicOf,
        },
        new DeviceType
        {
            Name = "isa-serial", Bus = "ISA", Description = "Serial port (16550A)", Category = DeviceCategory.Input,
            Properties =
            [
                new("baudbase", PropertyKind.UInt32, "115200"), Chardev, new("index", PropertyKind.UInt32, "4294967295"),
                new("iobase", PropertyKind.UInt32, "4294967295"), new("irq", PropertyKind.UInt32, "4294967295"),
                new("wakeup", PropertyKind.Bool, "off"),
            ],
            Create = SerialOf,
        },
        new DeviceType
        {
            Name = "isa-parallel", Bus = "ISA", Description = "Parallel port", Category = DeviceCategory.Input,
            Properties =
            [
                Chardev, new("index", PropertyKind.UInt32, "4294967295"), new("iobase", PropertyKind.UInt32, "4294967295"),
                new("irq", PropertyKind.UInt32, "7"),
            ],
            Create = ParallelOf,
        },
        new DeviceType
        {
            Name = "pci-testdev", Bus = "PCI", Description = "PCI Test Device", Category = DeviceCategory.Misc,
            Properties = [.. PciProperties, new("membar", PropertyKind.Size, "0")],
            Create = static a => Plug(a, new PciTestDevice(a.Size("membar")) { Id = a.Id }),
        },
        new DeviceType
        {
            Name = "VGA", Bus = "PCI", Description = "Standard VGA with Bochs VBE extensions", Category = DeviceCategory.Display,
            Properties =
            [
                .. PciProperties, new("edid", PropertyKind.Bool, "on"), new("mmio", PropertyKind.Bool, "on"),
                new("qemu-extended-regs", PropertyKind.Bool, "on"), new("vgamem_mb", PropertyKind.UInt32, "16"),
                new("xmax", PropertyKind.UInt32, "0"), new("xres", PropertyKind.UInt32, "1280"),
                new("ymax", PropertyKind.UInt32, "0"), new("yres", PropertyKind.UInt32, "800"),
            ],
            Create = VgaOf,
        },
        new DeviceType
        {
            Name = "isa-vga", Bus = "ISA", Description = "Standard VGA on ISA", Category = DeviceCategory.Display,
            Properties = [new("vgamem_mb", PropertyKind.UInt32, "8")], Create = IsaVgaOf,
        },
        new DeviceType
        {
            Name = "isa-cirrus-vga", Bus = "ISA", Description = "Cirrus CLGD 54xx VGA on ISA", Category = DeviceCategory.Display,
            Properties = [new("blitter", PropertyKind.Bool, "on"), new("vgamem_mb", PropertyKind.UInt32, "4")], Create = IsaCirrusOf,
        },
        new DeviceType
        {
            Name = "secondary-vga", Bus = "PCI", Description = "Standard VGA beside another, no legacy ports", Category = DeviceCategory.Display,
            Properties =
            [
                .. PciProperties, new("edid", PropertyKind.Bool, "on"), new("qemu-extended-regs", PropertyKind.Bool, "on"),
                new("vgamem_mb", PropertyKind.UInt32, "16"), new("xmax", PropertyKind.UInt32, "0"), new("xres", PropertyKind.UInt32, "1280"),
                new("ymax", PropertyKind.UInt32, "0"), new("yres", PropertyKind.UInt32, "800"),
            ],
            Create = static a => SecondaryOf(a, (ulong)BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(a.Integer("vgamem_mb"), 1, 512)) << 20, null),
        },
        new DeviceType
        {
            Name = "cirrus-vga", Bus = "PCI", Description = "Cirrus CLGD 54xx VGA", Category = DeviceCategory.Display,
            Properties = [.. PciProperties, new("vgamem_mb", PropertyKind.UInt32, "4"), new("blitter", PropertyKind.Bool, "on")],
            Create = CirrusOf,
        },
        new DeviceType
        {
            Name = "bochs-display", Bus = "PCI", Description = "Linear framebuffer with Bochs VBE extensions, no VGA", Category = DeviceCategory.Display,
            Properties =
            [
                .. PciProperties, new("edid", PropertyKind.Bool, "on"), new("vgamem", PropertyKind.Size, "16777216"),
                new("xmax", PropertyKind.UInt32, "0"), new("xres", PropertyKind.UInt32, "1280"), new("ymax", PropertyKind.UInt32, "0"),
                new("yres", PropertyKind.UInt32, "800"),
            ],
            Create = static a => SecondaryOf(a, BitOperations.RoundUpToPowerOf2(Math.Clamp(a.Size("vgamem"), 4UL << 20, 256UL << 20)), "vgabios-bochs-display.bin"),
        },
        new DeviceType
        {
            Name = "ramfb", Bus = "System", Description = "ram framebuffer standalone device", Category = DeviceCategory.Display,
            Create = RamfbOf,
        },
        .. PcBridgeTypes.All,
        .. PcStorageTypes.All,
        .. PcVirtioTypes.All,
        .. PcScsiTypes.All,
        .. PcNetworkTypes.All,
    ]);

    /// <summary>The PCI bus that a new function names, or the root bus.</summary>
    internal static PciBus BusOf(DeviceArguments a) => ((PcMachine)a.Host).FindPciBus(a.Type.Name, a.BusName);

    /// <summary>The text of <c>-nic model=help</c>.</summary>
    public static string NicModelHelp => PcNetworkTypes.ModelHelp;

    /// <summary>Plugs a PCI function where the user asked.</summary>
    internal static T Plug<T>(DeviceArguments a, T function)
        where T : PciFunction
    {
        var bus = BusOf(a);
        function.IsMultifunction |= a.Bool("multifunction");
        bus.Plug(function, a.PciAddress());
        a.Place = function.Devfn;
        return function;
    }

    private static void CheckIsa(DeviceArguments a)
    {
        if (a.BusName is { } name && name is not ("isa.0" or "isa"))
            throw new UserErrorException($"Bus '{name}' not found");
    }

    private static ulong Port(DeviceArguments a, string name, int size)
    {
        var port = a.Integer(name);
        if (port + (ulong)size > 0x10000)
            throw new UserErrorException($"Property '{a.Type.Name}.{name}' doesn't take value '{port}': beyond the I/O ports");
        return port;
    }

    private static DebugExit DebugExitOf(DeviceArguments a)
    {
        CheckIsa(a);
        var size = (int)Math.Clamp(a.Integer("iosize"), 1, 0x10000);
        var device = new DebugExit(a.Host.Exit, size) { Id = a.Id };
        a.Host.IoRoot.Add(Port(a, "iobase", size), device.Ports);
        return device;
    }

    private static DebugConsole DebugConsoleOf(DeviceArguments a)
    {
        CheckIsa(a);
        var backend = a.Chardev("chardev") ?? throw new UserErrorException("Can't create debugcon device, empty char device");
        var device = new DebugConsole(backend, (byte)a.Integer("readback")) { Id = a.Id };
        a.Host.IoRoot.Add(Port(a, "iobase", 1), device.Port);
        return device;
    }

    private static PcTestDev TestDeviceOf(DeviceArguments a)
    {
        CheckIsa(a);
        var device = new PcTestDev { Id = a.Id };
        a.Host.IoRoot.Add(0xE0, device.StorePorts);
        a.Host.IoRoot.Add(0xE4, device.FlushPorts);
        a.Host.IoRoot.Add(0xE8, device.BytePorts);
        a.Host.IoRoot.Add(0x2000, device.IrqPorts);
        a.Host.MemoryRoot.Add(0xFF00_0000, device.Memory);
        for (var i = 0; i < device.Irqs.Length; i++)
        {
            var line = a.Host.IsaIrq(i);
            device.Irqs[i].Connect(level => line.Level = level);
        }

        return device;
    }

    private static PvPanic PanicOf(DeviceArguments a)
    {
        CheckIsa(a);
        var port = Port(a, "ioport", 1);
        var device = new PvPanic((byte)a.Integer("events"), a.Host.GuestPanicked, a.Host.GuestCrashLoaded) { Id = a.Id };
        a.Host.IoRoot.Add(port, device.Port);
        ((PcMachine)a.Host).NotePanicPort((int)port);
        return device;
    }

    private static Device SerialOf(DeviceArguments a)
    {
        CheckIsa(a);
        var machine = (PcMachine)a.Host;
        var index = a.IsSet("index") ? (int)Math.Min(a.Integer("index"), int.MaxValue) : machine.NextSerial;
        if (index is < 0 or > 3)
            throw new UserErrorException("Max. supported number of ISA serial ports is 4.");
        var (port, irq) = PcMachine.SerialDefaults(index);
        if (a.IsSet("iobase"))
            port = (int)Port(a, "iobase", 8);
        if (a.IsSet("irq"))
            irq = Irq(a);
        return machine.AddSerial(index, a.Chardev("chardev"), port, irq, a.Id);
    }

    private static Device ParallelOf(DeviceArguments a)
    {
        CheckIsa(a);
        var machine = (PcMachine)a.Host;
        var backend = a.Chardev("chardev") ?? throw new UserErrorException("Can't create parallel device, empty char device");
        var index = a.IsSet("index") ? (int)Math.Min(a.Integer("index"), int.MaxValue) : machine.NextParallel;
        if (index is < 0 or > 2)
            throw new UserErrorException("Max. supported number of parallel ports is 3.");
        var port = a.IsSet("iobase") ? (int)Port(a, "iobase", 8) : PcMachine.ParallelDefault(index);
        return machine.AddParallel(index, backend, port, Irq(a), a.Id);
    }

    private static int Irq(DeviceArguments a)
    {
        var irq = a.Integer("irq");
        return irq <= 15 ? (int)irq : throw new UserErrorException($"Property '{a.Type.Name}.irq' doesn't take value '{irq}'");
    }

    /// <summary>A display without the VGA's ports and windows.</summary>
    private static VgaFunction SecondaryOf(DeviceArguments a, ulong memory, string? defaultRom)
    {
        var file = a.String("romfile") ?? defaultRom;
        var rom = a.Integer("rombar") == 0 || string.IsNullOrEmpty(file) ? null : a.Host.Firmware(file);
        var edid = a.Bool("edid")
            ? Edid.Build((int)Math.Clamp(a.Integer("xres"), 1, 4095), (int)Math.Clamp(a.Integer("yres"), 1, 4095))
            : [];
        var function = Plug(a, new VgaFunction(new Vga(a.Host.VirtualClock, memory) { Edid = edid }, rom, a.Type.Name) { Id = a.Id });
        a.Host.Bus<DisplayList>()!.Add(function.Vga, a.Type.Name, a.Id);
        return function;
    }

    private static Ramfb RamfbOf(DeviceArguments a)
    {
        var config = a.Host.Bus<FwCfg>() ?? throw new UserErrorException("ramfb device requires fw_cfg with DMA");
        if (config.File(Ramfb.FileName) != null)
            throw new UserErrorException("only one ramfb device is possible");
        var device = new Ramfb(a.Host.Memory) { Id = a.Id };
        config.AddFile(Ramfb.FileName, device.Config, writable: true);
        config.AddFile("genroms/vgabios-ramfb.bin", a.Host.Firmware("vgabios-ramfb.bin"));
        a.Host.Bus<DisplayList>()!.Add(device, a.Type.Name, a.Id);
        return device;
    }

    private static void CheckFirstVga(PciBus bus)
    {
        if (bus.AllFunctions.Any(static f => f is VgaFunction { TypeName: "VGA" } or CirrusFunction))
            throw new UserErrorException("only one VGA adapter fits: a second one would answer the same ports");
    }

    private static CirrusFunction CirrusOf(DeviceArguments a)
    {
        var megabytes = CirrusMegabytes(a);
        var rom = a.Integer("rombar") == 0 || a.String("romfile") is "" ? null : a.Host.Firmware(a.String("romfile") ?? "vgabios-cirrus.bin");
        CheckFirstVga(a.Host.Bus<PciBus>()!);
        var function = Plug(a, new CirrusFunction(new CirrusVga(a.Host.VirtualClock, megabytes << 20, a.Bool("blitter")), rom) { Id = a.Id });
        function.MapLegacy(function.Bus!.MemoryRoot, function.Bus.IoRoot);
        a.Host.Bus<DisplayList>()!.Add(function.Vga, a.Type.Name, a.Id);
        return function;
    }

    private static ulong CirrusMegabytes(DeviceArguments a)
    {
        var megabytes = a.Integer("vgamem_mb");
        return megabytes is 4 or 8 or 16 ? (ulong)megabytes : throw new UserErrorException($"Invalid cirrus_vga ram size '{megabytes}'");
    }

    private static IsaVga IsaVgaOf(DeviceArguments a)
    {
        var megabytes = BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(a.Integer("vgamem_mb"), 1, 256));
        return PlugIsaVga(a, new Vga(a.Host.VirtualClock, (ulong)megabytes << 20), "vgabios-isavga.bin");
    }

    /// <summary>The chip of this adapter drives two megabytes, whatever is asked for.</summary>
    private static IsaVga IsaCirrusOf(DeviceArguments a)
    {
        CirrusMegabytes(a);
        return PlugIsaVga(a, new CirrusVga(a.Host.VirtualClock, 2 << 20, a.Bool("blitter"), isIsa: true), "vgabios-cirrus.bin");
    }

    /// <summary>A VGA at fixed addresses, with its BIOS handed to the firmware.</summary>
    private static IsaVga PlugIsaVga(DeviceArguments a, Vga vga, string rom)
    {
        CheckIsa(a);
        var device = new IsaVga(vga) { Id = a.Id };
        device.Map(((PcMachine)a.Host).Ram.Pci, a.Host.IoRoot);
        a.Host.Bus<FwCfg>()!.AddFile($"vgaroms/{rom}", a.Host.Firmware(rom));
        a.Host.Bus<DisplayList>()!.Add(vga, a.Type.Name, a.Id);
        return device;
    }

    private static VgaFunction VgaOf(DeviceArguments a)
    {
        var rom = a.Integer("rombar") == 0 || a.String("romfile") is "" ? null : a.Host.Firmware(a.String("romfile") ?? "vgabios-stdvga.bin");
        var megabytes = BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(a.Integer("vgamem_mb"), 1, 512));
        CheckFirstVga(a.Host.Bus<PciBus>()!);
        var edid = a.Bool("edid")
            ? Edid.Build((int)Math.Clamp(a.Integer("xres"), 1, 4095), (int)Math.Clamp(a.Integer("yres"), 1, 4095))
            : [];
        var function = Plug(a, new VgaFunction(new Vga(a.Host.VirtualClock, (ulong)megabytes << 20) { Edid = edid }, rom) { Id = a.Id });
        function.MapLegacy(function.Bus!.MemoryRoot, function.Bus.IoRoot);
        a.Host.Bus<DisplayList>()!.Add(function.Vga, a.Type.Name, a.Id);
        return function;
    }
}
