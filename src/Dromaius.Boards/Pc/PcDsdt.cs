using Dromaius.Boards.Pc.Chipsets;
using Dromaius.Devices.Firmware.Acpi;

namespace Dromaius.Boards.Pc;

/// <summary>What the ACPI tables say about a PC.</summary>
internal sealed record PcAcpiFacts
{
    public required CpuTopology Topology { get; init; }

    /// <summary>What firmware places, as it is now.</summary>
    public required AcpiPlaces Places { get; init; }

    /// <summary>Values for the SMI command port that hand ACPI over and back.</summary>
    public byte AcpiEnable { get; init; }
    public byte AcpiDisable { get; init; }

    /// <summary>The chip set can map configuration space into memory.</summary>
    public bool HasConfigWindow { get; init; }

    /// <summary>First address above RAM below 4 GiB: PCI memory starts here.</summary>
    public required uint PciHoleStart { get; init; }

    /// <summary>First address above all RAM.</summary>
    public required ulong RamEnd { get; init; }
    public bool Hpet { get; init; }
    public bool SystemManagement { get; init; }

    /// <summary>Serial ports by number, 0 for COM1.</summary>
    public IReadOnlyList<int> SerialPorts { get; init; } = [];
    public int ParallelPorts { get; init; }
    public bool I8042 { get; init; } = true;

    /// <summary>Port of the panic device, or null.</summary>
    public int? PanicPort { get; init; }
    public string OemId { get; init; } = "DROM";
    public string OemTableId { get; init; } = "DROMPC";
    public IReadOnlyList<byte[]> ExtraTables { get; init; } = [];
}

/// <summary>The differentiated system description of the i440FX PC: its name space in AML.</summary>
internal static class PcDsdt
{
    private static readonly ushort[] SerialBase = [0x3F8, 0x2F8, 0x3E8, 0x2E8];
    private static readonly int[] SerialIrq = [4, 3, 4, 3];

    public static byte[] Build(PcAcpiFacts facts) => Aml.Join(
        Aml.Scope(@"\_SB",
            Aml.Device("PCI0",
                Aml.Name("_HID", Aml.EisaId("PNP0A03")),
                Aml.Name("_ADR", Aml.Zero),
                Aml.Name("_UID", Aml.Zero),
                Aml.Name("_CRS", HostWindows(facts)),
                Aml.Name("_PRT", InterruptRoutes()),
                IsaBridge(facts, 0x0001_0000,
                    Aml.OperationRegion("P40C", Aml.Space.PciConfig, 0x60, 4),
                    Aml.Field("P40C", 1, ("PRQ0", 8), ("PRQ1", 8), ("PRQ2", 8), ("PRQ3", 8)))),
            Link("LNKA", 0),
            Link("LNKB", 1),
            Link("LNKC", 2),
            Link("LNKD", 3),
            SystemControlLink(),
            facts.Hpet ? Hpet() : [],
            Processors(facts.Topology)),
        // Sleep type 0 of the PIIX4 control register is "soft off".
        Aml.Name(@"\_S5", Aml.Package(Aml.Zero, Aml.Zero, Aml.Zero, Aml.Zero)));

