using Dromaius.Core.Interrupts;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage.Ata;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>82Q35 memory controller hub and ICH9: LPC bridge, AHCI, SMBus.</summary>
internal sealed class Q35Chipset : PciChipset
{
    private const int LpcFunction = 0x1F << 3, SataFunction = LpcFunction + 2, SmBusFunction = LpcFunction + 3;
    private const uint DefaultPmBase = 0x600, GpeOffset = 0x20;
    private const int GpeLength = 16;

    private readonly Q35Mch _host;
    private readonly Ich9Lpc _lpc;

    public Q35Chipset(PcMachine machine)
        : base(machine, new PciBus("pcie.0", machine.Ram.Pci, machine.IoRoot, machine.Memory) { IsExpress = true })
    {
        _host = machine.AddPart(new Q35Mch(Bus, machine.MemoryRoot, machine.Ram.Smm, machine.Ram.Ram, machine.Ram.Pci, machine.Layout.BelowSize));
        Bus.Plug(_host, 0);
        Acpi = machine.AddPart(new AcpiPm(machine.VirtualClock, GpeLength) { AcpiEnable = 2, AcpiDisable = 3 });
        machine.IoRoot.Add(0xB2, Acpi.ApmPorts);
        var tco = machine.AddPart(new TcoTimer(machine.VirtualClock));
        var pm = new Ich9Pm(Acpi, tco, machine.Interrupts.Driver) { HasSystemManagement = machine.Properties.Smm };
        if (machine.Properties.Smm)
        {
            Acpi.SmiRequested = () =>
            {
                pm.NoteApmSmi();
                machine.Processors.RaiseSmi();
            };
        }

        var gsi = new IrqLine[24];
        for (var i = 0; i < gsi.Length; i++)
            gsi[i] = machine.Interrupts.Driver(i);
        _lpc = machine.AddPart(new Ich9Lpc(Bus, gsi, pm, machine.IoRoot, machine.MemoryRoot));
        machine.AddPart(pm);
        Bus.Plug(_lpc, LpcFunction);
        AddResetControl();
        if (machine.Properties.SmBus)
            Bus.Plug(machine.AddPart(new Ich9SmBus(machine.AddEeproms(new SmBus()))), SmBusFunction);
    }

    public override AcpiPm Acpi { get; }

    public override AcpiPlaces Places
    {
        get
        {
            var pm = _lpc.PmBase is not 0 and var set ? set : DefaultPmBase;
            return new AcpiPlaces(pm, pm + GpeOffset, GpeLength, _host.ConfigWindow);
        }
    }

    protected override byte[] BuildDsdt(PcAcpiFacts facts) => Q35Dsdt.Build(facts);

    public override void AddStorage()
    {
        if (Machine.Properties.Sata)
        {
            var sata = Machine.AddPart(new Ahci { IsMultifunction = true, IsHotPluggable = false });
            Bus.Plug(sata, SataFunction);
            Machine.AddAhci(sata);
        }

        if (Machine.Drives.Of(DriveInterface.Floppy).Any())
            _ = Machine.AddPart(Machine.AddFloppyController(null));
    }
}
