using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Boards;
using Dromaius.Core.Devices;
using Dromaius.Cpu.X86;

namespace Dromaius.Control;

/// <summary>A property of an object: how to read it, and how to write it if it can be written.</summary>
internal sealed record ObjectProperty(string Name, string Type, Func<JsonNode?> Get);

/// <summary>An object of the composition tree: the machine, its parts, and the folders they lie in.</summary>
internal sealed class ObjectNode(string type)
{
    public string Type => type;
    public List<ObjectProperty> Properties { get; } = [new("type", "string", () => JsonValue.Create(type))];
    public SortedDictionary<string, ObjectNode> Children { get; } = new(StringComparer.Ordinal);

    public ObjectNode Child(string name, string childType)
    {
        if (!Children.TryGetValue(name, out var child))
            Children[name] = child = new ObjectNode(childType);
        return child;
    }

    public ObjectNode With(string name, string propertyType, Func<JsonNode?> get)
    {
        Properties.Add(new ObjectProperty(name, propertyType, get));
        return this;
    }
}

/// <summary>The tree of objects as monitors show it, made anew from the machine whenever it is asked for.</summary>
internal static class ObjectTree
{
    public static ObjectNode Build(IMachineControl machine)
    {
        var root = new ObjectNode("container");
        root.Child("backend", "container");
        var objects = root.Child("objects", "container");
        foreach (var made in machine.Objects?.All.Values ?? [])
        {
            var node = objects.Child(made.Id, made.Type);
            // Keys stay with us.
            foreach (var (name, value) in made.Properties.Where(p => made.Type != "secret" || p.Key == "format"))
                node.With(name, "string", () => JsonValue.Create(value));
            if (made.Type == "throttle-group" && machine.Blocks?.FindThrottle(made.Id) is { } group)
                node.With("limits", "ThrottleLimits", () => Limits(group.Config));
        }

        var chardevs = root.Child("chardevs", "container");
        foreach (var (id, backend) in machine.Chardevs)
        {
            chardevs.Child(id, "chardev-" + backend.GetType().Name.Replace("Backend", "", StringComparison.Ordinal).ToLowerInvariant())
                .With("connected", "bool", () => JsonValue.Create(backend.Sink != null));
        }

        var description = machine.Description;
        var board = root.Child("machine", (description?.Type.Name ?? "none") + "-machine");
        foreach (var property in description?.Type.Properties ?? [])
        {
            var name = property.Name;
            board.With(name, property.Kind, () => machine.MachineProperty(name) is { } value ? Typed(property.Kind, value) : null);
        }

        var peripheral = board.Child("peripheral", "container");
        var anonymous = board.Child("peripheral-anon", "container");
        var unattached = board.Child("unattached", "container");
        unattached.Child("sysbus", "System");
        var next = 0;
        foreach (var cpu in machine.Cpus)
            AddCpu(unattached.Child($"device[{next++}]", $"{description?.CpuModel}-{machine.Target}-cpu"), cpu, description);
        var nextAnonymous = 0;
        foreach (var device in machine.Devices)
        {
            var node = device.Id != null ? peripheral.Child(device.Id, device.TypeName)
                : device.Arguments is { IsUserMade: true } ? anonymous.Child($"device[{nextAnonymous++}]", device.TypeName)
                : unattached.Child($"device[{next++}]", device.TypeName);
            AddDevice(node, device);
        }

        return root;
    }

    /// <summary>The object at a path: absolute, or the end of exactly one.</summary>
    public static ObjectNode? Find(ObjectNode root, string path, out bool ambiguous)
    {
        ambiguous = false;
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (path.StartsWith('/'))
            return Walk(root, parts);
        var found = new List<ObjectNode>();
        Collect(root, parts, found);
        ambiguous = found.Count > 1;
        return found.Count == 1 ? found[0] : null;
    }

    /// <summary>The path of the object made from a device, or null.</summary>
    public static string? PathOf(IMachineControl machine, Device device)
    {
        if (device.Id is { } id)
            return $"/machine/peripheral/{id}";
        var isUserMade = IsUserMade(device);
        var index = isUserMade ? 0 : machine.Cpus.Count;
        foreach (var other in machine.Devices)
        {
            if (other == device)
                return $"/machine/{(isUserMade ? "peripheral-anon" : "unattached")}/device[{index}]";
            if (other.Id == null && IsUserMade(other) == isUserMade)
                index++;
        }

        return null;

        static bool IsUserMade(Device device) => device.Arguments is { IsUserMade: true };
    }

    /// <summary>A value as its type says: a number, a truth value or text.</summary>
    public static JsonNode? Typed(string type, string value)
    {
        switch (type)
        {
            case "bool" when PropertyValues.TryParseBool(value, out var flag):
                return JsonValue.Create(flag);
            case "size" when PropertyValues.TryParseSize(value, out var size):
                return JsonValue.Create(size);
            case "int32" when PropertyValues.TryParsePciAddress(value, out var devfn) && !value.Contains('x', StringComparison.Ordinal):
                return JsonValue.Create(devfn);
            case "int" or "int32" or "int64" or "uint8" or "uint16" or "uint32" or "uint64" when PropertyValues.TryParseInteger(value, out var number):
                return type.StartsWith('u') ? JsonValue.Create(number) : JsonValue.Create((long)number);
            default:
                return JsonValue.Create(value);
        }
    }

