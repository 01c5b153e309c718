using System.Buffers.Binary;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Virtio;

namespace Dromaius.Devices.Tests.Storage;

/// <summary>The PCI transport, both ring layouts and the block device, driven as a driver would.</summary>
public sealed class VirtioTests : IDisposable
{
    private const uint Bar = 0xE000_0000, Table = 0xE100_0000;
    private const int LegacyPorts = 0xC000, Devfn = 24;
    private const uint Descriptors = 0x10000, Available = 0x11000, Used = 0x12000, Header = 0x20000, Status = 0x20800, Data = 0x30000;
    private const int Size = 64;

    private readonly StorageBench _bench = new();
    private readonly byte[] _disk = StorageBench.Pattern(8 << 20);
    private readonly VirtioBlock _block;
    private readonly VirtioPci _pci;
    private ushort _availableIndex;

    public VirtioTests()
    {
        _block = new VirtioBlock(_bench.Memory, _bench.Drive(_disk), 1, 256, DiskGeometry.ForSize(16384)) { Serial = "abc" };
        _block.DisabledFeatures = 0;
        _pci = new VirtioPci(_block, "virtio-blk-pci");
        _bench.Bus.Plug(_pci, Devfn);
        _pci.Reset();
        Config(0x10, LegacyPorts | 1);
        Config(0x14, Table);
        Config(0x20, Bar);
        Config(0x24, 0);
        _bench.Bus.WriteConfig(Devfn, 4, 2, 7);
    }

    public void Dispose() => _bench.Dispose();

    private void Config(int at, uint value) => _bench.Bus.WriteConfig(Devfn, at, 4, value);

    private uint Read(uint at, int size) => (uint)_bench.Memory.Load(Bar + at, size);

    private void Write(uint at, int size, ulong value) => _bench.Memory.Store(Bar + at, size, value);

    /// <summary>Negotiates with the modern interface and sets up queue 0.</summary>
    private void Start(ulong features)
    {
        Write(20, 1, 0);
        Write(20, 1, 3);
        for (var i = 0u; i < 2; i++)
        {
            Write(8, 4, i);
            Write(12, 4, (uint)((features | VirtioFeature.Version1) >> (int)(32 * i)));
        }

        Write(20, 1, 11);
        Assert.Equal(11u, Read(20, 1));
        _bench.Memory.Store(Table, 8, 0xFEE0_0000);
        _bench.Memory.Store(Table + 8, 8, 5);
        _bench.Memory.Store(Table + 16, 8, 0xFEE0_0000);
        _bench.Memory.Store(Table + 24, 8, 6);
        var msix = 0x40;
        while ((_bench.Bus.ReadConfig(Devfn, msix, 1) & 0xFF) != 0x11)
            msix = (int)_bench.Bus.ReadConfig(Devfn, msix + 1, 1);
        _bench.Bus.WriteConfig(Devfn, msix + 2, 2, 0x8000);
        Write(16, 2, 0);
        Write(22, 2, 0);
        Write(24, 2, Size);
        Write(26, 2, 1);
        Write(32, 4, Descriptors);
        Write(40, 4, Available);
        Write(48, 4, Used);
        Write(28, 2, 1);
        Write(20, 1, 15);
    }

