using System.Buffers.Binary;
using Dromaius.Devices.Network;
using Dromaius.Net;

namespace Dromaius.Devices.Tests.Network;

/// <summary>What the 82574L has beyond the E1000: extended and split descriptors, hashes, a vector for each cause.</summary>
public sealed class E1000eTests : IDisposable
{
    private const uint RxRing = 0x2000, SecondRing = 0x3000, TxRing = 0x1000, Buffers = 0x40000, Vectors = NetworkBench.Registers + 0x20_0000;
    private readonly NetworkBench _bench = new();

    public E1000eTests() => _bench.Connect(new E1000e(_bench.Clock, NetworkBench.Mac, express: false));

    public void Dispose() => _bench.Dispose();

    private Span<byte> Ram(uint at, int length) => _bench.Ram.Span(at, length);

    private uint Peek(uint at) => BinaryPrimitives.ReadUInt32LittleEndian(Ram(at, 4));

    private ushort Peek16(uint at) => BinaryPrimitives.ReadUInt16LittleEndian(Ram(at, 2));

    private void StartReceive(uint control, uint ring = RxRing, uint step = 0, int buffers = 1)
    {
        for (var i = 0u; i < 8 * buffers; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(Ram(ring + (uint)(16 / Math.Min(buffers, 2) * i), 8), Buffers + (0x1000 * i));
        _bench.Write(0x5008, 0x8000);
        _bench.Write(0x2800 + step, ring);
        _bench.Write(0x2808 + step, (uint)(8 * 16 * (buffers > 1 ? 2 : 1)));
        _bench.Write(0x2818 + step, 7);
        _bench.Write(0x0100, control);
    }

    private static byte[] Tcp(int payload)
    {
        var frame = new byte[54 + payload];
        new Random(7).NextBytes(frame.AsSpan(54));
        NetworkBench.Mac.Write(frame);
        frame[12] = 8;
        frame[14] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(16), (ushort)(frame.Length - 14));
        frame[23] = 6;
        ((ReadOnlySpan<byte>)[66, 9, 149, 187, 161, 142, 100, 80]).CopyTo(frame.AsSpan(26));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(34), 2794);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(36), 1766);
        frame[46] = 5 << 4;
        frame[47] = 0x10;
        return frame;
    }

    /// <summary>The key of the specification's examples.</summary>
    private void WriteHashKey()
    {
        ReadOnlySpan<uint> key =
        [
            0xDA56_5A6D, 0xC20E_5B25, 0x3D25_6741, 0xB08F_A343, 0xCB2B_CAD0, 0xB430_7BAE, 0xA32D_CB77, 0x0CF2_3080, 0x3BB7_426A, 0xFA01_ACBE,
        ];
        for (var i = 0; i < key.Length; i++)
            _bench.Write(0x5C80 + (4 * (uint)i), key[i]);
        _bench.Write(0x5000, 0x2000);
        _bench.Write(0x5818, 0x0003_0001);
    }

    [Fact]
    public void EepromReadsByRegister()
    {
        _bench.Write(0x14, 0 << 2 | 1);
        Assert.Equal(0x5452_0002u, _bench.Read(0x14) & 0xFFFF_0002);
    }

    [Fact]
    public void ExtendedDescriptorsHoldTheHash()
    {
        StartReceive(0x0400_8002);
        WriteHashKey();
        var frame = Tcp(100);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(frame, Ram(Buffers, frame.Length).ToArray());
        Assert.Equal(1u, Peek(RxRing) & 15);
        Assert.Equal(0x51CC_C178u, Peek(RxRing + 4));
        Assert.Equal(3u, Peek(RxRing + 8) & 3);
        Assert.Equal(frame.Length, Peek16(RxRing + 12));
        Assert.Equal(1u, _bench.Read(0x2810));
    }

    [Fact]
    public void TheTableChoosesTheQueue()
    {
        StartReceive(0x0400_8002);
        StartReceive(0x0400_8002, SecondRing, 0x100);
        WriteHashKey();
        // Entry 78h of the table, the hash's low bits.
        _bench.Write(0x5C00 + 0x78, 0x80);
        Assert.True(_bench.Far.Send(Tcp(100), default));
        Assert.Equal(0u, _bench.Read(0x2810));
        Assert.Equal(1u, _bench.Read(0x2910));
        Assert.Equal(0x101u, Peek(SecondRing) & 0xFFF);
    }

    [Fact]
    public void SplitsHeadersFromData()
    {
        // Buffers of 256 bytes and three of 4 KiB.
        _bench.Write(0x2170, 2 | 4 << 8 | 4 << 16 | 4 << 24);
        StartReceive(0x0400_8422, buffers: 4);
        var frame = Tcp(5000);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(54, Peek16(RxRing + 12));
        Assert.Equal(0x8000 | 54, Peek16(RxRing + 16));
        Assert.Equal(4096, Peek16(RxRing + 18));
        Assert.Equal(904, Peek16(RxRing + 20));
        Assert.Equal(frame.AsSpan(0, 54).ToArray(), Ram(Buffers, 54).ToArray());
        Assert.Equal(frame.AsSpan(54, 4096).ToArray(), Ram(Buffers + 0x1000, 4096).ToArray());
        Assert.Equal(frame.AsSpan(54 + 4096).ToArray(), Ram(Buffers + 0x2000, 904).ToArray());

        // No headers to split off: the buffers fill up in order.
        frame[12] = 9;
        Assert.True(_bench.Far.Send(frame.AsSpan(0, 1000), default));
        Assert.Equal(256, Peek16(RxRing + 32 + 12));
        Assert.Equal(0, Peek16(RxRing + 32 + 16));
        Assert.Equal(744, Peek16(RxRing + 32 + 18));
        // The head counts in units of 16 bytes.
        Assert.Equal(4u, _bench.Read(0x2810));
    }

    [Fact]
    public void EachCauseHasItsVector()
    {
        var msix = (int)_bench.Bus.ReadConfig(NetworkBench.Devfn, 0x34, 1);
        while ((_bench.Bus.ReadConfig(NetworkBench.Devfn, msix, 1) & 0xFF) != 0x11)
            msix = (int)_bench.Bus.ReadConfig(NetworkBench.Devfn, msix + 1, 1);
        for (var i = 0u; i < 3; i++)
        {
            _bench.Memory.Store(Vectors + (16 * i), 8, 0xFEE0_0000);
            _bench.Memory.Store(Vectors + (16 * i) + 8, 8, 10 + i);
        }

        _bench.Bus.WriteConfig(NetworkBench.Devfn, msix + 2, 2, 0x8000);
        // Receive 0, transmit 1, the rest 2; the queues' causes clear themselves.
        _bench.Write(0xE4, 8 | 9 << 8 | 10 << 16);
        _bench.Write(0xDC, 0x0150_0000);
        _bench.Write(0xD0, 0x0150_0004);
        StartReceive(0x0400_8002);
        Assert.True(_bench.Far.Send(Tcp(100), default));
        Assert.Equal((1, 0, 0), (_bench.Messages[10], _bench.Messages[11], _bench.Messages[12]));
        Assert.True(_bench.Far.Send(Tcp(100), default));
        // Masked by itself until the driver has looked.
        Assert.Equal(1, _bench.Messages[10]);
        _bench.Write(0xD0, 0x0010_0000);
        Assert.Equal(2, _bench.Messages[10]);

        BinaryPrimitives.WriteUInt64LittleEndian(Ram(TxRing, 8), Buffers);
        BinaryPrimitives.WriteUInt32LittleEndian(Ram(TxRing + 8, 4), 60 | 0x0900_0000);
        _bench.Write(0x3800, TxRing);
        _bench.Write(0x3808, 128);
        _bench.Write(0x0400, 2);
        _bench.Write(0x3818, 1);
        Assert.Equal(1, _bench.Messages[11]);
        _bench.Far.LinkUp = false;
        Assert.Equal(1, _bench.Messages[12]);
    }
}
