using Dromaius.Block;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Ata;
using Dromaius.Devices.Storage.Scsi;

namespace Dromaius.Boards.Pc;

/// <summary>The device types of disks and their controllers.</summary>
internal static class PcStorageTypes
{
    /// <summary>What every device on a drive has.</summary>
    internal static readonly DeviceProperty[] DriveProperties =
    [
        new("drive", PropertyKind.Drive), new("bootindex", PropertyKind.Int32, "-1"), new("write-cache", PropertyKind.OnOffAuto, "auto"),
        new("share-rw", PropertyKind.Bool, "off"), new("rerror", PropertyKind.String, "auto"), new("werror", PropertyKind.String, "auto"),
        new("logical_block_size", PropertyKind.Size, "0"), new("physical_block_size", PropertyKind.Size, "0"),
        new("min_io_size", PropertyKind.Size, "0"), new("opt_io_size", PropertyKind.Size, "0"),
        new("discard_granularity", PropertyKind.Size, "4294967295"),
    ];

    private static readonly DeviceProperty[] IdeProperties =
    [
        .. DriveProperties, new("model", PropertyKind.String), new("serial", PropertyKind.String), new("unit", PropertyKind.UInt32, "4294967295"),
        new("ver", PropertyKind.String), new("wwn", PropertyKind.UInt64, "0"),
    ];

    internal static readonly DeviceProperty[] PciProperties =
        [new("addr", PropertyKind.PciAddress, "-1"), new("multifunction", PropertyKind.Bool, "off")];

    public static DeviceType[] All { get; } =
    [
        new()
        {
            Name = "ide-hd", Bus = "IDE", Description = "virtual IDE disk", Category = DeviceCategory.Storage,
            Properties =
            [
                .. IdeProperties, new("bios-chs-trans", PropertyKind.String, "auto"), new("cyls", PropertyKind.UInt32, "0"),
                new("heads", PropertyKind.UInt32, "0"), new("secs", PropertyKind.UInt32, "0"), new("rotation_rate", PropertyKind.UInt16, "0"),
            ],
            Create = DiskOf,
        },
        new()
        {
            Name = "ide-cd", Bus = "IDE", Description = "virtual IDE CD-ROM", Category = DeviceCategory.Storage,
            Properties = IdeProperties, Create = CdromOf,
        },
        new()
        {
            Name = "floppy", Bus = "floppy-bus", Description = "virtual floppy drive", Category = DeviceCategory.Storage,
            Properties = [.. DriveProperties, new("drive-type", PropertyKind.String, "auto"), new("unit", PropertyKind.UInt32, "4294967295")],
            Create = FloppyOf,
        },
        new()
        {
            Name = "isa-fdc", Bus = "ISA", Description = "virtual floppy controller", Category = DeviceCategory.Storage,
            Properties =
            [
                new("dma", PropertyKind.UInt32, "2"), new("iobase", PropertyKind.UInt32, "0x3f0"), new("irq", PropertyKind.UInt32, "6"),
            ],
            Create = static a => ((PcMachine)a.Host).AddFloppyController(a.Id),
        },
        new()
        {
            Name = "isa-ide", Bus = "ISA", Description = "ATA channel on the ISA bus", Category = DeviceCategory.Storage,
            Properties =
            [
                new("iobase", PropertyKind.UInt32, "0x1f0"), new("iobase2", PropertyKind.UInt32, "0x3f6"), new("irq", PropertyKind.UInt32, "14"),
            ],
            Create = static a => ((PcMachine)a.Host).AddIsaIde(a.Integer("iobase"), a.Integer("iobase2"),
                a.Integer("irq") <= 15 ? (int)a.Integer("irq") : throw new UserErrorException("Property 'isa-ide.irq' is above 15"), a.Id),
        },
        new()
        {
            Name = "ich9-ahci", Bus = "PCI", Alias = "ahci", Description = "Serial ATA controller of the ICH9", Category = DeviceCategory.Storage,
            Properties = PciProperties,
            Create = static a =>
            {
                var controller = PcDeviceTypes.Plug(a, new Ahci { Id = a.Id });
                ((PcMachine)a.Host).AddAhci(controller);
                return controller;
            },
        },
        new()
        {
            Name = "nvme", Bus = "PCI", Description = "Non-Volatile Memory Express", Category = DeviceCategory.Storage,
            Properties = [.. PciProperties, .. DriveProperties, new("serial", PropertyKind.String)],
            Create = static a =>
            {
                var serial = a.String("serial") ?? throw new UserErrorException("serial property not set");
                if (serial.Length > 20)
                    throw new UserErrorException("serial number is longer than 20 characters");
                var nvme = PcDeviceTypes.Plug(a, new Nvme(DiskDrive(a)) { Id = a.Id, Serial = serial, BlockSize = BlockSizes(a).Logical });
                NoteBoot(a, PcMachine.PciPath(nvme, "pci1b36,0010") + "/namespace@1,0");
                return nvme;
            },
        },
        Piix("piix3-ide", false),
        Piix("piix4-ide", true),
    ];

