using Dromaius.Core.Interrupts;

namespace Dromaius.Devices.Pci;

/// <summary>
/// PCI to ISA bridge: 82371SB (PIIX3), function 0. Routes the four PCI interrupt lines to ISA interrupts. Source: Intel
/// 82371FB/82371SB datasheet (290550), section 2.2.
/// </summary>
public sealed class Piix3 : PciFunction
{
    private const int PirqRouteA = 0x60;
    private const byte RouteDisabled = 0x80;

    private readonly PciBus _bus;
    private readonly IrqLine[] _isa;

    /// <param name="bus">The bus whose interrupt lines it routes.</param>
    /// <param name="isa">Sixteen lines to drive, one for each ISA interrupt.</param>
    public Piix3(PciBus bus, IrqLine[] isa)
        : base(PciConfig.VendorIntel, 0x7000, 0x06, 0x01)
    {
        _bus = bus;
        _isa = isa;
        IsMultifunction = true;
        IsHotPluggable = false;
        ReserveConfig(0xE0);
        SetWord(PciConfig.Command, PciConfig.CommandIo | PciConfig.CommandMemory | PciConfig.CommandMaster);
        SetWord(PciConfig.Status, 0x0200);
        // Reset values of the datasheet's register table; the ones without behaviour here are storage.
        (int Offset, byte Value)[] defaults =
        [
            (0x4C, 0x4D), (0x4E, 0x03), (0x4F, 0x00), (0x60, 0x80), (0x61, 0x80), (0x62, 0x80), (0x63, 0x80), (0x69, 0x02),
            (0x70, 0x80), (0x76, 0x0C), (0x77, 0x0C), (0x78, 0x02), (0xA0, 0x08), (0xA8, 0x0F),
        ];
        for (var i = 0x40; i < 0xB0; i++)
            SetWritable(i, 1, 0xFF);
        foreach (var (offset, value) in defaults)
            SetByte(offset, value);
        for (var i = 0; i < 4; i++)
            SetWritable(PirqRouteA + i, 1, 0x8F);
        bus.InterruptChanged = (_, _) => UpdateRoutes();
    }

    public override string TypeName => "PIIX3";

    /// <summary>The ISA interrupt that a PCI line is routed to, or -1.</summary>
    public int RouteOf(int line)
    {
        var route = ConfigByte(PirqRouteA + line);
        return (route & RouteDisabled) != 0 ? -1 : route & 15;
    }

    public override void WriteConfig(int offset, int size, uint value)
    {
        base.WriteConfig(offset, size, value);
        if (Overlaps(offset, size, PirqRouteA, 4))
            UpdateRoutes();
    }

    public override void Reset()
    {
        base.Reset();
        UpdateRoutes();
    }

    private void UpdateRoutes()
    {
        for (var irq = 0; irq < 16; irq++)
        {
            var level = false;
            for (var line = 0; line < 4; line++)
                level |= RouteOf(line) == irq && _bus.InterruptLevel(line);
            _isa[irq].Level = level;
        }
    }
}
