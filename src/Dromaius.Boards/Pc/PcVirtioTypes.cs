using System.Numerics;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Virtio;

namespace Dromaius.Boards.Pc;

/// <summary>Virtio devices as PCI functions.</summary>
internal static class PcVirtioTypes
{
    /// <summary>Properties of the PCI transport; first, since the tables below use it.</summary>
    private static readonly HashSet<string> PciOnly =
        [.. PcStorageTypes.PciProperties.Select(static p => p.Name), "disable-legacy", "disable-modern", "vectors", "romfile", "rombar"];

    private const int MaxQueues = 1024, MaxQueueSize = 1024;

    internal static readonly DeviceProperty[] VirtioProperties =
    [
        .. PcStorageTypes.PciProperties, new("disable-legacy", PropertyKind.OnOffAuto, "auto"), new("disable-modern", PropertyKind.Bool, "off"),
        new("event_idx", PropertyKind.Bool, "on"), new("indirect_desc", PropertyKind.Bool, "on"), new("packed", PropertyKind.Bool, "off"),
        new("any_layout", PropertyKind.Bool, "on"), new("notify_on_empty", PropertyKind.Bool, "on"), new("ioeventfd", PropertyKind.Bool, "on"),
        new("iommu_platform", PropertyKind.Bool, "off"), new("vectors", PropertyKind.UInt32, "4294967295"),
    ];

    private static readonly DeviceProperty[] BlockProperties =
    [
        .. VirtioProperties, .. PcStorageTypes.DriveProperties, new("serial", PropertyKind.String), new("num-queues", PropertyKind.UInt16, "65535"),
        new("queue-size", PropertyKind.UInt16, "256"), new("discard", PropertyKind.Bool, "on"), new("write-zeroes", PropertyKind.Bool, "on"),
        new("config-wce", PropertyKind.Bool, "on"), new("seg-max-adjust", PropertyKind.Bool, "on"), new("iothread", PropertyKind.String),
        new("cyls", PropertyKind.UInt32, "0"), new("heads", PropertyKind.UInt32, "0"), new("secs", PropertyKind.UInt32, "0"),
    ];

    public static DeviceType[] All { get; } =
    [
        .. Family("virtio-blk-pci", "virtio-blk", DeviceCategory.Storage, "virtio block device", BlockProperties, BlockOf),
    ];

    /// <summary>A device type with its variants that fix the interface.</summary>
    internal static IEnumerable<DeviceType> Family(string name, string alias, DeviceCategory category, string description,
        DeviceProperty[] properties, Func<DeviceArguments, (VirtioDevice Device, int Vectors, string BootKind)> create)
    {
        foreach (var (suffix, mode) in ((string, VirtioPciMode?)[])[("", null), ("-transitional", VirtioPciMode.Transitional),
            ("-non-transitional", VirtioPciMode.Modern)])
        {
            yield return new DeviceType
            {
                Name = name + suffix, Bus = "PCI", Alias = suffix.Length == 0 ? alias : null, Category = category, Description = description,
                Properties = properties, Create = a => Plug(a, mode, create(a)),
            };
        }

        yield return new DeviceType
        {
            Name = alias + "-device", Bus = "virtio-bus", Category = category, Description = description,
            Properties = [.. properties.Where(p => !PciOnly.Contains(p.Name))],
            Create = a => Attach(a, create),
        };
    }

    /// <summary>Puts a device behind a memory-mapped transport.</summary>
    private static VirtioBusDevice Attach(DeviceArguments a, Func<DeviceArguments, (VirtioDevice Device, int Vectors, string BootKind)> create)
    {
        var transport = ((PcMachine)a.Host).Chipset.VirtioBus(a.Type.Name, a.BusName)
            ?? throw new UserErrorException($"No 'virtio-bus' bus found for device '{a.Type.Name}'");
        var device = create(a).Device;
        SetFeatures(a, device);
        transport.Attach(device);
        return new VirtioBusDevice(device, a.Type.Name) { Id = a.Id };
    }

