namespace Dromaius.Net.User;

/// <summary>What <c>-netdev user</c> sets, with the values of a network that sets nothing.</summary>
public sealed record UserNetSettings
{
    public bool Ipv4 { get; init; } = true;
    public uint Network { get; init; } = 0x0A00_0200;
    public uint Mask { get; init; } = 0xFFFF_FF00;

    /// <summary>The gateway, which stands for the host.</summary>
    public uint Host { get; init; } = 0x0A00_0202;
    public uint Dns { get; init; } = 0x0A00_0203;

    /// <summary>The first address that is leased.</summary>
    public uint DhcpStart { get; init; } = 0x0A00_020F;

    public bool Ipv6 { get; init; } = true;
    public UInt128 Prefix6 { get; init; } = (UInt128)0xFEC0 << 112;
    public int PrefixLength6 { get; init; } = 64;
    public UInt128 Host6 { get; init; } = ((UInt128)0xFEC0 << 112) | 2;
    public UInt128 Dns6 { get; init; } = ((UInt128)0xFEC0 << 112) | 3;

    /// <summary>The guest reaches nothing but what is forwarded.</summary>
    public bool Restrict { get; init; }

    /// <summary>The name that DHCP gives the guest.</summary>
    public string? HostName { get; init; }
    public string? DomainName { get; init; }
    public IReadOnlyList<string> DnsSearch { get; init; } = [];

    /// <summary>The folder whose files are there by TFTP; null for none.</summary>
    public string? TftpFolder { get; init; }
    public string? TftpServerName { get; init; }
    public string? BootFile { get; init; }

    /// <summary>The folder that Samba shares with the guest, and at which address; null for none.</summary>
    public string? SmbFolder { get; init; }
    public uint SmbServer { get; init; }

    /// <summary>Where the host's name servers are listed.</summary>
    public string ResolverFile { get; init; } = "/etc/resolv.conf";

    public bool IsOnNetwork(uint address) => (address & Mask) == (Network & Mask);

    public bool IsOnNetwork6(UInt128 address) => PrefixLength6 == 0 || (address ^ Prefix6) >> (128 - PrefixLength6) == 0;
}
