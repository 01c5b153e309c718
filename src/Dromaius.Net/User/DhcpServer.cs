using System.Buffers.Binary;
using System.Text;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>
/// Leases addresses to guests and tells them of the gateway, name server, names and boot file; also answers BOOTP and DHCPv6
/// information requests. Sources: RFC 951, 2131, 2132, 3397, 8415.
/// </summary>
internal sealed class DhcpServer(UserStack stack)
{
    private const int MaxLeases = 16, FixedLength = 236, MessageLength = 548;
    private const uint Cookie = 0x6382_5363, LeaseSeconds = 86_400;
    private const byte Discover = 1, Offer = 2, Request = 3, Ack = 5, Nak = 6;
    private const byte OptionMask = 1, OptionRouter = 3, OptionDns = 6, OptionHostName = 12, OptionDomainName = 15, OptionRequested = 50, OptionLease = 51,
        OptionType = 53, OptionServer = 54, OptionMessage = 56, OptionTftpServer = 66, OptionSearch = 119, OptionEnd = 255;

    private readonly ulong[] _leases = new ulong[MaxLeases];

    public void Input(ReadOnlySpan<byte> message)
    {
        if (message.Length < FixedLength || message[0] != 1 || message[2] != 6)
            return;
        byte type = 0;
        uint requested = 0;
        if (message.Length >= FixedLength + 4 && BinaryPrimitives.ReadUInt32BigEndian(message[FixedLength..]) == Cookie)
        {
            foreach (var option in new Options(message[(FixedLength + 4)..]))
            {
                if (option.Code == OptionType && option.Value.Length >= 1)
                    type = option.Value[0];
                else if (option.Code == OptionRequested && option.Value.Length >= 4)
                    requested = BinaryPrimitives.ReadUInt32BigEndian(option.Value);
            }
        }

        // A client that holds a lease names it as its own address; BOOTP clients name nothing.
        if (type == Request && requested == 0)
            requested = BinaryPrimitives.ReadUInt32BigEndian(message[12..]);
        if (type is not (0 or Discover or Request))
            return;
        var mac = Protocol.ReadMac(message[28..]);
        if (Lease(type, requested, mac) is not { } address)
            return;
        Reply(message, type, address, mac);
    }

    /// <summary>The address for a client: 0 to refuse what it asks for; null to say nothing.</summary>
    private uint? Lease(byte type, uint requested, ulong mac)
    {
        var start = stack.Settings.DhcpStart;
        if (requested != 0)
        {
            var index = requested - start;
            if (index < MaxLeases && (_leases[index] == 0 || _leases[index] == mac))
            {
                _leases[index] = mac;
                return requested;
            }

            if (type == Request)
                return 0;
        }

        var free = Array.IndexOf(_leases, mac);
        if (free < 0)
            free = Array.IndexOf(_leases, 0UL);
        if (free < 0)
            return null;
        _leases[free] = mac;
        return start + (uint)free;
    }

    private void Reply(ReadOnlySpan<byte> request, byte type, uint address, ulong mac)
    {
        var settings = stack.Settings;
        Span<byte> datagram = stackalloc byte[Protocol.UdpHeader + MessageLength];
        datagram.Clear();
        var reply = datagram[Protocol.UdpHeader..];
        reply[0] = 2;
        reply[1] = 1;
        reply[2] = 6;
        request.Slice(4, 4).CopyTo(reply[4..]);
        BinaryPrimitives.WriteUInt32BigEndian(reply[16..], address);
        BinaryPrimitives.WriteUInt32BigEndian(reply[20..], settings.Host);
        request.Slice(28, 16).CopyTo(reply[28..]);
        if (settings.BootFile is { } file)
            PutText(reply.Slice(108, 127), file);
        BinaryPrimitives.WriteUInt32BigEndian(reply[FixedLength..], Cookie);
        var options = new Writer(reply[(FixedLength + 4)..]);
        if (address == 0)
        {
            options.Put(OptionType, [Nak]);
            options.Put(OptionMessage, "requested address not available"u8);
        }
        else
        {
            if (type != 0)
                options.Put(OptionType, [type == Discover ? Offer : Ack]);
            options.Put(OptionServer, settings.Host);
            options.Put(OptionMask, settings.Mask);
            if (!settings.Restrict)
            {
                options.Put(OptionRouter, settings.Host);
                options.Put(OptionDns, settings.Dns);
            }

            options.Put(OptionLease, LeaseSeconds);
            if (settings.HostName is { } name)
                options.Put(OptionHostName, Encoding.UTF8.GetBytes(name));
            if (settings.DomainName is { } domain)
                options.Put(OptionDomainName, Encoding.UTF8.GetBytes(domain));
            if (settings.TftpServerName is { } server)
                options.Put(OptionTftpServer, Encoding.UTF8.GetBytes(server));
            // A list that is too long for one option goes on in the next (RFC 3396).
            ReadOnlySpan<byte> search = SearchList(settings.DnsSearch);
            for (; !search.IsEmpty; search = search[Math.Min(255, search.Length)..])
                options.Put(OptionSearch, search[..Math.Min(255, search.Length)]);
            stack.Learn(HostEndpoint.Map(address), mac);
        }

        options.End();
        stack.SendDatagram(HostEndpoint.Map(settings.Host), Protocol.PortBootpServer, HostEndpoint.Map(uint.MaxValue), Protocol.PortBootpClient, datagram, mac);
    }

