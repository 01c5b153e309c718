using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Devices.Storage;

namespace Dromaius.Boards.Pc;

/// <summary>RAM, firmware ROM and the windows between them in a PC's address space.</summary>
internal sealed class PcMemory : IDisposable
{
    private const ulong OptionRomBase = 0xC0000, OptionRomSize = 0x20000, VgaBase = 0xA0000, VgaSize = 0x20000;
    private const int MaxFirmware = 8 << 20;

    private RamBlock? _shadow;
    private readonly byte[]? _writableFirmware;

    /// <param name="system">The processors' memory.</param>
    /// <param name="layout">How RAM is split.</param>
    /// <param name="ramSize">All RAM.</param>
    /// <param name="firmware">The BIOS image; null when it is in flash.</param>
    /// <param name="firmwareName">Its file.</param>
    /// <param name="firmwareInRam">It can be written until the next reset, and nothing else answers below 1 MiB.</param>
    public PcMemory(MemoryRegion system, PcMemoryLayout layout, ulong ramSize, byte[]? firmware, string firmwareName, bool firmwareInRam = false)
    {
        if (firmwareInRam)
            _writableFirmware = firmware;
        RamBlock = new RamBlock("pc.ram", ramSize);
        Ram = MemoryRegion.RamRegion("pc.ram", RamBlock);
        Pci = MemoryRegion.Container("pci", 0);
        system.Add(0, MemoryRegion.Alias("ram-below-4g", Ram, 0, layout.BelowSize));
        if (layout.AboveSize > 0)
            system.Add(PcMemoryLayout.FourGiB, MemoryRegion.Alias("ram-above-4g", Ram, layout.BelowSize, layout.AboveSize));
        system.Add(0, Pci, -1);
        // The VGA window is never RAM, except to system management mode.
        system.Add(VgaBase, MemoryRegion.Alias("vga-window", Pci, VgaBase, VgaSize), 1);

        OptionRomBlock = new RamBlock("pc.rom", OptionRomSize);
        Pci.Add(OptionRomBase, MemoryRegion.Rom("pc.rom", OptionRomBlock), 1);
        if (firmware != null)
            FirmwareBlock = AddFirmware(firmwareInRam ? system : Pci, firmware, firmwareName, firmwareInRam);

        Smm = MemoryRegion.Container("smm", 0);
        Smm.Add(0, MemoryRegion.Alias("smm-system", system, 0, 0));
        SmramWindow = MemoryRegion.Alias("smram", Ram, VgaBase, VgaSize);
        SmramWindow.Enabled = false;
        Smm.Add(VgaBase, SmramWindow, 1);
    }

    public RamBlock RamBlock { get; }
    public RamBlock OptionRomBlock { get; }
    /// <summary>The firmware image; null when it is in flash.</summary>
    public RamBlock? FirmwareBlock { get; }

    /// <summary>All RAM, contiguous, without the hole.</summary>
    public MemoryRegion Ram { get; }

    /// <summary>What answers where RAM does not.</summary>
    public MemoryRegion Pci { get; }

    /// <summary>Root of the view from system management mode.</summary>
    public MemoryRegion Smm { get; }

    /// <summary>RAM behind the VGA window in that view.</summary>
    public MemoryRegion SmramWindow { get; }

    /// <summary>Flash chips: the first ends at 4 GiB, each next one below; the end of the first also ends at 1 MiB.</summary>
    public void AddFlash(IReadOnlyList<CfiFlash> chips)
    {
        var top = PcMemoryLayout.FourGiB;
        foreach (var chip in chips)
        {
            top -= chip.Region.Size;
            Pci.Add(top, chip.Region);
        }

        if (PcMemoryLayout.FourGiB - top > MaxFirmware)
            throw new UserErrorException($"combined size of system firmware exceeds {MaxFirmware} bytes");
        // A copy, as real boards shadow it: the chip may leave its array mode.
        var size = Math.Min(chips[0].Region.Size, 0x20000);
        _shadow = new RamBlock("isa-bios", size);
        chips[0].Ram.Span(chips[0].Region.Size - size, (int)size).CopyTo(_shadow.Span(0, (int)size));
        Pci.Add(0x100000 - size, MemoryRegion.Rom("isa-bios", _shadow), 1);
    }

    /// <summary>Firmware in RAM is loaded anew.</summary>
    public void Reset()
    {
        if (_writableFirmware is not { } image || FirmwareBlock is not { } block)
            return;
        block.NoteWrite(0, (ulong)image.Length);
        image.CopyTo(block.Span(0, image.Length));
    }

    public void Dispose()
    {
        RamBlock.Dispose();
        OptionRomBlock.Dispose();
        FirmwareBlock?.Dispose();
        _shadow?.Dispose();
    }

    /// <summary>The image ends at 4 GiB; its last 128 KiB also end at 1 MiB.</summary>
    private static RamBlock AddFirmware(MemoryRegion space, byte[] image, string name, bool writable)
    {
        if (image.Length == 0)
            throw new UserErrorException($"could not load PC BIOS '{name}': the file is empty");
        if (image.Length % 0x10000 != 0)
            throw new UserErrorException($"could not load PC BIOS '{name}': its size is not a multiple of 64 KiB");
        if (image.Length > MaxFirmware)
            throw new UserErrorException($"could not load PC BIOS '{name}': it is larger than {MaxFirmware >> 20} MiB");
        var block = new RamBlock("pc.bios", (ulong)image.Length);
        image.CopyTo(block.Span(0, image.Length));
        var rom = writable ? MemoryRegion.RamRegion("pc.bios", block) : MemoryRegion.Rom("pc.bios", block);
        space.Add(PcMemoryLayout.FourGiB - (ulong)image.Length, rom);
        var low = Math.Min((ulong)image.Length, 0x20000);
        space.Add(0x100000 - low, MemoryRegion.Alias("isa-bios", rom, (ulong)image.Length - low, low), 1);
        return block;
    }
}
