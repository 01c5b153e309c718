using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Sockets;
using Dromaius.Net.User;

namespace Dromaius.Net.Tests;

/// <summary>TCP between a guest whose wire loses, reorders and cuts segments, and sockets of the host.</summary>
public sealed class TcpTests
{
    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    [InlineData(2, true)]
    public async Task StreamsArriveWhole(int seed, bool badWire)
    {
        using var guest = new TestGuest();
        using var listener = Listen(out var port);
        var tcp = new GuestTcp(guest, port, new Random(seed), badWire);
        tcp.Open();
        using var server = listener.Accept();
        var up = Pattern(200_000, 1);
        var down = Pattern(300_000, 2);
        var got = new byte[up.Length];
        var host = Task.Run(() =>
        {
            var received = 0;
            while (received < got.Length)
                received += server.Receive(got.AsSpan(received));
            var end = server.Receive(new byte[1]);
            for (var sent = 0; sent < down.Length;)
                sent += server.Send(down.AsSpan(sent));
            server.Shutdown(SocketShutdown.Send);
            return end;
        });
        tcp.SendAll(up, fin: true);
        // The guest's half is closed; the host's goes on.
        tcp.ReceiveAll(down.Length);
        Assert.Equal(0, await host);
        Assert.Equal(up, got);
        Assert.Equal(down, tcp.Received.ToArray());
        guest.Until(() => tcp.Finished && !guest.Stack.Tcp.Connections.Any());
    }

    [Fact]
    public async Task LargeSegmentsGoToGuestsThatTakeThem()
    {
        using var guest = new TestGuest(accepts: OffloadFeatures.Checksum | OffloadFeatures.Tcp4);
        using var listener = Listen(out var port);
        var tcp = new GuestTcp(guest, port, new Random(3), badWire: false);
        tcp.Open();
        using var server = listener.Accept();
        var down = Pattern(500_000, 4);
        var host = Task.Run(() =>
        {
            for (var sent = 0; sent < down.Length;)
                sent += server.Send(down.AsSpan(sent));
        });
        tcp.ReceiveAll(down.Length);
        await host;
        Assert.Equal(down, tcp.Received.ToArray());
        Assert.True(tcp.Largest > 20_000, $"the largest was {tcp.Largest}");
    }

    [Fact]
    public void RefusedConnectionsAreReset()
    {
        using var guest = new TestGuest();
        var tcp = new GuestTcp(guest, StackTests.FreePort(), new Random(0), badWire: false);
        tcp.SendSegment(2, 0, default);
        guest.Until(() => tcp.TakeAny() && tcp.WasReset);
    }

    [Fact]
    public void RestrictedGuestsAreReset()
    {
        using var guest = new TestGuest(new UserNetSettings { Restrict = true });
        using var listener = Listen(out var port);
        var tcp = new GuestTcp(guest, port, new Random(0), badWire: false);
        tcp.SendSegment(2, 0, default);
        guest.Until(() => tcp.TakeAny() && tcp.WasReset);
        Assert.False(listener.Poll(0, SelectMode.SelectRead));
    }

    [Fact]
    public void ResetsPassOn()
    {
        using var guest = new TestGuest();
        using var listener = Listen(out var port);
        var tcp = new GuestTcp(guest, port, new Random(0), badWire: false);
        tcp.Open();
        using var server = listener.Accept();
        tcp.SendSegment(4, 0, default);
        guest.Turn();
        Assert.Equal(SocketError.ConnectionReset, Assert.Throws<SocketException>(() => server.Receive(new byte[1])).SocketErrorCode);
        Assert.Empty(guest.Stack.Tcp.Connections);
    }

