using System.Numerics;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// The PCI function of the test device: <see cref="PciTestDev"/> behind two base address registers, and optionally a third one with
/// nothing behind it. Source: "QEMU PCI test device" specification.
/// </summary>
public sealed class PciTestDevice : PciFunction
{
    private readonly PciTestDev _registers = new();

    /// <param name="extraMemory">Size of the third base address register; 0 for none.</param>
    public PciTestDevice(ulong extraMemory = 0)
        : base(PciConfig.VendorRedHat, 0x0005, 0xFF, 0x00)
    {
        AddMemoryBar(0, _registers.MemoryBar);
        AddIoBar(1, _registers.IoBar);
        if (extraMemory != 0)
        {
            var size = BitOperations.RoundUpToPowerOf2(Math.Max(extraMemory, 16));
            AddMemoryBar(2, MemoryRegion.Container("pci-testdev-membar", size), prefetch: true, wide: true);
        }
    }

    public override string TypeName => "pci-testdev";

    public override void Reset()
    {
        base.Reset();
        _registers.Reset();
    }
}
