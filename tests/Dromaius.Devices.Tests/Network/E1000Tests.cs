using System.Buffers.Binary;
using Dromaius.Devices.Network;
using Dromaius.Net;

namespace Dromaius.Devices.Tests.Network;

/// <summary>The E1000 driven as its driver does: EEPROM, PHY, descriptors each way, interrupts.</summary>
public sealed class E1000Tests : IDisposable
{
    private const uint TxRing = 0x1000, RxRing = 0x2000, Data = 0x10000, Buffers = 0x40000;
    private readonly NetworkBench _bench = new();
    private readonly E1000 _nic;
    private uint _tail;

    public E1000Tests() => _nic = _bench.Connect(new E1000("e1000", _bench.Clock, NetworkBench.Mac));

    public void Dispose() => _bench.Dispose();

    private void StartTransmit()
    {
        _bench.Write(0x3800, TxRing);
        _bench.Write(0x3808, 8 * 16);
        _bench.Write(0x0400, 2);
    }

    private void StartReceive(uint tail = 7)
    {
        for (var i = 0u; i < 8; i++)
            Descriptor(RxRing + (16 * i), Buffers + (0x1000 * i), 0, 0);
        _bench.Write(0x2800, RxRing);
        _bench.Write(0x2808, 8 * 16);
        _bench.Write(0x2818, tail);
        _bench.Write(0x5000, 0x300);
        _bench.Write(0x0100, 0x0400_8002);
    }

    private void Descriptor(uint at, ulong address, uint low, uint high)
    {
        var d = _bench.Ram.Span(at, 16);
        BinaryPrimitives.WriteUInt64LittleEndian(d, address);
        BinaryPrimitives.WriteUInt32LittleEndian(d[8..], low);
        BinaryPrimitives.WriteUInt32LittleEndian(d[12..], high);
    }

    private void Queue(ulong address, uint low, uint high = 0)
    {
        Descriptor(TxRing + (16 * _tail), address, low, high);
        _tail = (_tail + 1) % 8;
    }

    [Fact]
    public void EepromAddsUp()
    {
        var sum = 0u;
        for (var i = 0u; i < 64; i++)
        {
            _bench.Write(0x14, i << 8 | 1);
            var value = _bench.Read(0x14);
            Assert.NotEqual(0u, value & 0x10);
            sum += value >> 16;
        }

        Assert.Equal(0xBABAu, sum & 0xFFFF);
        Assert.Equal(0x1200_5452u, _bench.Read(0x5400));
        Assert.Equal(0x8000_5634u, _bench.Read(0x5404));
    }

    [Fact]
    public void PhyTellsTheLink()
    {
        _bench.Write(0x20, 2u << 26 | 1u << 21 | 1u << 16);
        Assert.Equal(4u, _bench.Read(0x20) & 4);
        Assert.Equal(2u, _bench.Read(8) & 2);
        _bench.Far.LinkUp = false;
        Assert.Equal(0u, _bench.Read(8) & 2);
        Assert.Equal(4u, _bench.Read(0xC0) & 4);
    }

    [Fact]
    public void SendsFramesOfSeveralPieces()
    {
        StartTransmit();
        new Random(1).NextBytes(_bench.Ram.Span(Data, 100));
        Queue(Data, 40);
        Queue(Data + 40, 60 | 0x0900_0000);
        _bench.Write(0xD0, 3);
        _bench.Write(0x3818, _tail);
        Assert.Equal(_bench.Ram.Span(Data, 100).ToArray(), Assert.Single(_bench.Far.Frames).Frame);
        Assert.Equal(1, _bench.Ram.Span(TxRing + 16 + 12, 1)[0]);
        Assert.Equal(2u, _bench.Read(0x3810));
        Assert.True(_bench.Bus.InterruptLevel(3 - 1) || _bench.Bus.InterruptLevel(0) || _bench.Bus.InterruptLevel(1) || _bench.Bus.InterruptLevel(3));
        Assert.Equal(3u, _bench.Read(0xC0) & 3);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SegmentsLargePackets(bool farEndDoes)
    {
        if (farEndDoes)
            _bench.Far.Takes = OffloadFeatures.Checksum | OffloadFeatures.Tcp4;
        StartTransmit();
        const int Length = 54 + 4000;
        var frame = _bench.Ram.Span(Data, Length);
        frame.Clear();
        new Random(2).NextBytes(frame[54..]);
        frame[12] = 8;
        frame[14] = 0x45;
        frame[23] = 6;
        frame[46] = 5 << 4;
        frame[47] = 0x18;
        // Context: IP at 14, TCP at 34, segments of 1460 bytes behind 54.
        Queue(14 | 24ul << 8 | 33ul << 16 | 34ul << 32 | 50ul << 40, (Length - 54) | 0x2700_0000, 54u << 8 | 1460u << 16);
        Queue(Data, Length | 0x0010_0000u | 0x2D00_0000, 0x300);
        _bench.Write(0x3818, _tail);
        if (farEndDoes)
        {
            var (whole, offload) = Assert.Single(_bench.Far.Frames);
            Assert.Equal(Length, whole.Length);
            Assert.Equal(SegmentKind.Tcp4, offload.Kind);
            return;
        }

        Assert.Equal([1514, 1514, 1134], _bench.Far.Frames.Select(static f => f.Frame.Length));
        foreach (var (segment, _) in _bench.Far.Frames)
        {
            Assert.Equal(0, Checksum.Of(segment.AsSpan(14, 20)));
            var sum = Checksum.PseudoHeader(segment.AsSpan(26, 8), 6, segment.Length - 34);
            Assert.Equal(0xFFFF, Checksum.Fold(Checksum.Add(sum, segment.AsSpan(34))));
        }

        Assert.Equal([1460u, 2920u], _bench.Far.Frames.Skip(1).Select(static f => BinaryPrimitives.ReadUInt32BigEndian(f.Frame.AsSpan(38))));
    }

    [Fact]
    public void WaitsForTheFarEnd()
    {
        StartTransmit();
        _bench.Far.Refuses = true;
        Queue(Data, 60 | 0x0900_0000);
        _bench.Write(0x3818, _tail);
        Assert.Equal(0u, _bench.Read(0x3810));
        _bench.Far.Refuses = false;
        _bench.Far.ReadyForMore();
        Assert.Equal(1u, _bench.Read(0x3810));
        Assert.Single(_bench.Far.Frames);
    }

    [Fact]
    public void ReceivesAndMakesTheFarEndWait()
    {
        StartReceive(tail: 1);
        var frame = new byte[100];
        new Random(3).NextBytes(frame);
        NetworkBench.Mac.Write(frame);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(frame, _bench.Ram.Span(Buffers, 100).ToArray());
        var descriptor = _bench.Ram.Span(RxRing, 16);
        Assert.Equal(100, BinaryPrimitives.ReadUInt16LittleEndian(descriptor[8..]));
        Assert.Equal(3, descriptor[12] & 3);
        var wakes = _bench.Far.Wakes;
        Assert.False(_bench.Far.Send(frame, default));
        _bench.Write(0x2818, 3);
        Assert.True(_bench.Far.Wakes > wakes);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(0x80u, _bench.Read(0xC0) & 0x80);
    }

    [Fact]
    public void FiltersByAddress()
    {
        StartReceive();
        var frame = new byte[60];
        frame[0] = 2;
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(0u, _bench.Read(0x2810));
        frame.AsSpan(0, 6).Fill(0xFF);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(1u, _bench.Read(0x2810));
    }
}
