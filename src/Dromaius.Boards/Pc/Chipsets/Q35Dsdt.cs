using Dromaius.Devices.Firmware.Acpi;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>
/// The name space of the Q35: the PCI Express root with its control handover, interrupt links for the 8259 and the I/O APIC, and
/// the devices behind the LPC bridge. Sources: ACPI Specification 6.4, section 6.2.13 (_PRT); PCI Firmware Specification 3.0, sections
/// 4.1.2 (MMCONFIG reservation) and 4.5.1 (_OSC).
/// </summary>
internal static class Q35Dsdt
{
    private const int Lines = 8;

    public static byte[] Build(PcAcpiFacts facts) => Aml.Join(
        // Which interrupt controller the system chose: 0 the 8259 pair, 1 the I/O APIC.
        Aml.Name(@"\PICF", Aml.Zero),
        Aml.Method(@"\_PIC", 1, false, Aml.Store(Aml.Arg(0), Aml.Path(@"\PICF"))),
        Aml.Scope(@"\_SB",
            Aml.Device("PCI0",
                Aml.Name("_HID", Aml.EisaId("PNP0A08")),
                Aml.Name("_CID", Aml.EisaId("PNP0A03")),
                Aml.Name("_ADR", Aml.Zero),
                Aml.Name("_UID", Aml.Zero),
                Aml.Name("_CRS", PcDsdt.HostWindows(facts)),
                Aml.Name("PRTP", Routes("LNK")),
                Aml.Name("PRTA", Routes("GSI")),
                Aml.Method("_PRT", 0, false,
                    Aml.If(Aml.Equal(Aml.Path(@"\PICF"), Aml.Zero), Aml.Return(Aml.Path("PRTP"))),
                    Aml.Return(Aml.Path("PRTA"))),
                OperatingSystemCapabilities(),
                PcDsdt.IsaBridge(facts, 0x001F_0000,
                    Aml.OperationRegion("PIRQ", Aml.Space.PciConfig, 0x60, 12),
                    Aml.Field("PIRQ", 1, ("PRQ0", 8), ("PRQ1", 8), ("PRQ2", 8), ("PRQ3", 8), (null, 32), ("PRQ4", 8), ("PRQ5", 8), ("PRQ6", 8),
                        ("PRQ7", 8)))),
            Aml.Join([.. Enumerable.Range(0, Lines).Select(static i => PcDsdt.Link($"LNK{(char)('A' + i)}", i))]),
            Aml.Join([.. Enumerable.Range(0, Lines).Select(static i => PinLink($"GSI{(char)('A' + i)}", (uint)i))]),
            ConfigurationWindow(facts),
            facts.Hpet ? PcDsdt.Hpet() : [],
            PcDsdt.Processors(facts.Topology)),
        Aml.Name(@"\_S5", Aml.Package(Aml.Zero, Aml.Zero, Aml.Zero, Aml.Zero)));

    /// <summary>Slot and pin to link device: the reset values of the route registers of <see cref="Dromaius.Devices.Pci.Ich9Lpc"/>.</summary>
    private static byte[] Routes(string links)
    {
        var routes = new List<byte[]>();
        for (var slot = 0u; slot < 32; slot++)
        {
            for (var pin = 0u; pin < 4; pin++)
            {
                var line = slot is >= 25 and not 30 ? pin : (((slot == 30 ? 0 : slot) + pin) & 3) + 4;
                routes.Add(Aml.Package(Aml.Integer((slot << 16) | 0xFFFF), Aml.Integer(pin), Aml.Path($"{links}{(char)('A' + line)}"), Aml.Zero));
            }
        }

        return Aml.Package([.. routes]);
    }

    /// <summary>A link that is wired: a PIRQ on its own pin of the I/O APIC.</summary>
    private static byte[] PinLink(string name, uint line) => Aml.Device(name,
        Aml.Name("_HID", Aml.EisaId("PNP0C0F")),
        Aml.Name("_UID", Aml.Integer(0x10 + line)),
        Aml.Name("_PRS", Aml.Resources(AmlResource.Interrupt(16 + line))),
        Aml.Name("_CRS", Aml.Resources(AmlResource.Interrupt(16 + line))),
        Aml.Method("_SRS", 1, false));

    /// <summary>The system may take over hot-plug, power events, error reporting and the PCI Express capabilities.</summary>
    private static byte[] OperatingSystemCapabilities()
    {
        const ulong WrongRevision = 0x08, Masked = 0x10, WrongUuid = 0x04, Granted = 0x1F;
        var control = Aml.Local(0);
        return Aml.Method("_OSC", 4, false,
            Aml.CreateDWordField(Aml.Arg(3), 0, "CDW1"),
            Aml.If(Aml.Equal(Aml.Arg(0), Aml.Uuid("33DB4D5B-1FF7-401C-9657-7441C03DD766")),
                Aml.CreateDWordField(Aml.Arg(3), 4, "CDW2"),
                Aml.CreateDWordField(Aml.Arg(3), 8, "CDW3"),
                Aml.Store(Aml.Path("CDW3"), control),
                Aml.And(control, Aml.Integer(Granted), control),
                Aml.If(Aml.Not(Aml.Equal(Aml.Arg(1), Aml.One)),
                    Aml.Or(Aml.Path("CDW1"), Aml.Integer(WrongRevision), Aml.Path("CDW1"))),
                Aml.If(Aml.Not(Aml.Equal(Aml.Path("CDW3"), control)),
                    Aml.Or(Aml.Path("CDW1"), Aml.Integer(Masked), Aml.Path("CDW1"))),
                Aml.Store(control, Aml.Path("CDW3"))),
            Aml.Else(Aml.Or(Aml.Path("CDW1"), Aml.Integer(WrongUuid), Aml.Path("CDW1"))),
            Aml.Return(Aml.Arg(3)));
    }

    /// <summary>Reserves the addresses of memory-mapped configuration.</summary>
    private static byte[] ConfigurationWindow(PcAcpiFacts facts)
    {
        var (start, size) = facts.Places.ConfigWindow is { } window ? ((uint)window.Base, (uint)window.Size) : (0, 0);
        return Aml.Device("DRAC",
            Aml.Name("_HID", Aml.EisaId("PNP0C01")),
            Aml.Name("_CRS", Aml.Resources(AmlResource.Memory32Fixed(start, size, true))));
    }
}
