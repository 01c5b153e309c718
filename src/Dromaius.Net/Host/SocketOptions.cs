using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Net.Host;

/// <summary>The parameters of <c>-netdev socket</c>, <c>stream</c> and <c>dgram</c>.</summary>
internal static class SocketOptions
{
    public static NetEndpoint Socket(NetworkSet networks, string id, OptionList options)
    {
        var (listen, connect, group, udp) = (options.Take("listen"), options.Take("connect"), options.Take("mcast"), options.Take("udp"));
        var (local, fd) = (options.Take("localaddr"), options.Take("fd"));
        options.RejectUntaken();
        if (fd != null && listen == null && connect == null && group == null && udp == null && local == null)
            return Begin(new StreamBackend(networks, id, (int)OptionValue.Number("fd", fd, 0, int.MaxValue)));
        if (fd != null || new[] { listen, connect, group, udp }.Count(static o => o != null) != 1)
            throw new UserErrorException("exactly one of listen=, connect=, mcast= or udp= is required");
        if (local != null && group == null && udp == null)
            throw new UserErrorException("localaddr= is only valid with mcast= or udp=");
        if (listen != null)
            return Begin(new StreamBackend(networks, id, "socket", Address(listen, IPAddress.Any), server: true));
        if (connect != null)
            return Begin(new StreamBackend(networks, id, "socket", Address(connect, IPAddress.Loopback), server: false));
        if (group != null)
        {
            var address = Address(group, IPAddress.Any);
            if (!DatagramBackend.IsGroup(address))
                throw new UserErrorException($"specified mcastaddr {address.Address} (0x{BitConverter.ToUInt32(address.Address.GetAddressBytes().Reverse().ToArray()):x8}) does not contain a multicast address");
            var from = local == null ? null : IPAddress.TryParse(local, out var ip) ? new IPEndPoint(ip, 0) : throw new UserErrorException($"localaddr '{local}' is not a valid IPv4 address");
            return Begin(new DatagramBackend(networks, id, "socket", $"socket: mcast={address}", from, address));
        }

        if (local == null)
            throw new UserErrorException("localaddr= is mandatory with udp=");
        return Begin(new DatagramBackend(networks, id, "socket", $"socket: udp={udp}", Address(local, IPAddress.Any), Address(udp!, IPAddress.Loopback)));
    }

    public static NetEndpoint Stream(NetworkSet networks, string id, OptionList options)
    {
        var server = options.TakeBool("server", false);
        var address = Take(options, "addr") ?? throw new UserErrorException("Parameter 'addr.type' is missing");
        foreach (var ignored in (ReadOnlySpan<string>)["addr.to", "addr.numeric", "addr.keep-alive", "addr.mptcp", "addr.ipv4", "addr.ipv6", "addr.tight", "reconnect"])
            _ = options.Take(ignored);
        options.RejectUntaken();
        return Begin(new StreamBackend(networks, id, "stream", address, server));
    }

    public static NetEndpoint Datagram(NetworkSet networks, string id, OptionList options)
    {
        var (local, remote) = (Take(options, "local"), Take(options, "remote"));
        options.RejectUntaken();
        if (remote == null && local == null)
            throw new UserErrorException("dgram requires local= or remote= parameter");
        if (local == null && !DatagramBackend.IsGroup(remote))
            throw new UserErrorException("type=inet requires remote parameter");
        var description = DatagramBackend.IsGroup(remote) ? $"mcast={remote}" : local is IPEndPoint ? $"udp={local}/{remote}" : $"udp={local}:{remote}";
        return Begin(new DatagramBackend(networks, id, "dgram", description, local, remote));
    }

    private static ThreadedBackend Begin(ThreadedBackend backend)
    {
        backend.Start();
        return backend;
    }

    /// <summary>A socket address from <c>name.type</c> and its further parameters.</summary>
    private static EndPoint? Take(OptionList options, string name)
    {
        switch (options.Take(name + ".type"))
        {
            case null:
                return null;
            case "inet":
                var host = options.TakeRequired(name + ".host");
                var port = options.TakeRequired(name + ".port");
                return Address($"{host}:{port}", IPAddress.Any);
            case "unix":
                var path = options.TakeRequired(name + ".path");
                return new UnixDomainSocketEndPoint(options.TakeBool(name + ".abstract", false) ? "\0" + path : path);
            case var other:
                throw new UserErrorException($"Parameter '{name}.type' does not accept value '{other}'");
        }
    }

    private static IPEndPoint Address(string text, IPAddress usual)
    {
        var colon = text.LastIndexOf(':');
        if (colon < 0)
            throw new UserErrorException($"host address '{text}' doesn't contain ':' separating host from port");
        var host = text[..colon].Trim('[', ']');
        if (!ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port))
            throw new UserErrorException($"port number '{text[(colon + 1)..]}' is invalid");
        if (host.Length == 0)
            return new IPEndPoint(usual, port);
        if (IPAddress.TryParse(host, out var address))
            return new IPEndPoint(address, port);
        try
        {
            var found = Dns.GetHostAddresses(host);
            return new IPEndPoint(found.FirstOrDefault(static a => a.AddressFamily == AddressFamily.InterNetwork) ?? found[0], port);
        }
        catch (Exception e) when (e is SocketException or ArgumentException or IndexOutOfRangeException)
        {
            throw new UserErrorException($"can't resolve host address '{host}'");
        }
    }
}
