using System.Buffers.Binary;
using System.Text;
using Dromaius.Block;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Ata;
using Dromaius.Devices.Storage.Scsi;

namespace Dromaius.Devices.Tests.Storage;

public sealed class IdeTests : IDisposable
{
    private const int Command = 0x1F0, Control = 0x3F6, Second = 0x170;
    private const int BusMaster = 0xC000;
    private const int DiskSectors = 40960;
    private const byte Drq = 8, Bsy = 0x80, Err = 1;

    private readonly StorageBench _bench = new();
    private readonly byte[] _disk = StorageBench.Pattern(DiskSectors * 512);
    private readonly byte[] _cd = StorageBench.Pattern(1000 * 2048, 2);
    private readonly PiixIde _ide = new();
    private readonly BlockBackend _cdDrive;
    private int _interrupts;

    public IdeTests()
    {
        _ide.Channels[0].Irq.Connect(level => _interrupts += level ? 1 : 0);
        _ide.Channels[0].Attach(0, new AtaDisk(_bench.Drive(_disk), DiskGeometry.ForSize(DiskSectors)));
        _cdDrive = _bench.Drive(_cd, readOnly: true, id: "cd");
        _ide.Channels[1].Attach(0, new AtapiDrive(new ScsiCdrom(_cdDrive) { IsPacket = true }));
        _bench.Bus.Plug(_ide, 9);
        _ide.MapLegacy(_bench.Io);
        _ide.Reset();
        _bench.Bus.WriteConfig(9, 0x20, 4, BusMaster | 1);
        _bench.Bus.WriteConfig(9, 4, 2, 5);
    }

    public void Dispose() => _bench.Dispose();

    private byte Status(int channel = Command) => _bench.In8(channel + 7);

    private void WaitReady(int channel = Command) => _bench.Until(() => (_bench.In8(channel + 7) & Bsy) == 0, "ready");

    private void Address28(long lba, int count)
    {
        _bench.Out8(Command + 2, count);
        _bench.Out8(Command + 3, (int)lba);
        _bench.Out8(Command + 4, (int)(lba >> 8));
        _bench.Out8(Command + 5, (int)(lba >> 16));
        _bench.Out8(Command + 6, 0xE0 | (int)(lba >> 24));
    }

    private void Address48(long lba, int count)
    {
        _bench.Out8(Command + 2, count >> 8);
        _bench.Out8(Command + 3, (int)(lba >> 24));
        _bench.Out8(Command + 4, (int)(lba >> 32));
        _bench.Out8(Command + 5, (int)(lba >> 40));
        Address28(lba & 0xFF_FFFF, count);
        _bench.Out8(Command + 6, 0xE0);
    }

    private byte[] ReadData(int bytes, int block, int channel = Command)
    {
        var data = new byte[bytes];
        for (var at = 0; at < bytes; at += 2)
        {
            if (at % block == 0)
            {
                WaitReady(channel);
                Assert.Equal(Drq, Status(channel) & (Drq | Err));
            }

            BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(at), _bench.In16(channel));
        }

