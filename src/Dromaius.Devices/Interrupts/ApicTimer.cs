using Dromaius.Core.Time;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Interrupts;

/// <summary>
/// The local APIC's timer: one-shot, periodic or TSC-deadline. Its bus clock is 1 GHz, so that a count is a nanosecond times
/// the divisor. Source: Intel SDM volume 3, 11.5.4.
/// </summary>
internal sealed class ApicTimer
{
    /// <summary>Periods shorter than this are delivered at this distance: a guest must not be able to keep the host busy.</summary>
    private const long ShortestPeriod = 50_000;

    /// <summary>TSC ticks that no guest lives to see, and that clocks need not be able to express.</summary>
    private const ulong FarAhead = 1UL << 60;

    private readonly Clock _clock;
    private readonly Timer _timer;
    private readonly Action _expired;
    private readonly Func<ulong> _readTsc;
    private readonly Func<ulong, long> _tscToNs;
    private long _start;
    private bool _running;
    private bool _masked = true;
    private byte _divideRegister;
    private TimerMode _mode;

    public enum TimerMode
    {
        OneShot = 0,
        Periodic = 1,
        TscDeadline = 2,
    }

    public ApicTimer(Clock clock, Action expired, Func<ulong> readTsc, Func<ulong, long> tscToNs)
    {
        _clock = clock;
        _expired = expired;
        _readTsc = readTsc;
        _tscToNs = tscToNs;
        _timer = clock.CreateTimer(OnTimer);
    }

    /// <summary>Initial-count register.</summary>
    public uint InitialCount { get; private set; }

    /// <summary>IA32_TSC_DEADLINE; 0 when not armed.</summary>
    public ulong Deadline { get; private set; }

    /// <summary>Divide configuration register.</summary>
    public byte DivideRegister
    {
        get => _divideRegister;
        set
        {
            var count = CurrentCount;
            _divideRegister = (byte)(value & 0x0B);
            if (_running)
                _start = _clock.Now - ((long)(InitialCount - count) * Divisor);
            Arm();
        }
    }

    /// <summary>Current-count register.</summary>
    public uint CurrentCount
    {
        get
        {
            if (!_running || _mode == TimerMode.TscDeadline)
                return 0;
            var elapsed = (ulong)Math.Max(0, _clock.Now - _start) / (ulong)Divisor;
            if (_mode == TimerMode.Periodic)
                return InitialCount - (uint)(elapsed % InitialCount);
            return elapsed >= InitialCount ? 0 : InitialCount - (uint)elapsed;
        }
    }

    /// <summary>The entry's mask bit: a masked timer counts but needs no host timer.</summary>
    public bool Masked
    {
        get => _masked;
        set
        {
            if (_masked == value)
                return;
            // What ended while masked is not made up for.
            if (_masked)
                DropExpired();
            _masked = value;
            Arm();
        }
    }

    /// <summary>The entry's mode bits. Between one-shot and periodic the count goes on; to and from deadline it stops.</summary>
    public TimerMode Mode
    {
        get => _mode;
        set
        {
            if (_mode == value)
                return;
            if (_mode == TimerMode.TscDeadline || value == TimerMode.TscDeadline)
                Stop();
            else if (_running)
            {
                if (_mode == TimerMode.OneShot)
                    DropExpired();
                else
                    _start += ElapsedPeriods * Period;
            }

            _mode = value;
            Arm();
        }
    }

    // Bits 3, 1 and 0: 000 divides by 2, ... 110 by 128, 111 by 1.
    /// <summary>Bus cycles a count.</summary>
    public long Divisor => 1L << ((((_divideRegister & 3) | ((_divideRegister >> 1) & 4)) + 1) & 7);

    private long Period => InitialCount * Divisor;

    private long ElapsedPeriods => Period == 0 ? 0 : Math.Max(0, _clock.Now - _start) / Period;

    public void Reset()
    {
        Stop();
        _masked = true;
        _mode = TimerMode.OneShot;
        _divideRegister = 0;
    }

    /// <summary>A write of the initial-count register: starts, or with 0 stops, counting. Ignored in deadline mode.</summary>
    public void Start(uint count)
    {
        if (_mode == TimerMode.TscDeadline)
            return;
        InitialCount = count;
        _start = _clock.Now;
        _running = count != 0;
        Arm();
    }

    /// <summary>A write of IA32_TSC_DEADLINE; 0 disarms. Ignored in other modes.</summary>
    public void SetDeadline(ulong tsc)
    {
        if (_mode != TimerMode.TscDeadline)
            return;
        Deadline = tsc;
        if (tsc != 0 && _readTsc() >= tsc)
        {
            _timer.Cancel();
            Deadline = 0;
            _expired();
            return;
        }

        Arm();
    }

    /// <summary>Delivers what is due but was not yet noticed by the event loop.</summary>
    public void Poll()
    {
        if (_timer.Deadline is { } due && due <= _clock.Now)
        {
            _timer.Cancel();
            OnTimer();
        }
    }

    private void Stop()
    {
        _running = false;
        InitialCount = 0;
        Deadline = 0;
        _timer.Cancel();
    }

    /// <summary>A one-shot count that reached zero unnoticed stays there.</summary>
    private void DropExpired()
    {
        if (_mode == TimerMode.OneShot && _running && _clock.Now - _start >= Period)
            _running = false;
        if (_mode == TimerMode.TscDeadline && Deadline != 0 && _readTsc() >= Deadline)
            Deadline = 0;
    }

    private void Arm()
    {
        if (_mode == TimerMode.TscDeadline)
        {
            // Expiry clears the deadline even when masked; then it is noticed when next looked at.
            if (Deadline == 0 || _masked)
                _timer.Cancel();
            else
                ArmDeadline(0);
        }
        else if (!_running || _masked)
            _timer.Cancel();
        else if (_mode == TimerMode.OneShot)
            _timer.Arm(_start + Period);
        else
        {
            var next = _start + ((ElapsedPeriods + 1) * Period);
            if (Period < ShortestPeriod)
                next = Math.Max(next, _clock.Now + ShortestPeriod);
            _timer.Arm(next);
        }
    }

    /// <summary>Arms for the deadline, at least some nanoseconds from now; not for one that lies years ahead.</summary>
    private void ArmDeadline(long least)
    {
        var now = _readTsc();
        if (Deadline > now && Deadline - now > FarAhead)
            _timer.Cancel();
        else
            _timer.Arm(Math.Max(_tscToNs(Deadline), _clock.Now + least));
    }

    private void OnTimer()
    {
        switch (_mode)
        {
            case TimerMode.TscDeadline:
                // The host's clock and the guest's TSC may differ by a rounding.
                if (Deadline != 0 && _readTsc() < Deadline)
                {
                    ArmDeadline(1000);
                    return;
                }

                Deadline = 0;
                break;
            case TimerMode.OneShot:
                _running = false;
                break;
            default:
                Arm();
                break;
        }

        _expired();
    }

    /// <summary>The deadline as software reads it: 0 once passed.</summary>
    public ulong ReadDeadline()
    {
        DropExpiredIfMasked();
        return Deadline;
    }

    private void DropExpiredIfMasked()
    {
        if (_masked)
            DropExpired();
    }
}
