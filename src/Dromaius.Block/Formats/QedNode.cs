using System.Buffers.Binary;
using System.Text;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Formats;

/// <summary>QEMU enhanced disk image. Source: docs/interop/qed_spec.txt.</summary>
public sealed class QedNode : MappedNode, ICheckable, IBackingChange
{
    internal const uint Magic = 0x00444551;
    private const ulong BackingFileFeature = 1, NeedCheckFeature = 2, RawBackingFeature = 4;
    private const int MaxTables = 64;

    private readonly byte[] _header = new byte[64];
    private readonly ulong[] _l1;
    private readonly Dictionary<long, ulong[]> _tables = [];
    private readonly int _clusterSize, _entries;
    private long _length;
    private long _end;
    private ulong _features;

    public QedNode(BlockNode file, bool readOnly, bool discard)
        : base(file, readOnly, discard)
    {
        file.ReadPadded(0, _header);
        if (U32(0) != Magic)
            throw Bad("Image not in QED format");
        _features = U64(16);
        if ((_features & ~7UL) != 0)
            throw new BlockException(BlockError.NotSupported, $"Unsupported QED features: {_features & ~7UL:x}");
        var cluster = U32(4);
        var tableClusters = U32(8);
        if (cluster is < 4096 or > 64 << 20 || !uint.IsPow2(cluster))
            throw Bad("QED cluster size is invalid");
        if (tableClusters is < 1 or > 16 || !uint.IsPow2(tableClusters))
            throw Bad("QED table size is invalid");
        if (U32(12) == 0 || U32(12) > file.Length / cluster + 1)
            throw Bad("QED header size is invalid");
        _clusterSize = (int)cluster;
        var tableBytes = (long)cluster * tableClusters;
        if (tableBytes > 16 << 20)
            throw new BlockException(BlockError.NotSupported, "QED tables of this size are not supported");
        _entries = (int)(tableBytes / 8);
        _length = (long)U64(48);
        var l1Offset = (long)U64(40);
        if (_length < 0 || (_length & 511) != 0 || (UInt128)(ulong)_length > (UInt128)(ulong)_entries * (ulong)_entries * cluster)
            throw Bad("QED image size is invalid");
        if (l1Offset <= 0 || l1Offset % cluster != 0 || l1Offset + tableBytes > file.Length + cluster)
            throw Bad("QED L1 table offset is invalid");
        _end = (file.Length + cluster - 1) / cluster * cluster;
        if ((_features & BackingFileFeature) != 0)
        {
            var (offset, size) = (U32(56), U32(60));
            if (offset + (ulong)size > (ulong)cluster * U32(12) || size > 1023)
                throw Bad("QED backing file name is invalid");
            var name = new byte[size];
            file.ReadPadded(offset, name);
            BackingFileName = Encoding.UTF8.GetString(name);
        }

        _l1 = ReadTable(l1Offset);
        if (!ReadOnlyMode && (_features & NeedCheckFeature) != 0)
            SetNeedCheck(false);
    }

    public override string Driver => "qed";
    public override long Length => _length;
    public override int ClusterSize => _clusterSize;
    public string? BackingFileName { get; private set; }
    public string? BackingFormat => (_features & RawBackingFeature) != 0 ? "raw" : null;
    protected override int BlockSize => _clusterSize;

    protected override void ResizeCore(long length)
    {
        CheckWritable();
        if (length < _length)
            throw new BlockException(BlockError.NotSupported, "Shrinking images is currently not supported");
        if ((length & 511) != 0 || (UInt128)(ulong)length > (UInt128)(ulong)_entries * (ulong)_entries * (ulong)_clusterSize)
            throw new BlockException(BlockError.Invalid, "Invalid image size specified");
        _length = length;
        BinaryPrimitives.WriteInt64LittleEndian(_header.AsSpan(48), length);
        File.Write(0, _header);
    }

    public void ChangeBackingFile(string? name, string? format)
    {
        CheckWritable();
        _features &= ~(BackingFileFeature | RawBackingFeature);
        var bytes = Encoding.UTF8.GetBytes(name ?? "");
        if (64 + bytes.Length > _clusterSize * (long)U32(12) || bytes.Length > 1023)
            throw new BlockException(BlockError.NoSpace, "Backing file name too long");
        if (name != null)
            _features |= BackingFileFeature | (format == "raw" ? RawBackingFeature : 0);
        BackingFileName = name;
        BinaryPrimitives.WriteUInt64LittleEndian(_header.AsSpan(16), _features);
        BinaryPrimitives.WriteUInt32LittleEndian(_header.AsSpan(56), name == null ? 0u : 64u);
        BinaryPrimitives.WriteInt32LittleEndian(_header.AsSpan(60), bytes.Length);
        File.Write(64, bytes);
        File.Write(0, _header);
        File.Flush();
    }

