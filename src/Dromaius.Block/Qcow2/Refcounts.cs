using System.Buffers.Binary;

namespace Dromaius.Block.Qcow2;

/// <summary>
/// Who uses which cluster of the file: the refcount table and its blocks. Used under the image's lock. Changes stay in memory until
/// <see cref="WriteBack"/>; new blocks and tables are in the file before anything points to them.
/// </summary>
internal sealed class Refcounts
{
    private const ulong OffsetMask = 0xFFFFFFFFFFFFFE00;

    private readonly BlockNode _file;
    private readonly Qcow2Header _header;
    private readonly TableCache _blocks;
    private readonly int _clusterBits;
    private readonly int _order;
    private readonly int _blockBits;
    private ulong[] _table;
    private long _freeHint;

    public Refcounts(BlockNode file, Qcow2Header header, Action writeBackAll, long cacheBytes = 4 << 20)
    {
        _file = file;
        _header = header;
        _clusterBits = header.ClusterBits;
        _order = header.RefcountOrder;
        _blockBits = _clusterBits + 3 - _order;
        _blocks = new TableCache(file, header.ClusterSize, cacheBytes) { WriteBackAll = writeBackAll };
        var bytes = new byte[header.RefcountTableClusters << _clusterBits];
        file.ReadPadded(header.RefcountTableOffset, bytes);
        _table = new ulong[bytes.Length / 8];
        for (var i = 0; i < _table.Length; i++)
            _table[i] = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(i * 8));
    }

    /// <summary>Counts the moves of its table and blocks.</summary>
    public int Version { get; private set; }

    /// <summary>Told of a table or block about to be written to a place that was free so far.</summary>
    public Action<long, long>? Placing { get; init; }

    /// <summary>Told what is wrong with the table; makes the failure of it.</summary>
    public Func<string, BlockException>? FoundDamage { get; init; }

    /// <summary>The largest count that an entry holds.</summary>
    public ulong Max => _order == 6 ? ulong.MaxValue : (1UL << (1 << _order)) - 1;
    public bool HasDirty => _blocks.HasDirty;
    public IReadOnlyList<ulong> Table => _table;
    public long ClustersPerBlock => 1L << _blockBits;

    public void WriteBack()
    {
        _file.OnStep("refblock_update_part");
        _blocks.WriteBack();
    }

    /// <summary>The count of a cluster; zero where there is no block.</summary>
    public ulong Get(long cluster)
    {
        var block = FindBlock(cluster);
        return block == null ? 0 : Entry(block.Data, (int)(cluster & (ClustersPerBlock - 1)));
    }

    /// <summary>No cluster of the block of this one counts as used; false if that cannot be told.</summary>
    public bool IsFree(long cluster)
    {
        try
        {
            return FindBlock(cluster) is not { } block || !block.Data.AsSpan().ContainsAnyExcept((byte)0);
        }
        catch (BlockException)
        {
            return false;
        }
    }

    /// <summary>Finds free clusters in a row and counts them as used once.</summary>
    /// <param name="wanted">At most this many.</param>
    /// <param name="got">How many were found; at least 1.</param>
    /// <returns>The first cluster.</returns>
    public long Allocate(long wanted, out long got)
    {
        var first = NextFree(_freeHint);
        Set(first, 1);
        got = 1;
        while (got < wanted && IsFreeAndCovered(first + got))
        {
            Set(first + got, 1);
            got++;
        }

        _freeHint = first + got;
        return first;
    }

    /// <summary>Allocates exactly so many clusters in a row.</summary>
    public long AllocateRun(long count)
    {
        var start = _freeHint;
        while (true)
        {
            var first = NextFree(start);
            var n = 1L;
            while (n < count)
            {
                EnsureBlock(first + n);
                if (Get(first + n) != 0)
                    break;
                n++;
            }

            if (n == count)
            {
                for (var i = 0L; i < count; i++)
                    Set(first + i, 1);
                if (first == _freeHint)
                    _freeHint = first + count;
                return first;
            }

            start = first + n;
        }
    }

    /// <summary>Adds to the count of a cluster.</summary>
    public void Add(long cluster, int delta)
    {
        var now = Get(cluster);
        if (delta < 0 && now < (ulong)-delta)
            throw new BlockException(BlockError.Io, $"qcow2: refcount of cluster {cluster} would become negative");
        if (delta > 0 && now > Max - (ulong)delta)
            throw new BlockException(BlockError.Invalid, "qcow2: refcount overflow");
        var next = now + (ulong)(long)delta;
        EnsureBlock(cluster);
        Set(cluster, next);
        if (next == 0)
            _freeHint = Math.Min(_freeHint, cluster);
    }

    /// <summary>Sets a count, for repair.</summary>
    public void Force(long cluster, ulong value)
    {
        EnsureBlock(cluster);
        Set(cluster, value);
        if (value == 0)
            _freeHint = Math.Min(_freeHint, cluster);
    }

    /// <summary>One past the last cluster that is in use.</summary>
    public long EndOfUse()
    {
        for (var i = _table.Length - 1; i >= 0; i--)
        {
            if ((_table[i] & OffsetMask) == 0)
                continue;
            var data = _blocks.Get((long)(_table[i] & OffsetMask)).Data;
            for (var j = ClustersPerBlock - 1; j >= 0; j--)
            {
                if (Entry(data, (int)j) != 0)
                    return ((long)i << _blockBits) + j + 1;
            }
        }

        return 0;
    }

    /// <summary>Clusters in use; stops counting above a limit.</summary>
    public long CountUsed(long limit)
    {
        var used = 0L;
        foreach (var entry in _table)
        {
            if ((entry & OffsetMask) == 0 || ((long)(entry & OffsetMask) & (_header.ClusterSize - 1)) != 0)
                continue;
            var data = _blocks.Get((long)(entry & OffsetMask)).Data;
            for (var i = 0; i < ClustersPerBlock && used <= limit; i++)
            {
                if (Entry(data, i) != 0)
                    used++;
            }
        }

        return used;
    }

    private Table? FindBlock(long cluster)
    {
        var index = cluster >> _blockBits;
        if (index >= _table.Length)
            return null;
        var offset = (long)(_table[index] & OffsetMask);
        if (offset == 0)
            return null;
        if ((offset & (_header.ClusterSize - 1)) != 0)
            throw Damaged($"Refblock offset 0x{offset:x} unaligned (reftable index: {(index == 0 ? "0" : $"0x{index:x}")})");
        if (!_blocks.Has(offset))
            _file.OnStep("refblock_load");
        return _blocks.Get(offset);
    }

    private BlockException Damaged(string message) => FoundDamage?.Invoke(message) ?? new BlockException(BlockError.Io, "qcow2: " + message);

    private bool IsFreeAndCovered(long cluster) => FindBlock(cluster) is { } block && Entry(block.Data, (int)(cluster & (ClustersPerBlock - 1))) == 0;

    private long NextFree(long from)
    {
        var cluster = from;
        while (true)
        {
            var block = FindBlock(cluster);
            if (block == null)
            {
                CreateBlock(cluster);
                continue;
            }

            var start = (int)(cluster & (ClustersPerBlock - 1));
            var at = FindZero(block.Data, start);
            if (at >= 0)
                return cluster - start + at;
            cluster += ClustersPerBlock - start;
        }
    }

    private int FindZero(byte[] data, int start)
    {
        if (_order == 4)
        {
            var entries = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ushort>(data)[start..];
            var found = entries.IndexOf((ushort)0);
            return found < 0 ? -1 : start + found;
        }

        for (var i = start; i < ClustersPerBlock; i++)
        {
            if (Entry(data, i) == 0)
                return i;
        }

        return -1;
    }

    private void EnsureBlock(long cluster)
    {
        if (FindBlock(cluster) == null)
            CreateBlock(cluster);
    }

    /// <summary>Makes the refcount block that counts a cluster; the block lies in the first cluster it can count itself.</summary>
    private void CreateBlock(long cluster)
    {
        var index = cluster >> _blockBits;
        if (index >= _table.Length)
        {
            GrowTable(index);
            if (FindBlock(cluster) != null)
                return;
        }

        // Its own range has no counts yet, so all of it is free; but the header is never.
        var home = index << _blockBits;
        if (home == 0)
            throw Damaged("Preventing invalid allocation of refcount block at offset 0");
        var offset = home << _clusterBits;
        Placing?.Invoke(offset, _header.ClusterSize);
        Version++;
        _file.OnStep("refblock_alloc");
        var block = _blocks.Create(offset);
        SetEntry(block, 0, 1);
        _file.Write(offset, block.Data);
        _file.Flush();
        _table[index] = (ulong)offset;
        WriteTableEntry((int)index);
    }

    private void WriteTableEntry(int index)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, _table[index]);
        _file.Write(_header.RefcountTableOffset + index * 8L, bytes);
    }

    /// <summary>Moves the table to where there is room for more blocks: behind everything it could count so far.</summary>
    private void GrowTable(long index)
    {
        var oldOffset = _header.RefcountTableOffset;
        var oldClusters = _header.RefcountTableClusters;
        var needed = Math.Max(index + 2, _table.Length + _table.Length / 2 + 1);
        var perCluster = 1L << (_clusterBits - 3);
        var clusters = (needed + perCluster - 1) / perCluster;
        if (clusters << _clusterBits > 8 << 20)
            throw new BlockException(BlockError.TooBig, "qcow2: the refcount table cannot grow further");

        var home = (long)_table.Length << _blockBits;
        var blocks = 1L;
        while (blocks << _blockBits < blocks + clusters)
            blocks++;
        Placing?.Invoke(home << _clusterBits, (blocks + clusters) << _clusterBits);
        Version++;
        _file.OnStep("reftable_grow");
        var table = new ulong[clusters * perCluster];
        _table.CopyTo(table, 0);
        for (var i = 0L; i < blocks; i++)
        {
            var offset = (home + i) << _clusterBits;
            var block = _blocks.Create(offset);
            for (var j = 0L; j < ClustersPerBlock && (i << _blockBits) + j < blocks + clusters; j++)
                SetEntry(block, (int)j, 1);
            _file.Write(offset, block.Data);
            table[(home >> _blockBits) + i] = (ulong)offset;
        }

        var bytes = new byte[table.Length * 8];
        for (var i = 0; i < table.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * 8), table[i]);
        var newOffset = (home + blocks) << _clusterBits;
        _file.Write(newOffset, bytes);
        _file.Flush();
        _table = table;
        _header.RefcountTableOffset = newOffset;
        _header.RefcountTableClusters = (int)clusters;
        var fields = new byte[12];
        BinaryPrimitives.WriteInt64BigEndian(fields, newOffset);
        BinaryPrimitives.WriteInt32BigEndian(fields.AsSpan(8), (int)clusters);
        _file.Write(48, fields);
        _file.Flush();
        for (var i = 0; i < oldClusters; i++)
            Add((oldOffset >> _clusterBits) + i, -1);
    }

    private void Set(long cluster, ulong value)
    {
        var block = FindBlock(cluster)!;
        SetEntry(block, (int)(cluster & (ClustersPerBlock - 1)), value);
    }

    private void SetEntry(Table block, int index, ulong value)
    {
        new BlockWriter(_order).Set(block.Data, index, value);
        var first = (int)(((long)index << _order) >> 3);
        _blocks.MarkDirty(block, first, 1 << Math.Max(_order - 3, 0));
    }

    private ulong Entry(byte[] data, int index) => _order switch
    {
        6 => BinaryPrimitives.ReadUInt64BigEndian(data.AsSpan(index * 8)),
        5 => BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(index * 4)),
        4 => BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan(index * 2)),
        3 => data[index],
        _ => (ulong)((data[(index << _order) >> 3] >> ((index << _order) & 7)) & ((1 << (1 << _order)) - 1)),
    };

    /// <summary>Puts counts of any width into a block.</summary>
    internal readonly struct BlockWriter(int order)
    {
        public void Set(byte[] data, int index, ulong value)
        {
            switch (order)
            {
                case 6:
                    BinaryPrimitives.WriteUInt64BigEndian(data.AsSpan(index * 8), value);
                    break;
                case 5:
                    BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(index * 4), (uint)value);
                    break;
                case 4:
                    BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(index * 2), (ushort)value);
                    break;
                case 3:
                    data[index] = (byte)value;
                    break;
                default:
                    var mask = (1 << (1 << order)) - 1;
                    var shift = (index << order) & 7;
                    ref var cell = ref data[(index << order) >> 3];
                    cell = (byte)((cell & ~(mask << shift)) | ((int)value << shift));
                    break;
            }
        }
    }
}
