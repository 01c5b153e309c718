using Dromaius.Block;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage.Scsi;
using Dromaius.Devices.Virtio;

namespace Dromaius.Boards.Pc;

/// <summary>The device types of SCSI: host adapters and what hangs on them.</summary>
internal static class PcScsiTypes
{
    private const int MaxRequestQueues = 1021, MaxQueueSize = 1024;

    private static readonly DeviceProperty[] UnitProperties =
    [
        .. PcStorageTypes.DriveProperties, new("channel", PropertyKind.UInt32, "0"), new("scsi-id", PropertyKind.UInt32, "4294967295"),
        new("lun", PropertyKind.UInt32, "4294967295"), new("serial", PropertyKind.String), new("vendor", PropertyKind.String),
        new("product", PropertyKind.String), new("ver", PropertyKind.String), new("device_id", PropertyKind.String),
        new("wwn", PropertyKind.UInt64, "0"), new("port_wwn", PropertyKind.UInt64, "0"), new("port_index", PropertyKind.UInt16, "0"),
        new("scsi_version", PropertyKind.Int32, "5"), new("max_io_size", PropertyKind.UInt64, "2147483647"),
    ];

    public static DeviceType[] All { get; } =
    [
        new()
        {
            Name = "scsi-hd", Bus = "SCSI", Description = "virtual SCSI disk", Category = DeviceCategory.Storage,
            Properties =
            [
                .. UnitProperties, new("rotation_rate", PropertyKind.UInt16, "0"), new("removable", PropertyKind.Bool, "off"),
                new("dpofua", PropertyKind.Bool, "off"), new("max_unmap_size", PropertyKind.UInt64, "1073741824"),
                new("cyls", PropertyKind.UInt32, "0"), new("heads", PropertyKind.UInt32, "0"), new("secs", PropertyKind.UInt32, "0"),
            ],
            Create = DiskOf,
        },
        new()
        {
            Name = "scsi-cd", Bus = "SCSI", Description = "virtual SCSI CD-ROM", Category = DeviceCategory.Storage,
            Properties = UnitProperties, Create = CdromOf,
        },
        new()
        {
            Name = "lsi53c895a", Bus = "PCI", Alias = "lsi", Description = "LSI 53C895A SCSI host adapter", Category = DeviceCategory.Storage,
            Properties = PcStorageTypes.PciProperties,
            Create = static a => PcDeviceTypes.Plug(a, new Lsi53c895a(((PcMachine)a.Host).AddScsiBus(a.Id, 0, Lsi53c895a.MaxTarget, Lsi53c895a.MaxLun),
                a.Host.VirtualClock) { Id = a.Id }),
        },
        .. PcVirtioTypes.Family("virtio-scsi-pci", "virtio-scsi", DeviceCategory.Storage, "virtio SCSI host adapter",
        [
            .. PcVirtioTypes.VirtioProperties, new("num_queues", PropertyKind.UInt32, "4294967295"), new("virtqueue_size", PropertyKind.UInt32, "256"),
            new("max_sectors", PropertyKind.UInt32, "65535"), new("cmd_per_lun", PropertyKind.UInt32, "128"), new("hotplug", PropertyKind.Bool, "on"),
            new("param_change", PropertyKind.Bool, "on"), new("seg_max_adjust", PropertyKind.Bool, "on"), new("iothread", PropertyKind.String),
        ], VirtioOf),
    ];

    private static (VirtioDevice, int, string) VirtioOf(DeviceArguments a)
    {
        var machine = (PcMachine)a.Host;
        var queues = a.Integer("num_queues") is uint.MaxValue ? (ulong)Math.Min(machine.Cpus.Count, MaxRequestQueues) : a.Integer("num_queues");
        if (queues is 0 or > MaxRequestQueues)
            throw new UserErrorException($"Invalid number of queues (= {queues}), must be a positive integer less than {MaxRequestQueues + 1}.");
        var size = a.Integer("virtqueue_size");
        if (size is <= 2 or > MaxQueueSize || !ulong.IsPow2(size))
            throw new UserErrorException($"invalid virtqueue_size property (= {size}), must be a power of 2 between 4 and {MaxQueueSize}");
        var bus = machine.AddScsiBus(a.Id, VirtioScsi.MaxChannel, VirtioScsi.MaxTarget, VirtioScsi.MaxLun);
        var device = new VirtioScsi(machine.Memory, bus, (int)queues, (int)size)
        {
            MaxSectors = (uint)a.Integer("max_sectors"), CommandsPerLun = (uint)a.Integer("cmd_per_lun"), HasHotplug = a.Bool("hotplug"),
            HasChange = a.Bool("param_change"),
        };
        return (device, (int)queues + 3, "scsi");
    }