    public void MakeEmpty() => throw new BlockException(BlockError.NotSupported);

    public override void Flush()
    {
        base.Flush();
        lock (TableLock)
        {
            if (!IsReadOnly && (_features & NeedCheckFeature) != 0)
                SetNeedCheck(false);
        }
    }

    public CheckResult Check(Qcow2Repair repair)
    {
        var result = new CheckResult { TotalClusters = (_length + _clusterSize - 1) / _clusterSize };
        var used = new HashSet<long>();
        for (var i = 0L; i < U32(12); i++)
            _ = used.Add(i);
        _ = CheckRun(used, result, (long)U64(40));
        foreach (var entry in _l1)
        {
            if (entry == 0)
                continue;
            if (!IsPlace(entry))
            {
                result.Corruptions++;
                continue;
            }

            // A table that was seen before is not looked at again: there is only so much in a file.
            if (!CheckRun(used, result, (long)entry))
                continue;
            var last = 0UL;
            foreach (var data in ReadTable((long)entry))
            {
                if (data is 0 or 1)
                    continue;
                result.AllocatedClusters++;
                if (last != 0 && data != last + (ulong)_clusterSize)
                    result.FragmentedClusters++;
                last = data;
                if (!IsPlace(data) || !used.Add((long)data / _clusterSize))
                    result.Corruptions++;
            }
        }

        result.Leaks = Math.Max(0, (File.Length + _clusterSize - 1) / _clusterSize - used.Count);
        return result;
    }

    protected override long Lookup(long block)
    {
        var table = L2Of(block, out _);
        var entry = table?[block % _entries] ?? 0;
        if (entry == 1)
            return Zero;
        return entry == 0 ? Unallocated : IsPlace(entry) ? (long)entry : throw new BlockException(BlockError.Io, "qed: bad cluster offset");
    }

    protected override long Allocate(long block)
    {
        if ((_features & NeedCheckFeature) == 0)
            SetNeedCheck(true);
        if (L2Of(block, out var index) == null)
        {
            var table = new ulong[_entries];
            var offset = Take((long)_entries * 8);
            File.Write(offset, new byte[_entries * 8]);
            _l1[index] = (ulong)offset;
            Keep(offset, table);
            WriteEntry((long)U64(40) + index * 8L, (ulong)offset);
        }

        return Take(_clusterSize);
    }

    protected override void Link(long block, long host)
    {
        var table = L2Of(block, out var index)!;
        table[block % _entries] = (ulong)host;
        WriteEntry((long)_l1[index] + block % _entries * 8, (ulong)host);
    }

    protected override bool MarkZero(long block)
    {
        // A cluster that is given up would be lost: the format has no counts.
        if (L2Of(block, out var index) is not { } table || table[block % _entries] > 1)
            return false;
        table[block % _entries] = 1;
        WriteEntry((long)_l1[index] + block % _entries * 8, 1);
        return true;
    }

    protected override void Dispose(bool disposing)
    {
        try
        {
            if (!IsReadOnly)
                Flush();
        }
        finally
        {
            base.Dispose(disposing);
        }
    }

    private bool CheckRun(HashSet<long> used, CheckResult result, long offset)
    {
        var before = result.Corruptions;
        for (var i = 0; i < _entries * 8L / _clusterSize; i++)
        {
            if (!used.Add(offset / _clusterSize + i))
                result.Corruptions++;
        }

        return result.Corruptions == before;
    }

    private bool IsPlace(ulong offset) => offset % (ulong)_clusterSize == 0 && offset < (ulong)Math.Max(_end, _clusterSize) && offset != 0;

    private long Take(long bytes)
    {
        var offset = _end;
        _end += bytes;
        return offset;
    }

