using System.Buffers.Binary;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>
/// UDP by address translation: a socket of the host for each port of the guest. Echo requests to the outside go the same way, where
/// the host lets users send them. Sources: RFC 768, 792, 4787.
/// </summary>
internal sealed class UdpLayer(UserStack stack) : IDisposable
{
    private const int MaxFlows = 1024, MaxBurst = 64;
    private const long IdleMilliseconds = 240_000, DnsMilliseconds = 10_000;

    private readonly Dictionary<(UInt128 Address, ushort Port, bool IsEcho), Flow> _flows = [];
    private readonly List<Flow> _waiting = [];
    private readonly List<Flow> _dropped = [];

    /// <summary>When idle sockets are looked for.</summary>
    public long NextDeadline { get; private set; } = long.MaxValue;

    public bool HasPending => _waiting.Count > 0;

    /// <summary>Every socket.</summary>
    public IEnumerable<Flow> Flows => _flows.Values;

    public void Input(in IpPacket packet)
    {
        var udp = packet.Payload;
        if (udp.Length < Protocol.UdpHeader)
            return;
        int length = BinaryPrimitives.ReadUInt16BigEndian(udp[4..]);
        if (length < Protocol.UdpHeader || length > udp.Length)
            return;
        if ((packet.IsIpv6 || BinaryPrimitives.ReadUInt16BigEndian(udp[6..]) != 0) && !packet.HasGoodChecksum)
            return;
        var sourcePort = BinaryPrimitives.ReadUInt16BigEndian(udp);
        var port = BinaryPrimitives.ReadUInt16BigEndian(udp[2..]);
        var data = udp[Protocol.UdpHeader..length];
        var settings = stack.Settings;
        if (packet.IsIpv6)
        {
            if (port == Protocol.PortDhcpv6Server)
            {
                stack.Dhcp.Input6(packet.Source, sourcePort, data);
                return;
            }

            if (port == Protocol.PortTftp && packet.Destination == settings.Host6)
            {
                stack.Tftp.Input(packet.Source, sourcePort, packet.Destination, data);
                return;
            }

            if (packet.Destination >> 120 == 0xFF)
                return;
        }
        else
        {
            var to = packet.Destination4;
            if (port == Protocol.PortBootpServer && (to == settings.Host || to == uint.MaxValue))
            {
                stack.Dhcp.Input(data);
                return;
            }

            if (port == Protocol.PortTftp && to == settings.Host)
            {
                stack.Tftp.Input(packet.Source, sourcePort, packet.Destination, data);
                return;
            }

            // Multicast and broadcast stay on the wire.
            if (to >> 28 >= 14 || to == 0 || (settings.IsOnNetwork(to) && (to | settings.Mask) == uint.MaxValue))
                return;
        }

        Send(packet, (packet.Source, sourcePort, false), data, port);
    }

    /// <summary>Sends an echo request to the outside.</summary>
    public void Echo(in IpPacket packet) =>
        Send(packet, (packet.Source, BinaryPrimitives.ReadUInt16BigEndian(packet.Payload[4..]), true), packet.Payload, 0);

    /// <summary>Datagrams to a port of the host go to the guest from now on; 0 or a negative error number.</summary>
    public int AddForward(HostEndpoint host, HostEndpoint guest)
    {
        var fd = HostSocket.OpenDatagram(!host.IsIpv4);
        if (fd < 0)
            return fd;
        var error = HostSocket.Bind(fd, host);
        if (error < 0)
        {
            HostSocket.Close(fd);
            return error;
        }

        var key = (guest.Address, guest.Port, false);
        if (_flows.Remove(key, out var old))
            old.Close();
        _flows[key] = new Flow(this, stack, fd, guest, false) { IsForward = true };
        return 0;
    }

    public bool RemoveForward(HostEndpoint host)
    {
        foreach (var (key, flow) in _flows)
        {
            if (!flow.IsForward || !Matches(HostSocket.LocalEndpoint(flow.Fd), host))
                continue;
            _flows.Remove(key);
            flow.Close();
            return true;
        }

        return false;
    }

    internal static bool Matches(HostEndpoint local, HostEndpoint asked) => local.Port == asked.Port && local.Address == asked.Address;

    /// <summary>Goes on with sockets that had more than the guest could take.</summary>
    public void Resume()
    {
        for (var i = _waiting.Count; i > 0 && _waiting.Count > 0 && !stack.Out.IsFull; i--)
        {
            var flow = _waiting[0];
            _waiting.RemoveAt(0);
            flow.Pump();
        }
    }

    public void RunTimers(long now)
    {
        NextDeadline = long.MaxValue;
        foreach (var flow in _flows.Values)
        {
            if (flow.IsForward)
                continue;
            if (flow.Expires <= now)
                _dropped.Add(flow);
            else
                NextDeadline = Math.Min(NextDeadline, flow.Expires);
        }

        foreach (var flow in _dropped)
            Drop(flow);
        _dropped.Clear();
    }

    public void Dispose()
    {
        foreach (var flow in _flows.Values)
            flow.Close();
        _flows.Clear();
    }

