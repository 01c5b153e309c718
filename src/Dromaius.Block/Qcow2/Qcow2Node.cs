using System.Buffers;
using System.Buffers.Binary;

namespace Dromaius.Block.Qcow2;

internal enum ClusterKind
{
    /// <summary>Comes from the backing file.</summary>
    Unallocated,

    /// <summary>Reads as zeroes, nothing stored.</summary>
    Zero,

    /// <summary>Reads as zeroes, with a cluster set aside.</summary>
    ZeroAllocated,
    Normal,
    Compressed,
}

/// <summary>Where a run of the guest's bytes is.</summary>
internal readonly record struct Mapping(ClusterKind Kind, long Length, long Host = 0, bool IsExclusive = false, ulong Entry = 0);

/// <summary>How an image is opened.</summary>
public sealed record Qcow2Options
{
    public bool ReadOnly { get; init; }

    /// <summary>Overrides what the header says, or null.</summary>
    public bool? LazyRefcounts { get; init; }
    public long L2CacheSize { get; init; } = 32 << 20;

    /// <summary>Leaves an unclean image as it is, for tools that check it.</summary>
    public bool ForCheck { get; init; }
    public bool Discard { get; init; }
    public OverlapCheck OverlapCheck { get; init; } = OverlapCheck.Cached;
}

/// <summary>Which metadata is compared with where writes go (<c>overlap-check</c>).</summary>
public enum OverlapCheck
{
    None,

    /// <summary>What cannot move while the image is open.</summary>
    Constant,

    /// <summary>What is in memory anyway.</summary>
    Cached,

    /// <summary>Tables of snapshots as well.</summary>
    All,
}

/// <summary>
/// A qcow2 image, versions 2 and 3. Source: the qcow2 format specification (docs/interop/qcow2.txt).
/// Metadata is under one lock; data moves outside of it. What is written to the file is ordered so that at any moment no table
/// refers to a cluster whose count could be lost: counts, then L2 tables, then L1 tables, then the counts of what was given up.
/// </summary>
public sealed partial class Qcow2Node : BlockNode, ICheckable, IBackingChange
{
    private const ulong Copied = 1UL << 63, CompressedFlag = 1UL << 62, ZeroFlag = 1, OffsetMask = 0x00FFFFFFFFFFFE00;

    private readonly BlockNode _file;
    private readonly BlockNode? _data;
    private readonly Qcow2Options _options;
    private readonly Qcow2Header _header;
    private readonly object _lock = new();
    private readonly ReaderWriterLockSlim _gate = new(LockRecursionPolicy.NoRecursion);
    private readonly TableCache _l2;
    private readonly int _clusterBits;
    private readonly int _clusterSize;
    private readonly bool _extended;
    private readonly int _unitBits;
    private Refcounts _refcounts;
    private ulong[] _l1;
    private int _l1DirtyStart = int.MaxValue, _l1DirtyEnd;
    private BlockNode? _backing;
    private bool _readOnly;
    private long _length;
    private bool? _mostlyHoles;

    /// <param name="file">The image's file; owned.</param>
    /// <param name="options">How to open it.</param>
    /// <param name="data">The external data file; owned.</param>
    public Qcow2Node(BlockNode file, Qcow2Options options, BlockNode? data = null)
        : this(file, options, Qcow2Header.Read(file), data)
    {
    }

    internal Qcow2Node(BlockNode file, Qcow2Options options, Qcow2Header header, BlockNode? data)
    {
        _file = file;
        _data = data;
        _options = options;
        _header = header;
        _readOnly = options.ReadOnly || file.IsReadOnly;
        AllowsDiscard = options.Discard;
        _clusterBits = header.ClusterBits;
        _clusterSize = header.ClusterSize;
        _extended = header.IsExtended;
        _unitBits = _extended ? _clusterBits - 5 : _clusterBits;
        _length = header.Size;
        if (header.HasExternalData && data == null)
            throw new BlockException(BlockError.Invalid, "'data-file' is required for this image");
        if (header.CryptMethod != 0)
            throw new BlockException(BlockError.NotSupported, "Encrypted qcow2 images are not supported");
        if ((header.Incompatible & IncompatibleFeatures.Corrupt) != 0 && !_readOnly && !options.ForCheck)
        {
            throw new BlockException(BlockError.Access,
                "qcow2: Image is corrupt; cannot be opened read/write");
        }

        if (!options.ForCheck)
            header.RequireRefcounts();
        _l1 = ReadTable(header.L1Offset, header.L1Size);
        _l2 = new TableCache(file, _clusterSize, options.L2CacheSize) { WriteBackAll = WriteBackUnderLock };
        _refcounts = new Refcounts(file, header, WriteBackUnderLock) { Placing = CheckOverlap, FoundDamage = MarkCorrupt };
        LoadSnapshots();
        if (!_readOnly && !options.ForCheck)
            PrepareForWriting();
        else if (!_readOnly)
            ClearUnknownFeatures();
    }

