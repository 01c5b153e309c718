using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Firmware;

public enum SleepState
{
    /// <summary>Suspend to memory (S3).</summary>
    Suspend,

    /// <summary>Suspend to disk (S4).</summary>
    Hibernate,

    /// <summary>Soft off (S5).</summary>
    Off,
}

/// <summary>
/// Power management of the PIIX4 and the ICH9: ACPI PM1 event and control blocks, PM timer, general purpose events and the APM (SMI
/// command) ports. Sources: Intel 82371AB datasheet, section 7.2; Intel ICH9 datasheet (316972), section 13.8.3; ACPI specification
/// 1.0b, section 4.7.
/// </summary>
public sealed class AcpiPm : Device
{
    /// <summary>PM timer frequency in Hz.</summary>
    public const long TimerFrequency = 3_579_545;

    private const int StatusTimer = 1 << 0, StatusGlobal = 1 << 5, StatusPowerButton = 1 << 8, StatusRtc = 1 << 10,
        StatusWake = 1 << 15;

    private const int StatusSci = StatusTimer | StatusGlobal | StatusPowerButton | StatusRtc;
    private const int StatusWritable = StatusSci | 1 << 4 | StatusWake;
    private const int ControlSci = 1, ControlGlobalRelease = 4, ControlSleep = 1 << 13;

    private readonly Clock _clock;
    private readonly Timer _overflow;
    private int _status;
    private int _enable;
    private int _control;
    private readonly int _gpeBits;
    private ulong _gpeStatus;
    private ulong _gpeEnable;
    private byte _apmControl;
    private byte _apmStatus;
    private long _overflowsSeen;

    /// <param name="clock">What the timer counts.</param>
    /// <param name="gpeLength">Bytes of the general purpose event block: half status, half enable.</param>
    public AcpiPm(Clock clock, int gpeLength = 4)
    {
        _gpeBits = 4 * gpeLength;
        _clock = clock;
        _overflow = clock.CreateTimer(Sync);
        PmRegisters = MemoryRegion.Device("acpi-pm", 64, ReadPm, WritePm);
        GpeRegisters = MemoryRegion.Device("acpi-gpe0", (ulong)gpeLength, ReadGpe, WriteGpe, 1, 1);
        ApmPorts = MemoryRegion.Device("apm", 2, (offset, _) => offset == 0 ? _apmControl : _apmStatus, WriteApm, 1, 1);
        Reset();
    }

    public override string TypeName => "acpi-pm";

    /// <summary>The block at PMBASE: PM1 status, enable, control, timer.</summary>
    public MemoryRegion PmRegisters { get; }

    /// <summary>Values for the SMI command port that pass control of the hardware, for the FADT.</summary>
    public byte AcpiEnable { get; init; } = 0xF1;
    public byte AcpiDisable { get; init; } = 0xF0;

    /// <summary>General purpose events: status bits, then as many enable bits.</summary>
    public MemoryRegion GpeRegisters { get; }

    /// <summary>Ports B2h (command) and B3h (status).</summary>
    public MemoryRegion ApmPorts { get; }

    /// <summary>The system control interrupt (IRQ 9, level-triggered).</summary>
    public IrqLine Sci { get; } = new();

    /// <summary>PCI configuration DEVACTB bit 25 (APMC_EN): command port writes raise an SMI.</summary>
    public bool ApmSmiEnabled { get; set; }

    /// <summary>A system management interrupt is due.</summary>
    public Action? SmiRequested { get; set; }

    /// <summary>Software entered a sleeping state.</summary>
    public Action<SleepState>? SleepRequested { get; set; }

    public override void Reset()
    {
        _status = _enable = _control = 0;
        _gpeStatus = _gpeEnable = 0;
        _apmControl = _apmStatus = 0;
        _overflowsSeen = Overflows;
        ApmSmiEnabled = false;
        Sync();
    }

    /// <summary>The power button was pressed.</summary>
    public void PressPowerButton() => Raise(StatusPowerButton);

    /// <summary>The real-time clock's alarm.</summary>
    public void RtcAlarm() => Raise(StatusRtc);

    /// <summary>The machine left a sleeping state.</summary>
    public void Wake() => Raise(StatusWake);

    /// <summary>A general purpose event (status bit).</summary>
    public void RaiseGpe(int bit)
    {
        _gpeStatus |= 1UL << bit;
        Sync();
    }

