using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Storage.Ata;

/// <summary>
/// AHCI host bus adapter with six ports, as in the ICH9 (82801IR, function 1F.2). Source: Serial ATA Advanced Host Controller
/// Interface 1.3.1.
/// </summary>
public sealed class Ahci : PciFunction
{
    public const int PortCount = 6;
    internal const int Slots = 32;
    private const int GlobalSize = 0x100, PortSize = 0x80, RegisterSize = 0x1000;
    private const uint IndexAt = 0x10;
    private const uint Enable = 0x8000_0000, InterruptEnable = 2, HbaReset = 1;

    // 64-bit addresses, NCQ, AHCI only, partial and slumber states, 32 slots, six ports at 1.5 Gbit/s.
    private const uint Capabilities = 0xC014_1F00 | (PortCount - 1);
    private const uint Version = 0x0001_0000;

    private uint _control = Enable;
    private uint _pending;
    private uint _index;

    public Ahci()
        : base(PciConfig.VendorIntel, 0x2922, 0x01, 0x06, 0x01, 2)
    {
        SetWritable(0x90, 2, 0xFFFF);
        SetByte(0x90, 0x40); // address map: AHCI
        SetWritable(0x92, 2, (1 << PortCount) - 1); // ports enabled
        SetWritable(0x94, 4, uint.MaxValue);
        UseInterruptPin(1);
        // Serial ATA capability 1.0: the index-data pair is at offset 10h of the I/O register.
        var sata = AddCapability(0x12, 8, 0xA8);
        SetWord(sata + 2, 0x0010);
        SetDword(sata + 4, (IndexAt / 4 << 4) | 8);
        _ = new Msi(this, 1, 0x80, maskable: false);
        for (var i = 0; i < PortCount; i++)
            Ports[i] = new AhciPort(this, i);
        AddIoBar(4, MemoryRegion.Device("ahci-idp", 32, ReadPair, WritePair, 4, 4));
        AddMemoryBar(5, MemoryRegion.Device("ahci", RegisterSize, Read, Write, 4, 4));
    }

    public override string TypeName => "ich9-ahci";

    public AhciPort[] Ports { get; } = new AhciPort[PortCount];

    internal AddressSpace Memory => DmaSpace;

    public override void Reset()
    {
        base.Reset();
        ResetHba();
        foreach (var port in Ports)
            port.Device?.Reset();
    }

    /// <summary>A port's interrupt status may have changed.</summary>
    internal void UpdateInterrupt()
    {
        var before = _pending;
        foreach (var port in Ports)
        {
            if (port.IsInterrupting)
                _pending |= 1u << port.Number;
        }

        var level = _pending != 0 && (_control & InterruptEnable) != 0;
        if (Msi is { IsEnabled: true } msi)
        {
            if (level && (_pending & ~before) != 0)
                msi.Notify(0);
            SetIntx(false);
        }
        else
            SetIntx(level);
    }

    private void ResetHba()
    {
        _control = Enable;
        _pending = 0;
        foreach (var port in Ports)
            port.ResetPort();
        UpdateInterrupt();
    }

    /// <summary>Registers by their offset, for software that has no access to memory (ICH9 datasheet 316972, section 15.2.3).</summary>
    private ulong ReadPair(ulong offset, int size) => offset switch
    {
        IndexAt => _index,
        IndexAt + 4 => Read(_index, 4),
        _ => 0,
    };

    private void WritePair(ulong offset, int size, ulong value)
    {
        if (offset == IndexAt)
            _index = (uint)value & (RegisterSize - 4);
        else if (offset == IndexAt + 4)
            Write(_index, 4, value);
    }

    private ulong Read(ulong offset, int size)
    {
        if (offset >= GlobalSize)
        {
            var port = (int)(offset - GlobalSize) / PortSize;
            return port < PortCount ? Ports[port].Read((int)offset % PortSize) : 0;
        }

        return offset switch
        {
            0x00 => Capabilities,
            0x04 => _control,
            0x08 => _pending,
            0x0C => (1u << PortCount) - 1,
            0x10 => Version,
            _ => 0,
        };
    }

    private void Write(ulong offset, int size, ulong value)
    {
        var word = (uint)value;
        if (offset >= GlobalSize)
        {
            var port = (int)(offset - GlobalSize) / PortSize;
            if (port < PortCount)
                Ports[port].Write((int)offset % PortSize, word);
            return;
        }

        switch (offset)
        {
            case 0x04 when (word & HbaReset) != 0:
                ResetHba();
                break;
            case 0x04:
                _control = Enable | (word & InterruptEnable);
                UpdateInterrupt();
                break;
            case 0x08:
                _pending &= ~word;
                UpdateInterrupt();
                break;
        }
    }
}