    private void Send(in IpPacket packet, (UInt128 Address, ushort Port, bool IsEcho) key, ReadOnlySpan<byte> data, ushort port)
    {
        if (!_flows.TryGetValue(key, out var flow))
        {
            if (stack.Settings.Restrict)
                return;
            if (_flows.Count >= MaxFlows)
                Evict();
            var fd = key.IsEcho ? HostSocket.OpenEcho(packet.IsIpv6) : HostSocket.OpenDatagram(packet.IsIpv6);
            if (fd < 0)
            {
                stack.SendUnreachable(packet, UserStack.NetUnreachable);
                return;
            }

            flow = new Flow(this, stack, fd, new HostEndpoint(key.Address, key.Port), key.IsEcho);
            _flows.Add(key, flow);
        }

        if (!flow.MayAnswer(new HostEndpoint(packet.Destination, port)))
            return;
        flow.Expires = stack.Now + (port == Protocol.PortDns ? DnsMilliseconds : IdleMilliseconds);
        NextDeadline = Math.Min(NextDeadline, flow.Expires);
        flow.Virtual = packet.Destination;
        flow.Remote = new HostEndpoint(packet.Destination, port);
        var sent = HostSocket.SendTo(flow.Fd, data, stack.ToHost(packet.Destination, port));
        if (sent is -HostSocket.Enetunreach or -HostSocket.Ehostunreach)
            stack.SendUnreachable(packet, sent == -HostSocket.Enetunreach ? UserStack.NetUnreachable : UserStack.HostUnreachable);
    }

    /// <summary>Makes room: the flow that was silent longest goes.</summary>
    private void Evict()
    {
        Flow? oldest = null;
        foreach (var flow in _flows.Values)
        {
            if (!flow.IsForward && (oldest == null || flow.Expires < oldest.Expires))
                oldest = flow;
        }

        if (oldest != null)
            Drop(oldest);
    }

    private void Drop(Flow flow)
    {
        _flows.Remove((flow.Guest.Address, flow.Guest.Port, flow.IsEcho));
        flow.Close();
    }

    /// <summary>A socket of the host and the port of the guest it stands for.</summary>
    internal sealed class Flow : ISocketOwner
    {
        private readonly UdpLayer _layer;
        private readonly UserStack _stack;
        private readonly int _slot;
        private bool _isWaiting;
        private bool _isClosed;

        public Flow(UdpLayer layer, UserStack stack, int fd, HostEndpoint guest, bool isEcho)
        {
            _layer = layer;
            _stack = stack;
            Fd = fd;
            Guest = guest;
            IsEcho = isEcho;
            _slot = stack.Watch(fd, this);
        }

        public int Fd { get; }
        public HostEndpoint Guest { get; }
        public bool IsEcho { get; }
        public bool IsForward { get; init; }
        public long Expires { get; set; }

        /// <summary>Who wrote to a forward of a restricted network: only they are answered.</summary>
        private HashSet<HostEndpoint>? _askers;

        /// <summary>Whom the guest wrote to last.</summary>
        public UInt128 Virtual { get; set; }
        public HostEndpoint Remote { get; set; }

        public bool MayAnswer(HostEndpoint asker) => !_stack.Settings.Restrict || _askers?.Contains(asker) == true;

        private void NoteAsker(HostEndpoint asker)
        {
            const int maxAskers = 256;
            _askers ??= [];
            if (_askers.Count >= maxAskers)
                _askers.Clear();
            _askers.Add(asker);
        }

        public void OnEvents(PollEvents events)
        {
            if ((events & (PollEvents.Readable | PollEvents.Error)) != 0)
                Pump();
        }

        public void Pump()
        {
            if (_isClosed)
                return;
            for (var i = 0; i < MaxBurst; i++)
            {
                if (_stack.Out.IsFull)
                    break;
                var datagram = _stack.Scratch;
                var n = HostSocket.ReceiveFrom(Fd, datagram[Protocol.UdpHeader..], out var from);
                if (n == -HostSocket.Eagain)
                {
                    _isWaiting = false;
                    return;
                }

                // Errors of earlier datagrams come this way too; the next call tells what is next.
                if (n >= 0)
                    Forward(datagram, n, from);
            }

            if (!_isWaiting || !_layer._waiting.Contains(this))
                _layer._waiting.Add(this);
            _isWaiting = true;
        }

        public void Close()
        {
            _isClosed = true;
            _stack.Unwatch(_slot);
            HostSocket.Close(Fd);
            _layer._waiting.Remove(this);
        }

        private void Forward(Span<byte> datagram, int length, HostEndpoint from)
        {
            // Answers come from whom the guest asked, whatever that stands for on the host.
            var source = Virtual != 0 && _stack.ToHost(Virtual, from.Port) == from ? Virtual : _stack.FromHost(from.Address);
            if (_stack.Settings.Restrict)
                NoteAsker(new HostEndpoint(source, from.Port));
            if (IsEcho)
            {
                var message = datagram.Slice(Protocol.UdpHeader, length);
                if (length < 8)
                    return;
                BinaryPrimitives.WriteUInt16BigEndian(message[4..], Guest.Port);
                var protocol = Guest.IsIpv4 ? Protocol.Icmp : Protocol.Icmpv6;
                UserStack.SetIcmpChecksum(message, protocol, source, Guest.Address);
                _ = _stack.SendPacket(source, Guest.Address, protocol, message);
                return;
            }

            _stack.SendDatagram(source, from.Port, Guest.Address, Guest.Port, datagram[..(Protocol.UdpHeader + length)]);
        }
    }
}
