using System.Buffers.Binary;
using System.Text;
using Dromaius.Boards.Pc.Chipsets;
using Dromaius.Boards.Pc.Loaders;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Firmware.Acpi;

namespace Dromaius.Boards.Pc;

/// <summary>Fills the firmware configuration device of a PC.</summary>
internal static class PcFirmwareConfig
{
    private const int NameLimit = 55;

    public static void Fill(FwCfg config, MachineOptions options, PcProperties properties, CpuTopology topology,
        PcMemoryLayout layout, bool hpet)
    {
        // UUIDs are written most significant byte first here.
        config.Add(FwCfgKey.Uuid, (options.Uuid ?? Guid.Empty).ToByteArray(bigEndian: true));
        config.Add(FwCfgKey.RamSize, options.RamSize);
        config.Add(FwCfgKey.NoGraphic, (ushort)(properties.Graphics ? 0 : 1));
        config.Add(FwCfgKey.CpuCount, (ushort)topology.Cpus);
        var idLimit = topology.ApicId(topology.MaxCpus - 1) + 1;
        config.Add(FwCfgKey.MaxCpus, (ushort)idLimit);
        config.Add(FwCfgKey.BootDevice, (ushort)(options.Boot.Order.Length > 0 ? options.Boot.Order[0] : 'c'));
        config.Add(FwCfgKey.BootMenu, (ushort)(options.Boot.Menu ? 1 : 0));
        config.Add(FwCfgKey.Numa, new byte[8 * (1 + idLimit)]);
        config.Add(FwCfgKey.Irq0Override, 1u);
        config.Add(FwCfgKey.HpetTable, HpetTable(hpet));
        config.AddFile("etc/e820", E820(layout));
        config.AddFile("etc/boot-fail-wait", U32((uint)(options.Boot.RebootTimeout ?? -1)));
        // For states 1 to 5: bit 7 the state exists, below it the sleep type for the control register. Only soft-off does.
        config.AddFile("etc/system-states", [128, 0, 0, 1, 2, 128]);
        if (options.Boot.SplashTime is { } splash)
            config.AddFile("etc/boot-menu-wait", U32((uint)splash)[..2]);
    }

    /// <summary>The items of a kernel from the command line; it boots before any other device.</summary>
    /// <param name="config">Where to.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="order">Where it boots.</param>
    /// <param name="rom">With the ROM that starts it; without, the firmware knows how.</param>
    public static void AddKernel(FwCfg config, KernelBoot kernel, BootOrder order, bool rom)
    {
        foreach (var (key, data) in kernel.Items)
            config.Add(key, data);
        if (!rom)
            return;
        config.AddFile($"genroms/{kernel.RomName}", kernel.Rom);
        order.AddFirst($"/rom@genroms/{kernel.RomName}");
    }

    /// <summary>The ACPI tables, kept up to date with where the firmware puts registers; their length does not change.</summary>
    public static void AddAcpi(FwCfg config, PcAcpiFacts facts, PcChipset chipset)
    {
        var built = facts.Places;
        var linker = chipset.BuildTables(facts);
        var tables = linker.Tables;
        config.AddFile(AcpiLinker.TablesFile, tables, selected: () =>
        {
            var now = chipset.Places;
            if (now == built)
                return;
            built = now;
            var moved = facts with { Places = now };
            chipset.BuildTables(moved).Tables.CopyTo(tables, 0);
        });
        config.AddFile(AcpiLinker.RsdpFile, linker.Rsdp!);
        config.AddFile(AcpiLinker.LoaderFile, linker.Commands);
    }

    public static void AddSmbios(FwCfg config, Smbios smbios, bool wide)
    {
        config.AddFile(Smbios.TablesFile, smbios.Tables);
        config.AddFile(Smbios.AnchorFile, wide ? smbios.EntryPoint30() : smbios.EntryPoint21());
    }

    /// <summary>The user's <c>-fw_cfg</c> files.</summary>
    public static void AddUserFiles(FwCfg config, MachineOptions options)
    {
        foreach (var option in options.FwCfg)
        {
            if (string.IsNullOrEmpty(option.Name) || (option.File == null) == (option.String == null))
                throw new UserErrorException($"{option.Text}: name, plus exactly one of file and string, are needed");
            if (option.Name.Length > NameLimit)
                throw new UserErrorException($"{option.Text}: name too long (max. {NameLimit} char)");
            if (!option.Name.StartsWith("opt/", StringComparison.Ordinal))
                options.Warn($"{option.Text}: warning: externally provided fw_cfg item names should be prefixed with \"opt/\"");
            var data = option.String is { } text
                ? Encoding.UTF8.GetBytes(text)
                : HostFile.Read(option.File!, option.Text);
            if (config.File(option.Name) != null)
                throw new UserErrorException($"{option.Text}: duplicate fw_cfg file name: {option.Name}");
            config.AddFile(option.Name, data);
        }
    }

    public static void AddBootOrder(FwCfg config, BootOrder order, bool strict)
    {
        config.AddFile("bootorder", Encoding.ASCII.GetBytes(order.Text(strict)));
        if (order.Geometries.Length > 0)
            config.AddFile("bios-geometry", Encoding.ASCII.GetBytes(order.Geometries + "\0"));
    }

    private static byte[] E820(PcMemoryLayout layout)
    {
        const uint Ram = 1;
        var table = new byte[layout.AboveSize > 0 ? 40 : 20];
        Entry(table, 0, layout.BelowSize);
        if (layout.AboveSize > 0)
            Entry(table.AsSpan(20), PcMemoryLayout.FourGiB, layout.AboveSize);
        return table;

        static void Entry(Span<byte> at, ulong start, ulong size)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(at, start);
            BinaryPrimitives.WriteUInt64LittleEndian(at[8..], size);
            BinaryPrimitives.WriteUInt32LittleEndian(at[16..], Ram);
        }
    }

    /// <summary>A count and eight slots of block id, address, minimum tick and page protection.</summary>
    private static byte[] HpetTable(bool present)
    {
        var table = new byte[1 + (8 * 15)];
        if (!present)
            return table;
        table[0] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(1), 0x8086_A201);
        BinaryPrimitives.WriteUInt64LittleEndian(table.AsSpan(5), 0xFED0_0000);
        BinaryPrimitives.WriteUInt16LittleEndian(table.AsSpan(13), 100);
        return table;
    }

    private static byte[] U32(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return bytes;
    }
}
