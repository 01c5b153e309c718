using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Core.Devices;
using Dromaius.Core.Options;
using Dromaius.Cpu.X86;

namespace Dromaius.Control.Qmp;

/// <summary>The tree of objects, the types there are, and plugging devices.</summary>
internal sealed class ObjectCommands
{
    public const string Schema = """
        struct ObjectPropertyInfo = name: str, type: str, description?: str, default-value?: any
        struct ObjectTypeInfo = name: str, abstract?: bool, parent?: str
        command qom-list(path: str) -> [ObjectPropertyInfo]
        command qom-get(path: str, property: str) -> any
        command qom-set(path: str, property: str, value: any)
        command qom-list-types(implements?: str, abstract?: bool) -> [ObjectTypeInfo]
        command qom-list-properties(typename: str) -> [ObjectPropertyInfo]
        command device-list-properties(typename: str) -> [ObjectPropertyInfo]
        open command object-add(qom-type: str, id: str)
        command object-del(id: str)
        struct IOThreadInfo = id: str, thread-id: int, poll-max-ns: int, poll-grow: int, poll-shrink: int, aio-max-batch: int
        command query-iothreads -> [IOThreadInfo]
        open command device_add(driver: str, bus?: str, id?: str)
        command device_del(id: str)
        event DEVICE_DELETED(device?: str, path: str)
        """;

    /// <summary>Types that nothing is made of directly, with their parents.</summary>
    private static readonly (string Name, string Parent)[] AbstractTypes =
    [
        ("object", ""), ("device", "object"), ("machine", "object"), ("generic-pc-machine", "machine"), ("cpu", "device"),
        ("x86_64-cpu", "cpu"), ("i386-cpu", "cpu"), ("pci-device", "device"), ("isa-device", "device"), ("sys-bus-device", "device"),
        ("scsi-device", "device"), ("ide-device", "device"), ("virtio-device", "device"), ("usb-device", "device"), ("bus", "object"), ("accel", "object"), ("memory-backend", "object"), ("netfilter", "object"), ("chardev", "object"),
    ];

    private readonly IMachineControl _machine;

    public ObjectCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["qom-list"] = a => List(a.Text("path")),
            ["qom-get"] = a => Property(a.Text("path"), a.Text("property"), out _).Get(),
            ["qom-set"] = Set,
            ["qom-list-types"] = ListTypes,
            ["qom-list-properties"] = a => ListProperties(a.Text("typename"), devicesOnly: false),
            ["device-list-properties"] = a => ListProperties(a.Text("typename"), devicesOnly: true),
            ["object-add"] = a => QmpCommands.Do(() => ObjectsOf(machine).Add(OptionList.Parse(a.Values.ToJsonString(), "qom-type"))),
            ["object-del"] = a => QmpCommands.Do(() => ObjectsOf(machine).Remove(a.Text("id"))),
            ["query-iothreads"] = _ => IoThreads(),
            ["device_add"] = AddDevice,
            ["device_del"] = a => QmpCommands.Do(() => machine.UnplugDevice(FindDevice(a.Text("id")))),
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    public static UserObjects ObjectsOf(IMachineControl machine) => machine.Objects ?? throw QmpErrorException.Generic("the machine takes no objects");

    /// <summary>Drives are served by a pool: the threads that were asked for have no thread of their own in the host.</summary>
    private JsonArray IoThreads()
    {
        var list = new JsonArray();
        foreach (var thread in (_machine.Objects?.All.Values ?? []).Where(static o => o.Type == "iothread"))
        {
            long Value(string name, long usual) => long.TryParse(thread.Property(name), out var value) ? value : usual;
            list.Add((JsonNode)new JsonObject
            {
                ["poll-shrink"] = Value("poll-shrink", 0), ["thread-id"] = Environment.ProcessId, ["aio-max-batch"] = Value("aio-max-batch", 0),
                ["poll-grow"] = Value("poll-grow", 0), ["poll-max-ns"] = Value("poll-max-ns", 32768), ["id"] = thread.Id,
            });
        }

        return list;
    }

