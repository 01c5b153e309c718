using System.Buffers.Binary;
using Dromaius.Devices.Network;
using Dromaius.Net;

namespace Dromaius.Devices.Tests.Network;

/// <summary>The VMXNET3 driven as its driver does: shared area, commands, rings each way, interrupts.</summary>
public sealed class Vmxnet3Tests : IDisposable
{
    private const uint Doorbells = NetworkBench.Registers, Control = Doorbells + 0x10_0000;
    private const uint Shared = 0x1000, Queues = 0x2000, TxRing = 0x4000, TxDone = 0x5000, RxRing = 0x6000, RxBodies = 0x7000, RxDone = 0x8000, Rss = 0x9000;
    private const uint Data = 0x10000, Buffers = 0x40000, BodyBuffers = 0x80000;
    private const uint Activate = 0xCAFE_0000, UpdateRxMode = 0xCAFE_0003, GetLink = 0xF00D_0002, GetStats = 0xF00D_0001;
    private const int RingSize = 8, BufferLength = 1536, BodyLength = 4096;
    private readonly NetworkBench _bench = new();
    private uint _produced;

    public Vmxnet3Tests() => _bench.Connect(new Vmxnet3(_bench.Clock, NetworkBench.Mac, express: false));

    public void Dispose() => _bench.Dispose();

    private uint Run(uint command)
    {
        _bench.Memory.StoreU32(Control + 0x20, command);
        return _bench.Memory.LoadU32(Control + 0x20);
    }

    private void Poke(uint at, uint value) => _bench.Memory.StoreU32(at, value);

    private uint Peek(uint at) => _bench.Memory.LoadU32(at);

    /// <summary>One queue each way, everything received, the given offloads.</summary>
    private uint Start(uint features = 0, byte rxQueues = 1)
    {
        Poke(Shared, 0xBABE_FEE1);
        Poke(Shared + 24, features);
        Poke(Shared + 40, Queues);
        Poke(Shared + 52, (1u + rxQueues) * 256);
        _bench.Ram.Span(Shared + 62, 2)[0] = 1;
        _bench.Ram.Span(Shared + 62, 2)[1] = rxQueues;
        Poke(Shared + 80, 1);
        Poke(Shared + 120, 7);
        Ring(Queues + 16, TxRing, 0, TxDone, RingSize, 0, RingSize);
        for (var i = 0u; i < rxQueues; i++)
        {
            Ring(Queues + (256 * (1 + i)) + 16, RxRing + (0x400 * i), RxBodies + (0x400 * i), RxDone + (0x400 * i), RingSize, RingSize, 2 * RingSize);
            for (var n = 0u; n < RingSize; n++)
            {
                Receiver(RxRing + (0x400 * i) + (16 * n), Buffers + (0x1000 * n), BufferLength | 1u << 31);
                Receiver(RxBodies + (0x400 * i) + (16 * n), BodyBuffers + (0x1000 * n), BodyLength | 1u << 31 | 1 << 14);
            }
        }

        Poke(Control + 0x10, Shared);
        Poke(Control + 0x18, 0);
        return Run(Activate);
    }

    private void Ring(uint config, uint first, uint second, uint completions, uint firstSize, uint secondSize, uint completionSize)
    {
        Poke(config, first);
        Poke(config + 8, second);
        Poke(config + 16, completions);
        Poke(config + 40, firstSize);
        Poke(config + 44, secondSize);
        Poke(config + 48, completionSize);
    }

    private void Receiver(uint at, uint buffer, uint word)
    {
        Poke(at, buffer);
        Poke(at + 8, word);
    }

    private void Transmit(uint address, uint length, uint high, uint offset = 0)
    {
        var at = TxRing + (16 * (_produced % RingSize));
        var generation = _produced / RingSize % 2 == 0 ? 1u << 14 : 0;
        _produced++;
        Poke(at, address);
        Poke(at + 12, high);
        Poke(at + 8, length | offset << 18 | generation);
    }

    private void RingTransmit() => _bench.Memory.StoreU32(Doorbells + 0x600, _produced % RingSize);

