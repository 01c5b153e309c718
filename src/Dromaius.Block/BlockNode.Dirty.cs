namespace Dromaius.Block;

/// <content>Who watches what is written: dirty bitmaps and the write threshold.</content>
public abstract partial class BlockNode
{
    private volatile DirtyBitmap[] _dirty = [];
    private long _writeThreshold, _writeHighest;

    /// <summary>What records writes to the node.</summary>
    public virtual IReadOnlyList<DirtyBitmap> DirtyBitmaps => _dirty;

    /// <summary>Offset behind which a write is told of, once; 0 for none.</summary>
    public long WriteThreshold
    {
        get => Interlocked.Read(ref _writeThreshold);
        set => _ = Interlocked.Exchange(ref _writeThreshold, value);
    }

    /// <summary>The end of the furthest write.</summary>
    public long WriteHighest => Interlocked.Read(ref _writeHighest);

    /// <summary>A write passed the threshold: the threshold, and by how much. Raised on the thread that writes.</summary>
    public event Action<BlockNode, long, long>? ThresholdPassed;

    /// <summary>A bitmap by name; throws when there is none or it cannot be used.</summary>
    public DirtyBitmap FindDirtyBitmap(string name, bool usable = true)
    {
        var bitmap = DirtyBitmaps.FirstOrDefault(b => b.Name == name) ?? throw new BlockException(BlockError.NoEntry, $"Dirty bitmap '{name}' not found");
        if (usable)
            bitmap.CheckUsable();
        return bitmap;
    }

    /// <summary>Begins to record writes.</summary>
    /// <param name="name">Of the bitmap.</param>
    /// <param name="granularity">Bytes a bit stands for; 0 for the usual.</param>
    /// <param name="persistent">Kept in the image.</param>
    /// <param name="recording">Writes set bits from now on.</param>
    public DirtyBitmap AddDirtyBitmap(string name, long granularity = 0, bool persistent = false, bool recording = true)
    {
        if (name.Length == 0)
            throw new BlockException(BlockError.Invalid, "Bitmap name cannot be empty");
        if (name.Length > 1023)
            throw new BlockException(BlockError.Invalid, "Bitmap name too long");
        if (DirtyBitmaps.Any(b => b.Name == name))
            throw new BlockException(BlockError.Exists, $"Bitmap already exists: {name}");
        if (granularity != 0 && (granularity < 512 || !long.IsPow2(granularity)))
            throw new BlockException(BlockError.Invalid, "Granularity must be power of 2 and at least 512");
        if (granularity == 0)
            granularity = ClusterSize > 0 ? Math.Clamp(ClusterSize, 4096, 65536) : 65536;
        if (granularity > 1L << 31)
            throw new BlockException(BlockError.Invalid, "Granularity is too large");
        var bitmap = persistent ? AddPersistentBitmap(name, granularity)
            : new DirtyBitmap(name, System.Numerics.BitOperations.Log2((ulong)granularity), Length, DirtyBitmap.NewBits(Length, granularity));
        bitmap.IsRecording = recording;
        Watch(bitmap);
        return bitmap;
    }

    public void RemoveDirtyBitmap(DirtyBitmap bitmap)
    {
        bitmap.CheckFree();
        if (bitmap.IsPersistent)
            RemovePersistentBitmap(bitmap);
        Unwatch(bitmap);
    }

    /// <summary>Puts a bitmap back that was taken out.</summary>
    internal void Watch(DirtyBitmap bitmap)
    {
        lock (this)
            _dirty = [bitmap, .. _dirty];
    }

    internal void Unwatch(DirtyBitmap bitmap)
    {
        lock (this)
            _dirty = [.. _dirty.Where(b => b != bitmap)];
    }

    protected virtual DirtyBitmap AddPersistentBitmap(string name, long granularity) =>
        throw new BlockException(BlockError.NotSupported, $"Can't store persistent bitmaps to {NodeName}: Operation not supported");

    protected virtual void RemovePersistentBitmap(DirtyBitmap bitmap)
    {
    }

    /// <summary>Throws when a bitmap could not follow the node to a size.</summary>
    private void CheckDirtyBitmaps(long length)
    {
        foreach (var bitmap in _dirty)
            DirtyBitmap.CheckSize(length, bitmap.Granularity);
    }

    /// <summary>Lets the bitmaps follow the size of the node.</summary>
    private void ResizeDirtyBitmaps(long length)
    {
        foreach (var bitmap in _dirty)
            bitmap.Resize(length);
    }

    /// <summary>A range changed.</summary>
    protected void MarkDirty(long offset, long length)
    {
        foreach (var bitmap in _dirty)
        {
            if (bitmap.IsRecording)
                bitmap.Mark(offset, length);
        }
    }

    private void OnWritten(long offset, long length)
    {
        var end = offset + length;
        for (var seen = WriteHighest; end > seen;)
        {
            var was = Interlocked.CompareExchange(ref _writeHighest, end, seen);
            if (was == seen)
                break;
            seen = was;
        }

        if (_dirty.Length > 0)
            MarkDirty(offset, length);
        var threshold = WriteThreshold;
        if (threshold > 0 && end > threshold && Interlocked.CompareExchange(ref _writeThreshold, 0, threshold) == threshold)
            ThresholdPassed?.Invoke(this, threshold, end - threshold);
    }
}
