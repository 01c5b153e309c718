using System.Buffers;
using System.Diagnostics;
using Dromaius.Block.Host;
using Dromaius.Core.Time;

namespace Dromaius.Block;

/// <summary>What happens to the guest when a transfer fails (<c>rerror=</c>, <c>werror=</c>).</summary>
public enum ErrorPolicy
{
    /// <summary>The guest sees the error.</summary>
    Report,

    /// <summary>The guest sees success.</summary>
    Ignore,

    /// <summary>The machine stops and the transfer is tried again when it goes on.</summary>
    Stop,

    /// <summary>Stop when the host is out of space, report otherwise.</summary>
    StopOnNoSpace,
}

/// <summary>Counts since the start, for <c>query-blockstats</c>.</summary>
public sealed class BlockStatistics
{
    public long ReadBytes { get; internal set; }
    public long ReadOperations { get; internal set; }
    public long WriteBytes { get; internal set; }
    public long WriteOperations { get; internal set; }
    public long FlushOperations { get; internal set; }

    /// <summary>Nanoseconds that transfers took from the device's request to its completion, one after the other.</summary>
    public long ReadTime { get; internal set; }
    public long WriteTime { get; internal set; }
    public long FlushTime { get; internal set; }
    public long UnmapTime { get; internal set; }
    public long UnmapBytes { get; internal set; }
    public long UnmapOperations { get; internal set; }
    public long FailedReads { get; internal set; }
    public long FailedWrites { get; internal set; }
    public long WriteHighest { get; internal set; }

    /// <summary>Nanoseconds since the last transfer ended; null when there was none.</summary>
    public long? IdleTime => _lastEnd == 0 ? null : Since(_lastEnd);

    private long _lastEnd;

    /// <summary>A transfer that began at a <see cref="Stopwatch"/> timestamp has ended; gives the nanoseconds between.</summary>
    internal long End(long started)
    {
        _lastEnd = Stopwatch.GetTimestamp();
        return Since(started);
    }

    private static long Since(long timestamp) => (long)Stopwatch.GetElapsedTime(timestamp).TotalNanoseconds;
}

/// <summary>
/// The device's end of a drive: a medium that can be changed, and requests that complete under the machine lock. Every member is
/// used under it.
/// </summary>
public sealed class BlockBackend : IDisposable
{
    private const long MaxGathered = 4 << 20;
    private readonly EventLoop _loop;
    private readonly List<BlockRequest> _inFlight = [];
    private readonly List<BlockRequest> _held = [];
    private readonly object _busy = new();

    /// <summary>Reads, and everything else, that wait for their turn: a limit of one does not hold back the other.</summary>
    private readonly Queue<BlockRequest>[] _throttled = [new(), new()];
    private readonly object _copying = new();
    private readonly Core.Time.Timer?[] _throttleTimers = new Core.Time.Timer?[2];
    private ThrottleGroup? _throttle;
    private int _serving;
    private bool _readOnly;
    private bool _isClaimed;

    public BlockBackend(string id, EventLoop loop, BlockNode? node = null)
    {
        Id = Name = id;
        _loop = loop;
        Node = node;
    }

    /// <summary>The drive's id, as <c>-drive id=</c> or <c>-blockdev node-name=</c> gives it.</summary>
    public string Id { get; }

    /// <summary>The medium; null if there is none.</summary>
    public BlockNode? Node { get; private set; }

    public bool HasMedium => Node != null;
    public long Length => Node?.Length ?? 0;
    public bool IsReadOnly => _readOnly || (Node?.IsReadOnly ?? false);

    /// <summary>The guest sees a volatile write cache: only flushes make writes durable. Otherwise each write is.</summary>
    public bool WriteCache { get; set; } = true;

    public ErrorPolicy OnReadError { get; set; } = ErrorPolicy.Report;
    public ErrorPolicy OnWriteError { get; set; } = ErrorPolicy.StopOnNoSpace;
    public BlockStatistics Statistics { get; } = new();

    /// <summary>The device that uses it (its id or path), or null; for listings.</summary>
    public string? DeviceName { get; set; }

    /// <summary>The name that users gave the drive; empty for one that belongs to a device.</summary>
    public string Name { get; init; }

    /// <summary>Made for a job on a node that no device has.</summary>
    internal bool IsOfJob { get; init; }

    /// <summary>What the device does with the medium.</summary>
    internal ImagePermissions Held => !_isClaimed ? 0 : ImagePermissions.ConsistentRead | (IsReadOnly ? 0 : ImagePermissions.Write);

    /// <summary>What others may do with it meanwhile.</summary>
    internal ImagePermissions Shared { get; private set; } = ImagePermissions.All;