    private static ScsiDisk DiskOf(DeviceArguments a)
    {
        var machine = (PcMachine)a.Host;
        var bus = machine.FindScsiBus(a);
        var removable = a.Bool("removable");
        var backend = removable ? PcStorageTypes.Drive(a) ?? machine.Drives.Empty(a.Id ?? a.Type.Name, a.Id) : PcStorageTypes.DiskDrive(a);
        var (logical, physical) = PcStorageTypes.BlockSizes(a);
        if (removable)
            backend.IsRemovable = true;
        var granularity = a.Size("discard_granularity");
        return Place(a, bus, new ScsiDisk(backend, PcStorageTypes.GeometryOf(a, backend), logical)
        {
            Id = a.Id, Vendor = a.String("vendor") ?? "DROMAIUS", Product = a.String("product") ?? "DROMAIUS DISK", Revision = a.String("ver") ?? "2.5+",
            Serial = a.String("serial"), DeviceName = a.String("device_id"), Wwn = a.Integer("wwn"), PortWwn = a.Integer("port_wwn"),
            PortIndex = (ushort)a.Integer("port_index"), Version = (byte)a.Integer("scsi_version"), PhysicalBlockSize = physical,
            MinIoSize = (int)Math.Min(a.Size("min_io_size"), 1 << 30), OptIoSize = (int)Math.Min(a.Size("opt_io_size"), 1 << 30),
            DiscardGranularity = granularity == uint.MaxValue ? Math.Max(logical, 4096) : (long)Math.Min(granularity, 1 << 30),
            MaxUnmapSize = (long)Math.Min(a.Integer("max_unmap_size"), long.MaxValue), MaxIoSize = (long)Math.Min(a.Integer("max_io_size"), long.MaxValue),
            RotationRate = (ushort)a.Integer("rotation_rate"), HasRemovableMedium = removable, AnnouncesFua = a.Bool("dpofua"),
        });
    }

    private static ScsiCdrom CdromOf(DeviceArguments a)
    {
        var machine = (PcMachine)a.Host;
        var bus = machine.FindScsiBus(a);
        var backend = PcStorageTypes.Drive(a) ?? machine.Drives.Empty(a.Id ?? a.Type.Name, a.Id);
        return Place(a, bus, new ScsiCdrom(backend)
        {
            Id = a.Id, Vendor = a.String("vendor") ?? "DROMAIUS", Product = a.String("product") ?? "DROMAIUS CD-ROM", Revision = a.String("ver") ?? "2.5+",
            Serial = a.String("serial"), DeviceName = a.String("device_id"), Wwn = a.Integer("wwn"), PortWwn = a.Integer("port_wwn"),
            PortIndex = (ushort)a.Integer("port_index"), Version = (byte)a.Integer("scsi_version"),
        });
    }

    private static T Place<T>(DeviceArguments a, ScsiBus bus, T unit)
        where T : ScsiTarget
    {
        try
        {
            bus.Add(unit, Number("channel", 0), Number("scsi-id", -1), Number("lun", -1));
        }
        catch (UserErrorException)
        {
            unit.LetGo();
            throw;
        }

        if (((PcMachine)a.Host).ScsiPath(bus) is { } adapter)
            PcStorageTypes.NoteBoot(a, $"{adapter}/channel@{unit.Channel:x}/disk@{unit.TargetId:x},{unit.Lun:x}");
        return unit;

        long Number(string name, long unset) => a.Integer(name) is var n && n == uint.MaxValue ? unset : (long)n;
    }
}
