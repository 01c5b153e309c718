using System.Buffers.Binary;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <content>ARP, IPv4 with fragments, ICMP.</content>
public sealed partial class UserStack
{
    private const int ArpLength = 28;
    private const ushort ArpRequest = 1, ArpReply = 2, MoreFragments = 0x2000, OffsetMask = 0x1FFF;
    private const byte EchoReply = 0, Unreachable = 3, EchoRequest = 8;

    internal const byte NetUnreachable = 0, HostUnreachable = 1, PortUnreachable = 3;

    private readonly Reassembler _reassembler = new();
    private ushort _identification;

    private void ArpInput(ReadOnlySpan<byte> arp)
    {
        if (arp.Length < ArpLength || BinaryPrimitives.ReadUInt64BigEndian(arp) >> 16 != 0x0001_0800_0604)
            return;
        var operation = BinaryPrimitives.ReadUInt16BigEndian(arp[6..]);
        var mac = Protocol.ReadMac(arp[8..]);
        var sender = BinaryPrimitives.ReadUInt32BigEndian(arp[14..]);
        var target = BinaryPrimitives.ReadUInt32BigEndian(arp[24..]);
        if (IsGuestAddress(sender))
            Learn(HostEndpoint.Map(sender), mac);
        // A probe of a guest for its own address must stay unanswered.
        if (operation == ArpRequest && sender != target && (target == Settings.Host || target == Settings.Dns || Tcp.IsForwardTarget(target)))
            SendArp(ArpReply, mac, target, mac, sender);
    }

    private bool IsGuestAddress(uint address) =>
        Settings.IsOnNetwork(address) && address != Settings.Host && address != Settings.Dns && address != Settings.Network && (address | Settings.Mask) != uint.MaxValue;

    private void SendArpRequest(uint target) => SendArp(ArpRequest, 0xFFFF_FFFF_FFFF, Settings.Host, 0, target);

