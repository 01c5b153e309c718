using System.Buffers.Binary;
using System.Text;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;

namespace Dromaius.Boards.Pc.Loaders;

/// <summary>Loads a Multiboot kernel, as 32-bit ELF or by the addresses in its header. Source: Multiboot Specification 0.6.96.</summary>
internal static class MultibootLoader
{
    private const int SearchLimit = 8192, HeaderLength = 12, AddressesLength = 32;
    private const uint HeaderMagic = 0x1BAD_B002, BootMagic = 0x2BAD_B002, AddressesValid = 0x1_0000, VideoWanted = 4;

    private const uint FlagMemory = 1, FlagBootDevice = 2, FlagCommandLine = 4, FlagModules = 8, FlagMap = 0x40, FlagLoaderName = 0x200;
    private const int InfoFlags = 0, InfoMemLower = 4, InfoMemUpper = 8, InfoBootDevice = 12, InfoCommandLine = 16, InfoModCount = 20,
        InfoModAddress = 24, InfoMapLength = 44, InfoMapAddress = 48, InfoLoaderName = 64;

    /// <summary>Offset of the header in the file, or null.</summary>
    public static int? FindHeader(ReadOnlySpan<byte> file)
    {
        for (var at = 0; at + HeaderLength <= Math.Min(file.Length, SearchLimit); at += 4)
        {
            if (U32(file, at) == HeaderMagic && U32(file, at) + U32(file, at + 4) + U32(file, at + 8) == 0)
                return at;
        }

        return null;
    }

