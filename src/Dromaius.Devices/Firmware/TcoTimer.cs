using Dromaius.Core.Devices;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// The total cost of ownership watchdog: counts down in steps of 0.6 s; the first time it runs out it notes so, the second time it
/// resets the machine, unless strapped not to. Source: Intel ICH9 datasheet (316972), section 13.9.
/// </summary>
public sealed class TcoTimer : Device
{
    private const long Tick = 600_000_000;
    private const int Reload = 0x00, DataIn = 0x02, DataOut = 0x03, Status1 = 0x04, Status2 = 0x06, Control1 = 0x08, Control2 = 0x0A,
        Message1 = 0x0C, Message2 = 0x0D, WatchdogStatus = 0x0E, IrqGeneration = 0x10, TimerInitial = 0x12;

    private const ushort TimeoutStatus = 1 << 3, SecondTimeout = 1 << 1, BootStatus = 1 << 2, Halt = 1 << 11, Lock = 1 << 12;
    private const ushort TimerMask = 0x3FF, DefaultTimer = 4;

    private readonly Clock _clock;
    private readonly Timer _timer;
    private readonly byte[] _bytes = new byte[0x20];
    private long _deadline;
    private bool _ranOut;

    public TcoTimer(Clock clock)
    {
        _clock = clock;
        _timer = clock.CreateTimer(Expired);
        Registers = MemoryRegion.Device("sm-tco", 0x20, Read, Write, 1, 4);
        Reset();
    }

    public override string TypeName => "ich9-tco";

    /// <summary>Goes to PMBASE + 60h.</summary>
    public MemoryRegion Registers { get; }

    /// <summary>It ran out for the second time.</summary>
    public Action? ResetRequested { get; set; }

    public override void Reset()
    {
        Array.Clear(_bytes);
        SetWord(Reload, DefaultTimer);
        SetWord(TimerInitial, DefaultTimer);
        _bytes[IrqGeneration] = 3;
        _ranOut = false;
        _timer.Cancel();
        Restart();
    }

    private ushort Word(int offset) => (ushort)(_bytes[offset] | _bytes[offset + 1] << 8);

    private void SetWord(int offset, ushort value)
    {
        _bytes[offset] = (byte)value;
        _bytes[offset + 1] = (byte)(value >> 8);
    }

    private bool IsHalted => (Word(Control1) & Halt) != 0;

    /// <summary>Counts down from the initial value; values below 4 are not used.</summary>
    private void Restart()
    {
        var ticks = Math.Max(Word(TimerInitial) & TimerMask, DefaultTimer);
        _deadline = _clock.Now + (ticks * Tick);
        if (!IsHalted)
            _timer.Arm(_deadline);
    }

    private void Expired()
    {
        SetWord(Status1, (ushort)(Word(Status1) | TimeoutStatus));
        if (_ranOut)
        {
            SetWord(Status2, (ushort)(Word(Status2) | SecondTimeout | BootStatus));
            _ranOut = false;
            ResetRequested?.Invoke();
            return;
        }

        _ranOut = true;
        Restart();
    }

    private ulong Read(ulong offset, int size)
    {
        if (offset is Reload && !IsHalted)
            SetWord(Reload, (ushort)(Math.Max(0, _deadline - _clock.Now) / Tick & TimerMask));
        var value = 0UL;
        for (var i = 0; i < size && (int)offset + i < _bytes.Length; i++)
            value |= (ulong)_bytes[(int)offset + i] << (8 * i);
        return value;
    }

    private void Write(ulong offset, int size, ulong value)
    {
        var wasHalted = IsHalted;
        var wasLocked = Word(Control1) & Lock;
        for (var i = 0; i < size && (int)offset + i < _bytes.Length; i++)
            WriteByte((int)offset + i, (byte)(value >> (8 * i)));
        SetWord(Control1, (ushort)(Word(Control1) | wasLocked));
        if (offset <= Reload + 1)
        {
            _ranOut = false;
            Restart();
        }

        if (wasHalted == IsHalted)
            return;
        if (IsHalted)
            _timer.Cancel();
        else
            Restart();
    }

    private void WriteByte(int offset, byte value)
    {
        switch (offset)
        {
            case Reload or Reload + 1:
                break;
            case Status1 or Status1 + 1 or Status2 or Status2 + 1:
                _bytes[offset] &= (byte)~value;
                break;
            case DataIn or DataOut or Control2 or Control2 + 1 or Message1 or Message2 or WatchdogStatus or IrqGeneration:
                _bytes[offset] = value;
                break;
            case Control1:
                break;
            case Control1 + 1:
                _bytes[offset] = (byte)(value & 0x1B);
                break;
            case TimerInitial:
                _bytes[offset] = value;
                break;
            case TimerInitial + 1:
                _bytes[offset] = (byte)(value & 3);
                break;
        }
    }
}
