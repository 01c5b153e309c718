using System.Buffers.Binary;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Scsi;
using Dromaius.Devices.Virtio;

namespace Dromaius.Devices.Tests.Storage;

/// <summary>virtio-scsi through the legacy ports, as a driver uses its control, event and request queues.</summary>
public sealed class VirtioScsiTests : IDisposable
{
    private const int Ports = 0xC000, Devfn = 24, Control = 0, Event = 1, Requests = 2, RequestSize = 51, ResponseSize = 108;
    private const uint Header = 0x20000, Response = 0x21000, Data = 0x30000;
    private readonly StorageBench _bench = new();
    private readonly byte[] _bytes = StorageBench.Pattern(4 << 20);
    private readonly ScsiBus _bus = new("scsi.0", VirtioScsi.MaxChannel, VirtioScsi.MaxTarget, VirtioScsi.MaxLun);
    private readonly ScsiDisk _disk;
    private readonly ushort[] _offered = new ushort[3];

    public VirtioScsiTests()
    {
        _disk = new ScsiDisk(_bench.Drive(_bytes), DiskGeometry.ForSize(8192));
        _bus.Add(_disk, 0, 4, 1);
        var scsi = new VirtioScsi(_bench.Memory, _bus, 1, 128);
        var pci = new VirtioPci(scsi, "virtio-scsi-pci", VirtioPciMode.Transitional, 0);
        _bench.Bus.Plug(pci, Devfn);
        pci.Reset();
        _bench.Bus.WriteConfig(Devfn, 0x10, 4, Ports | 1);
        _bench.Bus.WriteConfig(Devfn, 4, 2, 7);
        Begin();
    }

    public void Dispose() => _bench.Dispose();

    /// <summary>Queue q lies at (q + 1) * 10000h / 4.</summary>
    private static uint Queue(int q) => 0x4000u * (uint)(q + 1);

    private static uint AvailableAt(int q) => Queue(q) + (128 * 16);

    private static uint UsedAt(int q) => Queue(q) + 0x1000;

    private void Begin()
    {
        _bench.Out8(Ports + 18, 0);
        _bench.Out8(Ports + 18, 3);
        _bench.Out32(Ports + 4, 6);
        for (var q = 0; q < 3; q++)
        {
            _bench.Ram.Span(Queue(q), 0x4000).Clear();
            _bench.Out16(Ports + 14, q);
            Assert.Equal(128, _bench.In16(Ports + 12));
            _bench.Out32(Ports + 8, Queue(q) >> 12);
            _offered[q] = 0;
        }

        _bench.Out8(Ports + 18, 7);
    }

    private ushort Used(int q) => BinaryPrimitives.ReadUInt16LittleEndian(_bench.Ram.Span(UsedAt(q) + 2, 2));

