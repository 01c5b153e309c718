using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Control.Qmp;

/// <summary>Dirty bitmaps of nodes.</summary>
internal sealed class BitmapCommands
{
    public const string Schema = """
        struct BlockDirtyInfo = name?: str, count: int, granularity: uint32, recording: bool, busy: bool, persistent: bool, inconsistent?: bool
        struct BlockDirtyBitmap = node: str, name: str
        alternate BlockDirtyBitmapOrStr = str BlockDirtyBitmap
        command block-dirty-bitmap-add(node: str, name: str, granularity?: uint32, persistent?: bool, disabled?: bool)
        command block-dirty-bitmap-remove(node: str, name: str)
        command block-dirty-bitmap-clear(node: str, name: str)
        command block-dirty-bitmap-enable(node: str, name: str)
        command block-dirty-bitmap-disable(node: str, name: str)
        struct BlockDirtyBitmapSha256 = sha256: str
        command x-debug-block-dirty-bitmap-sha256(node: str, name: str) -> BlockDirtyBitmapSha256
        command block-dirty-bitmap-merge(node: str, target: str, bitmaps: [BlockDirtyBitmapOrStr])
        """;

    private readonly IMachineControl _machine;

    public BitmapCommands(IMachineControl machine)
    {
        _machine = machine;
        Table["x-debug-block-dirty-bitmap-sha256"] = a => new JsonObject { ["sha256"] = Hash(a) };
        foreach (var name in (ReadOnlySpan<string>)["add", "remove", "clear", "enable", "disable", "merge"])
        {
            var command = Prefix + name;
            Table[command] = a =>
            {
                _ = Do(command, a);
                return null;
            };
        }
    }

    /// <summary>Tells whether two bitmaps name the same; an error of its own when there is none.</summary>
    private string Hash(QmpArguments a)
    {
        try
        {
            var bitmap = FindNode(a.Text("node")).FindDirtyBitmap(a.Text("name"), usable: false);
            return Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bitmap.Snapshot().AsSpan(0, (int)((bitmap.BitCount + 7) / 8))));
        }
        catch (BlockException e)
        {
            throw QmpErrorException.Generic(e.Message);
        }
    }

    public const string Prefix = "block-dirty-bitmap-";

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; } = [];

    /// <summary>What an action of a transaction needs.</summary>
    public static string[] Needed(string command) => command == Prefix + "merge" ? ["node", "target"] : ["node", "name"];

    /// <summary>Does a command; gives what takes it back.</summary>
    public Action Do(string command, QmpArguments a)
    {
        try
        {
            var node = FindNode(a.Text("node"));
            return command[Prefix.Length..] switch
            {
                "add" => Add(node, a),
                "remove" => Remove(node, a.Text("name")),
                "clear" => Clear(node.FindDirtyBitmap(a.Text("name"))),
                "enable" => Record(node.FindDirtyBitmap(a.Text("name")), true),
                "disable" => Record(node.FindDirtyBitmap(a.Text("name")), false),
                _ => Merge(node, a),
            };
        }
        catch (BlockException e)
        {
            throw QmpErrorException.Generic(e.Message);
        }
    }

    /// <summary>Bitmaps as <c>query-block</c> lists them.</summary>
    public static JsonArray List(BlockNode node) => new([.. node.DirtyBitmaps.Select(static b =>
    {
        var item = new JsonObject
        {
            ["name"] = b.Name, ["recording"] = b.IsRecording, ["persistent"] = b.IsPersistent, ["busy"] = b.IsBusy, ["granularity"] = b.Granularity,
            ["count"] = b.TakenBytes ?? b.DirtyBytes,
        };
        if (b.IsInconsistent)
            item["inconsistent"] = true;
        return (JsonNode)item;
    })]);

    private BlockNode FindNode(string name) => _machine.Blocks?.FindImage(name)
        ?? throw QmpErrorException.Generic($"Cannot find device='{name}' nor node-name='{name}'");

    private static Action Add(BlockNode node, QmpArguments a)
    {
        var granularity = a.Integer("granularity");
        if (a.Has("granularity") && granularity == 0)
            granularity = 1; // refused as every other number that is too small
        var bitmap = node.AddDirtyBitmap(a.Text("name"), granularity, a.Flag("persistent"), !a.Flag("disabled"));
        return () => node.RemoveDirtyBitmap(bitmap);
    }

    private static Action Remove(BlockNode node, string name)
    {
        var bitmap = node.FindDirtyBitmap(name, usable: false);
        var bits = bitmap.IsInconsistent ? [] : bitmap.Snapshot();
        node.RemoveDirtyBitmap(bitmap);
        return () => node.AddDirtyBitmap(name, bitmap.Granularity, bitmap.IsPersistent, bitmap.IsRecording).Merge(bits, bitmap.GranularityBits);
    }

    private static Action Clear(DirtyBitmap bitmap)
    {
        var bits = bitmap.TakeAll();
        return () => bitmap.Merge(bits, bitmap.GranularityBits);
    }

    private static Action Record(DirtyBitmap bitmap, bool on)
    {
        var was = bitmap.IsRecording;
        bitmap.IsRecording = on;
        return () => bitmap.IsRecording = was;
    }

    private Action Merge(BlockNode node, QmpArguments a)
    {
        var target = node.FindDirtyBitmap(a.Text("target"));
        var before = target.Snapshot();
        try
        {
            foreach (var item in a.Array("bitmaps"))
            {
                var source = item is JsonObject named
                    ? FindNode((string?)named["node"] ?? "").FindDirtyBitmap((string?)named["name"] ?? "")
                    : node.FindDirtyBitmap((string)item!);
                target.Merge(source);
            }
        }
        catch
        {
            target.Restore(before);
            throw;
        }

        return () => target.Restore(before);
    }
}
