namespace Dromaius.Devices.Pci;

/// <summary>
/// Offsets and bits of the configuration header: type 0 (PCI Local Bus Specification 3.0, chapter 6) and type 1 (PCI-to-PCI Bridge
/// Architecture Specification 1.2, section 3.2).
/// </summary>
public static class PciConfig
{
    public const int VendorId = 0x00, DeviceId = 0x02, Command = 0x04, Status = 0x06, Revision = 0x08, ProgIf = 0x09;
    public const int SubClass = 0x0A, ClassCode = 0x0B, CacheLineSize = 0x0C, LatencyTimer = 0x0D, HeaderType = 0x0E, Bist = 0x0F;
    public const int Bar0 = 0x10, SubsystemVendorId = 0x2C, SubsystemId = 0x2E, ExpansionRom = 0x30, CapabilitiesPointer = 0x34;
    public const int InterruptLine = 0x3C, InterruptPin = 0x3D, MinGrant = 0x3E, MaxLatency = 0x3F;
    public const int HeaderSize = 0x40;

    public const int PrimaryBus = 0x18, SecondaryBus = 0x19, SubordinateBus = 0x1A, IoBase = 0x1C, IoLimit = 0x1D, SecondaryStatus = 0x1E;
    public const int MemoryBase = 0x20, MemoryLimit = 0x22, PrefetchBase = 0x24, PrefetchLimit = 0x26, PrefetchBaseHigh = 0x28;
    public const int PrefetchLimitHigh = 0x2C, IoBaseHigh = 0x30, IoLimitHigh = 0x32, BridgeExpansionRom = 0x38, BridgeControl = 0x3E;

    public const ushort CommandIo = 1, CommandMemory = 2, CommandMaster = 4, CommandParity = 0x40, CommandSerr = 0x100;
    public const ushort CommandIntxDisable = 0x400;
    public const ushort StatusInterrupt = 8, StatusCapabilities = 0x10;

    /// <summary>Bits of the status register that a one clears: error reports.</summary>
    public const ushort StatusErrors = 0xF900;

    public const uint BarIo = 1, BarMemory64 = 4, BarPrefetch = 8;
    public const uint RomEnable = 1;

    public const ushort VendorIntel = 0x8086, VendorRedHatQumranet = 0x1AF4, VendorRedHat = 0x1B36, VendorBochs = 0x1234;
    public const ushort SubsystemQemu = 0x1100;
}
