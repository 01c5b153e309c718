using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Network;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Virtio;
using Dromaius.Net;

namespace Dromaius.Boards.Pc;

/// <summary>The device types of network adapters.</summary>
internal static class PcNetworkTypes
{
    /// <summary>How firmware names an adapter and what boots from it.</summary>
    internal const string BootKind = "ethernet", BootLeaf = "/ethernet-phy@0";

    private static readonly DeviceProperty[] NicProperties =
    [
        new("mac", PropertyKind.String, Help: "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56"),
        new("netdev", PropertyKind.String, Help: "ID of a netdev to use as a backend"), new("bootindex", PropertyKind.Int32, "-1"),
    ];

    private static readonly DeviceProperty[] VirtioNetProperties =
    [
        .. PcVirtioTypes.VirtioProperties, .. NicProperties, new("rombar", PropertyKind.UInt32, "1"), new("romfile", PropertyKind.String, "efi-virtio.rom"),
        .. VirtioNetSwitches.Select(static s => new DeviceProperty(s.Name, PropertyKind.Bool, s.Default ? "on" : "off")),
        new("rx_queue_size", PropertyKind.UInt16, "256"), new("tx_queue_size", PropertyKind.UInt16, "256"), new("host_mtu", PropertyKind.UInt16, "0"),
        new("speed", PropertyKind.Int32, "-1"), new("duplex", PropertyKind.String), new("queues", PropertyKind.UInt16, "1"),
        new("tx", PropertyKind.String), new("x-txtimer", PropertyKind.UInt32, "150000"), new("x-txburst", PropertyKind.Int32, "256"),
    ];

    /// <summary>Properties of virtio-net that switch features off.</summary>
    private static (string Name, ulong Feature, bool Default)[] VirtioNetSwitches =>
    [
        ("csum", VirtioNet.ChecksumFeature, true), ("guest_csum", VirtioNet.GuestChecksum, true), ("gso", VirtioNet.HostTso4 | VirtioNet.HostTso6, true),
        ("guest_tso4", VirtioNet.GuestTso4, true), ("guest_tso6", VirtioNet.GuestTso6, true), ("guest_ecn", VirtioNet.GuestEcn, true),
        ("guest_ufo", VirtioNet.GuestUfo, true), ("guest_announce", VirtioNet.GuestAnnounce, true), ("host_tso4", VirtioNet.HostTso4, true),
        ("host_tso6", VirtioNet.HostTso6, true), ("host_ecn", VirtioNet.HostEcn, true), ("host_ufo", VirtioNet.HostUfo, true),
        ("mrg_rxbuf", VirtioNet.MergeableBuffers, true), ("status", VirtioNet.StatusFeature, true), ("ctrl_vq", VirtioNet.ControlQueue, true),
        ("ctrl_rx", VirtioNet.ControlRx, true), ("ctrl_vlan", VirtioNet.ControlVlan, true), ("ctrl_rx_extra", VirtioNet.ControlRxExtra, true),
        ("ctrl_mac_addr", VirtioNet.ControlMac, true), ("ctrl_guest_offloads", VirtioNet.ControlGuestOffloads, true), ("mq", VirtioNet.MultiQueue, false),
    ];

