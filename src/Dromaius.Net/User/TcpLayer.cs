using System.Buffers.Binary;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>
/// TCP by address translation: finds the connection of a segment, makes new ones for either side, and keeps what waits to be sent.
/// Source: RFC 9293.
/// </summary>
internal sealed class TcpLayer(UserStack stack) : IDisposable
{
    private const int MaxConnections = 2048;

    private readonly Dictionary<FlowKey, TcpConnection> _connections = [];
    private readonly List<TcpConnection> _dirty = [];
    private readonly List<TcpConnection> _scratch = [];
    private readonly List<Listener> _listeners = [];
    private readonly Dictionary<HostEndpoint, Func<int>> _targets = [];
    private uint _sequence = (uint)Random.Shared.Next();

    internal readonly record struct FlowKey(UInt128 Guest, UInt128 Remote, ushort GuestPort, ushort RemotePort);

    /// <summary>When the next time-out may be; a little early is no harm.</summary>
    public long NextDeadline { get; private set; } = long.MaxValue;

    public IEnumerable<TcpConnection> Connections => _connections.Values;

    /// <summary>Listening sockets: host's end and where the connections go.</summary>
    public IEnumerable<(HostEndpoint Host, HostEndpoint Guest, int Fd)> Listeners => _listeners.Select(static l => (l.Host, l.Guest, l.Fd));

    public bool HasPending => _dirty.Count > 0;

    /// <summary>Many connections share what memory there is for them.</summary>
    internal int BufferLimit => _connections.Count < 128 ? 512 << 10 : 64 << 10;

    internal uint NextSequence() => _sequence += 0x1_0000 + (uint)Random.Shared.Next(0x1_0000);

    internal void WantDeadline(long deadline) => NextDeadline = Math.Min(NextDeadline, deadline);

    internal void MarkDirty(TcpConnection connection)
    {
        if (connection.IsDirty)
            return;
        connection.IsDirty = true;
        _dirty.Add(connection);
    }

    internal void Remove(TcpConnection connection) => _connections.Remove(connection.Key);

    /// <summary>A connection of the guest's to this address is answered by what the function opens: a descriptor or a negative error.</summary>
    public void AddTarget(HostEndpoint address, Func<int> open) => _targets[address] = open;

    /// <summary>An address that only exists to be forwarded.</summary>
    public bool IsForwardTarget(uint address) => _targets.Keys.Any(t => t.IsIpv4 && t.Ipv4 == address);

    /// <summary>Connections to a port of the host go to the guest from now on; 0 or a negative error number.</summary>
    public int AddForward(HostEndpoint host, HostEndpoint guest)
    {
        var fd = HostSocket.OpenStream(!host.IsIpv4);
        if (fd < 0)
            return fd;
        HostSocket.SetReuseAddress(fd);
        if (!host.IsIpv4)
            HostSocket.SetIpv6Only(fd);
        var error = HostSocket.Bind(fd, host);
        if (error >= 0)
            error = HostSocket.Listen(fd, 64);
        if (error < 0)
        {
            HostSocket.Close(fd);
            return error;
        }

        _listeners.Add(new Listener(this, stack, fd, host, guest));
        return 0;
    }

    public bool RemoveForward(HostEndpoint host)
    {
        var listener = _listeners.Find(l => UdpLayer.Matches(l.Host, host));
        if (listener == null)
            return false;
        _listeners.Remove(listener);
        listener.Close();
        return true;
    }

