using System.Diagnostics;

namespace Dromaius.Core.Time;

/// <summary>A source of time and timers. Nothing in a device asks the operating system for time.</summary>
public abstract class Clock
{
    public const long NanosecondsPerSecond = 1_000_000_000;

    /// <summary>Nanoseconds since an arbitrary start; never goes back.</summary>
    public abstract long Now { get; }

    /// <summary>Makes a timer; the callback runs under the machine lock on the event loop.</summary>
    public Timer CreateTimer(Action callback) => new(this, callback);

    internal abstract void Arm(Timer timer, long deadline);
    internal abstract void Disarm(Timer timer);
}

/// <summary>A one-shot timer of a <see cref="Clock"/>; arming again moves it.</summary>
public sealed class Timer
{
    private readonly Clock _clock;
    private readonly Action _callback;

    internal Timer(Clock clock, Action callback)
    {
        _clock = clock;
        _callback = callback;
    }

    /// <summary>When it fires, in nanoseconds of its clock; null when not armed.</summary>
    public long? Deadline { get; internal set; }

    public bool IsArmed => Deadline.HasValue;

    /// <summary>Arms for an absolute time in nanoseconds; a time in the past fires as soon as the loop runs.</summary>
    public void Arm(long deadline) => _clock.Arm(this, deadline);

    public void Cancel()
    {
        if (Deadline.HasValue)
            _clock.Disarm(this);
    }

    internal void Fire()
    {
        Deadline = null;
        _callback();
    }
}

/// <summary>Timers of one clock, nearest first. Not thread-safe: the clock locks.</summary>
internal sealed class TimerQueue
{
    private readonly SortedSet<(long Deadline, long Order, Timer Timer)> _set =
        new(Comparer<(long Deadline, long Order, Timer Timer)>.Create(static (a, b) =>
            a.Deadline != b.Deadline ? a.Deadline.CompareTo(b.Deadline) : a.Order.CompareTo(b.Order)));

    private readonly Dictionary<Timer, (long, long, Timer)> _entries = [];
    private long _order;

    public long? Nearest => _set.Count == 0 ? null : _set.Min.Deadline;

    public void Add(Timer timer, long deadline)
    {
        Remove(timer);
        var entry = (deadline, _order++, timer);
        timer.Deadline = deadline;
        _entries[timer] = entry;
        _set.Add(entry);
    }

    public void Remove(Timer timer)
    {
        if (_entries.Remove(timer, out var entry))
            _set.Remove(entry);
        timer.Deadline = null;
    }

    public Timer? TakeDue(long now)
    {
        if (_set.Count == 0 || _set.Min.Deadline > now)
            return null;
        var timer = _set.Min.Timer;
        Remove(timer);
        return timer;
    }
}

/// <summary>A clock that tests move by hand; timers fire inside <see cref="Advance"/>.</summary>
public sealed class ManualClock : Clock
{
    private readonly TimerQueue _queue = new();
    private long _now;

    public override long Now => _now += PerLook;

    /// <summary>Nanoseconds that pass with each look at the clock: for what must hold when time goes on in between.</summary>
    public long PerLook { get; set; }

    public void Advance(long nanoseconds)
    {
        var end = _now + nanoseconds;
        while (_queue.Nearest is { } due && due <= end)
        {
            _now = Math.Max(_now, due);
            _queue.TakeDue(_now)!.Fire();
        }

        _now = end;
    }

    internal override void Arm(Timer timer, long deadline) => _queue.Add(timer, deadline);

    internal override void Disarm(Timer timer) => _queue.Remove(timer);
}

/// <summary>A clock that follows the host's monotonic time and can be paused; its timers run on an <see cref="EventLoop"/>.</summary>
public sealed class HostClock : Clock
{
    private readonly TimerQueue _queue = new();
    private readonly Lock _gate = new();
    private readonly Action _wake;
    private long _offset;
    private long _pausedAt;
    private bool _paused;

    /// <param name="loop">The loop that runs the timers.</param>
    /// <param name="startPaused">Virtual clocks start with the machine stopped.</param>
    public HostClock(EventLoop loop, bool startPaused = false)
    {
        _wake = loop.Wake;
        _offset = -HostNow;
        if (startPaused)
            _paused = true;
        loop.Add(this);
    }

    private static long HostNow => (long)(Stopwatch.GetTimestamp() * (1e9 / Stopwatch.Frequency));

    /// <summary>Time goes on only by <see cref="StepTo"/>, whatever the machine does (tests from outside).</summary>
    public bool IsStepped { get; init; }

    public override long Now => IsStepped || _paused ? _pausedAt : HostNow + Volatile.Read(ref _offset);

    /// <summary>Stops or continues time.</summary>
    public bool Paused
    {
        get => _paused;
        set
        {
            lock (_gate)
            {
                if (_paused == value || IsStepped)
                    return;
                if (value)
                    _pausedAt = HostNow + _offset;
                else
                    _offset = _pausedAt - HostNow;
                _paused = value;
            }

            _wake();
        }
    }

    /// <summary>Nearest deadline, or null; none while paused.</summary>
    internal long? Nearest
    {
        get
        {
            lock (_gate)
                return _paused || IsStepped ? null : _queue.Nearest;
        }
    }

    internal Timer? TakeDue()
    {
        lock (_gate)
            return _paused || IsStepped ? null : _queue.TakeDue(Now);
    }

    /// <summary>When the next timer is due, or null.</summary>
    public long? NextDeadline
    {
        get
        {
            lock (_gate)
                return _queue.Nearest;
        }
    }

    /// <summary>Lets a stepped clock reach a time; what is due on the way happens at its own time. Under the machine lock.</summary>
    public void StepTo(long time)
    {
        while (true)
        {
            Timer? timer;
            lock (_gate)
            {
                if (_queue.Nearest is not { } due || due > time)
                {
                    _pausedAt = Math.Max(_pausedAt, time);
                    return;
                }

                _pausedAt = Math.Max(_pausedAt, due);
                timer = _queue.TakeDue(due);
            }

            timer?.Fire();
        }
    }

    internal override void Arm(Timer timer, long deadline)
    {
        bool nearest;
        lock (_gate)
        {
            var before = _queue.Nearest;
            _queue.Add(timer, deadline);
            nearest = before is null || deadline < before;
        }

        if (nearest)
            _wake();
    }

    internal override void Disarm(Timer timer)
    {
        lock (_gate)
            _queue.Remove(timer);
    }
}
