using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// Host bridge: 82Q35 memory controller hub. Attribute maps, system management RAM (compatible, high and TSEG) and the window for
/// memory-mapped configuration. Source: Intel 3 Series Express Chipset Family datasheet (316966), sections 5.1.15 (PCIEXBAR), 5.1.22
/// (PAM), 5.1.31 (SMRAM) and 5.1.32 (ESMRAMC).
/// </summary>
public sealed class Q35Mch : PciFunction
{
    private const int ExtendedTseg = 0x50, PciExpressBar = 0x60, Pam0 = 0x90, Smram = 0x9D, ExtendedSmram = 0x9E;
    private const byte SmramOpen = 0x40, SmramLocked = 0x10, SmramEnabled = 0x08, SmramWritable = 0x78;
    private const byte HighSmram = 0x80, SmramError = 0x40, TsegEnabled = 1;
    private const ulong Legacy = 0xA0000, LegacySize = 0x20000, HighBase = 0xFEDA_0000, MiB = 1 << 20;

    /// <summary>Size in MiB behind the TSEG size code that the datasheet reserves; firmware asks for it by writing all ones.</summary>
    private const ushort ExtendedTsegSize = 16;

    private readonly PamWindows _pam;
    private readonly PciExpressConfig _config;
    private readonly MemoryRegion _system;
    private readonly ulong _lowTop;
    private readonly MemoryRegion _smramOpen, _smramLow, _smramHigh, _tseg, _tsegHidden;
    private bool _configMapped;

    /// <param name="bus">The root bus, for memory-mapped configuration.</param>
    /// <param name="system">The processors' memory, to put the windows in.</param>
    /// <param name="smm">The processors' memory in system management mode.</param>
    /// <param name="ram">RAM from address 0 up.</param>
    /// <param name="pci">What answers where RAM does not.</param>
    /// <param name="lowTop">End of RAM below 4 GiB; TSEG lies there.</param>
    public Q35Mch(PciBus bus, MemoryRegion system, MemoryRegion smm, MemoryRegion ram, MemoryRegion pci, ulong lowTop)
        : base(PciConfig.VendorIntel, 0x29C0, 0x06, 0x00)
    {
        IsHotPluggable = false;
        _system = system;
        _lowTop = lowTop;
        _config = new PciExpressConfig(bus);
        _pam = new PamWindows(system, ram, pci);
        _smramOpen = MemoryRegion.Alias("smram-open", ram, Legacy, LegacySize);
        _smramLow = MemoryRegion.Alias("smram-low", ram, Legacy, LegacySize);
        _smramHigh = MemoryRegion.Alias("smram-high", ram, Legacy, LegacySize);
        _tseg = MemoryRegion.Alias("tseg-window", ram, 0, MiB);
        _tsegHidden = MemoryRegion.Device("tseg-blackhole", MiB, static (_, _) => ulong.MaxValue, static (_, _, _) => { });
        foreach (var region in (MemoryRegion[])[_smramOpen, _smramLow, _smramHigh, _tseg, _tsegHidden])
            region.Enabled = false;
        system.Add(Legacy, _smramOpen, 2);
        system.Add(0, _tsegHidden, 1);
        smm.Add(Legacy, _smramLow, 1);
        smm.Add(HighBase, _smramHigh, 1);
        smm.Add(0, _tseg, 1);

        // Registers without behaviour here are storage.
        for (var i = 0x40; i < 0x100; i += 4)
            SetWritable(i, 4, uint.MaxValue);
        SetWord(ExtendedTseg, ExtendedTsegSize);
        SetWritable(ExtendedTseg, 2, 0);
        SetWritable(PciExpressBar, 4, 0xF000_0007);
        SetWritable(PciExpressBar + 4, 4, 0xF);
        for (var i = 0; i < PamWindows.Registers; i++)
            SetWritable(Pam0 + i, 1, i == 0 ? 0x30u : 0x33u);
        SetWritable(0x9C, 1, 0);
        SetByte(Smram, 0x02);
        SetWritable(Smram, 1, SmramWritable);
        SetByte(ExtendedSmram, 0x38);
        SetWritable(ExtendedSmram, 1, HighSmram | 0x06 | TsegEnabled);
        SetWriteOneClear(ExtendedSmram, 1, SmramError);
        Update();
    }

    public override string TypeName => "mch";

    /// <summary>Where configuration space is mapped, and its size; null while it is not.</summary>
    public (ulong Base, ulong Size)? ConfigWindow
    {
        get
        {
            var register = ConfigDword(PciExpressBar) | ((ulong)ConfigDword(PciExpressBar + 4) << 32);
            var length = (int)(register >> 1) & 3;
            if ((register & 1) == 0 || length == 3)
                return null;
            var size = 256 * MiB >> length;
            return (register & 0xF_FFFF_FFFF & ~(size - 1), size);
        }
    }

    public override void WriteConfig(int offset, int size, uint value)
    {
        var smram = ConfigByte(Smram);
        var extended = ConfigByte(ExtendedSmram);
        base.WriteConfig(offset, size, value);
        // Once locked, open is gone and both registers stay as they are until a reset.
        if ((smram & SmramLocked) != 0)
        {
            PokeConfig(Smram, smram);
            PokeConfig(ExtendedSmram, (byte)((extended & ~SmramError) | (ConfigByte(ExtendedSmram) & SmramError)));
        }
        else if ((ConfigByte(Smram) & SmramLocked) != 0)
        {
            PokeConfig(Smram, (byte)(ConfigByte(Smram) & ~SmramOpen));
        }

        if (Overlaps(offset, size, Pam0, PamWindows.Registers) || Overlaps(offset, size, Smram, 2) || Overlaps(offset, size, PciExpressBar, 8))
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
        _pam.Update(ConfigBytes.Slice(Pam0, PamWindows.Registers));
        UpdateSmram();
        UpdateConfigWindow();
    }

    private void UpdateSmram()
    {
        var smram = ConfigByte(Smram);
        var extended = ConfigByte(ExtendedSmram);
        var enabled = (smram & SmramEnabled) != 0;
        var high = (extended & HighSmram) != 0;
        _smramOpen.Enabled = enabled && (smram & SmramOpen) != 0 && !high;
        _smramLow.Enabled = enabled && !high;
        _smramHigh.Enabled = enabled && high;
        var size = ((extended >> 1) & 3) switch
        {
            0 => MiB,
            1 => 2 * MiB,
            2 => 8 * MiB,
            _ => ExtendedTsegSize * MiB,
        };
        var tseg = enabled && (extended & TsegEnabled) != 0 && _lowTop > size;
        if (tseg)
        {
            _tseg.Size = _tsegHidden.Size = size;
            _tseg.Address = _tseg.AliasOffset = _tsegHidden.Address = _lowTop - size;
        }

        _tseg.Enabled = _tsegHidden.Enabled = tseg;
    }

    private void UpdateConfigWindow()
    {
        var window = ConfigWindow;
        if (_configMapped && (window == null || window.Value.Base != _config.Region.Address || window.Value.Size != _config.Region.Size))
        {
            _system.Remove(_config.Region);
            _configMapped = false;
        }

        if (window is not { } w || _configMapped)
            return;
        _config.Region.Size = w.Size;
        _system.Add(w.Base, _config.Region);
        _configMapped = true;
    }
}
