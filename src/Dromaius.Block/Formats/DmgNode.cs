using System.Buffers.Binary;
using System.Text;
using Dromaius.Block.Graph;

namespace Dromaius.Block.Formats;

/// <summary>Apple disk image (UDIF). Source: the trailer and block tables as the format's public descriptions give them.</summary>
public sealed class DmgNode : PiecewiseNode
{
    private const int TrailerSize = 512;
    private const uint ZeroFill = 0, Raw = 1, Ignore = 2, Zlib = 0x80000005, Comment = 0x7FFFFFFE, Terminator = 0xFFFFFFFF;
    private const int MaxChunk = 64 << 20;

    private readonly record struct Chunk(uint Type, long Start, long Length, long Offset, long PackedLength);

    private readonly List<Chunk> _chunks = [];
    private readonly long _length;

    public DmgNode(BlockNode file)
        : base(file)
    {
        var trailer = FindTrailer(file);
        var dataFork = (long)U64(trailer, 24);
        var xmlOffset = (long)U64(trailer, 216);
        var xmlLength = (long)U64(trailer, 224);
        if (xmlLength is <= 0 or > 16 << 20 || xmlOffset < 0 || xmlOffset > file.Length - xmlLength)
            throw new BlockException(BlockError.Invalid, "dmg: the property list is missing or invalid");
        var xml = new byte[xmlLength];
        file.Read(xmlOffset, xml);
        foreach (var table in Tables(Encoding.UTF8.GetString(xml)))
            AddTable(table, dataFork);
        _chunks.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        _length = Math.Max((long)Math.Min(U64(trailer, 492), long.MaxValue / 1024) * 512, _chunks.Count == 0 ? 0 : _chunks.Max(static c => c.Start + c.Length));
    }

    public override string Driver => "dmg";
    public override long Length => _length;

    protected override (int Index, long Start) Find(long offset)
    {
        var (low, high) = (0, _chunks.Count - 1);
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var chunk = _chunks[middle];
            if (offset < chunk.Start)
                high = middle - 1;
            else if (offset >= chunk.Start + chunk.Length)
                low = middle + 1;
            else if (chunk.Type is ZeroFill or Ignore)
                return (-1, chunk.Start + chunk.Length);
            else
                return (middle, chunk.Start);
        }

        return (-1, low < _chunks.Count ? _chunks[low].Start : _length);
    }

    protected override byte[] Load(int index)
    {
        var chunk = _chunks[index];
        var packed = new byte[chunk.PackedLength];
        File.Read(chunk.Offset, packed);
        return chunk.Type switch
        {
            Raw when packed.Length >= chunk.Length => packed,
            Zlib => Inflate(packed, (int)chunk.Length),
            _ => throw new BlockException(BlockError.NotSupported, $"dmg: compression type 0x{chunk.Type:x8} is not supported"),
        };
    }

    private static byte[] FindTrailer(BlockNode file)
    {
        // It is at the end, but files get padded.
        var length = (int)Math.Min(file.Length, 2 * TrailerSize - 1 + TrailerSize);
        var end = new byte[Math.Max(length, 0)];
        file.Read(file.Length - length, end);
        for (var at = length - TrailerSize; at >= 0; at--)
        {
            if (U32(end, at) == 0x6B6F6C79)
                return end[at..(at + TrailerSize)];
        }

        throw new BlockException(BlockError.Invalid, "Could not locate UDIF trailer in dmg file");
    }

    /// <summary>The base64 data of the <c>blkx</c> entries.</summary>
    private static IEnumerable<byte[]> Tables(string xml)
    {
        var start = xml.IndexOf("<key>blkx</key>", StringComparison.Ordinal);
        if (start < 0)
            throw new BlockException(BlockError.Invalid, "dmg: no block tables");
        var end = xml.IndexOf("</array>", start, StringComparison.Ordinal);
        var part = xml[start..(end < 0 ? xml.Length : end)];
        for (var at = part.IndexOf("<data>", StringComparison.Ordinal); at >= 0; at = part.IndexOf("<data>", at + 1, StringComparison.Ordinal))
        {
            var stop = part.IndexOf("</data>", at, StringComparison.Ordinal);
            if (stop < 0)
                yield break;
            byte[] table;
            try
            {
                table = Convert.FromBase64String(part[(at + 6)..stop]);
            }
            catch (FormatException)
            {
                throw new BlockException(BlockError.Invalid, "dmg: bad block table");
            }

            yield return table;
        }
    }

    private void AddTable(byte[] table, long dataFork)
    {
        if (table.Length < 204 || U32(table, 0) != 0x6D697368)
            return;
        var first = U64(table, 8);
        var count = U32(table, 200);
        if (count > (table.Length - 204) / 40)
            throw new BlockException(BlockError.Invalid, "dmg: bad block table");
        for (var i = 0; i < count; i++)
        {
            var at = 204 + i * 40;
            var type = U32(table, at);
            if (type is Comment or Terminator)
                continue;
            var (start, sectors, offset, packed) = (first + U64(table, at + 8), U64(table, at + 16), U64(table, at + 24), U64(table, at + 32));
            var isStored = type is not (ZeroFill or Ignore);
            if (start > 1UL << 50 || sectors > 1UL << 50 || (isStored && (sectors > MaxChunk / 512 || packed > MaxChunk))
                || (isStored && ((ulong)dataFork + offset > (ulong)File.Length || (ulong)dataFork + offset + packed > (ulong)File.Length)))
                throw new BlockException(BlockError.Invalid, "dmg: bad chunk in block table");
            if (sectors > 0)
                _chunks.Add(new Chunk(type, (long)start * 512, (long)sectors * 512, dataFork + (long)offset, (long)packed));
        }
    }

    private static uint U32(byte[] data, int at) => BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at));

    private static ulong U64(byte[] data, int at) => BinaryPrimitives.ReadUInt64BigEndian(data.AsSpan(at));
}

/// <summary>How to tell and open Apple disk images: by their name, as their beginning says nothing.</summary>
public sealed class DmgFormat : ImageFormat
{
    public override string Name => "dmg";

    public override int Probe(ReadOnlySpan<byte> head, string fileName) => fileName.EndsWith(".dmg", StringComparison.Ordinal) ? 2 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags) =>
        flags.ReadOnly || flags.AutoReadOnly ? new DmgNode(file) : throw new BlockException(BlockError.Access, "dmg images are read-only");
}
