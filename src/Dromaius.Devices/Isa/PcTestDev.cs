using System.Buffers.Binary;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>
/// What the kvm-unit-tests ask of a PC: a port that remembers, a port that flushes a page, a memory window served by handlers,
/// and ports that drive the interrupt lines.
/// </summary>
public sealed class PcTestDev : Device
{
    public const int IrqCount = 24;

    /// <summary>Where the pieces are expected.</summary>
    public const int StorePortsBase = 0xE0, FlushPortsBase = 0xE4, BytePortsBase = 0xE8, IrqPortsBase = 0x2000;

    public const ulong MemoryBase = 0xFF000000;

    private readonly byte[] _store = new byte[8];
    private readonly byte[] _memory = new byte[0x10000 + 8];

    public PcTestDev()
    {
        StorePorts = MemoryRegion.Device("pc-testdev-ioport", 4, ReadStore, WriteStore);
        FlushPorts = MemoryRegion.Device("pc-testdev-flush-page", 4, static (_, _) => 0, static (_, _, _) => { }, 1, 4);
        BytePorts = MemoryRegion.Device("pc-testdev-ioport-byte", 4, ReadStore, WriteStore, 1, 1);
        IrqPorts = MemoryRegion.Device("pc-testdev-irq-line", IrqCount, static (_, _) => 0, WriteIrq, 1, 1);
        Memory = MemoryRegion.Device("pc-testdev-iomem", 0x10000, ReadMemory, WriteMemory, 1, 8);
    }

    public override string TypeName => "pc-testdev";

    /// <summary>Ports E0h to E3h: read back what was written, at any width.</summary>
    public MemoryRegion StorePorts { get; }

    /// <summary>Ports E4h to E7h: the page of a physical address is to be forgotten, which is no work for this emulator.</summary>
    public MemoryRegion FlushPorts { get; }

    /// <summary>Ports E8h to EBh: the same store, byte by byte.</summary>
    public MemoryRegion BytePorts { get; }

    /// <summary>Ports 2000h to 2017h: the level of an interrupt line.</summary>
    public MemoryRegion IrqPorts { get; }

    /// <summary>64 KiB of memory that is no RAM.</summary>
    public MemoryRegion Memory { get; }

    /// <summary>Global interrupts 0 to 23.</summary>
    public IrqLine[] Irqs { get; } = [.. Enumerable.Range(0, IrqCount).Select(_ => new IrqLine())];

    public override void Reset()
    {
        Array.Clear(_store);
        Array.Clear(_memory);
        foreach (var irq in Irqs)
            irq.Lower();
    }

    private ulong ReadStore(ulong offset, int size) =>
        BinaryPrimitives.ReadUInt32LittleEndian(_store.AsSpan((int)offset & 3));

    private void WriteStore(ulong offset, int size, ulong value)
    {
        for (var i = 0; i < size && (int)offset + i < 4; i++)
            _store[(int)offset + i] = (byte)(value >> (8 * i));
    }

    private void WriteIrq(ulong offset, int size, ulong value)
    {
        if (offset < IrqCount)
            Irqs[offset].Level = value != 0;
    }

    private ulong ReadMemory(ulong offset, int size) =>
        BinaryPrimitives.ReadUInt64LittleEndian(_memory.AsSpan((int)offset & 0xFFFF));

    private void WriteMemory(ulong offset, int size, ulong value)
    {
        for (var i = 0; i < size; i++)
            _memory[((int)offset + i) & 0xFFFF] = (byte)(value >> (8 * i));
    }
}
