using Dromaius.Devices.Network;

namespace Dromaius.Devices.Tests.Network;

/// <summary>The NE2000 driven as its driver does: remote transfers through the data port, the receive ring, interrupts.</summary>
public sealed class Ne2000Tests : IDisposable
{
    private const byte StartPage = 0x46, StopPage = 0x80;
    private readonly NetworkBench _bench = new();

    public Ne2000Tests() => _bench.Connect(new Ne2000Pci(NetworkBench.Mac));

    public void Dispose() => _bench.Dispose();

    private byte In(uint at) => (byte)_bench.Io.Load(NetworkBench.Ports + at, 1);

    private void Out(uint at, int value) => _bench.Io.Store(NetworkBench.Ports + at, 1, (byte)value);

    private void SetRemote(int address, int count)
    {
        Out(8, address);
        Out(9, address >> 8);
        Out(0xA, count);
        Out(0xB, count >> 8);
    }

    private byte[] ReadMemory(int address, int count)
    {
        SetRemote(address, count);
        Out(0, 0x0A);
        var bytes = new byte[count];
        for (var i = 0; i < count; i += 2)
        {
            var word = _bench.Io.Load(NetworkBench.Ports + 0x10, 2);
            bytes[i] = (byte)word;
            if (i + 1 < count)
                bytes[i + 1] = (byte)(word >> 8);
        }

        return bytes;
    }

    private void WriteMemory(int address, ReadOnlySpan<byte> bytes)
    {
        SetRemote(address, bytes.Length);
        Out(0, 0x12);
        for (var i = 0; i < bytes.Length; i += 2)
            _bench.Io.Store(NetworkBench.Ports + 0x10, 2, (ulong)(bytes[i] | (bytes[i + 1] << 8)));
    }

    private void Start(byte receive = 4)
    {
        Out(0, 0x21);
        Out(0xE, 0x49);
        Out(0xC, receive);
        Out(0xD, 0);
        Out(1, StartPage);
        Out(2, StopPage);
        Out(3, StartPage);
        Out(7, 0xFF);
        Out(0xF, 0x3F);
        Out(0, 0x61);
        for (var i = 0u; i < 6; i++)
            Out(1 + i, NetworkBench.Mac[(int)i]);
        Out(7, StartPage + 1);
        Out(0, 0x22);
    }

    private static byte[] Frame(int length)
    {
        var frame = new byte[length];
        new Random(5).NextBytes(frame);
        NetworkBench.Mac.Write(frame);
        return frame;
    }

    [Fact]
    public void PromHoldsTheAddressTwice()
    {
        Out(0, 0x22);
        Out(0xE, 0x49);
        var prom = ReadMemory(0, 32);
        for (var i = 0; i < 6; i++)
            Assert.Equal((NetworkBench.Mac[i], NetworkBench.Mac[i]), (prom[2 * i], prom[(2 * i) + 1]));
        Assert.Equal(0x57, prom[28]);
        Assert.Equal((byte)'P', In(0xA));
        Assert.Equal((byte)'C', In(0xB));
    }

    [Fact]
    public void SendsFromItsMemory()
    {
        Start();
        var frame = Frame(100);
        WriteMemory(0x4000, frame);
        Assert.Equal(0x40, In(7) & 0x40);
        Out(7, 0x40);
        Out(4, 0x40);
        Out(5, 100);
        Out(6, 0);
        Out(0, 0x26);
        Assert.Equal(frame, Assert.Single(_bench.Far.Frames).Frame);
        Assert.Equal(2, In(7) & 2);
        Assert.Equal(1, In(4));
        Assert.Equal(0, In(0) & 4);
    }

    [Fact]
    public void WaitsForTheFarEnd()
    {
        Start();
        WriteMemory(0x4000, Frame(60));
        _bench.Far.Refuses = true;
        Out(4, 0x40);
        Out(5, 60);
        Out(0, 0x26);
        Assert.Equal(4, In(0) & 4);
        _bench.Far.Refuses = false;
        _bench.Far.ReadyForMore();
        Assert.Single(_bench.Far.Frames);
        Assert.Equal(2, In(7) & 2);
    }

    [Fact]
    public void ReceivesRoundTheRing()
    {
        Start();
        var frame = Frame(1000);
        int page = StartPage + 1;
        for (var i = 0; i < 60; i++)
        {
            Assert.True(_bench.Far.Send(frame, default));
            Assert.Equal(1, In(7) & 1);
            Out(7, 1);
            var head = ReadMemory(page * 256, 4);
            var next = page + 4 >= StopPage ? page + 4 - StopPage + StartPage : page + 4;
            Assert.Equal([1, (byte)next, 1008 & 0xFF, 1008 >> 8], head);
            // The remote pointer turns round with the ring.
            Assert.Equal(frame, ReadMemory((page * 256) + 4, 1000));
            page = next;
            Out(3, page == StartPage ? StopPage - 1 : page - 1);
        }
    }

    [Fact]
    public void StaysStartedWhenOnlyThePageTurns()
    {
        Start();
        Out(0, 0x40);
        Out(0, 0x00);
        Assert.True(_bench.Far.Send(Frame(100), default));
        Assert.Equal(1, In(7) & 1);
        Out(0, 0x21);
        Out(7, 0xFF);
        Out(0, 0x00);
        Assert.True(_bench.Far.Send(Frame(100), default));
        Assert.Equal(0, In(7) & 1);
    }

    [Fact]
    public void TellsAgainOfWhatWasNotReadWhileTheSenderWaits()
    {
        Start();
        Assert.True(_bench.Far.Send(Frame(1000), default));
        Out(7, 1);
        Assert.Equal(0, In(7) & 1);
        while (_bench.Far.Send(Frame(1000), default))
        {
        }

        Out(7, 1);
        Assert.Equal(1, In(7) & 1);
        Out(3, StartPage + 4); // the first one is read
        Out(7, 1);
        Assert.Equal(0, In(7) & 1);
    }

    [Fact]
    public void RefusesWhenTheRingIsFull()
    {
        Start();
        var sent = 0;
        while (_bench.Far.Send(Frame(1000), default))
            Assert.InRange(++sent, 1, 20);
        var wakes = _bench.Far.Wakes;
        Out(3, StartPage + 4);
        Assert.True(_bench.Far.Wakes > wakes);
        Assert.True(_bench.Far.Send(Frame(900), default));
    }

    [Fact]
    public void FiltersByAddress()
    {
        Start(receive: 0);
        var frame = Frame(100);
        frame.AsSpan(0, 6).Fill(0xFF);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(0, In(7) & 1);
        Out(0xC, 4);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(1, In(7) & 1);
        // Group addresses pass where their hash has a bit set.
        frame[0] = 1;
        frame[1] = 0;
        frame[2] = 0x5E;
        frame[3] = frame[4] = 0;
        frame[5] = 1;
        Out(7, 1);
        Out(0xC, 8);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(0, In(7) & 1);
        Out(0, 0x62);
        for (var i = 0u; i < 8; i++)
            Out(8 + i, 0xFF);
        Out(0, 0x22);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(1, In(7) & 1);
    }
}
