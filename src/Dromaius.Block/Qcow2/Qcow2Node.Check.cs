using System.Buffers.Binary;

namespace Dromaius.Block.Qcow2;

/// <summary>What the checker needs of an image.</summary>
public sealed partial class Qcow2Node
{
    internal const ulong TableOffsetMask = OffsetMask;

    public CheckResult Check(Qcow2Repair repair)
    {
        var result = new Qcow2Checker(this).Run(repair);
        if (repair == Qcow2Repair.All && result.Corruptions + result.CheckErrors == 0 && result.Failure == BlockError.None)
        {
            MarkClean();
            ClearCorrupt();
        }

        return result;
    }

    public override Graph.InfoTree FormatInfo
    {
        get
        {
            var info = new Graph.InfoTree().Add("compat", _header.Version == 2 ? "0.10" : "1.1");
            if (_header.Version >= 3)
                info.Add("compression-type", Compression == Qcow2Compression.Zstd ? "zstd" : "zlib").Add("lazy-refcounts", LazyRefcounts);
            else
                info.Add("compression-type", "zlib");
            if (Bitmaps.Count > 0)
                info.Add("bitmaps", Bitmaps.Select(static b => (object)BitmapInfo(b)).ToArray());
            info.Add("refcount-bits", RefcountBits);
            if (DataFileName != null)
                info.Add("data-file", DataFileName).Add("data-file-raw", DataFileRaw);
            if (_header.Version >= 3)
                info.Add("corrupt", IsCorrupt).Add("extended-l2", ExtendedL2);
            return info;
        }
    }

    private static Graph.InfoTree BitmapInfo(Qcow2Bitmap bitmap)
    {
        var flags = new List<object>();
        if (bitmap.InUse)
            flags.Add("in-use");
        if (bitmap.IsAuto)
            flags.Add("auto");
        return new Graph.InfoTree().Add("flags", flags).Add("name", bitmap.Name).Add("granularity", 1L << bitmap.GranularityBits);
    }

    /// <summary>Where the state of the machine is kept in snapshots: behind what the L1 table of the disk covers.</summary>
    public long VmStateOffset => _header.L1SizeFor(Length) << (_clusterBits + _header.L2Bits);

    internal long FileEnd => _file.Length;
    internal long SnapshotTableBytes => _snapshotTableClusters << _clusterBits;
    internal ulong[] L1 => _l1;

    internal T WithMetadata<T>(Func<Qcow2Header, Refcounts, ulong[], T> action)
    {
        if (_gate.IsWriteLockHeld)
            return action(_header, _refcounts, _l1);
        _gate.EnterWriteLock();
        try
        {
            lock (_lock)
            {
                if (!_readOnly)
                    ApplyFrees();
                var result = action(_header, _refcounts, _l1);
                if (!_readOnly)
                {
                    _writeCounts = true;
                    WriteBackUnderLock();
                    _writeCounts = false;
                    _file.Flush();
                }

                return result;
            }
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    internal (long Offset, int Length) CompressedExtent(ulong entry) => CompressedRange(entry);

    internal ulong[] ReadRawTable(long offset, int entries) => ReadTable(offset, entries);

    /// <summary>Shows every entry of an L2 table; what is returned takes the entry's place. True if any was changed.</summary>
    internal bool VisitL2(long l2Offset, Func<int, ulong, ClusterKind, ulong?> visit)
    {
        var changed = false;
        var table = _l2.Get(l2Offset);
        for (var i = 0; i < 1 << _header.L2Bits; i++)
        {
            var entry = Entry(table, i);
            if (entry == 0)
                continue;
            if (visit(i, entry, KindOf(entry)) is { } replacement)
            {
                SetEntry(table, i, replacement, Bitmap(table, i));
                changed = true;
            }
        }

        return changed;
    }

    internal void SetL1Flag(int index, bool copied)
    {
        _l1[index] = copied ? _l1[index] | Copied : _l1[index] & ~Copied;
        MarkL1Dirty(index);
    }

    internal void ClearCorrupt()
    {
        if (!IsCorrupt || _readOnly)
            return;
        _header.Incompatible &= ~IncompatibleFeatures.Corrupt;
        WriteHeaderFlags();
    }

    internal void MarkClean()
    {
        if (!_readOnly)
            ClearDirtyFlag();
    }

    /// <summary>Writes refcount structures for given counts behind the end of everything, and points the header there.</summary>
    /// <param name="references">The count of a cluster.</param>
    /// <param name="anyFound">Whether clusters from the first up to the second have counts; blocks without any are left out.</param>
    /// <param name="end">One past the last cluster with a count.</param>
    internal void RebuildRefcounts(Func<long, uint> references, Func<long, long, bool> anyFound, long end)
    {
        var blockBits = _clusterBits + 3 - _header.RefcountOrder;
        var tableEntries = 1L << (_clusterBits - 3);
        var used = new SortedSet<long>();
        for (var block = 0L; block << blockBits < end; block++)
        {
            if (anyFound(block << blockBits, (block + 1) << blockBits))
                _ = used.Add(block);
        }

        // The new structures count themselves, so their size is a fixed point.
        SortedSet<long> blocks;
        long home, tableClusters;
        var needed = 1L;
        while (true)
        {
            home = FindUnreferenced(references, needed, end);
            blocks = [.. used];
            for (var block = home >> blockBits; block <= (home + needed - 1) >> blockBits; block++)
                _ = blocks.Add(block);
            tableClusters = (blocks.Max + tableEntries) / tableEntries;
            if (tableClusters << _clusterBits > 8 << 20)
                throw new BlockException(BlockError.TooBig, "qcow2: the image is too large for its refcount table");
            if (blocks.Count + tableClusters <= needed)
                break;
            needed = blocks.Count + tableClusters;
        }

        var table = new byte[tableClusters << _clusterBits];
        var cluster = home;
        var scratch = new Refcounts.BlockWriter(_header.RefcountOrder);
        foreach (var block in blocks)
        {
            var data = new byte[_clusterSize];
            for (var j = 0L; j < 1L << blockBits; j++)
            {
                var c = (block << blockBits) + j;
                var count = c >= home && c < home + blocks.Count + tableClusters ? 1UL : references(c);
                if (count != 0)
                    scratch.Set(data, (int)j, count);
            }

            _file.Write(cluster << _clusterBits, data);
            BinaryPrimitives.WriteInt64BigEndian(table.AsSpan((int)block * 8), cluster << _clusterBits);
            cluster++;
        }

        _file.Write(cluster << _clusterBits, table);
        _file.Flush();
        var fields = new byte[12];
        BinaryPrimitives.WriteInt64BigEndian(fields, cluster << _clusterBits);
        BinaryPrimitives.WriteInt32BigEndian(fields.AsSpan(8), (int)tableClusters);
        _file.Write(48, fields);
        _file.Flush();
        _header.RefcountTableOffset = cluster << _clusterBits;
        _header.RefcountTableClusters = (int)tableClusters;
        _refcounts = new Refcounts(_file, _header, WriteBackUnderLock) { Placing = CheckOverlap, FoundDamage = MarkCorrupt };
        _metadata = null;
    }

    /// <summary>The first of so many clusters in a row that nothing refers to; behind the end if there are none before it.</summary>
    private static long FindUnreferenced(Func<long, uint> references, long count, long end)
    {
        var run = 0L;
        for (var cluster = 0L; cluster < end; cluster++)
        {
            run = references(cluster) == 0 ? run + 1 : 0;
            if (run == count)
                return cluster + 1 - count;
        }

        return end - run;
    }
}
