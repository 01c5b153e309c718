using System.Buffers.Binary;
using Dromaius.Devices.Firmware;

namespace Dromaius.Boards.Pc.Loaders;

/// <summary>
/// Loads an ELF kernel that has a PVH entry point. Source: Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
/// </summary>
internal static class PvhLoader
{
    private const uint NotePhysicalEntry = 18, StartMagic = 0x336E_C578;
    private const int Version = 4, ModuleCount = 12, ModuleList = 16, CommandLine = 24, RootPointer = 32, MapAddress = 40, MapEntries = 48;

    public static KernelBoot Load(byte[] file, MachineOptions options, PcMemoryLayout layout)
    {
        var name = options.Kernel!;
        var elf = ElfImage.Parse(file, name);
        var note = elf.FindNote("Xen", NotePhysicalEntry)
            ?? throw ElfImage.Bad(name, "it has neither a Linux header, a multiboot header nor a PVH entry point");
        if (note.Length < 4)
            throw ElfImage.Bad(name, "its PVH note is cut short");
        var entry = BinaryPrimitives.ReadUInt32LittleEndian(note);
        var limit = layout.BelowSize > KernelLoader.FirmwareReserve ? layout.BelowSize - KernelLoader.FirmwareReserve : 0;
        var kernel = elf.Flatten(name, limit);
        var address = (uint)elf.Low;

        var tail = new Tail((uint)((elf.High + 0xFFF) & ~0xFFFUL));
        var tailAt = tail.Address;
        var stub = new ProtectedModeStub
        {
            Address = ProtectedModeStub.Place(address, (ulong)kernel.Length),
            EntryOffset = 0, MapSizeField = MapEntries, CountEntries = true, RootPointerField = RootPointer, Entry = entry,
            Magic = StartMagic,
        };
        var info = stub.Information;
        BinaryPrimitives.WriteUInt32LittleEndian(info, StartMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(info[Version..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(info[CommandLine..], tail.AddText(options.Append ?? ""));
        BinaryPrimitives.WriteUInt64LittleEndian(info[MapAddress..], stub.Address + ProtectedModeStub.MapOffset);
        if (options.Initrd is { } initrdName)
        {
            var initrd = KernelLoader.ReadInitrd(initrdName);
            tail.Align(16);
            var listAt = tail.Address;
            // One module entry of 32 bytes, then the module on a page of its own.
            var start = (tail.Address + 32 + 0xFFF) & ~0xFFFu;
            tail.AddWords(start, 0, (uint)initrd.Length, 0, 0, 0, 0, 0);
            tail.Align(0x1000);
            tail.AddBytes(initrd);
            BinaryPrimitives.WriteUInt32LittleEndian(info[ModuleCount..], 1);
            BinaryPrimitives.WriteUInt64LittleEndian(info[ModuleList..], listAt);
        }

        var data = tail.ToArray();
        if (tailAt + (ulong)data.Length > limit)
            throw new Core.Errors.UserErrorException($"initrd is too large, cannot support. (max: {(limit > tailAt ? limit - tailAt : 0)}, need {data.Length})");
        var page = stub.Build();
        BootCopy[] copies =
        [
            new(FwCfgKey.KernelData, address, (uint)kernel.Length),
            new(FwCfgKey.InitrdData, tailAt, (uint)data.Length),
            new(FwCfgKey.SetupData, stub.Address, (uint)page.Length),
        ];
        var boot = new KernelBoot { RomName = "pvh.bin", Rom = BootRom.Build("PVH loader", copies, stub.Jump) };
        KernelLoader.AddStandardItems(boot, address, kernel, entry);
        boot.Items.Add((FwCfgKey.InitrdData, data));
        boot.Items.Add((FwCfgKey.SetupData, page));
        return boot;
    }
}
