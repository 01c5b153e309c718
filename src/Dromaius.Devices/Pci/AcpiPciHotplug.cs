using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// Hot-plug of conventional PCI slots by way of ACPI: registers that tell firmware code which slots to look at and eject, for the bus
/// that it selected. Source: "QEMU&lt;-&gt;ACPI BIOS PCI hotplug interface".
/// </summary>
public sealed class AcpiPciHotplug : Device
{
    private const int Up = 0x00, Down = 0x04, Eject = 0x08, Removable = 0x0C, BusSelect = 0x10;

    private readonly List<State> _buses = [];
    private uint _selected;

    public AcpiPciHotplug() => Ports = MemoryRegion.Device("acpi-pci-hotplug", 0x18, Read, Write, 4, 4);

    public override string TypeName => "acpi-pci-hotplug";

    /// <summary>The registers.</summary>
    public MemoryRegion Ports { get; }

    /// <summary>Slots changed: firmware code shall look.</summary>
    public Action? EventRaised { get; set; }

    /// <summary>The system gave a function away.</summary>
    public Action<PciFunction>? Ejected { get; set; }

    /// <summary>The buses, by the number that selects them.</summary>
    public IEnumerable<PciBus> Buses => _buses.Select(static b => b.Bus);

    /// <summary>Offers a bus's slots.</summary>
    public void AddBus(PciBus bus)
    {
        bus.IsHotPluggable = true;
        _buses.Add(new State(bus));
    }

    /// <summary>A function came while the machine runs.</summary>
    public void NotePlugged(PciFunction function)
    {
        if (Find(function) is not { } state)
            return;
        state.Up |= 1u << function.Slot;
        EventRaised?.Invoke();
    }

    /// <summary>Asks the system to give a slot away.</summary>
    public void RequestUnplug(PciFunction function)
    {
        if (Find(function) is not { } state)
            return;
        state.Down |= 1u << function.Slot;
        EventRaised?.Invoke();
    }

    /// <summary>What was asked for and not done is done now: no system runs any more.</summary>
    public override void Reset()
    {
        _selected = 0;
        foreach (var state in _buses)
        {
            EjectSlots(state, state.Down);
            state.Up = state.Down = 0;
        }
    }

    private State? Find(PciFunction function) => _buses.Find(b => b.Bus == function.Bus);

    private State? Selected => _selected < (uint)_buses.Count ? _buses[(int)_selected] : null;

    private void EjectSlots(State state, uint slots)
    {
        foreach (var function in state.Bus.Functions.ToList())
        {
            if ((slots >> function.Slot & 1) != 0 && function.IsHotPluggable)
                Ejected?.Invoke(function);
        }

        state.Down &= ~slots;
    }

    private static uint RemovableSlots(PciBus bus)
    {
        var slots = uint.MaxValue;
        foreach (var function in bus.Functions)
        {
            if (!function.IsHotPluggable)
                slots &= ~(1u << function.Slot);
        }

        return slots;
    }

    private ulong Read(ulong offset, int size)
    {
        switch (offset)
        {
            case Up when Selected is { } state:
                // Read once: the system takes them on.
                var up = state.Up;
                state.Up = 0;
                return up;
            case Down when Selected is { } state:
                return state.Down;
            case Removable when Selected is { } state:
                return RemovableSlots(state.Bus);
            case BusSelect:
                return _selected;
            default:
                return 0;
        }
    }

    private void Write(ulong offset, int size, ulong value)
    {
        switch (offset)
        {
            case Eject when Selected is { } state:
                EjectSlots(state, (uint)value);
                break;
            case BusSelect:
                _selected = (uint)value;
                break;
        }
    }

    private sealed class State(PciBus bus)
    {
        public PciBus Bus => bus;
        public uint Up { get; set; }
        public uint Down { get; set; }
    }
}
