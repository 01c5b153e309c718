using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Block.Qcow2;

/// <summary>A persistent dirty bitmap.</summary>
public sealed class Qcow2Bitmap
{
    public required string Name { get; init; }
    public int GranularityBits { get; init; }
    public long TableOffset { get; internal set; }
    public int TableSize { get; internal set; }
    public bool InUse { get; internal set; }

    /// <summary>Recording: writes set its bits.</summary>
    public bool IsAuto { get; internal set; }
    /// <summary>Made since the image was opened.</summary>
    internal bool IsNew { get; init; }
    internal uint OtherFlags { get; init; }
    internal byte[] Extra { get; init; } = [];

    /// <summary>The bits while the image is open.</summary>
    internal DirtyBitmap? Live { get; set; }
}

/// <summary>Persistent bitmaps: kept, and those that record are kept true. Source: the qcow2 format specification, "Bitmaps".</summary>
public sealed partial class Qcow2Node
{
    private const int MaxBitmaps = 65535;
    private const long MaxBitmapBytes = 512 << 20;
    private const uint InUseFlag = 1, AutoFlag = 2;
    private readonly List<Qcow2Bitmap> _bitmaps = [];
    private bool _bitmapsLive;

    public IReadOnlyList<Qcow2Bitmap> Bitmaps
    {
        get
        {
            if (_bitmaps.Count == 0)
                LoadBitmaps();
            return _bitmaps;
        }
    }

    private bool HasBitmaps => (_header.Autoclear & (ulong)AutoclearFeatures.Bitmaps) != 0 && _header.FindExtension(Qcow2Header.BitmapsExtension) is { Length: >= 24 };

    private void LoadBitmaps()
    {
        if (!HasBitmaps)
            return;
        var extension = _header.FindExtension(Qcow2Header.BitmapsExtension)!;
        var count = U32(extension, 0);
        var size = U64(extension, 8);
        var offset = (long)U64(extension, 16);
        if (count is 0 or > MaxBitmaps || size > MaxBitmaps * 1024UL || offset <= 0 || (offset & (_clusterSize - 1)) != 0)
            throw new BlockException(BlockError.Invalid, "bitmaps_ext: invalid bitmap directory");
        var directory = new byte[size];
        _file.ReadPadded(offset, directory);
        var at = 0;
        for (var i = 0; i < count; i++)
        {
            if (at + 24 > directory.Length)
                throw new BlockException(BlockError.Invalid, "Broken bitmap directory");
            var entry = directory.AsSpan(at);
            var flags = BinaryPrimitives.ReadUInt32BigEndian(entry[12..]);
            var nameLength = BinaryPrimitives.ReadUInt16BigEndian(entry[18..]);
            var extraLength = BinaryPrimitives.ReadUInt32BigEndian(entry[20..]);
            if (extraLength > entry.Length || 24 + extraLength + nameLength > entry.Length || entry[17] is < 9 or > 31)
                throw new BlockException(BlockError.Invalid, "Broken bitmap directory");
            _bitmaps.Add(new Qcow2Bitmap
            {
                TableOffset = BinaryPrimitives.ReadInt64BigEndian(entry),
                TableSize = (int)Math.Min(BinaryPrimitives.ReadUInt32BigEndian(entry[8..]), 0x8000000),
                InUse = (flags & InUseFlag) != 0,
                IsAuto = (flags & AutoFlag) != 0,
                OtherFlags = flags & ~(InUseFlag | AutoFlag),
                GranularityBits = entry[17],
                Extra = entry.Slice(24, (int)extraLength).ToArray(),
                Name = Encoding.UTF8.GetString(entry.Slice(24 + (int)extraLength, nameLength)),
            });
            at = (at + 24 + (int)extraLength + nameLength + 7) & ~7;
        }
    }

    /// <summary>The bitmaps with their bits; those of an image open for reading are read when somebody asks.</summary>
    public override IReadOnlyList<DirtyBitmap> DirtyBitmaps
    {
        get
        {
            if (_readOnly && !_bitmapsLive)
                LoadLive();
            return base.DirtyBitmaps;
        }
    }

    private void LoadLive()
    {
        _bitmapsLive = true;
        var total = 0L;
        foreach (var bitmap in Bitmaps)
        {
            if (bitmap.Live != null)
                continue;
            var bytes = BitmapBytes(bitmap);
            total += bytes;
            if (total > MaxBitmapBytes)
                throw new BlockException(BlockError.TooBig, $"Bitmap '{bitmap.Name}' is too large");
            bitmap.Live = NewLive(bitmap, bitmap.InUse ? new byte[bytes] : LoadBits(bitmap, bytes));
            Watch(bitmap.Live);
        }
    }

