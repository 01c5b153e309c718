using System.Diagnostics;
using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary>Where a job is in its life, as the protocol names it.</summary>
public enum JobStatus
{
    Created,
    Running,
    Paused,
    Ready,
    Standby,
    Waiting,
    Pending,
    Aborting,
    Concluded,
    Null,
}

/// <summary>What a job does when a transfer fails.</summary>
public enum JobErrorPolicy
{
    Report,
    Ignore,
    Stop,

    /// <summary>Waits for the user where the storage is full; other failures end the job.</summary>
    StopWhenFull,
}

/// <summary>What every job is told when it is begun.</summary>
public sealed record JobSettings
{
    /// <summary>Bytes a second, or 0 for no limit.</summary>
    public long Speed { get; init; }

    /// <summary>What a failed read of the source leads to; for jobs that know one policy only, any failure.</summary>
    public JobErrorPolicy OnError { get; init; }

    /// <summary>The same for writes to the target.</summary>
    public JobErrorPolicy OnTargetError { get; init; }

    /// <summary>Goes on to change the graph by itself.</summary>
    public bool AutoFinalize { get; init; } = true;

    /// <summary>Goes out of the list by itself when it is over.</summary>
    public bool AutoDismiss { get; init; } = true;
}

/// <summary>
/// Work on images that goes on beside the guest. Its copying is done on a thread of its own; what changes the graph, and its events,
/// happen on the event loop.
/// </summary>
public abstract class BlockJob
{
    private const int RetryDelay = 10, GroupPoll = 20;
    private static readonly TimeSpan LongestWait = TimeSpan.FromHours(1);
    private readonly object _state = new();
    private readonly ManualResetEventSlim _workEnded = new();
    private bool _pauseAsked, _cancelAsked, _completeAsked, _finalizeAsked, _hasArrived;
    private long _speed, _budget, _budgetStart;

    protected BlockJob(BlockGraph graph, string id, string type)
    {
        Graph = graph;
        Id = id;
        Type = type;
    }

    public string Id { get; }

    /// <summary><c>commit</c>, <c>stream</c>, <c>mirror</c> or <c>backup</c>.</summary>
    public string Type { get; }

    /// <summary>The drive or node it works on, for events.</summary>
    public string Device { get; init; } = "";
    public JobStatus Status { get; private set; } = JobStatus.Created;

    /// <summary>Bytes done, of <see cref="Total"/>.</summary>
    public long Done { get; protected set; }
    public long Total { get; protected set; }

    public JobSettings Settings { get; init; } = new();

    /// <summary>Bytes a second, or 0 for no limit.</summary>
    public long Speed
    {
        get => _speed;
        set => Change(() => _speed = value);
    }

    /// <summary>Those that succeed or fail together with it.</summary>
    public JobGroup? Group { get; set; }

    /// <summary>Called on the event loop when it holds nothing any more.</summary>
    internal Action? Over { get; set; }

    /// <summary>The nodes that other jobs must leave alone meanwhile.</summary>
    internal HashSet<BlockNode> Nodes { get; } = [];

    /// <summary>Its work is done; only the graph is left to change.</summary>
    internal bool HasArrived => Volatile.Read(ref _hasArrived);
    public bool IsPaused => _pauseAsked;
    public bool IsReady => Status is JobStatus.Ready or JobStatus.Standby;

    /// <summary>Why it failed, or null.</summary>
    public string? Error { get; private set; }
    public bool WasCancelled { get; private set; }

    /// <summary>What failed when the job stopped by itself, until the user lets it go on.</summary>
    public BlockError StoppedBy { get; private set; }

    protected BlockGraph Graph { get; }

    /// <summary>The backend made for this job; closed when it is over.</summary>
    internal BlockBackend? Own { get; set; }

    /// <summary>Told on the event loop of every change of <see cref="Status"/>, in order, although the job may have gone on.</summary>
    public event Action<BlockJob, JobStatus>? StatusChanged;

    /// <summary>A transfer failed: true for a read of the source, and what the job does about it.</summary>
    public event Action<BlockJob, bool, JobErrorPolicy>? TransferFailed;

    internal void Start()
    {
        _speed = Settings.Speed;
        // Whoever began it hears of this before the answer.
        Status = JobStatus.Running;
        StatusChanged?.Invoke(this, JobStatus.Running);
        new Thread(RunThread, 1 << 20) { IsBackground = true, Name = "job " + Id }.Start();
    }

    public void Pause()
    {
        RequireStatus("pause", JobStatus.Standby);
        if (_pauseAsked)
            throw new BlockException(BlockError.Invalid, "Job is already paused");
        Change(() => _pauseAsked = true);
    }

    public void Resume()
    {
        RequireStatus("resume", JobStatus.Standby);
        if (!_pauseAsked)
            throw new BlockException(BlockError.Invalid, "Can't resume a job that was not paused");
        Change(() =>
        {
            _pauseAsked = false;
            StoppedBy = BlockError.None;
            GoOn();
        });
    }