    public static DeviceType[] All { get; } =
    [
        .. PcVirtioTypes.Family("virtio-net-pci", "virtio-net", DeviceCategory.Network, "virtio network adapter", VirtioNetProperties, VirtioNetOf),
        PciNic("e1000", "Intel Gigabit Ethernet", "efi-e1000.rom", IntelProperties, static (a, mac) => new E1000(a.Type.Name, a.Host.VirtualClock, mac) { Id = a.Id }),
        PciNic("e1000-82544gc", "Intel Gigabit Ethernet", "efi-e1000.rom", IntelProperties, static (a, mac) => new E1000(a.Type.Name, a.Host.VirtualClock, mac) { Id = a.Id }),
        PciNic("e1000-82545em", "Intel Gigabit Ethernet", "efi-e1000.rom", IntelProperties, static (a, mac) => new E1000(a.Type.Name, a.Host.VirtualClock, mac) { Id = a.Id }),
        PciNic("e1000e", "Intel 82574L GbE Controller", "efi-e1000e.rom",
            [new("disable_vnet_hdr", PropertyKind.Bool, "off"), new("subsys_ven", PropertyKind.UInt16, "0x8086"), new("subsys", PropertyKind.UInt16, "0")],
            static (a, mac) => new E1000e(a.Host.VirtualClock, mac, PcDeviceTypes.BusOf(a).IsExpress) { Id = a.Id }),
        PciNic("rtl8139", "Realtek RTL8139C+", "efi-rtl8139.rom", [], static (a, mac) => new Rtl8139(a.Host.VirtualClock, mac) { Id = a.Id }),
        PciNic("ne2k_pci", "NE2000 on PCI", "efi-ne2k_pci.rom", [], static (a, mac) => new Ne2000Pci(mac) { Id = a.Id }),
        PciNic("pcnet", "AMD PCnet-PCI II", "efi-pcnet.rom", [], static (a, mac) => new Pcnet(a.Host.VirtualClock, mac) { Id = a.Id }),
        PciNic("vmxnet3", "VMWare Paravirtualized Ethernet v3", "efi-vmxnet3.rom",
            [new("x-old-msi-offsets", PropertyKind.Bool, "off"), new("x-disable-pcie", PropertyKind.Bool, "off")],
            static (a, mac) => new Vmxnet3(a.Host.VirtualClock, mac, PcDeviceTypes.BusOf(a).IsExpress && !a.Bool("x-disable-pcie")) { Id = a.Id }),
        new()
        {
            Name = "ne2k_isa", Bus = "ISA", Description = "NE2000 on ISA", Category = DeviceCategory.Network,
            Properties = [.. NicProperties, new("iobase", PropertyKind.UInt32, "0x300"), new("irq", PropertyKind.UInt32, "9")],
            Create = static a =>
            {
                var networks = Networks(a);
                var mac = Mac(a, networks);
                var (port, irq) = (a.Integer("iobase"), a.Integer("irq"));
                if (port > 0xFFE0 || irq > 15)
                    throw new UserErrorException("the ports or the interrupt lie beyond those of the ISA bus");
                var device = new Ne2000("ne2k_isa", mac) { Id = a.Id };
                var line = a.Host.IsaIrq((int)irq);
                device.Irq.Connect(level => line.Level = level);
                a.Host.IoRoot.Add(port, device.Ports);
                device.Nic = Connect(a, networks, mac, device);
                PcStorageTypes.NoteBoot(a, $"{((PcMachine)a.Host).IsaPath($"ethernet@{port:x4}")}{BootLeaf}");
                return device;
            },
        },
    ];

    private static DeviceProperty[] IntelProperties =>
    [
        new("autonegotiation", PropertyKind.Bool, "on"), new("extra_mac_registers", PropertyKind.Bool, "on"), new("mitigation", PropertyKind.Bool, "on"),
        new("init-vet", PropertyKind.Bool, "on"), new("migrate_tso_props", PropertyKind.Bool, "on"),
    ];

    /// <summary>A type of PCI adapters.</summary>
    private static DeviceType PciNic<T>(string name, string description, string rom, DeviceProperty[] properties, Func<DeviceArguments, MacAddress, T> make)
        where T : PciFunction, IPciNic => new()
        {
            Name = name, Bus = "PCI", Description = description, Category = DeviceCategory.Network,
            Properties =
            [
                .. PcStorageTypes.PciProperties, .. NicProperties, new("rombar", PropertyKind.UInt32, "1"), new("romfile", PropertyKind.String, rom), .. properties,
            ],
            Create = a =>
            {
                var networks = Networks(a);
                var mac = Mac(a, networks);
                var device = make(a, mac);
                AddRom(a, device);
                device = PcDeviceTypes.Plug(a, device);
                device.Nic = Connect(a, networks, mac, device);
                PcStorageTypes.NoteBoot(a, PcMachine.PciPath(device, BootKind) + BootLeaf);
                return device;
            },
        };

