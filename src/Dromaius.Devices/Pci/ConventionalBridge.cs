using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// A bridge to a conventional PCI bus: from PCI (<c>pci-bridge</c>) or from PCI Express (<c>pcie-pci-bridge</c>). Source: PCI-to-PCI
/// Bridge Architecture Specification 1.2; PCI Express to PCI/PCI-X Bridge Specification 1.0.
/// </summary>
public sealed class ConventionalBridge : PciBridge
{
    private const byte SlotNumbering = 4;

    /// <param name="name">Of the bus behind it.</param>
    /// <param name="chassis">Number of its chassis; for a bridge from PCI.</param>
    /// <param name="isFromExpress">Its upper side is PCI Express.</param>
    public ConventionalBridge(string name, byte chassis, bool isFromExpress)
        : base(PciConfig.VendorRedHat, isFromExpress ? (ushort)0x000E : (ushort)0x0001, 0, name, isExpressBus: false)
    {
        TypeName = isFromExpress ? "pcie-pci-bridge" : "pci-bridge";
        IsHotPluggable = false;
        UseInterruptPin(1);
        if (isFromExpress)
        {
            _ = AddExpress(PciExpressType.PciBridge, at: 0x48);
            AddPowerManagement(0x84);
            _ = new Msi(this, 1, 0x8C);
            AdvancedErrors.Add(this, 0x100, multiple: false);
        }
        else
        {
            var slots = AddCapability(SlotNumbering, 4, 0x48);
            // First in its chassis, no expansion slots.
            SetByte(slots + 2, 0x20);
            SetByte(slots + 3, chassis);
            SetWritable(slots + 3, 1, 0xFF);
            _ = new Msi(this, 1, 0x4C);
        }

        // Where a standard hot-plug controller's registers would be.
        AddMemoryBar(0, MemoryRegion.Container("shpc-mmio", 0x100), wide: true);
    }

    public override string TypeName { get; }
}
