namespace Dromaius.Block;

/// <summary>A disk that forgets what is written and reads as zeroes; for measuring.</summary>
public sealed class NullNode(string driver, long length, bool readZeroes) : BlockNode
{
    public override string Driver => driver;
    public override long Length => length;
    public override bool IsReadOnly => OpenedReadOnly;
    public override string FileName => driver + "://";
    public override long AllocatedSize => 0;
    public override bool ZeroesFast => true;

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        if (readZeroes)
            into.Clear();
    }

    public override void Reopen(bool readOnly) => OpenedReadOnly = readOnly;

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckWritable();
        CheckRange(offset, from.Length);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckWritable();
        CheckRange(offset, length);
    }

    public override void Flush()
    {
    }

    public override BlockStatus Status(long offset, long length) => new(length, true, readZeroes, offset);
}
