using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;
using Dromaius.Core.Options;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>snapshot</c></summary>
internal static class ImgSnapshot
{
    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hla:c:d:f:qU", "help/h", "object=", "image-opts", "force-share/U");
        ImgTool.TakeObjects(options);
        var actions = options.All.Where(static o => o.Key is "l" or "a" or "c" or "d").ToArray();
        if (actions.Length > 1)
            throw new ToolException("Cannot mix '-l', '-a', '-c', '-d'", 1, true);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        var (action, name) = actions.Length == 0 ? ("l", "") : actions[0];
        var flags = OpenFlags.Tool with { ReadOnly = action == "l", ForceShare = options.Has("U") && action == "l" };
        using var node = ImgTool.Open(options.Rest[0], options.Value("f"), flags, options.Has("image-opts"), quiet: true);
        var image = node as Qcow2Node;
        switch (action)
        {
            case "l":
                if (image?.Snapshots.Count > 0)
                    Host.Print("Snapshot list:\n" + ImageInfo.SnapshotList(image.Snapshots));
                return 0;
            case "c":
                Do("create", name, () => Require(image).CreateSnapshot(name, DateTimeOffset.UtcNow), withNumber: true);
                return 0;
            case "a":
                Do("apply", name, () => Require(image).ApplySnapshot(image!.FindSnapshot(name)
                    ?? throw new BlockException(BlockError.NoEntry, "Failed to load snapshot: No such file or directory")));
                return 0;
            default:
                if (image?.Snapshots.FirstOrDefault(s => s.Name == name) is not { } found)
                    throw new ToolException($"Could not delete snapshot '{name}': snapshot not found");
                Do("delete", name, () => image.DeleteSnapshot(found));
                return 0;
        }
    }

    /// <summary>Puts a state in the place of the present one, for <c>-l</c> of other commands.</summary>
    public static void Show(BlockNode node, string parameter)
    {
        var image = node as Qcow2Node ?? throw new ToolException($"Failed to load snapshot: Device '' does not support internal snapshots");
        Snapshot? found;
        if (parameter.StartsWith("snapshot.", StringComparison.Ordinal))
        {
            var list = OptionList.Parse(parameter);
            var (id, name) = (list.Take("snapshot.id"), list.Take("snapshot.name"));
            found = image.Snapshots.FirstOrDefault(s => (id == null || s.Id == id) && (name == null || s.Name == name));
        }
        else
            found = image.FindSnapshot(parameter);
        try
        {
            image.ShowSnapshot(found ?? throw new ToolException("Failed to load snapshot: Can't find snapshot"));
        }
        catch (BlockException e)
        {
            throw new ToolException($"Failed to load snapshot: {e.Message}");
        }
    }

    private static Qcow2Node Require(Qcow2Node? image) =>
        image ?? throw new BlockException(BlockError.NotSupported);

    private static void Do(string what, string name, Action action, bool withNumber = false)
    {
        try
        {
            action();
        }
        catch (BlockException e)
        {
            throw new ToolException($"Could not {what} snapshot '{name}': {(withNumber ? $"-{(int)e.Error} ({Core.Storage.HostDisk.Explain((int)e.Error)})" : e.Message)}");
        }
    }
}
