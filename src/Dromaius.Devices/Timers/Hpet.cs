using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;

namespace Dromaius.Devices.Timers;

/// <summary>
/// High precision event timers: a 64-bit counter at 100 MHz and three comparators. Source: IA-PC HPET specification 1.0a,
/// section 2.3.
/// </summary>
public sealed class Hpet : Device
{
    public const ulong DefaultBase = 0xFED00000;

    private const int Capabilities = 0x000, Configuration = 0x010, Status = 0x020, Counter = 0x0F0, FirstTimer = 0x100,
        TimerStep = 0x20, TimerCount = 3;

    private const ulong ConfigEnable = 1, ConfigLegacy = 2;

    /// <summary>Femtoseconds a tick.</summary>
    private const ulong Period = 10_000_000;

    internal const long NanosecondsPerTick = 10;

    private readonly HpetTimer[] _timers;
    private ulong _configuration;
    private ulong _status;
    private ulong _stopped;  // counter while disabled
    private long _zero;      // clock time of counter 0 while enabled
    private readonly bool[] _legacyInputs = new bool[2];

    /// <param name="clock">The clock it counts.</param>
    /// <param name="routes">I/O APIC inputs the timers can be routed to, a bit each.</param>
    public Hpet(Clock clock, uint routes = 4)
    {
        Clock = clock;
        _timers = [new(this, 0, routes), new(this, 1, routes), new(this, 2, routes)];
        Registers = MemoryRegion.Device("hpet", 0x400, Read, Write, 4, 8);
        Reset();
    }

    public override string TypeName => "hpet";

    /// <summary>The register block.</summary>
    public MemoryRegion Registers { get; }

    /// <summary>Outputs to I/O APIC inputs 0 to 31.</summary>
    public IrqLine[] Irqs { get; } = [.. Enumerable.Range(0, 32).Select(_ => new IrqLine())];

    /// <summary>The system timer's line (IRQ 0): the PIT's, or timer 0 in legacy replacement mode.</summary>
    public IrqLine TimerIrq { get; } = new();

    /// <summary>The real-time clock's line (IRQ 8): the RTC's, or timer 1 in legacy replacement mode.</summary>
    public IrqLine RtcIrq { get; } = new();

    /// <summary>Delivers a message (front side bus interrupt): address and data. Without it timers do not offer them.</summary>
    public Action<ulong, uint>? Message { get; init; }

    /// <summary>Legacy replacement was switched.</summary>
    public Action<bool>? LegacyReplacementChanged { get; set; }

    internal Clock Clock { get; }

    internal bool IsEnabled => (_configuration & ConfigEnable) != 0;

    internal bool IsLegacy => (_configuration & ConfigLegacy) != 0;

    internal ulong Count => IsEnabled ? (ulong)((Clock.Now - _zero) / NanosecondsPerTick) + _stopped : _stopped;

    public override void Reset()
    {
        _configuration = 0;
        _status = 0;
        _stopped = 0;
        foreach (var timer in _timers)
            timer.Reset();
        TimerIrq.Level = _legacyInputs[0];
        RtcIrq.Level = _legacyInputs[1];
        LegacyReplacementChanged?.Invoke(false);
    }

    /// <summary>Inputs that legacy replacement takes over: 0 the PIT's output, 1 the RTC's interrupt.</summary>
    public void SetIrq(int n, bool level)
    {
        if ((uint)n > 1)
            return;
        _legacyInputs[n] = level;
        if (!IsLegacy)
            (n == 0 ? TimerIrq : RtcIrq).Level = level;
    }

    /// <summary>Where a timer's interrupt goes now.</summary>
    internal IrqLine Route(int timer, int route) => IsLegacy && timer == 0 ? TimerIrq
        : IsLegacy && timer == 1 ? RtcIrq
        : Irqs[route];

    /// <summary>Level-triggered status of a timer.</summary>
    internal bool GetStatus(int timer) => (_status >> timer & 1) != 0;

    internal void SetStatus(int timer) => _status |= 1UL << timer;

    private ulong Read(ulong offset, int size)
    {
        var register = (int)(offset & ~7UL);
        var value = register switch
        {
            Capabilities => Period << 32 | 0x8086A001 | (ulong)(TimerCount - 1) << 8,
            Configuration => _configuration,
            Status => _status,
            Counter => Count,
            >= FirstTimer and < FirstTimer + (TimerCount * TimerStep) =>
                _timers[(register - FirstTimer) / TimerStep].Read(register & (TimerStep - 1)),
            _ => 0UL,
        };
        return value >> (int)(8 * (offset & 4));
    }

    private void Write(ulong offset, int size, ulong value)
    {
        // Halves of registers can be written alone.
        var shift = (int)(8 * (offset & 4));
        var mask = size == 8 ? ulong.MaxValue : 0xFFFFFFFFUL << shift;
        value <<= shift;
        var register = (int)(offset & ~7UL);
        switch (register)
        {
            case Configuration:
                WriteConfiguration((_configuration & ~mask) | (value & mask));
                break;
            case Status:
                _status &= ~(value & mask);
                foreach (var timer in _timers)
                    timer.Sync();
                break;
            case Counter:
                // Meant to be written while stopped; while it runs it goes on from the new value.
                _stopped = (Count & ~mask) | (value & mask);
                _zero = Clock.Now;
                Rearm();
                break;
            case >= FirstTimer and < FirstTimer + (TimerCount * TimerStep):
                _timers[(register - FirstTimer) / TimerStep].Write(register & (TimerStep - 1), value, mask);
                break;
        }
    }

    private void WriteConfiguration(ulong value)
    {
        value &= ConfigEnable | ConfigLegacy;
        var changed = value ^ _configuration;
        _stopped = Count;
        _zero = Clock.Now;
        if ((changed & ConfigLegacy) != 0)
        {
            foreach (var timer in _timers)
                timer.Release();
        }

        _configuration = value;
        if ((changed & ConfigLegacy) != 0)
        {
            TimerIrq.Level = !IsLegacy && _legacyInputs[0];
            RtcIrq.Level = !IsLegacy && _legacyInputs[1];
            LegacyReplacementChanged?.Invoke(IsLegacy);
        }

        Rearm();
    }

    private void Rearm()
    {
        foreach (var timer in _timers)
        {
            timer.Sync();
            timer.Arm(false);
        }
    }
}
