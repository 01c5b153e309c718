using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Control.Qmp;

/// <summary>Changes of nodes that are open: options, backing files, thresholds, snapshots inside images.</summary>
internal sealed class NodeCommands
{
    public const string Schema = """
        struct SnapshotInfo = id: str, name: str, vm-state-size: int, date-sec: int, date-nsec: int, vm-clock-sec: int, vm-clock-nsec: int, icount?: int
        open command blockdev-reopen(options: any)
        command change-backing-file(device: str, image-node-name: str, backing-file: str)
        command block-set-write-threshold(node-name: str, write-threshold: uint64)
        command block-latency-histogram-set(id: str, boundaries?: [uint64], boundaries-read?: [uint64], boundaries-write?: [uint64], boundaries-flush?: [uint64])
        command blockdev-snapshot-internal-sync(device: str, name: str)
        command blockdev-snapshot-delete-internal-sync(device: str, id?: str, name?: str) -> SnapshotInfo
        event BLOCK_WRITE_THRESHOLD(node-name: str, amount-exceeded: uint64, write-threshold: uint64)
        """;

    private readonly IMachineControl _machine;

    public NodeCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["blockdev-reopen"] = a => Guard(() => Reopen(a)),
            ["change-backing-file"] = a => Guard(() => ChangeBackingFile(a)),
            ["block-set-write-threshold"] = a => Guard(() => SetThreshold(a)),
            ["block-latency-histogram-set"] = a =>
            {
                _ = BlockCommands.FindBackend(machine, a.Text("id"));
                throw QmpErrorException.Generic("latency histograms are not available in this version");
            },
            ["blockdev-snapshot-internal-sync"] = a => Guard(() => TakeSnapshot(a.Text("device"), a.Text("name"))),
            ["blockdev-snapshot-delete-internal-sync"] = DeleteSnapshot,
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private BlockGraph Graph => _machine.Blocks ?? throw QmpErrorException.Generic("the machine has no drives");

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

    private void Reopen(QmpArguments a)
    {
        if (a.Values["options"] is not JsonArray list)
            throw QmpErrorException.Generic("Parameter 'options' is missing");
        foreach (var item in list)
        {
            if (item is not JsonObject options)
                throw QmpErrorException.Generic("Invalid parameter type for 'options[0]', expected: object");
            Graph.Reopen(BlockOptions.Parse(options.ToJsonString()));
        }
    }

    private void ChangeBackingFile(QmpArguments a)
    {
        var device = a.Text("device");
        var top = Graph.FindImage(device) ?? throw QmpErrorException.Generic($"Cannot find device='{device}' nor node-name='{device}'");
        var name = a.Text("image-node-name");
        var image = Graph.FindImage(name) ?? throw QmpErrorException.Generic($"Cannot find device='' nor node-name='{name}'");
        var below = top;
        while (below != null && below != image)
            below = below.Backing;
        if (below == null)
            throw QmpErrorException.Generic($"'{name}' and image file are not in the same chain");
        if (image.Backing is not { } backing)
            throw QmpErrorException.Generic("not allowing backing file change on an image without a backing file");
        if (image is not IBackingChange change)
            throw QmpErrorException.Generic($"Could not change backing file to '{a.Text("backing-file")}': Operation not supported");
        var wasReadOnly = image.IsReadOnly;
        if (wasReadOnly)
            image.Reopen(false);
        try
        {
            change.ChangeBackingFile(a.Text("backing-file"), backing.Driver);
        }
        finally
        {
            if (wasReadOnly)
                image.Reopen(true);
        }
    }

    private void SetThreshold(QmpArguments a)
    {
        var name = a.Text("node-name");
        var node = Graph.FindImage(name) ?? throw QmpErrorException.Generic($"Device '{name}' not found");
        node.ThresholdPassed -= TellThreshold;
        node.ThresholdPassed += TellThreshold;
        node.WriteThreshold = a.Integer("write-threshold");
    }

    private void TellThreshold(BlockNode node, long threshold, long exceeded) => Graph.Loop.Post(() =>
        _machine.RaiseEvent("BLOCK_WRITE_THRESHOLD", new JsonObject
        {
            ["amount-exceeded"] = exceeded, ["write-threshold"] = threshold, ["node-name"] = node.NodeName ?? "",
        }));

    private Qcow2Node SnapshotImage(string device, out BlockBackend backend)
    {
        backend = Graph.RequireBackend(device);
        return Graph.FindImage(backend.Node!.NodeName ?? device) as Qcow2Node
            ?? throw QmpErrorException.Generic($"Block format '{backend.Node.Driver}' used by device '{device}' does not support feature 'internal snapshots'");
    }

    private void TakeSnapshot(string device, string name)
    {
        var image = SnapshotImage(device, out var backend);
        if (image.IsReadOnly)
            throw QmpErrorException.Generic($"Device '{device}' is read only");
        if (name.Length == 0)
            throw QmpErrorException.Generic("Name is empty");
        if (image.Snapshots.Any(s => s.Name == name))
            throw QmpErrorException.Generic($"Snapshot with name '{name}' already exists on device '{device}'");
        backend.Drain();
        _ = image.CreateSnapshot(name, DateTimeOffset.Now);
    }

    private JsonObject DeleteSnapshot(QmpArguments a)
    {
        var device = a.Text("device");
        var (id, name) = (a.OptionalText("id"), a.OptionalText("name"));
        if (id == null && name == null)
            throw QmpErrorException.Generic("Name or id must be provided");
        var result = new JsonObject();
        _ = Guard(() =>
        {
            var image = SnapshotImage(device, out var backend);
            var found = image.Snapshots.FirstOrDefault(s => (id == null || s.Id == id) && (name == null || s.Name == name))
                ?? throw QmpErrorException.Generic($"Snapshot with id '{id ?? "null"}' and name '{name ?? "null"}' does not exist on device '{device}'");
            backend.Drain();
            image.DeleteSnapshot(found);
            if (found.InstructionCount != ulong.MaxValue)
                result["icount"] = found.InstructionCount;
            result["id"] = found.Id;
            result["name"] = found.Name;
            result["vm-state-size"] = found.VmStateSize;
            result["date-sec"] = found.DateSeconds;
            result["date-nsec"] = found.DateNanoseconds;
            result["vm-clock-sec"] = found.VmClock / 1_000_000_000;
            result["vm-clock-nsec"] = found.VmClock % 1_000_000_000;
        });
        return result;
    }
}
