using Dromaius.Block.Filters;
using Dromaius.Block.Host;
using Dromaius.Block.Jobs;
using Dromaius.Block.Nbd;
using Dromaius.Block.Qcow2;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Graph;

/// <summary>
/// Works out what each node of a graph is used for, from the devices and exports at its top down to the host files, whose locks say so
/// to other programs. The rules for what a format, a filter or an overlay needs of what is below are QEMU's (docs/interop, image locking).
/// </summary>
internal static class GraphPermissions
{
    private static readonly (ImagePermissions Bit, string Name)[] Names =
    [
        (ImagePermissions.ConsistentRead, "consistent read"), (ImagePermissions.Write, "write"),
        (ImagePermissions.WriteUnchanged, "write unchanged"), (ImagePermissions.Resize, "resize"),
    ];

    /// <summary>One user of a node.</summary>
    private sealed record Use(ImagePermissions Held, ImagePermissions Shared, string User, string Role);

    /// <summary>Sets the locks of all host files; on a conflict, inside or with another program, none is changed.</summary>
    public static void Apply(IEnumerable<BlockBackend> backends, IEnumerable<BlockExport> exports, IEnumerable<BlockNode> nodes)
    {
        var uses = new Dictionary<BlockNode, List<Use>>();
        foreach (var backend in backends)
        {
            if (backend.Node is { } node)
                Add(uses, node, new Use(backend.Held, backend.Shared, Describe(backend), "root"));
        }

        foreach (var export in exports.Select(static e => e.Export))
        {
            var held = ImagePermissions.ConsistentRead | (export.IsWritable ? ImagePermissions.Write : 0);
            Add(uses, export.Node, new Use(held, ImagePermissions.All & ~ImagePermissions.Resize, "an unnamed block device", "root"));
        }

        var files = new List<(HostFileNode File, ImagePermissions Held, ImagePermissions Shared)>();
        foreach (var node in ParentsFirst(uses.Keys.Concat(nodes)))
        {
            var (held, shared) = (ImagePermissions.None, ImagePermissions.All);
            foreach (var use in uses.GetValueOrDefault(node) ?? [])
            {
                held |= use.Held;
                shared &= use.Shared;
            }

            if ((held & ~shared) != 0)
                CheckConflicts(node, uses[node]);
            if (node is HostFileNode file)
                files.Add((file, held, shared));
            foreach (var (child, use) in Children(node, held, shared))
                Add(uses, child, use);
        }

        var prepared = 0;
        try
        {
            for (; prepared < files.Count; prepared++)
                files[prepared].File.PrepareLocks(files[prepared].Held, files[prepared].Shared);
        }
        catch (BlockException)
        {
            for (var i = 0; i < prepared; i++)
                files[i].File.KeepLocks();
            throw;
        }

        foreach (var (file, held, shared) in files)
            file.CommitLocks(held, shared);
    }

    private static void Add(Dictionary<BlockNode, List<Use>> uses, BlockNode node, Use use)
    {
        if (!uses.TryGetValue(node, out var list))
            uses[node] = list = [];
        list.Add(use);
    }

    private static string Describe(BlockBackend backend) =>
        backend.Name.Length > 0 ? $"block device '{backend.Name}'" : backend.DeviceName is { } device ? $"block device '{device}'" : "an unnamed block device";

    /// <summary>What a node asks of those below it.</summary>
    private static IEnumerable<(BlockNode Child, Use Use)> Children(BlockNode node, ImagePermissions held, ImagePermissions shared)
    {
        var user = $"node '{node.NodeName}'";
        var passed = new Use(held, shared | ImagePermissions.WriteUnchanged, user, "file");
        switch (node)
        {
            case JobFilterNode filter:
                yield return (filter.Inner, passed);
                yield break;
            case BlkverifyNode or FilterNode or RawNode:
                if (node.File is { } inner)
                    yield return (inner, passed);
                yield break;
        }

        if (node.File is { } file)
        {
            var needed = held | ImagePermissions.ConsistentRead | (node.IsReadOnly ? 0 : ImagePermissions.Write | ImagePermissions.Resize);
            yield return (file, new Use(needed, passed.Shared & ~(ImagePermissions.Write | ImagePermissions.Resize), user, "file"));
        }

        if (node is Qcow2Node { DataFile: { } data })
        {
            var needed = held | ((held & ImagePermissions.Write) != 0 ? ImagePermissions.Resize : 0);
            yield return (data, new Use(needed, passed.Shared & ~ImagePermissions.Resize, user, "data-file"));
        }

        if (node.Backing is { } backing)
        {
            // An overlay only reads below; others may change that if they may change the overlay.
            var allowed = ImagePermissions.ConsistentRead | ImagePermissions.WriteUnchanged
                | ((shared & ImagePermissions.Write) != 0 ? ImagePermissions.Write | ImagePermissions.Resize : 0);
            yield return (backing, new Use(held & ImagePermissions.ConsistentRead, allowed, user, "backing"));
        }
    }

    private static IEnumerable<BlockNode> ParentsFirst(IEnumerable<BlockNode> nodes)
    {
        var seen = new HashSet<BlockNode>();
        var order = new List<BlockNode>();
        foreach (var node in nodes.ToList())
            Visit(node);
        order.Reverse();
        return order;

        void Visit(BlockNode node)
        {
            if (node.IsDisposed || !seen.Add(node))
                return;
            foreach (var (child, _) in Children(node, 0, 0))
                Visit(child);
            order.Add(node);
        }
    }

    private static void CheckConflicts(BlockNode node, List<Use> uses)
    {
        foreach (var holder in uses)
        {
            foreach (var other in uses)
            {
                if (ReferenceEquals(holder, other) || (holder.Held & ~other.Shared) is var missing && missing == 0)
                    continue;
                var names = string.Join(", ", Names.Where(n => (missing & n.Bit) != 0).Select(static n => n.Name));
                throw new BlockException(BlockError.NotPermitted,
                    $"Permission conflict on node '{node.NodeName}': permissions '{names}' are both required by {holder.User} (uses node '{node.NodeName}' as "
                    + $"'{holder.Role}' child) and unshared by {other.User} (uses node '{node.NodeName}' as '{other.Role}' child).");
            }
        }
    }
}