    private ObjectNode Find(string path)
    {
        var node = ObjectTree.Find(ObjectTree.Build(_machine), path, out var ambiguous);
        if (ambiguous)
            throw QmpErrorException.Generic($"Path '{path}' does not uniquely identify an object");
        return node ?? throw QmpErrorException.DeviceNotFound(path);
    }

    private JsonArray List(string path)
    {
        var node = Find(path);
        var list = new JsonArray();
        foreach (var property in node.Properties)
            list.Add((JsonNode)new JsonObject { ["name"] = property.Name, ["type"] = property.Type });
        foreach (var (name, child) in node.Children)
            list.Add((JsonNode)new JsonObject { ["name"] = name, ["type"] = $"child<{child.Type}>" });
        return list;
    }

    private ObjectProperty Property(string path, string name, out ObjectNode node)
    {
        node = Find(path);
        if (node.Properties.Find(p => p.Name == name) is { } property)
            return property;
        if (node.Children.ContainsKey(name))
        {
            var full = path.TrimEnd('/') + "/" + name;
            return new ObjectProperty(name, "child", () => JsonValue.Create(full));
        }

        throw QmpErrorException.Generic($"Property '{node.Type}.{name}' not found");
    }

    private JsonNode? Set(QmpArguments a)
    {
        var property = Property(a.Text("path"), a.Text("property"), out var node);
        if (node.Type == "throttle-group" && property.Name == "limits" && a.Values["value"] is JsonObject limits)
        {
            ObjectsOf(_machine).SetLimits(a.Text("path").Split('/')[^1], limits.Select(static p => new KeyValuePair<string, string>(p.Key, p.Value?.ToString() ?? "")));
            return null;
        }

        throw QmpErrorException.Generic($"Property '{node.Type}.{property.Name}' is not writable");
    }

    private IEnumerable<(string Name, string Parent, bool IsAbstract)> Types()
    {
        foreach (var (name, parent) in AbstractTypes)
            yield return (name, parent, true);
        foreach (var type in MachineTypes.List)
            yield return (type.Name + "-machine", type.DefaultCpu.Length > 0 ? "generic-pc-machine" : "machine", false);
        foreach (var model in X86Model.Names)
            yield return ($"{model}-{_machine.Target}-cpu", $"{_machine.Target}-cpu", false);
        foreach (var type in _machine.Description?.DeviceTypes.Types ?? [])
            yield return (type.Name, ParentOf(type), false);
        foreach (var accelerator in (string[])["tcg-accel", "qtest-accel"])
            yield return (accelerator, "accel", false);
        foreach (var name in UserObjects.TypeNames)
        {
            yield return (name, name.StartsWith("memory-backend-", StringComparison.Ordinal) ? "memory-backend"
                : name.StartsWith("filter-", StringComparison.Ordinal) ? "netfilter" : "object", false);
        }
    }

    private static string ParentOf(DeviceType type) => type.Bus switch
    {
        "PCI" => "pci-device",
        "ISA" => "isa-device",
        "SCSI" => "scsi-device",
        "IDE" => "ide-device",
        "virtio-bus" => "virtio-device",
        "System" => "sys-bus-device",
        _ => "device",
    };

    private JsonArray ListTypes(QmpArguments a)
    {
        var implements = a.OptionalText("implements") ?? "object";
        var abstractToo = a.Flag("abstract");
        var all = Types().DistinctBy(static t => t.Name).ToDictionary(static t => t.Name);
        var list = new JsonArray();
        foreach (var type in all.Values)
        {
            if (type.IsAbstract && !abstractToo)
                continue;
            var ancestor = type.Name;
            while (ancestor.Length > 0 && ancestor != implements)
                ancestor = all.TryGetValue(ancestor, out var t) ? t.Parent : "";
            if (ancestor.Length == 0)
                continue;
            var item = new JsonObject { ["name"] = type.Name };
            if (type.IsAbstract)
                item["abstract"] = true;
            if (type.Parent.Length > 0)
                item["parent"] = type.Parent;
            list.Add((JsonNode)item);
        }

        return list;
    }