    /// <summary>Domain names in the form of DNS messages.</summary>
    private static byte[] SearchList(IReadOnlyList<string> domains)
    {
        var bytes = new List<byte>();
        foreach (var domain in domains)
        {
            foreach (var label in domain.Split('.', StringSplitOptions.RemoveEmptyEntries))
            {
                var text = Encoding.ASCII.GetBytes(label.Length > 63 ? label[..63] : label);
                bytes.Add((byte)text.Length);
                bytes.AddRange(text);
            }

            bytes.Add(0);
        }

        return [.. bytes];
    }

    private static void PutText(Span<byte> at, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        bytes.AsSpan(0, Math.Min(bytes.Length, at.Length)).CopyTo(at);
    }

    /// <summary>A DHCPv6 message: only what accompanies addresses from the prefix is given.</summary>
    public void Input6(UInt128 source, ushort port, ReadOnlySpan<byte> message)
    {
        const byte InformationRequest = 11, ReplyType = 7;
        const ushort ClientId = 1, ServerId = 2, OptionRequest = 6, DnsServers = 23, DomainList = 24, BootFileUrl = 59;
        if (message.Length < 4 || message[0] != InformationRequest)
            return;
        Span<byte> datagram = stackalloc byte[Protocol.UdpHeader + 1200];
        var reply = datagram[Protocol.UdpHeader..];
        message[..4].CopyTo(reply);
        reply[0] = ReplyType;
        var length = 4;
        var (dns, search, boot) = (false, false, false);
        for (var rest = message[4..]; rest.Length >= 4;)
        {
            var code = BinaryPrimitives.ReadUInt16BigEndian(rest);
            int size = BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            if (size > rest.Length - 4)
                return;
            var value = rest.Slice(4, size);
            rest = rest[(4 + size)..];
            if (code == ClientId && size <= 256)
                length += Put(reply[length..], ClientId, value);
            else if (code == OptionRequest)
            {
                for (; value.Length >= 2; value = value[2..])
                {
                    var wanted = BinaryPrimitives.ReadUInt16BigEndian(value);
                    dns |= wanted == DnsServers;
                    search |= wanted == DomainList;
                    boot |= wanted == BootFileUrl;
                }
            }

            if (length > 600)
                return;
        }

        Span<byte> scratch = stackalloc byte[16];
        scratch.Clear();
        // A DUID made of the hardware address.
        scratch[1] = 3;
        scratch[3] = 1;
        Protocol.WriteMac(scratch[4..], 0x5256_0000_0000UL | (uint)stack.Settings.Host6);
        length += Put(reply[length..], ServerId, scratch[..10]);
        if (dns && stack.Resolver.Ipv6 != null)
        {
            BinaryPrimitives.WriteUInt128BigEndian(scratch, stack.Settings.Dns6);
            length += Put(reply[length..], DnsServers, scratch);
        }

        if (search && SearchList(stack.Settings.DnsSearch) is { Length: > 0 and <= 255 } list)
            length += Put(reply[length..], DomainList, list);
        if (boot && stack.Settings.BootFile is { } file && Encoding.UTF8.GetBytes($"tftp://[{HostEndpoint.ToIpAddress(stack.Settings.Host6)}]/{file}") is { Length: <= 255 } url)
            length += Put(reply[length..], BootFileUrl, url);
        stack.SendDatagram(stack.Settings.Host6, Protocol.PortDhcpv6Server, source, port, datagram[..(Protocol.UdpHeader + length)]);

        static int Put(Span<byte> at, ushort code, ReadOnlySpan<byte> value)
        {
            BinaryPrimitives.WriteUInt16BigEndian(at, code);
            BinaryPrimitives.WriteUInt16BigEndian(at[2..], (ushort)value.Length);
            value.CopyTo(at[4..]);
            return 4 + value.Length;
        }
    }

    /// <summary>Options of a message, one after the other.</summary>
    private ref struct Options(ReadOnlySpan<byte> bytes)
    {
        private ReadOnlySpan<byte> _rest = bytes;

        public byte Code { get; private set; }
        public ReadOnlySpan<byte> Value { get; private set; }
        public readonly Options Current => this;

        public readonly Options GetEnumerator() => this;

        public bool MoveNext()
        {
            while (!_rest.IsEmpty && _rest[0] == 0)
                _rest = _rest[1..];
            if (_rest.Length < 2 || _rest[0] == OptionEnd || _rest[1] > _rest.Length - 2)
                return false;
            Code = _rest[0];
            Value = _rest.Slice(2, _rest[1]);
            _rest = _rest[(2 + _rest[1])..];
            return true;
        }
    }

    /// <summary>Puts options one after the other; what does not fit is left out.</summary>
    private ref struct Writer(Span<byte> bytes)
    {
        private Span<byte> _rest = bytes;

        public void Put(byte code, scoped ReadOnlySpan<byte> value)
        {
            if (value.Length > 255 || value.Length + 3 > _rest.Length)
                return;
            _rest[0] = code;
            _rest[1] = (byte)value.Length;
            value.CopyTo(_rest[2..]);
            _rest = _rest[(2 + value.Length)..];
        }

        public void Put(byte code, uint value)
        {
            Span<byte> bytes = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
            Put(code, bytes);
        }

        public readonly void End() => _rest[0] = OptionEnd;
    }
}
