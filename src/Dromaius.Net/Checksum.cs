using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Dromaius.Net;

/// <summary>The Internet checksum (RFC 1071), and filling in what an offload left to do.</summary>
public static class Checksum
{
    /// <summary>Adds bytes to a running sum, in the host's byte order; each piece but the last has an even length.</summary>
    public static ulong Add(ulong sum, ReadOnlySpan<byte> bytes)
    {
        foreach (var word in MemoryMarshal.Cast<byte, ulong>(bytes))
        {
            sum += word;
            if (sum < word)
                sum++;
        }

        var tail = bytes[(bytes.Length & ~7)..];
        if (!tail.IsEmpty)
        {
            Span<byte> last = stackalloc byte[8];
            last.Clear();
            tail.CopyTo(last);
            var word = BitConverter.ToUInt64(last);
            sum += word;
            if (sum < word)
                sum++;
        }

        return sum;
    }

    /// <summary>Adds a number that stands in the packet in network order.</summary>
    public static ulong Add(ulong sum, ushort value)
    {
        var word = BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(value) : value;
        sum += word;
        return sum < word ? sum + 1 : sum;
    }

    /// <summary>The 16-bit sum in network order, not complemented.</summary>
    public static ushort Fold(ulong sum)
    {
        sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
        sum = (sum & 0xFFFF_FFFF) + (sum >> 32);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness((ushort)sum) : (ushort)sum;
    }

    /// <summary>The checksum of bytes.</summary>
    public static ushort Of(ReadOnlySpan<byte> bytes) => (ushort)~Fold(Add(0, bytes));

    /// <summary>The sum of the pseudo header of TCP, UDP and ICMPv6.</summary>
    /// <param name="addresses">Source and destination: 8 or 32 bytes.</param>
    /// <param name="protocol">The protocol's number.</param>
    /// <param name="length">Bytes from its header on.</param>
    public static ulong PseudoHeader(ReadOnlySpan<byte> addresses, byte protocol, int length)
    {
        var sum = Add(Add(Add(0, addresses), protocol), (ushort)length);
        return Add(sum, (ushort)(length >> 16));
    }

    /// <summary>Fills in the checksum that an offload names; false if it lies outside.</summary>
    public static bool Fill(Span<byte> frame, int start, int offset)
    {
        if (start + offset + 2 > frame.Length || start >= frame.Length)
            return false;
        // What stands in the field is the sum of the pseudo header.
        var sum = (ushort)~Fold(Add(0, frame[start..]));
        BinaryPrimitives.WriteUInt16BigEndian(frame[(start + offset)..], sum == 0 ? (ushort)0xFFFF : sum);
        return true;
    }
}