    /// <summary>A device begins to use the drive.</summary>
    /// <param name="shareWrite">Others may write to the medium (<c>share-rw=on</c>).</param>
    /// <param name="isResizable">Others may change its size.</param>
    public void Claim(bool shareWrite, bool isResizable)
    {
        _isClaimed = true;
        Shared = ImagePermissions.ConsistentRead | ImagePermissions.WriteUnchanged | (shareWrite ? ImagePermissions.Write : 0)
            | (isResizable ? ImagePermissions.Resize : 0);
    }

    /// <summary>The device is gone.</summary>
    public void Unclaim()
    {
        _isClaimed = false;
        Shared = ImagePermissions.All;
        DeviceName = null;
    }

    /// <summary>The device's medium can be changed.</summary>
    public bool IsRemovable { get; set; }

    /// <summary>The device has a tray (CD-ROM).</summary>
    public bool HasTray { get; set; }

    /// <summary>The tray is out, by the guest's or the user's hand.</summary>
    public bool IsTrayOpen { get; set; }

    /// <summary>Raised on the event loop after the medium was taken out, put in, changed or resized.</summary>
    public event Action? MediumChanged;

    /// <summary>Somebody asks the device to let the medium out (a locked tray); the guest may answer by ejecting.</summary>
    public event Action? EjectRequested;

    /// <summary>A transfer failed: what, why, and what is done about it. Raised on the event loop.</summary>
    public event Action<BlockBackend, BlockOperation, BlockError, ErrorPolicy>? Failed;

    /// <summary>The guest locked the tray (CD-ROM).</summary>
    public bool IsTrayLocked { get; set; }

    /// <summary>Transfers under way or held back.</summary>
    public int InFlight => _inFlight.Count;

    /// <summary>Limits of the transfers, perhaps shared with other drives; null for none.</summary>
    public ThrottleGroup? Throttle
    {
        get => _throttle;
        set
        {
            _throttle = value;
            for (var i = 0; i < _throttled.Length; i++)
            {
                var direction = i;
                _throttleTimers[i]?.Cancel();
                _throttleTimers[i] = value?.Clock.CreateTimer(() => RunThrottled(direction));
                RunThrottled(i);
            }
        }
    }

    /// <summary>What is read from a backing image is stored in the top one. Transfers take turns then.</summary>
    public bool CopyOnRead { get; set; }

    /// <summary>The error that stopped the machine, until it goes on; <see cref="BlockError.None"/> otherwise.</summary>
    public BlockError StoppedBy { get; private set; }

    /// <summary>Starts a transfer. Bad ranges, no medium and read-only media complete with an error, never throw.</summary>
    public void Submit(BlockRequest request)
    {
        request.Cancelled = false;
        request.Started = Stopwatch.GetTimestamp();
        _inFlight.Add(request);
        if (_throttle == null || request.Operation == BlockOperation.Flush)
        {
            Start(request);
            return;
        }

        var direction = DirectionOf(request);
        _throttled[direction].Enqueue(request);
        RunThrottled(direction);
    }

    private static int DirectionOf(BlockRequest request) => request.Operation == BlockOperation.Read ? 0 : 1;

    /// <summary>Starts what the limits allow, in order.</summary>
    private void RunThrottled(int direction)
    {
        var queue = _throttled[direction];
        while (queue.TryPeek(out var request))
        {
            if (_throttle is { } throttle)
            {
                var isWrite = direction != 0;
                var wait = throttle.WaitFor(isWrite);
                if (wait > 0)
                {
                    _throttleTimers[direction]!.Arm(throttle.Clock.Now + wait);
                    return;
                }

                throttle.Count(isWrite, request.Length);
            }

            _ = queue.Dequeue();
            Start(request);
        }
    }

    /// <summary>Takes a request out of those that wait for their turn.</summary>
    private bool TakeThrottled(BlockRequest request)
    {
        var queue = _throttled[DirectionOf(request)];
        if (!queue.Contains(request))
            return false;
        for (var n = queue.Count; n > 0; n--)
        {
            if (queue.Dequeue() is var other && other != request)
                queue.Enqueue(other);
        }

        return true;
    }

    /// <summary>
    /// Waits until a transfer no longer touches its segments, and drops its completion (device reset). Call it on the event loop or
    /// a vCPU, under the machine lock; it does not need the lock to make progress.
    /// </summary>
    public void Cancel(BlockRequest request)
    {
        if (!_inFlight.Remove(request) || _held.Remove(request) || TakeThrottled(request))
            return;
        request.Cancelled = true;
        request.Drops++;
        lock (_busy)
        {
            while (request.IsServed)
                Monitor.Wait(_busy);
        }
    }