    private static ObjectNode? Walk(ObjectNode node, ReadOnlySpan<string> parts)
    {
        foreach (var part in parts)
        {
            if (!node.Children.TryGetValue(part, out var child))
                return null;
            node = child;
        }

        return node;
    }

    private static void Collect(ObjectNode node, string[] parts, List<ObjectNode> found)
    {
        if (parts.Length > 0 && Walk(node, parts) is { } match)
            found.Add(match);
        foreach (var child in node.Children.Values)
            Collect(child, parts, found);
    }

    private static void AddDevice(ObjectNode node, Device device)
    {
        node.With("realized", "bool", static () => JsonValue.Create(true));
        node.With("hotplugged", "bool", static () => JsonValue.Create(false));
        node.With("hotpluggable", "bool", () => JsonValue.Create(device.Arguments?.Type.Bus == "PCI"));
        if (device.Arguments is not { } arguments)
            return;
        foreach (var property in arguments.Type.Properties)
        {
            var p = property;
            node.With(p.Name, p.KindName, () => p.Kind == PropertyKind.PciAddress
                ? JsonValue.Create(arguments.Place ?? -1)
                : Typed(p.KindName, arguments.String(p.Name) ?? ""));
        }
    }

    private static JsonObject Limits(ThrottleConfig c)
    {
        var limits = new JsonObject { ["iops-size"] = c.OperationSize };
        foreach (var (name, limit) in (ReadOnlySpan<(string, ThrottleLimit)>)[("bps-total", c.BytesTotal), ("bps-read", c.BytesRead),
            ("bps-write", c.BytesWrite), ("iops-total", c.OperationsTotal), ("iops-read", c.OperationsRead), ("iops-write", c.OperationsWrite)])
        {
            limits[name] = limit.Average;
            limits[name + "-max"] = limit.Max;
            limits[name + "-max-length"] = limit.MaxLength;
        }

        return limits;
    }

    private static void AddCpu(ObjectNode node, VcpuInfo cpu, MachineDescription? description)
    {
        node.With("realized", "bool", static () => JsonValue.Create(true));
        node.With("hotplugged", "bool", static () => JsonValue.Create(false));
        node.With("hotpluggable", "bool", static () => JsonValue.Create(false));
        node.With("start-powered-off", "bool", static () => JsonValue.Create(false));
        if (description == null)
            return;
        var place = description.Topology;
        node.With("apic-id", "uint32", () => JsonValue.Create(place.ApicId(cpu.Index)));
        node.With("socket-id", "int32", () => JsonValue.Create(place.SocketOf(cpu.Index)));
        node.With("die-id", "int32", () => JsonValue.Create(cpu.Index / (place.Threads * place.Cores) % place.Dies));
        node.With("core-id", "int32", () => JsonValue.Create(cpu.Index / place.Threads % place.Cores));
        node.With("thread-id", "int32", () => JsonValue.Create(cpu.Index % place.Threads));
        node.With("node-id", "int32", static () => JsonValue.Create(-1));
        if (description.X86 is { } model)
            AddModel(node, model);
    }

    /// <summary>What the processor is and has, word by word and by name.</summary>
    private static void AddModel(ObjectNode node, X86Model model)
    {
        node.With("vendor", "string", () => JsonValue.Create(model.Vendor));
        node.With("model-id", "string", () => JsonValue.Create(model.Brand));
        node.With("family", "int", () => JsonValue.Create(model.Family));
        node.With("model", "int", () => JsonValue.Create(model.ModelNumber));
        node.With("stepping", "int", () => JsonValue.Create(model.Stepping));
        node.With("level", "uint32", () => JsonValue.Create(model.Level));
        node.With("xlevel", "uint32", () => JsonValue.Create(model.ExtendedLevel));
        node.With("phys-bits", "uint32", () => JsonValue.Create(model.PhysicalBits));
        node.With("feature-words", "X86CPUFeatureWordInfo", () => Words(model, static w => w.Features));
        node.With("filtered-features", "X86CPUFeatureWordInfo", () => Words(model, static w => w.Filtered));
        node.With("unavailable-features", "strList", () => new JsonArray([.. model.UnavailableFeatures.Select(static f => (JsonNode)JsonValue.Create(f))]));
        foreach (var (feature, has) in model.Features)
            node.With(feature, "bool", () => JsonValue.Create(has));
    }

    private static JsonArray Words(X86Model model, Func<CpuidWord, uint> bits) => new([.. model.FeatureWords.Select(w =>
    {
        var item = new JsonObject { ["cpuid-register"] = w.Register };
        if (w.Subleaf is { } subleaf)
            item["cpuid-input-ecx"] = subleaf;
        item["cpuid-input-eax"] = w.Leaf;
        item["features"] = bits(w);
        return (JsonNode)item;
    })]);
}