    private void Raise(int status)
    {
        _status |= status;
        Sync();
    }

    private long TimerTicks => (long)((Int128)_clock.Now * TimerFrequency / Clock.NanosecondsPerSecond);

    // The status bit is set whenever bit 23 of the counter changes.
    private long Overflows => TimerTicks >> 23;

    private void UpdateTimerStatus()
    {
        var overflows = Overflows;
        if (overflows != _overflowsSeen)
            _status |= StatusTimer;
        _overflowsSeen = overflows;
    }

    private void Sync()
    {
        UpdateTimerStatus();
        Sci.Level = (_control & ControlSci) != 0
                    && ((_status & _enable & StatusSci) != 0 || (_gpeStatus & _gpeEnable) != 0);
        if ((_enable & StatusTimer) != 0 && (_status & StatusTimer) == 0)
        {
            var ticks = (Int128)((Overflows + 1) << 23) * Clock.NanosecondsPerSecond;
            _overflow.Arm((long)((ticks + TimerFrequency - 1) / TimerFrequency));
        }
        else
            _overflow.Cancel();
    }

    private ulong ReadPm(ulong offset, int size)
    {
        UpdateTimerStatus();
        var value = (offset & ~3UL) switch
        {
            0x00 => (uint)(_status | _enable << 16),
            0x04 => (uint)_control,
            0x08 => (uint)TimerTicks & 0xFFFFFF,
            _ => 0u,
        };
        return value >> (int)(8 * (offset & 3));
    }

    private void WritePm(ulong offset, int size, ulong value)
    {
        UpdateTimerStatus();
        Lanes(offset, size, ref value, out var mask);
        switch (offset & ~3UL)
        {
            case 0x00:
                _status &= ~((int)(value & mask) & StatusWritable);
                if (mask >> 16 != 0)
                    _enable = (int)(Merge((uint)_enable << 16, value, mask) >> 16) & StatusSci;
                break;
            case 0x04:
                WriteControl((int)Merge((uint)_control, value, mask) & 0xFFFF);
                break;
        }

        Sync();
    }

    private void WriteControl(int value)
    {
        // Sleep enable and global release always read as zero.
        _control = value & ~(ControlSleep | ControlGlobalRelease) & 0x1C03;
        if ((value & ControlSleep) == 0)
            return;
        switch ((value >> 10) & 7)
        {
            case 0:
                SleepRequested?.Invoke(SleepState.Off);
                break;
            case 1:
                SleepRequested?.Invoke(SleepState.Suspend);
                break;
            case 2:
                SleepRequested?.Invoke(SleepState.Hibernate);
                break;
        }
    }

    private ulong ReadGpe(ulong offset, int size)
    {
        var half = _gpeBits / 8;
        var at = (int)offset;
        return (byte)(at < half ? _gpeStatus >> (8 * at) : _gpeEnable >> (8 * (at - half)));
    }

    private void WriteGpe(ulong offset, int size, ulong value)
    {
        var half = _gpeBits / 8;
        var at = (int)offset;
        if (at < half)
        {
            _gpeStatus &= ~((value & 0xFF) << (8 * at));
        }
        else
        {
            var shift = 8 * (at - half);
            _gpeEnable = (_gpeEnable & ~(0xFFUL << shift)) | (value & 0xFF) << shift;
        }

        Sync();
    }

    private void WriteApm(ulong offset, int size, ulong value)
    {
        if (offset == 1)
        {
            _apmStatus = (byte)value;
            return;
        }

        _apmControl = (byte)value;
        // Firmware's handler for the first two commands would do just this.
        if (_apmControl == AcpiEnable)
            _control |= ControlSci;
        else if (_apmControl == AcpiDisable)
            _control &= ~ControlSci;
        else if (ApmSmiEnabled)
            SmiRequested?.Invoke();
        Sync();
    }

    /// <summary>Moves a narrow access to its byte lanes of the 32-bit register.</summary>
    private static void Lanes(ulong offset, int size, ref ulong value, out uint mask)
    {
        var shift = (int)(8 * (offset & 3));
        mask = (size >= 4 ? uint.MaxValue : (1u << (8 * size)) - 1) << shift;
        value <<= shift;
    }

    private static uint Merge(uint old, ulong value, uint mask) => (old & ~mask) | ((uint)value & mask);
}
