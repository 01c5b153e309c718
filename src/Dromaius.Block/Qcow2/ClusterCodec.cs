using Dromaius.Core.Storage;
using ZstdSharp;

namespace Dromaius.Block.Qcow2;

/// <summary>Compressed clusters: raw deflate with a window of 4 KiB, or a zstd frame.</summary>
internal static class ClusterCodec
{
    private const int WindowBits = -12;

    [ThreadStatic]
    private static Compressor? t_compressor;

    /// <summary>The compressed length, or -1 when compression does not pay.</summary>
    public static int Compress(Qcow2Compression kind, ReadOnlySpan<byte> cluster, Span<byte> into)
    {
        into = into[..Math.Min(into.Length, cluster.Length - 1)];
        if (kind == Qcow2Compression.Zlib)
            return ZlibCodec.Deflate(cluster, into, WindowBits);
        t_compressor ??= new Compressor();
        return t_compressor.TryWrap(cluster, into, out var written) ? written : -1;
    }

    /// <summary>Fills a cluster from its compressed bytes, which may have others behind them.</summary>
    public static void Decompress(Qcow2Compression kind, byte[] from, int length, Span<byte> cluster)
    {
        if (kind == Qcow2Compression.Zlib)
        {
            if (ZlibCodec.Inflate(from.AsSpan(0, length), cluster, WindowBits) != cluster.Length)
                throw new BlockException(BlockError.Io, "qcow2: bad compressed cluster");
            return;
        }

        try
        {
            using var stream = new DecompressionStream(new MemoryStream(from, 0, length), leaveOpen: false);
            stream.ReadExactly(cluster);
        }
        catch (Exception e) when (e is ZstdException or EndOfStreamException or InvalidDataException)
        {
            throw new BlockException(BlockError.Io, "qcow2: bad compressed cluster", e);
        }
    }
}
