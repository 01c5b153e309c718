using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Pci;

namespace Dromaius.Boards.Pc;

/// <summary>The device types of bridges and ports.</summary>
internal static class PcBridgeTypes
{
    private static readonly DeviceProperty[] PortProperties =
    [
        .. PcStorageTypes.PciProperties, new("port", PropertyKind.UInt8, "0"), new("chassis", PropertyKind.UInt8, "0"), new("slot", PropertyKind.UInt16, "0"),
        new("hotplug", PropertyKind.Bool, "on"), new("bus-reserve", PropertyKind.UInt32, "4294967295"), new("io-reserve", PropertyKind.Size, "18446744073709551615"),
        new("mem-reserve", PropertyKind.Size, "18446744073709551615"), new("pref32-reserve", PropertyKind.Size, "18446744073709551615"),
        new("pref64-reserve", PropertyKind.Size, "18446744073709551615"), new("disable-acs", PropertyKind.Bool, "off"),
        new("power_controller_present", PropertyKind.Bool, "on"),
    ];

    public static DeviceType[] All { get; } =
    [
        Port(PciExpressPortModel.Generic, "PCI Express Root Port"),
        Port(PciExpressPortModel.Ioh3420, "Intel IOH device id 3420 PCIE Root Port"),
        new()
        {
            Name = "pci-bridge", Bus = "PCI", Description = "Standard PCI Bridge", Category = DeviceCategory.Bridge,
            Properties =
            [
                .. PcStorageTypes.PciProperties, new("chassis_nr", PropertyKind.UInt8, "0"), new("msi", PropertyKind.OnOffAuto, "auto"),
                new("shpc", PropertyKind.Bool, "off"),
            ],
            Create = static a => a.Integer("chassis_nr") is var chassis and > 0
                ? Note(a, PcDeviceTypes.Plug(a, new ConventionalBridge(SecondaryName(a, "pci"), (byte)chassis, false) { Id = a.Id }))
                : throw new UserErrorException("Bridge chassis not specified. Each bridge is required to be assigned a unique chassis id > 0."),
        },
        new()
        {
            Name = "pcie-pci-bridge", Bus = "PCI", Description = "PCI Express to PCI bridge", Category = DeviceCategory.Bridge,
            Properties = [.. PcStorageTypes.PciProperties, new("msi", PropertyKind.OnOffAuto, "auto")],
            Create = static a => PcDeviceTypes.Plug(a, new ConventionalBridge(SecondaryName(a, "pci"), 0, true) { Id = a.Id }),
        },
    ];

    private static DeviceType Port(PciExpressPortModel model, string description) => new()
    {
        Name = model.TypeName, Bus = "PCI", Description = description, Category = DeviceCategory.Bridge, Properties = PortProperties,
        Create = a =>
        {
            var (chassis, slot) = ((byte)a.Integer("chassis"), (ushort)a.Integer("slot"));
            if (((PcMachine)a.Host).PciBus.AllFunctions.OfType<PciExpressPort>().Any(p => p.Chassis == chassis && p.SlotNumber == slot))
                throw new UserErrorException($"Can't add chassis slot, error -16");
            return PcDeviceTypes.Plug(a, new PciExpressPort(model, SecondaryName(a, "pcie"), (byte)a.Integer("port"), chassis, slot, a.Bool("hotplug"))
            {
                Id = a.Id, Ejected = ((PcMachine)a.Host).FinishUnplug,
            });
        },
    };

    private static ConventionalBridge Note(DeviceArguments a, ConventionalBridge bridge)
    {
        ((PcMachine)a.Host).Chipset.NoteBridge(bridge);
        return bridge;
    }

    /// <summary>The bus behind is named after the bridge.</summary>
    private static string SecondaryName(DeviceArguments a, string kind)
    {
        if (a.Id is { } id)
            return id;
        var root = ((PcMachine)a.Host).PciBus;
        return $"{kind}.{root.AllBuses.Count(b => b.Name.StartsWith(kind + ".", StringComparison.Ordinal))}";
    }
}
