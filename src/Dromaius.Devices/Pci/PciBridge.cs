using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// A PCI-to-PCI bridge: a bus behind it, reached through windows for I/O, memory and prefetchable memory. Source: PCI-to-PCI
/// Bridge Architecture Specification 1.2, section 3.2.
/// </summary>
public abstract class PciBridge : PciFunction
{
    private const ushort ControlVga = 8, ControlReset = 0x40;
    private const ulong Legacy = 0xA0000, LegacySize = 0x20000;

    private readonly MemoryRegion _ioWindow, _memoryWindow, _prefetchWindow, _vgaMemory, _vgaLow, _vgaHigh;
    private PciBus? _mappedInto;

    /// <param name="vendor">Vendor id.</param>
    /// <param name="device">Device id.</param>
    /// <param name="revision">Revision id.</param>
    /// <param name="name">Of the bus behind it.</param>
    /// <param name="isExpressBus">That bus is a PCI Express link with one slot.</param>
    protected PciBridge(ushort vendor, ushort device, byte revision, string name, bool isExpressBus)
        : base(vendor, device, 0x06, 0x04, 0, revision, isBridge: true)
    {
        Secondary = new PciBus(name, this) { IsExpress = isExpressBus };
        SetWritable(PciConfig.PrimaryBus, 4, uint.MaxValue);
        SetWritable(PciConfig.IoBase, 2, 0xF0F0);
        SetWriteOneClear(PciConfig.SecondaryStatus, 2, 0xF900);
        SetWritable(PciConfig.MemoryBase, 4, 0xFFF0_FFF0);
        SetDword(PciConfig.PrefetchBase, 0x0001_0001);
        SetWritable(PciConfig.PrefetchBase, 4, 0xFFF0_FFF0);
        SetWritable(PciConfig.PrefetchBaseHigh, 4, uint.MaxValue);
        SetWritable(PciConfig.PrefetchLimitHigh, 4, uint.MaxValue);
        SetWritable(PciConfig.BridgeControl, 2, isExpressBus ? 0x5Fu : 0xBFFu);
        if (!isExpressBus)
            SetWord(PciConfig.SecondaryStatus, 0x00A0);
        _ioWindow = MemoryRegion.Alias("pci_bridge_io", Secondary.IoRoot, 0, 0x1000);
        _memoryWindow = MemoryRegion.Alias("pci_bridge_mem", Secondary.MemoryRoot, 0, 0x10_0000);
        _prefetchWindow = MemoryRegion.Alias("pci_bridge_pref_mem", Secondary.MemoryRoot, 0, 0x10_0000);
        _vgaMemory = MemoryRegion.Alias("pci_bridge_vga_mem", Secondary.MemoryRoot, Legacy, LegacySize);
        _vgaLow = MemoryRegion.Alias("pci_bridge_vga_io_lo", Secondary.IoRoot, 0x3B0, 0xC);
        _vgaHigh = MemoryRegion.Alias("pci_bridge_vga_io_hi", Secondary.IoRoot, 0x3C0, 0x20);
        foreach (var window in Windows)
            window.Enabled = false;
    }

    /// <summary>The bus behind it.</summary>
    public PciBus Secondary { get; }

    public byte SecondaryBus => ConfigByte(PciConfig.SecondaryBus);

    public byte SubordinateBus => ConfigByte(PciConfig.SubordinateBus);

    /// <summary>First and last address of the I/O, memory and prefetchable windows as the registers say; closed when the last is below the first.</summary>
    public (ulong Base, ulong Limit) IoRange =>
        ((ulong)(ConfigByte(PciConfig.IoBase) & 0xF0) << 8, (ulong)(ConfigByte(PciConfig.IoLimit) & 0xF0) << 8 | 0xFFF);

    public (ulong Base, ulong Limit) MemoryRange =>
        ((ulong)(ConfigWord(PciConfig.MemoryBase) & 0xFFF0) << 16, (ulong)(ConfigWord(PciConfig.MemoryLimit) & 0xFFF0) << 16 | 0xF_FFFF);

    public (ulong Base, ulong Limit) PrefetchRange =>
        ((ulong)(ConfigWord(PciConfig.PrefetchBase) & 0xFFF0) << 16 | (ulong)ConfigDword(PciConfig.PrefetchBaseHigh) << 32,
            (ulong)(ConfigWord(PciConfig.PrefetchLimit) & 0xFFF0) << 16 | 0xF_FFFF | (ulong)ConfigDword(PciConfig.PrefetchLimitHigh) << 32);

    private MemoryRegion[] Windows => [_ioWindow, _memoryWindow, _prefetchWindow, _vgaMemory, _vgaLow, _vgaHigh];

    public override void WriteConfig(int offset, int size, uint value)
    {
        var control = ConfigWord(PciConfig.BridgeControl);
        base.WriteConfig(offset, size, value);
        if ((ConfigWord(PciConfig.BridgeControl) & ~control & ControlReset) != 0)
            Secondary.Reset();
        if (Overlaps(offset, size, PciConfig.Command, 2) || Overlaps(offset, size, PciConfig.IoBase, 2)
            || Overlaps(offset, size, PciConfig.MemoryBase, 0x14) || Overlaps(offset, size, PciConfig.BridgeControl, 2))
            UpdateWindows();
    }

    public override void Reset()
    {
        base.Reset();
        UpdateWindows();
    }

    protected internal override void OnPlugged()
    {
        if (_mappedInto == Bus)
            return;
        _mappedInto = Bus!;
        using var transaction = MemoryTransaction.Begin();
        Bus!.IoRoot.Add(0, _ioWindow);
        Bus.IoRoot.Add(0x3B0, _vgaLow, 1);
        Bus.IoRoot.Add(0x3C0, _vgaHigh, 1);
        Bus.MemoryRoot.Add(0, _memoryWindow);
        Bus.MemoryRoot.Add(0, _prefetchWindow);
        Bus.MemoryRoot.Add(Legacy, _vgaMemory, 1);
    }

    internal override void Unmap()
    {
        base.Unmap();
        using var transaction = MemoryTransaction.Begin();
        if (_mappedInto is not { } bus)
            return;
        foreach (var window in (MemoryRegion[])[_ioWindow, _vgaLow, _vgaHigh])
            bus.IoRoot.Remove(window);
        foreach (var window in (MemoryRegion[])[_memoryWindow, _prefetchWindow, _vgaMemory])
            bus.MemoryRoot.Remove(window);
        _mappedInto = null;
    }

    /// <summary>A line of the bus behind changed: it is the pin of that number of the bridge's slot.</summary>
    internal void PassInterrupt(int line, bool level) => Bus?.SetIntx(Slot, line, level);

    private void UpdateWindows()
    {
        using var transaction = MemoryTransaction.Begin();
        var memory = (Command & PciConfig.CommandMemory) != 0;
        var io = (Command & PciConfig.CommandIo) != 0;
        var vga = (ConfigWord(PciConfig.BridgeControl) & ControlVga) != 0;
        Place(_ioWindow, IoRange, io);
        Place(_memoryWindow, MemoryRange, memory);
        Place(_prefetchWindow, PrefetchRange, memory);
        _vgaMemory.Enabled = memory && vga;
        _vgaLow.Enabled = _vgaHigh.Enabled = io && vga;
    }

    private static void Place(MemoryRegion window, (ulong Base, ulong Limit) range, bool enabled)
    {
        window.Enabled = enabled && range.Limit > range.Base;
        if (!window.Enabled)
            return;
        window.Address = window.AliasOffset = range.Base;
        window.Size = range.Limit - range.Base + 1;
    }
}
