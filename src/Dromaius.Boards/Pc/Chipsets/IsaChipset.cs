using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage.Ata;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>A board with an ISA bus alone: two IDE channels and the floppy controller at the AT's ports.</summary>
internal sealed class IsaChipset(PcMachine machine) : PcChipset(machine)
{
    public override PciBus? Bus => null;

    public override void AddStorage()
    {
        (ulong Command, ulong Control, int Irq)[] channels = [(0x1F0, 0x3F6, 14), (0x170, 0x376, 15)];
        foreach (var (command, control, irq) in channels)
            _ = Machine.AddPart(Machine.AddIsaIde(command, control, irq, null));
        _ = Machine.AddPart(Machine.AddFloppyController(null));
    }
}
