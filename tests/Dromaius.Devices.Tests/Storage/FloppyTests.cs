using Dromaius.Block;
using Dromaius.Core.Time;
using Dromaius.Devices.Isa;
using Dromaius.Devices.Storage;

namespace Dromaius.Devices.Tests.Storage;

public sealed class FloppyTests : IDisposable
{
    private const int Base = 0x3F0, Fifo = 0x3F5;
    private readonly StorageBench _bench = new();
    private readonly ManualClock _clock = new();
    private readonly byte[] _disk = StorageBench.Pattern(1440 * 1024);
    private readonly Fdc82078 _fdc;
    private readonly BlockBackend _drive;
    private int _interrupts;

    public FloppyTests()
    {
        var dma = new I8237(_bench.Memory);
        _bench.Io.Add(0, dma.BytePorts);
        _bench.Io.Add(0x80, dma.PagePorts);
        _fdc = new Fdc82078(dma, _clock);
        _bench.Io.Add(Base, _fdc.Ports);
        _bench.Io.Add(0x3F7, _fdc.InputPort);
        _fdc.Irq.Connect(level => _interrupts += level ? 1 : 0);
        _drive = _bench.Drive(_disk);
        _fdc.Attach(0, new FloppyDrive(_drive));
        _fdc.Reset();
        Enable();
    }

    public void Dispose() => _bench.Dispose();

    private void Enable()
    {
        _bench.Out8(Base + 2, 0x18);
        _bench.Out8(Base + 2, 0x1C);
        for (var i = 0; i < 4; i++)
            Assert.Equal(0xC0 | i, Command(2, 0x08)[0]);
        _bench.Out8(0x3F7, 0);
        _interrupts = 0;
    }

    private byte[] Command(int results, params byte[] bytes)
    {
        foreach (var b in bytes)
        {
            Assert.Equal(0x80, _bench.In8(Base + 4) & 0xC0);
            _bench.Out8(Fifo, b);
        }

        return Results(results);
    }

    private byte[] Results(int count)
    {
        var results = new byte[count];
        for (var i = 0; i < count; i++)
        {
            _bench.Until(() => (_bench.In8(Base + 4) & 0xC0) == 0xC0, "result");
            results[i] = _bench.In8(Fifo);
        }

        Assert.Equal(0x80, _bench.In8(Base + 4));
        return results;
    }

    private void Dma(uint address, int length, int mode)
    {
        _bench.Out8(0x0A, 6);
        _bench.Out8(0x0C, 0);
        _bench.Out8(0x04, (int)address);
        _bench.Out8(0x04, (int)(address >> 8));
        _bench.Out8(0x05, length - 1);
        _bench.Out8(0x05, (length - 1) >> 8);
        _bench.Out8(0x81, (int)(address >> 16));
        _bench.Out8(0x0B, mode | 2);
        _bench.Out8(0x0A, 2);
    }

    private void Seek(byte cylinder)
    {
        _ = Command(0, 0x0F, 0, cylinder);
        Assert.Equal([0x20, cylinder], Command(2, 0x08));
    }

    [Fact]
    public void ReadsByDmaAcrossBothSides()
    {
        Seek(3);
        Dma(0x20000, 36 * 512, 0x44);
        var result = Command(7, 0xE6, 0, 3, 0, 1, 2, 18, 0x1B, 0xFF);
        Assert.Equal([0, 0, 0, 4, 0, 1, 2], result);
        Assert.Equal(_disk.AsSpan(3 * 36 * 512, 36 * 512).ToArray(), _bench.Ram.Span(0x20000, 36 * 512).ToArray());
    }

    [Fact]
    public void WritesByDma()
    {
        var data = StorageBench.Pattern(1024, 7);
        data.CopyTo(_bench.Ram.Span(0x20000, 1024));
        Seek(1);
        Dma(0x20000, 1024, 0x48);
        Assert.Equal([4, 0, 0, 1, 1, 7, 2], Command(7, 0xC5, 4, 1, 1, 5, 2, 18, 0x1B, 0xFF));
        Assert.Equal(data, _disk.AsSpan(((1 * 36) + 18 + 4) * 512, 1024).ToArray());
    }

