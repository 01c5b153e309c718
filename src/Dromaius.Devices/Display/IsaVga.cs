using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Display;

/// <summary>
/// A VGA on the ISA bus: the ports and windows do not move, and the standard one's linear framebuffer is where the Bochs VBE extensions
/// put it without PCI. Source: "QEMU Standard VGA" specification.
/// </summary>
public sealed class IsaVga(Vga vga) : Device
{
    private const ulong LinearBase = 0xE000_0000;

    public override string TypeName => vga is CirrusVga ? vga.TypeName : "isa-vga";

    public Vga Vga => vga;

    public void Map(MemoryRegion memory, MemoryRegion io)
    {
        vga.MapLegacy(memory, io);
        if (vga is CirrusVga)
            return;
        io.Add(0x1CE, vga.VbePorts);
        memory.Add(LinearBase, vga.Framebuffer);
    }

    public override void Reset() => vga.Reset();
}
