using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Dromaius.Core.Sockets;
using Dromaius.Net.User;

namespace Dromaius.Net.Tests;

/// <summary>What the gateway answers itself, and UDP through the host.</summary>
public sealed class StackTests
{
    [Theory]
    [InlineData(TestGuest.Gateway, true)]
    [InlineData(TestGuest.NameServer, true)]
    [InlineData(0x0A00_0207, false)]
    public void AnswersArpForItself(uint target, bool answers)
    {
        using var guest = new TestGuest();
        var arp = new byte[28];
        BinaryPrimitives.WriteUInt64BigEndian(arp, 0x0001_0800_0604_0001);
        Protocol.WriteMac(arp.AsSpan(8), TestGuest.Mac);
        BinaryPrimitives.WriteUInt32BigEndian(arp.AsSpan(14), TestGuest.Address);
        BinaryPrimitives.WriteUInt32BigEndian(arp.AsSpan(24), target);
        guest.Send(TestGuest.Ethernet(0x0806, arp, 0xFFFF_FFFF_FFFF));
        guest.Turn();
        Assert.Equal(answers, guest.Received.Count == 1);
        if (!answers)
            return;
        var reply = guest.Received.Dequeue().Frame;
        Assert.Equal(2, TestGuest.Word(reply, 20));
        Assert.Equal(0x5255_0000_0000UL | target, Protocol.ReadMac(reply.AsSpan(22)));
        Assert.Equal(target, TestGuest.Dword(reply, 28));
    }

    [Fact]
    public void LeasesAddresses()
    {
        using var guest = new TestGuest(new UserNetSettings { HostName = "box", DomainName = "example.org", DnsSearch = ["a.b", "c"], BootFile = "x.0", TftpServerName = "srv" });
        var offer = Dhcp(guest, 1, null);
        Assert.Equal(TestGuest.Address, TestGuest.Dword(offer, 16));
        Assert.Equal(TestGuest.Gateway, TestGuest.Dword(offer, 20));
        Assert.Equal("x.0", Encoding.ASCII.GetString(offer, 108, 3));
        var options = Options(offer);
        Assert.Equal([53, 54, 1, 3, 6, 51, 12, 15, 66, 119], options.Select(static o => (int)o.Code));
        Assert.Equal([2], options[0].Value);
        Assert.Equal([10, 0, 2, 3], options[4].Value);
        Assert.Equal("\u0001a\u0001b\0\u0001c\0"u8.ToArray(), options[9].Value);
        var ack = Dhcp(guest, 3, TestGuest.Address);
        Assert.Equal([5], Options(ack)[0].Value);
        Assert.Equal([6], Options(Dhcp(guest, 3, 0x0A00_0299))[0].Value);
    }

    [Fact]
    public void RestrictedLeasesNameNoGateway()
    {
        using var guest = new TestGuest(new UserNetSettings { Restrict = true });
        Assert.Equal([53, 54, 1, 51], Options(Dhcp(guest, 1, null)).Select(static o => (int)o.Code));
    }

    [Fact]
    public void EchoesForItself()
    {
        using var guest = new TestGuest();
        var icmp = new byte[64];
        icmp[0] = 8;
        icmp[20] = 77;
        BinaryPrimitives.WriteUInt16BigEndian(icmp.AsSpan(2), Checksum.Of(icmp));
        guest.Send(TestGuest.Ipv4(1, TestGuest.Gateway, icmp));
        var reply = guest.Next(static f => TestGuest.IsIpv4(f, 1));
        TestGuest.CheckSums(reply);
        Assert.Equal(0, reply[34]);
        Assert.Equal(77, reply[54]);
        Assert.Equal(0, Checksum.Of(reply.AsSpan(34, 64)));
    }

    [Fact]
    public void UdpReachesTheHostAndComesBack()
    {
        using var guest = new TestGuest();
        using var server = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        var port = (ushort)((IPEndPoint)server.Client.LocalEndPoint!).Port;
        guest.Send(TestGuest.Ipv4(17, TestGuest.Gateway, TestGuest.Udp(4000, port, "ask"u8)));
        IPEndPoint? from = null;
        Assert.Equal("ask"u8.ToArray(), server.Receive(ref from));
        server.Send("answer"u8, from);
        var reply = guest.Next(static f => TestGuest.IsIpv4(f, 17));
        TestGuest.CheckSums(reply);
        Assert.Equal("answer"u8.ToArray(), TestGuest.UdpData(reply));
        Assert.Equal(TestGuest.Gateway, TestGuest.Dword(reply, 26));
        Assert.Equal(port, TestGuest.Word(reply, 34));
        Assert.Equal(4000, TestGuest.Word(reply, 36));
    }

