using Dromaius.Core.Storage;

namespace Dromaius.Block.Host;

/// <summary>How a host file is opened.</summary>
public sealed record HostFileOptions
{
    public bool ReadOnly { get; init; }

    /// <summary>Falls back to read-only when the host does not let us write.</summary>
    public bool AutoReadOnly { get; init; }

    /// <summary>Past the host's page cache.</summary>
    public bool Direct { get; init; }

    /// <summary>Flushes do nothing (<c>cache=unsafe</c>).</summary>
    public bool NoFlush { get; init; }

    /// <summary>Other programs may write at the same time.</summary>
    public bool ShareWrite { get; init; }

    /// <summary>Neither takes nor checks locks that a writer would mind (<c>force-share</c>).</summary>
    public bool ForceShare { get; init; }

    /// <summary>A graph says what the file is used for, once it is in there.</summary>
    public bool LocksLater { get; init; }
    public bool Locking { get; init; } = true;
    public bool Discard { get; init; }
}

/// <summary>A regular file or a block device of the host.</summary>
public sealed class HostFileNode : BlockNode
{
    private readonly HostFileOptions _options;
    private readonly string _path;
    private readonly bool _isDevice;
    private bool _disposed;
    private readonly Lock _extentLock = new();
    private readonly List<HostDisk> _retired = [];
    private volatile HostDisk _disk;
    private volatile bool _readOnly;
    private ImagePermissions _held, _shared = ImagePermissions.All;
    private long _length;
    private long _dataStart, _dataEnd;

    public HostFileNode(string path, HostFileOptions options)
    {
        _path = path;
        _options = options;
        AllowsDiscard = options.Discard;
        var mode = options.ReadOnly;
        _disk = OpenDisk(ref mode);
        _readOnly = mode;
        _isDevice = _disk.IsBlockDevice;
        _length = BlockException.Check(_disk.Length());
    }

    public override string Driver => _isDevice ? "host_device" : "file";
    public override string FileName => _path;
    public override long Length => Volatile.Read(ref _length);
    public override bool IsReadOnly => _readOnly;
    public override long AllocatedSize => _disk.AllocatedBytes();
    public bool IsDirect => _options.Direct;
    public bool NoFlush => _options.NoFlush;

    /// <summary>For copies inside the host.</summary>
    internal HostDisk Disk => _disk;

    public override void Read(long offset, Span<byte> into)
    {
        if (offset < 0)
            throw new BlockException(BlockError.Invalid, "Request outside the image");
        var n = _disk.Read(offset, into);
        if (n < 0)
            throw new BlockException((BlockError)(-n));
        if (n == into.Length)
            return;
        // A file shorter than the last block of an image reads as zeroes there.
        if (offset + n < Length)
            throw new BlockException(BlockError.Io);
        if (offset > Length - into.Length)
            throw new BlockException(BlockError.Invalid, "Request outside the image");
        into[(int)n..].Clear();
    }

    public override bool TryRead(long offset, IReadOnlyList<Memory<byte>> into, long length) =>
        !IsDirect && offset >= 0 && offset <= Length - length && _disk.Read(offset, into) == length;

    protected override bool TryWriteCore(long offset, IReadOnlyList<Memory<byte>> from, long length)
    {
        if (IsDirect || IsReadOnly || offset < 0 || (_isDevice && offset > Length - length))
            return false;
        ForgetExtent();
        if (_disk.Write(offset, from) != length)
            return false;
        Grow(offset + length);
        return true;
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckWritable();
        if (offset < 0 || (_isDevice && offset > Length - from.Length))
            throw new BlockException(BlockError.Invalid, "Request outside the image");
        ForgetExtent();
        _ = BlockException.Check(_disk.Write(offset, from));
        Grow(offset + from.Length);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckWritable();
        if (length <= 0)
            return;
        ForgetExtent();
        if (!_isDevice && offset + length > Length)
        {
            // Growing the file makes zeroes without writing them. Others may make it grow further meanwhile: its last byte does it.
            var old = Length;
            _ = BlockException.Check(_disk.Write(offset + length - 1, [0]));
            Grow(offset + length);
            length = Math.Max(old - offset, 0);
            if (length == 0)
                return;
        }

        if (mayUnmap && AllowsDiscard && _disk.PunchHole(offset, length) == 0)
            return;
        if (_disk.ZeroRange(offset, length) == 0)
            return;
        base.WriteZeroesCore(offset, length, mayUnmap);
    }

    protected override void DiscardCore(long offset, long length)
    {
        if (!AllowsDiscard || _readOnly)
            return;
        length = Math.Min(length, Length - offset);
        if (length <= 0)
            return;
        ForgetExtent();
        _ = _disk.PunchHole(offset, length);
    }

    public override void Flush()
    {
        if (!_options.NoFlush && !_readOnly)
            _ = BlockException.Check(_disk.Sync());
    }