    [Fact]
    public void TransfersWithoutDma()
    {
        _ = Command(0, 0x03, 0xDF, 0x03);
        foreach (var b in (byte[])[0x46, 0, 0, 0, 2, 2, 2, 0x1B, 0xFF])
            _bench.Out8(Fifo, b);
        for (var i = 0; i < 512; i++)
        {
            _bench.Until(() => (_bench.In8(Base + 4) & 0xE0) == 0xE0, "data");
            Assert.Equal(_disk[512 + i], _bench.In8(Fifo));
        }

        Assert.Equal(0, Results(7)[0]);
        Assert.True(_interrupts > 1);
    }

    [Fact]
    public void FormatsATrack()
    {
        Seek(2);
        Dma(0x20000, 18 * 4, 0x48);
        Assert.Equal(4, Command(7, 0x4D, 4, 2, 18, 0x54, 0xF6)[0]);
        Assert.All(_disk.AsSpan(((2 * 36) + 18) * 512, 18 * 512).ToArray(), static b => Assert.Equal(0xF6, b));
    }

    /// <summary>On a diskette of 40 tracks in a drive of 80, drivers step twice a track and firmware once: the command names the track.</summary>
    [Fact]
    public void FortyTracksInADriveOfEighty()
    {
        const int TrackSize = 2 * 9 * 512;
        var disk = StorageBench.Pattern(360 * 1024, 5);
        _fdc.Attach(1, new FloppyDrive(_bench.Drive(disk), FloppyDriveType.Mib12));
        _bench.Out8(Base + 2, 0x2D);
        _bench.Out8(0x3F7, (byte)FloppyRate.Kbps300);
        foreach (var step in (ReadOnlySpan<byte>)[3, 6])
        {
            SeekSecond(step);
            Dma(0x20000, TrackSize, 0x44);
            Assert.Equal([1, 0, 0, 4, 0, 1, 2], Command(7, 0xE6, 1, 3, 0, 1, 2, 9, 0x2A, 0xFF));
            Assert.Equal(disk.AsSpan(3 * TrackSize, TrackSize).ToArray(), _bench.Ram.Span(0x20000, TrackSize).ToArray());
        }

        // Track 6 is under the heads too; to track 5 they move.
        foreach (var track in (ReadOnlySpan<byte>)[6, 5])
        {
            Dma(0x20000, TrackSize, 0x44);
            Assert.Equal([1, 0, 0, (byte)(track + 1), 0, 1, 2], Command(7, 0xE6, 1, track, 0, 1, 2, 9, 0x2A, 0xFF));
            Assert.Equal(disk.AsSpan(track * TrackSize, TrackSize).ToArray(), _bench.Ram.Span(0x20000, TrackSize).ToArray());
        }

        Assert.Equal(0x41, Command(7, 0xE6, 1, 40, 0, 1, 2, 9, 0x2A, 0xFF)[0]);
        foreach (var (step, track) in (ReadOnlySpan<(byte, byte)>)[(78, 39), (20, 10), (12, 12)])
        {
            SeekSecond(step);
            for (byte i = 0; i < 9; i++)
                new byte[] { track, 1, (byte)(i + 1), 2 }.CopyTo(_bench.Ram.Span(0x20000 + (4u * i), 4));
            Dma(0x20000, 36, 0x48);
            _ = Command(7, 0x4D, 5, 2, 9, 0x54, (byte)(0xA0 + track));
            Assert.Equal(Enumerable.Repeat((byte)(0xA0 + track), TrackSize / 2), disk.AsSpan((track * TrackSize) + (TrackSize / 2), TrackSize / 2).ToArray());
        }

        void SeekSecond(byte cylinder)
        {
            _ = Command(0, 0x0F, 1, cylinder);
            Assert.Equal([0x21, cylinder], Command(2, 0x08));
        }
    }

    [Fact]
    public void DriveSpecificationEndsWhereItsLastParameterSays()
    {
        Assert.Empty(Command(0, 0x8E, 0x21, 0xC0));
        Assert.Equal([0x00, 0x01, 0x1A, 0x00], Command(4, 0x8E, 0x5A, 0x80));
        Assert.Empty(Command(0, 0x8E, 0xC0));
        Assert.Empty(Command(0, 0x8E, 0, 0x20, 0x40, 0x60, 0xC0));
        Assert.Equal([0x90], Command(1, 0x10));
    }