    /// <summary>Models as <c>-nic</c> knows them, by the names of old too.</summary>
    public static string? ModelOf(string name) => name switch
    {
        "virtio" or "virtio-net" => "virtio-net-pci",
        _ => All.FirstOrDefault(t => t.Name == name)?.Name,
    };

    /// <summary>The text of <c>-nic model=help</c>.</summary>
    public static string ModelHelp => "Supported NIC models:\n"
        + string.Concat(All.Where(static t => t.Bus == "PCI").Select(static t => t.Name).Order(StringComparer.Ordinal).Select(static n => n + "\n"));

    /// <summary>The user's address for a new adapter, or the next free one.</summary>
    private static MacAddress Mac(DeviceArguments a, NetworkSet networks)
    {
        if (a.String("mac") is not { } text)
            return networks.ChooseMac(null);
        return MacAddress.TryParse(text, out var mac) ? networks.ChooseMac(mac) : throw new UserErrorException($"Property '{a.Type.Name}.mac' doesn't take value '{text}'");
    }

    private static NetworkSet Networks(DeviceArguments a) => a.Host.Bus<NetworkSet>() ?? throw new UserErrorException("the machine has no networks");

    private static Nic Connect(DeviceArguments a, NetworkSet networks, MacAddress mac, INetworkAdapter adapter) =>
        networks.AddNic(a.Id, a.Type.Name, mac, adapter, a.String("netdev") is { Length: > 0 } id ? networks.TakeBackend(a.Type.Name, id) : null);

    /// <summary>The boot ROM that the firmware runs to boot from the network.</summary>
    internal static void AddRom(DeviceArguments a, PciFunction function)
    {
        if (a.Integer("rombar") == 0 || a.String("romfile") is not { Length: > 0 } file)
            return;
        byte[] rom;
        try
        {
            rom = a.Host.Firmware(file);
        }
        catch (UserErrorException) when (!a.IsSet("romfile"))
        {
            // A machine without the package of boot ROMs does everything but boot from the network.
            return;
        }

        function.AddRom(rom, file);
    }

    private static (VirtioDevice, int, string) VirtioNetOf(DeviceArguments a)
    {
        var networks = Networks(a);
        var pairs = a.Bool("mq") ? Math.Clamp((int)a.Integer("queues"), 1, 128) : 1;
        var device = new VirtioNet(a.Host.Memory, a.Host.VirtualClock, Mac(a, networks), pairs, QueueSize(a, "rx_queue_size"), QueueSize(a, "tx_queue_size"))
        {
            Mtu = (int)a.Integer("host_mtu"),
            Speed = a.IsSet("speed") && (long)a.Integer("speed") >= 0 ? (uint)a.Integer("speed") : null,
            FullDuplex = a.String("duplex") switch
            {
                null or "full" => true,
                "half" => false,
                _ => throw new UserErrorException("'duplex' must be 'half' or 'full'"),
            },
        };
        foreach (var (name, feature, _) in VirtioNetSwitches)
        {
            if (!a.Bool(name))
                device.DisabledFeatures |= feature;
        }

        device.Nic = Connect(a, networks, device.PermanentMac, device);
        return (device, (2 * pairs) + 2, BootKind);
    }

    private static int QueueSize(DeviceArguments a, string name)
    {
        var size = (int)a.Integer(name);
        return size is >= 256 and <= 1024 && int.IsPow2(size)
            ? size
            : throw new UserErrorException($"Invalid {name} (= {size}), must be a power of 2 between 256 and 1024.");
    }
}