    private void SendArp(ushort operation, ulong to, uint senderAddress, ulong targetMac, uint targetAddress)
    {
        const int Length = 60;
        if (Rent(Length) is not { } frame)
            return;
        frame.AsSpan(0, Length).Clear();
        var senderMac = 0x5255_0000_0000UL | senderAddress;
        Protocol.WriteMac(frame, to);
        Protocol.WriteMac(frame.AsSpan(6), senderMac);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), Protocol.EtherArp);
        var arp = frame.AsSpan(Protocol.EthernetHeader);
        BinaryPrimitives.WriteUInt64BigEndian(arp, (0x0001_0800_0604UL << 16) | operation);
        Protocol.WriteMac(arp[8..], senderMac);
        BinaryPrimitives.WriteUInt32BigEndian(arp[14..], senderAddress);
        Protocol.WriteMac(arp[18..], targetMac);
        BinaryPrimitives.WriteUInt32BigEndian(arp[24..], targetAddress);
        Out.Add(frame, Length, default);
    }

    private void Ipv4Input(ReadOnlySpan<byte> ip, ulong mac, in FrameOffload offload)
    {
        if (ip.Length < Protocol.Ipv4Header || ip[0] >> 4 != 4)
            return;
        var header = (ip[0] & 15) * 4;
        int total = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]);
        if (header < Protocol.Ipv4Header || total < header || total > ip.Length || Checksum.Fold(Checksum.Add(0, ip[..header])) != 0xFFFF)
            return;
        ip = ip[..total];
        var source = BinaryPrimitives.ReadUInt32BigEndian(ip[12..]);
        if (IsGuestAddress(source))
            Learn(HostEndpoint.Map(source), mac);
        var packet = new IpPacket
        {
            Source = HostEndpoint.Map(source),
            Destination = HostEndpoint.Map(BinaryPrimitives.ReadUInt32BigEndian(ip[16..])),
            Protocol = ip[9],
            HopLimit = ip[8],
            Whole = ip,
            Payload = ip[header..],
            Addresses = ip.Slice(12, 8),
            IsTrusted = offload.NeedsChecksum || offload.DataValid || offload.Kind != SegmentKind.None,
        };
        var fragment = BinaryPrimitives.ReadUInt16BigEndian(ip[6..]);
        if ((fragment & (MoreFragments | OffsetMask)) == 0)
        {
            Deliver(packet);
            return;
        }

        var key = ((UInt128)BinaryPrimitives.ReadUInt64BigEndian(ip[12..]) << 24) | ((uint)BinaryPrimitives.ReadUInt16BigEndian(ip[4..]) << 8) | ip[9];
        var whole = _reassembler.Add(key, (fragment & OffsetMask) * 8, packet.Payload, (fragment & MoreFragments) == 0, Now);
        if (whole.IsEmpty)
            return;
        Deliver(new IpPacket
        {
            Source = packet.Source, Destination = packet.Destination, Protocol = packet.Protocol, HopLimit = packet.HopLimit, Whole = ip,
            Payload = whole, Addresses = packet.Addresses,
        });
    }

    private static void WriteIpv4Header(Span<byte> ip, uint source, uint destination, byte protocol, int payload, byte hops, ushort identification,
        ushort fragment)
    {
        ip[0] = 0x45;
        ip[1] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(Protocol.Ipv4Header + payload));
        BinaryPrimitives.WriteUInt16BigEndian(ip[4..], identification);
        BinaryPrimitives.WriteUInt16BigEndian(ip[6..], fragment);
        ip[8] = hops;
        ip[9] = protocol;
        ip[10] = ip[11] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(ip[12..], source);
        BinaryPrimitives.WriteUInt32BigEndian(ip[16..], destination);
        BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Checksum.Of(ip[..Protocol.Ipv4Header]));
    }

    /// <summary>Sends a packet, in fragments if it must be; false when the guest is behind.</summary>
    internal bool SendPacket(UInt128 source, UInt128 destination, byte protocol, ReadOnlySpan<byte> payload, ulong? mac = null, byte hops = 64)
    {
        mac ??= FindMac(destination);
        if (mac is not { } to)
            return true;
        var isIpv6 = destination >> 32 != 0xFFFF;
        var room = Protocol.Mtu - (isIpv6 ? Protocol.Ipv6Header : Protocol.Ipv4Header);
        if (payload.Length <= room)
        {
            if (Rent(Protocol.EthernetHeader + Protocol.Mtu) is not { } frame)
                return false;
            var at = WriteHeaders(frame, source, destination, to, protocol, payload.Length, hops);
            payload.CopyTo(frame.AsSpan(at));
            AddPadded(frame, at + payload.Length);
            return true;
        }

        // Whole fragments count in eights; IPv6 says so in a header of its own.
        var identification = _identification++;
        var step = (isIpv6 ? room - 8 : room) & ~7;
        for (var offset = 0; offset < payload.Length; offset += step)
        {
            var part = payload.Slice(offset, Math.Min(step, payload.Length - offset));
            var more = offset + part.Length < payload.Length;
            if (Rent(Protocol.EthernetHeader + Protocol.Mtu) is not { } frame)
                return offset > 0;
            var at = WriteHeaders(frame, source, destination, to, isIpv6 ? Protocol.Fragment6 : protocol, part.Length + (isIpv6 ? 8 : 0), hops);
            if (isIpv6)
            {
                frame[at] = protocol;
                frame[at + 1] = 0;
                BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(at + 2), (ushort)(offset | (more ? 1 : 0)));
                BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(at + 4), identification);
                at += 8;
            }
            else
            {
                WriteIpv4Header(frame.AsSpan(Protocol.EthernetHeader), (uint)source, (uint)destination, protocol, part.Length, hops, identification,
                    (ushort)((offset / 8) | (more ? MoreFragments : 0)));
            }

            part.CopyTo(frame.AsSpan(at));
            AddPadded(frame, at + part.Length);
        }

        return true;
    }

    /// <summary>Queues a frame, filled up to the least length of Ethernet.</summary>
    internal void AddPadded(byte[] frame, int length)
    {
        const int Least = 60;
        if (length < Least)
        {
            frame.AsSpan(length, Least - length).Clear();
            length = Least;
        }

        Out.Add(frame, length, default);
    }

    private void IcmpInput(in IpPacket packet)
    {
        var icmp = packet.Payload;
        if (icmp.Length < 8 || Checksum.Of(icmp) != 0 || icmp[0] != EchoRequest)
            return;
        if (packet.Destination4 == Settings.Host || packet.Destination4 == Settings.Dns)
        {
            Echo(packet, EchoReply, Protocol.Icmp);
            return;
        }

        if (!Settings.Restrict)
            Udp.Echo(packet);
    }

    /// <summary>Sends an echo request back as a reply.</summary>
    private void Echo(in IpPacket packet, byte type, byte protocol)
    {
        var reply = Scratch[..packet.Payload.Length];
        packet.Payload.CopyTo(reply);
        reply[0] = type;
        SetIcmpChecksum(reply, protocol, packet.Destination, packet.Source);
        _ = SendPacket(packet.Destination, packet.Source, protocol, reply);
    }

    internal static void SetIcmpChecksum(Span<byte> message, byte protocol, UInt128 source, UInt128 destination)
    {
        message[2] = message[3] = 0;
        var sum = 0UL;
        if (protocol == Protocol.Icmpv6)
        {
            Span<byte> addresses = stackalloc byte[32];
            BinaryPrimitives.WriteUInt128BigEndian(addresses, source);
            BinaryPrimitives.WriteUInt128BigEndian(addresses[16..], destination);
            sum = Checksum.PseudoHeader(addresses, protocol, message.Length);
        }

        BinaryPrimitives.WriteUInt16BigEndian(message[2..], (ushort)~Checksum.Fold(Checksum.Add(sum, message)));
    }

    /// <summary>Tells the guest that a packet cannot be delivered.</summary>
    internal void SendUnreachable(in IpPacket packet, byte code)
    {
        var quoted = packet.Whole[..Math.Min(packet.Whole.Length, packet.IsIpv6 ? 1232 : 548)];
        Span<byte> message = stackalloc byte[8 + quoted.Length];
        message.Clear();
        quoted.CopyTo(message[8..]);
        if (packet.IsIpv6)
        {
            (message[0], message[1]) = (1, code == PortUnreachable ? (byte)4 : code == NetUnreachable ? (byte)0 : (byte)3);
            SetIcmpChecksum(message, Protocol.Icmpv6, Settings.Host6, packet.Source);
            _ = SendPacket(Settings.Host6, packet.Source, Protocol.Icmpv6, message);
            return;
        }

        (message[0], message[1]) = (Unreachable, code);
        SetIcmpChecksum(message, Protocol.Icmp, 0, 0);
        _ = SendPacket(HostEndpoint.Map(Settings.Host), packet.Source, Protocol.Icmp, message);
    }
}
