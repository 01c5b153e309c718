using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// Host bridge: 82441FX PCI and memory controller (PMC). Programmable attribute maps route the segments between 640 KiB and
/// 1 MiB to RAM or PCI, and the SMRAM register opens the memory behind the VGA window. Source: Intel 440FX PCIset datasheet
/// (290549), sections 3.2.18 (PAM) and 3.2.20 (SMRAM).
/// </summary>
public sealed class I440Fx : PciFunction
{
    private const int Pam0 = 0x59, Smram = 0x72;
    private const byte SmramOpen = 0x40, SmramClosed = 0x20, SmramLocked = 0x10, SmramEnabled = 0x08;

    private readonly PamWindows _pam;
    private readonly MemoryRegion _smramOpen;

    /// <param name="system">The processors' memory, to put the windows in.</param>
    /// <param name="ram">RAM from address 0 up.</param>
    /// <param name="pci">What answers where RAM does not.</param>
    public I440Fx(MemoryRegion system, MemoryRegion ram, MemoryRegion pci)
        : base(PciConfig.VendorIntel, 0x1237, 0x06, 0x00, 0, 2)
    {
        IsHotPluggable = false;
        ReserveConfig(0xE0);
        for (var i = 0; i < PamWindows.Registers; i++)
            SetWritable(Pam0 + i, 1, i == 0 ? 0x30u : 0x33u);
        SetByte(Smram, 0x02);
        SetWritable(Smram, 1, 0x78);
        // DRAM row boundaries and timing are the firmware's scratch: plain storage.
        SetWritable(0x51, 1, 0xFF);
        SetWritable(0x57, 2, 0xFFFF);
        SetWritable(0x60, 4, 0xFFFF_FFFF);
        SetWritable(0x64, 4, 0xFFFF_FFFF);
        SetByte(0x51, 0x01);

        _pam = new PamWindows(system, ram, pci);
        _smramOpen = MemoryRegion.Alias("smram-open", ram, 0xA0000, 0x20000);
        _smramOpen.Enabled = false;
        system.Add(0xA0000, _smramOpen, 2);
        UpdateWindows();
    }

    public override string TypeName => "i440FX";

    /// <summary>Processors in system management mode see RAM behind the VGA window.</summary>
    public bool IsSmramEnabled => (ConfigByte(Smram) & SmramEnabled) != 0;

    /// <summary>Told when <see cref="IsSmramEnabled"/> may have changed.</summary>
    public Action? SmramChanged { get; set; }

    public override void WriteConfig(int offset, int size, uint value)
    {
        var smram = ConfigByte(Smram);
        base.WriteConfig(offset, size, value);
        // Once locked, open is gone and only a reset brings it back.
        if ((smram & SmramLocked) != 0 && Overlaps(offset, size, Smram, 1))
            PokeConfig(Smram, smram);
        else if ((ConfigByte(Smram) & SmramLocked) != 0)
            PokeConfig(Smram, (byte)(ConfigByte(Smram) & ~SmramOpen));
        if (Overlaps(offset, size, Pam0, PamWindows.Registers) || Overlaps(offset, size, Smram, 1))
            UpdateWindows();
    }

    public override void Reset()
    {
        base.Reset();
        UpdateWindows();
    }

    private void UpdateWindows()
    {
        using (MemoryTransaction.Begin())
        {
            _pam.Update(ConfigBytes.Slice(Pam0, PamWindows.Registers));
            var smram = ConfigByte(Smram);
            _smramOpen.Enabled = (smram & (SmramEnabled | SmramOpen | SmramClosed)) == (SmramEnabled | SmramOpen);
        }

        SmramChanged?.Invoke();
    }
}
