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
}

/// <summary>
/// Work on images that goes on beside the guest. Its copying is done on a thread of its own; what changes the graph, and its events,
/// happen on the event loop.
/// </summary>
public abstract class BlockJob
{
    private readonly object _state = new();
    private readonly ManualResetEventSlim _workEnded = new();
    private bool _pauseAsked, _cancelAsked, _completeAsked, _finalizeAsked;
    private long _budget, _budgetStart;

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

    /// <summary>Bytes a second, or 0 for no limit.</summary>
    public long Speed { get; set; }
    public JobErrorPolicy OnError { get; init; }

    /// <summary>Waits for <see cref="FinalizeJob"/> before it changes the graph.</summary>
    public bool AutoFinalize { get; init; } = true;

    /// <summary>Goes out of the list by itself when it is over.</summary>
    public bool AutoDismiss { get; init; } = true;
    public bool IsPaused => _pauseAsked;
    public bool IsReady => Status is JobStatus.Ready or JobStatus.Standby;

    /// <summary>Why it failed, or null.</summary>
    public string? Error { get; private set; }
    public bool WasCancelled { get; private set; }

    /// <summary>What is held back has an error.</summary>
    public bool IsFailing { get; private set; }

    protected BlockGraph Graph { get; }

    /// <summary>The backend made for this job; closed when it is over.</summary>
    internal BlockBackend? Own { get; set; }

    /// <summary>Told on the event loop of every change of <see cref="Status"/>, in order, although the job may have gone on.</summary>
    public event Action<BlockJob, JobStatus>? StatusChanged;

    /// <summary>A transfer failed: true for a read of the source.</summary>
    public event Action<BlockJob, bool, BlockException>? TransferFailed;

    internal void Start()
    {
        // Whoever began it hears of this before the answer.
        Status = JobStatus.Running;
        StatusChanged?.Invoke(this, JobStatus.Running);
        new Thread(RunThread, 1 << 20) { IsBackground = true, Name = "job " + Id }.Start();
    }

    public void Pause() => Change(() => _pauseAsked = true);

    public void Resume() => Change(() =>
    {
        _pauseAsked = false;
        IsFailing = false;
    });

    /// <summary>Ends it without its result; a ready mirror keeps its copy unless forced.</summary>
    public void Cancel(bool force = false)
    {
        Change(() =>
        {
            if (IsReady && !force && Type is "mirror")
                KeepCopyOnCancel = true;
            _cancelAsked = true;
        });
    }

    /// <summary>Ends a ready job with its result.</summary>
    public void Complete()
    {
        if (!IsReady)
            throw new BlockException(BlockError.Invalid, $"The active block job '{Id}' cannot be completed");
        PrepareCompletion();
        Change(() => _completeAsked = true);
    }

    /// <summary>Lets a job that waits change the graph.</summary>
    public void FinalizeJob()
    {
        if (Status != JobStatus.Pending)
            throw new BlockException(BlockError.Invalid, $"Job '{Id}' in state '{Status.ToString().ToLowerInvariant()}' cannot accept command verb 'finalize'");
        Change(() => _finalizeAsked = true);
    }

    /// <summary>Ends the copying, when the images are about to be closed.</summary>
    internal void Stop()
    {
        Cancel(force: true);
        _ = _workEnded.Wait(TimeSpan.FromSeconds(10));
    }

    internal void Dismissed() => SetStatus(JobStatus.Null);

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

            if (Status is JobStatus.Paused or JobStatus.Standby && !_cancelAsked)
                SetStatus(Status == JobStatus.Standby ? JobStatus.Ready : JobStatus.Running);
        }

        if (_cancelAsked)
            throw new OperationCanceledException();
        Throttle(transferred);
    }

    /// <summary>Tries a transfer as often as the policy says.</summary>
    protected void Try(bool isRead, Action transfer)
    {
        while (true)
        {
            try
            {
                transfer();
                return;
            }
            catch (BlockException e)
            {
                Graph.Loop.Post(() => TransferFailed?.Invoke(this, isRead, e));
                if (OnError == JobErrorPolicy.Report)
                    throw;
                if (OnError == JobErrorPolicy.Ignore)
                    return;
                Change(() =>
                {
                    _pauseAsked = true;
                    IsFailing = true;
                });
                Checkpoint(0);
            }
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
            SetStatus(JobStatus.Pending);
            if (!AutoFinalize)
            {
                lock (_state)
                {
                    while (!_finalizeAsked && !_cancelAsked)
                        Monitor.Wait(_state);
                }

                if (_cancelAsked)
                    throw new OperationCanceledException();
            }

            OnLoop(Succeed);
            OnLoop(GiveUpOwn);
        }
        catch (OperationCanceledException)
        {
            WasCancelled = !KeepCopyOnCancel;
            End();
        }
        catch (Exception e)
        {
            // Whatever went wrong with the copy, the guest's disk goes on.
            Error = e.Message;
            End();
        }

        SetStatus(JobStatus.Concluded);
        Graph.Loop.Post(() => Graph.Jobs.Ended(this));
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
            OnLoop(Abandon);
            OnLoop(GiveUpOwn);
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
        if (Speed <= 0 || transferred == 0)
            return;
        var now = Stopwatch.GetTimestamp();
        if (_budgetStart == 0 || Stopwatch.GetElapsedTime(_budgetStart, now).TotalSeconds > 1)
            (_budgetStart, _budget) = (now, 0);
        _budget += transferred;
        var due = TimeSpan.FromSeconds((double)_budget / Speed) - Stopwatch.GetElapsedTime(_budgetStart, now);
        if (due <= TimeSpan.Zero)
            return;
        lock (_state)
        {
            if (!_cancelAsked)
                _ = Monitor.Wait(_state, due);
        }
    }
}