        WaitReady(channel);
        return data;
    }

    [Fact]
    public void IdentifySaysWhatTheDiskIs()
    {
        _bench.Out8(Command + 6, 0xA0);
        _bench.Out8(Command + 7, 0xEC);
        var words = ReadData(512, 512);
        var model = new byte[40];
        for (var i = 0; i < 40; i++)
            model[i] = words[54 + (i ^ 1)];
        Assert.Equal("DROMAIUS HARDDISK", Encoding.ASCII.GetString(model).Trim());
        Assert.Equal(DiskSectors, BinaryPrimitives.ReadInt32LittleEndian(words.AsSpan(120)));
        Assert.Equal(DiskSectors, BinaryPrimitives.ReadInt64LittleEndian(words.AsSpan(200)));
        byte sum = 0;
        foreach (var b in words)
            sum += b;
        Assert.Equal(0, sum);
        Assert.Equal(0, Status() & Drq);
        Assert.Equal(1, _interrupts);
    }

    [Theory]
    [InlineData(0x20, 1, false)]
    [InlineData(0xC4, 16, false)]
    [InlineData(0x24, 1, true)]
    [InlineData(0x29, 16, true)]
    public void ReadsByProgrammedIo(int command, int block, bool wide)
    {
        const int Sectors = 300;
        const long Lba = 1234;
        var count = wide ? Sectors : 250;
        if (wide)
            Address48(Lba, count);
        else
            Address28(Lba, count);
        _bench.Out8(Command + 7, command);
        Assert.Equal(_disk.AsSpan((int)Lba * 512, count * 512).ToArray(), ReadData(count * 512, block * 512));
        Assert.Equal(0x50, Status());
        Assert.Equal((count + block - 1) / block, _interrupts);
    }

    [Theory]
    [InlineData(0x30, 1, false)]
    [InlineData(0xC5, 16, false)]
    [InlineData(0x34, 1, true)]
    [InlineData(0x39, 16, true)]
    public void WritesByProgrammedIo(int command, int block, bool wide)
    {
        const long Lba = 500;
        var count = wide ? 300 : 256;
        var data = StorageBench.Pattern(count * 512, 3);
        if (wide)
            Address48(Lba, count);
        else
            Address28(Lba, count & 0xFF);
        _bench.Out8(Command + 7, command);
        Assert.Equal(0, _interrupts);
        for (var at = 0; at < data.Length; at += 4)
        {
            if (at % (block * 512) == 0)
            {
                WaitReady();
                Assert.Equal(Drq, Status() & Drq);
            }

            _bench.Out32(Command, BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan(at)));
        }

        WaitReady();
        Assert.Equal(0x50, Status());
        Assert.Equal(data, _disk.AsSpan((int)Lba * 512, data.Length).ToArray());
        Assert.Equal((count + block - 1) / block, _interrupts);
    }

    [Fact]
    public void CylinderHeadSectorAddresses()
    {
        // Cylinder 3, head 5, sector 7 of 16 heads and 63 sectors.
        _bench.Out8(Command + 2, 1);
        _bench.Out8(Command + 3, 7);
        _bench.Out8(Command + 4, 3);
        _bench.Out8(Command + 5, 0);
        _bench.Out8(Command + 6, 0xA5);
        _bench.Out8(Command + 7, 0x20);
        var lba = (((3 * 16) + 5) * 63) + 6;
        Assert.Equal(_disk.AsSpan(lba * 512, 512).ToArray(), ReadData(512, 512));
        _bench.Out8(Command + 3, 0);
        _bench.Out8(Command + 7, 0x20);
        Assert.Equal(0x51, Status());
        Assert.NotEqual(0, _bench.In8(Command + 1) & 0x10);
    }

    private void Table(params (uint Address, int Length)[] parts)
    {
        for (var i = 0; i < parts.Length; i++)
        {
            _bench.Poke32(0x1000 + (8 * (uint)i), parts[i].Address);
            _bench.Poke32(0x1004 + (8 * (uint)i), (uint)(parts[i].Length & 0xFFFF) | (i == parts.Length - 1 ? 0x8000_0000 : 0));
        }

        _bench.Out32(BusMaster + 4, 0x1000);
    }

    [Fact]
    public void ReadsByDma()
    {
        Table((0x10000, 0x10000), (0x30002, 0x8000), (0x50000, 0x8000));
        _bench.Out8(BusMaster + 2, 6);
        _bench.Out8(BusMaster, 8);
        Address48(100, 256);
        _bench.Out8(Command + 7, 0x25);
        Assert.Equal(Drq, _bench.In8(Control) & Drq);
        _bench.Out8(BusMaster, 9);
        _bench.Until(() => _interrupts > 0, "interrupt");
        Assert.Equal(4, _bench.In8(BusMaster + 2) & 7);
        _bench.Out8(BusMaster, 8);
        Assert.Equal(0x50, Status());
        Assert.Equal(_disk.AsSpan(51200, 0x10000).ToArray(), _bench.Ram.Span(0x10000, 0x10000).ToArray());
        Assert.Equal(_disk.AsSpan(51200 + 0x10000, 0x8000).ToArray(), _bench.Ram.Span(0x30002, 0x8000).ToArray());
        Assert.Equal(_disk.AsSpan(51200 + 0x18000, 0x8000).ToArray(), _bench.Ram.Span(0x50000, 0x8000).ToArray());
    }

    [Fact]
    public void WritesByDmaStartedFirst()
    {
        var data = StorageBench.Pattern(0x2000, 4);
        data.CopyTo(_bench.Ram.Span(0x20000, data.Length));
        Table((0x20000, 0x4000));
        _bench.Out8(BusMaster, 1);
        Address28(64, 16);
        _bench.Out8(Command + 7, 0xCA);
        _bench.Until(() => _interrupts > 0, "interrupt");
        // More table than transfer: still active.
        Assert.Equal(5, _bench.In8(BusMaster + 2) & 7);
        _bench.Out8(BusMaster, 0);
        Assert.Equal(4, _bench.In8(BusMaster + 2) & 7);
        Assert.Equal(data, _disk.AsSpan(64 * 512, data.Length).ToArray());
    }

    [Fact]
    public void NothingMovesWithoutBusMastering()
    {
        _bench.Bus.WriteConfig(9, 4, 2, 1);
        Table((0x10000, 512));
        Address28(0, 1);
        _bench.Out8(Command + 7, 0xC8);
        _bench.Out8(BusMaster, 9);
        _bench.Settle();
        Assert.Equal(0, _interrupts);
        Assert.Equal(0u, _bench.Peek32(0x10000));
    }

    [Fact]
    public void ShortTableStopsWithoutInterrupt()
    {
        Table((0x10000, 1024));
        Address28(0, 4);
        _bench.Out8(Command + 7, 0xC8);
        _bench.Out8(BusMaster, 9);
        _bench.Settle();
        Assert.Equal(0, _interrupts);
        Assert.Equal(0, _bench.In8(BusMaster + 2) & 7);
        _bench.Out8(Control, 4);
        Assert.Equal(Bsy, _bench.In8(Control));
        _bench.Out8(Control, 0);
        Assert.Equal(0x50, Status());
        Assert.Equal(1, _bench.In8(Command + 1));
    }

    [Fact]
    public void BeyondTheEndIsAnError()
    {
        Address28(DiskSectors - 1, 2);
        _bench.Out8(Command + 7, 0x20);
        Assert.Equal(0x51, Status());
        Address28(0, 1);
        _bench.Out8(Command + 7, 0x00);
        Assert.Equal(0x51, Status());
        Assert.Equal(4, _bench.In8(Command + 1));
    }

    [Fact]
    public void SmallCommands()
    {
        Address28(0, 0);
        _bench.Out8(Command + 7, 0xF8);
        WaitReady();
        Assert.Equal((DiskSectors - 1) & 0xFF, _bench.In8(Command + 3));
        Assert.Equal((DiskSectors - 1) >> 8 & 0xFF, _bench.In8(Command + 4));
        foreach (var command in (int[])[0xE7, 0xEA, 0x10, 0x70, 0xE0, 0xE1, 0xF5, 0x40])
        {
            Address28(0, 1);
            _bench.Out8(Command + 7, command);
            WaitReady();
            Assert.Equal(0x50, Status());
        }

        _bench.Out8(Command + 7, 0xE5);
        Assert.Equal(0xFF, _bench.In8(Command + 2));
        _bench.Out8(Command + 4, 0x4F);
        _bench.Out8(Command + 5, 0xC2);
        _bench.Out8(Command + 1, 0xDA);
        _bench.Out8(Command + 7, 0xB0);
        Assert.Equal(0x50, Status());
        Assert.Equal(0x4F, _bench.In8(Command + 4));
    }

    [Fact]
    public void AbsentDeviceReadsAsZero()
    {
        _bench.Out8(Command + 6, 0xB0);
        Assert.Equal(0, Status());
        _bench.Out8(Command + 7, 0xEC);
        Assert.Equal(0, Status());
        // Which device was chosen shows all the same.
        _bench.Out8(Command + 6, 0xB0);
        Assert.Equal(0xB0, _bench.In8(Command + 6));
    }

    private byte[] Packet(byte[] cdb, int limit, int most, bool expectError = false)
    {
        _bench.Out8(Second + 6, 0xA0);
        _bench.Out8(Second + 1, 0);
        _bench.Out8(Second + 4, limit);
        _bench.Out8(Second + 5, limit >> 8);
        _bench.Out8(Second + 7, 0xA0);
        Assert.Equal(1, _bench.In8(Second + 2));
        var padded = new byte[12];
        cdb.CopyTo(padded, 0);
        for (var i = 0; i < 12; i += 2)
            _bench.Out16(Second, BinaryPrimitives.ReadUInt16LittleEndian(padded.AsSpan(i)));
        var data = new List<byte>();
        while (true)
        {
            WaitReady(Second);
            if ((Status(Second) & Drq) == 0)
                break;
            Assert.Equal(2, _bench.In8(Second + 2));
            var n = _bench.In8(Second + 4) | _bench.In8(Second + 5) << 8;
            Assert.True(n <= limit);
            for (var i = 0; i < n; i += 2)
            {
                var word = _bench.In16(Second);
                data.Add((byte)word);
                if (i + 1 < n)
                    data.Add((byte)(word >> 8));
            }

            Assert.True(data.Count <= most);
        }

        Assert.Equal(expectError, (Status(Second) & Err) != 0);
        Assert.Equal(3, _bench.In8(Second + 2));
        return [.. data];
    }

    [Fact]
    public void PacketSignatureAndInquiry()
    {
        Assert.Equal(0x14, _bench.In8(Second + 4));
        Assert.Equal(0xEB, _bench.In8(Second + 5));
        _bench.Out8(Second + 7, 0xEC);
        Assert.Equal(Err, Status(Second) & Err);
        Assert.Equal(0x14, _bench.In8(Second + 4));
        var inquiry = Packet([0x12, 0, 0, 0, 36], 2048, 36);
        Assert.Equal(5, inquiry[0]);
        Assert.Equal("DROMAIUS", Encoding.ASCII.GetString(inquiry, 8, 8));
    }

    [Theory]
    [InlineData(2048)]
    [InlineData(0xF800)]
    [InlineData(1000)]
    public void PacketReads(int limit)
    {
        var data = Packet([0x28, 0, 0, 0, 0, 10, 0, 0, 100, 0], limit, 100 * 2048);
        Assert.Equal(_cd.AsSpan(10 * 2048, 100 * 2048).ToArray(), data);
        var raw = Packet([0xBE, 0, 0, 0, 0, 3, 0, 0, 2, 0xF8], limit, 2 * 2352);
        Assert.Equal(2 * 2352, raw.Length);
        Assert.Equal(_cd.AsSpan(4 * 2048, 2048).ToArray(), raw.AsSpan(2352 + 16, 2048).ToArray());
        Assert.Equal([0, 2, 3, 1], raw.AsSpan(12, 4).ToArray());
        Assert.Equal([0, 0, 3, 0xE7, 0, 0, 8, 0], Packet([0x25], limit, 8));
    }

    [Fact]
    public void PacketInformation()
    {
        // Ready from the first command on, without an attention for the reset.
        _ = Packet([0], 2048, 0);
        Assert.Equal(0, Packet([3, 0, 0, 0, 18], 2048, 18)[2]);
        Assert.Equal(20, Packet([0x43, 0, 0, 0, 0, 0, 0, 0, 200], 2048, 200).Length);
        Assert.Equal(12, Packet([0x43, 2, 1, 0, 0, 0, 0, 0, 200], 2048, 200).Length);
        Assert.Equal(48, Packet([0x43, 2, 2, 0, 0, 0, 0, 0, 200], 2048, 200).Length);
        var configuration = Packet([0x46, 0, 0, 0, 0, 0, 0, 1, 0], 2048, 256);
        Assert.Equal(8, configuration[7]);
        Assert.Equal(configuration.Length - 4, configuration[3]);
        Assert.Equal(8, Packet([0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8], 2048, 8).Length);
        Assert.Equal(34, Packet([0x51, 0, 0, 0, 0, 0, 0, 0, 34], 2048, 34).Length);
        Assert.Equal(8 + 20, Packet([0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 28], 2048, 28).Length);
        _ = Packet([0xFF], 2048, 0, expectError: true);
        Assert.Equal(5, Packet([3, 0, 0, 0, 18], 2048, 18)[2]);
    }

    [Fact]
    public void MediumLeavesAndComesBack()
    {
        _ = Packet([0x1E, 0, 0, 0, 1], 2048, 0);
        Assert.True(_cdDrive.IsTrayLocked);
        _ = Packet([0x1B, 0, 0, 0, 2], 2048, 0, expectError: true);
        _ = Packet([0x1E, 0, 0, 0, 0], 2048, 0);
        _ = Packet([0x1B, 0, 0, 0, 2], 2048, 0);
        Assert.True(_cdDrive.IsTrayOpen);
        _cdDrive.SetMedium(null);
        _ = Packet([0], 2048, 0, expectError: true);
        var sense = Packet([3, 0, 0, 0, 18], 2048, 18);
        Assert.Equal((2, 0x3A, 2), (sense[2], sense[12], sense[13]));
        _cdDrive.SetMedium(new MemoryNode(2048 * 10));
        _ = Packet([0x1B, 0, 0, 0, 3], 2048, 0, expectError: true); // attention first
        _ = Packet([0x1B, 0, 0, 0, 3], 2048, 0);
        var events = Packet([0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8], 2048, 8);
        Assert.Equal((2, 2), (events[4], events[5]));
        _ = Packet([0], 2048, 0, expectError: true);
        Assert.Equal([0, 0, 0, 9, 0, 0, 8, 0], Packet([0x25], 2048, 8));
    }

    [Fact]
    public void PacketDma()
    {
        Table((0x10000, 0x4000));
        _bench.Out32(BusMaster + 12, 0x1000);
        _bench.Out8(Second + 1, 1);
        _bench.Out8(Second + 7, 0xA0);
        byte[] cdb = [0x28, 0, 0, 0, 0, 5, 0, 0, 8, 0, 0, 0];
        for (var i = 0; i < 12; i += 2)
            _bench.Out16(Second, BinaryPrimitives.ReadUInt16LittleEndian(cdb.AsSpan(i)));
        _bench.Out8(BusMaster + 10, 6);
        _bench.Out8(BusMaster + 8, 9);
        _bench.Until(() => (_bench.In8(BusMaster + 10) & 4) != 0, "interrupt");
        Assert.Equal(0x50, Status(Second));
        Assert.Equal(_cd.AsSpan(5 * 2048, 0x4000).ToArray(), _bench.Ram.Span(0x10000, 0x4000).ToArray());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        _ide.Channels[0].Attach(1, new AtapiDrive(new ScsiCdrom(_bench.Drive(null)) { IsPacket = true }));
        int[] ports = [Command, Second, BusMaster, BusMaster + 8];
        byte[] commands = [0x20, 0x24, 0x25, 0xC8, 0xC4, 0x30, 0x35, 0xCA, 0xC5, 0xA0, 0xA1, 0xEC, 0xEF, 0xB0, 0xE7, 0x06, 0x2F, 0x90, 0x08, 0x91, 0xC6];
        for (var i = 0; i < 100_000; i++)
        {
            var port = ports[random.Next(4)] + random.Next(8);
            switch (random.Next(12))
            {
                case 0:
                    _bench.Loop.RunDue();
                    break;
                case 1:
                    _bench.Out8(random.Next(2) == 0 ? Command + 7 : Second + 7, commands[random.Next(commands.Length)]);
                    break;
                case 2 when random.Next(50) == 0:
                    _bench.Out8(Control, random.Next(8));
                    break;
                case 3 when random.Next(200) == 0:
                    _ide.Channels[random.Next(2)].Reset();
                    break;
                case 4 or 5:
                    _bench.Out16(random.Next(2) == 0 ? Command : Second, random.Next(4) == 0 ? random.Next(256) : random.Next());
                    break;
                case 6:
                    _bench.Ram.Span(0x1000, 64).Clear();
                    _bench.Poke32(0x1000, (uint)random.Next());
                    _bench.Poke32(0x1004, (uint)random.Next());
                    _bench.Poke32(0x100C, 0x8000_0000);
                    _bench.Out32(BusMaster + 4 + (8 * random.Next(2)), 0x1000);
                    break;
                case 7 or 8 or 9:
                    _ = _bench.IoSpace.Load((ulong)port, 1 << random.Next(3));
                    break;
                default:
                    _bench.IoSpace.Store((ulong)port, 1, (byte)random.Next(256));
                    break;
            }
        }

        _bench.Settle();
    }
}