    private void Descriptor(int index, ulong address, uint length, ushort flags, ushort next)
    {
        var at = (uint)(Descriptors + (16 * index));
        _bench.Poke64(at, address);
        _bench.Poke32(at + 8, length);
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(at + 12, 2), flags);
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(at + 14, 2), next);
    }

    private void Offer(ushort head)
    {
        var slot = (uint)(Available + 4 + (2 * (_availableIndex % Size)));
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(slot, 2), head);
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(Available + 2, 2), ++_availableIndex);
    }

    private ushort UsedIndex => BinaryPrimitives.ReadUInt16LittleEndian(_bench.Ram.Span(Used + 2, 2));

    /// <summary>One request: header, data, status.</summary>
    private byte Request(uint type, ulong sector, uint length, bool toGuest)
    {
        _bench.Poke32(Header, type);
        _bench.Poke64(Header + 8, sector);
        Descriptor(0, Header, 16, 1, 1);
        Descriptor(1, Data, length / 2, (ushort)(toGuest ? 3 : 1), 2);
        Descriptor(2, Data + (length / 2), length - (length / 2), (ushort)(toGuest ? 3 : 1), 3);
        Descriptor(3, Status, 1, 2, 0);
        _bench.Ram.Span(Status, 1)[0] = 0xFF;
        Offer(0);
        var before = UsedIndex;
        Write(0x3000, 2, 0);
        _bench.Until(() => UsedIndex != before, "completion");
        return _bench.Ram.Span(Status, 1)[0];
    }

    [Fact]
    public void ModernReadsAndWrites()
    {
        Start(0);
        Assert.Equal(0, Request(0, 100, 8192, true));
        Assert.Equal(_disk.AsSpan(51200, 8192).ToArray(), _bench.Ram.Span(Data, 8192).ToArray());
        Assert.Equal(8193u, _bench.Peek32(Used + 8));
        var data = StorageBench.Pattern(8192, 9);
        data.CopyTo(_bench.Ram.Span(Data, 8192));
        Assert.Equal(0, Request(1, 200, 8192, false));
        Assert.Equal(data, _disk.AsSpan(102400, 8192).ToArray());
        Assert.Equal(2, _bench.Messages[6]);
        Assert.Equal(0, Request(4, 0, 0, false));
        Assert.Equal(1, Request(0, 1 << 20, 512, true));
        Assert.Equal(2, Request(99, 0, 512, true));
        Assert.Equal(0, Request(8, 0, 20, true));
        Assert.Equal("abc\0"u8.ToArray(), _bench.Ram.Span(Data, 4).ToArray());
    }

    /// <summary>Firmware's drivers know no flushes; the system after them does.</summary>
    [Fact]
    public void TheWriteCacheComesBackWithTheNextDriver()
    {
        Assert.True(_block.Backend.WriteCache);
        Start(0);
        Assert.False(_block.Backend.WriteCache);
        Start(1 << 9);
        Assert.True(_block.Backend.WriteCache);
    }

    [Fact]
    public void WriteZeroesAndDiscard()
    {
        Start(0);
        _bench.Poke64(Data, 10);
        _bench.Poke32(Data + 8, 4);
        _bench.Poke32(Data + 12, 0);
        Assert.Equal(0, Request(13, 0, 16, false));
        Assert.All(_disk.AsSpan(5120, 2048).ToArray(), static b => Assert.Equal(0, b));
        Assert.Equal(0, Request(11, 0, 16, false));
        _bench.Poke64(Data, 1 << 30);
        Assert.Equal(1, Request(11, 0, 16, false));
    }

    [Fact]
    public void ConfigurationSpace()
    {
        Assert.Equal(16384u, Read(0x2000, 4));
        Assert.Equal(512u, Read(0x2000 + 20, 4));
        Assert.Equal(1u, _bench.IoSpace.Load(LegacyPorts + 20 + 34, 1));
        Assert.Equal(0x1001u, _bench.Bus.ReadConfig(Devfn, 2, 2));
    }

    [Fact]
    public void IndirectTables()
    {
        Start(VirtioFeature.RingIndirect);
        const uint List = 0x40000;
        _bench.Poke32(Header, 0);
        _bench.Poke64(Header + 8, 7);
        void Entry(uint i, uint address, uint length, uint flags)
        {
            _bench.Poke64(List + (16 * i), address);
            _bench.Poke32(List + (16 * i) + 8, length);
            _bench.Poke32(List + (16 * i) + 12, flags);
        }

        Entry(0, Header, 16, 1 | (1 << 16));
        Entry(1, Data, 1024, 3 | (2 << 16));
        Entry(2, Status, 1, 2);
        Descriptor(5, List, 48, 4, 0);
        Offer(5);
        Write(0x3000, 2, 0);
        _bench.Until(() => UsedIndex == 1, "completion");
        Assert.Equal(_disk.AsSpan(7 * 512, 1024).ToArray(), _bench.Ram.Span(Data, 1024).ToArray());
        Assert.Equal(5u, _bench.Peek32(Used + 4));
    }

    [Fact]
    public void EventIndexHoldsInterruptsBack()
    {
        Start(VirtioFeature.RingEventIndex);
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(Available + 4 + (2 * Size), 2), 2);
        Assert.Equal(0, Request(4, 0, 0, false));
        var first = _bench.Messages[6];
        Assert.Equal(0, Request(4, 0, 0, false));
        Assert.Equal(first, _bench.Messages[6]);
        Assert.Equal(0, Request(4, 0, 0, false));
        Assert.Equal(first + 1, _bench.Messages[6]);
    }

    [Fact]
    public void LegacyInterface()
    {
        _bench.Out8(LegacyPorts + 18, 0);
        _bench.Out8(LegacyPorts + 18, 3);
        _bench.Out32(LegacyPorts + 4, 1 << 9);
        _bench.Out16(LegacyPorts + 14, 0);
        Assert.Equal(256, _bench.In16(LegacyPorts + 12));
        _bench.Out32(LegacyPorts + 8, 0x10);
        _bench.Out8(LegacyPorts + 18, 7);
        _bench.Poke32(Header, 0);
        _bench.Poke64(Header + 8, 3);
        Descriptor(0, Header, 16, 1, 1);
        Descriptor(1, Data, 512, 3, 2);
        Descriptor(2, Status, 1, 2, 0);
        // 256 descriptors fill the page at 10000h; the available ring follows, the used ring is on the page after it.
        _bench.Poke32(0x11000, 0x0001_0000);
        _bench.Out16(LegacyPorts + 16, 0);
        _bench.Until(() => _bench.Peek32(0x12000) >> 16 == 1, "completion");
        Assert.Equal(_disk.AsSpan(3 * 512, 512).ToArray(), _bench.Ram.Span(Data, 512).ToArray());
        Assert.True(_bench.Bus.InterruptLevel(((Devfn >> 3) + 3) & 3));
        Assert.Equal(1, _bench.In8(LegacyPorts + 19));
        Assert.False(_bench.Bus.InterruptLevel(((Devfn >> 3) + 3) & 3));
    }

    [Fact]
    public void PackedRing()
    {
        Start(VirtioFeature.RingPacked);
        for (var i = 0; i < 100; i++)
        {
            _bench.Poke32(Header, 0);
            _bench.Poke64(Header + 8, (ulong)i);
            var wrap = i * 3 / Size % 2 == 0;
            var first = (i * 3) % Size;
            for (var d = 2; d >= 0; d--)
            {
                var at = first + d;
                var w = at >= Size ? !wrap : wrap;
                at %= Size;
                var flags = (w ? 0x80 : 0x8000) | (d == 0 ? 1 : d == 1 ? 3 : 2);
                Descriptor(at, d == 0 ? Header : d == 1 ? Data : Status, d == 0 ? 16u : d == 1 ? 512u : 1u, 7, (ushort)flags);
            }

            Write(0x3000, 2, 0);
            var position = (uint)(Descriptors + (16 * first) + 14);
            _bench.Until(() => (_bench.Peek32(position - 2) >> 16 & 0x8080) == (wrap ? 0x8080u : 0), $"completion {i}");
            Assert.Equal(_disk.AsSpan(i * 512, 512).ToArray(), _bench.Ram.Span(Data, 512).ToArray());
        }
    }

    [Fact]
    public void NothingMovesWithoutBusMastering()
    {
        Start(0);
        _bench.Bus.WriteConfig(Devfn, 4, 2, 3);
        Descriptor(0, Header, 16, 1, 1);
        Descriptor(1, Status, 1, 2, 0);
        Offer(0);
        Write(0x3000, 2, 0);
        _bench.Settle();
        Assert.Equal(0, UsedIndex);
        _bench.Bus.WriteConfig(Devfn, 4, 2, 7);
        _bench.Until(() => UsedIndex == 1, "completion");
    }

    [Theory]
    [InlineData(1, 0UL)]
    [InlineData(2, VirtioFeature.RingIndirect | VirtioFeature.RingEventIndex)]
    [InlineData(3, VirtioFeature.RingPacked | VirtioFeature.RingIndirect)]
    public void NothingThrows(int seed, ulong features)
    {
        var random = new Random(seed);
        for (var round = 0; round < 300; round++)
        {
            Start(features);
            for (var i = 0; i < 100; i++)
            {
                switch (random.Next(8))
                {
                    case 0:
                        random.NextBytes(_bench.Ram.Span(Descriptors, 0x400));
                        break;
                    case 1 or 2:
                        Descriptor(random.Next(Size), (uint)random.Next(0x50000), (uint)random.Next(random.Next(2) == 0 ? 64 : 5000),
                            (ushort)random.Next(8), (ushort)random.Next(Size + 1));
                        break;
                    case 3:
                        Offer((ushort)random.Next(Size + 2));
                        break;
                    case 4:
                        _bench.Poke32(Header, (uint)random.Next(15));
                        _bench.Poke64(Header + 8, (ulong)random.Next(20000));
                        break;
                    case 5:
                        Write((uint)random.Next(0x3800), 1 << random.Next(3), (uint)random.Next(random.Next(2) == 0 ? 16 : int.MaxValue));
                        break;
                    case 6:
                        _ = _bench.IoSpace.Load((ulong)(LegacyPorts + random.Next(90)), 1 << random.Next(3));
                        _ = _bench.Memory.Load(Bar + (uint)random.Next(0x4000), 1 << random.Next(3));
                        break;
                    default:
                        Write(0x3000, 2, 0);
                        _bench.Loop.RunDue();
                        break;
                }
            }

            _availableIndex = 0;
            _bench.Settle();
            Write(20, 1, 0);
            _bench.Ram.Span(Available, 0x2000).Clear();
        }
    }
}
