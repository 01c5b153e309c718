namespace Dromaius.Block.Filters;

/// <summary>The <c>blkverify</c> driver: does everything to an image and to a raw one, and complains when they differ.</summary>
/// <param name="test">The image; owned.</param>
/// <param name="raw">What it must hold; owned.</param>
public sealed class BlkverifyNode(BlockNode test, BlockNode raw) : FilterNode("blkverify", test)
{
    public override void Read(long offset, Span<byte> into)
    {
        base.Read(offset, into);
        var right = new byte[into.Length];
        raw.Read(offset, right);
        var same = into.CommonPrefixLength(right);
        if (same < into.Length)
            throw new BlockException(BlockError.Io, $"blkverify: read offset={offset} bytes={into.Length} contents mismatch at offset {offset + same}");
    }

    public override void Flush()
    {
        base.Flush();
        raw.Flush();
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        base.WriteCore(offset, from);
        raw.Write(offset, from);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        base.WriteZeroesCore(offset, length, mayUnmap);
        raw.WriteZeroes(offset, length, mayUnmap);
    }

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        raw.Release();
    }
}
