using Dromaius.Boards.Pc.Loaders;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Firmware.Acpi;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Virtio;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>
/// The board for small guests: no PCI, virtio devices behind memory-mapped registers, and with ACPI the reduced hardware model. Source:
/// "microvm virtual platform" of QEMU's documentation.
/// </summary>
internal sealed class MicrovmChipset : PcChipset
{
    private const ulong EventBase = 0xFEA0_0000, ControlBase = EventBase + 0x200, TransportBase = 0xFEB0_0000;
    private const int EventIrq = 9;

    private readonly VirtioMmio[] _transports;
    private readonly int _firstIrq;
    private readonly GenericEventDevice? _events;

    public MicrovmChipset(PcMachine machine)
        : base(machine)
    {
        var acpi = machine.Properties.Acpi;
        // Of the pins of the first I/O APIC few are free.
        _firstIrq = machine.Interrupts.PinCount > 24 ? 24 : acpi ? 16 : 5;
        _transports = new VirtioMmio[_firstIrq == 24 ? 24 : 8];
        var legacy = machine.Options.Globals.LastOrDefault(static g => g is { Driver: "virtio-mmio", Property: "force-legacy" })?.Value is not { } value
            || !PropertyValues.TryParseBool(value, out var forced) || forced;
        for (var i = 0; i < _transports.Length; i++)
        {
            var transport = _transports[i] = machine.AddPart(new VirtioMmio(legacy));
            machine.MemoryRoot.Add(TransportBase + ((ulong)i * VirtioMmio.Size), transport.Registers);
            transport.Irq.Connect(machine.Follow(_firstIrq + i));
        }

        if (!acpi)
            return;
        _events = machine.AddPart(new GenericEventDevice
        {
            SleepRequested = () => machine.RequestShutdown(EventReason.GuestShutdown), ResetRequested = () => machine.RequestReset(EventReason.GuestReset),
        });
        machine.MemoryRoot.Add(EventBase, _events.Events);
        machine.MemoryRoot.Add(ControlBase, _events.Control);
        _events.Irq.Connect(machine.Follow(EventIrq));
    }

    public override PciBus? Bus => null;

    public override bool HasAcpi => _events != null;

    /// <summary>What the kernel is told where ACPI tables do not tell it.</summary>
    public override string KernelArguments => _events != null || !Machine.Properties.AutoKernelCommandLine
        ? ""
        : string.Concat(Occupied.Select(i => $" virtio_mmio.device=512@0x{TransportBase + ((ulong)i * VirtioMmio.Size):x}:{_firstIrq + i}"));

    private IEnumerable<int> Occupied => Enumerable.Range(0, _transports.Length).Where(i => _transports[i].Device != null);

    public override void PressPowerButton() => _events?.PressPowerButton();

    /// <summary>The transport that a new device names, or the last free one.</summary>
    public override VirtioMmio? VirtioBus(string type, string? name)
    {
        const string Prefix = "virtio-mmio-bus.";
        if (name == null)
            return _transports.LastOrDefault(static t => t.Device == null);
        if (!name.StartsWith(Prefix, StringComparison.Ordinal) || !int.TryParse(name.AsSpan(Prefix.Length), out var number) || (uint)number >= (uint)_transports.Length)
            throw new UserErrorException($"Bus '{name}' not found");
        return _transports[number].Device == null ? _transports[number] : throw new UserErrorException($"Bus '{name}' is full");
    }

    public override AcpiLinker BuildTables(PcAcpiFacts facts) => MicrovmAcpi.Build(facts, Machine.Interrupts.PinCount > 24,
        [.. Occupied.Select(i => (TransportBase + ((ulong)i * VirtioMmio.Size), _firstIrq + i))], EventBase, EventIrq);
}