    /// <summary>Waits until no transfer touches the medium; completions may still have to be delivered.</summary>
    public void Drain()
    {
        lock (_busy)
        {
            while (_serving > 0)
                Monitor.Wait(_busy);
        }
    }

    /// <summary>Tries again what was held back because of errors; called when the machine goes on.</summary>
    public void Resume()
    {
        var held = _held.ToArray();
        StoppedBy = BlockError.None;
        _held.Clear();
        foreach (var request in held)
            Start(request);
    }

    /// <summary>Changes the medium; null takes it out. The backend owns the new one and gives up the old one.</summary>
    public void SetMedium(BlockNode? node, bool readOnly = false)
    {
        var old = Node;
        if (old != null && old != node)
            Drain();
        Node = node;
        _readOnly = readOnly;
        if (old != null && old != node)
            old.Release();
        MediumChanged?.Invoke();
    }

    /// <summary>Puts another node in the place of this one without the guest noticing (jobs, snapshots).</summary>
    public void ReplaceNode(BlockNode node)
    {
        Drain();
        Node = node;
    }

    /// <summary>Tells the device that the size changed.</summary>
    public void NotifyResized() => MediumChanged?.Invoke();

    public void RequestEject() => EjectRequested?.Invoke();

    public void Dispose()
    {
        Drain();
        var node = Node;
        Node = null;
        node?.Release();
    }

    private void Start(BlockRequest request)
    {
        request.Node = Node;
        request.Backend = this;
        lock (_busy)
        {
            _serving++;
            request.IsServed = true;
        }

        IoThreads.Run(request.Work ??= request.Serve);
    }

    /// <summary>Does a transfer, on an I/O thread.</summary>
    internal void Serve(BlockRequest request)
    {
        var error = BlockError.None;
        try
        {
            if (request.Node == null)
                error = BlockError.NoMedium;
            else if (request.Cancelled)
                error = BlockError.Cancelled;
            else if ((_readOnly || request.Node.IsReadOnly) && request.Operation is not (BlockOperation.Read or BlockOperation.Flush))
                error = BlockError.ReadOnly;
            else if (CopyOnRead)
            {
                // A write in between would be overwritten with what was there before.
                lock (_copying)
                {
                    Transfer(request.Node, request);
                    if (request.Operation == BlockOperation.Read)
                        CopyUp(request.Node, request);
                }
            }
            else
                Transfer(request.Node, request);
        }
        catch (BlockException e)
        {
            error = e.Error == BlockError.None ? BlockError.Io : e.Error;
        }
        catch (Exception)
        {
            // Whatever a damaged image led to: the guest sees a bad sector, the host goes on.
            error = BlockError.Io;
        }

        request.Error = error;
        lock (_busy)
        {
            _serving--;
            request.IsServed = false;
            Monitor.PulseAll(_busy);
        }

        // The event loop's thread need not be woken when the machine can be had at once.
        if (error == BlockError.None && _loop.IsRunning && _loop.MachineLock.TryEnter())
        {
            try
            {
                Finish(request);
            }
            finally
            {
                _loop.MachineLock.Exit();
            }

            return;
        }

        _loop.Post(request.Done ??= request.Finish);
    }

    /// <summary>Delivers an outcome, under the machine lock.</summary>
    internal void Finish(BlockRequest request)
    {
        if (request.Drops > 0)
        {
            request.Drops--;
            return;
        }

        if (request.Error != BlockError.None && !Settle(request))
            return;
        Count(request);
        if (_inFlight.Remove(request))
            request.Completed(request);
    }

    /// <summary>Applies the error policy; false when the transfer is held back.</summary>
    private bool Settle(BlockRequest request)
    {
        if (request.Error is BlockError.NoMedium or BlockError.Invalid)
            return true;
        var isRead = request.Operation == BlockOperation.Read;
        var policy = isRead ? OnReadError : OnWriteError;
        if (policy == ErrorPolicy.StopOnNoSpace)
            policy = request.Error == BlockError.NoSpace ? ErrorPolicy.Stop : ErrorPolicy.Report;
        if (policy == ErrorPolicy.Stop && Failed == null)
            policy = ErrorPolicy.Report;
        if (policy == ErrorPolicy.Stop)
            StoppedBy = request.Error;
        Failed?.Invoke(this, request.Operation, request.Error, policy);
        if (policy == ErrorPolicy.Ignore)
            request.Error = BlockError.None;
        if (policy != ErrorPolicy.Stop)
            return true;
        _held.Add(request);
        return false;
    }

