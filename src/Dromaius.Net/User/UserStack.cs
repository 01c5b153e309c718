using System.Buffers.Binary;
using Dromaius.Core.Sockets;
using Dromaius.Core.Time;

namespace Dromaius.Net.User;

/// <summary>Who owns a descriptor that the stack waits for.</summary>
internal interface ISocketOwner
{
    void OnEvents(PollEvents events);
}

/// <summary>
/// The network that a guest sees through <c>-netdev user</c>: a gateway that answers ARP, DHCP, TFTP and echoes itself and carries TCP
/// and UDP over the host's sockets. One thread uses it; what it sends is put into <see cref="Out"/>. Sources: RFC 791, 826, 1122,
/// 4291, 4861, 8200.
/// </summary>
public sealed partial class UserStack : IDisposable
{
    private const int MaxNeighbors = 256;

    private readonly Clock _clock;
    private readonly Poller _poller;
    private readonly Func<OffloadFeatures> _accepts;
    private readonly List<(ISocketOwner? Owner, uint Generation)> _sockets = [];
    private readonly Stack<int> _freeSockets = new();
    private readonly Dictionary<UInt128, ulong> _neighbors = [];
    private readonly Dictionary<UInt128, long> _asked = [];
    private readonly ulong _mac4;
    private readonly byte[] _scratch = new byte[65536];

    /// <param name="settings">The network.</param>
    /// <param name="clock">For time-outs.</param>
    /// <param name="poller">Watches the sockets.</param>
    /// <param name="accepts">What the guest's side takes besides plain frames.</param>
    public UserStack(UserNetSettings settings, Clock clock, Poller poller, Func<OffloadFeatures>? accepts = null)
    {
        Settings = settings;
        _clock = clock;
        _poller = poller;
        _accepts = accepts ?? (static () => OffloadFeatures.None);
        _mac4 = 0x5255_0000_0000UL | settings.Host;
        Tcp = new TcpLayer(this);
        Udp = new UdpLayer(this);
        Dhcp = new DhcpServer(this);
        Tftp = new TftpServer(this);
        Resolver = new HostResolver(settings.ResolverFile);
    }

    public UserNetSettings Settings { get; }

    /// <summary>Frames for the guest.</summary>
    public FrameQueue Out { get; } = new(512, 2 << 20);

    internal TcpLayer Tcp { get; }
    internal UdpLayer Udp { get; }
    internal DhcpServer Dhcp { get; }
    internal TftpServer Tftp { get; }
    internal HostResolver Resolver { get; }

    /// <summary>Milliseconds.</summary>
    internal long Now => _clock.Now / 1_000_000;

    internal OffloadFeatures Accepts => _accepts();

    /// <summary>Scratch for datagrams.</summary>
    internal Span<byte> Scratch => _scratch;

    /// <summary><see cref="Flush"/> has more to do once there is room in <see cref="Out"/>.</summary>
    public bool HasPending => Tcp.HasPending || Udp.HasPending;

    /// <summary>When <see cref="RunTimers"/> has something to do next; null for never.</summary>
    public long? NextDeadline => Math.Min(_nextAdvertisement, Math.Min(Tcp.NextDeadline, Udp.NextDeadline)) is var next and < long.MaxValue ? next : null;

    /// <summary>Milliseconds until then: 0 for now, -1 for no limit.</summary>
    public int MillisecondsToDeadline => NextDeadline is { } next ? (int)Math.Clamp(next - Now, 0, 60_000) : -1;

    /// <summary>A frame from the guest.</summary>
    public void Input(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (frame.Length < Protocol.EthernetHeader)
            return;
        // Frames between guests on one hub are not for the gateway.
        var isGroup = (frame[0] & 1) != 0;
        if (!isGroup && (frame[0] != 0x52 || frame[1] is not (0x55 or 0x56)))
            return;
        var mac = Protocol.ReadMac(frame[6..]);
        var body = frame[Protocol.EthernetHeader..];
        switch (BinaryPrimitives.ReadUInt16BigEndian(frame[12..]))
        {
            case Protocol.EtherArp when Settings.Ipv4:
                ArpInput(body);
                break;
            case Protocol.EtherIpv4 when Settings.Ipv4:
                Ipv4Input(body, mac, offload);
                break;
            case Protocol.EtherIpv6 when Settings.Ipv6:
                Ipv6Input(body, mac, offload);
                break;
        }
    }