    public override string Driver => "qcow2";
    public override long Length => Volatile.Read(ref _length);
    public override bool IsReadOnly => _readOnly;
    public override BlockNode File => _file;
    public override BlockNode? Backing => _backing;
    public override int ClusterSize => _clusterSize;

    /// <summary>The external data file, if there is one.</summary>
    public BlockNode? DataFile => _data;
    public int Version => _header.Version;
    public bool LazyRefcounts => _header.LazyRefcounts;
    public int RefcountBits => 1 << _header.RefcountOrder;
    public bool IsCorrupt => (_header.Incompatible & IncompatibleFeatures.Corrupt) != 0;
    public bool IsDirty => (_header.Incompatible & IncompatibleFeatures.Dirty) != 0;
    public bool ExtendedL2 => _extended;
    public Qcow2Compression Compression => _header.Compression;
    public string? BackingFileName => _header.BackingFile;
    public string? BackingFormat => _header.BackingFormat;
    public string? DataFileName => _header.DataFile;
    public bool DataFileRaw => (_header.Autoclear & (ulong)AutoclearFeatures.RawExternalData) != 0;

    internal Qcow2Header Header => _header;

    /// <summary>Puts a backing image below; owned from now on.</summary>
    public void SetBacking(BlockNode? backing) => _backing = backing;

