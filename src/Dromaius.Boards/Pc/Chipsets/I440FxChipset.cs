using Dromaius.Core.Interrupts;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Firmware.Acpi;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage.Ata;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>82441FX host bridge, PIIX3 ISA bridge and IDE, PIIX4 power management.</summary>
internal sealed class I440FxChipset : PciChipset
{
    /// <summary>The general purpose event registers, and where firmware puts the power management block unless it says otherwise.</summary>
    private const uint GpeBase = 0xAFE0, DefaultPmBase = 0x600, HotplugPorts = 0xAE00;

    private const int IsaSlot = 1 << 3, IdeFunction = IsaSlot + 1, PowerFunction = IsaSlot + 3;

    private readonly Piix4Pm _power;
    private readonly AcpiPciHotplug _hotplug;

    public I440FxChipset(PcMachine machine)
        : base(machine, new PciBus("pci.0", machine.Ram.Pci, machine.IoRoot, machine.Memory))
    {
        var host = machine.AddPart(new I440Fx(machine.MemoryRoot, machine.Ram.Ram, machine.Ram.Pci));
        host.SmramChanged = () => machine.Ram.SmramWindow.Enabled = host.IsSmramEnabled;
        Bus.Plug(host, 0);
        var isa = new IrqLine[16];
        for (var i = 0; i < isa.Length; i++)
            isa[i] = machine.Interrupts.Driver(i);
        Bus.Plug(machine.AddPart(new Piix3(Bus, isa)), IsaSlot);
        AddResetControl();

        Acpi = machine.AddPart(new AcpiPm(machine.VirtualClock));
        Acpi.Sci.Connect(machine.Follow(9));
        if (machine.Properties.Smm)
            Acpi.SmiRequested = machine.Processors.RaiseSmi;
        machine.IoRoot.Add(0xB2, Acpi.ApmPorts);
        machine.IoRoot.Add(GpeBase, Acpi.GpeRegisters);
        _power = machine.AddPart(new Piix4Pm(Acpi, machine.AddPart(machine.AddEeproms(new SmBus())), machine.IoRoot, machine.Properties.Smm));
        if (machine.Properties.Acpi)
            Bus.Plug(_power, PowerFunction);
        _hotplug = machine.AddPart(new AcpiPciHotplug
        {
            EventRaised = () => Acpi.RaiseGpe(HotplugAml.Event), Ejected = machine.FinishUnplug,
        });
        machine.IoRoot.Add(HotplugPorts, _hotplug.Ports);
        if (machine.Properties.Acpi)
            _hotplug.AddBus(Bus);
    }

    public override AcpiPm Acpi { get; }

    public override AcpiPlaces Places => new(_power.Base is not 0 and var set ? set : DefaultPmBase, GpeBase, 4, null);

    public override AcpiPciHotplug Hotplug => _hotplug;

    protected override byte[] BuildDsdt(PcAcpiFacts facts) =>
        Aml.Join(PcDsdt.Build(facts), HotplugAml.Build(HotplugPorts, Bus, [.. _hotplug.Buses], [0, IsaSlot >> 3]));

    public override void NoteBridge(PciBridge bridge)
    {
        if (Machine.Properties.Acpi && bridge is ConventionalBridge && bridge.Bus!.IsHotPluggable)
            _hotplug.AddBus(bridge.Secondary);
    }

    public override void AddStorage()
    {
        var ide = Machine.AddPart(new PiixIde { IsHotPluggable = false });
        Bus.Plug(ide, IdeFunction);
        ide.MapLegacy(Machine.IoRoot);
        for (var i = 0; i < ide.Channels.Count; i++)
            Machine.AddIdeChannel(ide.Channels[i], 14 + i);
        _ = Machine.AddPart(Machine.AddFloppyController(null));
    }
}
