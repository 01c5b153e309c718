using Dromaius.Core.Devices;
using Dromaius.Cpu.X86;
using Dromaius.Devices.Pci;

namespace Dromaius.Boards;

/// <summary>A base address register as monitors list it; no address while it is not mapped.</summary>
public sealed record PciRegionInfo(int Bar, bool IsIo, ulong? Address, ulong Size, bool IsPrefetchable, bool Is64Bit);

/// <summary>A PCI function as monitors list it.</summary>
public sealed record PciDeviceInfo(int Bus, int Slot, int Function, string TypeName, string? Id)
{
    public ushort VendorId { get; init; }
    public ushort DeviceId { get; init; }
    public ushort SubsystemVendorId { get; init; }
    public ushort SubsystemId { get; init; }

    /// <summary>Class and subclass.</summary>
    public ushort ClassCode { get; init; }
    public byte InterruptPin { get; init; }
    public byte InterruptLine { get; init; }
    public IReadOnlyList<PciRegionInfo> Regions { get; init; } = [];

    /// <summary>Of a bridge: the numbers of its secondary and last bus; else null.</summary>
    public (int Secondary, int Subordinate)? Bridge { get; init; }

    /// <summary>Of a bridge: base and limit of its I/O, memory and prefetchable windows.</summary>
    public IReadOnlyList<(ulong Base, ulong Limit)> Windows { get; init; } = [];

    /// <summary>Of a bridge: the name of the bus behind it.</summary>
    public string? SecondaryName { get; init; }

    /// <summary>The name of the bus it is on.</summary>
    public string BusName { get; init; } = "";

    internal static PciDeviceInfo Of(PciFunction f)
    {
        var c = f.ConfigBytes;
        int Word(int offset) => f.ConfigBytes[offset] | f.ConfigBytes[offset + 1] << 8;
        var regions = new List<PciRegionInfo>();
        for (var i = 0; i <= 6; i++)
        {
            if (f.BarSize(i) == 0)
                continue;
            var low = i < 6 ? c[PciConfig.Bar0 + (4 * i)] : (byte)0;
            regions.Add(new PciRegionInfo(i, f.BarIsIo(i), f.BarAddress(i), f.BarSize(i), !f.BarIsIo(i) && (low & 8) != 0, !f.BarIsIo(i) && (low & 4) != 0));
        }

        return new PciDeviceInfo(f.Bus?.Number ?? 0, f.Slot, f.Function, f.TypeName, f.Id)
        {
            VendorId = f.VendorId, DeviceId = f.DeviceId,
            SubsystemVendorId = (ushort)(f.IsBridge ? 0 : Word(PciConfig.SubsystemVendorId)),
            SubsystemId = (ushort)(f.IsBridge ? 0 : Word(PciConfig.SubsystemId)), ClassCode = (ushort)Word(PciConfig.SubClass),
            InterruptPin = c[PciConfig.InterruptPin], InterruptLine = c[PciConfig.InterruptLine], Regions = regions,
            Bridge = f is PciBridge b ? (b.SecondaryBus, b.SubordinateBus) : null,
            Windows = f is PciBridge w ? [w.IoRange, w.MemoryRange, w.PrefetchRange] : [], SecondaryName = (f as PciBridge)?.Secondary.Name,
            BusName = f.Bus?.Name ?? "",
        };
    }
}

/// <summary>What a machine is made of, for those who look at it from outside.</summary>
public sealed record MachineDescription
{
    public required MachineType Type { get; init; }
    public required CpuTopology Topology { get; init; }

    /// <summary>The processor's model by name.</summary>
    public required string CpuModel { get; init; }

    /// <summary>The features of x86 processors; null for others.</summary>
    public X86Model? X86 { get; init; }

    /// <summary>What can be plugged in.</summary>
    public required DeviceRegistry DeviceTypes { get; init; }

    /// <summary>The PCI functions, bridge by bridge; empty without a bus.</summary>
    public Func<IReadOnlyList<PciDeviceInfo>> Pci { get; init; } = static () => [];

    /// <summary>The text of <c>info pic</c>.</summary>
    public Func<string> InterruptControllers { get; init; } = static () => "";

    /// <summary>How often each line of each controller was raised.</summary>
    public Func<IReadOnlyList<(string Name, IReadOnlyList<long> Counts)>> InterruptCounts { get; init; } = static () => [];

    /// <summary>Images that the firmware or the loader put into memory: address, size, name.</summary>
    public IReadOnlyList<(ulong Address, ulong Size, bool IsRom, string Name)> Roms { get; init; } = [];
}
