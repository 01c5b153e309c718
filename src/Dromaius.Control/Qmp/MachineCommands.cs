using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Cpu.X86;

namespace Dromaius.Control.Qmp;

/// <summary>Machines, processors, buses.</summary>
internal sealed class MachineCommands
{
    public const string Schema = """
        struct MachineInfo = name: str, alias?: str, is-default?: bool, cpu-max: int, hotpluggable-cpus: bool, numa-mem-supported: bool, deprecated: bool, default-cpu-type?: str, default-ram-id?: str
        struct CpuInstanceProperties = node-id?: int, socket-id?: int, die-id?: int, cluster-id?: int, core-id?: int, thread-id?: int
        struct CpuInfoFast = cpu-index: int, qom-path: str, thread-id: int, props?: CpuInstanceProperties, target: SysEmuTarget
        struct HotpluggableCPU = type: str, vcpus-count: int, props: CpuInstanceProperties, qom-path?: str
        struct CpuDefinitionInfo = name: str, migration-safe?: bool, static: bool, unavailable-features?: [str], typename: str, alias-of?: str, deprecated: bool
        struct CpuModelInfo = name: str, props?: any
        enum CpuModelExpansionType = static full
        struct CpuModelExpansionInfo = model: CpuModelInfo
        struct PciDeviceClass = desc?: str, class: int
        struct PciDeviceId = device: int, vendor: int, subsystem?: int, subsystem-vendor?: int
        struct PciMemoryRegion = bar: int, type: str, address: int, size: int, prefetch?: bool, mem_type_64?: bool
        struct PciMemoryRange = base: int, limit: int
        struct PciBusInfo = number: int, secondary: int, subordinate: int, io_range: PciMemoryRange, memory_range: PciMemoryRange, prefetchable_range: PciMemoryRange
        struct PciBridgeInfo = bus: PciBusInfo, devices?: [PciDeviceInfo]
        struct PciDeviceInfo = bus: int, slot: int, function: int, class_info: PciDeviceClass, id: PciDeviceId, irq?: int, irq_pin: int, qdev_id: str, pci_bridge?: PciBridgeInfo, regions: [PciMemoryRegion]
        struct PciInfo = bus: int, devices: [PciDeviceInfo]
        enum CommandLineParameterType = string boolean number size
        struct CommandLineParameterInfo = name: str, type: CommandLineParameterType, help?: str, default?: str
        struct CommandLineOptionInfo = option: str, parameters: [CommandLineParameterInfo]
        command query-machines -> [MachineInfo]
        command query-cpus-fast -> [CpuInfoFast]
        command query-hotpluggable-cpus -> [HotpluggableCPU]
        command query-cpu-definitions -> [CpuDefinitionInfo]
        command query-cpu-model-expansion(type: CpuModelExpansionType, model: CpuModelInfo) -> CpuModelExpansionInfo
        command query-pci -> [PciInfo]
        command query-command-line-options(option?: str) -> [CommandLineOptionInfo]
        command x-query-irq -> HumanReadableText
        command x-query-roms -> HumanReadableText
        command x-query-numa -> HumanReadableText
        command x-query-jit -> HumanReadableText
        command x-query-ramblock -> HumanReadableText
        command x-query-usb -> HumanReadableText
        """;

    private readonly IMachineControl _machine;