    public void SetSpeed(long speed)
    {
        RequireStatus("set-speed", JobStatus.Standby);
        CheckSpeed(speed);
        Speed = speed;
    }

    internal static void CheckSpeed(long speed)
    {
        if (speed < 0)
            throw new BlockException(BlockError.Invalid, "Parameter 'speed' expects a non-negative value");
    }

    /// <summary>Ends it without its result; a ready mirror keeps its copy unless forced.</summary>
    public void Cancel(bool force = false)
    {
        RequireStatus("cancel", JobStatus.Pending);
        if (Status is JobStatus.Paused or JobStatus.Standby)
        {
            Status = Status == JobStatus.Standby ? JobStatus.Ready : JobStatus.Running;
            StatusChanged?.Invoke(this, Status);
        }

        Change(() =>
        {
            if (IsReady && !force)
                KeepCopyOnCancel = true;
            _cancelAsked = true;
        });
    }

    /// <summary>Ends a ready job with its result.</summary>
    public void Complete()
    {
        if (Status != JobStatus.Ready)
            throw Refuse("complete");
        PrepareCompletion();
        Change(() => _completeAsked = true);
    }

    /// <summary>Lets a job that waits change the graph.</summary>
    public void FinalizeJob()
    {
        if (Status != JobStatus.Pending)
            throw Refuse("finalize");
        Change(() => _finalizeAsked = true);
    }

    /// <summary>Ends it without its result, wherever it is.</summary>
    public void GiveUp() => Change(() => _cancelAsked = true);

    /// <summary>Ends the copying, when the images are about to be closed.</summary>
    internal void Stop()
    {
        GiveUp();
        _ = _workEnded.Wait(TimeSpan.FromSeconds(10));
    }

    /// <summary>It is out of the list; on the event loop.</summary>
    internal void Dismissed()
    {
        Status = JobStatus.Null;
        StatusChanged?.Invoke(this, JobStatus.Null);
    }

    /// <summary>The words for something that cannot be done to a job as it is now.</summary>
    internal BlockException Refuse(string verb) =>
        new(BlockError.NotPermitted, $"Job '{Id}' in state '{Status.ToString().ToLowerInvariant()}' cannot accept command verb '{verb}'");

    private void RequireStatus(string verb, JobStatus last)
    {
        if (Status > last)
            throw Refuse(verb);
    }

    protected bool KeepCopyOnCancel { get; private set; }
    protected bool CompleteAsked => Volatile.Read(ref _completeAsked);
    protected bool CancelAsked => Volatile.Read(ref _cancelAsked);

    /// <summary>Copies; on the job's thread.</summary>
    protected abstract void Work();

    /// <summary>Does, when the user asks for the end, what he should hear of if it fails; on the event loop.</summary>
    protected virtual void PrepareCompletion()
    {
    }

    /// <summary>Changes the graph to the result; on the event loop.</summary>
    protected abstract void Succeed();

    /// <summary>Puts the graph back; on the event loop.</summary>
    protected abstract void Abandon();

    /// <summary>Between two transfers: waits while paused, throws when cancelled, keeps to the speed.</summary>
    protected void Checkpoint(long transferred)
    {
        lock (_state)
        {
            while (_pauseAsked && !_cancelAsked)
            {
                if (Status is JobStatus.Running or JobStatus.Ready)
                    SetStatus(Status == JobStatus.Ready ? JobStatus.Standby : JobStatus.Paused);
                Monitor.Wait(_state);
            }

            if (!_cancelAsked)
                GoOn();
        }

        if (_cancelAsked)
            throw new OperationCanceledException();
        Throttle(transferred);
    }

    private void GoOn()
    {
        if (Status is JobStatus.Paused or JobStatus.Standby)
            SetStatus(Status == JobStatus.Standby ? JobStatus.Ready : JobStatus.Running);
    }

    /// <summary>A transfer, which says before each half whether that reads the source.</summary>
    protected delegate void Transfer(ref bool isRead);

    /// <summary>Tries a transfer until it is done; throws when the policy lets the failure end the job.</summary>
    protected void Try(Transfer transfer)
    {
        while (TryOnce(transfer, out _) != null)
        {
            lock (_state)
            {
                // What goes on failing must not keep a processor busy.
                if (!_cancelAsked && !_pauseAsked)
                    _ = Monitor.Wait(_state, RetryDelay);
            }

            Checkpoint(0);
        }
    }

