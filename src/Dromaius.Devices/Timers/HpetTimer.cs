using Dromaius.Core.Interrupts;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Timers;

/// <summary>One comparator of the <see cref="Hpet"/> (specification 1.0a, 2.3.8 to 2.3.10).</summary>
internal sealed class HpetTimer
{
    private const int Config = 0x00, Comparator = 0x08, Message = 0x10;

    private const ulong Level = 1 << 1, Enable = 1 << 2, Periodic = 1 << 3, PeriodicCapable = 1 << 4, Wide = 1 << 5,
        SetValue = 1 << 6, Force32 = 1 << 8, RouteMask = 0x1F << 9, MessageEnable = 1 << 14, MessageCapable = 1 << 15;

    private const ulong Writable = Level | Enable | Periodic | SetValue | Force32 | RouteMask;

    /// <summary>Shorter periods than this, in nanoseconds, interrupt at this distance.</summary>
    private const long ShortestPeriod = 20_000;

    private readonly Hpet _hpet;
    private readonly int _index;
    private readonly uint _routes;
    private readonly Timer _timer;
    private ulong _config;
    private ulong _comparator;
    private ulong _period;
    private ulong _message;
    private bool _raised;
    private bool _fired; // a one-shot comparator matched; it would match again only after a wrap

    public HpetTimer(Hpet hpet, int index, uint routes)
    {
        _hpet = hpet;
        _index = index;
        _routes = routes;
        _timer = hpet.Clock.CreateTimer(OnMatch);
    }

    private bool Is32 => (_config & Force32) != 0;

    private bool IsPeriodic => (_config & Periodic) != 0;

    private ulong Mask => Is32 ? uint.MaxValue : ulong.MaxValue;

    private bool UsesMessage => (_config & MessageEnable) != 0 && _hpet.Message != null;

    private IrqLine Line => _hpet.Route(_index, (int)((_config & RouteMask) >> 9));

    public void Reset()
    {
        Release();
        _timer.Cancel();
        _config = 0;
        _comparator = ulong.MaxValue;
        _period = 0;
        _message = 0;
        _fired = false;
    }

    public ulong Read(int register)
    {
        switch (register)
        {
            case Config:
                return _config | PeriodicCapable | Wide | (ulong)_routes << 32
                       | (_hpet.Message != null ? MessageCapable : 0);
            case Comparator:
                if (IsPeriodic && _hpet.IsEnabled)
                    Advance(_hpet.Count);
                return _comparator & Mask;
            case Message:
                return _message;
            default:
                return 0;
        }
    }

    public void Write(int register, ulong value, ulong mask)
    {
        switch (register)
        {
            case Config:
                Release();
                var writable = Writable | (_hpet.Message != null ? MessageEnable : 0);
                _config = (_config & ~(mask & writable)) | (value & mask & writable);
                if (Is32)
                {
                    _comparator &= uint.MaxValue;
                    _period &= uint.MaxValue;
                }

                Sync();
                Arm(false);
                break;
            case Comparator:
                // A periodic timer's comparator is only set after VAL_SET; else just its period.
                if (!IsPeriodic || (_config & SetValue) != 0)
                    _comparator = ((_comparator & ~mask) | (value & mask)) & Mask;
                if (IsPeriodic)
                    _period = ((_period & ~mask) | (value & mask)) & Mask;
                _config &= ~SetValue;
                _fired = false;
                Arm(true);
                break;
            case Message:
                _message = (_message & ~mask) | (value & mask);
                break;
        }
    }

    /// <summary>Drops the line, before it is routed elsewhere.</summary>
    public void Release()
    {
        if (_raised)
            Line.Lower();
        _raised = false;
    }

    /// <summary>A level-triggered line follows the status bit.</summary>
    public void Sync()
    {
        var raise = (_config & (Level | Enable)) == (Level | Enable) && _hpet.IsEnabled && !UsesMessage
                    && _hpet.GetStatus(_index);
        if (raise == _raised)
            return;
        _raised = raise;
        Line.Level = raise;
    }

    /// <summary>Arms for the next match.</summary>
    /// <param name="written">The comparator was just written: one that has just passed still matches.</param>
    public void Arm(bool written)
    {
        if (!_hpet.IsEnabled || (_config & Enable) == 0)
        {
            _timer.Cancel();
            return;
        }

        var count = _hpet.Count;
        if (IsPeriodic)
            Advance(count);
        else if (_fired)
        {
            _timer.Cancel();
            return;
        }

        var distance = (_comparator - count) & Mask;
        // Half of the range ahead is the past.
        if (written && distance > Mask >> 1)
            distance = 0;
        var nanoseconds = distance > long.MaxValue / 16 ? long.MaxValue / 2 : (long)distance * Hpet.NanosecondsPerTick;
        if (IsPeriodic && nanoseconds < ShortestPeriod && !written)
            nanoseconds = Math.Max(nanoseconds, (long)Math.Min(_period, (ulong)ShortestPeriod));
        var now = _hpet.Clock.Now;
        _timer.Arm(nanoseconds > long.MaxValue - now ? long.MaxValue : now + nanoseconds);
    }

    /// <summary>Moves a periodic comparator past the counter.</summary>
    private void Advance(ulong count)
    {
        if (_period == 0)
            return;
        var behind = (count - _comparator) & Mask;
        if (behind <= Mask >> 1)
            _comparator = (_comparator + (((behind / _period) + 1) * _period)) & Mask;
    }

    private void OnMatch()
    {
        var due = (_comparator - _hpet.Count) & Mask;
        if (due != 0 && due <= Mask >> 1 && due < 1 << 20 && !IsPeriodic)
        {
            // Early by a rounding.
            Arm(false);
            return;
        }

        if (IsPeriodic && _period != 0)
        {
            Advance(_hpet.Count);
            Arm(false);
        }
        else
            _fired = true;
        Interrupt();
    }

    private void Interrupt()
    {
        if (UsesMessage)
            _hpet.Message!(_message >> 32, (uint)_message);
        else if ((_config & Level) != 0)
        {
            _hpet.SetStatus(_index);
            Sync();
        }
        else
            Line.Pulse();
    }
}
