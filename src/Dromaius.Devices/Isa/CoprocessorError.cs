using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>
/// The AT's way of reporting coprocessor errors: FERR# sets a latch that drives interrupt 13, a write of port F0h clears it. Source:
/// Intel 82371SB datasheet (290550), section 2.5.6 (coprocessor error register).
/// </summary>
public sealed class CoprocessorError : Device
{
    public CoprocessorError() => Port = MemoryRegion.Device("ioportF0", 1, static (_, _) => 0xFF, (_, _, _) => Irq.Level = false, 1, 1);

    public override string TypeName => "coprocessor-error";

    /// <summary>Port F0h.</summary>
    public MemoryRegion Port { get; }

    /// <summary>Interrupt 13.</summary>
    public IrqLine Irq { get; } = new();

    /// <summary>A processor asserted FERR#.</summary>
    public void Raise() => Irq.Level = true;

    public override void Reset() => Irq.Level = false;
}
