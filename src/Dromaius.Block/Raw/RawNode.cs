namespace Dromaius.Block.Raw;

/// <summary>An image without a format: the file's bytes, or a window of them (<c>offset=</c>, <c>size=</c>).</summary>
public sealed class RawNode : BlockNode
{
    private readonly BlockNode _file;
    private readonly long _offset;
    private readonly Func<byte[], bool>? _looksLikeImage;
    private long _length;
    private readonly bool _fixed;

    /// <param name="file">The file; owned.</param>
    /// <param name="offset">Where the window starts.</param>
    /// <param name="size">Its size, or null for the rest of the file.</param>
    /// <param name="looksLikeImage">
    /// Set when the format was guessed: a guest must not write a first sector that would make another format of the image when it
    /// is opened next.
    /// </param>
    public RawNode(BlockNode file, long offset = 0, long? size = null, Func<byte[], bool>? looksLikeImage = null)
    {
        _file = file;
        _offset = offset;
        _looksLikeImage = looksLikeImage;
        if (offset < 0 || offset > file.Length)
            throw new BlockException(BlockError.Invalid, $"Offset ({offset}) cannot be greater than size of the containing file ({file.Length})");
        if (size is { } s && (s < 0 || s > file.Length - offset))
        {
            throw new BlockException(BlockError.Invalid,
                $"The sum of offset ({offset}) and size ({s}) has to be smaller or equal to the  actual size of the containing file ({file.Length})");
        }

        _fixed = size != null;
        _length = size ?? file.Length - offset;
        AllowsDiscard = file.AllowsDiscard;
    }

    public override string Driver => "raw";

    // A host file's last partial sector counts as a whole one.
    public override long Length => (_length + 511) & ~511L;
    public override bool IsReadOnly => OpenedReadOnly || _file.IsReadOnly;
    public override BlockNode File => _file;
    public override bool ZeroesFast => _file.ZeroesFast;

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        _file.OnStep("read_aio");
        _file.ReadPadded(_offset + offset, into);
    }

    public override bool TryRead(long offset, IReadOnlyList<Memory<byte>> into, long length) =>
        IsInside(offset, length) && _file.TryRead(_offset + offset, into, length);

    protected override bool TryWriteCore(long offset, IReadOnlyList<Memory<byte>> from, long length) =>
        !OpenedReadOnly && IsInside(offset, length) && (_looksLikeImage == null || offset >= 512) && _file.TryWrite(_offset + offset, from, length);

    private bool IsInside(long offset, long length) => offset >= 0 && length >= 0 && offset <= _length - length;

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckRange(offset, from.Length);
        CheckWritable();
        if (_looksLikeImage != null && offset < 512 && !from.IsEmpty)
            CheckFirstSector(offset, from);
        _file.OnStep("write_aio");
        _file.Write(_offset + offset, from);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckRange(offset, length);
        CheckWritable();
        _file.WriteZeroes(_offset + offset, length, mayUnmap);
    }

    protected override void DiscardCore(long offset, long length)
    {
        CheckRange(offset, length);
        CheckWritable();
        _file.Discard(_offset + offset, length);
    }

    public override void Flush()
    {
        _file.OnStep("flush_to_os");
        _file.OnStep("flush_to_disk");
        _file.Flush();
    }

    public override void OnStep(string name) => _file.OnStep(name);

    public override BlockStatus Status(long offset, long length)
    {
        var status = _file.Status(_offset + offset, length);
        return status with { HostOffset = _offset + offset };
    }

    protected override void ResizeCore(long length)
    {
        if (_fixed)
            throw new BlockException(BlockError.NotSupported, "Cannot resize fixed-size raw disks");
        _file.Resize(_offset + length);
        _length = length;
    }

    public override void Reopen(bool readOnly)
    {
        _file.Reopen(readOnly);
        OpenedReadOnly = readOnly;
    }

    protected override void Dispose(bool disposing) => _file.Release();

    private void CheckFirstSector(long offset, ReadOnlySpan<byte> from)
    {
        var sector = new byte[512];
        ReadPadded(0, sector);
        var n = (int)Math.Min(512 - offset, from.Length);
        from[..n].CopyTo(sector.AsSpan((int)offset));
        if (_looksLikeImage!(sector))
            throw new BlockException(BlockError.NotPermitted);
    }
}
