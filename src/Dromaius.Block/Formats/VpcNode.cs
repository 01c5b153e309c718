using System.Buffers.Binary;
using System.Text;
using Dromaius.Block.Graph;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Formats;

/// <summary>Virtual PC image (VHD), fixed or dynamic. Source: Microsoft's Virtual Hard Disk Image Format Specification 1.0.</summary>
public sealed class VpcNode : MappedNode
{
    internal const int FooterSize = 512, MaxCylinders = 65535, MaxHeads = 16, MaxSectors = 255;
    internal const long MaxGeometry = (long)MaxCylinders * MaxHeads * MaxSectors;
    private const uint Free = 0xFFFFFFFF;

    private readonly byte[] _footer = new byte[FooterSize];
    private readonly uint[] _table = [];
    private readonly bool _isFixed;
    private readonly int _blockSize = 2 << 20;
    private readonly int _bitmapSize;
    private readonly long _tableOffset, _length;
    private long _end;

    public VpcNode(BlockNode file, bool readOnly, bool discard)
        : base(file, readOnly, discard)
    {
        file.ReadPadded(0, _footer);
        if (!IsFooter(_footer))
        {
            // Fixed disks have it at the end only.
            if (file.Length < FooterSize)
                throw new BlockException(BlockError.Invalid, "File too small for a VHD header");
            file.Read(file.Length - FooterSize, _footer);
            if (!IsFooter(_footer) || U32(_footer, 60) != 2)
                throw new BlockException(BlockError.Invalid, "invalid VPC image");
            _isFixed = true;
        }

        _length = SizeOf(_footer);
        if (_isFixed)
        {
            if (_length > file.Length - FooterSize)
                throw new BlockException(BlockError.Invalid, "The image is larger than its file");
            return;
        }

        if (U32(_footer, 60) == 2)
        {
            _isFixed = true;
            return;
        }

        var header = new byte[1024];
        file.ReadPadded((long)U64(_footer, 16), header);
        if (!header.AsSpan(0, 8).SequenceEqual("cxsparse"u8))
            throw new BlockException(BlockError.Invalid, "invalid VPC image (bad dynamic header)");
        if (U32(_footer, 60) == 4)
            throw new BlockException(BlockError.NotSupported, "Differencing VHD images are not supported");
        _blockSize = (int)U32(header, 32);
        if (_blockSize is < 512 or > 256 << 20 || !int.IsPow2(_blockSize))
            throw new BlockException(BlockError.Invalid, $"Invalid block size {U32(header, 32)}");
        _bitmapSize = (_blockSize / 512 / 8 + 511) & ~511;
        var entries = U32(header, 28);
        if (entries > 0x1FFFFFFF || _length > entries * (long)_blockSize)
            throw new BlockException(BlockError.Invalid, "Page Table too small");
        if (entries > Math.Max(file.Length, 1) / 4)
            throw new BlockException(BlockError.Invalid, "Page table larger than the file");
        _tableOffset = (long)U64(header, 16);
        if (_tableOffset < 0 || _tableOffset > file.Length)
            throw new BlockException(BlockError.Invalid, "Invalid page table offset");
        var bytes = new byte[entries * 4];
        file.ReadPadded(_tableOffset, bytes);
        _table = new uint[entries];
        _end = (_tableOffset + bytes.Length + 511) & ~511L;
        for (var i = 0; i < _table.Length; i++)
        {
            _table[i] = U32(bytes, i * 4);
            if (_table[i] != Free)
                _end = Math.Max(_end, _table[i] * 512L + _bitmapSize + _blockSize);
        }

        if (_end > file.Length)
            throw new BlockException(BlockError.Invalid, "block-vpc: free_data_block_offset points after the end of file. The image has been truncated.");
    }

    public override string Driver => "vpc";
    public override long Length => _length;
    public override int ClusterSize => _isFixed ? 0 : _blockSize;
    protected override int BlockSize => _blockSize;
    protected override bool MayHaveBacking => false;

    internal static bool IsFooter(ReadOnlySpan<byte> data) => data.Length >= 8 && data[..8].SequenceEqual("conectix"u8);

    protected override long Lookup(long block)
    {
        if (_isFixed)
            return block * _blockSize;
        if (block >= _table.Length || _table[block] == Free)
            return Unallocated;
        return _table[block] * 512L + _bitmapSize;
    }

    protected override long Allocate(long block)
    {
        // All sectors of a new block are in use, and the footer moves behind it.
        var bitmap = new byte[_bitmapSize];
        bitmap.AsSpan().Fill(0xFF);
        File.Write(_end, bitmap);
        File.Write(_end + _bitmapSize + _blockSize, _footer);
        return _end + _bitmapSize;
    }

    protected override void Link(long block, long host)
    {
        _table[block] = (uint)(_end / 512);
        _end = host + _blockSize;
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, _table[block]);
        File.Write(_tableOffset + block * 4, bytes);
    }

    /// <summary>Programs that follow the geometry and programs that follow the size made such images.</summary>
    private static long SizeOf(byte[] footer)
    {
        var geometry = (long)BinaryPrimitives.ReadUInt16BigEndian(footer.AsSpan(56)) * footer[58] * footer[59];
        var creator = Encoding.ASCII.GetString(footer, 28, 4);
        var bySize = creator is "win " or "qem2" or "d2v " or "tap\0" || creator == "CTXS" || geometry == MaxGeometry;
        var size = bySize ? (long)(U64(footer, 48) / 512) : geometry;
        if (size is <= 0 or > 0xFF000000L)
            throw new BlockException(BlockError.TooBig, "VHD image size out of range");
        return size * 512;
    }

    private static uint U32(byte[] data, int at) => BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at));

    private static ulong U64(byte[] data, int at) => BinaryPrimitives.ReadUInt64BigEndian(data.AsSpan(at));
}

