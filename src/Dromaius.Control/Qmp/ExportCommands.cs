using System.Globalization;
using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Nbd;

namespace Dromaius.Control.Qmp;

/// <summary>Images served to others.</summary>
internal sealed class ExportCommands
{
    public const string Schema = """
        enum SocketAddressType = inet unix vsock fd
        struct SocketAddressData = host?: str, port?: str, path?: str, str?: str, cid?: str, ipv4?: bool, ipv6?: bool, to?: uint16, keep-alive?: bool, numeric?: bool, mptcp?: bool, abstract?: bool, tight?: bool
        struct SocketAddressLegacy = type: SocketAddressType, data: SocketAddressData
        enum BlockExportType = nbd vhost-user-blk fuse vduse-blk
        enum BlockExportRemoveMode = safe hard
        enum NbdServerRemoveMode = safe hard
        struct BlockExportInfo = id: str, type: BlockExportType, node-name: str, shutting-down: bool
        command nbd-server-start(addr: SocketAddressLegacy, tls-creds?: str, tls-authz?: str, max-connections?: uint32)
        command nbd-server-add(device: str, name?: str, description?: str, writable?: bool, bitmap?: str)
        command nbd-server-remove(name: str, mode?: BlockExportRemoveMode)
        command nbd-server-stop
        command block-export-add(type: BlockExportType, id: str, node-name: str, fixed-iothread?: bool, iothread?: str, writable?: bool, writethrough?: bool, name?: str, description?: str, bitmaps?: [BlockDirtyBitmapOrStr], allocation-depth?: bool)
        command block-export-del(id: str, mode?: BlockExportRemoveMode)
        command query-block-exports -> [BlockExportInfo]
        event BLOCK_EXPORT_DELETED(id: str)
        """;

    private readonly IMachineControl _machine;

    public ExportCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["nbd-server-start"] = a => Guard(() => Start(a)),
            ["nbd-server-stop"] = _ => Guard(() => Exports.Stop()),
            ["nbd-server-add"] = a => Guard(() => AddDevice(a)),
            ["nbd-server-remove"] = a => Guard(() => Exports.Remove(a.Text("name"), a.OptionalText("mode") == "hard")),
            ["block-export-add"] = a => Guard(() => Add(a)),
            ["block-export-del"] = a => Guard(() => Exports.Remove(a.Text("id"), a.OptionalText("mode") == "hard")),
            ["query-block-exports"] = _ => new JsonArray([.. (machine.Blocks?.Exports.All ?? []).Reverse().Select(static e => (JsonNode)new JsonObject
            {
                ["node-name"] = e.Export.Node.NodeName ?? "", ["type"] = "nbd", ["shutting-down"] = e.IsShuttingDown, ["id"] = e.Id,
            })]),
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private BlockGraph Graph => _machine.Blocks ?? throw QmpErrorException.Generic("the machine has no drives");

    private BlockExports Exports => Graph.Exports;

    private static JsonNode? Guard(Action action)
    {
        try
        {
            action();
            return null;
        }
        catch (BlockException e)
        {
            throw QmpErrorException.Generic(e.Message);
        }
    }

    private void Start(QmpArguments a)
    {
        var address = (JsonObject)a.Values["addr"]!;
        var data = (JsonObject)address["data"]!;
        if (a.Has("tls-creds"))
            throw QmpErrorException.Generic("TLS is not available in this version");
        Exports.Start((string)address["type"]! switch
        {
            "unix" => new NbdAddress { SocketPath = Member(data, "path") },
            "inet" => new NbdAddress { Host = Member(data, "host"), Port = Port(Member(data, "port")) },
            var type => throw QmpErrorException.Generic($"address type '{type}' is not available in this version"),
        }, (int)Math.Min(a.Integer("max-connections"), int.MaxValue));
    }

    private static string Member(JsonObject data, string name) =>
        (string?)data[name] ?? throw QmpErrorException.Generic($"Parameter 'addr.data.{name}' is missing");

    private static int Port(string text) => ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port)
        ? port
        : throw QmpErrorException.Generic($"address resolution failed for port '{text}': Servname not supported for ai_socktype");

    private void AddDevice(QmpArguments a)
    {
        var device = a.Text("device");
        var backend = Graph.FindBackend(device);
        if (backend is { Node: null })
            throw QmpErrorException.Generic($"Device '{device}' has no medium");
        var node = Find(device);
        var name = a.OptionalText("name") ?? device;
        // Asked for writing, a medium that cannot be written to is offered for reading all the same.
        var writable = a.Flag("writable") && !node.IsReadOnly && backend is not { IsReadOnly: true };
        List<DirtyBitmap> bitmaps = a.OptionalText("bitmap") is { } bitmap ? [FindBitmap(node, bitmap, writable)] : [];
        Exports.Add(name, node, name, writable, a.OptionalText("description"), bitmaps, backend);
    }

    private void Add(QmpArguments a)
    {
        if (a.Text("type") is not "nbd" and var type)
            throw QmpErrorException.Generic($"Parameter 'type' does not accept value '{type}'");
        var node = Find(a.Text("node-name"));
        var bitmaps = new List<DirtyBitmap>();
        foreach (var item in a.Values["bitmaps"] as JsonArray ?? [])
        {
            bitmaps.Add(item is JsonObject named
                ? Find((string?)named["node"] ?? "").FindDirtyBitmap((string?)named["name"] ?? "")
                : FindBitmap(node, (string)item!, a.Flag("writable")));
        }

        Exports.Add(a.Text("id"), node, a.OptionalText("name") ?? a.Text("node-name"), a.Flag("writable"), a.OptionalText("description"), bitmaps);
    }

    private BlockNode Find(string name) => Graph.FindImage(name) ?? throw QmpErrorException.Generic($"Cannot find device='{name}' nor node-name='{name}'");

    /// <summary>A bitmap of the node or of one that it is based on.</summary>
    private static DirtyBitmap FindBitmap(BlockNode node, string name, bool isWritable)
    {
        for (var below = node; below != null; below = below.Backing)
        {
            if (below.DirtyBitmaps.FirstOrDefault(b => b.Name == name) is { } bitmap)
            {
                bitmap.CheckUsable();
                // The clients' view would change behind their backs.
                if (!isWritable && !below.IsReadOnly && bitmap.IsRecording)
                    throw QmpErrorException.Generic($"Enabled bitmap '{name}' incompatible with readonly export");
                return bitmap;
            }
        }

        throw QmpErrorException.Generic($"Bitmap '{name}' is not found");
    }
}