    public override BlockStatus Status(long offset, long length)
    {
        var end = Length;
        if (offset >= end)
            return new BlockStatus(length, true, true, offset);
        length = Math.Min(length, end - offset);
        lock (_extentLock)
        {
            if (offset >= _dataStart && offset < _dataEnd)
                return new BlockStatus(Math.Min(length, _dataEnd - offset), true, false, offset);
            var data = _disk.SeekData(offset);
            if (data == -6) // ENXIO: nothing but a hole up to the end
                return new BlockStatus(length, true, true, offset);
            if (data < 0)
                return new BlockStatus(length, true, false, offset);
            if (data > offset)
                return new BlockStatus(Math.Min(length, data - offset), true, true, offset);
            var hole = _disk.SeekHole(offset);
            if (hole <= offset)
                return new BlockStatus(length, true, false, offset);
            (_dataStart, _dataEnd) = (offset, hole);
            return new BlockStatus(Math.Min(length, hole - offset), true, false, offset);
        }
    }

    /// <summary>File systems make holes.</summary>
    public override bool ZeroesFast => true;

    protected override void ResizeCore(long length)
    {
        CheckWritable();
        if (_isDevice)
        {
            if (length > Length)
                throw new BlockException(BlockError.Invalid, "Cannot grow device files");
            return;
        }

        ForgetExtent();
        _ = BlockException.Check(_disk.Truncate(length));
        Volatile.Write(ref _length, length);
    }

    /// <summary>Sets host storage aside for a range.</summary>
    public void Preallocate(long offset, long length)
    {
        ForgetExtent();
        _ = BlockException.Check(_disk.Preallocate(offset, length));
        Grow(offset + length);
    }

    public override void Reopen(bool readOnly)
    {
        if (readOnly == _readOnly)
            return;
        var old = _disk;
        var mode = readOnly;
        _disk = OpenDisk(ref mode, exact: true, old);
        _readOnly = mode;
        // Transfers under way may still be about to use it.
        _retired.Add(old);
    }

    protected override void Dispose(bool disposing)
    {
        _disposed = true;
        // A child process that is being started holds the file for a moment, and the locks with it, unless they are given back.
        if (_options.Locking)
            ImageLock.Release(_disk);
        _disk.Dispose();
        foreach (var disk in _retired)
            disk.Dispose();
    }

    private HostDisk OpenDisk(ref bool readOnly, bool exact = false, HostDisk? replaced = null)
    {
        var direct = _options.Direct ? HostDiskFlags.Direct : 0;
        var disk = HostDisk.Open(_path, direct | (readOnly ? 0 : HostDiskFlags.Write), out var error);
        if (disk == null && !readOnly && !exact && _options.AutoReadOnly && error is 13 or 1 or 30)
        {
            readOnly = true;
            disk = HostDisk.Open(_path, direct, out error);
        }

        if (disk == null && error == 22 && direct != 0)
            throw new BlockException(BlockError.Invalid, $"Could not open '{_path}': filesystem does not support O_DIRECT");
        if (disk == null)
            throw new BlockException((BlockError)error, $"Could not open '{_path}': {HostDisk.Explain(error)}");
        if (disk.IsDirectory)
        {
            disk.Dispose();
            throw new BlockException(BlockError.Invalid, $"'file' driver requires '{_path}' to be a regular file");
        }

        try
        {
            if (replaced != null)
                ImageLock.Release(replaced);
            Lock(disk, readOnly);

            return disk;
        }
        catch (BlockException)
        {
            disk.Dispose();
            if (replaced != null)
                ImageLock.Acquire(replaced, _held, _shared);
            throw;
        }
    }

    private bool Locks => _options.Locking && !_options.ForceShare;

    private void Lock(HostDisk disk, bool readOnly)
    {
        if (!Locks)
            return;
        const ImagePermissions change = ImagePermissions.Write | ImagePermissions.Resize;
        var (held, shared) = _options.LocksLater
            ? (readOnly ? _held & ~change : _held, _shared)
            : (ImagePermissions.ConsistentRead | (readOnly ? 0 : change),
                _options.ShareWrite ? ImagePermissions.All : ImagePermissions.ConsistentRead | ImagePermissions.WriteUnchanged);
        ImageLock.Acquire(disk, held, shared);
        (_held, _shared) = (held, shared);
    }

    /// <summary>Takes the locks that other uses need, beside those that are held; throws when another program minds.</summary>
    internal void PrepareLocks(ImagePermissions held, ImagePermissions shared)
    {
        if (!Locks || (held == _held && shared == _shared))
            return;
        try
        {
            ImageLock.Acquire(_disk, held | _held, shared & _shared);
        }
        catch (BlockException)
        {
            KeepLocks();
            throw;
        }
    }

    /// <summary>Gives back what was prepared.</summary>
    internal void KeepLocks()
    {
        if (Locks)
            ImageLock.Reduce(_disk, _held, _shared);
    }

    /// <summary>Keeps only the locks for what was prepared.</summary>
    internal void CommitLocks(ImagePermissions held, ImagePermissions shared)
    {
        if (!Locks || (held == _held && shared == _shared))
            return;
        ImageLock.Reduce(_disk, held, shared);
        (_held, _shared) = (held, shared);
    }

    private void ForgetExtent()
    {
        if (_disposed)
            throw new BlockException(BlockError.Io, "The file is closed");
        lock (_extentLock)
            _dataEnd = 0;
    }

    private void Grow(long end)
    {
        var seen = Volatile.Read(ref _length);
        while (end > seen)
        {
            var now = Interlocked.CompareExchange(ref _length, end, seen);
            if (now == seen)
                break;
            seen = now;
        }
    }
}
