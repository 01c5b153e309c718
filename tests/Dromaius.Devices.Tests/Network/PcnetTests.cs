using System.Buffers.Binary;
using Dromaius.Devices.Network;

namespace Dromaius.Devices.Tests.Network;

/// <summary>The PCnet driven as its driver does, with descriptors of 32 bits, and without a driver that knows what it does.</summary>
public sealed class PcnetTests : IDisposable
{
    private const uint InitBlock = 0x1000, RxRing = 0x2000, TxRing = 0x3000, Data = 0x10000, Buffers = 0x40000;
    private const uint Own = 1u << 31, First = 1u << 25, Last = 1u << 24;
    private const int BufferSize = 512;
    private readonly NetworkBench _bench = new();

    public PcnetTests() => _bench.Connect(new Pcnet(_bench.Clock, NetworkBench.Mac));

    public void Dispose() => _bench.Dispose();

    private uint Peek(uint at) => _bench.Memory.LoadU32(at);

    private ushort ReadCsr(int index)
    {
        _bench.Io.Store(NetworkBench.Ports + 0x12, 2, (uint)index);
        return (ushort)_bench.Io.Load(NetworkBench.Ports + 0x10, 2);
    }

    private void WriteCsr(int index, int value)
    {
        _bench.Io.Store(NetworkBench.Ports + 0x12, 2, (uint)index);
        _bench.Io.Store(NetworkBench.Ports + 0x10, 2, (ushort)value);
    }

    /// <summary>Software style 2, rings of four descriptors each, started.</summary>
    private void Start()
    {
        _bench.Io.Store(NetworkBench.Ports + 0x12, 2, 20);
        _bench.Io.Store(NetworkBench.Ports + 0x16, 2, 2);
        var block = _bench.Ram.Span(InitBlock, 28);
        block.Clear();
        block[2] = block[3] = 2 << 4;
        NetworkBench.Mac.Write(block[4..]);
        BinaryPrimitives.WriteUInt32LittleEndian(block[20..], RxRing);
        BinaryPrimitives.WriteUInt32LittleEndian(block[24..], TxRing);
        for (var i = 0u; i < 4; i++)
            OfferBuffer(i);
        WriteCsr(1, (int)InitBlock);
        WriteCsr(2, 0);
        WriteCsr(0, 1);
        Assert.Equal(0x100, ReadCsr(0) & 0x100);
        WriteCsr(0, 0x142);
    }

    private void OfferBuffer(uint index)
    {
        _bench.Memory.StoreU32(RxRing + (16 * index), Buffers + (0x1000 * index));
        _bench.Memory.StoreU32(RxRing + (16 * index) + 4, Own | 0xF000 | (4096 - BufferSize));
    }

    private void Transmit(uint index, uint address, int length, uint flags)
    {
        _bench.Memory.StoreU32(TxRing + (16 * index), address);
        _bench.Memory.StoreU32(TxRing + (16 * index) + 4, Own | flags | 0xF000 | (uint)(4096 - length));
    }

    private static byte[] Frame(int length)
    {
        var frame = new byte[length];
        new Random(5).NextBytes(frame);
        NetworkBench.Mac.Write(frame);
        return frame;
    }

    [Fact]
    public void PromHoldsTheAddressAndItsSum()
    {
        for (var i = 0u; i < 6; i++)
            Assert.Equal(NetworkBench.Mac[(int)i], (byte)_bench.Io.Load(NetworkBench.Ports + i, 1));
        Assert.Equal(0x5757u, _bench.Io.Load(NetworkBench.Ports + 14, 2));
        Assert.Equal(0x1003, ReadCsr(88));
        Assert.Equal(0x262, ReadCsr(89) & 0xFFF);
    }

    [Fact]
    public void SendsFramesOfSeveralPieces()
    {
        Start();
        var frame = Frame(200);
        frame.CopyTo(_bench.Ram.Span(Data, 200));
        for (var i = 0; i < 6; i++)
        {
            Transmit((uint)(2 * i) % 4, Data, 80, First);
            Transmit((uint)((2 * i) + 1) % 4, Data + 80, 120, Last);
            WriteCsr(0, 0x48);
            Assert.Equal(frame, _bench.Far.Frames[i].Frame);
            Assert.Equal(0u, Peek(TxRing + (16 * ((uint)((2 * i) + 1) % 4)) + 4) & Own);
        }

        Assert.Equal(0x280, ReadCsr(0) & 0x280);
        WriteCsr(0, 0x240);
        Assert.Equal(0, ReadCsr(0) & 0x200);
    }

    [Fact]
    public void ReceivesOverSeveralBuffers()
    {
        Start();
        var frame = Frame(700);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(frame.AsSpan(0, BufferSize).ToArray(), _bench.Ram.Span(Buffers, BufferSize).ToArray());
        Assert.Equal(frame.AsSpan(BufferSize).ToArray(), _bench.Ram.Span(Buffers + 0x1000, 700 - BufferSize).ToArray());
        Assert.Equal(First, Peek(RxRing + 4) & (Own | First | Last));
        Assert.Equal(Last, Peek(RxRing + 16 + 4) & (Own | First | Last));
        Assert.Equal(704u, Peek(RxRing + 16 + 8) & 0xFFF);
        Assert.Equal(0x480, ReadCsr(0) & 0x480);
    }

    [Fact]
    public void LooksAgainAtAFullRing()
    {
        Start();
        for (var i = 0; i < 4; i++)
            Assert.True(_bench.Far.Send(Frame(100), default));
        Assert.False(_bench.Far.Send(Frame(100), default));
        OfferBuffer(0);
        var wakes = _bench.Far.Wakes;
        _bench.Clock.Advance(1_000_000);
        Assert.True(_bench.Far.Wakes > wakes);
        Assert.True(_bench.Far.Send(Frame(100), default));
    }

    /// <summary>START without INIT: there are no rings of a known size yet.</summary>
    [Fact]
    public void StartedWithoutRingsItTakesFrames()
    {
        WriteCsr(0, 2);
        var frame = new byte[60];
        frame.AsSpan(0, 6).Fill(0xFF);
        for (var i = 0; i < 10; i++)
            _ = _bench.Far.Send(frame, default);
    }
}
