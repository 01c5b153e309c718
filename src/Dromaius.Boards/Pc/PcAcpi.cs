using Dromaius.Devices.Firmware.Acpi;

namespace Dromaius.Boards.Pc;

/// <summary>
/// The ACPI tables of a PC, with the loader commands for them. Source: ACPI Specification 6.4, sections 5.2.9 (FADT), 5.2.10
/// (FACS), 5.2.12 (MADT); PCI Firmware Specification 3.0, section 4.1.2 (MCFG); IA-PC HPET Specification 1.0a, section 3.2.4; Windows ACPI Emulated Devices Table specification.
/// </summary>
internal static class PcAcpi
{
    private const int SciInterrupt = 9;
    private const uint LocalApicBase = 0xFEE0_0000, IoApicBase = 0xFEC0_0000, HpetBase = 0xFED0_0000;

    /// <param name="facts">What is there.</param>
    /// <param name="nameSpace">The name space.</param>
    public static AcpiLinker Build(PcAcpiFacts facts, byte[] nameSpace)
    {
        var linker = new AcpiLinker();
        var facs = linker.AddRaw(Facs(), 64);
        var dsdt = linker.AddTable(Table(facts, "DSDT", 1).Bytes(nameSpace));
        List<int> tables =
        [
            // Pointers: FIRMWARE_CTRL, DSDT and X_DSDT.
            linker.AddTable(Fadt(facts, facs, dsdt), (36, 4), (40, 4), (140, 8)),
            linker.AddTable(Madt(facts)),
        ];
        if (facts.Hpet)
            tables.Add(linker.AddTable(Hpet(facts)));
        if (facts.HasConfigWindow)
            tables.Add(linker.AddTable(Mcfg(facts)));
        tables.Add(linker.AddTable(Table(facts, "WAET", 1).U32(2)));
        foreach (var extra in facts.ExtraTables)
            tables.Add(linker.AddRaw(extra, 8));

        var rsdt = Table(facts, "RSDT", 1);
        foreach (var table in tables)
            rsdt.U32((uint)table);
        var pointers = tables.Select(static (_, i) => (AcpiTable.HeaderLength + (4 * i), 4)).ToArray();
        linker.AddRsdp(linker.AddTable(rsdt, pointers), facts.OemId);
        return linker;
    }

    internal static AcpiTable Table(PcAcpiFacts facts, string signature, byte revision) =>
        new(signature, revision, facts.OemId, (facts.OemTableId.Length > 4 ? facts.OemTableId[..4] : facts.OemTableId).PadRight(4)
            + signature);

    private static byte[] Facs()
    {
        var facs = new byte[64];
        "FACS"u8.CopyTo(facs);
        facs[4] = 64;
        return facs;
    }

    private static AcpiTable Fadt(PcAcpiFacts facts, int facs, int dsdt)
    {
        const uint WriteBackInvalidate = 1, ProcessorC1 = 4, SleepButton = 0x20, RtcS4 = 0x80, ResetRegister = 0x400,
            PlatformClock = 0x8000, ApicCluster = 0x4_0000;
        const ushort LegacyDevices = 1, Controller8042 = 2;
        var flags = WriteBackInvalidate | ProcessorC1 | SleepButton | RtcS4 | ResetRegister | PlatformClock
            | (facts.Topology.MaxCpus > 8 ? ApicCluster : 0);
        var (pmBase, gpeBase, gpeLength, _) = facts.Places;
        var table = Table(facts, "FACP", 3)
            .U32((uint)facs).U32((uint)dsdt)
            .U8(1).U8(0)
            .U16(SciInterrupt)
            // SMI command port and the values that hand ACPI over and back.
            .U32(0xB2).U8(facts.AcpiEnable).U8(facts.AcpiDisable)
            .U8(0).U8(0)
            .U32(pmBase).U32(0).U32(pmBase + 4).U32(0).U32(0).U32(pmBase + 8).U32(gpeBase).U32(0)
            // Lengths: event, control, PM2, timer, GPE0, GPE1; GPE1 base; C-state control.
            .U8(4).U8(2).U8(0).U8(4).U8(gpeLength).U8(0).U8(0).U8(0)
            // C2 and C3 latencies beyond use.
            .U16(0xFFF).U16(0xFFF)
            .U16(0).U16(0).U8(0).U8(0)
            // CMOS: no day or month alarm; the century.
            .U8(0).U8(0).U8(0x32)
            .U16((ushort)(LegacyDevices | (facts.I8042 ? Controller8042 : 0)))
            .U8(0)
            .U32(flags)
            .IoAddress(0xCF9, 8).U8(facts.HasConfigWindow ? (byte)0x0F : (byte)0x06)
            .Pad(3)
            .U64(0).U64((uint)dsdt)
            .IoAddress(pmBase, 32).IoAddress(0, 0)
            .IoAddress(pmBase + 4, 16).IoAddress(0, 0)
            .IoAddress(0, 0)
            .IoAddress(pmBase + 8, 32)
            .IoAddress(gpeBase, 8 * gpeLength).IoAddress(0, 0);
        return table;
    }

    internal static AcpiTable Madt(PcAcpiFacts facts, bool secondIoApic = false)
    {
        const uint PcAtCompatible = 1;
        const ushort ActiveHighLevel = 0xD;
        var table = Table(facts, "APIC", 3).U32(LocalApicBase).U32(PcAtCompatible);
        var wide = false;
        for (var i = 0; i < facts.Topology.Cpus; i++)
        {
            var id = facts.Topology.ApicId(i);
            if (id < 255)
            {
                table.U8(0).U8(8).U8((byte)i).U8((byte)id).U32(1);
            }
            else
            {
                wide = true;
                table.U8(9).U8(16).U16(0).U32((uint)id).U32(1).U32((uint)i);
            }
        }

        table.U8(1).U8(12).U8(0).U8(0).U32(IoApicBase).U32(0);
        if (secondIoApic)
            table.U8(1).U8(12).U8(1).U8(0).U32(IoApicBase + 0x1_0000).U32(24);
        // The timer comes in on pin 2; interrupts that PCI may use are level-triggered.
        table.U8(2).U8(10).U8(0).U8(0).U32(2).U16(0);
        foreach (var irq in (byte[])[5, 9, 10, 11])
            table.U8(2).U8(10).U8(0).U8(irq).U32(irq).U16(ActiveHighLevel);
        // NMI arrives at LINT1 of every processor.
        table.U8(4).U8(6).U8(0xFF).U16(0).U8(1);
        if (wide)
            table.U8(10).U8(12).U16(0).U32(uint.MaxValue).U8(1).Pad(3);
        return table;
    }

    /// <summary>Memory-mapped configuration of all buses of segment 0.</summary>
    private static AcpiTable Mcfg(PcAcpiFacts facts)
    {
        var (start, size) = facts.Places.ConfigWindow ?? (0, 0);
        // Without a window yet the entry names none; firmware that uses one has set it up before it reads the tables.
        return Table(facts, "MCFG", 1).U64(0).U64(start).U16(0).U8(0).U8((byte)(size == 0 ? 0 : (size >> 20) - 1)).U32(0);
    }

    private static AcpiTable Hpet(PcAcpiFacts facts) =>
        Table(facts, "HPET", 1).U32(0x8086_A201).MemoryAddress(HpetBase).U8(0).U16(0).U8(0);
}