    [Fact]
    public void SmallCommands()
    {
        Assert.Equal([0x90], Command(1, 0x10));
        Assert.Equal([0x80], Command(1, 0x08));
        Assert.Equal([0x80], Command(1, 0x1F));
        Assert.Equal([0x10], Command(1, 0x94));
        _ = Command(0, 0x13, 0, 0x57, 0x10);
        Assert.Equal(0x57, Command(10, 0x0E)[8]);
        Assert.Equal(0x38, Command(1, 0x04, 0)[0]);
        Assert.Equal([0, 0, 0, 0, 0, 1, 2], Command(7, 0x4A, 0));
        _bench.Out8(0x3F7, 2);
        Assert.Equal(0x40, Command(7, 0x4A, 0)[0] & 0xC0);
    }

    /// <summary>Drivers of the 1990s look for drives after a reset without asking what each drive reports of it.</summary>
    [Fact]
    public void RecalibrationAfterAResetReportsItsOwnEnd()
    {
        _bench.Out8(Base + 2, 0);
        _bench.Out8(Base + 2, 0x14);
        _ = Command(0, 0x07, 0);
        Assert.Equal([0x20, 0], Command(2, 0x08));
        Assert.Equal([0x80], Command(1, 0x08));
        _ = Command(0, 0x07, 1);
        Assert.Equal([0x71, 0], Command(2, 0x08)); // no drive, so no track 0
    }

    [Fact]
    public void ChangeLineFollowsTheDiskette()
    {
        Assert.Equal(0x80, _bench.In8(0x3F7) & 0x80);
        Seek(1);
        Assert.Equal(0, _bench.In8(0x3F7) & 0x80);
        _drive.SetMedium(null);
        Assert.Equal(0x80, _bench.In8(0x3F7) & 0x80);
        Seek(2);
        Assert.Equal(0x80, _bench.In8(0x3F7) & 0x80);
        Assert.Equal(0x40, Command(7, 0xE6, 0, 2, 0, 1, 2, 18, 0x1B, 0xFF)[0] & 0xC0);
        _drive.SetMedium(new MemoryNode(720 * 1024));
        Seek(0);
        Assert.Equal(0, _bench.In8(0x3F7) & 0x80);
        Assert.Equal(9, _fdc[0]!.Format.Sectors);
    }

    [Theory]
    [InlineData(160, 8, 40, 1)]
    [InlineData(180, 9, 40, 1)]
    [InlineData(320, 8, 40, 2)]
    [InlineData(360, 9, 40, 2)]
    [InlineData(720, 9, 80, 2)]
    [InlineData(1200, 15, 80, 2)]
    [InlineData(1440, 18, 80, 2)]
    [InlineData(2880, 36, 80, 2)]
    public void FormatsAreGuessedFromTheSize(int kib, int sectors, int tracks, int heads)
    {
        var format = FloppyFormat.Guess(kib * 1024L);
        Assert.Equal((sectors, tracks, heads), (format.Sectors, format.Tracks, format.Heads));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        byte[] commands = [0xE6, 0xC5, 0x4D, 0x4A, 0x0F, 0x07, 0x08, 0x03, 0x04, 0x0E, 0x10, 0x12, 0x13, 0x14, 0x16, 0x11, 0x2E, 0x4E, 0x8E, 0x33];
        for (var i = 0; i < 200_000; i++)
        {
            switch (random.Next(10))
            {
                case 0:
                    _bench.Loop.RunDue();
                    _clock.Advance(random.Next(2_000_000));
                    break;
                case 1:
                    _bench.Out8(Fifo, commands[random.Next(commands.Length)]);
                    break;
                case 2 when random.Next(30) == 0:
                    _bench.Out8(Base + random.Next(5), random.Next(256));
                    break;
                case 3 when random.Next(40) == 0:
                    Dma((uint)random.Next(0x100000), random.Next(1, 0x8000), 0x40 | (random.Next(4) << 2));
                    break;
                case 4 when random.Next(100) == 0:
                    _bench.Out8(Base + 2, 0x1C);
                    break;
                case 5 when random.Next(300) == 0:
                    _drive.SetMedium(random.Next(2) == 0 ? null : new MemoryNode(_disk));
                    break;
                case < 7:
                    _bench.Out8(Fifo, random.Next(random.Next(2) == 0 ? 256 : 20));
                    break;
                default:
                    _ = _bench.In8(Base + random.Next(6));
                    break;
            }
        }

        _bench.Settle();
    }
}
