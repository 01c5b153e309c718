using System.Buffers.Binary;

namespace Dromaius.Net.User;

/// <summary>Numbers of the protocols that the stack speaks.</summary>
internal static class Protocol
{
    public const ushort EtherIpv4 = 0x0800, EtherArp = 0x0806, EtherIpv6 = 0x86DD;
    public const byte Icmp = 1, Tcp = 6, Udp = 17, Fragment6 = 44, Icmpv6 = 58;
    public const int EthernetHeader = 14, Ipv4Header = 20, Ipv6Header = 40, UdpHeader = 8, TcpHeader = 20;
    public const int Mtu = 1500;
    public const ushort PortDns = 53, PortBootpServer = 67, PortBootpClient = 68, PortTftp = 69, PortDhcpv6Client = 546, PortDhcpv6Server = 547;

    /// <summary>A hardware address in the low 48 bits, as the stack keeps it.</summary>
    public static ulong ReadMac(ReadOnlySpan<byte> at) =>
        ((ulong)BinaryPrimitives.ReadUInt16BigEndian(at) << 32) | BinaryPrimitives.ReadUInt32BigEndian(at[2..]);

    public static void WriteMac(Span<byte> at, ulong mac)
    {
        BinaryPrimitives.WriteUInt16BigEndian(at, (ushort)(mac >> 32));
        BinaryPrimitives.WriteUInt32BigEndian(at[2..], (uint)mac);
    }
}

/// <summary>An IP packet that came in, checked as far as the network layer goes.</summary>
internal readonly ref struct IpPacket
{
    /// <summary>IPv4 addresses are mapped ones.</summary>
    public UInt128 Source { get; init; }
    public UInt128 Destination { get; init; }
    public bool IsIpv6 { get; init; }
    public byte Protocol { get; init; }
    public byte HopLimit { get; init; }

    /// <summary>From the network header to the end, for errors that quote it.</summary>
    public ReadOnlySpan<byte> Whole { get; init; }
    public ReadOnlySpan<byte> Payload { get; init; }

    /// <summary>Source and destination as they stand in the header, for the pseudo header.</summary>
    public ReadOnlySpan<byte> Addresses { get; init; }

    /// <summary>The transport's checksum need not be looked at.</summary>
    public bool IsTrusted { get; init; }

    public uint Destination4 => (uint)Destination;

    /// <summary>The checksum over the pseudo header and the payload is right.</summary>
    public bool HasGoodChecksum => IsTrusted || Checksum.Fold(Checksum.Add(Checksum.PseudoHeader(Addresses, Protocol, Payload.Length), Payload)) == 0xFFFF;
}
