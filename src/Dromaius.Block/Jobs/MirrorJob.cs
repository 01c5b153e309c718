using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary>
/// <c>drive-mirror</c>, <c>blockdev-mirror</c> and <c>block-commit</c> of the active image: copies, goes on to copy what the guest
/// writes, and on completion the guest uses the target.
/// </summary>
internal sealed class MirrorJob : BlockJob
{
    private const int MinGranularity = 65536, MinPiece = 1 << 20;

    // The target's clusters are written whole: it may get what is behind them only in the end.
    private readonly int _granularity, _piece;
    private readonly BlockBackend _backend;
    private readonly BlockNode _source, _target;
    private readonly SyncMode _sync;
    private readonly BlockNode? _base;
    private readonly JobFilterNode _filter;
    private readonly ulong[] _dirty;
    private readonly Lock _dirtyLock = new();
    private long _dirtyCount;
    private bool _ended;

    /// <param name="graph">The graph.</param>
    /// <param name="id">Of the job.</param>
    /// <param name="type">What it is called.</param>
    /// <param name="backend">The drive.</param>
    /// <param name="target">Where to; becomes the backend's.</param>
    /// <param name="sync">What to copy.</param>
    /// <param name="below">For a commit: the layer to copy down to, which is the target.</param>
    /// <param name="unit">How much is copied anew after a write, and how much at once at most; null for the usual.</param>
    public MirrorJob(BlockGraph graph, string id, string type, BlockBackend backend, BlockNode target, SyncMode sync, BlockNode? below, MirrorUnit? unit = null)
        : base(graph, id, type)
    {
        _backend = backend;
        _source = backend.Node!;
        _target = target;
        _sync = sync;
        _base = below;
        var least = unit?.Granularity is { } given and > 0 ? (int)given : MinGranularity;
        _granularity = target is IBackingChange ? Math.Max(least, target.ClusterSize) : least;
        _piece = Math.Max(unit?.Buffer is { } buffer and > 0 ? (int)Math.Min(MinPiece, buffer) : MinPiece, _granularity) / _granularity * _granularity;
        _dirty = new ulong[(_source.Length + _granularity * 64L - 1) / (_granularity * 64L) + 1];
        _filter = new JobFilterNode(_source) { AfterWrite = MarkDirty };
        if (below != null)
        {
            _ = below.Retain();
            below.Reopen(false);
            if (below.Length < _source.Length)
                below.Resize(_source.Length);
        }

        backend.ReplaceNode(_filter);
    }

    /// <summary>What the target has behind it when it takes the disk's place.</summary>
    public MirrorBacking Backing { get; init; }

    protected override void Work()
    {
        // Both count in sectors.
        if (_base == null && (_target.Length + 511) >> 9 != (_source.Length + 511) >> 9)
            throw new BlockException(BlockError.Invalid, "Source and target image have different sizes");
        if (_sync != SyncMode.None)
            MarkSource();
        CountTotal();
        var buffer = new byte[_piece];
        while (true)
        {
            while (TakeDirty() is { } run)
            {
                Checkpoint(0);
                CopyRun(run.Start, run.Length, buffer);
                Done += run.Length;
                CountTotal();
                Checkpoint(run.Length);
            }

            _target.Flush();
            if (CompleteAsked)
                return;
            WaitReady(() => Volatile.Read(ref _dirtyCount) > 0);
        }
    }

    protected override void PrepareCompletion()
    {
        if (Backing == MirrorBacking.OfTarget)
            Graph.OpenBacking(_target);
    }

    protected override void Succeed()
    {
        // Nothing is written while the rest is copied: requests wait for the machine lock that is held here.
        _backend.Drain();
        var buffer = new byte[_piece];
        while (TakeDirty() is { } run)
        {
            CopyRun(run.Start, run.Length, buffer);
            Done += run.Length;
        }

        CountTotal();
        _target.Flush();
        if (Backing == MirrorBacking.OfSource && _target is IBackingChange { } image && _target.Backing == null)
            image.SetBacking((_sync == SyncMode.None ? _source : _sync == SyncMode.Top ? _source.Backing : null)?.Retain());
        _ended = true;
        _backend.ReplaceNode(_target);
        _filter.Release();
        Graph.Forget();
    }

    protected override void Abandon()
    {
        if (_ended)
            return;
        _ended = true;
        _backend.ReplaceNode(_source);
        if (_base != null && !_target.IsReadOnly)
            _target.Reopen(true);
        _target.Release();
        Graph.Forget();
    }

    /// <summary>What is done and what is known to be left.</summary>
    private void CountTotal()
    {
        lock (_dirtyLock)
            Total = Done + _dirtyCount * _granularity;
    }

    private void CopyRun(long start, long length, byte[] buffer)
    {
        length = Math.Min(length, _source.Length - start);
        if (length > 0)
            Try((ref bool isRead) => Mirroring.Copy(_source, _target, start, (int)length, buffer, false, ref isRead));
    }

    /// <summary>What has to be copied at first.</summary>
    private void MarkSource()
    {
        var end = _base ?? (_sync == SyncMode.Top ? _source.Backing : null);
        for (var at = 0L; at < _source.Length;)
        {
            var status = ChainStatus.Get(_source, end, at, _source.Length - at);
            // A fresh target need not be zero: zeroes are copied, too.
            if (status.IsAllocated || end == null)
                MarkDirty(at, status.Length);
            at += status.Length;
        }
    }

    private void MarkDirty(long offset, long length)
    {
        if (length <= 0)
            return;
        lock (_dirtyLock)
        {
            for (var bit = offset / _granularity; bit <= (offset + length - 1) / _granularity && bit < _dirty.Length * 64L; bit++)
            {
                ref var word = ref _dirty[bit >> 6];
                if ((word >> (int)(bit & 63) & 1) == 0)
                    _dirtyCount++;
                word |= 1UL << (int)(bit & 63);
            }
        }
    }

    /// <summary>Takes the first run of dirty granules, up to a piece; they count as clean from now on.</summary>
    private (long Start, long Length)? TakeDirty()
    {
        lock (_dirtyLock)
        {
            if (_dirtyCount == 0)
                return null;
            var index = Array.FindIndex(_dirty, static w => w != 0);
            var first = index * 64L + System.Numerics.BitOperations.TrailingZeroCount(_dirty[index]);
            var bit = first;
            while (bit < _dirty.Length * 64L && bit - first < _piece / _granularity && (_dirty[bit >> 6] >> (int)(bit & 63) & 1) != 0)
            {
                _dirty[bit >> 6] &= ~(1UL << (int)(bit & 63));
                _dirtyCount--;
                bit++;
            }

            return (first * _granularity, (bit - first) * _granularity);
        }
    }
}