    private void Count(BlockRequest request)
    {
        var failed = request.Error != BlockError.None;
        var time = Statistics.End(request.Started);
        switch (request.Operation)
        {
            case BlockOperation.Read:
                Statistics.ReadTime += time;
                if (failed)
                {
                    Statistics.FailedReads++;
                    break;
                }

                Statistics.ReadOperations++;
                Statistics.ReadBytes += request.Length;
                break;
            case BlockOperation.Write or BlockOperation.WriteZeroes:
                Statistics.WriteTime += time;
                if (failed)
                {
                    Statistics.FailedWrites++;
                    break;
                }

                Statistics.WriteOperations++;
                Statistics.WriteBytes += request.Length;
                Statistics.WriteHighest = Math.Max(Statistics.WriteHighest, request.Offset + request.Length);
                break;
            case BlockOperation.Flush:
                Statistics.FlushOperations++;
                Statistics.FlushTime += time;
                break;
            default:
                Statistics.UnmapOperations++;
                Statistics.UnmapTime += time;
                Statistics.UnmapBytes += request.Length;
                break;
        }
    }

    private void Transfer(BlockNode node, BlockRequest request)
    {
        var offset = request.Offset;
        switch (request.Operation)
        {
            case BlockOperation.Read when IsScattered(request):
                Gathered(node, request, isWrite: false);
                break;
            case BlockOperation.Read:
                foreach (var segment in request.Segments)
                {
                    node.Read(offset, segment.Span);
                    offset += segment.Length;
                }

                break;
            case BlockOperation.Write:
                if (IsScattered(request))
                    Gathered(node, request, isWrite: true);
                else
                {
                    foreach (var segment in request.Segments)
                    {
                        WriteDetecting(node, offset, segment.Span);
                        offset += segment.Length;
                    }
                }

                if (request.ForceUnitAccess || !WriteCache)
                    node.Flush();
                break;
            case BlockOperation.Flush:
                node.Flush();
                break;
            case BlockOperation.Discard:
                if (request.Offset < 0 || request.Length < 0 || request.Offset > node.Length - request.Length)
                    throw new BlockException(BlockError.Invalid);
                node.Discard(request.Offset, request.Length);
                break;
            default:
                node.WriteZeroes(request.Offset, request.Length, request.MayUnmap && node.AllowsDiscard);
                if (!WriteCache)
                    node.Flush();
                break;
        }
    }

    /// <summary>Stores what was just read from below in the top image.</summary>
    private static void CopyUp(BlockNode node, BlockRequest request)
    {
        if (node.Backing == null || node.IsReadOnly)
            return;
        var offset = request.Offset;
        foreach (var segment in request.Segments)
        {
            for (var at = 0; at < segment.Length;)
            {
                var status = node.Status(offset + at, segment.Length - at);
                var n = (int)Math.Min(status.Length, segment.Length - at);
                if (!status.IsAllocated)
                {
                    // Guest memory may change meanwhile: what is stored comes from the image.
                    var copy = new byte[n];
                    node.Read(offset + at, copy);
                    node.WriteOrZero(offset + at, copy, mayUnmap: false);
                }

                at += n;
            }

            offset += segment.Length;
        }
    }

    /// <summary>Many small pieces: even copying them costs less than a call to the host for each.</summary>
    private static bool IsScattered(BlockRequest request) =>
        request.Segments.Count > 1 && request.Length is > 0 and <= MaxGathered && request.Length / request.Segments.Count < 65536;

    private static void Gathered(BlockNode node, BlockRequest request, bool isWrite)
    {
        var total = 0;
        foreach (var segment in request.Segments)
            total += segment.Length;
        if (isWrite ? node.DetectZeroes == DetectZeroes.Off && node.TryWrite(request.Offset, request.Segments, total)
            : node.TryRead(request.Offset, request.Segments, total))
            return;
        var buffer = ArrayPool<byte>.Shared.Rent(total);
        try
        {
            var all = buffer.AsSpan(0, total);
            if (!isWrite)
                node.Read(request.Offset, all);
            var at = 0;
            foreach (var segment in request.Segments)
            {
                if (isWrite)
                    segment.Span.CopyTo(all[at..]);
                else
                    all.Slice(at, segment.Length).CopyTo(segment.Span);
                at += segment.Length;
            }

            if (isWrite)
                WriteDetecting(node, request.Offset, all);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static void WriteDetecting(BlockNode node, long offset, ReadOnlySpan<byte> from)
    {
        if (node.DetectZeroes != DetectZeroes.Off)
            node.WriteOrZero(offset, from, node.DetectZeroes == DetectZeroes.Unmap);
        else
            node.Write(offset, from);
    }
}
