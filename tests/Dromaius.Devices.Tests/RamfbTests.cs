using System.Buffers.Binary;
using Dromaius.Consoles;
using Dromaius.Core.Memory;
using Dromaius.Devices.Display;

namespace Dromaius.Devices.Tests;

public sealed class RamfbTests : IDisposable
{
    private readonly RamBlock _ram = new("ram", 1 << 20);
    private readonly AddressSpace _memory;
    private readonly Ramfb _ramfb;

    public RamfbTests()
    {
        var root = MemoryRegion.Container("system", 0);
        root.Add(0, MemoryRegion.RamRegion("ram", _ram));
        _memory = new AddressSpace("memory", root, new Lock());
        _ramfb = new Ramfb(_memory);
    }

    public void Dispose() => _ram.Dispose();

    private void Configure(ulong address, uint fourcc, uint width, uint height, uint stride)
    {
        BinaryPrimitives.WriteUInt64BigEndian(_ramfb.Config, address);
        BinaryPrimitives.WriteUInt32BigEndian(_ramfb.Config.AsSpan(8), fourcc);
        BinaryPrimitives.WriteUInt32BigEndian(_ramfb.Config.AsSpan(16), width);
        BinaryPrimitives.WriteUInt32BigEndian(_ramfb.Config.AsSpan(20), height);
        BinaryPrimitives.WriteUInt32BigEndian(_ramfb.Config.AsSpan(24), stride);
    }

    [Fact]
    public void ShowsWhatChanged()
    {
        Configure(0x1000, 0x34325258, 8, 4, 64);
        _memory.StoreU32(0x1000 + 64 + 8, 0x00112233);
        var console = new DisplayConsole(_ramfb, "ramfb", null);
        console.Refresh();
        Assert.Equal(0x112233u, console.Surface[2, 1]);
        var areas = new List<ScreenArea>();
        console.Updated += areas.Add;
        console.Refresh();
        Assert.Empty(areas);
        _memory.StoreU32(0x1000 + 128, 0xFFFFFF);
        console.Refresh();
        Assert.Equal([new ScreenArea(0, 2, 8, 1)], areas);
    }

    [Fact]
    public void AnyConfigurationIsHarmless()
    {
        const int Seed = 3;
        var random = new Random(Seed);
        var console = new DisplayConsole(_ramfb, "ramfb", null);
        uint[] formats = [0x34325258, 0x34324752, 0x36314752, 0];
        for (var i = 0; i < 300; i++)
        {
            Configure((ulong)random.NextInt64() >> random.Next(64), formats[random.Next(4)], (uint)random.Next(600), (uint)random.Next(200),
                random.Next(3) == 0 ? (uint)random.NextInt64() : (uint)random.Next(4096));
            console.Refresh();
        }
    }
}