    public MachineCommands(IMachineControl machine)
    {
        _machine = machine;
        var human = new HmpCommands(machine);
        Table = new()
        {
            ["query-machines"] = _ => Machines(),
            ["query-cpus-fast"] = _ => Cpus(),
            ["query-hotpluggable-cpus"] = _ => HotpluggableCpus(),
            ["query-cpu-definitions"] = _ => CpuDefinitions(),
            ["query-cpu-model-expansion"] = ExpandModel,
            ["query-pci"] = _ => Pci(),
            ["query-command-line-options"] = Options,
        };
        foreach (var name in (ReadOnlySpan<string>)["irq", "roms", "numa", "jit", "ramblock", "usb"])
        {
            var command = "info " + name;
            Table["x-query-" + name] = _ => new JsonObject { ["human-readable-text"] = human.Execute(command) };
        }
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private string CpuType(string model) => $"{model}-{_machine.Target}-cpu";

    private JsonArray Machines()
    {
        var list = new JsonArray();
        foreach (var type in MachineTypes.List)
        {
            var item = new JsonObject
            {
                ["hotpluggable-cpus"] = false, ["name"] = type.Name, ["numa-mem-supported"] = false, ["cpu-max"] = type.MaxCpus, ["deprecated"] = false,
            };
            item["default-ram-id"] = type.DefaultRamId;
            if (type.DefaultCpu.Length > 0)
                item["default-cpu-type"] = CpuType(type.DefaultCpu);

            if (type.IsDefault)
                item["is-default"] = true;
            if (type.Alias is { } alias)
                item["alias"] = alias;
            list.Add((JsonNode)item);
        }

        return list;
    }

    private JsonObject Place(CpuTopology topology, int index)
    {
        var place = new JsonObject
        {
            ["core-id"] = index / topology.Threads % topology.Cores, ["thread-id"] = index % topology.Threads, ["socket-id"] = topology.SocketOf(index),
        };
        if (topology.Dies > 1)
            place["die-id"] = index / (topology.Threads * topology.Cores) % topology.Dies;
        return place;
    }

    private JsonArray Cpus()
    {
        var list = new JsonArray();
        foreach (var cpu in _machine.Cpus)
        {
            var item = new JsonObject { ["thread-id"] = cpu.ThreadId };
            if (_machine.Description is { } description)
                item["props"] = Place(description.Topology, cpu.Index);
            item["qom-path"] = $"/machine/unattached/device[{cpu.Index}]";
            item["cpu-index"] = cpu.Index;
            item["target"] = _machine.Target;
            list.Add((JsonNode)item);
        }

        return list;
    }

    private JsonArray HotpluggableCpus()
    {
        if (_machine.Description is not { Type.DefaultCpu.Length: > 0 } description)
            throw QmpErrorException.Generic("The feature 'query-hotpluggable-cpus' is not enabled");
        var list = new JsonArray();
        for (var i = description.Topology.MaxCpus - 1; i >= 0; i--)
        {
            var item = new JsonObject { ["props"] = Place(description.Topology, i), ["vcpus-count"] = 1 };
            if (i < description.Topology.Cpus)
                item["qom-path"] = $"/machine/unattached/device[{i}]";
            item["type"] = CpuType(description.CpuModel);
            list.Add((JsonNode)item);
        }

        return list;
    }

    private JsonArray CpuDefinitions() => new([.. X86Model.Names.Select(name => (JsonNode)new JsonObject
    {
        ["name"] = name, ["typename"] = CpuType(name), ["unavailable-features"] = new JsonArray(), ["static"] = false,
        ["migration-safe"] = name != "max", ["deprecated"] = false,
    })]);

    private JsonObject ExpandModel(QmpArguments a)
    {
        var given = (JsonObject)a.Values["model"]!;
        var name = (string)given["name"]!;
        if (name == "host")
            name = "max"; // libvirt asks for the host's whatever the accelerator: here that is all there is
        if (!X86Model.Names.Contains(name))
            throw QmpErrorException.Generic($"CPU model '{name}' not found");
        var option = new StringBuilder(name);
        foreach (var (key, value) in given["props"] as JsonObject ?? [])
            option.Append(CultureInfo.InvariantCulture, $",{key}={value switch { JsonValue v when v.TryGetValue<bool>(out var b) => b ? "on" : "off", _ => value?.ToString() }}");
        var model = X86Model.Parse(option.ToString(), out var error) ?? throw QmpErrorException.Generic(error!);
        var props = new JsonObject();
        foreach (var (feature, has) in model.Features)
            props[feature] = has;
        // What a management tool makes the model from again: a processor without vendor and family is none to it.
        props["vendor"] = model.Vendor;
        props["family"] = model.Family;
        props["model"] = model.ModelNumber;
        props["stepping"] = model.Stepping;
        props["model-id"] = model.Brand;
        props["min-level"] = model.Level;
        props["min-xlevel"] = model.ExtendedLevel;
        if (a.Text("type") == "full")
        {
            props["level"] = model.Level;
            props["xlevel"] = model.ExtendedLevel;
            props["phys-bits"] = model.PhysicalBits;
        }

        return new JsonObject { ["model"] = new JsonObject { ["name"] = a.Text("type") == "full" ? name : "base", ["props"] = props } };
    }

    private JsonArray Pci()
    {
        var devices = _machine.Description?.Pci() ?? [];
        return devices.Count == 0 ? [] : new JsonArray(new JsonObject { ["bus"] = 0, ["devices"] = Bus(devices, 0) });
    }

    private static JsonArray Bus(IReadOnlyList<PciDeviceInfo> devices, int bus)
    {
        var list = new JsonArray();
        foreach (var device in devices.Where(d => d.Bus == bus))
        {
            var item = new JsonObject
            {
                ["irq_pin"] = device.InterruptPin, ["bus"] = bus, ["qdev_id"] = device.Id ?? "", ["slot"] = device.Slot,
                ["class_info"] = ClassInfo(device.ClassCode),
                ["id"] = new JsonObject
                {
                    ["device"] = device.DeviceId, ["vendor"] = device.VendorId,
                },
                ["function"] = device.Function, ["regions"] = new JsonArray([.. device.Regions.Select(Region)]),
            };
            if (device.Bridge == null)
            {
                item["id"]!["subsystem-vendor"] = device.SubsystemVendorId;
                item["id"]!["subsystem"] = device.SubsystemId;
            }

            if (device.InterruptPin != 0)
                item["irq"] = device.InterruptLine;
            if (device.Bridge is { } bridge)
            {
                item["pci_bridge"] = new JsonObject
                {
                    ["bus"] = new JsonObject
                    {
                        ["number"] = bus, ["secondary"] = bridge.Secondary, ["subordinate"] = bridge.Subordinate,
                        ["io_range"] = Range(device.Windows[0]), ["memory_range"] = Range(device.Windows[1]),
                        ["prefetchable_range"] = Range(device.Windows[2]),
                    },
                };
                if (bridge.Secondary > bus)
                    item["pci_bridge"]!["devices"] = Bus(devices, bridge.Secondary);
            }

            list.Add((JsonNode)item);
        }

        return list;
    }

    private static JsonObject Range((ulong Base, ulong Limit) window) => new() { ["base"] = (long)window.Base, ["limit"] = (long)window.Limit };

    private static JsonObject ClassInfo(ushort code)
    {
        var info = new JsonObject { ["class"] = code };
        if (PciClasses.Describe(code) is { } text)
            info["desc"] = text;
        return info;
    }

    private static JsonNode Region(PciRegionInfo region)
    {
        var item = new JsonObject
        {
            ["bar"] = region.Bar, ["size"] = region.Size, ["address"] = region.Address is { } address ? (long)address : -1,
            ["type"] = region.IsIo ? "io" : "memory",
        };
        if (!region.IsIo)
        {
            item["prefetch"] = region.IsPrefetchable;
            item["mem_type_64"] = region.Is64Bit;
        }

        return item;
    }

    private JsonArray Options(QmpArguments a)
    {
        var wanted = a.OptionalText("option");
        var options = _machine.CommandLineOptions.Where(o => wanted == null || o.Name == wanted).ToList();
        if (wanted != null && options.Count == 0)
            throw QmpErrorException.Generic($"invalid option name: {wanted}");
        return new JsonArray([.. options.Select(static o => (JsonNode)new JsonObject
        {
            ["option"] = o.Name,
            ["parameters"] = new JsonArray([.. o.Parameters.Select(static p => (JsonNode)new JsonObject { ["name"] = p.Name, ["type"] = p.Type })]),
        })]);
    }
}
