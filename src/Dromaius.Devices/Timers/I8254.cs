using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Timers;

/// <summary>
/// 8254 programmable interval timer: three counters at 1.193182 MHz. Source: Intel 8254 datasheet (231164). Counts are
/// computed from the clock when looked at; only counter 0, whose output interrupts, keeps a timer armed.
/// </summary>
public sealed class I8254 : Device
{
    /// <summary>Input frequency in Hz.</summary>
    public const long Frequency = 1_193_182;

    /// <summary>Shorter periods than this interrupt at this distance.</summary>
    private const long ShortestPeriod = 20_000;

    private readonly Clock _clock;
    private readonly Timer _timer;
    private readonly PitChannel[] _channels = [new(), new(), new()];
    private bool _irqDisabled;

    public I8254(Clock clock)
    {
        _clock = clock;
        _timer = clock.CreateTimer(OnTimer);
        Ports = MemoryRegion.Device("pit", 4, Read, Write, 1, 1);
        Reset();
    }

    public override string TypeName => "isa-pit";

    /// <summary>Ports 40h to 43h.</summary>
    public MemoryRegion Ports { get; }

    /// <summary>Output of counter 0.</summary>
    public IrqLine Irq { get; } = new();

    /// <summary>The HPET took over the timer interrupt (legacy replacement).</summary>
    public bool IrqDisabled
    {
        get => _irqDisabled;
        set
        {
            _irqDisabled = value;
            Sync();
        }
    }

    private long Tick => ToTicks(_clock.Now);

    public override void Reset()
    {
        _irqDisabled = false;
        for (var i = 0; i < _channels.Length; i++)
            _channels[i].Reset(i < 2);
        Sync();
    }

    /// <summary>Gate input of a counter; on a PC those of 0 and 1 are tied high.</summary>
    public void SetGate(int channel, bool level)
    {
        _channels[channel].SetGate(level, Tick);
        if (channel == 0)
            Sync();
    }

    public bool GetGate(int channel) => _channels[channel].Gate;

    /// <summary>Level of a counter's output now.</summary>
    public bool GetOutput(int channel) => _channels[channel].Output(Tick);

    /// <summary>A counter's frequency in Hz, for a sound; 0 when it gives no tone.</summary>
    public double GetTone(int channel) => _channels[channel].Tone;

    private ulong Read(ulong offset, int size) => offset < 3 ? _channels[(int)offset].Read(Tick) : 0u;

    private void Write(ulong offset, int size, ulong value)
    {
        var b = (byte)value;
        var tick = Tick;
        if (offset < 3)
            _channels[(int)offset].Write(b, tick);
        else if (b >> 6 < 3)
            _channels[b >> 6].Control(b, tick);
        else
        {
            for (var i = 0; i < 3; i++)
            {
                if ((b & (2 << i)) != 0)
                    _channels[i].ReadBack((b & 0x20) == 0, (b & 0x10) == 0, tick);
            }
        }

        if (offset == 0 || offset == 3)
            Sync();
    }

    /// <summary>Brings the line in step with counter 0 and arms the timer for its next change.</summary>
    private void Sync()
    {
        if (_irqDisabled)
        {
            Irq.Lower();
            _timer.Cancel();
            return;
        }

        var tick = Tick;
        Irq.Level = _channels[0].Output(tick);
        if (_channels[0].NextChange(tick) is { } next)
            _timer.Arm(Math.Max(ToNanoseconds(next), _clock.Now + ShortestPeriod));
        else
            _timer.Cancel();
    }

    private void OnTimer()
    {
        // A strobe is one tick long and square waves may be missed when the host is late: show the rising edge anyway.
        if (_channels[0].IsPeriodic)
            Irq.Lower();
        else if (_channels[0].StrobePassed(Tick))
            Irq.Lower();
        Sync();
    }

    public static long ToTicks(long nanoseconds) => (long)((Int128)nanoseconds * Frequency / Clock.NanosecondsPerSecond);

    /// <summary>The first nanosecond at which <see cref="ToTicks"/> gives the tick.</summary>
    public static long ToNanoseconds(long ticks) =>
        (long)(((Int128)ticks * Clock.NanosecondsPerSecond + Frequency - 1) / Frequency);
}
