using System.Buffers.Binary;

namespace Dromaius.Devices.Network;

/// <summary>Which headers a receive hash covers.</summary>
[Flags]
internal enum HashTypes
{
    None = 0,
    Ipv4 = 1,
    TcpIpv4 = 2,
    Ipv6 = 4,
    TcpIpv6 = 8,
}

/// <summary>
/// Receive-side scaling: the Toeplitz hash over a packet's addresses and, for TCP, its ports. Source: Microsoft, "RSS Hashing Types" and
/// "Verifying the RSS Hash Calculation".
/// </summary>
internal static class ReceiveHash
{
    public const int KeyLength = 40;

    /// <summary>Hashes as much as the allowed types cover; says which type that was.</summary>
    public static HashTypes Of(ReadOnlySpan<byte> frame, in FrameHeaders headers, HashTypes allowed, ReadOnlySpan<byte> key, out uint hash)
    {
        hash = 0;
        if (!headers.IsIp)
            return HashTypes.None;
        var (whole, addressesOnly) = headers.IsIpv4 ? (HashTypes.TcpIpv4, HashTypes.Ipv4) : (HashTypes.TcpIpv6, HashTypes.Ipv6);
        var type = headers.HasTcp && (allowed & whole) != 0 ? whole : allowed & addressesOnly;
        if (type == HashTypes.None)
            return type;
        var addresses = headers.Addresses(frame);
        hash = Toeplitz(0, key, addresses);
        if (type == whole)
            hash = Toeplitz(hash, key[addresses.Length..], frame.Slice(headers.Transport, 4));
        return type;
    }

    /// <summary>For each bit that is set, the 32 bits of the key from there on.</summary>
    private static uint Toeplitz(uint hash, ReadOnlySpan<byte> key, ReadOnlySpan<byte> data)
    {
        for (var i = 0; i < data.Length; i++)
        {
            var window = BinaryPrimitives.ReadUInt32BigEndian(key[i..]);
            // The last byte's window ends with the key.
            uint next = i + 4 < key.Length ? key[i + 4] : (byte)0;
            for (var bit = 7; bit >= 0; bit--)
            {
                if ((data[i] & (1 << bit)) != 0)
                    hash ^= window;
                window = (window << 1) | ((next >> bit) & 1);
            }
        }

        return hash;
    }
}
