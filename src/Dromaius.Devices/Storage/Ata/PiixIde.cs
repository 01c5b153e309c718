using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Storage.Ata;

/// <summary>
/// The IDE function of the PIIX3 (82371SB) or PIIX4 (82371AB): two channels at the legacy ports with bus masters. Source:
/// Intel 82371FB/82371SB datasheet (290550), section 2.3.
/// </summary>
public sealed class PiixIde : PciFunction
{
    private const int Timing = 0x40, TimingSize = 5, UltraDma = 0x48, UltraDmaSize = 4;

    /// <param name="isPiix4">PIIX4, which also keeps ultra DMA timings.</param>
    public PiixIde(bool isPiix4 = false)
        : base(PciConfig.VendorIntel, isPiix4 ? (ushort)0x7111 : (ushort)0x7010, 0x01, 0x01, 0x80)
    {
        IsPiix4 = isPiix4;
        SetWord(PciConfig.Status, 0x0280);
        SetWritable(Timing, TimingSize - 1, 0xFFFF_FFFF);
        SetWritable(Timing + TimingSize - 1, 1, 0xFF);
        if (isPiix4)
            SetWritable(UltraDma, UltraDmaSize, 0xFFFF_FFFF);
        var bar = MemoryRegion.Container("piix-bmdma", 16);
        for (var i = 0; i < Channels.Count; i++)
        {
            var master = new BusMasterIde(this);
            Channels[i].BusMaster = master;
            bar.Add((ulong)(8 * i), master.Registers);
        }

        AddIoBar(4, bar);
    }

    public override string TypeName => IsPiix4 ? "piix4-ide" : "piix3-ide";
    public bool IsPiix4 { get; }
    public IReadOnlyList<IdeChannel> Channels { get; } = [new(0), new(1)];

    /// <summary>Maps the legacy ports of both channels.</summary>
    public void MapLegacy(MemoryRegion io)
    {
        io.Add(0x1F0, Channels[0].CommandPorts);
        io.Add(0x3F6, Channels[0].ControlPort);
        io.Add(0x170, Channels[1].CommandPorts);
        io.Add(0x376, Channels[1].ControlPort);
    }

    public override void Reset()
    {
        base.Reset();
        foreach (var channel in Channels)
            channel.Reset();
    }
}
