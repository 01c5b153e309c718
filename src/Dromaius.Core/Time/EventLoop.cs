using System.Collections.Concurrent;

namespace Dromaius.Core.Time;

/// <summary>
/// The thread that runs timers, completions and monitor commands, each under the machine lock. Other threads hand it work
/// with <see cref="Post"/>.
/// </summary>
public sealed class EventLoop
{
    private readonly Lock _machineLock;
    private readonly ConcurrentQueue<Action> _posted = new();
    private readonly List<HostClock> _clocks = [];
    private readonly WakeSignal _wake = new();
    private int _signalled;
    private volatile bool _stop, _isRunning;

    public EventLoop(Lock machineLock) => _machineLock = machineLock;

    /// <summary>The machine lock: devices are touched only while it is held.</summary>
    public Lock MachineLock => _machineLock;

    internal void Add(HostClock clock)
    {
        lock (_clocks)
            _clocks.Add(clock);
    }

    /// <summary>Runs an action on the loop, under the machine lock, soon.</summary>
    public void Post(Action action)
    {
        _posted.Enqueue(action);
        Wake();
    }

    public void Wake()
    {
        if (Interlocked.Exchange(ref _signalled, 1) == 0)
            _wake.Set();
    }

    /// <summary>Ends <see cref="Run"/> after the current action.</summary>
    public void Stop()
    {
        _stop = true;
        Wake();
    }

    /// <summary>A thread runs it: what would be posted may as well be done by whoever holds the lock.</summary>
    public bool IsRunning => _isRunning;

    /// <summary>Runs until <see cref="Stop"/>.</summary>
    public void Run()
    {
        _isRunning = true;
        while (!_stop)
        {
            RunDue();
            var wait = NextWait();
            if (wait != 0)
            {
                _wake.Wait(wait);
                Volatile.Write(ref _signalled, 0);
            }
        }
    }

    /// <summary>Runs what is due now, without waiting.</summary>
    public void RunDue()
    {
        lock (_machineLock)
        {
            while (!_stop && _posted.TryDequeue(out var action))
                action();
            for (var i = 0; i < _clocks.Count && !_stop; i++)
            {
                while (_clocks[i].TakeDue() is { } timer)
                    timer.Fire();
            }
        }
    }

    /// <summary>Nanoseconds to wait: 0 for none, -1 for no limit.</summary>
    private long NextWait()
    {
        if (!_posted.IsEmpty || _stop)
            return 0;
        var wait = long.MaxValue;
        lock (_clocks)
        {
            foreach (var clock in _clocks)
            {
                if (clock.Nearest is { } deadline)
                    wait = Math.Min(wait, deadline - clock.Now);
            }
        }

        return wait == long.MaxValue ? -1 : Math.Max(wait, 0);
    }
}
