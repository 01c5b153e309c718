using Dromaius.Block.Filters;
using Dromaius.Block.Jobs;

namespace Dromaius.Block.Graph;

/// <summary>How a user names an image of a backing chain.</summary>
/// <param name="Name">The file, as the image above names it or by another way to it; or the node.</param>
/// <param name="IsNode">Only nodes are meant.</param>
public readonly record struct LayerName(string Name, bool IsNode = false)
{
    public static implicit operator LayerName(string name) => new(name);
}

/// <summary>Walks backing chains: images, and the filters that stand between them.</summary>
internal static class Chain
{
    public static bool IsFilter(BlockNode node) => node is FilterNode or JobFilterNode;

    /// <summary>What a node takes its contents from: below a filter its image, below an image its backing image.</summary>
    public static BlockNode? Below(BlockNode node) => node switch
    {
        JobFilterNode job => job.Inner,
        FilterNode filter => filter.File,
        _ => node.Backing,
    };

    /// <summary>A node and everything below it.</summary>
    public static IEnumerable<BlockNode> From(BlockNode? node)
    {
        for (; node != null; node = Below(node))
            yield return node;
    }

    public static BlockNode SkipFilters(BlockNode node)
    {
        while (IsFilter(node))
            node = Below(node)!;
        return node;
    }

    public static BlockNode SkipJobs(BlockNode node)
    {
        while (node is JobFilterNode filter)
            node = filter.Inner;
        return node;
    }

    /// <summary>The layer with a name, the top one or one below it; null when there is none.</summary>
    public static BlockNode? Find(BlockNode top, LayerName name) =>
        top.NodeName == name.Name || (!name.IsNode && top.FileName == name.Name) ? top : FindBelow(top, name);

    /// <summary>The same without the top one.</summary>
    public static BlockNode? FindBelow(BlockNode top, LayerName name)
    {
        var image = SkipFilters(top);
        foreach (var node in From(Below(top)))
        {
            if (node.NodeName == name.Name || (!name.IsNode && !IsFilter(node) && IsFileOf(node, image, name.Name)))
                return node;
            if (!IsFilter(node))
                image = node;
        }

        return null;
    }

    /// <summary>Whether a name leads to an image's file, read alone, or as the image above it names it.</summary>
    private static bool IsFileOf(BlockNode node, BlockNode above, string name)
    {
        if (node.FileName == name)
            return true;
        if (ImageOpener.HasProtocol(name) || ImageOpener.HasProtocol(node.FileName))
            return false;
        var there = Path.GetFullPath(node.FileName);
        return Path.GetFullPath(name) == there || Path.GetFullPath(ImageOpener.Combine(above.FileName, name)) == there;
    }
}
