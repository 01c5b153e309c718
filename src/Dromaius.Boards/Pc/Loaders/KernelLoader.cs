using System.Buffers.Binary;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;

namespace Dromaius.Boards.Pc.Loaders;

/// <summary>What a kernel loader gives the board: items of firmware configuration and the ROM that starts the kernel.</summary>
internal sealed class KernelBoot
{
    public required string RomName { get; init; }
    public required byte[] Rom { get; init; }
    public List<(ushort Key, byte[] Data)> Items { get; } = [];

    public void Add(ushort key, uint value)
    {
        var data = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        Items.Add((key, data));
    }
}

/// <summary>Looks at the kernel file and hands it to the loader for its format.</summary>
internal static class KernelLoader
{
    /// <summary>The firmware keeps its tables at the top of RAM below 4 GiB; nothing is loaded there.</summary>
    public const uint FirmwareReserve = 0x4_0000;

    public static KernelBoot Load(MachineOptions options, PcMemoryLayout layout)
    {
        var name = options.Kernel!;
        byte[] file;
        try
        {
            file = File.ReadAllBytes(name);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new UserErrorException($"could not open kernel file '{name}': {HostFile.Reason(e, name)}");
        }

        if (file.Length == 0)
            throw ElfImage.Bad(name, "the file is empty");
        if (LinuxLoader.IsLinux(file))
            return LinuxLoader.Load(file, options, layout);
        if (MultibootLoader.FindHeader(file) is { } header)
            return MultibootLoader.Load(file, header, options, layout);
        if (ElfImage.IsElf(file))
            return PvhLoader.Load(file, options, layout);
        throw ElfImage.Bad(name, Diagnose(file));
    }

    /// <summary>Reads an initrd or module.</summary>
    public static byte[] ReadInitrd(string name)
    {
        byte[] file;
        try
        {
            file = File.ReadAllBytes(name);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new UserErrorException($"could not open initrd file '{name}': {HostFile.Reason(e, name)}");
        }

        if (file.Length == 0)
            throw new UserErrorException($"could not load initrd '{name}': the file is empty");
        return file;
    }

    /// <summary>Why a file is no kernel that this machine starts.</summary>
    private static string Diagnose(byte[] file)
    {
        if (file.Length >= 64 && file.AsSpan(0x38, 4).SequenceEqual("ARM\u0064"u8))
            return "it is for another architecture (AArch64)";
        if (file.Length >= 64 && file.AsSpan(0x38, 4).SequenceEqual("RSC\u0005"u8))
            return "it is for another architecture (RISC-V)";
        if (file.Length >= 0x28 && BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(0x24)) == 0x016F_2818)
            return "it is for another architecture (Arm)";
        if (file.Length >= 4 && BinaryPrimitives.ReadUInt32BigEndian(file) == 0x2705_1956)
            return "U-Boot images are not for this machine";
        return LinuxLoader.IsCutShort(file) ? "the file is truncated" : "invalid kernel header";
    }

    public static void AddStandardItems(KernelBoot boot, uint address, byte[] kernel, uint entry)
    {
        boot.Add(FwCfgKey.KernelAddress, address);
        boot.Add(FwCfgKey.KernelSize, (uint)kernel.Length);
        boot.Add(FwCfgKey.KernelEntry, entry);
        boot.Items.Add((FwCfgKey.KernelData, kernel));
    }
}