    private static DeviceType Piix(string name, bool isPiix4) => new()
    {
        Name = name, Bus = "PCI", Description = isPiix4 ? "IDE function of the PIIX4" : "IDE function of the PIIX3",
        Category = DeviceCategory.Storage, Properties = PciProperties,
        Create = a =>
        {
            var machine = (PcMachine)a.Host;
            if (machine.PciBus.AllFunctions.OfType<PiixIde>().Any())
                throw new UserErrorException("the legacy IDE ports are in use by another controller");
            var ide = new PiixIde(isPiix4) { Id = a.Id };
            ide.IsMultifunction |= a.Bool("multifunction");
            PcDeviceTypes.BusOf(a).Plug(ide, a.PciAddress());
            ide.MapLegacy(machine.IoRoot);
            machine.AddIdeChannel(ide.Channels[0], 14, a.Id, 0);
            machine.AddIdeChannel(ide.Channels[1], 15, a.Id, 1);
            return ide;
        },
    };

    /// <summary>The drive a device names, with the property that says whether writes are cached.</summary>
    internal static BlockBackend? Drive(DeviceArguments a)
    {
        if (a.String("drive") is not { } id)
            return null;
        var drives = ((PcMachine)a.Host).Drives;
        // The disk is a device of its own behind the PCI function.
        var holder = a.Type.Name.StartsWith("virtio-blk-", StringComparison.Ordinal) ? "virtio-blk-device" : a.Type.Name;
        var backend = drives.Take(holder, id).Backend;
        backend.DeviceName = a.Id;
        drives.Claim(backend, a.IsSet("share-rw") && a.Bool("share-rw"), isResizable: !backend.IsRemovable);
        if (a.String("write-cache") is "on" or "off")
            backend.WriteCache = a.String("write-cache") == "on";
        backend.OnReadError = Policy("rerror") ?? backend.OnReadError;
        backend.OnWriteError = Policy("werror") ?? backend.OnWriteError;
        return backend;

        // What the device says goes before what the drive says.
        ErrorPolicy? Policy(string name) => a.String(name) switch
        {
            null or "auto" => null,
            "report" => ErrorPolicy.Report,
            "ignore" => ErrorPolicy.Ignore,
            "stop" => ErrorPolicy.Stop,
            "enospc" => ErrorPolicy.StopOnNoSpace,
            var other => throw new UserErrorException($"Parameter '{name}' does not accept value '{other}'"),
        };
    }

    /// <summary>A drive that must be there and hold a disk.</summary>
    internal static BlockBackend DiskDrive(DeviceArguments a)
    {
        var backend = Drive(a) ?? throw new UserErrorException("drive property not set");
        if (!backend.HasMedium)
            throw new UserErrorException("Device needs media, but drive is empty");
        return backend;
    }

