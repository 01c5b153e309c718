using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;

namespace Dromaius.Boards.Pc.Loaders;

/// <summary>
/// Loads a Linux bzImage (or an old zImage) by the 16-bit boot protocol. Source: Linux kernel, Documentation/arch/x86/boot.rst.
/// </summary>
internal static class LinuxLoader
{
    private const int SetupSects = 0x1F1, SysSize = 0x1F4, BootFlag = 0x1FE, Magic = 0x202, Version = 0x206, VideoMode = 0x1FA,
        TypeOfLoader = 0x210, LoadFlags = 0x211, RamdiskImage = 0x218, RamdiskSize = 0x21C, HeapEnd = 0x224, CmdLinePtr = 0x228,
        InitrdMax = 0x22C, XLoadFlags = 0x236, CmdLineSize = 0x238, InitSize = 0x260, OldCmdLineMagic = 0x20, OldCmdLineOffset = 0x22;
    private const int Sector = 512;
    private const uint HeaderMagic = 0x5372_6448;
    private const byte LoadedHigh = 0x01, CanUseHeap = 0x80, LoaderId = 0xB0;
    private const ushort CanBeAbove4G = 2;

    public static bool IsLinux(ReadOnlySpan<byte> file) =>
        file.Length >= Sector + 0x10 && U16(file, BootFlag) == 0xAA55 && U32(file, Magic) == HeaderMagic;

    /// <summary>A boot sector without the rest.</summary>
    public static bool IsCutShort(ReadOnlySpan<byte> file) =>
        file.Length is > 2 and < 0x210 && (file[..2].SequenceEqual("MZ"u8) || (file.Length >= Sector && U16(file, BootFlag) == 0xAA55));

    public static KernelBoot Load(byte[] file, MachineOptions options, PcMemoryLayout layout)
    {
        var name = options.Kernel!;
        var protocol = U16(file, Version);
        var setupSects = file[SetupSects] == 0 ? 4 : file[SetupSects];
        var setupSize = (setupSects + 1) * Sector;
        if (setupSize >= file.Length)
            throw ElfImage.Bad(name, "the file is truncated");
        // Old headers count the paragraphs in 16 bits only, which big kernels overflow.
        var expected = protocol >= 0x204 ? setupSize + ((long)U32(file, SysSize) * 16) : 0;
        if (expected > file.Length + 15)
            throw ElfImage.Bad(name, "the file is truncated");

        var high = (file[LoadFlags] & LoadedHigh) != 0;
        var (real, commandLineAt, kernelAt) = (protocol, high) switch
        {
            (>= 0x202, true) => (0x10000u, 0x20000u, 0x100000u),
            (_, true) => (0x90000u, 0x9A000u, 0x100000u),
            _ => (0x90000u, 0x9A000u, 0x10000u),
        };
        var setup = file[..setupSize];
        var kernel = file[setupSize..];
        var room = layout.BelowSize < FirmwareReserve ? 0 : layout.BelowSize - FirmwareReserve;
        if (kernelAt + (ulong)kernel.Length > room)
            throw ElfImage.Bad(name, $"it does not fit in {options.RamSize >> 20} MiB of RAM");

        var commandLine = CommandLine(options.Append, protocol, setup, name);
        PrepareHeader(setup, protocol, real, commandLineAt, options.Append ?? "");

        var copies = new List<BootCopy>
        {
            new(FwCfgKey.SetupData, real, (uint)setup.Length),
            new(FwCfgKey.CommandLineData, commandLineAt, (uint)commandLine.Length),
            new(FwCfgKey.KernelData, kernelAt, (uint)kernel.Length),
        };
        byte[]? initrd = null;
        var initrdAt = 0u;
        if (options.Initrd is { } initrdName)
        {
            initrd = KernelLoader.ReadInitrd(initrdName);
            initrdAt = PlaceInitrd(setup, protocol, initrd.LongLength, room, kernelAt + (ulong)kernel.Length);
            Put32(setup, RamdiskImage, initrdAt);
            Put32(setup, RamdiskSize, (uint)initrd.Length);
            copies.Add(new BootCopy(FwCfgKey.InitrdData, initrdAt, (uint)initrd.Length));
        }

        var segment = (ushort)(real >> 4);
        var boot = new KernelBoot
        {
            RomName = "linuxboot.bin",
            Rom = BootRom.Build("Linux loader", copies,
                new BootJump(segment, (ushort)(commandLineAt - real - 16), (ushort)(segment + 0x20), 0)),
        };
        KernelLoader.AddStandardItems(boot, kernelAt, kernel, kernelAt);
        boot.Add(FwCfgKey.SetupAddress, real);
        boot.Add(FwCfgKey.SetupSize, (uint)setup.Length);
        boot.Items.Add((FwCfgKey.SetupData, setup));
        boot.Add(FwCfgKey.CommandLineAddress, commandLineAt);
        boot.Add(FwCfgKey.CommandLineSize, (uint)commandLine.Length);
        boot.Items.Add((FwCfgKey.CommandLineData, commandLine));
        if (initrd != null)
        {
            boot.Add(FwCfgKey.InitrdAddress, initrdAt);
            boot.Add(FwCfgKey.InitrdSize, (uint)initrd.Length);
            boot.Items.Add((FwCfgKey.InitrdData, initrd));
        }

        return boot;
    }