    private void Offer(int q, params (uint Address, uint Length, bool Writable)[] parts)
    {
        for (var i = 0; i < parts.Length; i++)
        {
            var at = Queue(q) + (16 * (uint)i);
            _bench.Poke64(at, parts[i].Address);
            _bench.Poke32(at + 8, parts[i].Length);
            _bench.Poke32(at + 12, (parts[i].Writable ? 2u : 0) | (i + 1 < parts.Length ? 1u : 0) | (uint)(i + 1) << 16);
        }

        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(AvailableAt(q) + 4 + (2 * (uint)(_offered[q] % 128)), 2), 0);
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(AvailableAt(q) + 2, 2), ++_offered[q]);
        _bench.Out16(Ports + 16, q);
    }

    /// <returns>Response code, status and residual count.</returns>
    private (byte Code, byte Status, uint Residual) Run(byte[] cdb, uint length, bool toGuest, byte target = 4, byte lun = 1)
    {
        var header = _bench.Ram.Span(Header, RequestSize);
        header.Clear();
        (header[0], header[1], header[2], header[3]) = (1, target, 0x40, lun);
        cdb.CopyTo(header[19..]);
        var before = Used(Requests);
        if (length == 0)
            Offer(Requests, (Header, RequestSize, false), (Response, ResponseSize, true));
        else if (toGuest)
            Offer(Requests, (Header, RequestSize, false), (Response, ResponseSize, true), (Data, length / 2, true), (Data + (length / 2), length - (length / 2), true));
        else
            Offer(Requests, (Header, RequestSize, false), (Data, length, false), (Response, ResponseSize, true));
        _bench.Until(() => Used(Requests) != before, "completion");
        var response = _bench.Ram.Span(Response, ResponseSize);
        return (response[11], response[10], BinaryPrimitives.ReadUInt32LittleEndian(response[4..]));
    }

    [Fact]
    public void Transfers()
    {
        Assert.Equal((0, 2, 0u), Run([0], 0, false));
        Assert.Equal(0x29, _bench.Ram.Span(Response + 12 + 12, 1)[0]);
        Assert.Equal((0, 0, 1024u), Run([0x28, 0, 0, 0, 0, 2, 0, 0, 16, 0], 8192 + 1024, true));
        Assert.True(_bytes.AsSpan(1024, 8192).SequenceEqual(_bench.Ram.Span(Data, 8192)));
        Assert.Equal((0, 0, 0u), Run([0x2A, 0, 0, 0, 0, 0, 0, 0, 16, 0], 8192, false));
        Assert.True(_bytes.AsSpan(0, 8192).SequenceEqual(_bench.Ram.Span(Data, 8192)));
        Assert.Equal(1, Run([0x28, 0, 0, 0, 0, 2, 0, 0, 16, 0], 4096, true).Code);
        Assert.Equal(3, Run([0], 0, false, target: 5).Code);
        Assert.Equal((0, 2), (Run([0], 0, false, lun: 9).Code, Run([0], 0, false, lun: 9).Status));
    }

    [Fact]
    public void TaskManagement()
    {
        byte Manage(uint function, byte lun)
        {
            var request = _bench.Ram.Span(Header, 24);
            request.Clear();
            BinaryPrimitives.WriteUInt32LittleEndian(request[4..], function);
            (request[8], request[9], request[10], request[11]) = (1, 4, 0x40, lun);
            var before = Used(Control);
            Offer(Control, (Header, 24, false), (Response, 1, true));
            Assert.NotEqual(before, Used(Control));
            return _bench.Ram.Span(Response, 1)[0];
        }

        _ = Run([0], 0, false);
        Assert.Equal((0, 0, 0u), Run([0], 0, false));
        Assert.Equal(0, Manage(5, 1));
        Assert.Equal(2, Run([0], 0, false).Status);
        Assert.Equal(12, Manage(5, 7));
        Assert.Equal(0, Manage(0, 1));
        Assert.Equal(0, Manage(6, 1));
        Assert.Equal(11, Manage(2, 1));
    }

    [Fact]
    public void EventsTellOfUnits()
    {
        Offer(Event, (Data, 16, true));
        var second = new ScsiDisk(_bench.Drive(new byte[65536]), DiskGeometry.ForSize(128));
        _bus.Add(second, 0, 9, 0);
        _bus.AnnouncePlugged(second);
        Assert.Equal((1u, 0x0000_0901u, 1u), (_bench.Peek32(Data), _bench.Peek32(Data + 4), _bench.Peek32(Data + 12)));
        // Without a buffer the event is lost, and the driver is told so with the next one.
        _bus.Remove(second);
        Offer(Event, (Data, 16, true));
        Assert.Equal(0x8000_0000u, _bench.Peek32(Data));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        for (var i = 0; i < 10_000; i++)
        {
            var q = random.Next(3);
            random.NextBytes(_bench.Ram.Span(Header, 64));
            var header = _bench.Ram.Span(Header, RequestSize);
            if (random.Next(4) != 0)
            {
                (header[0], header[1], header[2], header[3]) = (1, (byte)random.Next(3, 5), 0, (byte)random.Next(2));
                header[19] = (byte)(random.Next(2) == 0 ? 0x28 : 0x12);
            }

            var parts = new (uint, uint, bool)[random.Next(1, 5)];
            for (var j = 0; j < parts.Length; j++)
            {
                parts[j] = (random.Next(3) == 0 ? (uint)random.Next(0x50_0000) | 0x40000 : Data, (uint)random.Next(0x4000), j * 2 >= parts.Length);
            }

            parts[0] = (Header, random.Next(8) == 0 ? (uint)random.Next(64) : RequestSize, false);
            Offer(q, parts);
            if (random.Next(50) == 0)
                _bench.Out32(Ports + 20 + (4 * random.Next(9)), (uint)random.Next(200));
            _bench.Loop.RunDue();
            if (random.Next(100) == 0)
                Begin();
        }

        _bench.Out8(Ports + 18, 0);
        _bench.Settle();
    }
}
