namespace Dromaius.Block;

/// <summary>What a run of an image holds.</summary>
/// <param name="Length">Bytes that share this state; at least 1.</param>
/// <param name="IsAllocated">Stored in this node, not taken from its backing file.</param>
/// <param name="IsZero">Reads as zeroes.</param>
/// <param name="HostOffset">Where the bytes are in the node's file, or -1.</param>
/// <param name="IsCompressed">Stored compressed.</param>
/// <param name="IsStored">Has storage although it reads as zeroes.</param>
public readonly record struct BlockStatus(long Length, bool IsAllocated, bool IsZero, long HostOffset = -1, bool IsCompressed = false, bool IsStored = false)
{
    /// <summary>Host storage holds the content.</summary>
    public bool IsData => IsStored || (IsAllocated && !IsZero);
}

/// <summary>What a node does with discards.</summary>
public enum DetectZeroes
{
    Off,

    /// <summary>Writes of zeroes become zero clusters.</summary>
    On,

    /// <summary>And give their storage back.</summary>
    Unmap,
}

/// <summary>
/// A node of the block graph: a host file, an image format, a filter. Calls block the calling thread (an I/O thread, never a
/// vCPU or the event loop) and may come from several threads at once; overlapping writes in flight land in any order.
/// Ranges are bytes of any alignment; a range outside the length is <see cref="BlockError.Invalid"/>, except that host files grow
/// when written behind their end. Failures are <see cref="BlockException"/>.
/// </summary>
public abstract partial class BlockNode : IDisposable
{
    private int _references = 1;

    /// <summary>The name users give (<c>node-name</c>).</summary>
    public string? NodeName { get; set; }

    /// <summary>The driver's name: <c>raw</c>, <c>qcow2</c>, <c>file</c>...</summary>
    public abstract string Driver { get; }

    /// <summary>Virtual size in bytes.</summary>
    public abstract long Length { get; }
    public virtual bool IsReadOnly => false;

    /// <summary>It was asked to be read-only, whatever its file allows: for nodes that would pass every write on.</summary>
    internal bool OpenedReadOnly { get; set; }

    /// <summary>A format above is at a step of its work, as <c>blkdebug</c> names them; nothing but debugging filters cares.</summary>
    public virtual void OnStep(string name)
    {
    }

    /// <summary>The host file below, if there is one (<c>file</c> child).</summary>
    public virtual BlockNode? File => null;

    /// <summary>Where unallocated ranges come from.</summary>
    public virtual BlockNode? Backing => null;

    /// <summary>How messages and listings call it.</summary>
    public virtual string FileName => File?.FileName ?? "";

    /// <summary>Bytes of a unit of allocation, or 0.</summary>
    public virtual int ClusterSize => 0;

    /// <summary>Bytes that the host has set aside for it, or -1.</summary>
    public virtual long AllocatedSize => File?.AllocatedSize ?? -1;

    /// <summary>What only this format has, for listings.</summary>
    public virtual Graph.InfoTree? FormatInfo => null;

    /// <summary>Discards reach the storage (<c>discard=unmap</c>).</summary>
    public bool AllowsDiscard { get; set; }
    public DetectZeroes DetectZeroes { get; set; }

    public abstract void Read(long offset, Span<byte> into);

    /// <summary>Reads into pieces, one behind the other, without a copy; false where that cannot be done, and <see cref="Read"/> is to.</summary>
    public virtual bool TryRead(long offset, IReadOnlyList<Memory<byte>> into, long length) => false;

    /// <summary>The same for writing.</summary>
    public bool TryWrite(long offset, IReadOnlyList<Memory<byte>> from, long length)
    {
        if (!TryWriteCore(offset, from, length))
            return false;
        OnWritten(offset, length);
        return true;
    }

    protected virtual bool TryWriteCore(long offset, IReadOnlyList<Memory<byte>> from, long length) => false;

    public void Write(long offset, ReadOnlySpan<byte> from)
    {
        WriteCore(offset, from);
        OnWritten(offset, from.Length);
    }

    /// <summary>Makes a range read as zeroes; with <paramref name="mayUnmap"/> its storage may be given back.</summary>
    public void WriteZeroes(long offset, long length, bool mayUnmap)
    {
        WriteZeroesCore(offset, length, mayUnmap);
        OnWritten(offset, length);
    }

    /// <summary>Stores one cluster compressed. It must start on a cluster and fill it, or reach the end of the image.</summary>
    public void WriteCompressed(long offset, ReadOnlySpan<byte> from)
    {
        WriteCompressedCore(offset, from);
        OnWritten(offset, from.Length);
    }

