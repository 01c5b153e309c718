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
    private bool _ended;

    public BackupJob(BlockGraph graph, string id, BlockBackend backend, BlockNode target, SyncMode sync, bool compress)
        : base(graph, id, "backup")
    {
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
    }

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
            if (_sync == SyncMode.Top && !IsAllocated(at))
            {
                Done = Math.Min(at + _cluster, Total);
                continue;
            }

            Try(true, () => CopyCluster(c));
            Done = Math.Min(at + _cluster, Total);
            Checkpoint(_cluster);
        }

        ThrowFailure();
        _target.Flush();
    }

    protected override void Succeed() => Finish();

    protected override void Abandon() => Finish();

    private void Finish()
    {
        if (_ended)
            return;
        _ended = true;
        _backend.ReplaceNode(_source);
        _target.Release();
        Graph.Forget();
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
        try
        {
            for (var c = offset / _cluster; c <= (offset + length - 1) / _cluster; c++)
                CopyCluster(c);
        }
        catch (BlockException e)
        {
            // The guest's write goes on; the backup has failed.
            _failure = e;
        }
    }

    /// <summary>Copies a cluster unless that was done; one thread at a time each.</summary>
    private void CopyCluster(long cluster)
    {
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
