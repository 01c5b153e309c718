using System.Buffers.Binary;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// Where the headers of a received frame are: what checks of checksums, receive hashes and splits of headers start from. Sources: RFC 791,
/// 8200, 9293, 768.
/// </summary>
internal readonly record struct FrameHeaders
{
    public const byte Tcp = 6, Udp = 17;
    private const int EthernetHeader = 14, VlanTag = 4, Ipv4Header = 20, Ipv6Header = 40, TcpHeader = 20, UdpHeader = 8;

    /// <summary>Offset of the IP header.</summary>
    public int Network { get; private init; }

    /// <summary>Offset of what the IP header carries; 0 if the frame holds no sound IP packet.</summary>
    public int Transport { get; private init; }

    /// <summary>Offset of the end of the IP packet; padding follows.</summary>
    public int End { get; private init; }
    public byte Protocol { get; private init; }
    public bool IsIpv4 { get; private init; }

    /// <summary>Only a part of an IP packet, the transport's header may be elsewhere.</summary>
    public bool IsFragment { get; private init; }

    public bool IsIp => Transport > 0;
    public bool IsIpv6 => IsIp && !IsIpv4;
    public bool HasTcp => Protocol == Tcp && !IsFragment && End - Transport >= TcpHeader;
    public bool HasUdp => Protocol == Udp && !IsFragment && End - Transport >= UdpHeader;

    /// <param name="frame">From the Ethernet header on.</param>
    /// <param name="vlanType">What a VLAN tag begins with.</param>
    public static FrameHeaders Parse(ReadOnlySpan<byte> frame, int vlanType = 0x8100)
    {
        if (frame.Length < EthernetHeader + Ipv4Header)
            return default;
        var network = EthernetHeader;
        int type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        if (type == vlanType && frame.Length >= EthernetHeader + VlanTag + Ipv4Header)
        {
            network += VlanTag;
            type = BinaryPrimitives.ReadUInt16BigEndian(frame[(network - 2)..]);
        }

        var ip = frame[network..];
        int header, length;
        if (type == 0x0800 && ip[0] >> 4 == 4)
        {
            header = (ip[0] & 15) * 4;
            length = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]);
        }
        else if (type == 0x86DD && ip[0] >> 4 == 6 && ip.Length >= Ipv6Header)
        {
            header = Ipv6Header;
            length = Ipv6Header + BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
        }
        else
            return default;

        if (header < Ipv4Header || length < header || length > ip.Length)
            return default;
        var isIpv4 = type == 0x0800;
        return new FrameHeaders
        {
            Network = network,
            Transport = network + header,
            End = network + length,
            Protocol = ip[isIpv4 ? 9 : 6],
            IsIpv4 = isIpv4,
            IsFragment = isIpv4 && (BinaryPrimitives.ReadUInt16BigEndian(ip[6..]) & 0x3FFF) != 0,
        };
    }

    /// <summary>Source and destination.</summary>
    public ReadOnlySpan<byte> Addresses(ReadOnlySpan<byte> frame) => IsIpv4 ? frame.Slice(Network + 12, 8) : frame.Slice(Network + 8, 32);

    /// <summary>The checksum of an IPv4 header is right.</summary>
    public bool IsIpv4Good(ReadOnlySpan<byte> frame) => Checksum.Of(frame[Network..Transport]) == 0;

    /// <summary>There is a checksum of TCP or UDP in the frame.</summary>
    public bool HasTransportChecksum(ReadOnlySpan<byte> frame) => HasTcp || (HasUdp && (frame[Transport + 6] | frame[Transport + 7]) != 0);

    /// <summary>It is right.</summary>
    public bool IsTransportGood(ReadOnlySpan<byte> frame) =>
        Checksum.Fold(Checksum.Add(Checksum.PseudoHeader(Addresses(frame), Protocol, End - Transport), frame[Transport..End])) == 0xFFFF;

    /// <summary>Offset of the data behind the headers of TCP or UDP; of the transport's header if it is neither.</summary>
    public int Payload(ReadOnlySpan<byte> frame) =>
        HasTcp ? Math.Min(Transport + Math.Max((frame[Transport + 12] >> 4) * 4, TcpHeader), End) : HasUdp ? Transport + UdpHeader : Transport;
}
