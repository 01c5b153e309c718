using Dromaius.Devices.Firmware;
using Dromaius.Devices.Firmware.Acpi;
using Dromaius.Devices.Virtio;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>
/// The ACPI tables of a machine with reduced hardware. Source: ACPI Specification 6.4, sections 4.1 (hardware-reduced), 5.2.9 (FADT)
/// and 5.6.9 (generic event device).
/// </summary>
internal static class MicrovmAcpi
{
    /// <param name="facts">What is there.</param>
    /// <param name="secondIoApic">There are two I/O APICs.</param>
    /// <param name="devices">Address and interrupt of the virtio devices.</param>
    /// <param name="events">The event register; sleep and reset registers follow at 200h.</param>
    /// <param name="eventIrq">Its interrupt.</param>
    public static AcpiLinker Build(PcAcpiFacts facts, bool secondIoApic, IReadOnlyList<(ulong Address, int Irq)> devices, ulong events, int eventIrq)
    {
        var linker = new AcpiLinker();
        var dsdt = linker.AddTable(PcAcpi.Table(facts, "DSDT", 2).Bytes(NameSpace(facts, devices, (uint)events, eventIrq)));
        var fadt = linker.AddTable(Fadt(facts, dsdt, events + 0x200), (40, 4), (140, 8));
        var madt = linker.AddTable(PcAcpi.Madt(facts, secondIoApic));
        linker.AddRsdp(linker.AddTable(PcAcpi.Table(facts, "RSDT", 1).U32((uint)fadt).U32((uint)madt), (AcpiTable.HeaderLength, 4), (AcpiTable.HeaderLength + 4, 4)),
            facts.OemId);
        return linker;
    }

    private static AcpiTable Fadt(PcAcpiFacts facts, int dsdt, ulong control)
    {
        const uint ResetRegister = 0x400, ReducedHardware = 0x10_0000;
        return PcAcpi.Table(facts, "FACP", 5)
            .U32(0).U32((uint)dsdt).Pad(109 - 44)
            // Boot architecture: nothing of a PC's old devices.
            .U16(0).U8(0).U32(ResetRegister | ReducedHardware)
            .MemoryAddress(control + 2, 8).U8(GenericEventDevice.ResetValue).U16(0).U8(1)
            .U64(0).U64((uint)dsdt)
            .Pad(12 * 8)
            .MemoryAddress(control, 8).MemoryAddress(control + 1, 8);
    }

    private static byte[] NameSpace(PcAcpiFacts facts, IReadOnlyList<(ulong Address, int Irq)> devices, uint events, int eventIrq)
    {
        var parts = new List<byte[]>
        {
            Aml.Device("FWCF",
                Aml.Name("_HID", Aml.Text("QEMU0002")),
                Aml.Name("_STA", Aml.Integer(11)),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Io(0x510, 12)))),
        };
        parts.AddRange(facts.SerialPorts.Select(PcDsdt.Serial));
        parts.Add(Aml.Device("GED",
            Aml.Name("_HID", Aml.Text("ACPI0013")),
            Aml.Name("_UID", Aml.Text("GED")),
            Aml.Name("_CRS", Aml.Resources(AmlResource.EdgeInterrupt((uint)eventIrq))),
            Aml.OperationRegion("EREG", Aml.Space.SystemMemory, events, 4),
            Aml.Field("EREG", 3, ("ESEL", 32)),
            Aml.Method("_EVT", 1, true,
                Aml.Store(Aml.Path("ESEL"), Aml.Local(0)),
                Aml.If(Aml.And(Aml.Local(0), Aml.Integer(GenericEventDevice.PowerDownEvent)), Aml.Notify("PWRB", Aml.Integer(0x80))))));
        parts.Add(Aml.Device("PWRB", Aml.Name("_HID", Aml.EisaId("PNP0C0C")), Aml.Name("_UID", Aml.Zero)));
        for (var i = 0; i < devices.Count; i++)
        {
            parts.Add(Aml.Device($"VR{i:D2}",
                Aml.Name("_HID", Aml.Text("LNRO0005")),
                Aml.Name("_UID", Aml.Integer((ulong)i)),
                Aml.Name("_CCA", Aml.One),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Memory32Fixed((uint)devices[i].Address, (uint)VirtioMmio.Size, true),
                    AmlResource.Interrupt((uint)devices[i].Irq)))));
        }

        parts.Add(PcDsdt.Processors(facts.Topology));
        return Aml.Join(Aml.Scope(@"\_SB", [.. parts]),
            Aml.Name(@"\_S5", Aml.Package(Aml.Integer(GenericEventDevice.SoftOff), Aml.Zero, Aml.Zero, Aml.Zero)));
    }
}