    private static void SetFeatures(DeviceArguments a, VirtioDevice device)
    {
        Disable(a, device, "event_idx", VirtioFeature.RingEventIndex);
        Disable(a, device, "indirect_desc", VirtioFeature.RingIndirect);
        Disable(a, device, "any_layout", VirtioFeature.AnyLayout);
        Disable(a, device, "notify_on_empty", VirtioFeature.NotifyOnEmpty);
        Disable(a, device, "packed", VirtioFeature.RingPacked);
    }

    private static VirtioPci Plug(DeviceArguments a, VirtioPciMode? fixedMode, (VirtioDevice Device, int Vectors, string BootKind) made)
    {
        var (device, vectors, kind) = made;
        SetFeatures(a, device);
        // Behind a PCI Express port there are no I/O ports to spare: the legacy interface goes unless asked for.
        var bus = PcDeviceTypes.BusOf(a);
        var express = bus is { IsExpress: true, Parent: not null };
        var noLegacy = a.String("disable-legacy") is var legacy && (legacy == "on" || (legacy != "off" && express));
        var noModern = a.Bool("disable-modern");
        if (noLegacy && noModern)
            throw new UserErrorException("device cannot work as neither modern nor legacy mode is enabled");
        var mode = fixedMode ?? (noLegacy ? VirtioPciMode.Modern : noModern ? VirtioPciMode.Legacy : VirtioPciMode.Transitional);
        if (a.IsSet("vectors") && a.Integer("vectors") <= 2048)
            vectors = (int)a.Integer("vectors");
        var function = PcDeviceTypes.Plug(a, new VirtioPci(device, a.Type.Name, mode, vectors, express) { Id = a.Id });
        if (kind == PcNetworkTypes.BootKind)
            PcNetworkTypes.AddRom(a, function);
        // The disks of a SCSI controller have places of their own.
        if (device is not VirtioScsi)
        {
            PcStorageTypes.NoteBoot(a, PcMachine.PciPath(function, kind) + kind switch
            {
                "scsi" => "/disk@0,0",
                PcNetworkTypes.BootKind => PcNetworkTypes.BootLeaf,
                _ => "",
            });
        }

        return function;
    }

    private static void Disable(DeviceArguments a, VirtioDevice device, string property, ulong feature)
    {
        device.DisabledFeatures = a.Bool(property) ? device.DisabledFeatures & ~feature : device.DisabledFeatures | feature;
    }

    private static (VirtioDevice, int, string) BlockOf(DeviceArguments a)
    {
        var machine = (PcMachine)a.Host;
        var queues = (int)a.Integer("num-queues");
        if (queues == 65535)
            queues = a.Type.Bus == "PCI" ? Math.Min(machine.Cpus.Count, MaxQueues) : 1;
        if (queues is < 1 or > MaxQueues)
            throw new UserErrorException("num-queues property must be larger than 0" + (queues > MaxQueues ? $" and at most {MaxQueues}" : ""));
        var queueSize = (int)a.Integer("queue-size");
        if (queueSize is < 3 or > MaxQueueSize || !BitOperations.IsPow2(queueSize))
            throw new UserErrorException($"invalid queue-size property ({queueSize}), must be a power of 2 (max {MaxQueueSize})");
        var backend = PcStorageTypes.DiskDrive(a);
        var (logical, physical) = PcStorageTypes.BlockSizes(a);
        var device = new VirtioBlock(machine.Memory, backend, queues, queueSize, PcStorageTypes.GeometryOf(a, backend))
        {
            Serial = a.String("serial") ?? "",
            LogicalBlockSize = logical,
            PhysicalBlockSize = physical,
            MinIoSize = (int)Math.Min(a.Size("min_io_size"), 1 << 24),
            OptIoSize = (int)Math.Min(a.Size("opt_io_size"), 1 << 30),
            HasDiscard = a.Bool("discard"),
            HasWriteZeroes = a.Bool("write-zeroes"),
        };
        return (device, queues + 1, "scsi");
    }
}