    private JsonArray ListProperties(string name, bool devicesOnly)
    {
        if (_machine.Description?.DeviceTypes.Find(name) is { } type)
        {
            var list = devicesOnly ? [] : Common();
            foreach (var property in type.Properties)
            {
                var item = new JsonObject { ["name"] = property.Name, ["type"] = property.KindName };
                if (property.Help != null)
                    item["description"] = property.Help;
                else if (property.Kind == PropertyKind.Bool)
                    item["description"] = "on/off";
                if (property.Default != null)
                    item["default-value"] = ObjectTree.Typed(property.KindName, property.Default);
                list.Add((JsonNode)item);
            }

            return list;
        }

        if (!devicesOnly && UserObjects.PropertiesOf(name) is { } own)
        {
            return new JsonArray([new JsonObject { ["name"] = "type", ["type"] = "string" },
                .. own.Select(static p => (JsonNode)new JsonObject { ["name"] = p, ["type"] = "string" })]);
        }

        if (!devicesOnly && MachineTypes.List.FirstOrDefault(t => t.Name + "-machine" == name) is { } machine)
        {
            var list = new JsonArray(new JsonObject { ["name"] = "type", ["type"] = "string" });
            foreach (var property in machine.Properties)
            {
                var item = new JsonObject { ["name"] = property.Name, ["type"] = property.Kind };
                if (property.Help != null)
                    item["description"] = property.Help;
                list.Add((JsonNode)item);
            }

            return list;
        }

        if (name.EndsWith("-cpu", StringComparison.Ordinal) && Types().Any(t => t.Name == name))
        {
            var list = devicesOnly ? [] : Common();
            foreach (var (feature, _) in X86Model.Find("max")!.Features)
                list.Add((JsonNode)new JsonObject { ["name"] = feature, ["type"] = "bool" });
            return list;
        }

        if (Types().Any(t => t.Name == name))
        {
            return devicesOnly
                ? throw QmpErrorException.Generic($"Parameter 'typename' expects a non-abstract device type")
                : new JsonArray(new JsonObject { ["name"] = "type", ["type"] = "string" });
        }

        throw devicesOnly ? QmpErrorException.DeviceNotFound(name) : new QmpErrorException("DeviceNotFound", $"Class '{name}' not found");
    }

    private static JsonArray Common() => new(
        new JsonObject { ["name"] = "type", ["type"] = "string" }, new JsonObject { ["name"] = "realized", ["type"] = "bool" },
        new JsonObject { ["name"] = "hotplugged", ["type"] = "bool" }, new JsonObject { ["name"] = "hotpluggable", ["type"] = "bool" });

    private Device FindDevice(string id)
    {
        var name = id.StartsWith("/machine/peripheral/", StringComparison.Ordinal) ? id["/machine/peripheral/".Length..] : id;
        return _machine.Devices.FirstOrDefault(d => d.Id == name) ?? throw QmpErrorException.DeviceNotFound(id);
    }

    private JsonNode? AddDevice(QmpArguments a)
    {
        if (a.OptionalText("driver") is not { } driver)
            throw QmpErrorException.Generic("Parameter 'driver' is missing");
        var properties = new List<KeyValuePair<string, string>>();
        foreach (var (key, value) in a.Values)
        {
            if (key == "driver")
                continue;
            var text = value is JsonValue v && v.TryGetValue<bool>(out var flag) ? flag ? "on" : "off" : value?.ToString() ?? "";
            properties.Add(new(key, text));
        }

        _machine.PlugDevice(new DeviceOption(driver, properties, $"-device {driver}"));
        return null;
    }
}
