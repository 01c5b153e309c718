using Dromaius.Block.Graph;

namespace Dromaius.Block.Qcow2;

/// <summary>How large a qcow2 file will be.</summary>
public static class Qcow2Size
{
    /// <summary>The size with the data of an image, and with everything allocated.</summary>
    public static (long Required, long Full) Measure(BlockOptions options, BlockNode? source, long? size)
    {
        var cluster = options.TakeSize("cluster_size") ?? 65536;
        if (cluster is < 512 or > 2 << 20 || !long.IsPow2(cluster))
            throw new BlockException(BlockError.Invalid, "Cluster size must be a power of two between 512 and 2048k");
        var refcountBits = options.TakeSize("refcount_bits") ?? 16;
        if (refcountBits is < 1 or > 64 || !long.IsPow2(refcountBits))
            throw new BlockException(BlockError.Invalid, "Refcount width must be a power of two and may not exceed 64 bits");
        var extended = options.TakeBool("extended_l2") == true;
        var length = ((source?.Length ?? size!.Value) + cluster - 1) & -cluster;
        var hasBacking = options.Take("backing_file") != null;
        var full = WithMetadata(length, cluster, refcountBits, extended);
        var data = options.Take("preallocation") is "full" or "falloc" ? length : source == null ? 0 : DataOf(source, cluster, hasBacking);
        return (full - length + data, full);
    }

    /// <summary>What the stored bitmaps of an image take in one with another cluster size.</summary>
    public static long OfBitmaps(Qcow2Node image, long cluster)
    {
        var (clusters, directory) = (0L, 0L);
        foreach (var bitmap in image.Bitmaps.Where(static b => !b.InUse))
        {
            var bits = (image.Length + (1L << bitmap.GranularityBits) - 1) >> bitmap.GranularityBits;
            var data = (bits + 8 * cluster - 1) / (8 * cluster);
            clusters += data + (data * 8 + cluster - 1) / cluster;
            // An entry: 24 bytes and the name, rounded up to 8.
            directory += (24 + System.Text.Encoding.UTF8.GetByteCount(bitmap.Name) + 7) & ~7;
        }

        return (clusters + (directory + cluster - 1) / cluster) * cluster;
    }

    private static long DataOf(BlockNode source, long cluster, bool hasBacking)
    {
        var data = 0L;
        var counted = 0L;
        for (var at = 0L; at < source.Length;)
        {
            var status = ChainStatus.Get(source, hasBacking ? source.Backing : null, at, source.Length - at);
            if (!status.IsZero && (status.IsAllocated || !hasBacking))
            {
                // Clusters that hold any data, each once.
                var first = Math.Max(at & -cluster, counted);
                var end = (at + status.Length + cluster - 1) & -cluster;
                data += Math.Max(end - first, 0);
                counted = Math.Max(counted, end);
            }

            at += status.Length;
        }

        return data;
    }

    private static long WithMetadata(long length, long cluster, long refcountBits, bool extended)
    {
        static long RoundUp(long value, long unit) => (value + unit - 1) / unit * unit;
        var entry = extended ? 16 : 8;
        var l2 = RoundUp(RoundUp(length, cluster) / cluster, cluster / entry) * entry;
        var l1 = RoundUp(l2 / cluster, cluster / 8) * 8;
        var metadata = cluster + l2 + l1;
        var clusters = (metadata + length) / cluster;
        var perBlock = cluster * 8 / refcountBits;
        long blocks = 0, tables = 0, before;
        do
        {
            before = blocks + tables;
            blocks = (clusters + tables + blocks + perBlock - 1) / perBlock;
            tables = (blocks + cluster / 8 - 1) / (cluster / 8);
        }
        while (blocks + tables != before);
        return metadata + (blocks + tables) * cluster + length;
    }
}