    /// <summary>Tries a transfer. Null when it is done, else what the policy says, a pause at the next <see cref="Checkpoint"/> or nothing.</summary>
    protected JobErrorPolicy? TryOnce(Transfer transfer, out BlockException? failure)
    {
        var isRead = true;
        failure = null;
        try
        {
            transfer(ref isRead);
            return null;
        }
        catch (BlockException e)
        {
            var policy = isRead ? Settings.OnError : Settings.OnTargetError;
            if (policy == JobErrorPolicy.StopWhenFull)
                policy = e.Error == BlockError.NoSpace ? JobErrorPolicy.Stop : JobErrorPolicy.Report;
            // Who hears of it can let the job go on at once.
            if (policy == JobErrorPolicy.Stop)
            {
                Change(() =>
                {
                    _pauseAsked = true;
                    StoppedBy = e.Error;
                });
            }

            var reading = isRead;
            Graph.Loop.Post(() => TransferFailed?.Invoke(this, reading, policy));
            if (policy == JobErrorPolicy.Report)
                throw;
            failure = e;
            return policy;
        }
    }

    /// <summary>Tells that the copy is in step, and waits for orders or more work.</summary>
    /// <param name="hasWork">There is something to copy again.</param>
    protected void WaitReady(Func<bool> hasWork)
    {
        if (Status == JobStatus.Running)
            SetStatus(JobStatus.Ready);
        lock (_state)
        {
            while (!_cancelAsked && !_completeAsked && !_pauseAsked && !hasWork())
                Monitor.Wait(_state, 100);
        }

        Checkpoint(0);
    }

    protected void Wake() => Change(static () => { });

    /// <summary>Runs on the event loop and waits for it.</summary>
    protected void OnLoop(Action action)
    {
        Exception? failure = null;
        using var done = new ManualResetEventSlim();
        Graph.Loop.Post(() =>
        {
            try
            {
                action();
            }
            catch (Exception e)
            {
                failure = e;
            }

            done.Set();
        });
        done.Wait();
        if (failure is BlockException e)
            throw new BlockException(e.Error, e.Message, e);
        if (failure != null)
            throw new IOException(failure.Message, failure);
    }

    private void RunThread()
    {
        try
        {
            try
            {
                Work();
            }
            finally
            {
                _workEnded.Set();
            }

            SetStatus(JobStatus.Waiting);
            lock (_state)
            {
                _hasArrived = true;
                while (Group is { } group && !_cancelAsked && !group.HaveAllArrived)
                    Monitor.Wait(_state, GroupPoll);
            }

            if (_cancelAsked)
                throw new OperationCanceledException();
            SetStatus(JobStatus.Pending);
            if (!Settings.AutoFinalize)
            {
                lock (_state)
                {
                    while (!_finalizeAsked && !_cancelAsked)
                        Monitor.Wait(_state);
                }

                if (_cancelAsked)
                    throw new OperationCanceledException();
            }

            OnLoop(() =>
            {
                Succeed();
                GiveUpOwn();
            });
        }
        catch (OperationCanceledException)
        {
            WasCancelled = !KeepCopyOnCancel;
            if (WasCancelled)
                Group?.GiveUp();
            End();
        }
        catch (Exception e)
        {
            // Whatever went wrong with the copy, the guest's disk goes on.
            Error = e.Message;
            Group?.GiveUp();
            End();
        }

        // Who hears that it is over must not find it in the list any more.
        Graph.Loop.Post(() =>
        {
            Status = JobStatus.Concluded;
            StatusChanged?.Invoke(this, JobStatus.Concluded);
            Graph.Jobs.Ended(this);
        });
    }

    private void End()
    {
        if (KeepCopyOnCancel)
        {
            SetStatus(JobStatus.Waiting);
            SetStatus(JobStatus.Pending);
        }
        else
            SetStatus(JobStatus.Aborting);
        try
        {
            OnLoop(() =>
            {
                Abandon();
                GiveUpOwn();
            });
        }
        catch (IOException e)
        {
            Error ??= e.Message;
        }
    }

    private void GiveUpOwn()
    {
        Own?.Dispose();
        Graph.Forget();
    }

    private void Change(Action change)
    {
        lock (_state)
        {
            change();
            Monitor.PulseAll(_state);
        }
    }

    private void SetStatus(JobStatus status)
    {
        Status = status;
        Graph.Loop.Post(() => StatusChanged?.Invoke(this, status));
    }

    private void Throttle(long transferred)
    {
        if (transferred == 0)
            return;
        lock (_state)
        {
            var now = Stopwatch.GetTimestamp();
            if (_budgetStart == 0 || Stopwatch.GetElapsedTime(_budgetStart, now).TotalSeconds > 1)
                (_budgetStart, _budget) = (now, 0);
            _budget += transferred;
            // The user may change the speed meanwhile.
            while (_speed > 0 && !_cancelAsked && !_pauseAsked)
            {
                var due = TimeSpan.FromSeconds((double)_budget / _speed) - Stopwatch.GetElapsedTime(_budgetStart);
                if (due <= TimeSpan.Zero)
                    return;
                _ = Monitor.Wait(_state, due < LongestWait ? due : LongestWait);
            }
        }
    }
}
