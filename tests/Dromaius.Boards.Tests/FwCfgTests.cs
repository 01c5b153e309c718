using System.Buffers.Binary;
using Dromaius.Core.Memory;
using Dromaius.Devices.Firmware;

namespace Dromaius.Boards.Tests;

public class FwCfgTests
{
    private readonly AddressSpace _memory;
    private readonly AddressSpace _io;
    private readonly FwCfg _config;

    public FwCfgTests()
    {
        var machineLock = new Lock();
        var memory = MemoryRegion.Container("memory", 0);
        var io = MemoryRegion.Container("io", 0x10000);
        memory.Add(0, MemoryRegion.RamRegion("ram", new RamBlock("ram", 0x10000)));
        _memory = new AddressSpace("memory", memory, machineLock);
        _io = new AddressSpace("io", io, machineLock);
        _config = new FwCfg(_memory);
        io.Add(0x510, _config.Ports);
        io.Add(0x514, _config.DmaPorts);
    }

    [Fact]
    public void SignatureReadsByteByByte()
    {
        _io.Store(0x510, 2, FwCfgKey.Signature);
        Assert.Equal("QEMU"u8.ToArray(), Bytes(4));
        Assert.Equal(0, Bytes(1)[0]);
    }

    [Fact]
    public void IdOffersDma()
    {
        _io.Store(0x510, 2, FwCfgKey.Id);
        Assert.Equal([3, 0, 0, 0], Bytes(4));
        Assert.Equal(0x554D4551u, _io.LoadU32(0x514));
        Assert.Equal(0x47464320u, _io.LoadU32(0x518));
    }

    [Fact]
    public void FilesAreListed()
    {
        _config.AddFile("opt/b", [1, 2, 3]);
        _config.AddFile("opt/a", [4]);
        _io.Store(0x510, 2, FwCfgKey.FileDirectory);
        Assert.Equal(2u, BinaryPrimitives.ReadUInt32BigEndian(Bytes(4)));
        var first = Bytes(64);
        Assert.Equal(1u, BinaryPrimitives.ReadUInt32BigEndian(first));
        Assert.Equal("opt/a", System.Text.Encoding.ASCII.GetString(first, 8, 56).TrimEnd('\0'));
        var second = Bytes(64);
        _io.Store(0x510, 2, BinaryPrimitives.ReadUInt16BigEndian(second.AsSpan(4)));
        Assert.Equal([1, 2, 3, 0], Bytes(4));
    }

    [Fact]
    public void DmaSelectsReadsSkipsAndFillsWithZeros()
    {
        _config.AddFile("opt/a", [1, 2, 3, 4, 5]);
        _memory.Write(0x200, [9, 9, 9, 9, 9, 9, 9, 9]);
        Dma((0x20u << 16) | 8 | 4, 2, 0);
        Assert.Equal(0u, Dma(2, 5, 0x200));
        Span<byte> data = stackalloc byte[8];
        _memory.Read(0x200, data);
        Assert.Equal([3, 4, 5, 0, 0, 9, 9, 9], data.ToArray());
    }

    [Fact]
    public void DmaWritesOnlyToWritableFiles()
    {
        var writable = new byte[4];
        _config.AddFile("opt/w", writable, writable: true);
        _config.AddFile("opt/r", [1, 2]);
        _memory.Write(0x200, [7, 8]);
        Assert.Equal(0u, Dma((0x20u << 16) | 8 | 16, 2, 0x200));
        Assert.Equal([7, 8, 0, 0], writable);
        Assert.Equal(1u, Dma((0x21u << 16) | 8 | 16, 2, 0x200));
        Assert.Equal(1u, Dma((0x20u << 16) | 8 | 16, 5, 0x200));
        _config.Reset();
        Assert.Equal([0, 0, 0, 0], writable);
    }

    [Fact]
    public void DmaToNowhereFails() => Assert.Equal(1u, Dma(((uint)FwCfgKey.Signature << 16) | 8 | 2, 4, 0x5000_0000));

    [Fact]
    public void SelectionRefreshes()
    {
        var data = new byte[1];
        _config.AddFile("opt/a", data, selected: () => data[0]++);
        _io.Store(0x510, 2, FwCfgKey.FileFirst);
        Assert.Equal([1], Bytes(1));
        Dma((0x20u << 16) | 8 | 2, 1, 0x200);
        Assert.Equal(2UL, _memory.Load(0x200, 1));
    }

    [Fact]
    public void RandomAccessesDoNoHarm()
    {
        var random = new Random(99);
        _config.AddFile("opt/a", new byte[100], writable: true);
        Span<byte> request = stackalloc byte[16];
        for (var i = 0; i < 20_000; i++)
        {
            var port = (ulong)(0x510 + random.Next(12));
            var size = 1 << random.Next(3);
            switch (random.Next(4))
            {
                case 0:
                    _ = _io.Load(port, size);
                    break;
                case 1:
                    _io.Store(port, size, (ulong)random.NextInt64());
                    break;
                default:
                    random.NextBytes(request);
                    request[4] = 0;
                    request[8..14].Clear();
                    _memory.Write(0x100, request);
                    _io.Store(0x518, 4, BinaryPrimitives.ReverseEndianness(0x100u));
                    break;
            }
        }
    }

    private byte[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(_ => (byte)_io.Load(0x511, 1))];

    private uint Dma(uint control, uint length, ulong address)
    {
        var request = new byte[16];
        BinaryPrimitives.WriteUInt32BigEndian(request, control);
        BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(4), length);
        BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(8), address);
        _memory.Write(0x100, request);
        _io.Store(0x514, 4, 0);
        _io.Store(0x518, 4, BinaryPrimitives.ReverseEndianness(0x100u));
        return BinaryPrimitives.ReverseEndianness(_memory.LoadU32(0x100));
    }
}