    public void Input(in IpPacket packet)
    {
        var tcp = packet.Payload;
        if (tcp.Length < Protocol.TcpHeader || !packet.HasGoodChecksum)
            return;
        var header = (tcp[12] >> 4) * 4;
        if (header < Protocol.TcpHeader || header > tcp.Length || (!packet.IsIpv6 && packet.Destination4 >> 28 >= 14))
            return;
        var segment = new TcpSegment
        {
            Sequence = BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]),
            Acknowledged = BinaryPrimitives.ReadUInt32BigEndian(tcp[8..]),
            Flags = (TcpFlags)tcp[13],
            Window = BinaryPrimitives.ReadUInt16BigEndian(tcp[14..]),
            Options = tcp[Protocol.TcpHeader..header],
            Data = tcp[header..],
        };
        var key = new FlowKey(packet.Source, packet.Destination, BinaryPrimitives.ReadUInt16BigEndian(tcp), BinaryPrimitives.ReadUInt16BigEndian(tcp[2..]));
        if (_connections.TryGetValue(key, out var connection))
            connection.Input(segment);
        else if ((segment.Flags & (TcpFlags.Syn | TcpFlags.Ack | TcpFlags.Rst)) == TcpFlags.Syn)
            Open(packet, key, segment);
        else if ((segment.Flags & TcpFlags.Rst) == 0)
            SendReset(key, segment);
    }

    /// <summary>Answers a segment that belongs to nothing.</summary>
    internal void SendReset(FlowKey key, in TcpSegment segment)
    {
        Span<byte> reset = stackalloc byte[Protocol.TcpHeader];
        reset.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(reset, key.RemotePort);
        BinaryPrimitives.WriteUInt16BigEndian(reset[2..], key.GuestPort);
        reset[12] = 5 << 4;
        if ((segment.Flags & TcpFlags.Ack) != 0)
        {
            BinaryPrimitives.WriteUInt32BigEndian(reset[4..], segment.Acknowledged);
            reset[13] = (byte)TcpFlags.Rst;
        }
        else
        {
            BinaryPrimitives.WriteUInt32BigEndian(reset[8..], segment.Sequence + segment.Length);
            reset[13] = (byte)(TcpFlags.Rst | TcpFlags.Ack);
        }

        Span<byte> addresses = stackalloc byte[32];
        BinaryPrimitives.WriteUInt128BigEndian(addresses, key.Remote);
        BinaryPrimitives.WriteUInt128BigEndian(addresses[16..], key.Guest);
        var sum = Checksum.Add(Checksum.PseudoHeader(addresses, Protocol.Tcp, reset.Length), reset);
        BinaryPrimitives.WriteUInt16BigEndian(reset[16..], (ushort)~Checksum.Fold(sum));
        _ = stack.SendPacket(key.Remote, key.Guest, Protocol.Tcp, reset);
    }

    /// <summary>Sends what is due on all connections that have something, as far as there is room.</summary>
    public void Flush()
    {
        if (_dirty.Count == 0)
            return;
        _scratch.AddRange(_dirty);
        _dirty.Clear();
        foreach (var connection in _scratch)
        {
            connection.IsDirty = false;
            connection.Flush();
        }

        _scratch.Clear();
    }

    /// <summary>The guest's hardware address became known: what waited for it goes out.</summary>
    public void OnNeighbor(UInt128 address)
    {
        foreach (var connection in _connections.Values)
        {
            if (connection.Key.Guest == address && connection.IsOpening)
            {
                connection.OnTimeout();
                MarkDirty(connection);
            }
        }
    }

    public void RunTimers(long now)
    {
        NextDeadline = long.MaxValue;
        _scratch.AddRange(_connections.Values);
        foreach (var connection in _scratch)
        {
            if (connection.Deadline <= now)
                connection.OnTimeout();
            NextDeadline = Math.Min(NextDeadline, connection.Deadline);
        }

        _scratch.Clear();
    }

    public void Dispose()
    {
        foreach (var listener in _listeners)
            listener.Close();
        _scratch.AddRange(_connections.Values);
        foreach (var connection in _scratch)
            connection.Close(abort: true);
        _scratch.Clear();
    }

    /// <summary>The guest opens a connection.</summary>
    private void Open(in IpPacket packet, FlowKey key, in TcpSegment segment)
    {
        int fd;
        var connecting = false;
        if (_connections.Count >= MaxConnections)
        {
            SendReset(key, segment);
            return;
        }

        if (_targets.TryGetValue(new HostEndpoint(key.Remote, key.RemotePort), out var open))
        {
            fd = open();
        }
        else if (stack.Settings.Restrict)
        {
            fd = -HostSocket.Econnrefused;
        }
        else
        {
            fd = HostSocket.OpenStream(packet.IsIpv6);
            if (fd >= 0)
            {
                HostSocket.SetNoDelay(fd);
                HostSocket.SetOutOfBandInline(fd);
                var error = HostSocket.Connect(fd, stack.ToHost(key.Remote, key.RemotePort));
                connecting = error == -HostSocket.Einprogress;
                if (error < 0 && !connecting)
                {
                    HostSocket.Close(fd);
                    fd = error;
                }
            }
        }

        if (fd < 0)
        {
            if (fd == -HostSocket.Enetunreach)
                stack.SendUnreachable(packet, UserStack.NetUnreachable);
            else if (fd is -HostSocket.Ehostunreach or -HostSocket.Etimedout)
                stack.SendUnreachable(packet, UserStack.HostUnreachable);
            else
                SendReset(key, segment);
            return;
        }

        var connection = new TcpConnection(this, stack, key, fd);
        _connections.Add(key, connection);
        connection.StartFromGuest(segment, connecting);
    }

    /// <summary>Somebody on the host opens a connection to the guest.</summary>
    private void Accept(int fd, HostEndpoint from, HostEndpoint guest)
    {
        var source = stack.FromHost(from.Address);
        // The gateway speaks for all of the host's loopback: two of its clients may have the same port.
        var port = from.Port;
        for (var tries = 0; _connections.ContainsKey(new FlowKey(guest.Address, source, guest.Port, port)) && tries < 1000; tries++)
            port = (ushort)Random.Shared.Next(1024, 65536);
        var key = new FlowKey(guest.Address, source, guest.Port, port);
        if (_connections.Count >= MaxConnections || _connections.ContainsKey(key))
        {
            HostSocket.Abort(fd);
            return;
        }

        HostSocket.SetNoDelay(fd);
        HostSocket.SetOutOfBandInline(fd);
        var connection = new TcpConnection(this, stack, key, fd) { IsForwarded = true };
        _connections.Add(key, connection);
        connection.StartToGuest();
    }

    private sealed class Listener : ISocketOwner
    {
        private readonly TcpLayer _layer;
        private readonly UserStack _stack;
        private readonly int _slot;

        public Listener(TcpLayer layer, UserStack stack, int fd, HostEndpoint host, HostEndpoint guest)
        {
            _layer = layer;
            _stack = stack;
            Fd = fd;
            Host = host.Port == 0 ? HostSocket.LocalEndpoint(fd) : host;
            Guest = guest;
            _slot = stack.Watch(fd, this);
        }

        public HostEndpoint Host { get; }
        public HostEndpoint Guest { get; }
        public int Fd { get; }

        public void OnEvents(PollEvents events)
        {
            // Told of changes only: all that wait are taken.
            int fd;
            while ((fd = HostSocket.Accept(Fd, out var from)) >= 0)
                _layer.Accept(fd, from, Guest);
        }

        public void Close()
        {
            _stack.Unwatch(_slot);
            HostSocket.Close(Fd);
        }
    }
}
