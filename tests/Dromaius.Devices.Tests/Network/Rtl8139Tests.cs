using System.Buffers.Binary;
using Dromaius.Devices.Network;
using Dromaius.Net;

namespace Dromaius.Devices.Tests.Network;

/// <summary>The RTL8139 driven as its drivers do: EEPROM, the receive ring and four transmit buffers, the descriptors of C+ mode.</summary>
public sealed class Rtl8139Tests : IDisposable
{
    private const uint Ring = 0x20000, Data = 0x10000, RxDescriptors = 0x2000, TxDescriptors = 0x3000, Buffers = 0x40000;
    private const uint Own = 1u << 31, End = 1u << 30, First = 1u << 29, Last = 1u << 28;
    private readonly NetworkBench _bench = new();

    public Rtl8139Tests() => _bench.Connect(new Rtl8139(_bench.Clock, NetworkBench.Mac));

    public void Dispose() => _bench.Dispose();

    private uint Read(uint at, int size) => (uint)_bench.Memory.Load(NetworkBench.Registers + at, size);

    private void Write(uint at, int size, uint value) => _bench.Memory.Store(NetworkBench.Registers + at, size, value);

    private uint Peek(uint at) => _bench.Memory.LoadU32(at);

    private static byte[] Frame(int length)
    {
        var frame = new byte[length];
        new Random(5).NextBytes(frame);
        NetworkBench.Mac.Write(frame);
        return frame;
    }