    [Fact]
    public void HostsReachTheGuestThroughForwards()
    {
        using var guest = new TestGuest();
        guest.Stack.Learn(HostEndpoint.Map(TestGuest.Address), TestGuest.Mac);
        var port = StackTests.FreePort();
        Assert.Equal(0, guest.Stack.Tcp.AddForward(HostEndpoint.OfIpv4(0x7F00_0001, port), HostEndpoint.OfIpv4(TestGuest.Address, 80)));
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        client.Connect(IPAddress.Loopback, port);
        var syn = guest.Next(static f => TestGuest.IsIpv4(f, 6));
        Assert.Equal(2, syn[47]);
        Assert.Equal(80, TestGuest.Word(syn, 36));
        var tcp = new GuestTcp(guest, TestGuest.Word(syn, 34), new Random(0), badWire: false) { LocalPort = 80 };
        tcp.Accept(syn);
        client.Send("hello"u8);
        tcp.ReceiveAll(5);
        Assert.Equal("hello"u8.ToArray(), tcp.Received.ToArray());
        Assert.True(guest.Stack.Tcp.RemoveForward(HostEndpoint.OfIpv4(0x7F00_0001, port)));
    }

    /// <summary>The guest's address is asked for first, and what waits goes on.</summary>
    [Fact]
    public void ForwardsAskWhereTheGuestIs()
    {
        using var guest = new TestGuest();
        var port = StackTests.FreePort();
        Assert.Equal(0, guest.Stack.Tcp.AddForward(HostEndpoint.OfIpv4(0x7F00_0001, port), HostEndpoint.OfIpv4(TestGuest.Address, 80)));
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        client.Connect(IPAddress.Loopback, port);
        var request = guest.Next(static f => TestGuest.Word(f, 12) == 0x0806);
        Assert.Equal(TestGuest.Address, TestGuest.Dword(request, 38));
        guest.Stack.Learn(HostEndpoint.Map(TestGuest.Address), TestGuest.Mac);
        _ = guest.Next(static f => TestGuest.IsIpv4(f, 6) && f[47] == 2);
    }

    [Fact]
    public void AHundredConnectionsAtOnce()
    {
        using var guest = new TestGuest();
        using var listener = Listen(out var port);
        var all = Enumerable.Range(0, 100).Select(i => new GuestTcp(guest, port, new Random(i), badWire: false) { LocalPort = (ushort)(5000 + i) }).ToList();
        var servers = new List<Socket>();
        foreach (var tcp in all)
        {
            tcp.Open();
            servers.Add(listener.Accept());
        }

        for (var i = 0; i < all.Count; i++)
            all[i].SendSegment(0x18, 0, Pattern(1000, i));
        guest.Turn();
        for (var i = 0; i < all.Count; i++)
        {
            var buffer = new byte[1000];
            var got = 0;
            while (got < buffer.Length)
                got += servers[i].Receive(buffer.AsSpan(got));
            Assert.Equal(Pattern(1000, i), buffer);
            servers[i].Dispose();
        }
    }

    private static Socket Listen(out ushort port)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(128);
        port = (ushort)((IPEndPoint)listener.LocalEndPoint!).Port;
        return listener;
    }

    private static byte[] Pattern(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}

/// <summary>A small TCP of the guest's, on a wire that may be bad in both directions.</summary>
internal sealed class GuestTcp(TestGuest guest, ushort port, Random random, bool badWire)
{
    private const int Window = 60_000, Mss = 1460;
    private readonly SortedDictionary<uint, byte[]> _early = [];
    private readonly List<byte[]> _held = [];
    private uint _next = 1000, _acked = 1000, _expected;
    private bool _opened, _peerEnded;
    private uint _peerEnd;

    public ushort LocalPort { get; init; } = 4321;
    public List<byte> Received { get; } = [];
    public bool WasReset { get; private set; }

    /// <summary>Both directions have ended and the other side knows.</summary>
    public bool Finished
    {
        get
        {
            _ = TakeAny();
            return _peerEnded;
        }
    }

    public int Largest { get; private set; }

    public void Open()
    {
        SendSegment(2, 0, default);
        guest.Until(() => TakeAny() && _opened);
    }

    /// <summary>Answers the first segment of somebody else's connection.</summary>
    public void Accept(byte[] syn)
    {
        _expected = TestGuest.Dword(syn, 38) + 1;
        _opened = true;
        SendSegment(0x12, 0, default);
        _next++;
        _acked = _next;
    }