    private DirtyBitmap NewLive(Qcow2Bitmap bitmap, byte[] bits) => new(bitmap.Name, bitmap.GranularityBits, Length, bits)
    {
        IsPersistent = true, IsInconsistent = bitmap.InUse, IsRecording = bitmap is { IsAuto: true, InUse: false },
    };

    /// <summary>Marks the bitmaps as in use in the file and holds their bits from now on.</summary>
    private void OpenBitmapsForWriting()
    {
        if (!HasBitmaps)
            return;
        LoadLive();
        var changed = false;
        foreach (var bitmap in _bitmaps)
        {
            changed |= !bitmap.InUse;
            bitmap.InUse = true;
        }

        if (changed)
            StoreBitmapDirectory();
    }

    /// <summary>Stores the bits; they stay in memory for whoever reads the image.</summary>
    private void CloseBitmaps()
    {
        if (_bitmaps.Count == 0 || !_bitmapsLive)
            return;
        lock (_lock)
        {
            WriteBackUnderLock();
            foreach (var bitmap in _bitmaps)
            {
                if (bitmap.Live is not { IsInconsistent: false } live)
                    continue;
                StoreBits(bitmap, live);
                bitmap.InUse = false;
                bitmap.IsAuto = live.IsRecording;
            }

            WriteBackUnderLock();
            _file.Flush();
            StoreBitmapDirectory();
        }
    }

    private long BitmapBytes(Qcow2Bitmap bitmap) => (((Length + (1L << bitmap.GranularityBits) - 1) >> bitmap.GranularityBits) + 7) >> 3;

    private byte[] LoadBits(Qcow2Bitmap bitmap, long length)
    {
        var bits = new byte[(length + _clusterSize - 1) & -(long)_clusterSize];
        if (bitmap.TableSize != bits.Length >> _clusterBits)
            throw new BlockException(BlockError.Invalid, $"Bitmap '{bitmap.Name}' has a table of the wrong size");
        var table = ReadTable(bitmap.TableOffset, bitmap.TableSize);
        for (var i = 0; i < table.Length; i++)
        {
            var part = bits.AsSpan(i << _clusterBits, _clusterSize);
            var offset = (long)(table[i] & OffsetMask);
            if (offset != 0)
                _file.ReadPadded(offset, part);
            else if ((table[i] & 1) != 0)
                part.Fill(0xFF);
        }

        return bits;
    }

    /// <summary>Writes bits into their clusters, taking new ones where there were none.</summary>
    private void StoreBits(Qcow2Bitmap bitmap, DirtyBitmap live)
    {
        var bits = live.Snapshot();
        Array.Resize(ref bits, bitmap.TableSize << _clusterBits);
        var table = ReadTable(bitmap.TableOffset, bitmap.TableSize);
        for (var i = 0; i < table.Length; i++)
        {
            var part = bits.AsSpan(i << _clusterBits, _clusterSize);
            var offset = (long)(table[i] & OffsetMask);
            if (offset == 0 && !part.ContainsAnyExcept((byte)0))
            {
                table[i] = 0;
                continue;
            }

            if (offset == 0)
                offset = _refcounts.Allocate(1, out _) << _clusterBits;
            _file.Write(offset, part);
            table[i] = (ulong)offset;
        }

        WriteBackUnderLock();
        var bytes = new byte[table.Length * 8];
        for (var i = 0; i < table.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * 8), table[i]);
        _file.Write(bitmap.TableOffset, bytes);
    }

    /// <summary>The flags change in place: names and sizes stay.</summary>
    private void StoreBitmapDirectory()
    {
        var extension = _header.FindExtension(Qcow2Header.BitmapsExtension)!;
        var offset = (long)U64(extension, 16);
        foreach (var bitmap in _bitmaps)
        {
            var flags = new byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(flags, bitmap.OtherFlags | (bitmap.InUse ? InUseFlag : 0) | (bitmap.IsAuto ? AutoFlag : 0));
            _file.Write(offset + 12, flags);
            offset = (offset + 24 + bitmap.Extra.Length + Encoding.UTF8.GetByteCount(bitmap.Name) + 7) & ~7L;
        }

        _file.Flush();
    }
}
