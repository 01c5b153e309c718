namespace Dromaius.Block.Formats;

/// <summary>
/// An image whose blocks are found through a table and added one by one: what the simpler formats have in common. New blocks are
/// written whole before the table says where they are.
/// </summary>
public abstract class MappedNode : BlockNode
{
    /// <summary>Answers of <see cref="Lookup"/> that are no place.</summary>
    protected const long Unallocated = -1, Zero = -2;

    /// <summary>A new block of more bytes than this is a hole in the host's file but for what is written.</summary>
    private const int MaxWhole = 65536;

    /// <summary>Blocks looked at for one answer.</summary>
    private const int MaxRun = 65536;

    private readonly BlockNode _file;
    private readonly Lock _lock = new();
    private BlockNode? _backing;

    protected MappedNode(BlockNode file, bool readOnly, bool discard)
    {
        _file = file;
        ReadOnlyMode = readOnly || file.IsReadOnly;
        AllowsDiscard = discard;
    }

    public override BlockNode File => _file;
    public override BlockNode? Backing => _backing;
    public override bool IsReadOnly => ReadOnlyMode;

    protected bool ReadOnlyMode { get; set; }

    /// <summary>Bytes of a block.</summary>
    protected abstract int BlockSize { get; }

    /// <summary>What is not stored may come from a backing file; where there can be none, it is zero by the format's word.</summary>
    protected virtual bool MayHaveBacking => true;

    /// <summary>Held while the table is read or changed.</summary>
    protected Lock TableLock => _lock;

    public void SetBacking(BlockNode? backing) => _backing = backing;

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        while (!into.IsEmpty)
        {
            var (host, length) = Find(offset, into.Length);
            var part = into[..(int)length];
            if (host >= 0)
                ReadStored(host, part);
            else if (host == Unallocated && _backing is { } backing)
                backing.ReadPadded(offset, part);
            else
                part.Clear();
            offset += length;
            into = into[(int)length..];
        }
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckRange(offset, from.Length);
        CheckWritable();
        while (!from.IsEmpty)
        {
            var n = (int)Math.Min(from.Length, BlockSize - offset % BlockSize);
            long host;
            lock (_lock)
            {
                host = Lookup(offset / BlockSize);
                if (host < 0)
                    AddBlock(offset, from[..n], host);
            }

            if (host >= 0)
                _file.Write(host + offset % BlockSize, from[..n]);
            offset += n;
            from = from[n..];
        }
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckRange(offset, length);
        CheckWritable();
        while (length > 0)
        {
            var n = Math.Min(length, BlockSize - offset % BlockSize);
            bool done;
            lock (_lock)
                done = ZeroBlock(offset, n);
            if (!done)
                Write(offset, new byte[n]);
            offset += n;
            length -= n;
        }
    }

    public override BlockStatus Status(long offset, long length)
    {
        var (host, n) = Find(offset, Math.Min(length, Length - offset));
        return host switch
        {
            Unallocated => new BlockStatus(n, !MayHaveBacking, !MayHaveBacking),
            Zero => new BlockStatus(n, true, true),
            _ => new BlockStatus(n, true, false, host),
        };
    }

    public override void Flush()
    {
        if (!IsReadOnly)
            _file.Flush();
    }

    public override void Reopen(bool readOnly)
    {
        if (readOnly == IsReadOnly)
            return;
        if (readOnly)
            Flush();
        File.Reopen(readOnly);
        ReadOnlyMode = readOnly;
    }

    /// <summary>Where a block is in the file, <see cref="Unallocated"/> or <see cref="Zero"/>. Under the lock.</summary>
    protected abstract long Lookup(long block);

    /// <summary>Takes room for a block; the table does not change yet. Under the lock.</summary>
    protected abstract long Allocate(long block);

    /// <summary>Notes in memory and in the file where a block is. Under the lock.</summary>
    protected abstract void Link(long block, long host);

    /// <summary>Marks a block as zero where the format can; false where it cannot. Under the lock.</summary>
    protected virtual bool MarkZero(long block) => false;

    protected virtual void ReadStored(long host, Span<byte> into) => _file.ReadPadded(host, into);

    protected override void Dispose(bool disposing)
    {
        _backing?.Release();
        _file.Release();
    }

    /// <summary>A run of blocks that are together.</summary>
    private (long Host, long Length) Find(long offset, long length)
    {
        lock (_lock)
        {
            var within = offset % BlockSize;
            var block = offset / BlockSize;
            var host = Lookup(block);
            long run = BlockSize - within;
            for (var i = 0; run < length && i < MaxRun; i++)
            {
                var next = Lookup(++block);
                if (host < 0 ? next != host : next != host + run + within)
                    break;
                run += BlockSize;
            }

            return (host < 0 ? host : host + within, Math.Min(run, length));
        }
    }

    private void AddBlock(long offset, ReadOnlySpan<byte> from, long state)
    {
        var block = offset / BlockSize;
        var start = block * BlockSize;
        var within = (int)(offset - start);
        var backing = state == Unallocated ? _backing : null;
        var isHole = from.Length < BlockSize && backing == null && BlockSize > MaxWhole;
        if (!isHole && from.Length < BlockSize)
        {
            var whole = new byte[BlockSize];
            backing?.ReadPadded(start, whole);
            from.CopyTo(whole.AsSpan(within));
            from = whole;
            within = 0;
        }

        var host = Allocate(block);
        if (isHole)
            _file.WriteZeroes(host, BlockSize, mayUnmap: true);
        _file.Write(host + within, from);
        Link(block, host);
    }

    private bool ZeroBlock(long offset, long length)
    {
        var block = offset / BlockSize;
        var state = Lookup(block);
        if (state == Zero || (state == Unallocated && _backing == null))
            return true;
        var whole = length == BlockSize || (offset % BlockSize == 0 && offset + length == Length);
        return whole && MarkZero(block);
    }
}
