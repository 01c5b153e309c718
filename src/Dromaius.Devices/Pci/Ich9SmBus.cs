using Dromaius.Core.Memory;
using Dromaius.Devices.Firmware;

namespace Dromaius.Devices.Pci;

/// <summary>SMBus controller: ICH9, function 1F.3. Source: Intel ICH9 datasheet (316972), section 19.1.</summary>
public sealed class Ich9SmBus : PciFunction
{
    private const int HostConfiguration = 0x40;
    private const byte HostEnable = 1;

    private readonly SmBus _smBus;
    private readonly MemoryRegion _window;

    /// <param name="smBus">The host controller's registers.</param>
    public Ich9SmBus(SmBus smBus)
        : base(PciConfig.VendorIntel, 0x2930, 0x0C, 0x05, 0, 2)
    {
        IsHotPluggable = false;
        IsMultifunction = true;
        _smBus = smBus;
        UseInterruptPin(1);
        SetWritable(HostConfiguration, 1, 0xF7);
        _window = MemoryRegion.Container("ich9-smbus-bar", 64);
        _window.Add(0, smBus.Registers);
        AddIoBar(4, _window);
        smBus.Irq.Connect(SetIntx);
        Update();
    }

    public override string TypeName => "ICH9-SMB";

    public override void WriteConfig(int offset, int size, uint value)
    {
        base.WriteConfig(offset, size, value);
        if (Overlaps(offset, size, HostConfiguration, 1))
            Update();
    }

    public override void Reset()
    {
        base.Reset();
        _smBus.Reset();
        Update();
    }

    private void Update() => _smBus.Registers.Enabled = (ConfigByte(HostConfiguration) & HostEnable) != 0;
}
