namespace Dromaius.Block.Jobs;

/// <summary>Several images as one, each from the sector on where the one before ends. Does not own them.</summary>
public sealed class ConcatNode(IReadOnlyList<BlockNode> parts) : BlockNode
{
    private const long Sector = 512;
    private readonly long _length = parts.Sum(static p => LengthOf(p));

    public override string Driver => "concat";
    public override long Length => _length;
    public override bool IsReadOnly => true;

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        while (!into.IsEmpty)
        {
            var (part, at) = Find(offset);
            var n = (int)Math.Min(into.Length, LengthOf(part) - at);
            part.ReadPadded(at, into[..n]);
            offset += n;
            into = into[n..];
        }
    }

    public override BlockStatus Status(long offset, long length)
    {
        CheckRange(offset, length);
        var (part, at) = Find(offset);
        // What pads the last sector is nowhere.
        if (at >= part.Length)
            return new BlockStatus(Math.Min(length, LengthOf(part) - at), true, true);
        var status = Graph.ChainStatus.Get(part, null, at, Math.Min(length, part.Length - at));
        return new BlockStatus(status.Length, true, status.IsZero);
    }

    public override void Flush()
    {
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from) => CheckWritable();

    private static long LengthOf(BlockNode part) => (part.Length + Sector - 1) & -Sector;

    private (BlockNode Part, long At) Find(long offset)
    {
        foreach (var part in parts)
        {
            var length = LengthOf(part);
            if (offset < length)
                return (part, offset);
            offset -= length;
        }

        throw new BlockException(BlockError.Invalid, "Request outside the image");
    }
}
