using Dromaius.Core.Memory;
using Dromaius.Devices.Display;

namespace Dromaius.Devices.Pci;

/// <summary>
/// The PCI function of the CL-GD5446: video memory at base address 0, registers at 1, the video BIOS as expansion ROM; the ISA ports
/// and the window at A0000h answer too. Source: CL-GD5446 Technical Reference Manual, chapter 3.
/// </summary>
public sealed class CirrusFunction : PciFunction
{
    private const ushort VendorCirrus = 0x1013, Gd5446 = 0x00B8;

    /// <param name="vga">The adapter itself.</param>
    /// <param name="rom">The video BIOS, or null for none.</param>
    public CirrusFunction(CirrusVga vga, byte[]? rom)
        : base(VendorCirrus, Gd5446, 0x03, 0x00, 0, 0)
    {
        Vga = vga;
        IsHotPluggable = false;
        AddMemoryBar(0, vga.LinearBar, prefetch: true);
        AddMemoryBar(1, vga.RegisterBar);
        if (rom != null)
            AddRom(rom, "cirrus-vga.rom");
    }

    public override string TypeName => "cirrus-vga";
    public CirrusVga Vga { get; }

    /// <summary>Maps what does not move.</summary>
    public void MapLegacy(MemoryRegion memory, MemoryRegion io) => Vga.MapLegacy(memory, io);

    public override void Reset()
    {
        base.Reset();
        Vga.Reset();
    }
}