    public static KernelBoot Load(byte[] file, int header, MachineOptions options, PcMemoryLayout layout)
    {
        var name = options.Kernel!;
        var flags = U32(file, header + 4);
        if ((flags & VideoWanted) != 0)
            options.Warn("multiboot: the kernel asks for a video mode, which is not set");
        var limit = layout.BelowSize > KernelLoader.FirmwareReserve ? layout.BelowSize - KernelLoader.FirmwareReserve : 0;
        uint address, entry;
        byte[] kernel;
        if ((flags & AddressesValid) != 0)
        {
            (address, entry, kernel) = ByAddresses(file, header, name, limit);
        }
        else if (ElfImage.IsElf(file))
        {
            var elf = ElfImage.Parse(file, name);
            if (elf.Is64)
                throw ElfImage.Bad(name, "cannot load an x86-64 multiboot image, give a 32-bit one");
            kernel = elf.Flatten(name, limit);
            address = (uint)elf.Low;
            entry = (uint)elf.PhysicalEntry;
        }
        else
        {
            throw ElfImage.Bad(name, "its multiboot header has no addresses and it is not ELF");
        }

        var stub = new ProtectedModeStub
        {
            Address = ProtectedModeStub.Place(address, (ulong)kernel.Length),
            EntryOffset = 4, MapSizeField = InfoMapLength, CountEntries = false, Entry = entry, Magic = BootMagic,
        };
        for (var i = 0; i < ProtectedModeStub.MaxEntries; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(stub.Map[(i * ProtectedModeStub.EntrySize)..], ProtectedModeStub.EntrySize - 4);

        // Modules, their list and the strings follow the kernel, on a page of their own.
        var behindAt = (uint)((address + (ulong)kernel.Length + 0xFFF) & ~0xFFFUL);
        var behind = new Tail(behindAt);
        var modules = SplitModules(options.Initrd).Select(m => AddModule(behind, m)).ToList();
        var info = stub.Information;
        Put(info, InfoFlags, FlagMemory | FlagBootDevice | FlagCommandLine | FlagModules | FlagMap | FlagLoaderName);
        Put(info, InfoMemLower, 639);
        Put(info, InfoMemUpper, (uint)((layout.BelowSize - (1 << 20)) >> 10));
        Put(info, InfoBootDevice, 0x8000_FFFF);
        Put(info, InfoCommandLine, behind.AddText($"{name} {options.Append}"));
        Put(info, InfoLoaderName, behind.AddText("dromaius"));
        Put(info, InfoModCount, (uint)modules.Count);
        behind.Align(16);
        Put(info, InfoModAddress, behind.Address);
        foreach (var (start, end, text) in modules)
            behind.AddWords(start, end, text, 0);
        Put(info, InfoMapAddress, stub.Address + ProtectedModeStub.MapOffset);
        var tail = behind.ToArray();
        if (behindAt + (ulong)tail.Length > limit)
            throw new UserErrorException($"-initrd {options.Initrd}: the modules do not fit in {options.RamSize >> 20} MiB of RAM");

        var page = stub.Build();
        BootCopy[] copies =
        [
            new(FwCfgKey.KernelData, address, (uint)kernel.Length),
            new(FwCfgKey.InitrdData, behindAt, (uint)tail.Length),
            new(FwCfgKey.SetupData, stub.Address, (uint)page.Length),
        ];
        var boot = new KernelBoot
        {
            RomName = "multiboot.bin", Rom = BootRom.Build("Multiboot loader", copies, stub.Jump),
        };
        KernelLoader.AddStandardItems(boot, address, kernel, entry);
        boot.Add(FwCfgKey.InitrdAddress, behindAt);
        boot.Add(FwCfgKey.InitrdSize, (uint)tail.Length);
        boot.Items.Add((FwCfgKey.InitrdData, tail));
        boot.Items.Add((FwCfgKey.SetupData, page));
        return boot;
    }

    private static (uint Address, uint Entry, byte[] Kernel) ByAddresses(byte[] file, int header, string name, ulong limit)
    {
        if (header + AddressesLength > file.Length)
            throw ElfImage.Bad(name, "the file is truncated");
        var headerAt = U32(file, header + 12);
        var loadAt = U32(file, header + 16);
        var loadEnd = U32(file, header + 20);
        var bssEnd = U32(file, header + 24);
        var entry = U32(file, header + 28);
        if (headerAt < loadAt || headerAt - loadAt > header)
            throw ElfImage.Bad(name, "invalid load address in its multiboot header");
        var from = header - (int)(headerAt - loadAt);
        var size = loadEnd == 0 ? (uint)(file.Length - from) : loadEnd - loadAt;
        if (loadEnd != 0 && loadEnd < loadAt)
            throw ElfImage.Bad(name, "invalid load end address in its multiboot header");
        if (size > file.Length - from)
            throw ElfImage.Bad(name, "the file is truncated");
        if (bssEnd != 0 && bssEnd < (ulong)loadAt + size)
            throw ElfImage.Bad(name, "invalid bss end address in its multiboot header");
        var memorySize = bssEnd == 0 ? size : bssEnd - loadAt;
        if (loadAt + (ulong)memorySize > limit)
            throw ElfImage.Bad(name, "it does not fit in the machine's RAM");
        var kernel = new byte[memorySize];
        file.AsSpan(from, (int)size).CopyTo(kernel);
        return (loadAt, entry, kernel);
    }

    /// <summary>"file arguments,file arguments"; a doubled comma stands for one.</summary>
    internal static IEnumerable<string> SplitModules(string? initrd)
    {
        if (string.IsNullOrEmpty(initrd))
            yield break;
        var module = new StringBuilder();
        for (var i = 0; i < initrd.Length; i++)
        {
            if (initrd[i] == ',' && i + 1 < initrd.Length && initrd[i + 1] == ',')
            {
                module.Append(',');
                i++;
            }
            else if (initrd[i] == ',')
            {
                yield return module.ToString();
                module.Clear();
            }
            else
            {
                module.Append(initrd[i]);
            }
        }

        yield return module.ToString();
    }

    private static (uint Start, uint End, uint Text) AddModule(Tail tail, string module)
    {
        var text = module.TrimStart(' ');
        var space = text.IndexOf(' ');
        var data = KernelLoader.ReadInitrd(space < 0 ? text : text[..space]);
        tail.Align(0x1000);
        var start = tail.AddBytes(data);
        var end = tail.Address;
        return (start, end, tail.AddText(text));
    }

    private static uint U32(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);

    private static void Put(Span<byte> info, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(info[at..], value);
}

/// <summary>Data that grows upwards from an address.</summary>
internal sealed class Tail(uint start)
{
    private readonly MemoryStream _data = new();

    /// <summary>Where the next byte goes.</summary>
    public uint Address => start + (uint)_data.Length;

    public uint AddBytes(ReadOnlySpan<byte> data)
    {
        var at = Address;
        _data.Write(data);
        return at;
    }

    public uint AddText(string text) => AddBytes([.. Encoding.UTF8.GetBytes(text), 0]);

    public void AddWords(params ReadOnlySpan<uint> words)
    {
        Span<byte> bytes = stackalloc byte[4];
        foreach (var word in words)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, word);
            _data.Write(bytes);
        }
    }

    public void Align(int alignment)
    {
        while (_data.Length % alignment != 0)
            _data.WriteByte(0);
    }

    public byte[] ToArray() => _data.ToArray();
}