    private static byte[] Tcp(int payload)
    {
        var frame = new byte[54 + payload];
        NetworkBench.Mac.Write(frame);
        frame[12] = 8;
        frame[14] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(16), (ushort)(frame.Length - 14));
        frame[23] = 6;
        frame[46] = 5 << 4;
        return frame;
    }

    /// <summary>Reads a word of the EEPROM through its four pins.</summary>
    private ushort ReadEeprom(uint word)
    {
        Write(0x50, 1, 0x80);
        Write(0x50, 1, 0x88);
        // Start, opcode "read", six bits of address.
        var command = 6u << 6 | word;
        for (var bit = 8; bit >= 0; bit--)
            Clock((command >> bit & 1) << 1);
        var value = 0u;
        for (var i = 0; i < 16; i++)
            value = (value << 1) | Clock(0);
        Write(0x50, 1, 0);
        return (ushort)value;

        uint Clock(uint data)
        {
            Write(0x50, 1, 0x88 | data);
            Write(0x50, 1, 0x8C | data);
            return Read(0x50, 1) & 1;
        }
    }

    [Fact]
    public void EepromHoldsTheAddress()
    {
        Assert.Equal(0x8129, ReadEeprom(0));
        Assert.Equal([0x5452, 0x1200, 0x5634], new[] { ReadEeprom(7), ReadEeprom(8), ReadEeprom(9) });
        Assert.Equal(0x1200_5452u, Read(0, 4));
        Assert.Equal(0x5634u, Read(4, 2));
    }

    /// <summary>Drivers take a chip with a register for the longest frame for an RTL8169.</summary>
    [Fact]
    public void HasNoRegistersOfItsSuccessor()
    {
        Write(0xDA, 2, 1522);
        Assert.Equal(0u, Read(0xDA, 2));
    }

    [Fact]
    public void SendsFromFourBuffersInTurn()
    {
        Write(0x37, 1, 4);
        Write(0x3C, 2, 4);
        for (var i = 0u; i < 8; i++)
        {
            var frame = Frame(60 + (int)i);
            frame.CopyTo(_bench.Ram.Span(Data, frame.Length));
            Write(0x20 + (4 * (i % 4)), 4, Data);
            Write(0x10 + (4 * (i % 4)), 4, (uint)frame.Length);
            Assert.Equal(frame, _bench.Far.Frames[^1].Frame);
            Assert.Equal(0xA000u, Read(0x10 + (4 * (i % 4)), 4) & 0xA000);
        }

        Assert.Equal(8, _bench.Far.Frames.Count);
        Assert.Equal(4u, Read(0x3E, 2));
        Write(0x3E, 2, 4);
        Assert.Equal(0u, Read(0x3E, 2));
    }

    [Fact]
    public void WaitsForTheFarEnd()
    {
        Write(0x37, 1, 4);
        _bench.Far.Refuses = true;
        Write(0x20, 4, Data);
        Write(0x10, 4, 60);
        Assert.Equal(0u, Read(0x10, 4) & 0x8000);
        _bench.Far.Refuses = false;
        _bench.Far.ReadyForMore();
        Assert.Equal(0x8000u, Read(0x10, 4) & 0x8000);
        Assert.Single(_bench.Far.Frames);
    }

    [Fact]
    public void ReceivesRoundTheRing()
    {
        Write(0x30, 4, Ring);
        Write(0x44, 4, 0x0A);
        Write(0x37, 1, 8);
        Write(0x38, 2, 0xFFF0);
        var frame = Frame(1000);
        var at = 0u;
        for (var i = 0; i < 40; i++)
        {
            Assert.Equal(1u, Read(0x37, 1) & 1);
            Assert.True(_bench.Far.Send(frame, default));
            Assert.Equal(0u, Read(0x37, 1) & 1);
            // Head, frame and check sequence, in a ring of 8 KiB.
            Assert.Equal(1004u << 16 | 0x4001, Peek(Ring + at));
            for (var n = 0; n < frame.Length; n++)
                Assert.Equal(frame[n], _bench.Ram.Span(Ring + ((at + 4 + (uint)n) % 8192), 1)[0]);
            at = (at + 1008) % 8192;
            Assert.Equal(at, Read(0x3A, 2));
            Write(0x38, 2, (at - 16) & 0xFFFF);
        }
    }

    [Fact]
    public void RefusesWhenTheRingIsFull()
    {
        Write(0x30, 4, Ring);
        Write(0x44, 4, 0x0A);
        Write(0x37, 1, 8);
        Write(0x38, 2, 0xFFF0);
        var sent = 0;
        while (_bench.Far.Send(Frame(1000), default))
            Assert.InRange(++sent, 1, 20);
        Assert.Equal(8, sent);
        var wakes = _bench.Far.Wakes;
        Write(0x38, 2, 1008 - 16);
        Assert.True(_bench.Far.Wakes > wakes);
        Assert.True(_bench.Far.Send(Frame(900), default));
    }

    private void StartCplus(uint command)
    {
        Write(0xE0, 2, 3 | command);
        for (var i = 0u; i < 4; i++)
        {
            _bench.Memory.StoreU32(RxDescriptors + (16 * i), Own | (i == 3 ? End : 0) | 1600);
            _bench.Memory.StoreU32(RxDescriptors + (16 * i) + 8, Buffers + (0x1000 * i));
        }

        Write(0xE4, 4, RxDescriptors);
        Write(0xE8, 4, 0);
        Write(0x20, 4, TxDescriptors);
        Write(0x24, 4, 0);
        Write(0x44, 4, 0x0A);
        Write(0x37, 1, 0xC);
    }

    private void Transmit(int index, uint flags, uint tag, uint address, int length)
    {
        var at = TxDescriptors + (16 * (uint)index);
        _bench.Memory.StoreU32(at + 4, tag);
        _bench.Memory.StoreU32(at + 8, address);
        _bench.Memory.StoreU32(at, Own | flags | (uint)length);
    }

    [Fact]
    public void DescriptorsCarryFramesBothWays()
    {
        StartCplus(0);
        var frame = Frame(300);
        for (var i = 0u; i < 6; i++)
        {
            Assert.True(_bench.Far.Send(frame, default));
            var at = RxDescriptors + (16 * (i % 4));
            Assert.Equal((i % 4 == 3 ? End : 0) | First | Last | 1u << 26 | 304, Peek(at));
            Assert.Equal(frame, _bench.Ram.Span(Buffers + (0x1000 * (i % 4)), 300).ToArray());
            _bench.Memory.StoreU32(at, Own | (i % 4 == 3 ? End : 0) | 1600);
        }

        frame.CopyTo(_bench.Ram.Span(Data, 300));
        Transmit(0, First, 0, Data, 100);
        Transmit(1, Last | End, 0, Data + 100, 200);
        Write(0xD9, 1, 0x40);
        Assert.Equal(frame, Assert.Single(_bench.Far.Frames).Frame);
        Assert.Equal(0u, Peek(TxDescriptors + 16) & Own);
    }

    [Fact]
    public void TagsGoIntoAndComeOutOfDescriptors()
    {
        StartCplus(0x40);
        var frame = Frame(100);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(12), 0x8100_0123);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(100u, Peek(RxDescriptors) & 0x1FFF);
        Assert.Equal(0x1_2301u, Peek(RxDescriptors + 4));
        Assert.Equal([.. frame.AsSpan(0, 12), .. frame.AsSpan(16)], _bench.Ram.Span(Buffers, 96).ToArray());

        Frame(100).CopyTo(_bench.Ram.Span(Data, 100));
        Transmit(0, First | Last | End, 0x2_2301, Data, 100);
        Write(0xD9, 1, 0x40);
        var sent = Assert.Single(_bench.Far.Frames).Frame;
        Assert.Equal(104, sent.Length);
        Assert.Equal(0x8100_0123u, BinaryPrimitives.ReadUInt32BigEndian(sent.AsSpan(12)));
    }

    [Fact]
    public void ChecksAndFillsInChecksums()
    {
        StartCplus(0x20);
        var frame = Tcp(20);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(1u << 16 | 1u << 15 | 1u << 13, Peek(RxDescriptors) & 0x3_E000);
        frame.CopyTo(_bench.Ram.Span(Data, frame.Length));
        Transmit(0, First | Last | End | 1u << 18 | 1u << 16, 0, Data, frame.Length);
        Write(0xD9, 1, 0x40);
        var sent = Assert.Single(_bench.Far.Frames).Frame;
        Assert.Equal(0, Checksum.Of(sent.AsSpan(14, 20)));
        Assert.True(_bench.Far.Send(sent, default));
        Assert.Equal(1u << 16, Peek(RxDescriptors + 16) & 0x3_E000);
    }

    [Fact]
    public void SegmentsLargeSends()
    {
        StartCplus(0);
        var frame = Tcp(3000);
        frame.CopyTo(_bench.Ram.Span(Data, frame.Length));
        Transmit(0, First | Last | End | 1u << 27 | 1460u << 16, 0, Data, frame.Length);
        Write(0xD9, 1, 0x40);
        Assert.Equal([1514, 1514, 134], _bench.Far.Frames.Select(static f => f.Frame.Length));
    }
}