    private const uint FirmwareReserve = KernelLoader.FirmwareReserve;

    private static byte[] CommandLine(string? append, int protocol, byte[] setup, string name)
    {
        var bytes = Encoding.UTF8.GetBytes((append ?? "") + "\0");
        var most = protocol >= 0x206 && setup.Length >= CmdLineSize + 4 ? U32(setup, CmdLineSize) : 255;
        if (bytes.Length - 1 > Math.Min(most, 0xFFFF))
            throw new UserErrorException($"-append: the kernel '{name}' takes at most {most} characters");
        return bytes;
    }

    private static void PrepareHeader(byte[] setup, int protocol, uint real, uint commandLineAt, string append)
    {
        setup[TypeOfLoader] = LoaderId;
        if (protocol >= 0x201)
        {
            setup[LoadFlags] |= CanUseHeap;
            Put16(setup, HeapEnd, (ushort)(commandLineAt - real - 0x200));
        }

        if (protocol >= 0x202)
        {
            Put32(setup, CmdLinePtr, commandLineAt);
        }
        else
        {
            Put16(setup, OldCmdLineMagic, 0xA33F);
            Put16(setup, OldCmdLineOffset, (ushort)(commandLineAt - real));
        }

        if (VideoModeOf(append) is { } mode)
            Put16(setup, VideoMode, mode);
    }

    /// <summary>The loader's part of the command line: <c>vga=</c>.</summary>
    private static ushort? VideoModeOf(string append)
    {
        var word = append.Split(' ', StringSplitOptions.RemoveEmptyEntries).LastOrDefault(static w => w.StartsWith("vga=", StringComparison.Ordinal));
        if (word == null)
            return null;
        var text = word[4..];
        return text switch
        {
            "normal" => 0xFFFF,
            "ext" => 0xFFFE,
            "ask" => 0xFFFD,
            _ when text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
                && ushort.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var hex) => hex,
            _ when ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) => number,
            _ => null,
        };
    }

    /// <summary>As high as the kernel takes it, below the firmware's tables.</summary>
    private static uint PlaceInitrd(byte[] setup, int protocol, long size, ulong room, ulong kernelEnd)
    {
        ulong most = protocol >= 0x203 ? U32(setup, InitrdMax) : 0x37FF_FFFF;
        if (protocol >= 0x20C && (U16(setup, XLoadFlags) & CanBeAbove4G) != 0)
            most = uint.MaxValue;
        most = Math.Min(most, room - 1);
        // The kernel unpacks itself over what follows it.
        if (protocol >= 0x20A && setup.Length >= InitSize + 4)
            kernelEnd = Math.Max(kernelEnd, Math.Min(room, 0x100000 + (ulong)U32(setup, InitSize)));
        var free = most > kernelEnd ? most - kernelEnd : 0;
        if ((ulong)size > free)
            throw new UserErrorException($"initrd is too large, cannot support. (max: {free}, need {size})");
        return (uint)((most - (ulong)size) & ~0xFFFUL);
    }

    private static ushort U16(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt16LittleEndian(data[at..]);

    private static uint U32(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);

    private static void Put16(byte[] data, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(at), value);

    private static void Put32(byte[] data, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(data.AsSpan(at), value);
}