    /// <summary>Buses, ports and memory that PCI devices may use.</summary>
    internal static byte[] HostWindows(PcAcpiFacts facts)
    {
        const uint IoApicBase = 0xFEC0_0000;
        // Memory-mapped configuration cuts a piece out. The length of the tables does not depend on where, so that they can change in place.
        var (first, last) = (facts.PciHoleStart, IoApicBase - 1);
        var (next, end) = (1u, 0u);
        if (facts.Places.ConfigWindow is { } window && window.Base >= first && window.Base < IoApicBase)
            (last, next, end) = ((uint)window.Base - 1, (uint)(window.Base + window.Size), IoApicBase - 1);
        if (last < first)
            (first, last, next, end) = (next, end, 1, 0);
        // Room for large 64-bit base address registers above RAM.
        var high = (Math.Max(facts.RamEnd, 1UL << 32) + (1UL << 30) - 1) & ~((1UL << 30) - 1);
        byte[] second = facts.HasConfigWindow ? AmlResource.MemoryRange32(next, end, false) : [];
        return Aml.Resources(
            AmlResource.BusRange(0, 255),
            AmlResource.Io(0xCF8, 8),
            AmlResource.IoRange(0x0000, 0x0CF7),
            AmlResource.IoRange(0x0D00, 0xFFFF),
            AmlResource.MemoryRange32(0x000A_0000, 0x000B_FFFF, true),
            AmlResource.MemoryRange32(first, last, false),
            second,
            AmlResource.MemoryRange64(high, high + (2UL << 30) - 1));
    }

    /// <summary>Slot and pin to link device: the wiring of <see cref="Dromaius.Devices.Pci.PciBus"/>.</summary>
    private static byte[] InterruptRoutes()
    {
        string[] links = ["LNKD", "LNKA", "LNKB", "LNKC"];
        var routes = new List<byte[]>();
        for (var slot = 0u; slot < 32; slot++)
        {
            for (var pin = 0u; pin < 4; pin++)
            {
                // Power management sits in slot 1 and interrupts on 9 whatever the links say.
                var link = slot == 1 && pin == 0 ? "LNKS" : links[(slot + pin) & 3];
                routes.Add(Aml.Package(Aml.Integer((slot << 16) | 0xFFFF), Aml.Integer(pin), Aml.Path(link), Aml.Zero));
            }
        }

        return Aml.Package([.. routes]);
    }

    /// <summary>A link device: one PIRQ routing register of the PIIX3.</summary>
    internal static byte[] Link(string name, int line)
    {
        var register = Aml.Path(@$"\_SB.PCI0.ISA.PRQ{line}");
        const ulong Disabled = 0x80;
        return Aml.Device(name,
            Aml.Name("_HID", Aml.EisaId("PNP0C0F")),
            Aml.Name("_UID", Aml.Integer((ulong)line)),
            Aml.Name("_PRS", Aml.Resources(AmlResource.Interrupt(5, 10, 11))),
            Aml.Method("_STA", 0, false,
                Aml.If(Aml.And(register, Aml.Integer(Disabled)), Aml.Return(Aml.Integer(9))),
                Aml.Return(Aml.Integer(11))),
            Aml.Method("_DIS", 0, false, Aml.Or(register, Aml.Integer(Disabled), register)),
            Aml.Method("_CRS", 0, true,
                Aml.Name("PRR0", Aml.Resources(AmlResource.Interrupt(0))),
                Aml.CreateDWordField(Aml.Path("PRR0"), 5, "PRRI"),
                Aml.If(Aml.Not(Aml.And(register, Aml.Integer(Disabled))),
                    Aml.Store(Aml.And(register, Aml.Integer(15)), Aml.Path("PRRI"))),
                Aml.Return(Aml.Path("PRR0"))),
            Aml.Method("_SRS", 1, false,
                Aml.CreateDWordField(Aml.Arg(0), 5, "PRRI"),
                Aml.Store(Aml.Path("PRRI"), register)));
    }

    private static byte[] SystemControlLink() => Aml.Device("LNKS",
        Aml.Name("_HID", Aml.EisaId("PNP0C0F")),
        Aml.Name("_UID", Aml.Integer(4)),
        Aml.Name("_PRS", Aml.Resources(AmlResource.Interrupt(9))),
        Aml.Method("_STA", 0, false, Aml.Return(Aml.Integer(11))),
        Aml.Method("_DIS", 0, false),
        Aml.Method("_CRS", 0, false, Aml.Return(Aml.Path("_PRS"))),
        Aml.Method("_SRS", 1, false));

