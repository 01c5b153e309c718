namespace Dromaius.Block;

/// <summary>A disk in host memory, zero at first; for tests and small media. At most 2 GiB.</summary>
public sealed class MemoryNode(byte[] bytes, bool readOnly = false) : BlockNode
{
    private readonly Lock _lock = new();

    public MemoryNode(int length)
        : this(new byte[length])
    {
    }

    public override string Driver => "memory";
    public override long Length => bytes.Length;
    public override bool IsReadOnly => readOnly;

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        lock (_lock)
            bytes.AsSpan((int)offset, into.Length).CopyTo(into);
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckRange(offset, from.Length);
        if (readOnly)
            throw new BlockException(BlockError.ReadOnly, "Read-only node");
        lock (_lock)
            from.CopyTo(bytes.AsSpan((int)offset));
    }

    public override void Flush()
    {
    }
}