    /// <summary>Logical and physical block size: powers of two from 512 bytes to 2 MiB.</summary>
    internal static (int Logical, int Physical) BlockSizes(DeviceArguments a)
    {
        var logical = Size("logical_block_size", 512);
        var physical = Size("physical_block_size", logical);
        return physical >= logical ? (logical, physical) : throw new UserErrorException("logical_block_size > physical_block_size not supported");

        int Size(string name, int usual)
        {
            var size = a.Size(name);
            if (size == 0)
                return usual;
            if (size is < 512 or > 2 << 20 || (size & (size - 1)) != 0)
                throw new UserErrorException($"Property {a.Type.Name}.{name} doesn't take value {size} (minimum: 512, maximum: 2097152)");
            return (int)size;
        }
    }

    internal static void NoteBoot(DeviceArguments a, string path)
    {
        if (a.String("bootindex") is not { } text || !int.TryParse(text, out var index) || index < 0)
            return;
        ((PcMachine)a.Host).BootOrder.Add(index, path);
    }

    /// <summary>Where a disk or CD-ROM goes: half of an IDE channel, or a port of an AHCI controller.</summary>
    /// <param name="Attach">Puts it there.</param>
    /// <param name="Number">Counted over all places, for the usual serial number.</param>
    /// <param name="BootPath">As firmware spells it.</param>
    /// <param name="IsSerial">Serial ATA.</param>
    private sealed record IdePlace(Action<AtaDevice> Attach, int Number, string BootPath, bool IsSerial);

    private static IdePlace PlaceOf(DeviceArguments a)
    {
        var machine = (PcMachine)a.Host;
        var unit = a.IsSet("unit") ? (int)Math.Min(a.Integer("unit"), int.MaxValue) : -1;
        var bus = a.BusName is { } name
            ? machine.IdeBuses.FirstOrDefault(b => b.Name == name) ?? throw new UserErrorException($"Bus '{name}' not found")
            : machine.IdeBuses.FirstOrDefault(b => unit < 0 ? !b.IsFull : unit < b.Units && b[unit] == null)
                ?? throw new UserErrorException($"No 'IDE' bus found for device '{a.Type.Name}'");
        if (unit < 0)
            unit = bus[0] == null || bus.Units == 1 ? 0 : 1;
        if (unit >= bus.Units)
            throw new UserErrorException($"Can't create IDE unit {unit}, bus supports only {bus.Units} units");
        if (bus[unit] != null)
            throw new UserErrorException($"IDE unit {unit} is in use");
        if (bus.Port is { } port)
        {
            var before = machine.IdeBuses.TakeWhile(b => b != bus).Sum(static b => b.Units);
            return new IdePlace(port.Attach, before, $"{PcMachine.PciPath(bus.Controller!, "pci8086,2922")}/drive@{port.Number:x}/disk@0", true);
        }

        var channel = bus.Channel!;
        var function = machine.HasPci ? machine.PciBus.AllFunctions.OfType<PiixIde>().FirstOrDefault(f => f.Channels.Contains(channel)) : null;
        var parent = function != null ? PcMachine.PciPath(function, "ide") : machine.IsaPath("ide@01f0");
        return new IdePlace(device => channel.Attach(unit, device), (channel.Number * 2) + unit, $"{parent}/drive@{channel.Number:x}/disk@{unit:x}", false);
    }

    private static string Serial(DeviceArguments a, IdePlace place) => a.String("serial") ?? $"DM{place.Number + 1:D5}";

