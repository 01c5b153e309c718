using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>The parameters of <c>-netdev user</c>.</summary>
public static class UserNetOptions
{
    internal static NetEndpoint Create(NetworkSet networks, string id, OptionList options)
    {
        var settings = Parse(options);
        List<string> Repeated(string key)
        {
            _ = options.Take(key);
            return [.. options.Items.Where(i => i.Key == key).Select(static i => i.Value)];
        }

        settings = settings with { DnsSearch = Repeated("dnssearch") };
        var forwards = Repeated("hostfwd");
        var targets = Repeated("guestfwd");
        options.RejectUntaken();
        var backend = new UserBackend(id, settings, networks.Clock, networks.MachineLock);
        try
        {
            foreach (var rule in forwards)
                AddForward(backend, rule);
            foreach (var rule in targets)
                GuestForward.Add(networks, backend, rule);
            if (settings.SmbFolder is { } folder)
                backend.Smb = SmbServer.Add(backend, folder, settings.SmbServer);
            backend.Start();
            return backend;
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    private static UserNetSettings Parse(OptionList options)
    {
        var settings = new UserNetSettings();
        var ipv4 = options.Take("ipv4") is { } four ? OptionValue.Bool("ipv4", four) : (bool?)null;
        var ipv6 = options.Take("ipv6") is { } six ? OptionValue.Bool("ipv6", six) : (bool?)null;
        if (ipv4 == false && ipv6 == false)
            throw new UserErrorException("IPv4 and IPv6 disabled");
        var (net, host, start, dns) = (options.Take("net"), options.Take("host"), options.Take("dhcpstart"), options.Take("dns"));
        var (net6, host6, dns6) = (options.Take("ipv6-net"), options.Take("ipv6-host"), options.Take("ipv6-dns"));
        var (prefix6, length6) = (options.Take("ipv6-prefix"), options.Take("ipv6-prefixlen"));
        // Asking for one family alone switches the other off.
        var useIpv4 = ipv4 ?? !(ipv6 == true && net == null && host == null && dns == null && start == null);
        var useIpv6 = ipv6 ?? !(ipv4 == true && net6 == null && host6 == null && dns6 == null && prefix6 == null);
        if (!useIpv4 && (net ?? host ?? start ?? dns) != null)
            throw new UserErrorException("IPv4 disabled but netmask/host/dns provided");
        if (!useIpv6 && (net6 ?? host6 ?? dns6 ?? prefix6) != null)
            throw new UserErrorException("IPv6 disabled but prefix/host6/dns6 provided");

        var (network, mask) = net == null ? (settings.Network, settings.Mask) : ParseNetwork(net);
        settings = settings with
        {
            Ipv4 = useIpv4, Ipv6 = useIpv6, Network = network, Mask = mask,
            Host = network | (0x0202 & ~mask), DhcpStart = network | (0x020F & ~mask), Dns = network | (0x0203 & ~mask),
        };
        if (host != null)
            settings = settings with { Host = Ipv4(host, "Failed to parse host") };
        if (!settings.IsOnNetwork(settings.Host))
            throw new UserErrorException("Host doesn't belong to network");
        if (start != null)
            settings = settings with { DhcpStart = Ipv4(start, "Failed to parse DHCP start address") };
        if (!settings.IsOnNetwork(settings.DhcpStart))
            throw new UserErrorException("DHCP doesn't belong to network");
        if (settings.DhcpStart == settings.Host || settings.DhcpStart == settings.Dns)
            throw new UserErrorException("DNS must be different from host and DHCP");
        if (dns != null)
            settings = settings with { Dns = Ipv4(dns, "Failed to parse DNS") };
        if (CheckDns(settings) is { } message)
            throw new UserErrorException(message);

        if (net6 != null)
        {
            var slash = net6.IndexOf('/');
            prefix6 = slash < 0 ? net6 : net6[..slash];
            length6 = slash < 0 ? null : net6[(slash + 1)..];
        }

        if (prefix6 != null)
        {
            var prefix = Ipv6(prefix6, "Failed to parse IPv6 prefix");
            settings = settings with { Prefix6 = prefix, Host6 = prefix | 2, Dns6 = prefix | 3 };
        }

        if (length6 != null)
            settings = settings with { PrefixLength6 = (int)OptionValue.Number("ipv6-prefixlen", length6) };
        if (settings.PrefixLength6 is < 0 or > 126)
            throw new UserErrorException("Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)");
        if (host6 != null)
            settings = settings with { Host6 = Ipv6(host6, "Failed to parse IPv6 host") };
        if (!settings.IsOnNetwork6(settings.Host6))
            throw new UserErrorException("IPv6 Host doesn't belong to network");
        if (dns6 != null)
            settings = settings with { Dns6 = Ipv6(dns6, "Failed to parse IPv6 DNS") };
        if (!settings.IsOnNetwork6(settings.Dns6))
            throw new UserErrorException("IPv6 DNS doesn't belong to network");

        var folder = options.Take("tftp");
        var bootFile = options.Take("bootfile");
        var serverName = options.Take("tftp-server-name");
        if (serverName is { Length: > 255 })
            throw new UserErrorException("'tftp-server-name' parameter cannot exceed 255 bytes");
        if (bootFile is { Length: > 127 })
            throw new UserErrorException("'bootfile' parameter cannot exceed 127 bytes");
        var domain = options.Take("domainname");
        if (domain is "")
            throw new UserErrorException("'domainname' parameter cannot be empty");
        if (domain is { Length: > 255 })
            throw new UserErrorException("'domainname' parameter cannot exceed 255 bytes");
        var smbServer = options.Take("smbserver");
        return settings with
        {
            Restrict = options.TakeBool("restrict", false),
            HostName = options.Take("hostname"),
            DomainName = domain,
            TftpFolder = folder,
            TftpServerName = serverName,
            BootFile = bootFile,
            SmbFolder = options.Take("smb"),
            SmbServer = smbServer != null ? Ipv4(smbServer, "Failed to parse SMB address") : network | (0x0204 & ~mask),
        };

        static string? CheckDns(UserNetSettings s) =>
            s.Dns == s.Host ? "DNS must be different from host"
            : s.Dns == s.DhcpStart ? "DNS must be different from host and DHCP"
            : !s.IsOnNetwork(s.Dns) ? "DNS doesn't belong to network"
            : null;
    }

    /// <summary>Adds a rule <c>tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport</c>.</summary>
    public static void AddForward(UserBackend backend, string rule)
    {
        var (isUdp, host, rest) = ParseHost(rule);
        var colon = rest.IndexOf(':');
        if (colon < 0)
            throw Bad(rule, "Missing guest address");
        var guestAddress = backend.Settings.DhcpStart;
        if (colon > 0)
        {
            if (!TryIpv4(rest[..colon], out guestAddress))
                throw Bad(rule, "Bad guest address");
            if (guestAddress == 0)
                guestAddress = backend.Settings.DhcpStart;
        }

        if (!TryPort(rest[(colon + 1)..], out var guestPort) || guestPort == 0)
            throw Bad(rule, "Bad guest port");
        var guest = HostEndpoint.OfIpv4(guestAddress, guestPort);
        if (backend.WithStack(s => isUdp ? s.Udp.AddForward(host, guest) : s.Tcp.AddForward(host, guest)) < 0)
            throw new UserErrorException($"Could not set up host forwarding rule '{rule}'");
    }

    /// <summary>Removes the rule of <c>tcp|udp:[hostaddr]:hostport</c>; false if there is none.</summary>
    public static bool RemoveForward(UserBackend backend, string rule)
    {
        const string Invalid = "invalid format";
        var parts = rule.Split(':', 3);
        if (parts.Length < 3 || parts[0] is not ("" or "tcp" or "udp") || !int.TryParse(parts[2], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number))
            throw new UserErrorException(Invalid);
        var address = 0u;
        if (parts[1].Length > 0 && !TryIpv4(parts[1], out address))
            throw new UserErrorException(Invalid);
        // A number that is no port is that of no rule.
        if (number is < 0 or > ushort.MaxValue)
            return false;
        var isUdp = parts[0] == "udp";
        var host = HostEndpoint.OfIpv4(address, (ushort)number);
        return backend.WithStack(s => isUdp ? s.Udp.RemoveForward(host) : s.Tcp.RemoveForward(host));
    }

    private static (bool IsUdp, HostEndpoint Host, string Tail) ParseHost(string rule)
    {
        var colon = rule.IndexOf(':');
        if (colon < 0)
            throw Bad(rule, "No : separators");
        var protocol = rule[..colon];
        if (protocol is not ("" or "tcp" or "udp"))
            throw Bad(rule, "Bad protocol name");
        var second = rule.IndexOf(':', colon + 1);
        if (second < 0)
            throw Bad(rule, "Missing : separator");
        var address = rule[(colon + 1)..second];
        var ip = 0u;
        if (address.Length > 0 && !TryIpv4(address, out ip))
            throw Bad(rule, "Bad host address");
        var dash = rule.IndexOf('-', second + 1);
        if (dash < 0)
            throw Bad(rule, "Bad host port separator");
        if (!TryPort(rule[(second + 1)..dash], out var port))
            throw Bad(rule, "Bad host port");
        return (protocol == "udp", HostEndpoint.OfIpv4(ip, port), rule[(dash + 1)..]);
    }

    private static UserErrorException Bad(string rule, string why) => new($"Invalid host forwarding rule '{rule}' ({why})");

    internal static bool TryPort(string text, out ushort port) => text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
        ? ushort.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out port)
        : ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port);

