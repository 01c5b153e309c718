using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// The enhanced configuration access mechanism: configuration space mapped into memory, a megabyte a bus and 4 KiB a function.
/// Source: PCI Express Base Specification 3.0, section 7.2.2.
/// </summary>
public sealed class PciExpressConfig
{
    private readonly PciBus _bus;

    /// <param name="bus">The root bus.</param>
    /// <param name="size">Bytes of address space: 256 MiB for all 256 buses.</param>
    public PciExpressConfig(PciBus bus, ulong size = 256 << 20)
    {
        _bus = bus;
        Region = MemoryRegion.Device("pcie-mmcfg-mmio", size, Read, Write);
    }

    public MemoryRegion Region { get; }

    private ulong Read(ulong address, int size) =>
        _bus.Find((int)(address >> 20) & 0xFF) is { } bus ? bus.ReadConfig((int)(address >> 12) & 0xFF, (int)address & 0xFFF, size) : ulong.MaxValue;

    private void Write(ulong address, int size, ulong value) =>
        _bus.Find((int)(address >> 20) & 0xFF)?.WriteConfig((int)(address >> 12) & 0xFF, (int)address & 0xFFF, size, (uint)value);
}
