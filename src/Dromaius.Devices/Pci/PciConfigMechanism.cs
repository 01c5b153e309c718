using System.Diagnostics.CodeAnalysis;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Devices.Isa;

namespace Dromaius.Devices.Pci;

/// <summary>
/// Configuration mechanism #1: the address register at 0xCF8 and the data window at 0xCFC. Source: PCI Local Bus Specification
/// 3.0, section 3.2.2.3.2.
/// </summary>
public sealed class PciConfigMechanism
{
    private const uint Enable = 0x8000_0000;

    private readonly PciBus _bus;
    private uint _address;

    public PciConfigMechanism(PciBus bus)
    {
        _bus = bus;
        AddressRegion = MemoryRegion.Device("pci-conf-idx", 4, ReadAddress, WriteAddress);
        DataRegion = MemoryRegion.Device("pci-conf-data", 4, ReadData, WriteData);
    }

    /// <summary>Goes to 0xCF8.</summary>
    public MemoryRegion AddressRegion { get; }

    /// <summary>
    /// What byte accesses to port 0xCF9 reach: it lies inside the address register, so it cannot be a region of its own without
    /// cutting double word accesses apart.
    /// </summary>
    public ResetControl? ResetControl { get; set; }

    /// <summary>Goes to 0xCFC.</summary>
    public MemoryRegion DataRegion { get; }

    public void Reset() => _address = 0;

    // Only whole double words reach the address register; narrower accesses are plain I/O.
    private ulong ReadAddress(ulong offset, int size) =>
        offset == 0 && size == 4 ? _address
        : offset == 1 && size == 1 && ResetControl is { } reset ? reset.Read()
        : ulong.MaxValue;

    private void WriteAddress(ulong offset, int size, ulong value)
    {
        if (offset == 0 && size == 4)
            _address = (uint)value;
        else if (offset == 1 && size == 1)
            ResetControl?.Write((byte)value);
    }

    private ulong ReadData(ulong offset, int size)
    {
        if (!Decode((int)offset, out var bus, out var devfn, out var register))
            return ulong.MaxValue;
        return bus.ReadConfig(devfn, register, Math.Min(size, 4));
    }

    private void WriteData(ulong offset, int size, ulong value)
    {
        if (Decode((int)offset, out var bus, out var devfn, out var register))
            bus.WriteConfig(devfn, register, Math.Min(size, 4), (uint)value);
        else
            GuestLog.GuestError("pci", $"write to configuration data with address {_address:x8}");
    }

    private bool Decode(int offset, [NotNullWhen(true)] out PciBus? bus, out int devfn, out int register)
    {
        devfn = (int)(_address >> 8) & 0xFF;
        // The two lowest bits are reserved; programs that set them mean the byte there.
        register = (int)(_address & 0xFF) | offset;
        bus = (_address & Enable) != 0 ? _bus.Find((int)(_address >> 16) & 0xFF) : null;
        return bus != null;
    }
}
