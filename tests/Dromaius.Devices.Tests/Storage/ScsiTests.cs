using System.Buffers.Binary;
using Dromaius.Block;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Scsi;

namespace Dromaius.Devices.Tests.Storage;

/// <summary>The command sets of disk and CD-ROM, without an adapter.</summary>
public sealed class ScsiTests : IDisposable
{
    private const int Blocks = 4096;
    private readonly StorageBench _bench = new();
    private readonly byte[] _bytes = StorageBench.Pattern(Blocks * 512);
    private readonly ScsiBus _bus = new("scsi.0", 0, 255, 16383);
    private readonly BlockBackend _drive;
    private readonly ScsiDisk _disk;

    public ScsiTests()
    {
        _drive = _bench.Drive(_bytes);
        _disk = new ScsiDisk(_drive, DiskGeometry.ForSize(Blocks)) { Serial = "S123", Wwn = 0x5000_1234_5678_9ABC, RotationRate = 1 };
        _bus.Add(_disk, 0, -1, -1);
        _disk.Reset();
        Assert.Equal(ScsiSense.PowerOn, Run(_disk, [0, 0, 0, 0, 0, 0]).Task.Sense);
    }

    public void Dispose() => _bench.Dispose();

    private (ScsiTask Task, byte[] Data) Run(ScsiTarget unit, byte[] cdb, byte[]? output = null, int room = 65536, int lun = 0)
    {
        var task = new ScsiTask { Lun = lun };
        cdb.CopyTo(task.Cdb, 0);
        unit.Start(task);
        var data = output ?? new byte[Math.Min(room, task.Length)];
        var done = false;
        if (task.Length > 0 && data.Length > 0)
            unit.Transfer(task, [data.AsMemory(0, data.Length / 3), data.AsMemory(data.Length / 3)], t => unit.Finish(t, _ => done = true));
        else
            unit.Finish(task, _ => done = true);
        _bench.Until(() => done, "end of the command");
        return (task, data);
    }

    private static byte[] Cdb16(byte code, long lba, uint count, byte flags = 0)
    {
        var cdb = new byte[16];
        (cdb[0], cdb[1]) = (code, flags);
        BinaryPrimitives.WriteInt64BigEndian(cdb.AsSpan(2), lba);
        BinaryPrimitives.WriteUInt32BigEndian(cdb.AsSpan(10), count);
        return cdb;
    }

    [Fact]
    public void Reads()
    {
        Assert.Equal(_bytes.AsSpan(512 * 7, 1024).ToArray(), Run(_disk, [8, 0, 0, 7, 2, 0]).Data);
        Assert.Equal(_bytes.AsSpan(512 * 9, 512).ToArray(), Run(_disk, [0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0]).Data);
        Assert.Equal(_bytes.AsSpan(512 * 9, 512).ToArray(), Run(_disk, [0xA8, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0]).Data);
        Assert.Equal(_bytes.AsSpan(512 * 4000, 96 * 512).ToArray(), Run(_disk, Cdb16(0x88, 4000, 96)).Data);
        Assert.Equal(ScsiSense.OutOfRange, Run(_disk, Cdb16(0x88, 4000, 97)).Task.Sense);
        Assert.Equal(ScsiSense.OutOfRange, Run(_disk, Cdb16(0x88, -1, 2)).Task.Sense);
        Assert.Equal(ScsiSense.InvalidOperation, Run(_disk, [0xFF]).Task.Sense);
    }

    [Fact]
    public void Writes()
    {
        var data = StorageBench.Pattern(1024, 5);
        Assert.Equal(ScsiStatus.Good, Run(_disk, [0x2A, 8, 0, 0, 0, 3, 0, 0, 2, 0], data).Task.Status);
        Assert.Equal(data, _bytes.AsSpan(3 * 512, 1024).ToArray());
        Assert.Equal(ScsiStatus.Good, Run(_disk, [0x2F, 2, 0, 0, 0, 3, 0, 0, 2, 0], data).Task.Status);
        data[700]++;
        Assert.Equal(ScsiSense.Miscompare, Run(_disk, [0x2F, 2, 0, 0, 0, 3, 0, 0, 2, 0], data).Task.Sense);
        Assert.Equal(ScsiStatus.Good, Run(_disk, [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]).Task.Status);
    }