    /// <param name="facts">What is there.</param>
    /// <param name="address">Slot and function.</param>
    /// <param name="routing">The fields of the interrupt routing registers.</param>
    internal static byte[] IsaBridge(PcAcpiFacts facts, uint address, params byte[][] routing)
    {
        var children = new List<byte[]>
        {
            Aml.Name("_ADR", Aml.Integer(address)),
            Aml.Join(routing),
            Aml.Device("RTC",
                Aml.Name("_HID", Aml.EisaId("PNP0B00")),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Io(0x70, 8), AmlResource.Irq(8)))),
        };
        if (facts.I8042)
        {
            children.Add(Aml.Device("KBD",
                Aml.Name("_HID", Aml.EisaId("PNP0303")),
                Aml.Name("_STA", Aml.Integer(15)),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Io(0x60, 1), AmlResource.Io(0x64, 1), AmlResource.Irq(1)))));
            children.Add(Aml.Device("MOU",
                Aml.Name("_HID", Aml.EisaId("PNP0F13")),
                Aml.Name("_STA", Aml.Integer(15)),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Irq(12)))));
        }

        for (var i = 0; i < facts.ParallelPorts; i++)
        {
            children.Add(Aml.Device($"LPT{i + 1}",
                Aml.Name("_HID", Aml.EisaId("PNP0400")),
                Aml.Name("_UID", Aml.Integer((ulong)i + 1)),
                Aml.Name("_STA", Aml.Integer(15)),
                Aml.Name("_CRS", Aml.Resources(AmlResource.Io((ushort)(0x378 - (0x100 * i)), 8, 8), AmlResource.Irq(7 - (2 * i))))));
        }

        children.AddRange(facts.SerialPorts.Select(Serial));

        children.Add(Aml.Device("FWCF",
            Aml.Name("_HID", Aml.Text("QEMU0002")),
            Aml.Name("_STA", Aml.Integer(11)),
            Aml.Name("_CRS", Aml.Resources(AmlResource.Io(0x510, 12)))));
        if (facts.PanicPort is { } panic)
            children.Add(Panic((ushort)panic));
        return Aml.Device("ISA", [.. children]);
    }

    internal static byte[] Serial(int port) => Aml.Device($"COM{port + 1}",
        Aml.Name("_HID", Aml.EisaId("PNP0501")),
        Aml.Name("_UID", Aml.Integer((ulong)port + 1)),
        Aml.Name("_STA", Aml.Integer(15)),
        Aml.Name("_CRS", Aml.Resources(AmlResource.Io(SerialBase[port], 8, 8), AmlResource.Irq(SerialIrq[port]))));

    private static byte[] Panic(ushort port) => Aml.Device("PEVT",
        Aml.Name("_HID", Aml.Text("QEMU0001")),
        Aml.Name("_STA", Aml.Integer(15)),
        Aml.Name("_CRS", Aml.Resources(AmlResource.Io(port, 1))),
        Aml.OperationRegion("PEOR", Aml.Space.SystemIo, port, 1),
        Aml.Field("PEOR", 1, ("PEPT", 8)),
        Aml.Method("RDPT", 0, false, Aml.Return(Aml.Path("PEPT"))),
        Aml.Method("WRPT", 1, false, Aml.Store(Aml.Arg(0), Aml.Path("PEPT"))));

    internal static byte[] Hpet() => Aml.Device("HPET",
        Aml.Name("_HID", Aml.EisaId("PNP0103")),
        Aml.Name("_UID", Aml.Zero),
        Aml.Name("_STA", Aml.Integer(15)),
        Aml.Name("_CRS", Aml.Resources(AmlResource.Memory32Fixed(0xFED0_0000, 0x400, false))));

    internal static byte[] Processors(CpuTopology topology)
    {
        var processors = new List<byte[]>();
        for (var i = 0; i < topology.Cpus; i++)
            processors.Add(Aml.Processor($"C{i:X3}", (byte)i));
        return Aml.Join([.. processors]);
    }
}
