using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Dromaius.Net.User;

namespace Dromaius.Net.Tests;

/// <summary>What the gateway does over IPv6: advertisements, neighbours, echoes, DHCPv6, UDP through the host.</summary>
public sealed class Ipv6Tests
{
    private static readonly UInt128 LinkLocal = ((UInt128)0xFE80 << 112) | 0x15, Routed = ((UInt128)0xFEC0 << 112) | 0x15;
    private static readonly UInt128 Gateway = ((UInt128)0xFEC0 << 112) | 2, Router = ((UInt128)0xFE80 << 112) | 2;
    private static readonly UInt128 AllRouters = ((UInt128)0xFF02 << 112) | 2, AllDhcp = ((UInt128)0xFF02 << 112) | 0x1_0002;
    private const byte Icmp = 58, Udp = 17;
    private const int Payload = 54;

    private static byte[] Packet(byte protocol, UInt128 from, UInt128 to, byte[] payload, byte hops = 255)
    {
        var ip = new byte[40 + payload.Length];
        ip[0] = 0x60;
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), (ushort)payload.Length);
        ip[6] = protocol;
        ip[7] = hops;
        BinaryPrimitives.WriteUInt128BigEndian(ip.AsSpan(8), from);
        BinaryPrimitives.WriteUInt128BigEndian(ip.AsSpan(24), to);
        payload.CopyTo(ip, 40);
        var at = 40 + (protocol == Icmp ? 2 : 6);
        var sum = Checksum.Add(Checksum.PseudoHeader(ip.AsSpan(8, 32), protocol, payload.Length), payload);
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(at), (ushort)~Checksum.Fold(sum));
        return TestGuest.Ethernet(0x86DD, ip, 0x5256_0000_0002);
    }

    /// <summary>The next packet of a protocol that begins with this byte; its checksum is right.</summary>
    private static byte[] Next(TestGuest guest, byte protocol, byte first)
    {
        var frame = guest.Next(f => f.Length > Payload && TestGuest.Word(f, 12) == 0x86DD && f[20] == protocol && f[Payload] == first);
        var length = TestGuest.Word(frame, 18);
        var sum = Checksum.Add(Checksum.PseudoHeader(frame.AsSpan(22, 32), protocol, length), frame.AsSpan(Payload, length));
        Assert.Equal(0xFFFF, Checksum.Fold(sum));
        return frame;
    }

    private static UInt128 Address(byte[] frame, int at) => BinaryPrimitives.ReadUInt128BigEndian(frame.AsSpan(at));

    [Fact]
    public void AdvertisesItsPrefix()
    {
        using var guest = new TestGuest();
        guest.Send(Packet(Icmp, LinkLocal, AllRouters, [133, 0, 0, 0, 0, 0, 0, 0]));
        guest.Turn();
        var frame = Next(guest, Icmp, 134);
        Assert.Equal(Router, Address(frame, 22));
        Assert.Equal(255, frame[21]);
        // Other configuration comes by DHCPv6.
        Assert.Equal(0x40, frame[Payload + 5]);
        Assert.Equal([3, 4, 64, 0xC0], frame.AsSpan(Payload + 24, 4).ToArray());
        Assert.Equal((UInt128)0xFEC0 << 112, Address(frame, Payload + 40));
    }

    [Fact]
    public void AnswersNeighboursAndEchoes()
    {
        using var guest = new TestGuest();
        var solicitation = new byte[24];
        solicitation[0] = 135;
        BinaryPrimitives.WriteUInt128BigEndian(solicitation.AsSpan(8), Gateway);
        guest.Send(Packet(Icmp, Routed, Gateway, solicitation));
        guest.Turn();
        var answer = Next(guest, Icmp, 136);
        Assert.Equal(0xE0, answer[Payload + 4]);
        Assert.Equal(Gateway, Address(answer, Payload + 8));
        Assert.Equal(0x5256_0000_0002UL, Protocol.ReadMac(answer.AsSpan(Payload + 26)));

        guest.Send(Packet(Icmp, Routed, Gateway, [128, 0, 0, 0, 0, 9, 0, 1, .. "hello"u8]));
        guest.Turn();
        var echo = Next(guest, Icmp, 129);
        Assert.Equal([0, 9, 0, 1, .. "hello"u8], echo.AsSpan(Payload + 4, 9).ToArray());
    }

    /// <summary>An information request: the reply has the client's and the server's identifier, and what was asked for.</summary>
    [Fact]
    public void InformsByDhcp()
    {
        using var guest = new TestGuest(new UserNetSettings { BootFile = "boot.efi", DnsSearch = ["a.b"] });
        byte[] message = [11, 1, 2, 3, 0, 1, 0, 4, 0xA, 0xB, 0xC, 0xD, 0, 6, 0, 4, 0, 24, 0, 59];
        guest.Send(Packet(Udp, LinkLocal, AllDhcp, TestGuest.Udp(546, 547, message)));
        guest.Turn();
        var reply = Next(guest, Udp, 547 >> 8);
        Assert.Equal(547, TestGuest.Word(reply, Payload));
        Assert.Equal(546, TestGuest.Word(reply, Payload + 2));
        var body = reply.AsSpan(Payload + 8, TestGuest.Word(reply, Payload + 4) - 8);
        Assert.Equal([7, 1, 2, 3], body[..4].ToArray());
        var options = new Dictionary<int, byte[]>();
        for (var rest = body[4..]; rest.Length >= 4; rest = rest[(4 + BinaryPrimitives.ReadUInt16BigEndian(rest[2..]))..])
            options.Add(BinaryPrimitives.ReadUInt16BigEndian(rest), rest.Slice(4, BinaryPrimitives.ReadUInt16BigEndian(rest[2..])).ToArray());
        Assert.Equal([1, 2, 24, 59], options.Keys.Order());
        Assert.Equal([0xA, 0xB, 0xC, 0xD], options[1]);
        Assert.Equal("\u0001a\u0001b\0"u8.ToArray(), options[24]);
        Assert.Equal("tftp://[fec0::2]/boot.efi", Encoding.UTF8.GetString(options[59]));
    }

    [Fact]
    public void UdpReachesTheHostAndComesBack()
    {
        using var host = new UdpClient(new IPEndPoint(IPAddress.IPv6Loopback, 0));
        var port = (ushort)((IPEndPoint)host.Client.LocalEndPoint!).Port;
        using var guest = new TestGuest();
        guest.Send(Packet(Udp, Routed, Gateway, TestGuest.Udp(5000, port, "ping"u8)));
        guest.Turn();
        host.Client.ReceiveTimeout = 30_000;
        var from = new IPEndPoint(IPAddress.IPv6Any, 0);
        Assert.Equal("ping"u8.ToArray(), host.Receive(ref from));
        host.Send("pong"u8, from);
        var reply = Next(guest, Udp, (byte)(port >> 8));
        Assert.Equal(Gateway, Address(reply, 22));
        Assert.Equal(Routed, Address(reply, 38));
        Assert.Equal("pong"u8.ToArray(), reply.AsSpan(Payload + 8, 4).ToArray());
    }

    [Fact]
    public void RestrictedGuestsReachNothing()
    {
        using var host = new UdpClient(new IPEndPoint(IPAddress.IPv6Loopback, 0));
        var port = (ushort)((IPEndPoint)host.Client.LocalEndPoint!).Port;
        using var guest = new TestGuest(new UserNetSettings { Restrict = true });
        guest.Send(Packet(Udp, Routed, Gateway, TestGuest.Udp(5000, port, "ping"u8)));
        guest.Turn(50);
        Assert.Equal(0, host.Available);
    }
}