    /// <summary>Sends in pieces of all sizes, again and again until all is acknowledged.</summary>
    public void SendAll(byte[] data, bool fin)
    {
        var start = _next;
        var end = start + (uint)data.Length;
        guest.Until(() =>
        {
            _ = TakeAny();
            if (_acked == end + (fin ? 1u : 0))
                return true;
            for (var at = _acked; at < end && at - _acked < 40_000;)
            {
                var length = (int)Math.Min(1 + random.Next(Mss), end - at);
                SendSegment(0x18, at, data.AsSpan((int)(at - start), length));
                at += (uint)length;
            }

            if (fin && _acked + 40_000 > end)
                SendSegment(0x11, end, default);
            guest.Turn();
            guest.Clock.Advance(5_000_000);
            return false;
        });
        _next = _acked;
    }

    public void ReceiveAll(int length) => guest.Until(() =>
    {
        guest.Clock.Advance(50_000_000);
        _ = TakeAny();
        return Received.Count >= length;
    });

    /// <summary>Takes what has come; false if there was nothing.</summary>
    public bool TakeAny()
    {
        var any = false;
        while (guest.Received.TryDequeue(out var entry))
        {
            if (!TestGuest.IsIpv4(entry.Frame, 6) || TestGuest.Word(entry.Frame, 36) != LocalPort)
                continue;
            any = true;
            if (badWire && _opened && random.Next(10) == 0)
                continue;
            if (entry.Offload.Kind == SegmentKind.None && !entry.Offload.NeedsChecksum)
                TestGuest.CheckSums(entry.Frame);
            Take(entry.Frame);
        }

        return any;
    }

    public void SendSegment(byte flags, uint sequence, ReadOnlySpan<byte> data)
    {
        if (sequence == 0)
            sequence = _next;
        var tcp = new byte[20 + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(tcp, LocalPort);
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(2), port);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(4), sequence);
        BinaryPrimitives.WriteUInt32BigEndian(tcp.AsSpan(8), _expected);
        tcp[12] = 5 << 4;
        tcp[13] = flags;
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(14), Window);
        data.CopyTo(tcp.AsSpan(20));
        Span<byte> addresses = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(addresses, TestGuest.Address);
        BinaryPrimitives.WriteUInt32BigEndian(addresses[4..], TestGuest.Gateway);
        var sum = Checksum.Add(Checksum.PseudoHeader(addresses, 6, tcp.Length), tcp);
        BinaryPrimitives.WriteUInt16BigEndian(tcp.AsSpan(16), (ushort)~Checksum.Fold(sum));
        var frame = TestGuest.Ipv4(6, TestGuest.Gateway, tcp);
        if (!badWire || !_opened)
        {
            guest.Send(frame);
            return;
        }

        switch (random.Next(8))
        {
            case 0:
                return;
            case 1:
                // Comes later than what follows it.
                _held.Add(frame);
                return;
            case 2:
                guest.Send(frame);
                break;
        }

        guest.Send(frame);
        foreach (var held in _held)
            guest.Send(held);
        _held.Clear();
    }

    private void Take(byte[] frame)
    {
        var flags = frame[47];
        var sequence = TestGuest.Dword(frame, 38);
        if ((flags & 4) != 0)
        {
            WasReset = true;
            return;
        }

        var ack = TestGuest.Dword(frame, 42);
        if ((int)(ack - _acked) > 0)
            _acked = ack;
        if ((flags & 2) != 0)
        {
            _expected = sequence + 1;
            _next = _acked;
            _opened = true;
            SendSegment(0x10, 0, default);
            return;
        }

        var header = (frame[46] >> 4) * 4;
        var length = TestGuest.Word(frame, 16) - 20 - header;
        Largest = Math.Max(Largest, length);
        if (length > 0)
            _early[sequence] = frame.AsSpan(34 + header, length).ToArray();
        if ((flags & 1) != 0)
            _peerEnd = sequence + (uint)length;
        while (_early.Count > 0)
        {
            var (at, data) = _early.First();
            var skip = (int)(_expected - at);
            if (skip < 0)
                break;
            _early.Remove(at);
            if (skip >= data.Length)
                continue;
            Received.AddRange(data.AsSpan(skip));
            _expected += (uint)(data.Length - skip);
        }

        if (_peerEnd != 0 && _expected == _peerEnd && !_peerEnded)
        {
            _peerEnded = true;
            _expected++;
        }

        if (length > 0 || (flags & 1) != 0)
            SendSegment(0x10, Math.Max(_next, _acked), default);
    }
}
