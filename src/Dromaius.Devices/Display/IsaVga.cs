using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Display;

/// <summary>
/// The standard VGA on the ISA bus: the ports and windows do not move, and the linear framebuffer is where the Bochs VBE extensions
/// put it without PCI. Source: "QEMU Standard VGA" specification.
/// </summary>
public sealed class IsaVga(Vga vga) : Device
{
    private const ulong LinearBase = 0xE000_0000;

    public override string TypeName => "isa-vga";

    public Vga Vga => vga;

    public void Map(MemoryRegion memory, MemoryRegion io)
    {
        vga.MapLegacy(memory, io);
        memory.Add(LinearBase, vga.Framebuffer);
    }

    public override void Reset() => vga.Reset();
}