/// <summary>How to tell, open and make VHD images.</summary>
public sealed class VpcFormat : ImageFormat
{
    private const int BlockSize = 2 << 20;

    public override string Name => "vpc";

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
    [
        new("size", "size", "Virtual disk size"),
        new("subformat", "str", "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} "),
        new("force_size", "bool (on/off)",
            "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation"),
        .. FileOptions,
    ];

    public override int Probe(ReadOnlySpan<byte> head, string fileName) => VpcNode.IsFooter(head) ? 100 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags)
    {
        _ = options.Take("force_size_calc");
        return new VpcNode(file, flags.ReadOnly, flags.Discard);
    }

    public override void Create(CreateRequest request)
    {
        var isFixed = request.Options.Take("subformat") switch
        {
            null or "dynamic" => false,
            "fixed" => true,
            var other => throw new BlockException(BlockError.Invalid, $"Invalid parameter '{other}'"),
        };
        var force = request.Options.TakeBool("force_size") ?? false;
        var mode = NewFile.TakeFileOptions(request.Options);
        request.Options.RejectUntaken(Name);
        var sectors = (request.Size + 511) / 512;
        var (cylinders, heads, perTrack) = Geometry(sectors);
        if (force)
            (cylinders, heads, perTrack) = (VpcNode.MaxCylinders, VpcNode.MaxHeads, VpcNode.MaxSectors);
        else
        {
            // The next larger size that has a geometry of its own.
            for (var i = 0L; (long)cylinders * heads * perTrack < sectors && (long)cylinders * heads * perTrack != VpcNode.MaxGeometry; i++)
                (cylinders, heads, perTrack) = Geometry(sectors + i);
            if ((long)cylinders * heads * perTrack != VpcNode.MaxGeometry)
                sectors = (long)cylinders * heads * perTrack;
        }

        if (sectors > 0xFF000000L)
            throw new BlockException(BlockError.TooBig, "Image size is too large for this format");
        var size = sectors * 512;
        var footer = Footer(size, isFixed, force, cylinders, heads, perTrack);
        using var made = NewFile.For(request);
        var file = made.Node;
        if (isFixed)
        {
            file.Resize(size);
            NewFile.Preallocate(file, mode, size);
            file.Write(size, footer);
        }
        else
            WriteDynamic(file, size, footer);
        file.Flush();
    }

    private static void WriteDynamic(BlockNode file, long size, byte[] footer)
    {
        const int tableOffset = 3 * 512;
        var entries = (uint)((size + BlockSize - 1) / BlockSize);
        var tableBytes = (int)((entries * 4 + 511) & ~511u);
        var header = new byte[1024];
        "cxsparse"u8.CopyTo(header);
        BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(8), ulong.MaxValue);
        BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(16), tableOffset);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(24), 0x10000);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(28), entries);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(32), BlockSize);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(36), Checksum(header));
        var table = new byte[tableBytes];
        table.AsSpan().Fill(0xFF);
        file.Write(0, footer);
        file.Write(512, header);
        file.Write(tableOffset, table);
        file.Write(tableOffset + tableBytes, footer);
    }

    private static byte[] Footer(long size, bool isFixed, bool force, int cylinders, int heads, int perTrack)
    {
        var footer = new byte[VpcNode.FooterSize];
        "conectix"u8.CopyTo(footer);
        BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(8), 2);
        BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(12), 0x10000);
        BinaryPrimitives.WriteUInt64BigEndian(footer.AsSpan(16), isFixed ? ulong.MaxValue : 512);
        BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(24), (uint)(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - 946684800));
        // The creator's name says whether the geometry or the size counts; these two are known to others.
        (force ? "qem2"u8 : "qemu"u8).CopyTo(footer.AsSpan(28));
        BinaryPrimitives.WriteUInt16BigEndian(footer.AsSpan(32), 5);
        BinaryPrimitives.WriteUInt16BigEndian(footer.AsSpan(34), 3);
        "Wi2k"u8.CopyTo(footer.AsSpan(36));
        BinaryPrimitives.WriteInt64BigEndian(footer.AsSpan(40), size);
        BinaryPrimitives.WriteInt64BigEndian(footer.AsSpan(48), size);
        BinaryPrimitives.WriteUInt16BigEndian(footer.AsSpan(56), (ushort)cylinders);
        footer[58] = (byte)heads;
        footer[59] = (byte)perTrack;
        BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(60), isFixed ? 2u : 3u);
        Guid.NewGuid().TryWriteBytes(footer.AsSpan(68));
        BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(64), Checksum(footer));
        return footer;
    }

    private static uint Checksum(byte[] data)
    {
        var sum = 0u;
        foreach (var b in data)
            sum += b;
        return ~sum;
    }

    /// <summary>The specification's appendix: CHS calculation.</summary>
    private static (int Cylinders, int Heads, int Sectors) Geometry(long sectors)
    {
        sectors = Math.Min(sectors, VpcNode.MaxGeometry);
        int perTrack, heads;
        long tracks;
        if (sectors >= 65535L * 16 * 63)
            (perTrack, heads, tracks) = (255, 16, sectors / 255);
        else
        {
            (perTrack, tracks) = (17, sectors / 17);
            heads = (int)Math.Max((tracks + 1023) / 1024, 4);
            if (tracks >= heads * 1024L || heads > 16)
                (perTrack, heads, tracks) = (31, 16, sectors / 31);
            if (tracks >= heads * 1024L)
                (perTrack, heads, tracks) = (63, 16, sectors / 63);
        }

        return ((int)(tracks / heads), heads, perTrack);
    }
}
