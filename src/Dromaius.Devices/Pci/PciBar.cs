using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>A base address register: which region it maps, and where it is mapped now.</summary>
internal sealed class PciBar(int offset, MemoryRegion region, ulong size, bool io, bool wide)
{
    public const ulong Unmapped = ulong.MaxValue;

    /// <summary>Configuration offset of the register.</summary>
    public int Offset { get; } = offset;
    public MemoryRegion Region { get; } = region;

    /// <summary>A power of two.</summary>
    public ulong Size { get; } = size;
    public bool IsIo { get; } = io;
    public bool Is64 { get; } = wide;
    public ulong Mapped { get; set; } = Unmapped;
}