    private ulong[]? L2Of(long block, out int index)
    {
        index = (int)(block / _entries);
        if (index >= _l1.Length || _l1[index] == 0)
            return null;
        var offset = _l1[index];
        if (_tables.TryGetValue((long)offset, out var table))
            return table;
        if (!IsPlace(offset))
            throw new BlockException(BlockError.Io, "qed: bad table offset");
        table = ReadTable((long)offset);
        Keep((long)offset, table);
        return table;
    }

    private void Keep(long offset, ulong[] table)
    {
        if (_tables.Count >= MaxTables)
            _tables.Clear();
        _tables[offset] = table;
    }

    private ulong[] ReadTable(long offset)
    {
        var bytes = new byte[_entries * 8];
        File.ReadPadded(offset, bytes);
        var table = new ulong[_entries];
        for (var i = 0; i < table.Length; i++)
            table[i] = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(i * 8));
        return table;
    }

    private void WriteEntry(long at, ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        File.Write(at, bytes);
    }

    private void SetNeedCheck(bool needed)
    {
        _features = needed ? _features | NeedCheckFeature : _features & ~NeedCheckFeature;
        BinaryPrimitives.WriteUInt64LittleEndian(_header.AsSpan(16), _features);
        File.Write(16, _header.AsSpan(16, 8));
        File.Flush();
    }

    private uint U32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(_header.AsSpan(at));

    private ulong U64(int at) => BinaryPrimitives.ReadUInt64LittleEndian(_header.AsSpan(at));

    private static BlockException Bad(string message) => new(BlockError.Invalid, message);
}

/// <summary>How to tell, open and make QED images.</summary>
public sealed class QedFormat : ImageFormat
{
    public override string Name => "qed";
    public override bool SupportsBacking => true;

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
    [
        new("size", "size", "Virtual disk size"),
        new("backing_file", "str", "File name of a base image"),
        new("backing_fmt", "str", "Image format of the base image"),
        new("cluster_size", "size", "Cluster size (in bytes)", "65536"),
        new("table_size", "size", "L1/L2 table size (in clusters)"),
        .. FileOptions,
    ];

    public override int Probe(ReadOnlySpan<byte> head, string fileName) =>
        head.Length >= 64 && BinaryPrimitives.ReadUInt32LittleEndian(head) == QedNode.Magic ? 100 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags) => new QedNode(file, flags.ReadOnly, flags.Discard);

    public override (string? Name, string? Format) BackingOf(BlockNode node) => node is QedNode qed ? (qed.BackingFileName, qed.BackingFormat) : default;

    public override void SetBacking(BlockNode node, BlockNode backing) => ((QedNode)node).SetBacking(backing);

    public override void Create(CreateRequest request)
    {
        var cluster = request.Options.TakeSize("cluster_size") ?? 65536;
        var tables = request.Options.TakeSize("table_size") ?? 4;
        if (cluster * tables > 16 << 20)
            throw new BlockException(BlockError.NotSupported, "QED tables of this size are not supported");
        if (cluster is < 4096 or > 64 << 20 || !long.IsPow2(cluster))
            throw new BlockException(BlockError.Invalid, "QED cluster size must be within range [4096, 67108864] and power of 2");
        if (tables is < 1 or > 16 || !long.IsPow2(tables))
            throw new BlockException(BlockError.Invalid, "QED table size must be within range [1, 16] and power of 2");
        var entries = cluster * tables / 8;
        if ((UInt128)(ulong)request.Size > (UInt128)(ulong)entries * (ulong)entries * (ulong)cluster)
            throw new BlockException(BlockError.Invalid, "QED image size must be a non-zero multiple of cluster size and less than the maximum");
        var backing = request.Options.Take("backing_file");
        var format = request.Options.Take("backing_fmt");
        _ = NewFile.TakeFileOptions(request.Options);
        request.Options.RejectUntaken(Name);
        var header = new byte[64];
        BinaryPrimitives.WriteUInt32LittleEndian(header, QedNode.Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), (uint)cluster);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), (uint)tables);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(12), 1);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(40), cluster);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(48), (request.Size + 511) & ~511L);
        using var made = NewFile.For(request);
        var file = made.Node;
        if (!string.IsNullOrEmpty(backing))
        {
            var name = Encoding.UTF8.GetBytes(backing);
            BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(16), format == "raw" ? 5u : 1u);
            BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(56), 64);
            BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(60), name.Length);
            file.Write(64, name);
        }

        file.Write(0, header);
        file.WriteZeroes(cluster, cluster * tables, true);
        file.Flush();
    }
}
