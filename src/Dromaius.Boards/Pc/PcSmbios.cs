using System.Globalization;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;

namespace Dromaius.Boards.Pc;

/// <summary>The SMBIOS structures of a PC, with what <c>-smbios</c> says. Source: DMTF DSP0134, section 7.</summary>
internal static class PcSmbios
{
    private const ushort BiosHandle = 0x0000, SystemHandle = 0x0100, BoardHandle = 0x0200, ChassisHandle = 0x0300,
        ProcessorHandle = 0x0400, ArrayHandle = 0x1000, DeviceHandle = 0x1100, ArrayMapHandle = 0x1300, BootHandle = 0x2000,
        EndHandle = 0x7F00;

    /// <summary>The keys that each type takes.</summary>
    private static readonly Dictionary<int, string[]> Keys = new()
    {
        [0] = ["vendor", "version", "date", "release", "uefi"],
        [1] = ["manufacturer", "product", "version", "serial", "uuid", "sku", "family"],
        [2] = ["manufacturer", "product", "version", "serial", "asset", "location"],
        [3] = ["manufacturer", "version", "serial", "asset", "sku"],
        [4] = ["sock_pfx", "manufacturer", "version", "serial", "asset", "part", "max-speed", "current-speed", "processor-id"],
        [11] = ["value", "path"],
        [17] = ["loc_pfx", "bank", "manufacturer", "serial", "asset", "part", "speed"],
    };

    public static Smbios Build(MachineOptions options, CpuTopology topology, PcMemoryLayout layout, uint cpuSignature,
        string machineDescription, string machineName)
    {
        var given = Parse(options.Smbios, out var files);
        string Value(int type, string key, string fallback) =>
            given.TryGetValue(type, out var keys) && keys.TryGetValue(key, out var value) ? value[^1] : fallback;

        var smbios = new Smbios();
        foreach (var file in files)
            smbios.AddRaw(file);
        if (given.ContainsKey(0))
            Bios(smbios, Value);
        System(smbios, Value, options, machineDescription, machineName);
        if (given.ContainsKey(2))
            Board(smbios, Value, machineDescription);
        Chassis(smbios, Value, machineDescription);
        for (var socket = 0; socket < topology.Sockets; socket++)
            Processor(smbios, Value, topology, socket, cpuSignature, machineDescription);
        if (given.TryGetValue(11, out var oem) && oem.TryGetValue("value", out var strings))
        {
            var structure = new Smbios.Structure().U8(strings.Count);
            var oemStrings = new Smbios.Structure();
            foreach (var text in strings)
                oemStrings.Text(text);
            smbios.AddRaw([11, 5, 0x00, 0x0E, .. structure.Body,
                .. oemStrings.Strings.SelectMany(static s => global::System.Text.Encoding.UTF8.GetBytes(s).Append((byte)0)), 0]);
        }

        Memory(smbios, Value, options.RamSize, layout);
        smbios.Add(32, BootHandle, new Smbios.Structure().U16(0).U32(0).U8(0));
        smbios.Add(127, EndHandle, new Smbios.Structure());
        return smbios;
    }

    private static void Bios(Smbios smbios, Func<int, string, string, string> value)
    {
        var release = value(0, "release", "0.0").Split('.');
        int Number(int i) => i < release.Length && int.TryParse(release[i], CultureInfo.InvariantCulture, out var n) ? n : 0;
        smbios.Add(0, BiosHandle, new Smbios.Structure()
            .Text(value(0, "vendor", "")).Text(value(0, "version", "")).U16(0xE800).Text(value(0, "date", ""))
            // Characteristics not supported; targeted content distribution (and UEFI if said), a virtual machine.
            .U8(0).U64(8).U8(0).U8(0x14 | (value(0, "uefi", "off") == "on" ? 8 : 0))
            .U8(Number(0)).U8(Number(1)).U8(0xFF).U8(0xFF));
    }

    private static void System(Smbios smbios, Func<int, string, string, string> value, MachineOptions options, string description,
        string machineName)
    {
        var uuidText = value(1, "uuid", "");
        var uuid = options.Uuid ?? Guid.Empty;
        if (uuidText.Length > 0 && !Guid.TryParse(uuidText, out uuid))
            throw new UserErrorException($"Invalid UUID '{uuidText}'");
        smbios.Add(1, SystemHandle, new Smbios.Structure()
            .Text(value(1, "manufacturer", "Dromaius")).Text(value(1, "product", description))
            .Text(value(1, "version", machineName)).Text(value(1, "serial", ""))
            .Bytes(uuid.ToByteArray()).U8(6).Text(value(1, "sku", "")).Text(value(1, "family", "")));
    }

    private static void Board(Smbios smbios, Func<int, string, string, string> value, string description) =>
        smbios.Add(2, BoardHandle, new Smbios.Structure()
            .Text(value(2, "manufacturer", "Dromaius")).Text(value(2, "product", description)).Text(value(2, "version", ""))
            .Text(value(2, "serial", "")).Text(value(2, "asset", "")).U8(1).Text(value(2, "location", "")).U16(ChassisHandle)
            .U8(0x0A).U8(0));

    private static void Chassis(Smbios smbios, Func<int, string, string, string> value, string description) =>
        smbios.Add(3, ChassisHandle, new Smbios.Structure()
            .Text(value(3, "manufacturer", "Dromaius")).U8(1).Text(value(3, "version", description)).Text(value(3, "serial", ""))
            .Text(value(3, "asset", "")).U8(3).U8(3).U8(3).U8(2).U32(0).U8(0).U8(0).U8(0).U8(0).Text(value(3, "sku", "")));

