namespace Dromaius.Block.Graph;

/// <summary>The state of a run of an image with its backing chain.</summary>
/// <param name="Length">Bytes.</param>
/// <param name="Depth">Which layer it comes from; 0 is the top.</param>
/// <param name="IsAllocated">Some layer holds it.</param>
/// <param name="IsZero">Reads as zeroes.</param>
/// <param name="IsData">Host storage holds its content.</param>
/// <param name="HostOffset">Where in the layer's file, or -1.</param>
/// <param name="Node">The layer.</param>
public readonly record struct ChainStatus(
    long Length, int Depth, bool IsAllocated, bool IsZero, bool IsData, long HostOffset, BlockNode? Node, bool IsCompressed = false)
{
    /// <summary>Looks through the layers from a node down.</summary>
    /// <param name="top">Where to begin.</param>
    /// <param name="end">The first layer not to look at, or null for the whole chain.</param>
    /// <param name="offset">First byte.</param>
    /// <param name="length">At most so many.</param>
    public static ChainStatus Get(BlockNode top, BlockNode? end, long offset, long length)
    {
        var depth = 0;
        end = end == null ? null : Chain.SkipFilters(end);
        for (BlockNode? node = top; node != null && Chain.SkipFilters(node) != end; node = node.Backing, depth++)
        {
            if (offset >= node.Length)
                return new ChainStatus(length, depth, true, true, false, -1, node);
            var status = node.Status(offset, Math.Min(length, node.Length - offset));
            length = Math.Min(length, status.Length);
            if (status.IsAllocated)
                return new ChainStatus(length, depth, true, status.IsZero, status.IsData, status.HostOffset, node, status.IsCompressed);
        }

        return new ChainStatus(length, end == null ? Math.Max(depth - 1, 0) : depth, false, end == null, false, -1, null);
    }
}
