using System.Buffers.Binary;

namespace Dromaius.Net.User;

/// <content>IPv6, neighbour discovery and router advertisement (RFC 8200, 4861, 8106).</content>
public sealed partial class UserStack
{
    private const byte HopByHop = 0, Routing = 43, DestinationOptions = 60;
    private const byte EchoRequest6 = 128, EchoReply6 = 129, RouterSolicitation = 133, RouterAdvertisement = 134, NeighborSolicitation = 135, NeighborAdvertisement = 136;
    private const byte OptionSourceLink = 1, OptionTargetLink = 2, OptionPrefix = 3, OptionDns = 25;
    private const uint ValidLifetime = 86_400, PreferredLifetime = 14_400;
    private const ushort RouterLifetime = 1800;
    private const long AdvertisementInterval = 200_000;

    private static readonly UInt128 AllNodes = ((UInt128)0xFF02 << 112) | 1;
    private static readonly UInt128 Router = ((UInt128)0xFE80 << 112) | 2;
    private long _nextAdvertisement = long.MaxValue;

    private static bool IsMulticast6(UInt128 address) => address >> 120 == 0xFF;

    private void Ipv6Input(ReadOnlySpan<byte> ip, ulong mac, in FrameOffload offload)
    {
        if (ip.Length < Protocol.Ipv6Header || ip[0] >> 4 != 6)
            return;
        int length = BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
        if (length > ip.Length - Protocol.Ipv6Header)
            return;
        var source = BinaryPrimitives.ReadUInt128BigEndian(ip[8..]);
        var destination = BinaryPrimitives.ReadUInt128BigEndian(ip[24..]);
        if (IsMulticast6(source) || source >> 32 == 0xFFFF || destination >> 32 == 0xFFFF)
            return;
        if (source != 0 && source != Settings.Host6 && source != Settings.Dns6 && source != Router && (IsLinkLocal(source) || Settings.IsOnNetwork6(source)))
            Learn(source, mac);
        var payload = ip.Slice(Protocol.Ipv6Header, length);
        var next = ip[6];
        var whole = false;
        while (true)
        {
            switch (next)
            {
                case HopByHop or Routing or DestinationOptions:
                    if (payload.Length < 8 || payload.Length < (payload[1] + 1) * 8)
                        return;
                    next = payload[0];
                    payload = payload[((payload[1] + 1) * 8)..];
                    continue;
                case Protocol.Fragment6 when !whole:
                    if (payload.Length < 8)
                        return;
                    var place = BinaryPrimitives.ReadUInt16BigEndian(payload[2..]);
                    var key = ((source ^ (destination << 7)) & ~(UInt128)uint.MaxValue) | BinaryPrimitives.ReadUInt32BigEndian(payload[4..]);
                    next = payload[0];
                    payload = _reassembler.Add(key, place & 0xFFF8, payload[8..], (place & 1) == 0, Now);
                    if (payload.IsEmpty)
                        return;
                    whole = true;
                    continue;
            }

            break;
        }

        Deliver(new IpPacket
        {
            Source = source, Destination = destination, IsIpv6 = true, Protocol = next, HopLimit = ip[7], Whole = ip[..(Protocol.Ipv6Header + length)],
            Payload = payload, Addresses = ip.Slice(8, 32),
            IsTrusted = !whole && (offload.NeedsChecksum || offload.DataValid || offload.Kind != SegmentKind.None),
        });
    }

    private void Icmpv6Input(in IpPacket packet)
    {
        var icmp = packet.Payload;
        if (icmp.Length < 8 || !packet.HasGoodChecksum)
            return;
        switch (icmp[0])
        {
            case EchoRequest6 when packet.Destination == Settings.Host6 || packet.Destination == Router || packet.Destination == Settings.Dns6:
                Echo(packet, EchoReply6, Protocol.Icmpv6);
                break;
            case EchoRequest6 when !Settings.Restrict && !IsMulticast6(packet.Destination):
                Udp.Echo(packet);
                break;
            case RouterSolicitation when packet.HopLimit == 255:
                Advertise();
                break;
            case NeighborSolicitation when packet.HopLimit == 255 && icmp.Length >= 24:
                AnswerSolicitation(packet, BinaryPrimitives.ReadUInt128BigEndian(icmp[8..]));
                break;
            case NeighborAdvertisement when packet.HopLimit == 255 && icmp.Length >= 32 && icmp[24] == OptionTargetLink:
                var target = BinaryPrimitives.ReadUInt128BigEndian(icmp[8..]);
                if (target != Settings.Host6 && target != Settings.Dns6 && target != Router && (IsLinkLocal(target) || Settings.IsOnNetwork6(target)))
                    Learn(target, Protocol.ReadMac(icmp[26..]));
                break;
        }
    }

