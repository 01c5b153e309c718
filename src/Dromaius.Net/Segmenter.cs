using System.Buffers.Binary;

namespace Dromaius.Net;

/// <summary>Does in software what an offload asks for: fills in checksums, cuts large TCP segments into ones that fit the link.</summary>
public static class Segmenter
{
    private const int EthernetHeader = 14, VlanHeader = 4, Ipv4Header = 20, Ipv6Header = 40, TcpHeader = 20;
    private const byte Fin = 1, Psh = 8, Cwr = 0x80;

    [ThreadStatic]
    private static byte[]? t_frame;

    /// <summary>The end can do everything that is left to do.</summary>
    public static bool IsTaken(in FrameOffload offload, OffloadFeatures accepts) =>
        (!offload.NeedsChecksum || (accepts & OffloadFeatures.Checksum) != 0) && (!offload.Ecn || (accepts & OffloadFeatures.Ecn) != 0)
        && offload.Kind switch
        {
            SegmentKind.None => true,
            SegmentKind.Tcp4 => (accepts & OffloadFeatures.Tcp4) != 0,
            SegmentKind.Tcp6 => (accepts & OffloadFeatures.Tcp6) != 0,
            SegmentKind.Udp => (accepts & OffloadFeatures.Udp) != 0,
            _ => false,
        };

    /// <summary>Sends plain frames instead; false if not even the first was taken. Frames that make no sense are dropped.</summary>
    public static bool Split(ReadOnlySpan<byte> frame, in FrameOffload offload, NetEndpoint from)
    {
        var scratch = t_frame ??= new byte[NetEndpoint.MaxFrame];
        if (frame.Length > scratch.Length)
            return true;
        if (offload.Kind == SegmentKind.None)
        {
            frame.CopyTo(scratch);
            var whole = scratch.AsSpan(0, frame.Length);
            return !Checksum.Fill(whole, offload.ChecksumStart, offload.ChecksumOffset) || from.Send(whole, default);
        }

        if (offload.Kind is not (SegmentKind.Tcp4 or SegmentKind.Tcp6) || offload.SegmentSize == 0 || !FindTcp(frame, out var network, out var transport))
            return true;
        var header = transport + ((frame[transport + 12] >> 4) * 4);
        if (header > frame.Length || header < transport + TcpHeader)
            return true;
        var isIpv4 = transport - network != Ipv6Header || frame[network] >> 4 == 4;
        var sequence = BinaryPrimitives.ReadUInt32BigEndian(frame[(transport + 4)..]);
        var identification = BinaryPrimitives.ReadUInt16BigEndian(frame[(network + 4)..]);
        var flags = frame[transport + 13];
        var data = frame[header..];
        for (var offset = 0; offset == 0 || offset < data.Length; offset += offload.SegmentSize)
        {
            var length = Math.Min(offload.SegmentSize, data.Length - offset);
            var segment = scratch.AsSpan(0, header + length);
            frame[..header].CopyTo(segment);
            data.Slice(offset, length).CopyTo(segment[header..]);
            var tcp = segment[transport..];
            BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], sequence + (uint)offset);
            var last = offset + length >= data.Length;
            tcp[13] = (byte)(flags & (last ? 0xFF : ~(Fin | Psh)) & (offset == 0 ? 0xFF : ~Cwr));
            SetLengths(segment, network, transport, isIpv4, (ushort)(identification + (offset / offload.SegmentSize)));
            if (!from.Send(segment, default))
                return offset > 0;
        }

        return true;
    }

    /// <summary>
    /// Makes the headers of a large TCP packet say what it is before it is cut (lengths, the IP checksum, the pseudo header's sum in place of
    /// the checksum) and tells how to cut it. The caller has checked that the headers lie in the frame.
    /// </summary>
    public static FrameOffload Prepare(Span<byte> frame, int network, int transport, int headerLength, int segmentSize)
    {
        if (segmentSize == 0)
            return default;
        var isIpv4 = frame[network] >> 4 == 4;
        if (!isIpv4 && network + Ipv6Header > transport)
            return default;
        ulong sum;
        if (isIpv4)
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 2)..], (ushort)(frame.Length - network));
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 10)..], 0);
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 10)..], Checksum.Of(frame[network..transport]));
            sum = Checksum.PseudoHeader(frame.Slice(network + 12, 8), 6, frame.Length - transport);
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 4)..], (ushort)(frame.Length - network - Ipv6Header));
            sum = Checksum.PseudoHeader(frame.Slice(network + 8, 32), 6, frame.Length - transport);
        }

        BinaryPrimitives.WriteUInt16BigEndian(frame[(transport + 16)..], Checksum.Fold(sum));
        return new FrameOffload
        {
            NeedsChecksum = true,
            ChecksumStart = (ushort)transport,
            ChecksumOffset = 16,
            Kind = frame.Length - headerLength <= segmentSize ? SegmentKind.None : isIpv4 ? SegmentKind.Tcp4 : SegmentKind.Tcp6,
            SegmentSize = (ushort)segmentSize,
            HeaderLength = (ushort)headerLength,
        };
    }

    /// <summary>Writes the lengths and checksums of a TCP packet anew.</summary>
    public static void SetLengths(Span<byte> frame, int network, int transport, bool isIpv4, ushort identification)
    {
        var tcp = frame[transport..];
        ulong pseudo;
        if (isIpv4)
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 2)..], (ushort)(frame.Length - network));
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 4)..], identification);
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 10)..], 0);
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 10)..], Checksum.Of(frame[network..transport]));
            pseudo = Checksum.PseudoHeader(frame.Slice(network + 12, 8), 6, tcp.Length);
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[(network + 4)..], (ushort)(frame.Length - network - Ipv6Header));
            pseudo = Checksum.PseudoHeader(frame.Slice(network + 8, 32), 6, tcp.Length);
        }

        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], (ushort)~Checksum.Fold(Checksum.Add(pseudo, tcp)));
    }

    /// <summary>Finds the network and TCP headers of a frame.</summary>
    public static bool FindTcp(ReadOnlySpan<byte> frame, out int network, out int transport)
    {
        network = EthernetHeader;
        transport = 0;
        if (frame.Length < EthernetHeader + VlanHeader + Ipv4Header)
            return false;
        var type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        if (type == 0x8100)
        {
            type = BinaryPrimitives.ReadUInt16BigEndian(frame[16..]);
            network += VlanHeader;
        }

        if (type == 0x0800 && frame[network + 9] == 6)
            transport = network + ((frame[network] & 15) * 4);
        else if (type == 0x86DD && frame[network + 6] == 6)
            transport = network + Ipv6Header;
        return transport >= network + Ipv4Header && transport + TcpHeader <= frame.Length;
    }
}
