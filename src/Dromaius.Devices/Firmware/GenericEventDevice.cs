using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// Events of a machine with reduced ACPI hardware: a register that says what happened, and the sleep and reset registers. Sources: ACPI
/// Specification 6.4, sections 5.6.9 (generic event device) and 4.8.3.7 (sleep control and status registers).
/// </summary>
public sealed class GenericEventDevice : Device
{
    /// <summary>Event bit, and the value that resets the machine.</summary>
    public const uint PowerDownEvent = 2;
    public const byte ResetValue = 0x42;

    /// <summary>Sleep type of soft-off.</summary>
    public const byte SoftOff = 5;

    private const byte SleepEnable = 0x20;
    private uint _events;

    public GenericEventDevice()
    {
        Events = MemoryRegion.Device("acpi-ged", 4, ReadEvents, static (_, _, _) => { }, 4, 4);
        Control = MemoryRegion.Device("acpi-ged-regs", 3, static (_, _) => 0, WriteControl, 1, 1);
    }

    public override string TypeName => "acpi-ged-x86";

    /// <summary>Reading tells the events and forgets them.</summary>
    public MemoryRegion Events { get; }

    /// <summary>Sleep control, sleep status and reset, a byte each.</summary>
    public MemoryRegion Control { get; }

    /// <summary>Pulses for every event.</summary>
    public IrqLine Irq { get; } = new();

    public Action? SleepRequested { get; set; }
    public Action? ResetRequested { get; set; }

    public override void Reset()
    {
        _events = 0;
        Irq.Level = false;
    }

    public void PressPowerButton()
    {
        _events |= PowerDownEvent;
        Irq.Pulse();
    }

    private ulong ReadEvents(ulong offset, int size)
    {
        var events = _events;
        _events = 0;
        return events;
    }

    private void WriteControl(ulong offset, int size, ulong value)
    {
        if (offset == 0 && (value & SleepEnable) != 0 && ((value >> 2) & 7) == SoftOff)
            SleepRequested?.Invoke();
        else if (offset == 2 && (byte)value == ResetValue)
            ResetRequested?.Invoke();
    }
}
