using Dromaius.Core.Memory;
using Dromaius.Devices.Display;

namespace Dromaius.Devices.Pci;

/// <summary>
/// The PCI function of the standard VGA: framebuffer at base address 0, registers at 2, the video BIOS as expansion ROM; the ISA
/// ports and the window at A0000h answer too. Source: "QEMU Standard VGA" specification.
/// </summary>
public sealed class VgaFunction : PciFunction
{
    /// <param name="vga">The adapter itself.</param>
    /// <param name="rom">The video BIOS, or null for none.</param>
    /// <param name="typeName">Its name; all but <c>VGA</c> are display controllers without the ISA ports and windows.</param>
    public VgaFunction(Vga vga, byte[]? rom, string typeName = "VGA")
        : base(PciConfig.VendorBochs, 0x1111, 0x03, typeName == "VGA" ? (byte)0x00 : (byte)0x80, 0, 2)
    {
        Vga = vga;
        TypeName = typeName;
        IsHotPluggable = false;
        AddMemoryBar(0, Vga.Framebuffer, prefetch: true);
        AddMemoryBar(2, Vga.Mmio);
        if (rom != null)
            AddRom(rom, "vga.rom");
    }

    public override string TypeName { get; }

    public Vga Vga { get; }

    /// <summary>Maps what does not move.</summary>
    public void MapLegacy(MemoryRegion memory, MemoryRegion io)
    {
        Vga.MapLegacy(memory, io);
        io.Add(0x1CE, Vga.VbePorts);
    }

    public override void Reset()
    {
        base.Reset();
        Vga.Reset();
    }
}
