using Dromaius.Core.Memory;
using Dromaius.Devices.Storage;

namespace Dromaius.Devices.Tests.Storage;

public sealed class CfiFlashTests : IDisposable
{
    private const ulong Base = 0xF000_0000;
    private readonly StorageBench _bench = new();
    private readonly byte[] _contents = StorageBench.Pattern(64 << 10);
    private readonly CfiFlash _flash;

    public CfiFlashTests()
    {
        _flash = new CfiFlash(_bench.Drive(_contents), "flash");
        _bench.Root.Add(Base, _flash.Region);
    }

    public void Dispose()
    {
        _flash.Dispose();
        _bench.Dispose();
    }

    private byte Read(ulong at) => (byte)_bench.Memory.Load(Base + at, 1);

    private void Write(ulong at, byte value) => _bench.Memory.Store(Base + at, 1, value);

    [Fact]
    public void FirmwareFindsFlash()
    {
        var original = Read(100);
        Assert.Equal(_contents[100], original);
        Write(100, 0x50);
        Write(100, 0x70);
        Assert.Equal(0, Read(100));
        Write(100, 0xFF);
        Assert.Equal(original, Read(100));
        Write(0, 0x98);
        Assert.Equal("QRY", $"{(char)Read(0x10)}{(char)Read(0x11)}{(char)Read(0x12)}");
        Write(0, 0x90);
        Assert.Equal(0x89, Read(0));
    }

    [Fact]
    public void ProgramsAndErasesAndKeepsIt()
    {
        Write(0x2005, 0x20);
        Write(0x2005, 0xD0);
        Assert.Equal(0x80, Read(0) & 0x80);
        Write(0x2010, 0x10);
        Write(0x2010, 0x42);
        Write(0x2010, 0xFF);
        Assert.Equal(0x42, Read(0x2010));
        Assert.Equal(0xFF, Read(0x2011));
        Write(0x3000, 0xE8);
        Write(0x3000, 3);
        for (var i = 0u; i < 4; i++)
            Write(0x3000 + i, (byte)i);
        Write(0x3000, 0xD0);
        Write(0x3000, 0xFF);
        _bench.Settle();
        Assert.Equal(0x42, _contents[0x2010]);
        Assert.Equal(new byte[] { 0, 1, 2, 3 }, _contents.AsSpan(0x3000, 4).ToArray());
    }

    [Theory]
    [InlineData(1)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        byte[] commands = [0x10, 0x20, 0xD0, 0xE8, 0x70, 0x90, 0x98, 0xFF, 0x50, 0x60];
        for (var i = 0; i < 20_000; i++)
        {
            var at = Base + (ulong)random.Next(_contents.Length - 8);
            if (random.Next(3) == 0)
                _ = _bench.Memory.Load(at, 1 << random.Next(4));
            else
                _bench.Memory.Store(at, 1 << random.Next(4), random.Next(2) == 0 ? commands[random.Next(commands.Length)] : (ulong)random.NextInt64());
            if (i % 1000 == 0)
                _bench.Loop.RunDue();
        }

        _bench.Settle();
    }
}
