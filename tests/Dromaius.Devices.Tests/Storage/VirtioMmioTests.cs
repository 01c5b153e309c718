using Dromaius.Devices.Storage;
using Dromaius.Devices.Virtio;

namespace Dromaius.Devices.Tests.Storage;

/// <summary>The memory-mapped transport in both layouts, driven as a driver would.</summary>
public sealed class VirtioMmioTests : IDisposable
{
    private const uint Base = 0xFEB0_0000;
    private const uint Descriptors = 0x10000, Available = 0x11000, Used = 0x12000, Header = 0x20000, Status = 0x20800, Data = 0x30000;
    private const int Size = 16;

    private readonly StorageBench _bench = new();
    private readonly byte[] _disk = StorageBench.Pattern(1 << 20);

    public void Dispose() => _bench.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ReadsASector(bool legacy)
    {
        var transport = Make(legacy);
        Assert.Equal(0x7472_6976u, Read(0));
        Assert.Equal(legacy ? 1u : 2u, Read(4));
        Assert.Equal(2u, Read(8));
        Assert.Equal(2048u, Read(0x100));
        var (available, used) = legacy ? (Descriptors + (16 * Size), Descriptors + 0x1000) : (Available, Used);
        if (legacy)
            Write(0x28, 4096);
        Write(0x70, 0);
        Write(0x70, 1);
        Write(0x70, 3);
        if (!legacy)
        {
            Write(0x14, 1);
            Assert.Equal(1u, Read(0x10) & 1);
            Write(0x24, 1);
            Write(0x20, 1);
            Write(0x70, 11);
            Assert.Equal(11u, Read(0x70));
        }

        Write(0x30, 0);
        Assert.Equal(128u, Read(0x34));
        Write(0x38, Size);
        if (legacy)
        {
            Write(0x3C, 4096);
            Write(0x40, Descriptors >> 12);
            Assert.Equal(Descriptors >> 12, Read(0x40));
        }
        else
        {
            Write(0x80, Descriptors);
            Write(0x90, Available);
            Write(0xA0, Used);
            Write(0x44, 1);
            Assert.Equal(1u, Read(0x44));
        }

        Write(0x70, legacy ? 7u : 15u);
        Descriptor(0, Header, 16, 1, 1);
        Descriptor(1, Data, 512, 3, 2);
        Descriptor(2, Status, 1, 2, 0);
        _bench.Memory.Store(Header + 8, 8, 3);
        _bench.Memory.Store(Status, 1, 0xFF);
        _bench.Memory.Store(available + 4, 2, 0);
        _bench.Memory.Store(available + 2, 2, 1);
        Write(0x50, 0);
        _bench.Until(() => transport.Irq.Level);
        Assert.Equal(1UL, _bench.Memory.Load(used + 2, 2));
        Assert.Equal(0UL, _bench.Memory.Load(Status, 1));
        var read = new byte[512];
        Assert.True(_bench.Memory.Read(Data, read));
        Assert.Equal(_disk[1536..2048], read);
        Assert.Equal(1u, Read(0x60));
        Write(0x64, 1);
        Assert.False(transport.Irq.Level);
        Write(0x70, 0);
        Assert.Equal(0u, Read(legacy ? 0x40u : 0x44u));
    }

    [Fact]
    public void AnEmptyTransportHasNoDevice()
    {
        _bench.Root.Add(Base, new VirtioMmio(legacy: true).Registers);
        Assert.Equal(0x7472_6976u, Read(0));
        Assert.Equal(0u, Read(8));
        Write(0x70, 0xFF);
        Assert.Equal(0u, Read(0x70));
        Assert.Equal(0u, Read(0x100));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void RegistersWithstandAnything(bool legacy)
    {
        var seed = Environment.TickCount;
        var random = new Random(seed);
        _ = Make(legacy);
        try
        {
            for (var i = 0; i < 20_000; i++)
            {
                var at = random.Next(3) == 0 ? random.Next(0x200) : random.Next(0x100) & ~3;
                var size = random.Next(4) == 0 ? 1 << random.Next(3) : 4;
                if (random.Next(2) == 0)
                    _ = _bench.Memory.Load(Base + (ulong)at, size);
                else
                    _bench.Memory.Store(Base + (ulong)at, size, random.Next(2) == 0 ? (ulong)random.Next(16) : (ulong)random.NextInt64());
            }
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"seed {seed}", e);
        }
    }

    private VirtioMmio Make(bool legacy)
    {
        var transport = new VirtioMmio(legacy);
        transport.Attach(new VirtioBlock(_bench.Memory, _bench.Drive(_disk), 1, 128, DiskGeometry.ForSize(2048)));
        _bench.Root.Add(Base, transport.Registers);
        transport.Reset();
        return transport;
    }

    private void Descriptor(int index, uint address, uint length, ushort flags, ushort next)
    {
        var at = Descriptors + (16UL * (ulong)index);
        _bench.Memory.Store(at, 8, address);
        _bench.Memory.Store(at + 8, 4, length);
        _bench.Memory.Store(at + 12, 2, flags);
        _bench.Memory.Store(at + 14, 2, next);
    }

    private uint Read(uint offset) => _bench.Memory.LoadU32(Base + offset);

    private void Write(uint offset, uint value) => _bench.Memory.StoreU32(Base + offset, value);
}