    /// <summary>A descriptor is ready.</summary>
    public void OnEvents(ulong tag, PollEvents events)
    {
        var index = (int)(uint)tag;
        if (index < _sockets.Count && _sockets[index] is { Owner: { } owner } slot && slot.Generation == (uint)(tag >> 32))
            owner.OnEvents(events);
    }

    /// <summary>Does what is due.</summary>
    public void RunTimers()
    {
        var now = Now;
        if (Tcp.NextDeadline <= now)
            Tcp.RunTimers(now);
        if (Udp.NextDeadline <= now)
            Udp.RunTimers(now);
        if (_nextAdvertisement <= now)
            Advertise();
    }

    /// <summary>Sends what the frames and events since the last time brought about, as far as <see cref="Out"/> has room.</summary>
    public void Flush()
    {
        Tcp.Flush();
        if (!Out.IsFull)
            Udp.Resume();
    }

    public void Dispose()
    {
        Tcp.Dispose();
        Udp.Dispose();
        Tftp.Dispose();
    }

    /// <summary>Watches a descriptor for an owner; the result is for <see cref="Unwatch"/>.</summary>
    internal int Watch(int fd, ISocketOwner owner)
    {
        if (!_freeSockets.TryPop(out var index))
        {
            index = _sockets.Count;
            _sockets.Add(default);
        }

        var generation = _sockets[index].Generation + 1;
        _sockets[index] = (owner, generation);
        _ = _poller.Watch(fd, (uint)index | ((ulong)generation << 32));
        return index;
    }

    /// <summary>Events of the slot are no longer delivered; the descriptor is about to be closed.</summary>
    internal void Unwatch(int index)
    {
        _sockets[index] = (null, _sockets[index].Generation);
        _freeSockets.Push(index);
    }

    /// <summary>The host's endpoint that stands behind what the guest sees.</summary>
    internal HostEndpoint ToHost(UInt128 address, ushort port)
    {
        if (address >> 32 == 0xFFFF)
        {
            var ipv4 = (uint)address;
            if (ipv4 == Settings.Dns && Resolver.Ipv4 is { } server)
                return HostEndpoint.OfIpv4(server, port);
            return Settings.IsOnNetwork(ipv4) ? HostEndpoint.OfIpv4(0x7F00_0001, port) : new HostEndpoint(address, port);
        }

        if (address == Settings.Dns6 && Resolver.Ipv6 is { } server6)
            return new HostEndpoint(server6, port);
        return Settings.IsOnNetwork6(address) || IsLinkLocal(address) ? new HostEndpoint(1, port) : new HostEndpoint(address, port);
    }

    /// <summary>What the guest sees instead of an address of the host's.</summary>
    internal UInt128 FromHost(UInt128 address)
    {
        if (address >> 32 == 0xFFFF)
            return (uint)address >> 24 == 127 || Settings.IsOnNetwork((uint)address) ? HostEndpoint.Map(Settings.Host) : address;
        return address == 1 || IsLinkLocal(address) || Settings.IsOnNetwork6(address) ? Settings.Host6 : address;
    }

    internal static bool IsLinkLocal(UInt128 address) => address >> 118 == 0xFE80 >> 6;

    /// <summary>The hardware address of the guest's, or null after asking for it.</summary>
    internal ulong? FindMac(UInt128 address)
    {
        if (_neighbors.TryGetValue(address, out var mac))
            return mac;
        // Ask at most once a second.
        var now = Now;
        if (_asked.TryGetValue(address, out var last) && now - last < 1000)
            return null;
        if (_asked.Count >= MaxNeighbors)
            _asked.Clear();
        _asked[address] = now;
        if (address >> 32 == 0xFFFF)
            SendArpRequest((uint)address);
        else
            SendNeighborSolicitation(address);
        return null;
    }

