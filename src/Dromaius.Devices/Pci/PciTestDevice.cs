using System.Text;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// A PCI function for exercising the bus: each test counts the writes that match its width, offset and data. Source: the
/// "QEMU PCI test device" specification: a header at the start of each of two base address registers.
/// </summary>
public sealed class PciTestDevice : PciFunction
{
    private const int HeaderSize = 0x40, IoSize = 256, MemorySize = 1 << 12;
    private const int TestRegister = 0, WidthRegister = 1, OffsetRegister = 4, DataRegister = 8, CountRegister = 12, NameRegister = 16;
    private const byte TestData = 0xFA;

    private readonly Test[] _tests;
    private int _current = -1;

    public PciTestDevice(ulong extraMemory = 0)
        : base(PciConfig.VendorRedHat, 0x0005, 0xFF, 0x00)
    {
        // Tests 0 to 2 of each space; the kinds of notification differ for other accelerators only.
        _tests =
        [
            new(0, 1, "mmio-no-eventfd", MatchData: false), new(0, 1, "mmio-wildcard-eventfd", MatchData: false),
            new(0, 1, "mmio-datamatch-eventfd", MatchData: true),
            new(1, 1, "portio-no-eventfd", MatchData: false), new(1, 1, "portio-wildcard-eventfd", MatchData: false),
            new(1, 1, "portio-datamatch-eventfd", MatchData: true),
        ];
        AddMemoryBar(0, MemoryRegion.Device("pci-testdev-mmio", MemorySize, (o, s) => Read(0, o, s), (o, s, v) => Write(0, o, s, v)));
        AddIoBar(1, MemoryRegion.Device("pci-testdev-portio", IoSize, (o, s) => Read(1, o, s), (o, s, v) => Write(1, o, s, v)));
        if (extraMemory != 0)
            AddMemoryBar(2, MemoryRegion.Container("pci-testdev-membar", System.Numerics.BitOperations.RoundUpToPowerOf2(extraMemory)), true, true);
    }

    public override string TypeName => "pci-testdev";

    public override void Reset()
    {
        base.Reset();
        _current = -1;
        foreach (var test in _tests)
            test.Count = 0;
    }

    private ulong Read(int space, ulong offset, int size)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        header.Clear();
        if (_current >= 0 && _tests[_current] is { } test && test.Space == space)
        {
            header[TestRegister] = (byte)(_current % 3);
            header[WidthRegister] = (byte)test.Width;
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(header[OffsetRegister..], test.Offset);
            header[DataRegister] = TestData;
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(header[CountRegister..], test.Count);
            Encoding.ASCII.GetBytes(test.Name, header[NameRegister..]);
        }

        var value = 0UL;
        for (var i = 0; i < size; i++)
        {
            var at = offset + (ulong)i;
            value |= (ulong)(at < HeaderSize ? header[(int)at] : 0) << (8 * i);
        }

        return value;
    }

    private void Write(int space, ulong offset, int size, ulong value)
    {
        if (offset == TestRegister)
        {
            Select(space, (int)(value & 0xFF));
            return;
        }

        if (_current < 0 || _tests[_current] is not { } test || test.Space != space)
            return;
        if (offset == test.Offset && size == test.Width && (!test.MatchData || (byte)value == TestData))
            test.Count++;
    }

    /// <summary>Starts a test of one space; a number beyond the last ends testing.</summary>
    private void Select(int space, int number)
    {
        _current = number < 3 ? (space * 3) + number : -1;
        if (_current >= 0)
            _tests[_current].Count = 0;
    }

    private sealed record Test(int Space, int Width, string Name, bool MatchData)
    {
        public uint Count { get; set; }

        /// <summary>Where the counted accesses go: behind the header.</summary>
        public uint Offset => 0x40u + (uint)(MatchData ? 8 : 0);
    }
}