    [Fact]
    public void LongDatagramsAreFragmented()
    {
        using var guest = new TestGuest();
        using var server = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        var port = (ushort)((IPEndPoint)server.Client.LocalEndPoint!).Port;
        var data = new byte[5000];
        Random.Shared.NextBytes(data);
        var udp = TestGuest.Udp(4000, port, data);
        // Out of order, the last one first.
        for (var at = udp.Length / 1480 * 1480; at >= 0; at -= 1480)
        {
            var part = udp.AsSpan(at, Math.Min(1480, udp.Length - at));
            guest.Send(TestGuest.Ipv4(17, TestGuest.Gateway, part, fragment: (ushort)((at / 8) | (at + 1480 < udp.Length ? 0x2000 : 0))));
        }

        IPEndPoint? from = null;
        Assert.Equal(data, server.Receive(ref from));
        server.Send(data, from);
        var back = new byte[udp.Length];
        var got = 0;
        while (got < back.Length)
        {
            var frame = guest.Next(static f => TestGuest.IsIpv4(f, 17));
            var length = TestGuest.Word(frame, 16) - 20;
            frame.AsSpan(34, length).CopyTo(back.AsSpan((TestGuest.Word(frame, 20) & 0x1FFF) * 8));
            got += length;
        }

        Assert.Equal(data, back[8..]);
    }

    [Fact]
    public void RestrictedGuestsReachNothing()
    {
        using var guest = new TestGuest(new UserNetSettings { Restrict = true });
        using var server = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        var port = (ushort)((IPEndPoint)server.Client.LocalEndPoint!).Port;
        guest.Send(TestGuest.Ipv4(17, TestGuest.Gateway, TestGuest.Udp(4000, port, "ask"u8)));
        guest.Turn(20);
        Assert.Equal(0, server.Available);
    }

    [Fact]
    public void ForwardsDatagramsToTheGuest()
    {
        using var guest = new TestGuest();
        guest.Stack.Learn(HostEndpoint.Map(TestGuest.Address), TestGuest.Mac);
        var port = FreePort();
        Assert.Equal(0, guest.Stack.Udp.AddForward(HostEndpoint.OfIpv4(0x7F00_0001, port), HostEndpoint.OfIpv4(TestGuest.Address, 53)));
        using var client = new UdpClient();
        client.Connect(IPAddress.Loopback, port);
        client.Send("hello"u8);
        var frame = guest.Next(static f => TestGuest.IsIpv4(f, 17));
        Assert.Equal("hello"u8.ToArray(), TestGuest.UdpData(frame));
        Assert.Equal(TestGuest.Gateway, TestGuest.Dword(frame, 26));
        guest.Send(TestGuest.Ipv4(17, TestGuest.Gateway, TestGuest.Udp(53, TestGuest.Word(frame, 34), "back"u8)));
        IPEndPoint? from = null;
        Assert.Equal("back"u8.ToArray(), client.Receive(ref from));
    }

    internal static ushort FreePort()
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return (ushort)((IPEndPoint)probe.LocalEndPoint!).Port;
    }

    private static byte[] Dhcp(TestGuest guest, byte type, uint? requested)
    {
        var message = new byte[260];
        message[0] = message[1] = 1;
        message[2] = 6;
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(4), 0x1234_5678);
        Protocol.WriteMac(message.AsSpan(28), TestGuest.Mac);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(236), 0x6382_5363);
        byte[] options = requested is { } r ? [53, 1, type, 50, 4, (byte)(r >> 24), (byte)(r >> 16), (byte)(r >> 8), (byte)r, 255] : [53, 1, type, 255];
        options.CopyTo(message, 240);
        guest.Send(TestGuest.Ipv4(17, uint.MaxValue, TestGuest.Udp(68, 67, message), from: 0));
        var reply = guest.Next(static f => TestGuest.IsIpv4(f, 17));
        TestGuest.CheckSums(reply);
        return TestGuest.UdpData(reply);
    }

    private static List<(byte Code, byte[] Value)> Options(byte[] message)
    {
        var list = new List<(byte, byte[])>();
        for (var at = 240; message[at] != 255; at += 2 + message[at + 1])
            list.Add((message[at], message[(at + 2)..(at + 2 + message[at + 1])]));
        return list;
    }

    /// <summary>An acknowledgement of the block before the first is none.</summary>
    [Fact]
    public void TftpGoesOnAfterWrongAcknowledgements()
    {
        var folder = Directory.CreateTempSubdirectory("dromaius-tftp-").FullName;
        File.WriteAllBytes(Path.Combine(folder, "file"), new byte[3000]);
        using (var guest = new TestGuest(new UserNetSettings { TftpFolder = folder }))
        {
            Tftp("\0\u0001file\0octet\0blksize\01024\0"u8);
            guest.Next(static f => IsTftp(f, 6));
            Tftp([0, 4, 0xFF, 0xFF]);
            Tftp([0, 4, 0, 0]);
            var block = guest.Next(static f => IsTftp(f, 3));
            Assert.Equal(1, block[14 + 20 + 8 + 3]);

            void Tftp(ReadOnlySpan<byte> message)
            {
                guest.Send(TestGuest.Ipv4(17, TestGuest.Gateway, TestGuest.Udp(5000, 69, message)));
                guest.Turn();
            }
        }

        Directory.Delete(folder, recursive: true);

        static bool IsTftp(byte[] frame, int opcode) => frame.Length > 44 && frame[23] == 17 && frame[42] == 0 && frame[43] == opcode;
    }
}