    internal void Learn(UInt128 address, ulong mac)
    {
        if ((mac & 0x0100_0000_0000) != 0 || mac == 0)
            return;
        if (_neighbors.TryGetValue(address, out var old) && old == mac)
            return;
        if (_neighbors.Count >= MaxNeighbors)
            _neighbors.Clear();
        _neighbors[address] = mac;
        _ = _asked.Remove(address);
        Tcp.OnNeighbor(address);
    }

    private ulong MacOf(UInt128 source) => source >> 32 == 0xFFFF ? _mac4 : 0x5256_0000_0000UL | (uint)source;

    /// <summary>A buffer for a frame; null when the guest is behind.</summary>
    internal byte[]? Rent(int length) => Out.Rent(length);

    /// <summary>Writes the Ethernet and IP headers; the payload follows at the returned offset.</summary>
    internal int WriteHeaders(Span<byte> frame, UInt128 source, UInt128 destination, ulong mac, byte protocol, int payload, byte hops = 64)
    {
        Protocol.WriteMac(frame, mac);
        Protocol.WriteMac(frame[6..], MacOf(source));
        var ip = frame[Protocol.EthernetHeader..];
        if (destination >> 32 != 0xFFFF)
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[12..], Protocol.EtherIpv6);
            BinaryPrimitives.WriteUInt32BigEndian(ip, 0x6000_0000);
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)payload);
            ip[6] = protocol;
            ip[7] = hops;
            BinaryPrimitives.WriteUInt128BigEndian(ip[8..], source);
            BinaryPrimitives.WriteUInt128BigEndian(ip[24..], destination);
            return Protocol.EthernetHeader + Protocol.Ipv6Header;
        }

        BinaryPrimitives.WriteUInt16BigEndian(frame[12..], Protocol.EtherIpv4);
        WriteIpv4Header(ip, (uint)source, (uint)destination, protocol, payload, hops, _identification++, 0);
        return Protocol.EthernetHeader + Protocol.Ipv4Header;
    }

    /// <summary>The addresses in the headers that <see cref="WriteHeaders"/> wrote.</summary>
    internal static ReadOnlySpan<byte> AddressesOf(ReadOnlySpan<byte> frame, int transport) =>
        transport == Protocol.EthernetHeader + Protocol.Ipv6Header ? frame.Slice(transport - 32, 32) : frame.Slice(transport - 8, 8);

    /// <summary>Passes a packet to its protocol.</summary>
    private void Deliver(in IpPacket packet)
    {
        switch (packet.Protocol)
        {
            case Protocol.Tcp:
                Tcp.Input(packet);
                break;
            case Protocol.Udp:
                Udp.Input(packet);
                break;
            case Protocol.Icmp when !packet.IsIpv6:
                IcmpInput(packet);
                break;
            case Protocol.Icmpv6 when packet.IsIpv6:
                Icmpv6Input(packet);
                break;
        }
    }

    /// <summary>Sends a datagram whose first bytes are room for the UDP header.</summary>
    internal void SendDatagram(UInt128 source, ushort sourcePort, UInt128 destination, ushort port, Span<byte> datagram, ulong? mac = null)
    {
        BinaryPrimitives.WriteUInt16BigEndian(datagram, sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[2..], port);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[4..], (ushort)datagram.Length);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[6..], 0);
        Span<byte> addresses = stackalloc byte[32];
        BinaryPrimitives.WriteUInt128BigEndian(addresses, source);
        BinaryPrimitives.WriteUInt128BigEndian(addresses[16..], destination);
        // The mapped prefixes of IPv4 addresses add nothing: two times FFFFh is zero in ones' complement.
        var sum = (ushort)~Checksum.Fold(Checksum.Add(Checksum.PseudoHeader(addresses, Protocol.Udp, datagram.Length), datagram));
        BinaryPrimitives.WriteUInt16BigEndian(datagram[6..], sum == 0 ? (ushort)0xFFFF : sum);
        _ = SendPacket(source, destination, Protocol.Udp, datagram, mac);
    }
}