    internal static bool TryIpv4(string text, out uint address)
    {
        address = 0;
        if (!IPAddress.TryParse(text, out var ip) || ip.AddressFamily != AddressFamily.InterNetwork)
            return false;
        address = (uint)HostEndpoint.ToInteger(ip);
        return true;
    }

    private static (uint Network, uint Mask) ParseNetwork(string text)
    {
        const string Failure = "Failed to parse netmask";
        var slash = text.IndexOf('/');
        var network = Ipv4(slash < 0 ? text : text[..slash], Failure);
        uint mask;
        if (slash < 0)
        {
            // By the address's class.
            mask = network >> 31 == 0 ? 0xFF00_0000 : network >> 30 == 2 ? 0xFFFF_0000 : network >> 29 == 6 ? 0xFFFF_FF00 : 0xF000_0000;
        }
        else if (int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var bits))
            mask = bits is >= 4 and <= 32 ? uint.MaxValue << (32 - bits) : throw new UserErrorException("Invalid netmask provided (must be in range 4-32)");
        else
            mask = Ipv4(text[(slash + 1)..], Failure);
        return (network & mask, mask);
    }

    private static uint Ipv4(string text, string failure) => TryIpv4(text, out var address) ? address : throw new UserErrorException(failure);

    private static UInt128 Ipv6(string text, string failure) =>
        IPAddress.TryParse(text, out var ip) && ip.AddressFamily == AddressFamily.InterNetworkV6 ? HostEndpoint.ToInteger(ip) : throw new UserErrorException(failure);
}
