namespace Dromaius.Block.Filters;

/// <summary>
/// The <c>blkdebug</c> driver: transfers fail where its rules say so, and requests stop where a breakpoint is. The formats above tell it of
/// their steps (<see cref="BlockNode.OnStep"/>).
/// </summary>
/// <param name="inner">The image; owned.</param>
/// <param name="rules">What fails.</param>
/// <param name="config">The configuration file, or empty.</param>
public sealed class BlkdebugNode(BlockNode inner, DebugRules rules, string config = "") : FilterNode("blkdebug", inner)
{
    private readonly object _lock = new();
    private readonly List<InjectedError> _armed = [.. rules.Errors.Where(static r => r.Event == "none")];
    private readonly HashSet<InjectedError> _spent = [];
    private readonly Dictionary<string, string> _breakpoints = new(StringComparer.Ordinal);
    private readonly HashSet<string> _suspended = new(StringComparer.Ordinal);
    private int _state = 1;

    public override string FileName => $"blkdebug:{config}:{Inner.FileName}";

    /// <summary>Told when a request stops (true) or goes on, with the breakpoint's tag.</summary>
    public Action<string, bool>? Stopped { get; set; }

    public override void OnStep(string name)
    {
        base.OnStep(name);
        lock (_lock)
        {
            var armed = rules.Errors.FindAll(r => r.Event == name && (r.State == 0 || r.State == _state) && !_spent.Contains(r));
            if (armed.Count > 0)
            {
                // An event takes the place of the one before; what is armed always stays so.
                _ = _armed.RemoveAll(static r => r.Event != "none");
                _armed.AddRange(armed);
            }

            var next = _state;
            foreach (var change in rules.Changes)
            {
                if (change.Event == name && (change.State == 0 || change.State == _state))
                    next = change.NewState;
            }

            _state = next;
            if (!_breakpoints.Remove(name, out var tag))
                return;
            _ = _suspended.Add(tag);
            Stopped?.Invoke(tag, true);
            Monitor.PulseAll(_lock);
            while (_suspended.Contains(tag))
                Monitor.Wait(_lock);
            Stopped?.Invoke(tag, false);
        }
    }

    /// <summary>The next request that comes to a step stops there.</summary>
    public void AddBreakpoint(string step, string tag)
    {
        if (!DebugRules.IsEvent(step))
            throw new BlockException(BlockError.NoEntry, $"Could not set a breakpoint: {Core.Storage.HostDisk.Explain((int)BlockError.NoEntry)}");
        lock (_lock)
            _breakpoints[step] = tag;
    }

    /// <summary>Takes a breakpoint away; who stopped there goes on.</summary>
    public bool RemoveBreakpoint(string tag)
    {
        lock (_lock)
        {
            var steps = _breakpoints.Where(b => b.Value == tag).Select(static b => b.Key).ToArray();
            foreach (var step in steps)
                _ = _breakpoints.Remove(step);
            return Resume(tag) || steps.Length > 0;
        }
    }

    /// <summary>Lets a stopped request go on; false when there is none.</summary>
    public bool Resume(string tag)
    {
        lock (_lock)
        {
            Monitor.PulseAll(_lock);
            return _suspended.Remove(tag);
        }
    }

    public bool IsStopped(string tag)
    {
        lock (_lock)
            return _suspended.Contains(tag);
    }

    /// <summary>Waits until a request has stopped.</summary>
    public void WaitStopped(string tag)
    {
        lock (_lock)
        {
            while (!_suspended.Contains(tag))
                Monitor.Wait(_lock);
        }
    }

    public override void Read(long offset, Span<byte> into)
    {
        Apply(DebugTransfers.Read, offset, into.Length);
        base.Read(offset, into);
    }

    public override void Flush()
    {
        Apply(DebugTransfers.Flush, 0, 0);
        base.Flush();
    }

    public override BlockStatus Status(long offset, long length)
    {
        Apply(DebugTransfers.BlockStatus, offset, length);
        return base.Status(offset, length);
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        Apply(DebugTransfers.Write, offset, from.Length);
        base.WriteCore(offset, from);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        Apply(DebugTransfers.WriteZeroes, offset, length);
        base.WriteZeroesCore(offset, length, mayUnmap);
    }

    protected override void DiscardCore(long offset, long length)
    {
        Apply(DebugTransfers.Discard, offset, length);
        base.DiscardCore(offset, length);
    }

    protected override void Dispose(bool disposing)
    {
        lock (_lock)
        {
            _breakpoints.Clear();
            _suspended.Clear();
            Monitor.PulseAll(_lock);
        }

        base.Dispose(disposing);
    }

    private void Apply(DebugTransfers transfer, long offset, long length)
    {
        InjectedError? rule;
        lock (_lock)
        {
            rule = _armed.Find(r => (r.Transfers & transfer) != 0
                && (r.Offset is not { } at || transfer == DebugTransfers.Flush || (at >= offset && at < offset + length)));
            if (rule is { Once: true })
            {
                _ = _armed.Remove(rule);
                _ = _spent.Add(rule);
            }
        }

        if (rule != null)
            throw new BlockException(rule.Error);
    }
}
