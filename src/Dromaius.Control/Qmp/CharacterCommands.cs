using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Core.Chardev;

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
            ["ringbuf-read"] = Read,
            ["ringbuf-write"] = Write,
            ["query-yank"] = _ => new JsonArray([.. machine.Chardevs.Where(static c => c.Value is SocketBackend)
                .Select(static c => (JsonNode)new JsonObject { ["type"] = "chardev", ["id"] = c.Key })]),
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

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