    [Fact]
    public void WriteSameAndUnmap()
    {
        var block = StorageBench.Pattern(512, 6);
        Assert.Equal(ScsiStatus.Good, Run(_disk, Cdb16(0x93, 10, 3000), block).Task.Status);
        Assert.Equal(block, _bytes.AsSpan(512 * 3009, 512).ToArray());
        Assert.NotEqual(block, _bytes.AsSpan(512 * 3010, 512).ToArray());
        Assert.Equal(ScsiStatus.Good, Run(_disk, Cdb16(0x93, 20, 5, flags: 9)).Task.Status);
        Assert.False(_bytes.AsSpan(512 * 20, 5 * 512).ContainsAnyExcept((byte)0));
        Assert.Equal(block, _bytes.AsSpan(512 * 25, 512).ToArray());
        Assert.Equal(ScsiSense.InvalidField, Run(_disk, Cdb16(0x93, 20, 0), block).Task.Sense);
        var list = new byte[24];
        (list[1], list[3], list[15], list[19]) = (22, 16, 40, 4);
        Assert.Equal(ScsiStatus.Good, Run(_disk, [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], list).Task.Status);
        list[3] = 32;
        Assert.Equal(ScsiSense.ParameterLength, Run(_disk, [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], list).Task.Sense);
        (list[3], list[9]) = (16, 1);
        Assert.Equal(ScsiSense.OutOfRange, Run(_disk, [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], list).Task.Sense);
    }

    [Fact]
    public void Information()
    {
        var inquiry = Run(_disk, [0x12, 0, 0, 0, 36, 0]).Data;
        Assert.Equal([0, 0, 5, 0x12, 31], inquiry[..5]);
        Assert.Equal("DROMAIUSDROMAIUS DISK   2.5+", System.Text.Encoding.ASCII.GetString(inquiry, 8, 28));
        Assert.Equal([0, 0, 0, 6, 0, 0x80, 0x83, 0xB0, 0xB1, 0xB2], Run(_disk, [0x12, 1, 0, 0, 255, 0]).Data);
        Assert.Equal("S123", System.Text.Encoding.ASCII.GetString(Run(_disk, [0x12, 1, 0x80, 0, 255, 0]).Data, 4, 4));
        Assert.Equal(0x50, Run(_disk, [0x12, 1, 0x83, 0, 255, 0]).Data[16]);
        Assert.Equal(1, Run(_disk, [0x12, 1, 0xB1, 0, 255, 0]).Data[5]);
        Assert.Equal([0, 0, 0x0F, 0xFF, 0, 0, 2, 0], Run(_disk, [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]).Data);
        var capacity = Run(_disk, Cdb16(0x9E, 0, 32, 0x10)).Data;
        Assert.Equal((0x0F, 0xFF, 0x80), (capacity[6], capacity[7], capacity[14]));
        Assert.Equal(ScsiSense.InvalidField, Run(_disk, [0x12, 1, 0x99, 0, 255, 0]).Task.Sense);
        Assert.Equal(0x7F, Run(_disk, [0x12, 0, 0, 0, 36, 0], lun: 5).Data[0]);
        Assert.Equal(ScsiSense.InvalidUnit, Run(_disk, [0, 0, 0, 0, 0, 0], lun: 5).Task.Sense);
    }