    /// <summary>Tells all nodes of the prefix, the router and the name server.</summary>
    private void Advertise()
    {
        _nextAdvertisement = Now + AdvertisementInterval;
        var hasDns = Resolver.Ipv6 != null;
        Span<byte> message = stackalloc byte[hasDns ? 80 : 56];
        message.Clear();
        message[0] = RouterAdvertisement;
        message[4] = 64;
        // Addresses come from the prefix, other things by DHCPv6.
        message[5] = 0x40;
        BinaryPrimitives.WriteUInt16BigEndian(message[6..], RouterLifetime);
        message[16] = OptionSourceLink;
        message[17] = 1;
        Protocol.WriteMac(message[18..], MacOf(Router));
        var prefix = message[24..];
        prefix[0] = OptionPrefix;
        prefix[1] = 4;
        prefix[2] = (byte)Settings.PrefixLength6;
        prefix[3] = 0xC0;
        BinaryPrimitives.WriteUInt32BigEndian(prefix[4..], ValidLifetime);
        BinaryPrimitives.WriteUInt32BigEndian(prefix[8..], PreferredLifetime);
        BinaryPrimitives.WriteUInt128BigEndian(prefix[16..], Settings.Prefix6);
        if (hasDns)
        {
            var dns = message[56..];
            dns[0] = OptionDns;
            dns[1] = 3;
            BinaryPrimitives.WriteUInt32BigEndian(dns[4..], 1200);
            BinaryPrimitives.WriteUInt128BigEndian(dns[8..], Settings.Dns6);
        }

        SendNeighborMessage(message, Router, AllNodes, 0x3333_0000_0001);
    }

    private void AnswerSolicitation(in IpPacket packet, UInt128 target)
    {
        if (target != Settings.Host6 && target != Settings.Dns6 && target != Router)
            return;
        Span<byte> message = stackalloc byte[32];
        message.Clear();
        message[0] = NeighborAdvertisement;
        // Router, override; solicited unless the asker has no address yet.
        message[4] = (byte)(packet.Source == 0 ? 0xA0 : 0xE0);
        BinaryPrimitives.WriteUInt128BigEndian(message[8..], target);
        message[24] = OptionTargetLink;
        message[25] = 1;
        Protocol.WriteMac(message[26..], MacOf(target));
        if (packet.Source == 0)
            SendNeighborMessage(message, target, AllNodes, 0x3333_0000_0001);
        else if (FindMac(packet.Source) is { } mac)
            SendNeighborMessage(message, target, packet.Source, mac);
    }

    private void SendNeighborSolicitation(UInt128 target)
    {
        Span<byte> message = stackalloc byte[32];
        message.Clear();
        message[0] = NeighborSolicitation;
        BinaryPrimitives.WriteUInt128BigEndian(message[8..], target);
        message[24] = OptionSourceLink;
        message[25] = 1;
        Protocol.WriteMac(message[26..], MacOf(Settings.Host6));
        var group = ((UInt128)0xFF02 << 112) | ((UInt128)0x1_FF << 24) | (target & 0xFF_FFFF);
        SendNeighborMessage(message, Settings.Host6, group, 0x3333_0000_0000UL | (uint)group);
    }

    private void SendNeighborMessage(Span<byte> message, UInt128 source, UInt128 destination, ulong mac)
    {
        SetIcmpChecksum(message, Protocol.Icmpv6, source, destination);
        _ = SendPacket(source, destination, Protocol.Icmpv6, message, mac, 255);
    }
}
