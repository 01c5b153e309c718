using Dromaius.Devices.Firmware;
using Dromaius.Devices.Firmware.Acpi;
using Dromaius.Devices.Isa;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Virtio;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>The part of a PC that its chip set makes: buses, bridges, power management and the disk controllers on the board.</summary>
internal abstract class PcChipset
{
    protected PcChipset(PcMachine machine) => Machine = machine;

    /// <summary>The root PCI bus; null for a machine without.</summary>
    public abstract PciBus? Bus { get; }

    /// <summary>The ACPI registers; null for a machine without ACPI.</summary>
    public virtual AcpiPm? Acpi => null;

    protected PcMachine Machine { get; }

    /// <summary>There are ACPI tables.</summary>
    public virtual bool HasAcpi => Acpi != null && Machine.Properties.Acpi;

    /// <summary>What is added to the kernel's command line.</summary>
    public virtual string KernelArguments => "";

    public virtual void PressPowerButton() => Acpi?.PressPowerButton();

    /// <summary>The virtio transport for a new device; null when there is none.</summary>
    public virtual VirtioMmio? VirtioBus(string type, string? name) => null;

    /// <summary>Where things are that ACPI tables name and firmware moves.</summary>
    public virtual AcpiPlaces Places => default;

    /// <summary>Hot-plug of conventional slots; null for none.</summary>
    public virtual AcpiPciHotplug? Hotplug => null;

    /// <summary>A bridge is there from the start.</summary>
    public virtual void NoteBridge(PciBridge bridge)
    {
    }

    /// <summary>The disk controllers on the board.</summary>
    public virtual void AddStorage()
    {
    }

    public virtual AcpiLinker BuildTables(PcAcpiFacts facts) => PcAcpi.Build(facts, BuildDsdt(facts));

    /// <summary>The name space.</summary>
    protected virtual byte[] BuildDsdt(PcAcpiFacts facts) => [];

    /// <summary>After the devices.</summary>
    public virtual void Reset()
    {
    }
}

/// <summary>A chip set with a PCI root bus and configuration mechanism #1.</summary>
internal abstract class PciChipset : PcChipset
{
    private readonly PciConfigMechanism _config;

    protected PciChipset(PcMachine machine, PciBus bus)
        : base(machine)
    {
        Bus = bus;
        _config = new PciConfigMechanism(bus);
        machine.IoRoot.Add(0xCF8, _config.AddressRegion);
        machine.IoRoot.Add(0xCFC, _config.DataRegion);
    }

    public override PciBus Bus { get; }

    public override void Reset() => _config.Reset();

    /// <summary>Port CF9h.</summary>
    protected void AddResetControl() =>
        _config.ResetControl = Machine.AddPart(new ResetControl { ResetRequested = _ => Machine.RequestReset(EventReason.GuestReset) });
}
