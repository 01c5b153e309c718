using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Control.Qmp;

/// <summary>Character devices.</summary>
internal sealed class CharacterCommands
{
    public const string Schema = """
        struct ChardevInfo = label: str, filename: str, frontend-open: bool
        struct ChardevBackendInfo = name: str
        enum DataFormat = utf8 base64
        enum YankInstanceType = block-node chardev migration
        struct YankInstance = type: YankInstanceType, id?: str
        command query-chardev -> [ChardevInfo]
        command query-chardev-backends -> [ChardevBackendInfo]
        struct ChardevReturn = pty?: str
        struct ChardevBackend = type: str, data: any
        command chardev-add(id: str, backend: ChardevBackend) -> ChardevReturn
        command chardev-change(id: str, backend: ChardevBackend) -> ChardevReturn
        command chardev-remove(id: str)
        command chardev-send-break(id: str)
        oob command yank(instances: [YankInstance])
        event VSERPORT_CHANGE(id: str, open: bool)
        command ringbuf-read(device: str, size: int, format?: DataFormat) -> str
        command ringbuf-write(device: str, data: str, format?: DataFormat)
        oob command query-yank -> [YankInstance]
        """;

    private readonly IMachineControl _machine;

    public CharacterCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["query-chardev"] = _ => List(),
            ["query-chardev-backends"] = static _ => new JsonArray([.. CharBackendFactory.Types.Select(static t => (JsonNode)new JsonObject { ["name"] = t })]),
            ["chardev-add"] = Add,
            ["chardev-change"] = a => Made(Factory.Change(a.Text("id"), TypeOf(a, out var options), options)),
            ["chardev-remove"] = a => QmpCommands.Do(() => Factory.Remove(a.Text("id"))),
            ["chardev-send-break"] = a => QmpCommands.Do(() => SendBreak(machine, a.Text("id"))),
            ["yank"] = static a => a.Array("instances").Count == 0 ? null : throw QmpErrorException.DeviceNotFound("instance"),
            ["ringbuf-read"] = Read,
            ["ringbuf-write"] = Write,
            ["query-yank"] = _ => new JsonArray([.. machine.Chardevs.Where(static c => c.Value is SocketBackend)
                .Select(static c => (JsonNode)new JsonObject { ["type"] = "chardev", ["id"] = c.Key })]),
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private CharBackendFactory Factory => _machine.ChardevFactory ?? throw QmpErrorException.Generic("the machine takes no character devices");

    private JsonObject Add(QmpArguments a)
    {
        var id = a.Text("id");
        var type = TypeOf(a, out var options);
        if (_machine.Chardevs.ContainsKey(id))
            throw QmpErrorException.Generic($"Chardev with id '{id}' already exists");
        try
        {
            return Made(Factory.Add(id, type, options));
        }
        catch (UserErrorException e)
        {
            throw QmpErrorException.Generic($"Failed to add chardev '{id}': {e.Message}");
        }
    }

    public static void SendBreak(IMachineControl machine, string id)
    {
        if (!machine.Chardevs.TryGetValue(id, out var backend))
            throw QmpErrorException.Generic($"Chardev '{id}' not found");
        backend.Sink?.OnEvent(CharEvent.Break);
    }

    private static JsonObject Made(string? terminal) => terminal == null ? [] : new JsonObject { ["pty"] = terminal };

    /// <summary>The type of a backend, and its members as options of the command line.</summary>
    private static string TypeOf(QmpArguments a, out OptionList options)
    {
        var backend = (JsonObject)a.Values["backend"]!;
        var type = (string)backend["type"]!;
        if (!CharBackendFactory.Types.Contains(type))
            throw QmpErrorException.Generic($"Parameter 'type' does not accept value '{type}'");
        options = OptionList.Parse("");
        if (backend["data"] is not JsonObject data)
            throw QmpErrorException.Generic("Invalid parameter type for 'backend.data', expected: object");
        foreach (var (name, value) in data)
        {
            switch (name)
            {
                case "addr" or "remote" when value is JsonObject address:
                    AddAddress(options, address, "", "");
                    break;
                case "local" when value is JsonObject address:
                    AddAddress(options, address, "localaddr", "localport");
                    break;
                case "out" or "device":
                    options.Add("path", TextOf(value));
                    break;
                case "in":
                    options.Add("input-path", TextOf(value));
                    break;
                default:
                    options.Add(name, TextOf(value));
                    break;
            }
        }

        // Clients of the protocol mean a server unless they say otherwise, and never wait for it.
        if (type == "socket" && !options.Has("server"))
            options.Add("server", "on");
        if (type == "socket" && options.Take("server") == "on" && !options.Has("wait"))
            options.Add("wait", "off");
        return type;
    }

    private static void AddAddress(OptionList options, JsonObject address, string hostKey, string portKey)
    {
        if (address["data"] is not JsonObject data)
            throw QmpErrorException.Generic("Parameter 'backend.data.addr.data' is missing");
        foreach (var (name, value) in data)
        {
            options.Add(name switch
            {
                "host" when hostKey.Length > 0 => hostKey,
                "port" when portKey.Length > 0 => portKey,
                "str" => "fd",
                _ => name,
            }, TextOf(value));
        }
    }

    private static string TextOf(JsonNode? value) =>
        value is JsonValue v && v.TryGetValue<bool>(out var flag) ? flag ? "on" : "off" : value?.ToString() ?? "";

    private JsonArray List() => new([.. _machine.Chardevs.Select(static c => (JsonNode)new JsonObject
    {
        ["frontend-open"] = c.Value.Sink != null,
        ["filename"] = (c.Value as CharBackend)?.Description ?? "mux",
        ["label"] = c.Key,
    })]);

    private RingBufferBackend Find(string id)
    {
        if (!_machine.Chardevs.TryGetValue(id, out var backend))
            throw QmpErrorException.Generic($"Device '{id}' not found");
        return backend as RingBufferBackend ?? throw QmpErrorException.Generic($"{id} is not a ringbuf device");
    }

    private JsonValue Read(QmpArguments a)
    {
        var bytes = Find(a.Text("device")).Snapshot();
        var size = a.Integer("size");
        if (size <= 0)
            throw QmpErrorException.Generic("size must be greater than zero");
        var part = bytes.AsSpan(0, (int)Math.Min(size, bytes.Length));
        return JsonValue.Create(a.OptionalText("format") == "base64" ? Convert.ToBase64String(part) : Encoding.UTF8.GetString(part));
    }

    private JsonNode? Write(QmpArguments a)
    {
        var ring = Find(a.Text("device"));
        var data = a.Text("data");
        try
        {
            ring.Write(a.OptionalText("format") == "base64" ? Convert.FromBase64String(data) : Encoding.UTF8.GetBytes(data));
        }
        catch (FormatException)
        {
            throw QmpErrorException.Generic($"Base64 data '{data}' is not valid");
        }

        return null;
    }
}