    private byte[] Tcp(int payload)
    {
        var frame = new byte[54 + payload];
        new Random(7).NextBytes(frame.AsSpan(54));
        NetworkBench.Mac.Write(frame);
        frame[12] = 8;
        frame[14] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(16), (ushort)(frame.Length - 14));
        frame[23] = 6;
        frame[46] = 5 << 4;
        frame[47] = 0x10;
        return frame;
    }

    [Fact]
    public void CommandsTellWhoItIs()
    {
        Assert.Equal(3u, Peek(Control));
        Assert.Equal(1u, Peek(Control + 8));
        Assert.Equal(0x1200_5452u, Run(0xF00D_0003));
        Assert.Equal(0x5634u, Run(0xF00D_0004));
        Assert.Equal(0x07B0u, Run(0xF00D_0005));
        Assert.Equal(1000u << 16 | 1, Run(GetLink));
        _bench.Far.LinkUp = false;
        Assert.Equal(0u, Run(GetLink));
    }

    [Fact]
    public void RefusesWhatIsNotSound()
    {
        Assert.Equal(1u, Run(Activate));
        Assert.Equal(0u, Start());
        Poke(Queues + 16 + 40, 0);
        Assert.Equal(1u, Run(Activate));
        Poke(Queues + 16 + 40, 5000);
        Assert.Equal(1u, Run(Activate));
    }

    [Fact]
    public void SendsFramesOfSeveralPiecesRoundTheRing()
    {
        Assert.Equal(0u, Start());
        new Random(1).NextBytes(_bench.Ram.Span(Data, 100));
        for (var i = 0u; i < RingSize; i++)
        {
            Transmit(Data, 40, 0);
            RingTransmit();
            Transmit(Data + 40, 60, 0x3000);
            RingTransmit();
            Assert.Equal(_bench.Ram.Span(Data, 100).ToArray(), Assert.Single(_bench.Far.Frames).Frame);
            Assert.Equal(((2 * i) + 1) % RingSize, Peek(TxDone + (16 * i)) & 0xFFF);
            Assert.Equal(1u, Peek(TxDone + (16 * i) + 12) >> 31);
            _bench.Far.Frames.Clear();
        }

        Run(GetStats);
        Assert.Equal(8u, Peek(Queues + 88 + 16) + Peek(Queues + 88 + 32));
    }

    [Fact]
    public void InterruptsOnceUntilUnmasked()
    {
        Start();
        Transmit(Data, 60, 0x3000);
        RingTransmit();
        Assert.Equal(1u, Peek(Doorbells));
        Assert.Equal(1u, Peek(Control + 0x38));
        Assert.Equal(0u, Peek(Control + 0x38));
        Transmit(Data, 60, 0x3000);
        RingTransmit();
        Assert.Equal(0u, Peek(Control + 0x38));
        Poke(Doorbells, 0);
        Assert.Equal(1u, Peek(Control + 0x38));
    }

    [Fact]
    public void KeepsInTheRingWhatTheFarEndRefuses()
    {
        Start();
        _bench.Far.Refuses = true;
        Transmit(Data, 60, 0x3000);
        RingTransmit();
        Assert.Equal(0u, Peek(TxDone + 12));
        _bench.Far.Refuses = false;
        _bench.Far.ReadyForMore();
        Assert.Single(_bench.Far.Frames);
        Assert.NotEqual(0u, Peek(TxDone + 12));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SegmentsLargePackets(bool tagged)
    {
        Start();
        var frame = Tcp(4000);
        frame.CopyTo(_bench.Ram.Span(Data, frame.Length));
        Transmit(Data, (uint)frame.Length, 0x3000 | 54 | 3 << 10 | (tagged ? 1u << 15 | 5u << 16 : 0), 1460);
        RingTransmit();
        var extra = tagged ? 4 : 0;
        Assert.Equal([1514 + extra, 1514 + extra, 1134 + extra], _bench.Far.Frames.Select(static f => f.Frame.Length));
        foreach (var (segment, _) in _bench.Far.Frames)
        {
            if (tagged)
                Assert.Equal(0x8100_0005u, BinaryPrimitives.ReadUInt32BigEndian(segment.AsSpan(12)));
            var ip = segment.AsSpan(14 + extra);
            Assert.Equal(0, Checksum.Of(ip[..20]));
            Assert.Equal(0xFFFF, Checksum.Fold(Checksum.Add(Checksum.PseudoHeader(ip.Slice(12, 8), 6, ip.Length - 20), ip[20..])));
        }
    }

    [Fact]
    public void FillsInChecksums()
    {
        Start();
        var frame = Tcp(10);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(50), Checksum.Fold(Checksum.PseudoHeader(frame.AsSpan(26, 8), 6, 30)));
        frame.CopyTo(_bench.Ram.Span(Data, frame.Length));
        Transmit(Data, (uint)frame.Length, 0x3000 | 34 | 2 << 10, 50);
        RingTransmit();
        var sent = Assert.Single(_bench.Far.Frames).Frame;
        Assert.Equal(0xFFFF, Checksum.Fold(Checksum.Add(Checksum.PseudoHeader(sent.AsSpan(26, 8), 6, 30), sent.AsSpan(34))));
    }

    [Fact]
    public void ReceivesAndSaysWhatItChecked()
    {
        Start(features: 1);
        var frame = Tcp(100);
        Assert.True(_bench.Far.Send(frame, new FrameOffload { DataValid = true }));
        Assert.Equal(frame, _bench.Ram.Span(Buffers, frame.Length).ToArray());
        Assert.Equal(0xC000u, Peek(RxDone));
        Assert.Equal((uint)frame.Length, Peek(RxDone + 8) & 0x3FFF);
        Assert.Equal(1u << 31 | 3u << 24 | 0x2D_0000, Peek(RxDone + 12));
        // Here nothing vouches for the checksums, which are wrong.
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(0x4000_C001u, Peek(RxDone + 16));
    }

    [Fact]
    public void TakesLargePacketsOverBothRings()
    {
        Poke(Control, 2);
        Start(features: 9);
        var frame = Tcp(10_000);
        Assert.True(_bench.Far.Send(frame, new FrameOffload { NeedsChecksum = true, ChecksumStart = 34, ChecksumOffset = 16, Kind = SegmentKind.Tcp4, SegmentSize = 1460 }));
        Assert.Equal(frame.AsSpan(0, BufferLength).ToArray(), _bench.Ram.Span(Buffers, BufferLength).ToArray());
        Assert.Equal(frame.AsSpan(BufferLength, BodyLength).ToArray(), _bench.Ram.Span(BodyBuffers, BodyLength).ToArray());
        Assert.Equal(frame.AsSpan(BufferLength + (2 * BodyLength)).ToArray(), _bench.Ram.Span(BodyBuffers + 0x2000, frame.Length - BufferLength - (2 * BodyLength)).ToArray());
        Assert.Equal(0x8000u, Peek(RxDone));
        Assert.Equal(7u, Peek(RxDone + 4));
        Assert.Equal(1460u, Peek(RxDone + 12) & 0xFFFF);
        Assert.Equal(4u, Peek(RxDone + 12) >> 24 & 0x7F);
        Assert.Equal(0x0001_4002u, Peek(RxDone + 48));
    }

    [Fact]
    public void AsksForBuffersWhenThereAreNone()
    {
        Start();
        var frame = new byte[100];
        NetworkBench.Mac.Write(frame);
        for (var i = 0; i < RingSize; i++)
            Assert.True(_bench.Far.Send(frame, default));
        Assert.False(_bench.Far.Send(frame, default));
        Assert.Equal(1u, Peek(Queues + 256) & 0xFF);
        var wakes = _bench.Far.Wakes;
        Poke(RxRing + 8, BufferLength);
        Poke(Doorbells + 0x800, 1);
        Assert.True(_bench.Far.Wakes > wakes);
        Assert.Equal(0u, Peek(Queues + 256) & 0xFF);
        Assert.True(_bench.Far.Send(frame, default));
    }

    [Fact]
    public void FiltersByAddressAndTag()
    {
        Start();
        var frame = new byte[60];
        frame[0] = 2;
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(0u, Peek(RxDone + 12));
        NetworkBench.Mac.Write(frame);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(12), 0x8100_0007);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(0u, Peek(RxDone + 12));
        Poke(Shared + 136, 1 << 7);
        Assert.Equal(0u, Run(UpdateRxMode));
        Assert.True(_bench.Far.Send(frame, default));
        Assert.NotEqual(0u, Peek(RxDone + 12));
    }

    /// <summary>The hash is that of the specification's own example: 66.9.149.187:2794 to 161.142.100.80:1766.</summary>
    [Fact]
    public void SpreadsFlowsOverQueues()
    {
        ReadOnlySpan<byte> key =
        [
            0x6D, 0x5A, 0x56, 0xDA, 0x25, 0x5B, 0x0E, 0xC2, 0x41, 0x67, 0x25, 0x3D, 0x43, 0xA3, 0x8F, 0xB0, 0xD0, 0xCA, 0x2B, 0xCB,
            0xAE, 0x7B, 0x30, 0xB4, 0x77, 0xCB, 0x2D, 0xA3, 0x80, 0x30, 0xF2, 0x0C, 0x6A, 0x42, 0xB7, 0x3B, 0xBE, 0xAC, 0x01, 0xFA,
        ];
        Poke(Shared + 652, 176);
        Poke(Shared + 656, Rss);
        Poke(Rss, 0x0001_0003);
        Poke(Rss + 4, 0x0002_0028);
        key.CopyTo(_bench.Ram.Span(Rss + 8, 40));
        _bench.Ram.Span(Rss + 48, 2)[1] = 1;
        Start(features: 2, rxQueues: 2);
        var frame = Tcp(10);
        ((ReadOnlySpan<byte>)[66, 9, 149, 187, 161, 142, 100, 80]).CopyTo(frame.AsSpan(26));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(34), 2794);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(36), 1766);
        Assert.True(_bench.Far.Send(frame, default));
        // 51CCC178h is even: the first queue.
        Assert.Equal(0x51CC_C178u, Peek(RxDone + 4));
        Assert.Equal(2u, Peek(RxDone) >> 26 & 15);
    }

    [Fact]
    public void TellsOfTheLink()
    {
        Start();
        _bench.Far.LinkUp = false;
        Assert.Equal(4u, Peek(Shared + 696));
        Assert.Equal(1u, Peek(Control + 0x38));
        Poke(Control + 0x40, 4);
        Assert.Equal(0u, Peek(Shared + 696));
    }
}