    [Fact]
    public void ModeSelectSwitchesTheWriteCache()
    {
        var sense = Run(_disk, [0x1A, 8, 8, 0, 255, 0]).Data;
        Assert.Equal(4, sense[6]);
        sense[0] = 0;
        sense[6] = 0;
        Assert.Equal(ScsiStatus.Good, Run(_disk, [0x15, 0x10, 0, 0, (byte)sense.Length, 0], sense).Task.Status);
        Assert.False(_drive.WriteCache);
        sense[7] = 0x55;
        Assert.Equal(ScsiSense.InvalidParameter, Run(_disk, [0x15, 0x10, 0, 0, (byte)sense.Length, 0], sense).Task.Sense);
        Assert.Equal(ScsiSense.SavingNotSupported, Run(_disk, [0x1A, 0, 0xC8, 0, 255, 0]).Task.Sense);
    }

    [Fact]
    public void UnitsComeAndGo()
    {
        var second = new ScsiDisk(_bench.Drive(new byte[65536]), DiskGeometry.ForSize(128));
        _bus.Add(second, 0, 0, 300);
        _bus.AnnouncePlugged(second);
        Assert.Equal(ScsiSense.UnitsChanged, Run(_disk, [0, 0, 0, 0, 0, 0]).Task.Sense);
        var luns = Run(_disk, [0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]).Data;
        Assert.Equal((byte)16, luns[3]);
        Assert.Equal([0x41, 0x2C], luns[16..18]);
        _ = Assert.Throws<Core.Errors.UserErrorException>(() => _bus.Add(second, 0, 0, 300));
        _bus.Remove(second);
        Assert.Same(_disk, _bus.Answering(0, 0, 300));
        Assert.Null(_bus.Answering(0, 1, 0));
    }

    [Fact]
    public void DiscReadsRawSectorsInParts()
    {
        const int Count = 700; // more than are wrapped at once
        var bytes = StorageBench.Pattern(Count * 2048, 3);
        var cd = new ScsiCdrom(_bench.Drive(bytes, readOnly: true));
        _bus.Add(cd, 0, -1, -1);
        var data = Run(cd, [0xBE, 0, 0, 0, 0, 0, 0, Count >> 8, Count & 0xFF, 0xF8, 0, 0], room: Count * 2352).Data;
        for (var i = 0; i < Count; i++)
            Assert.True(bytes.AsSpan(i * 2048, 2048).SequenceEqual(data.AsSpan((i * 2352) + 16, 2048)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        var cd = new ScsiCdrom(_bench.Drive(StorageBench.Pattern(1 << 20), readOnly: true));
        _bus.Add(cd, 0, -1, -1);
        byte[] known = [0x00, 0x03, 0x12, 0x1A, 0x15, 0x55, 0x5A, 0x25, 0x9E, 0xA0, 0x28, 0x2A, 0x42, 0x41, 0x93, 0x2F, 0x43, 0x46, 0x4A, 0xAD, 0xBE, 0x1B];
        var cdb = new byte[16];
        var output = new byte[65536];
        for (var i = 0; i < 4000; i++)
        {
            random.NextBytes(cdb);
            cdb[0] = random.Next(4) == 0 ? cdb[0] : known[random.Next(known.Length)];
            for (var j = 1; j < cdb.Length; j++)
                cdb[j] = random.Next(2) == 0 ? (byte)0 : cdb[j];
            random.NextBytes(output.AsSpan(0, 64));
            ScsiTarget unit = random.Next(2) == 0 ? _disk : cd;
            var task = new ScsiTask { Lun = random.Next(8) == 0 ? 1 : 0 };
            cdb.CopyTo(task.Cdb, 0);
            unit.Start(task);
            var done = false;
            var room = (int)Math.Min(task.Length, output.Length);
            if (room > 0)
                unit.Transfer(task, [output.AsMemory(0, room)], t => unit.Finish(t, _ => done = true));
            else
                unit.Finish(task, _ => done = true);
            _bench.Until(() => done, $"end of command {Convert.ToHexString(cdb)} (seed {seed})");
        }
    }
}
