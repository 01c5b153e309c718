using System.Buffers.Binary;

namespace Dromaius.Net;

/// <summary>How a frame that is larger than the link's is to be cut (the virtio network header's values).</summary>
public enum SegmentKind : byte
{
    None = 0,
    Tcp4 = 1,
    Udp = 3,
    Tcp6 = 4,
}

/// <summary>
/// Work on a frame that is still to be done: a checksum to fill in, segments to make. It travels beside the frame between ends
/// that both can; see <see cref="OffloadFeatures"/>. Source: OASIS Virtio 1.2, section 5.1.6.
/// </summary>
public readonly record struct FrameOffload
{
    /// <summary>Length of the header on the wire, without the count of merged buffers.</summary>
    public const int HeaderSize = 10;
    private const byte FlagNeedsChecksum = 1, FlagDataValid = 2, GsoEcn = 0x80;

    /// <summary>The ones' complement sum from <see cref="ChecksumStart"/> on goes to <see cref="ChecksumOffset"/> beyond it.</summary>
    public bool NeedsChecksum { get; init; }

    /// <summary>The checksums were checked, or the frame never was on a wire.</summary>
    public bool DataValid { get; init; }
    public SegmentKind Kind { get; init; }
    public bool Ecn { get; init; }
    public ushort HeaderLength { get; init; }

    /// <summary>Bytes of payload in each segment.</summary>
    public ushort SegmentSize { get; init; }
    public ushort ChecksumStart { get; init; }
    public ushort ChecksumOffset { get; init; }

    public static FrameOffload Parse(ReadOnlySpan<byte> header) => new()
    {
        NeedsChecksum = (header[0] & FlagNeedsChecksum) != 0,
        DataValid = (header[0] & FlagDataValid) != 0,
        Kind = (SegmentKind)(header[1] & ~GsoEcn),
        Ecn = (header[1] & GsoEcn) != 0,
        HeaderLength = BinaryPrimitives.ReadUInt16LittleEndian(header[2..]),
        SegmentSize = BinaryPrimitives.ReadUInt16LittleEndian(header[4..]),
        ChecksumStart = BinaryPrimitives.ReadUInt16LittleEndian(header[6..]),
        ChecksumOffset = BinaryPrimitives.ReadUInt16LittleEndian(header[8..]),
    };

    public void Write(Span<byte> header)
    {
        header[0] = (byte)((NeedsChecksum ? FlagNeedsChecksum : 0) | (DataValid ? FlagDataValid : 0));
        header[1] = (byte)((byte)Kind | (Ecn ? GsoEcn : 0));
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], HeaderLength);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], SegmentSize);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], ChecksumStart);
        BinaryPrimitives.WriteUInt16LittleEndian(header[8..], ChecksumOffset);
    }
}

/// <summary>What an end of a cable takes besides plain frames.</summary>
[Flags]
public enum OffloadFeatures
{
    None = 0,

    /// <summary>Frames whose checksum is still to be filled in.</summary>
    Checksum = 1,
    Tcp4 = 2,
    Tcp6 = 4,
    Ecn = 8,
    Udp = 0x10,
}