    internal static DiskGeometry GeometryOf(DeviceArguments a, BlockBackend backend)
    {
        var (cylinders, heads, sectors) = ((long)a.Integer("cyls"), (long)a.Integer("heads"), (long)a.Integer("secs"));
        DiskGeometry geometry;
        if (cylinders == 0 && heads == 0 && sectors == 0)
            geometry = DiskGeometry.Guess(backend.Node);
        else
        {
            Check("cyls", cylinders, 65535);
            Check("heads", heads, 16);
            Check("secs", sectors, 255);
            geometry = new DiskGeometry((int)cylinders, (int)heads, (int)sectors,
                cylinders <= 1024 && sectors <= 63 ? DiskTranslation.None : DiskTranslation.Lba);
        }

        return a.String("bios-chs-trans") switch
        {
            null or "auto" => geometry,
            "none" => geometry with { Translation = DiskTranslation.None },
            "lba" => geometry with { Translation = DiskTranslation.Lba },
            "large" => geometry with { Translation = DiskTranslation.Large },
            "rechs" => geometry with { Translation = DiskTranslation.Rechs },
            var other => throw new UserErrorException($"Parameter 'bios-chs-trans' does not accept value '{other}'"),
        };

        static void Check(string name, long value, long most)
        {
            if (value < 1 || value > most)
                throw new UserErrorException($"{name} must be between 1 and {most}");
        }
    }

    private static AtaDisk DiskOf(DeviceArguments a)
    {
        var place = PlaceOf(a);
        var backend = DiskDrive(a);
        var physical = a.Size("physical_block_size");
        var disk = new AtaDisk(backend, GeometryOf(a, backend))
        {
            Id = a.Id,
            Model = a.String("model") ?? "DROMAIUS HARDDISK",
            Serial = Serial(a, place),
            Version = a.String("ver") ?? "2.5+",
            Wwn = a.Integer("wwn"),
            RotationRate = (ushort)a.Integer("rotation_rate"),
            PhysicalBlockExponent = physical > 512 ? Math.Min((int)ulong.Log2(physical) - 9, 15) : 0,
            IsSerial = place.IsSerial,
        };
        place.Attach(disk);
        NoteBoot(a, place.BootPath);
        return disk;
    }

    private static AtapiDrive CdromOf(DeviceArguments a)
    {
        var place = PlaceOf(a);
        var backend = Drive(a) ?? ((PcMachine)a.Host).Drives.Empty(a.Id ?? $"cd{place.Number}", a.Id);
        var serial = Serial(a, place);
        var version = a.String("ver") ?? "2.5+";
        var target = new ScsiCdrom(backend)
        {
            IsPacket = true,
            Serial = serial,
            Revision = version,
        };
        var drive = new AtapiDrive(target)
        {
            Id = a.Id, Model = a.String("model") ?? "DROMAIUS DVD-ROM", Serial = serial, Version = version, IsSerial = place.IsSerial,
        };
        place.Attach(drive);
        NoteBoot(a, place.BootPath);
        return drive;
    }

    private static FloppyDrive FloppyOf(DeviceArguments a)
    {
        var machine = (PcMachine)a.Host;
        var controller = machine.FloppyController ?? throw new UserErrorException("No 'floppy-bus' bus found for device 'floppy'");
        var unit = a.IsSet("unit") ? (int)Math.Min(a.Integer("unit"), int.MaxValue) : controller[0] == null ? 0 : 1;
        if (unit > 1)
            throw new UserErrorException($"Can't create floppy unit {unit}, bus supports only 2 units");
        if (controller[unit] != null)
            throw new UserErrorException($"Floppy unit {unit} is in use");
        var type = a.String("drive-type") switch
        {
            "120" => FloppyDriveType.Mib12,
            "144" => FloppyDriveType.Mib144,
            "288" => FloppyDriveType.Mib288,
            null or "auto" => FloppyDriveType.None,
            var other => throw new UserErrorException($"Parameter 'drive-type' does not accept value '{other}'"),
        };
        var drive = new FloppyDrive(Drive(a) ?? machine.Drives.Empty(a.Id ?? $"floppy{unit}", a.Id), type) { Id = a.Id };
        controller.Attach(unit, drive);
        NoteBoot(a, $"{machine.IsaPath("fdc@03f0")}/floppy@{unit:x}");
        return drive;
    }
}
