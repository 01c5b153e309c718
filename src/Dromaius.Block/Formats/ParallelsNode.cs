using System.Buffers.Binary;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Formats;

/// <summary>Parallels disk image. Source: docs/interop/parallels.txt, "Parallels Expandable Image".</summary>
public sealed class ParallelsNode : MappedNode, ICheckable
{
    internal const int HeaderSize = 64;
    private const uint InUse = 0x746F6E59;

    private readonly uint[] _table;
    private readonly int _blockSize;
    private readonly long _unit, _length, _dataStart;
    private long _end;

    public ParallelsNode(BlockNode file, bool readOnly, bool discard)
        : base(file, readOnly, discard)
    {
        var header = new byte[HeaderSize];
        file.ReadPadded(0, header);
        var isExtended = header.AsSpan(0, 16).SequenceEqual("WithouFreSpacExt"u8);
        uint U32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(at));
        if (!IsHeader(header) || U32(16) != 2)
            throw new BlockException(BlockError.Invalid, "Image not in Parallels format");
        var tracks = U32(28);
        if (tracks == 0)
            throw new BlockException(BlockError.Invalid, "Invalid image: Zero sectors per track");
        if (tracks > int.MaxValue / 513 || tracks * 512 > 64 << 20)
            throw new BlockException(BlockError.TooBig, "Invalid image: Too big cluster");
        _blockSize = (int)tracks * 512;
        _unit = isExtended ? _blockSize : 512;
        var entries = U32(32);
        if (entries > int.MaxValue / 4 || entries * 4L + HeaderSize > file.Length + 4096)
            throw new BlockException(BlockError.TooBig, "Catalog too large");
        var sectors = BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(36));
        // Old images have a field of half the width.
        _length = (long)(isExtended ? sectors : (uint)sectors) * 512;
        if (_length < 0 || sectors > long.MaxValue / 512)
            throw new BlockException(BlockError.TooBig, "Image size is too large");
        if (_length > entries * (long)_blockSize)
            throw new BlockException(BlockError.Invalid, "Catalog too small for the image");
        var bytes = new byte[entries * 4];
        file.ReadPadded(HeaderSize, bytes);
        _table = new uint[entries];
        var tableEnd = (HeaderSize + bytes.Length + 511) & ~511L;
        _dataStart = U32(48) * 512L;
        if (_dataStart == 0)
            _dataStart = tableEnd;
        if (isExtended)
            _dataStart = (_dataStart + _blockSize - 1) / _blockSize * _blockSize;
        _end = _dataStart;
        for (var i = 0; i < _table.Length; i++)
        {
            _table[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(i * 4));
            if (_table[i] != 0)
                _end = Math.Max(_end, _table[i] * _unit + _blockSize);
        }

        if (!ReadOnlyMode)
            SetInUse(true);
    }

    public override string Driver => "parallels";
    public override long Length => _length;
    protected override int BlockSize => _blockSize;

    internal static bool IsHeader(ReadOnlySpan<byte> head) =>
        head.Length >= 16 && (head[..16].SequenceEqual("WithouFreSpacExt"u8) || head[..16].SequenceEqual("WithoutFreeSpace"u8));

    public CheckResult Check(Qcow2Repair repair)
    {
        var result = new CheckResult { TotalClusters = _table.Length };
        var next = 0L;
        for (var i = 0; i < _table.Length; i++)
        {
            if (_table[i] == 0)
            {
                next = 0;
                continue;
            }

            var at = _table[i] * _unit;
            if (at > File.Length)
            {
                result.Say($"ERROR cluster {i} is outside image");
                result.Corruptions++;
                next = 0;
                continue;
            }

            result.AllocatedClusters++;
            if (next != 0 && next != at)
                result.FragmentedClusters++;
            next = at + _blockSize;
            result.ImageEndOffset = Math.Max(result.ImageEndOffset, next);
        }

        result.ImageEndOffset = Math.Max(result.ImageEndOffset, _dataStart);
        if (File.Length > result.ImageEndOffset && File.Length - result.ImageEndOffset >= _blockSize)
            result.Leaks = (File.Length - result.ImageEndOffset + _blockSize - 1) / _blockSize;
        return result;
    }

    protected override long Lookup(long block) => block >= _table.Length || _table[block] == 0 ? Unallocated : _table[block] * _unit;

    protected override long Allocate(long block) => _end;

    protected override void Link(long block, long host)
    {
        if (block >= _table.Length)
            throw new BlockException(BlockError.Invalid);
        _table[block] = (uint)(host / _unit);
        _end = host + _blockSize;
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, _table[block]);
        File.Write(HeaderSize + block * 4, bytes);
    }

    protected override void Dispose(bool disposing)
    {
        try
        {
            if (!ReadOnlyMode)
            {
                File.Flush();
                SetInUse(false);
            }
        }
        finally
        {
            base.Dispose(disposing);
        }
    }

    private void SetInUse(bool inUse)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, inUse ? InUse : 0);
        File.Write(44, bytes);
    }
}

/// <summary>How to tell, open and make Parallels images.</summary>
public sealed class ParallelsFormat : ImageFormat
{
    public override string Name => "parallels";

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
        [new("size", "size", "Virtual disk size"), new("cluster_size", "size", "Parallels image cluster size", "1048576"), .. FileOptions];

    public override int Probe(ReadOnlySpan<byte> head, string fileName) =>
        ParallelsNode.IsHeader(head) && head.Length >= 64 && BinaryPrimitives.ReadUInt32LittleEndian(head[16..]) == 2 ? 100 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags)
    {
        _ = options.Take("prealloc-size");
        _ = options.Take("prealloc-mode");
        return new ParallelsNode(file, flags.ReadOnly, flags.Discard);
    }

    public override void Create(CreateRequest request)
    {
        var cluster = (request.Options.TakeSize("cluster_size") ?? 1 << 20) + 511 & ~511L;
        _ = NewFile.TakeFileOptions(request.Options);
        request.Options.RejectUntaken(Name);
        if (cluster is <= 0 or > 64 << 20)
            throw new BlockException(BlockError.Invalid, "Cluster size is too large");
        var entries = (request.Size + cluster - 1) / cluster;
        if (entries > int.MaxValue / 4)
            throw new BlockException(BlockError.TooBig, "Image size is too large for this cluster size");
        var header = new byte[ParallelsNode.HeaderSize];
        "WithouFreSpacExt"u8.CopyTo(header);
        void Put(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(at), value);
        var start = (ParallelsNode.HeaderSize + entries * 4 + cluster - 1) / cluster * cluster;
        Put(16, 2);
        Put(20, 16);
        Put(24, (uint)Math.Min(request.Size / 512 / 16 / 32, uint.MaxValue));
        Put(28, (uint)(cluster / 512));
        Put(32, (uint)entries);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(36), (request.Size + 511) / 512);
        Put(48, (uint)(start / 512));
        using var made = NewFile.For(request);
        var file = made.Node;
        file.Write(0, header);
        file.Resize(start);
        file.Flush();
    }
}