    private static void Processor(Smbios smbios, Func<int, string, string, string> value, CpuTopology topology, int socket,
        uint signature, string description)
    {
        var cores = topology.Cores * topology.Dies;
        var threads = cores * topology.Threads;
        smbios.Add(4, (ushort)(ProcessorHandle + socket), new Smbios.Structure()
            .Text($"{value(4, "sock_pfx", "CPU")} {socket}").U8(3).U8(1).Text(value(4, "manufacturer", "Dromaius"))
            .U32(signature).U32(0).Text(value(4, "version", description)).U8(0).U16(0)
            .U16(Number(value(4, "max-speed", "2000"), 2000)).U16(Number(value(4, "current-speed", "2000"), 2000))
            // Populated and enabled; upgrade other; no cache information.
            .U8(0x41).U8(1).U16(0xFFFF).U16(0xFFFF).U16(0xFFFF)
            .Text(value(4, "serial", "")).Text(value(4, "asset", "")).Text(value(4, "part", ""))
            .U8(Math.Min(cores, 255)).U8(Math.Min(cores, 255)).U8(Math.Min(threads, 255)).U16(2).U16(1)
            .U16(cores).U16(cores).U16(threads));
    }

    private static void Memory(Smbios smbios, Func<int, string, string, string> value, ulong ram, PcMemoryLayout layout)
    {
        const ulong Most = 16UL << 30;
        var count = (int)Math.Max(1, (ram + Most - 1) / Most);
        var array = new Smbios.Structure().U8(1).U8(3).U8(6);
        var kib = ram >> 10;
        array.U32(kib < 0x8000_0000 ? (uint)kib : 0x8000_0000).U16(0xFFFE).U16(count).U64(kib < 0x8000_0000 ? 0 : ram);
        smbios.Add(16, ArrayHandle, array);
        for (var i = 0; i < count; i++)
        {
            var size = Math.Min(Most, ram - ((ulong)i * Most));
            var mib = size >> 20;
            smbios.Add(17, (ushort)(DeviceHandle + i), new Smbios.Structure()
                .U16(ArrayHandle).U16(0xFFFE).U16(0xFFFF).U16(0xFFFF)
                .U16(mib < 0x7FFF ? (int)mib : 0x7FFF).U8(9).U8(0)
                .Text($"{value(17, "loc_pfx", "DIMM")} {i}").Text(value(17, "bank", "")).U8(7).U16(2)
                .U16(Number(value(17, "speed", "0"), 0)).Text(value(17, "manufacturer", "Dromaius")).Text(value(17, "serial", ""))
                .Text(value(17, "asset", "")).Text(value(17, "part", "")).U8(0).U32(mib < 0x7FFF ? 0 : (uint)mib)
                .U16(Number(value(17, "speed", "0"), 0)).U16(0).U16(0).U16(0));
        }

        ArrayMap(smbios, 0, 0, layout.BelowSize, count);
        if (layout.AboveSize > 0)
            ArrayMap(smbios, 1, 1UL << 32, layout.AboveSize, count);
    }

    private static void ArrayMap(Smbios smbios, int index, ulong start, ulong size, int devices)
    {
        var first = start >> 10;
        var last = ((start + size) >> 10) - 1;
        var wide = last >= uint.MaxValue;
        smbios.Add(19, (ushort)(ArrayMapHandle + index), new Smbios.Structure()
            .U32(wide ? uint.MaxValue : (uint)first).U32(wide ? uint.MaxValue : (uint)last).U16(ArrayHandle).U8(devices)
            .U64(wide ? start : 0).U64(wide ? start + size - 1 : 0));
    }

    private static int Number(string text, int fallback) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : fallback;

    private static Dictionary<int, Dictionary<string, List<string>>> Parse(IReadOnlyList<SmbiosOption> options,
        out List<byte[]> files)
    {
        var given = new Dictionary<int, Dictionary<string, List<string>>>();
        files = [];
        foreach (var option in options)
        {
            var file = option.Properties.FirstOrDefault(static p => p.Key == "file").Value;
            if (file != null)
            {
                files.Add(HostFile.Read(file, option.Text));
                continue;
            }

            var typeText = option.Properties.FirstOrDefault(static p => p.Key == "type").Value
                ?? throw new UserErrorException($"{option.Text}: Must specify type= or file=");
            if (!int.TryParse(typeText, NumberStyles.None, CultureInfo.InvariantCulture, out var type))
                throw new UserErrorException($"{option.Text}: Parameter 'type' expects a number");
            if (!Keys.TryGetValue(type, out var known))
                throw new UserErrorException($"{option.Text}: Don't know how to build fields for SMBIOS type {type}");
            var keys = given.TryGetValue(type, out var existing) ? existing : given[type] = [];
            foreach (var (key, value) in option.Properties)
            {
                if (key == "type")
                    continue;
                if (!known.Contains(key))
                    throw new UserErrorException($"{option.Text}: Invalid parameter '{key}'" + NearestNames.Hint(key, known));
                var name = type == 11 && key == "path" ? "value" : key;
                var content = type == 11 && key == "path"
                    ? global::System.Text.Encoding.UTF8.GetString(HostFile.Read(value, option.Text))
                    : value;
                if (!keys.TryGetValue(name, out var list))
                    keys[name] = list = [];
                list.Add(content);
            }
        }

        return given;
    }
}