    /// <summary>The first half of <see cref="WriteCompressed"/>, for those who compress in parallel: the packed length, or -1.</summary>
    public virtual int Compress(ReadOnlySpan<byte> cluster, Span<byte> into) => -1;

    /// <summary>The second half: stores what <see cref="Compress"/> made.</summary>
    public void WritePacked(long offset, ReadOnlySpan<byte> packed)
    {
        WritePackedCore(offset, packed);
        OnWritten(offset, Math.Max(1, ClusterSize));
    }

    /// <summary>Zeroes cost less than their bytes.</summary>
    public virtual bool ZeroesFast => false;

    /// <summary>The format stores compressed clusters.</summary>
    public virtual bool CanCompress => false;

    /// <summary>The range is no longer needed; what it reads as afterwards is undefined. May do nothing.</summary>
    public void Discard(long offset, long length)
    {
        DiscardCore(offset, length);
        MarkDirty(offset, length);
    }

    /// <summary>Writes bytes, as zeroes when that is all they are.</summary>
    public void WriteOrZero(long offset, ReadOnlySpan<byte> from, bool mayUnmap)
    {
        if (from.ContainsAnyExcept((byte)0))
            Write(offset, from);
        else
            WriteZeroes(offset, from.Length, mayUnmap);
    }

    protected abstract void WriteCore(long offset, ReadOnlySpan<byte> from);

    protected virtual void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckRange(offset, length);
        var zeroes = new byte[(int)Math.Min(length, 1 << 20)];
        while (length > 0)
        {
            var n = (int)Math.Min(length, zeroes.Length);
            Write(offset, zeroes.AsSpan(0, n));
            offset += n;
            length -= n;
        }
    }

    protected virtual void WriteCompressedCore(long offset, ReadOnlySpan<byte> from) =>
        throw new BlockException(BlockError.NotSupported, "Compression not supported for this file format");

    protected virtual void WritePackedCore(long offset, ReadOnlySpan<byte> packed) =>
        throw new BlockException(BlockError.NotSupported, "Compression not supported for this file format");

    protected virtual void DiscardCore(long offset, long length)
    {
    }

    /// <summary>On return everything written before the call survives a power failure.</summary>
    public abstract void Flush();

    /// <summary>The state of the bytes from an offset on, up to a length.</summary>
    public virtual BlockStatus Status(long offset, long length) => new(length, true, false, offset);

    /// <summary>Changes the virtual size; what is behind the old end reads as zeroes.</summary>
    public void Resize(long length)
    {
        CheckDirtyBitmaps(length);
        ResizeCore(length);
        ResizeDirtyBitmaps(length);
    }

    protected virtual void ResizeCore(long length) =>
        throw new BlockException(BlockError.NotSupported, $"Image format driver does not support resize");

    /// <summary>Changes between read-only and writable; the node keeps its contents and its place.</summary>
    public virtual void Reopen(bool readOnly)
    {
        if (readOnly != IsReadOnly)
            throw new BlockException(BlockError.NotSupported, $"Driver '{Driver}' cannot be reopened");
    }

    /// <summary>One more owner: the last <see cref="Release"/> closes the node.</summary>
    public BlockNode Retain()
    {
        _ = Interlocked.Increment(ref _references);
        return this;
    }

    public void Release()
    {
        if (Interlocked.Decrement(ref _references) == 0)
            Dispose();
    }

    /// <summary>How many own it.</summary>
    internal int References => Volatile.Read(ref _references);

    internal bool IsDisposed { get; private set; }

    public void Dispose()
    {
        if (IsDisposed)
            return;
        IsDisposed = true;
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Reads what is there and zeroes behind the end.</summary>
    public void ReadPadded(long offset, Span<byte> into)
    {
        var n = (int)Math.Clamp(Length - offset, 0, into.Length);
        if (n > 0)
            Read(offset, into[..n]);
        into[n..].Clear();
    }

    /// <summary>Throws unless the range is inside the node.</summary>
    protected void CheckRange(long offset, long length)
    {
        if (offset < 0 || length < 0 || offset > Length - length)
            throw new BlockException(BlockError.Invalid, "Request outside the image");
    }

    protected void CheckWritable()
    {
        if (IsReadOnly)
            throw new BlockException(BlockError.ReadOnly, "Read-only node");
    }

    protected virtual void Dispose(bool disposing)
    {
    }
}
