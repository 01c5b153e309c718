using System.Buffers.Binary;
using System.IO.Compression;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Formats.Vmdk;

/// <summary>
/// A hosted sparse extent, perhaps with compressed grains. Source: VMware's Virtual Disk Format 5.0, "Hosted Sparse Extents" and
/// "Stream-Optimized Compressed Sparse Extents".
/// </summary>
internal sealed class VmdkSparseExtent : MappedNode
{
    public const uint Magic = 0x564D444B;
    private const uint CompressedFlag = 0x10000, MarkersFlag = 0x20000, ZeroGrainFlag = 4, RedundantFlag = 2;
    private const int SectorSize = 512, MarkerSize = 12;
    private const int MaxTables = 4096;

    private readonly uint[] _directory;
    private readonly uint[] _redundant = [];
    private readonly Dictionary<long, uint[]> _tables = [];
    private readonly int _grain, _entries;
    private readonly long _length;
    private readonly bool _zeroGrains, _markers;
    private long _end;

    public VmdkSparseExtent(BlockNode file, bool readOnly, bool discard)
        : base(file, readOnly, discard)
    {
        var header = new byte[SectorSize];
        file.ReadPadded(0, header);
        if (U32(header, 0) != Magic)
            throw new BlockException(BlockError.Invalid, "Image not in VMDK format");
        if (U64(header, 56) == ulong.MaxValue)
            header = ReadFooter(file);
        var version = U32(header, 4);
        if (version > 3)
            throw new BlockException(BlockError.NotSupported, $"Unsupported VMDK version {version}");
        var flags = U32(header, 8);
        IsCompressed = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(77)) == 1 && (flags & CompressedFlag) != 0;
        _markers = (flags & MarkersFlag) != 0;
        _zeroGrains = (flags & ZeroGrainFlag) != 0;
        var (capacity, grain) = (U64(header, 12), U64(header, 20));
        DescriptorOffset = (long)Math.Min(U64(header, 28), long.MaxValue / 512) * SectorSize;
        DescriptorSize = (long)Math.Min(U64(header, 36), 1 << 20) * SectorSize;
        _entries = (int)Math.Min(U32(header, 44), int.MaxValue);
        if (grain is 0 or > 0x8000 || !ulong.IsPow2(grain))
            throw new BlockException(BlockError.TooBig, "Invalid granularity, image may be corrupt");
        if (_entries is < 1 or > 512)
            throw new BlockException(BlockError.Invalid, "L2 table size too big");
        _grain = (int)grain * SectorSize;
        if (capacity > long.MaxValue / SectorSize)
            throw new BlockException(BlockError.TooBig, "VMDK extent too big");
        _length = (long)capacity * SectorSize;
        var span = (UInt128)(ulong)_grain * (ulong)_entries;
        var count = ((UInt128)(ulong)_length + span - 1) / span;
        if (count > 32 << 20 || (long)count * 4 > file.Length + SectorSize)
            throw new BlockException(BlockError.TooBig, "L1 size too big");
        _directory = ReadTable(file, U64(header, 56), (int)count);
        if ((flags & RedundantFlag) != 0 && !readOnly)
            _redundant = ReadTable(file, U64(header, 48), (int)count);
        _end = Math.Max((file.Length + SectorSize - 1) & -SectorSize, (long)Math.Min(U64(header, 64), 1UL << 40) * SectorSize);
    }

    public override string Driver => "vmdk";
    public override long Length => _length;
    public override int ClusterSize => _grain;
    public bool IsCompressed { get; }
    public long DescriptorOffset { get; }
    public long DescriptorSize { get; }
    public override bool CanCompress => IsCompressed;
    protected override int BlockSize => _grain;

    /// <summary>Notes tables and grains that are not in the file.</summary>
    public void Check(CheckResult result)
    {
        // A table that was seen before is not looked at again: there is only so much in a file.
        var seen = new HashSet<uint>();
        for (var i = 0; i < _directory.Length; i++)
        {
            if (_directory[i] is var place && (place == 0 || !seen.Add(place)))
                continue;
            if (IsOutside(place, $"grain table {i}", result))
                continue;
            var table = ReadTable(File, place, _entries);
            for (var k = 0; k < table.Length; k++)
            {
                if (table[k] != 0 && (table[k] != 1 || !_zeroGrains))
                    _ = IsOutside(table[k], $"grain {((long)i * _entries) + k}", result);
            }
        }
    }

    private bool IsOutside(uint sector, string what, CheckResult result)
    {
        if ((long)sector * SectorSize < File.Length)
            return false;
        result.Say($"ERROR: {what} is at {(long)sector * SectorSize}, after the end of the file");
        result.Corruptions++;
        return true;
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        if (!IsCompressed)
        {
            base.WriteCore(offset, from);
            return;
        }

        // Compressed grains cannot change in place; whole new ones can be added.
        CheckRange(offset, from.Length);
        CheckWritable();
        if (offset % _grain != 0 || (from.Length % _grain != 0 && offset + from.Length != Length))
            throw new BlockException(BlockError.NotSupported, "VMDK: only whole grains can be written to a compressed extent");
        var whole = new byte[_grain];
        var packed = new byte[_grain + 1024];
        for (var at = 0; at < from.Length; at += _grain)
        {
            var part = from[at..Math.Min(at + _grain, from.Length)];
            part.CopyTo(whole);
            whole.AsSpan(part.Length).Clear();
            WritePacked(offset + at, packed.AsSpan(0, Compress(whole, packed)));
        }
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        if (IsCompressed && Status(offset, length) is { IsAllocated: false } status && status.Length == length)
            return;
        base.WriteZeroesCore(offset, length, mayUnmap);
    }

    public override int Compress(ReadOnlySpan<byte> cluster, Span<byte> into)
    {
        using var stream = new MemoryStream();
        using (var zlib = new ZLibStream(stream, CompressionLevel.Optimal, leaveOpen: true))
            zlib.Write(cluster);
        if (stream.Length > into.Length)
            throw new BlockException(BlockError.Io);
        stream.GetBuffer().AsSpan(0, (int)stream.Length).CopyTo(into);
        return (int)stream.Length;
    }

    protected override void WritePackedCore(long offset, ReadOnlySpan<byte> packed)
    {
        CheckWritable();
        lock (TableLock)
        {
            var grain = offset / _grain;
            if (Lookup(grain) != Unallocated)
                throw new BlockException(BlockError.Io, "Concurrent allocation of a compressed grain");
            var host = _end;
            var bytes = new byte[(MarkerSize + packed.Length + SectorSize - 1) & -SectorSize];
            BinaryPrimitives.WriteInt64LittleEndian(bytes, offset / SectorSize);
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(8), packed.Length);
            packed.CopyTo(bytes.AsSpan(MarkerSize));
            File.Write(host, bytes);
            _end = host + bytes.Length;
            Link(grain, host);
        }
    }

    public override BlockStatus Status(long offset, long length)
    {
        var status = base.Status(offset, length);
        return IsCompressed && status.HostOffset >= 0
            ? new BlockStatus(Math.Min(status.Length, _grain - offset % _grain), true, false, -1, true)
            : status;
    }

    public override void Read(long offset, Span<byte> into)
    {
        if (!IsCompressed)
        {
            base.Read(offset, into);
            return;
        }

        CheckRange(offset, into.Length);
        while (!into.IsEmpty)
        {
            var within = (int)(offset % _grain);
            var part = into[..Math.Min(into.Length, _grain - within)];
            long host;
            lock (TableLock)
                host = Lookup(offset / _grain);
            if (host >= 0)
                ReadGrain(host, within, part);
            else if (host == Unallocated && Backing is { } backing)
                backing.ReadPadded(offset, part);
            else
                part.Clear();
            offset += part.Length;
            into = into[part.Length..];
        }
    }

    protected override long Lookup(long block)
    {
        var table = TableOf(block);
        var entry = table?[block % _entries] ?? 0;
        if (entry == 1 && _zeroGrains)
            return Zero;
        return entry == 0 ? Unallocated : (long)entry * SectorSize;
    }

    protected override long Allocate(long block)
    {
        if (TableOf(block) == null)
            throw new BlockException(BlockError.Io, "VMDK: the grain table is missing");
        return (_end + _grain - 1) / _grain * _grain;
    }

    protected override void Link(long block, long host)
    {
        if (!IsCompressed)
            _end = host + _grain;
        if (host / SectorSize > uint.MaxValue)
            throw new BlockException(BlockError.TooBig);
        SetEntry(block, (uint)(host / SectorSize));
    }

    protected override bool MarkZero(long block)
    {
        if (!_zeroGrains || TableOf(block) == null)
            return false;
        SetEntry(block, 1);
        return true;
    }

    private void SetEntry(long block, uint entry)
    {
        var table = TableOf(block) ?? throw new BlockException(BlockError.Io, "VMDK: the grain table is missing");
        table[block % _entries] = entry;
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, entry);
        var at = block % _entries * 4;
        File.Write(_directory[block / _entries] * (long)SectorSize + at, bytes);
        if (_redundant.Length > 0 && _redundant[block / _entries] is var copy && copy != 0)
            File.Write(copy * (long)SectorSize + at, bytes);
    }

    private uint[]? TableOf(long block)
    {
        var index = block / _entries;
        if (index >= _directory.Length || _directory[index] == 0)
            return null;
        if (_tables.TryGetValue(index, out var table))
            return table;
        if (_tables.Count >= MaxTables)
            _tables.Clear();
        table = ReadTable(File, _directory[index], _entries);
        _tables[index] = table;
        return table;
    }

    private void ReadGrain(long host, int within, Span<byte> into)
    {
        var size = _grain;
        var data = host;
        if (_markers)
        {
            var marker = new byte[MarkerSize];
            File.ReadPadded(host, marker);
            size = BinaryPrimitives.ReadInt32LittleEndian(marker.AsSpan(8));
            data += MarkerSize;
            if (size <= 0 || size > 2 * _grain + 1024)
                throw new BlockException(BlockError.Io, "VMDK: bad compressed grain");
        }

        var packed = new byte[size];
        File.ReadPadded(data, packed);
        var grain = new byte[_grain];
        try
        {
            using var zlib = new ZLibStream(new MemoryStream(packed), CompressionMode.Decompress);
            // The last grain of a disk may be short.
            _ = zlib.ReadAtLeast(grain, _grain, throwOnEndOfStream: false);
        }
        catch (InvalidDataException e)
        {
            throw new BlockException(BlockError.Io, "VMDK: bad compressed grain", e);
        }

        grain.AsSpan(within, into.Length).CopyTo(into);
    }

    private static byte[] ReadFooter(BlockNode file)
    {
        // Footer marker, the header again, end-of-stream marker: a sector each.
        var footer = new byte[3 * SectorSize];
        if (file.Length < footer.Length)
            throw new BlockException(BlockError.Invalid, "VMDK: the footer is missing");
        file.Read(file.Length - footer.Length, footer);
        if (U32(footer, 12) != 3 || U32(footer, SectorSize) != Magic || U64(footer, SectorSize + 56) == ulong.MaxValue)
            throw new BlockException(BlockError.Invalid, "VMDK: the footer is invalid");
        return footer[SectorSize..(2 * SectorSize)];
    }

    private static uint[] ReadTable(BlockNode file, ulong sector, int entries)
    {
        if (sector > long.MaxValue / SectorSize / 2)
            throw new BlockException(BlockError.Invalid, "VMDK: bad table offset");
        var bytes = new byte[entries * 4];
        file.ReadPadded((long)sector * SectorSize, bytes);
        var table = new uint[entries];
        for (var i = 0; i < entries; i++)
            table[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(i * 4));
        return table;
    }

    private static uint U32(byte[] data, int at) => BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan(at));

    private static ulong U64(byte[] data, int at) => BinaryPrimitives.ReadUInt64LittleEndian(data.AsSpan(at));
}
