using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Jobs;

namespace Dromaius.Control.Qmp;

/// <summary>Several changes of images at once: when one of them cannot be made, those before it are taken back.</summary>
internal sealed class TransactionCommand
{
    public const string Schema = """
        enum ActionCompletionMode = individual grouped
        struct TransactionProperties = completion-mode?: ActionCompletionMode
        command transaction(actions: [any], properties?: TransactionProperties)
        """;

    private static readonly string[] Known = ["abort", "blockdev-snapshot", "blockdev-snapshot-sync", "blockdev-snapshot-internal-sync", "blockdev-backup", "drive-backup",
        "block-dirty-bitmap-add", "block-dirty-bitmap-remove", "block-dirty-bitmap-clear", "block-dirty-bitmap-enable", "block-dirty-bitmap-disable",
        "block-dirty-bitmap-merge"];

    private readonly IMachineControl _machine;
    private readonly BitmapCommands _bitmaps;
    private readonly Dictionary<string, Func<QmpArguments, JsonNode?>> _images;
    private readonly Dictionary<string, Func<QmpArguments, JsonNode?>> _jobs;
    private readonly Dictionary<string, Func<QmpArguments, JsonNode?>> _nodes;

    /// <param name="machine">Whose images.</param>
    /// <param name="images">Commands on images, by name.</param>
    /// <param name="jobs">Commands that begin jobs.</param>
    /// <param name="bitmaps">Commands on dirty bitmaps.</param>
    public TransactionCommand(IMachineControl machine, Dictionary<string, Func<QmpArguments, JsonNode?>> images,
        Dictionary<string, Func<QmpArguments, JsonNode?>> jobs, BitmapCommands bitmaps)
    {
        _bitmaps = bitmaps;
        _machine = machine;
        _images = images;
        _nodes = new NodeCommands(machine).Table;
        _jobs = jobs;
        Table = new() { ["transaction"] = a => Run(a.Array("actions"), IsGrouped(a)) };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private static bool IsGrouped(QmpArguments a) =>
        a.Values["properties"] is JsonObject properties && new QmpArguments(properties).OptionalText("completion-mode") == "grouped";

    private JsonNode? Run(JsonArray actions, bool isGrouped)
    {
        var steps = new List<(string Type, QmpArguments Data)>();
        for (var i = 0; i < actions.Count; i++)
        {
            if (actions[i] is not JsonObject action || action["type"] is not JsonValue type || !type.TryGetValue<string>(out var name))
                throw QmpErrorException.Generic($"Parameter 'actions[{i}].type' is missing");
            if (!Known.Contains(name))
                throw QmpErrorException.Generic($"Parameter 'type' does not accept value '{name}'");
            if (action["data"] is not JsonObject data)
                throw QmpErrorException.Generic($"Parameter 'actions[{i}].data' is missing");
            foreach (var needed in Needed(name))
            {
                if (data[needed] is not JsonValue value || !value.TryGetValue<string>(out _))
                    throw QmpErrorException.Generic($"Parameter 'actions[{i}].data.{needed}' is missing");
            }

            steps.Add((name, new QmpArguments(data)));
        }

        var undo = new Stack<Action>();
        var group = isGrouped ? new JobGroup() : null;
        try
        {
            (_machine.Blocks ?? throw QmpErrorException.Generic("the machine has no drives")).Together(() =>
            {
                foreach (var (type, data) in steps)
                    Do(type, data, undo, group);
            });
            group?.Close();
        }
        catch
        {
            while (undo.TryPop(out var back))
                back();
            throw;
        }

        return null;
    }

    private static string[] Needed(string type) => type switch
    {
        "blockdev-snapshot" => ["node", "overlay"],
        "blockdev-snapshot-sync" => ["snapshot-file"],
        "blockdev-snapshot-internal-sync" => ["device", "name"],
        "blockdev-backup" or "drive-backup" => ["device", "target", "sync"],
        "abort" => [],
        _ => BitmapCommands.Needed(type),
    };

    private void Do(string type, QmpArguments data, Stack<Action> undo, JobGroup? group)
    {
        var graph = _machine.Blocks ?? throw QmpErrorException.Generic("the machine has no drives");
        switch (type)
        {
            case "abort":
                throw QmpErrorException.Generic("Transaction aborted using Abort action");
            case "blockdev-snapshot" or "blockdev-snapshot-sync":
                var before = graph.AllBackends.Select(static b => (Backend: b, b.Node)).ToList();
                _ = _images[type](data);
                foreach (var (backend, node) in before)
                {
                    if (backend.Node is { } overlay && overlay != node)
                        undo.Push(() => TakeBack(graph, backend, node!, overlay));
                }

                break;
            case "blockdev-snapshot-internal-sync":
                _ = _nodes[type](data);
                undo.Push(() => _ = _nodes["blockdev-snapshot-delete-internal-sync"](data));
                break;
            case "block-dirty-bitmap-merge" when data.Values["bitmaps"] is not JsonArray:
                throw QmpErrorException.Generic("Parameter 'bitmaps' is missing");
            case var bitmap when bitmap.StartsWith(BitmapCommands.Prefix, StringComparison.Ordinal):
                undo.Push(_bitmaps.Do(bitmap, data));
                break;
            default:
                graph.Jobs.Started += Take;
                try
                {
                    _ = _jobs[type](data);
                }
                finally
                {
                    graph.Jobs.Started -= Take;
                }

                break;
        }

        void Take(BlockJob job)
        {
            group?.Add(job);
            undo.Push(job.GiveUp);
        }
    }

    private static void TakeBack(BlockGraph graph, BlockBackend backend, BlockNode node, BlockNode overlay)
    {
        backend.ReplaceNode(node);
        // The overlay gives up its reference to the image below, which the drive takes over.
        if (overlay is IBackingChange change)
            change.SetBacking(null);
        else
            _ = node.Retain();
        try
        {
            if (node.IsReadOnly && !overlay.IsReadOnly)
                node.Reopen(false);
        }
        catch (BlockException)
        {
            // It was never made read-only then, or stays so: the other steps are taken back all the same.
        }

        overlay.Release();
        graph.Forget();
    }
}