    /// <summary>Exchanges the backing image while the guest goes on; the caller gives up the old one.</summary>
    internal void ReplaceBacking(BlockNode? backing)
    {
        _gate.EnterWriteLock();
        _backing = backing;
        _gate.ExitWriteLock();
    }

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        _gate.EnterReadLock();
        try
        {
            ReadInGate(offset, into);
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    public override BlockStatus Status(long offset, long length)
    {
        length = Math.Min(length, Length - offset);
        Mapping map;
        lock (_lock)
            map = Map(offset, length);
        return map.Kind switch
        {
            ClusterKind.Unallocated => new BlockStatus(map.Length, false, false),
            ClusterKind.Zero => new BlockStatus(map.Length, true, true),
            ClusterKind.ZeroAllocated => new BlockStatus(map.Length, true, true, map.Host),
            ClusterKind.Compressed => new BlockStatus(map.Length, true, false, -1, true),
            _ => StoredStatus(map),
        };
    }

    /// <summary>Clusters that were set aside at once and not written yet are holes in the file: the file knows better.</summary>
    private BlockStatus StoredStatus(Mapping map)
    {
        _mostlyHoles ??= IsMostlyHoles();
        if (!_mostlyHoles.Value)
            return new BlockStatus(map.Length, true, false, map.Host);
        var below = DataNode.Status(map.Host, map.Length);
        return new BlockStatus(Math.Min(map.Length, below.Length), true, below.IsZero, map.Host, false, true);
    }

    private bool IsMostlyHoles()
    {
        if (_data != null || _file.AllocatedSize is not (>= 0 and var stored))
            return false;
        // A few clusters beside it may be holes in any file.
        var clusters = stored / _clusterSize;
        var enough = Math.Max(clusters + clusters / 9, clusters + 2);
        lock (_lock)
            return _refcounts.CountUsed(enough) >= enough;
    }

    private BlockNode DataNode => _data ?? _file;

    private void ReadInGate(long offset, Span<byte> into)
    {
        while (!into.IsEmpty)
        {
            Mapping map;
            lock (_lock)
                map = Map(offset, into.Length);
            var part = into[..(int)map.Length];
            ReadMapping(map, offset, part);
            offset += part.Length;
            into = into[part.Length..];
        }
    }

    private void ReadMapping(Mapping map, long offset, Span<byte> part)
    {
        switch (map.Kind)
        {
            case ClusterKind.Normal:
                DataNode.OnStep("read_aio");
                DataNode.ReadPadded(map.Host, part);
                break;
            case ClusterKind.Compressed:
                ReadCompressed(map.Entry, offset, part);
                break;
            case ClusterKind.Unallocated when _backing is { } backing:
                _file.OnStep("read_backing_aio");
                backing.ReadPadded(offset, part);
                break;
            default:
                part.Clear();
                break;
        }
    }

    private bool ReadsAsZero(long from, long to)
    {
        to = Math.Min(to, Length);
        while (from < to)
        {
            Mapping map;
            lock (_lock)
                map = Map(from, to - from);
            var zero = map.Kind is ClusterKind.Zero or ClusterKind.ZeroAllocated
                || (map.Kind == ClusterKind.Unallocated && (_backing == null || from >= _backing.Length));
            if (!zero)
                return false;
            from += map.Length;
        }

        return true;
    }

    private void ReadCompressed(ulong entry, long offset, Span<byte> part)
    {
        var (at, length) = CompressedRange(entry);
        var compressed = ArrayPool<byte>.Shared.Rent(length);
        var cluster = ArrayPool<byte>.Shared.Rent(_clusterSize);
        try
        {
            _file.OnStep("read_compressed");
            _file.ReadPadded(at, compressed.AsSpan(0, length));
            ClusterCodec.Decompress(_header.Compression, compressed, length, cluster.AsSpan(0, _clusterSize));
            cluster.AsSpan((int)(offset & (_clusterSize - 1)), part.Length).CopyTo(part);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(compressed);
            ArrayPool<byte>.Shared.Return(cluster);
        }
    }

    /// <summary>Where a compressed cluster lies: its first byte, and the bytes up to the end of its last sector.</summary>
    private (long Offset, int Length) CompressedRange(ulong entry)
    {
        var shift = 62 - (_clusterBits - 8);
        var offset = (long)(entry & ((1UL << shift) - 1));
        var sectors = (int)((entry >> shift) & ((1UL << (62 - shift)) - 1)) + 1;
        return (offset, sectors * 512 - (int)(offset & 511));
    }

    /// <summary>The state of a run from an offset on. Under the lock.</summary>
    private Mapping Map(long offset, long length)
    {
        var span = 1L << (_clusterBits + _header.L2Bits);
        var l1Index = offset / span;
        var left = Math.Min(length, span - offset % span);
        if (l1Index >= _l1.Length)
            return new Mapping(ClusterKind.Unallocated, left);
        var l2Offset = (long)(_l1[l1Index] & OffsetMask);
        if (l2Offset == 0)
            return new Mapping(ClusterKind.Unallocated, left);
        var table = LoadL2(l2Offset, l1Index);
        var index = L2Index(offset);
        var entry = Entry(table, index);
        if (_extended)
            return MapSubclusters(table, index, offset, left);
        var kind = KindOf(entry);
        var run = _clusterSize - (offset & (_clusterSize - 1));
        if (kind == ClusterKind.Compressed)
            return new Mapping(kind, Math.Min(left, run), 0, false, entry);
        var host = CheckedHost(kind, entry, l2Offset, index);
        for (var i = 1; run < left; i++, run += _clusterSize)
        {
            var next = Entry(table, index + i);
            if (KindOf(next) != kind || ((next ^ entry) & Copied) != 0)
                break;
            if (kind is ClusterKind.Normal or ClusterKind.ZeroAllocated && (long)(next & OffsetMask) != host + ((long)i << _clusterBits))
                break;
        }

        return new Mapping(kind, Math.Min(left, run), host + (offset & (_clusterSize - 1)), (entry & Copied) != 0, entry);
    }

    private Mapping MapSubclusters(Table table, int index, long offset, long left)
    {
        var unit = 1L << _unitBits;
        var entry = Entry(table, index);
        var sub = (int)(offset >> _unitBits) & 31;
        var kind = SubKindOf(entry, Bitmap(table, index), sub);
        var run = unit - (offset & (unit - 1));
        if (kind == ClusterKind.Compressed)
            return new Mapping(kind, Math.Min(left, _clusterSize - (offset & (_clusterSize - 1))), 0, false, entry);
        var host = CheckedHost(kind, entry, table.Offset, index);
        var clusters = 0;
        var bitmap = Bitmap(table, index);
        var now = entry;
        while (run < left)
        {
            if (++sub == 32)
            {
                sub = 0;
                clusters++;
                now = Entry(table, index + clusters);
                bitmap = Bitmap(table, index + clusters);
                if (((now ^ entry) & Copied) != 0)
                    break;
                if (kind is ClusterKind.Normal or ClusterKind.ZeroAllocated && (long)(now & OffsetMask) != host + ((long)clusters << _clusterBits))
                    break;
            }

            if (SubKindOf(now, bitmap, sub) != kind)
                break;
            run += unit;
        }

        return new Mapping(kind, Math.Min(left, run), host + (offset & (_clusterSize - 1)), (entry & Copied) != 0, entry);
    }

    private long CheckedHost(ClusterKind kind, ulong entry, long l2Offset, int index)
    {
        if (kind is not (ClusterKind.Normal or ClusterKind.ZeroAllocated))
            return 0;
        var host = (long)(entry & OffsetMask);
        if ((host & (_clusterSize - 1)) != 0)
            throw MarkCorrupt($"Cluster allocation offset {Hex(host)} unaligned (L2 offset: {Hex(l2Offset)}, L2 index: {Hex(index)})");
        return host;
    }

    private ClusterKind KindOf(ulong entry)
    {
        if ((entry & CompressedFlag) != 0)
            return ClusterKind.Compressed;
        var hasHost = (entry & OffsetMask) != 0 || (_data != null && (entry & Copied) != 0);
        if ((entry & ZeroFlag) != 0 && _header.Version >= 3)
            return hasHost ? ClusterKind.ZeroAllocated : ClusterKind.Zero;
        return hasHost ? ClusterKind.Normal : ClusterKind.Unallocated;
    }

    private ClusterKind SubKindOf(ulong entry, ulong bitmap, int sub)
    {
        if ((entry & CompressedFlag) != 0)
            return ClusterKind.Compressed;
        var hasHost = (entry & OffsetMask) != 0 || (_data != null && (entry & Copied) != 0);
        var allocated = (bitmap >> sub & 1) != 0;
        var zero = (bitmap >> (sub + 32) & 1) != 0;
        if (allocated && zero)
            throw MarkCorrupt("Invalid cluster entry found (subcluster both allocated and zero)");
        if (zero)
            return hasHost ? ClusterKind.ZeroAllocated : ClusterKind.Zero;
        return allocated && hasHost ? ClusterKind.Normal : ClusterKind.Unallocated;
    }

    private Table LoadL2(long l2Offset, long l1Index)
    {
        if ((l2Offset & (_clusterSize - 1)) != 0)
            throw MarkCorrupt($"L2 table offset {Hex(l2Offset)} unaligned (L1 index: {Hex(l1Index)})");
        if (!_l2.Has(l2Offset))
            _file.OnStep("l2_load");
        return _l2.Get(l2Offset);
    }

    private int L2Index(long offset) => (int)(offset >> _clusterBits) & ((1 << _header.L2Bits) - 1);

    private ulong Entry(Table table, int index) => BinaryPrimitives.ReadUInt64BigEndian(table.Data.AsSpan(index << (_extended ? 4 : 3)));

    private ulong Bitmap(Table table, int index) => _extended ? BinaryPrimitives.ReadUInt64BigEndian(table.Data.AsSpan((index << 4) + 8)) : 0;

    private void SetEntry(Table table, int index, ulong entry, ulong bitmap)
    {
        var at = index << (_extended ? 4 : 3);
        BinaryPrimitives.WriteUInt64BigEndian(table.Data.AsSpan(at), entry);
        if (_extended)
            BinaryPrimitives.WriteUInt64BigEndian(table.Data.AsSpan(at + 8), bitmap);
        _l2.MarkDirty(table, at, _extended ? 16 : 8);
    }

    private ulong[] ReadTable(long offset, int entries)
    {
        var table = new ulong[entries];
        if (entries == 0)
            return table;
        var bytes = new byte[entries * 8];
        _file.ReadPadded(offset, bytes);
        for (var i = 0; i < entries; i++)
            table[i] = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(i * 8));
        return table;
    }

    private void WriteHeaderFlags()
    {
        var bytes = new byte[24];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, (ulong)_header.Incompatible);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8), _header.Compatible);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(16), _header.Autoclear);
        _file.Write(72, bytes);
    }

    /// <summary>Writes the whole header cluster, extensions and backing file name included.</summary>
    private void WriteHeader()
    {
        _file.Write(0, _header.Serialize());
        _file.Flush();
    }

    protected override void Dispose(bool disposing)
    {
        try
        {
            if (!_readOnly)
                CloseCleanly();
        }
        catch (BlockException e)
        {
            // Nobody is left to tell but the user; what was flushed is safe.
            if (_l2.HasDirty || _refcounts.HasDirty)
                Console.Error.WriteLine($"qcow2: Failed to flush the {(_l2.HasDirty ? "L2 table" : "refcount block")} cache: {e.Message}");
        }
        finally
        {
            _backing?.Release();
            _data?.Release();
            _file.Release();
        }
    }
}
