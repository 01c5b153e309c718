using Dromaius.Core.Memory;
using Dromaius.Devices.Firmware;

namespace Dromaius.Devices.Pci;

/// <summary>
/// Power management function: 82371AB (PIIX4), function 3. Places the ACPI and SMBus port blocks and passes SMIs on. Source: Intel
/// 82371AB datasheet (290562), section 7.1.
/// </summary>
public sealed class Piix4Pm : PciFunction
{
    private const int PmBase = 0x40, DeviceActivityB = 0x58, PmMiscellaneous = 0x80, SmbBase = 0x90, SmbHostConfig = 0xD2;
    private const byte ApmSmiEnable = 0x02;

    private readonly AcpiPm _pm;
    private readonly SmBus _smBus;
    private readonly MemoryRegion _io;
    private readonly bool _systemManagement;
    private readonly Block _pmBlock;
    private readonly Block _smBlock;

    /// <param name="pm">The registers it places.</param>
    /// <param name="smBus">The SMBus host controller.</param>
    /// <param name="io">The I/O space.</param>
    /// <param name="systemManagement">False: firmware is told that SMIs are set up already, so that it leaves them alone.</param>
    public Piix4Pm(AcpiPm pm, SmBus smBus, MemoryRegion io, bool systemManagement)
        : base(PciConfig.VendorIntel, 0x7113, 0x06, 0x80, 0, 3)
    {
        _pm = pm;
        _smBus = smBus;
        _io = io;
        _systemManagement = systemManagement;
        _pmBlock = new Block(pm.PmRegisters);
        _smBlock = new Block(smBus.Registers);
        IsHotPluggable = false;
        ReserveConfig(0xE0);
        SetWord(PciConfig.Status, 0x0280);
        UseInterruptPin(1);
        SetDword(PmBase, 1);
        SetWritable(PmBase, 4, 0xFFC0);
        SetWritable(0x44, 4, 0xFFFF_FFFF);
        for (var i = 0x48; i < 0x80; i += 4)
            SetWritable(i, 4, 0xFFFF_FFFF);
        SetWritable(PmMiscellaneous, 1, 1);
        SetDword(SmbBase, 1);
        SetWritable(SmbBase, 4, 0xFFF0);
        SetWritable(SmbHostConfig, 4, 0xFFFF_FFFF);
        if (!systemManagement)
            SetByte(DeviceActivityB + 3, ApmSmiEnable);
    }

    public override string TypeName => "PIIX4_PM";

    /// <summary>Where the ACPI block is, or would be once enabled; 0 when not set.</summary>
    public uint Base => ConfigDword(PmBase) & 0xFFC0;

    public override void WriteConfig(int offset, int size, uint value)
    {
        base.WriteConfig(offset, size, value);
        Update();
    }

    public override void Reset()
    {
        base.Reset();
        Update();
    }

    private void Update()
    {
        using var transaction = MemoryTransaction.Begin();
        _pmBlock.Place(_io, Base, (ConfigByte(PmMiscellaneous) & 1) != 0);
        _smBlock.Place(_io, ConfigDword(SmbBase) & 0xFFF0, (ConfigByte(SmbHostConfig) & 1) != 0);
        _pm.ApmSmiEnabled = _systemManagement && (ConfigByte(DeviceActivityB + 3) & ApmSmiEnable) != 0;
    }

    /// <summary>A port block that software moves.</summary>
    private sealed class Block(MemoryRegion region)
    {
        private bool _mapped;

        public void Place(MemoryRegion io, uint address, bool enabled)
        {
            var wanted = enabled && address != 0;
            if (wanted && _mapped && region.Address == address)
                return;
            if (_mapped)
                io.Remove(region);
            _mapped = wanted;
            if (wanted)
                io.Add(address, region, 1);
        }
    }
}
