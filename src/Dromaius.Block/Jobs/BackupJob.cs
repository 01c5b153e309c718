using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary><c>drive-backup</c> and <c>blockdev-backup</c>: what the guest overwrites is copied first.</summary>
internal sealed class BackupJob : BlockJob
{
    private const int MinCluster = 65536;
    private readonly BlockBackend _backend;
    private readonly BlockNode _source, _target;
    private readonly SyncMode _sync;
    private readonly bool _compress;
    private readonly int _cluster;
    private readonly JobFilterNode _filter;
    private readonly object _lock = new();
    private readonly HashSet<long> _inFlight = [];
    private readonly ulong[] _copied;
    private BlockException? _failure;
    private readonly DirtyBitmap? _bitmap;
    private readonly BitmapMode _bitmapMode;
    private readonly byte[]? _wasDirty;

    /// <summary>What was never to be copied.</summary>
    private readonly ulong[]? _clean;
    private bool _ended;

    public BackupJob(BlockGraph graph, string id, BlockBackend backend, BlockNode target, BackupScope scope, bool compress)
        : base(graph, id, "backup")
    {
        var sync = scope.Sync;
        (_bitmap, _bitmapMode) = (scope.Bitmap, scope.BitmapMode);
        _backend = backend;
        _source = backend.Node!;
        _target = target;
        _sync = sync;
        _compress = compress && target.CanCompress;
        _cluster = Math.Max(MinCluster, target.ClusterSize);
        Total = _source.Length;
        _copied = new ulong[(_source.Length + _cluster * 64L - 1) / (_cluster * 64L) + 1];
        _filter = new JobFilterNode(_source) { BeforeWrite = CopyBeforeWrite };
        backend.ReplaceNode(_filter);
        if (_bitmap == null)
            return;
        // What is written from now on belongs to the next backup.
        _bitmap.IsBusy = true;
        _bitmap.TakenBytes = _bitmap.DirtyBytes;
        _wasDirty = _bitmap.TakeAll();
        if (sync == SyncMode.Bitmap)
        {
            SkipClean(_bitmap.GranularityBits, _wasDirty);
            _clean = [.. _copied];
            Total = 0;
            for (var c = 0L; c * _cluster < _source.Length; c++)
                Total += IsClean(c) ? 0 : LengthOf(c);
        }
    }

    private bool IsClean(long cluster) => _clean != null && (_clean[cluster >> 6] >> (int)(cluster & 63) & 1) != 0;

    private long LengthOf(long cluster) => Math.Min(_cluster, _source.Length - cluster * _cluster);

    protected override void Work()
    {
        var clusters = (_source.Length + _cluster - 1) / _cluster;
        if (_sync == SyncMode.None)
        {
            // Only what changes is copied, until somebody ends the job.
            while (true)
            {
                Checkpoint(0);
                Thread.Sleep(50);
                ThrowFailure();
            }
        }

        for (var c = 0L; c < clusters; c++)
        {
            Checkpoint(0);
            ThrowFailure();
            var at = c * _cluster;
            if (IsClean(c))
                continue;
            if (_sync == SyncMode.Top && !IsAllocated(at))
            {
                Total -= LengthOf(c);
                continue;
            }

            Try((ref bool isRead) => CopyCluster(c, ref isRead));
            Done += LengthOf(c);
            Checkpoint(_cluster);
        }

        ThrowFailure();
        _target.Flush();
    }

    protected override void Succeed() => Finish(success: true);

    protected override void Abandon() => Finish(success: false);

    private void Finish(bool success)
    {
        if (_ended)
            return;
        _ended = true;
        _backend.ReplaceNode(_source);
        GiveBackBitmap(success);
        _target.Release();
        Graph.Forget();
    }

    /// <summary>What the bitmap does not name needs no copy.</summary>
    private void SkipClean(int granularityBits, byte[] dirty)
    {
        Array.Fill(_copied, ulong.MaxValue);
        for (var bit = 0L; bit < dirty.Length * 8L; bit++)
        {
            if ((dirty[bit >> 3] >> (int)(bit & 7) & 1) == 0)
                continue;
            var start = bit << granularityBits;
            if (start >= _source.Length)
                break;
            var last = Math.Min(start + (1L << granularityBits), _source.Length) - 1;
            for (var c = start / _cluster; c <= last / _cluster; c++)
                _copied[c >> 6] &= ~(1UL << (int)(c & 63));
        }
    }

    /// <summary>Lets the bitmap say what the next backup has to copy.</summary>
    private void GiveBackBitmap(bool success)
    {
        if (_bitmap == null)
            return;
        _bitmap.IsBusy = false;
        _bitmap.TakenBytes = null;
        if (_bitmapMode == BitmapMode.Never || (_bitmapMode == BitmapMode.OnSuccess && !success))
            _bitmap.Merge(_wasDirty!, _bitmap.GranularityBits);
        else if (!success)
        {
            // Kept up to date whatever happened: what was not copied is still to be.
            for (var bit = 0L; bit < _bitmap.BitCount; bit++)
            {
                var start = bit << _bitmap.GranularityBits;
                var cluster = start / _cluster;
                if ((_wasDirty![bit >> 3] >> (int)(bit & 7) & 1) != 0 && (_copied[cluster >> 6] >> (int)(cluster & 63) & 1) == 0)
                    _bitmap.Mark(start, _bitmap.Granularity);
            }
        }
    }

    private void ThrowFailure()
    {
        if (_failure is { } e)
            throw new BlockException(e.Error, e.Message, e);
    }

    private bool IsAllocated(long at)
    {
        var end = Math.Min(at + _cluster, _source.Length);
        while (at < end)
        {
            var status = _source.Status(at, end - at);
            if (status.IsAllocated)
                return true;
            at += status.Length;
        }

        return false;
    }

    private void CopyBeforeWrite(long offset, long length)
    {
        if (length <= 0 || _failure != null)
            return;
        var isRead = true;
        try
        {
            for (var c = offset / _cluster; c <= (offset + length - 1) / _cluster; c++)
                CopyCluster(c, ref isRead);
        }
        catch (BlockException e)
        {
            // The guest's write goes on; the backup has failed.
            _failure = e;
        }
    }

    /// <summary>Copies a cluster unless that was done; one thread at a time each.</summary>
    private void CopyCluster(long cluster, ref bool isRead)
    {
        isRead = true;
        lock (_lock)
        {
            while (_inFlight.Contains(cluster))
                Monitor.Wait(_lock);
            if ((_copied[cluster >> 6] >> (int)(cluster & 63) & 1) != 0)
                return;
            _ = _inFlight.Add(cluster);
        }

        try
        {
            var at = cluster * _cluster;
            var length = (int)Math.Min(_cluster, _source.Length - at);
            var buffer = new byte[length];
            _source.Read(at, buffer);
            isRead = false;
            if (!buffer.AsSpan().ContainsAnyExcept((byte)0))
                _target.WriteZeroes(at, length, true);
            else if (_compress)
                _target.WriteCompressed(at, buffer);
            else
                _target.Write(at, buffer);
            lock (_lock)
                _copied[cluster >> 6] |= 1UL << (int)(cluster & 63);
        }
        finally
        {
            lock (_lock)
            {
                _ = _inFlight.Remove(cluster);
                Monitor.PulseAll(_lock);
            }
        }
    }
}
