using System.Buffers.Binary;
using System.Net;

namespace Dromaius.Core.Sockets;

/// <summary>An Internet address and port as a value; IPv4 addresses are the mapped ones of RFC 4291 (::ffff:a.b.c.d).</summary>
public readonly record struct HostEndpoint(UInt128 Address, ushort Port)
{
    private const ulong MappedPrefix = 0xFFFF;

    public bool IsIpv4 => Address >> 32 == MappedPrefix;

    /// <summary>The address of an IPv4 endpoint.</summary>
    public uint Ipv4 => (uint)Address;

    public static HostEndpoint OfIpv4(uint address, ushort port) => new(Map(address), port);

    public static HostEndpoint Of(IPEndPoint endpoint) => new(ToInteger(endpoint.Address), (ushort)endpoint.Port);

    public static UInt128 Map(uint ipv4) => ((UInt128)MappedPrefix << 32) | ipv4;

    public static UInt128 ToInteger(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        _ = address.TryWriteBytes(bytes, out var n);
        return n == 4 ? Map(BinaryPrimitives.ReadUInt32BigEndian(bytes)) : BinaryPrimitives.ReadUInt128BigEndian(bytes);
    }

    public static IPAddress ToIpAddress(UInt128 address)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, address);
        return address >> 32 == MappedPrefix ? new IPAddress(bytes[12..]) : new IPAddress(bytes);
    }

    public IPEndPoint ToIpEndPoint() => new(ToIpAddress(Address), Port);

    public override string ToString() => $"{ToIpAddress(Address)}:{Port}";
}
