using System.Buffers.Binary;

namespace Dromaius.Block.Qcow2;

[Flags]
public enum Qcow2Repair
{
    None = 0,
    Leaks = 1,
    Errors = 2,
    All = 3,
}

/// <summary>What a check of an image found.</summary>
public sealed class CheckResult
{
    public long Corruptions { get; set; }
    public long Leaks { get; set; }
    public long CheckErrors { get; set; }
    public long CorruptionsFixed { get; set; }
    public long LeaksFixed { get; set; }
    public long ImageEndOffset { get; set; }
    public long TotalClusters { get; set; }
    public long AllocatedClusters { get; set; }
    public long FragmentedClusters { get; set; }
    public long CompressedClusters { get; set; }

    /// <summary>One line for each finding.</summary>
    public List<string> Lines { get; } = [];

    /// <summary>A damaged image could fill the host's memory with lines.</summary>
    internal void Say(string line)
    {
        if (Lines.Count < 100_000)
            Lines.Add(line);
    }
}

/// <summary>Compares the reference counts of an image with what its tables refer to, and repairs.</summary>
public sealed class Qcow2Checker(Qcow2Node node)
{
    private const int PageBits = 12;
    private readonly Dictionary<long, uint[]> _found = [];
    private readonly CheckResult _result = new();
    private long _highest = -1;
    private bool _rebuild;

    public CheckResult Run(Qcow2Repair repair) => node.WithMetadata((header, refcounts, l1) => Run(repair, header, refcounts, l1));

    private CheckResult Run(Qcow2Repair repair, Qcow2Header header, Refcounts refcounts, ulong[] l1)
    {
        _result.TotalClusters = (header.Size + header.ClusterSize - 1) >> header.ClusterBits;
        Count(0, header.ClusterSize, header);
        CountL1(l1, header.L1Offset, header, isActive: true);
        foreach (var snapshot in node.Snapshots)
            CountL1(node.ReadSnapshotL1(snapshot), snapshot.L1Offset, header, isActive: false);
        if (node.Snapshots.Count > 0)
            Count(header.SnapshotsOffset, node.SnapshotTableBytes, header);
        CountBitmaps(header);
        if (header.FindExtension(Qcow2Header.EncryptionExtension) is { Length: >= 16 } encryption)
            Count(BinaryPrimitives.ReadInt64BigEndian(encryption), BinaryPrimitives.ReadInt64BigEndian(encryption.AsSpan(8)), header);
        Count(header.RefcountTableOffset, (long)header.RefcountTableClusters << header.ClusterBits, header);
        CountRefcountBlocks(header, refcounts, repair);
        Compare(header, refcounts, repair);
        if (_rebuild && (repair & Qcow2Repair.Errors) != 0)
        {
            Rebuild(header);
            return _result;
        }

        CheckFlags(header, refcounts, l1, repair);
        if ((repair & Qcow2Repair.Errors) != 0 && _result.Corruptions == 0 && _result.CheckErrors == 0)
            node.ClearCorrupt();
        return _result;
    }

    private void Count(long offset, long length, Qcow2Header header)
    {
        if (length <= 0)
            return;
        if (offset < 0 || offset > long.MaxValue - length)
        {
            Error($"ERROR: counting reference for region exceeding the end of the file by one cluster or more: offset 0x{offset:x} size 0x{length:x}");
            return;
        }

        if (offset + length > node.FileEnd + header.ClusterSize && node.FileEnd >= 0)
        {
            Error($"ERROR: counting reference for region exceeding the end of the file by one cluster or more: offset 0x{offset:x} size 0x{length:x}");
            return;
        }

        for (var cluster = offset >> header.ClusterBits; cluster <= (offset + length - 1) >> header.ClusterBits; cluster++)
        {
            if (!_found.TryGetValue(cluster >> PageBits, out var page))
                _found[cluster >> PageBits] = page = new uint[1 << PageBits];
            page[cluster & ((1 << PageBits) - 1)]++;
            _highest = Math.Max(_highest, cluster);
        }
    }

    private uint References(long cluster) =>
        _found.TryGetValue(cluster >> PageBits, out var page) ? page[cluster & ((1 << PageBits) - 1)] : 0;

    private void Error(string line)
    {
        _result.Say(line);
        _result.Corruptions++;
    }

    private void CountL1(ulong[] l1, long offset, Qcow2Header header, bool isActive)
    {
        Count(offset, l1.Length * 8L, header);
        var next = 0L;
        for (var i = 0; i < l1.Length; i++)
        {
            var l2Offset = (long)(l1[i] & Qcow2Node.TableOffsetMask);
            if (l2Offset == 0)
                continue;
            if ((l2Offset & (header.ClusterSize - 1)) != 0)
            {
                Error($"ERROR l2_offset={l2Offset:x}: Table is not cluster aligned; L1 entry corrupted");
                continue;
            }

            var before = _result.Corruptions;
            Count(l2Offset, header.ClusterSize, header);
            if (_result.Corruptions > before)
                continue;
            _ = node.VisitL2(l2Offset, (_, entry, kind) =>
            {
                CountEntry(entry, kind, header, isActive, ref next);
                return null;
            });
        }
    }

    /// <summary>Counts what an L2 entry refers to.</summary>
    private void CountEntry(ulong entry, ClusterKind kind, Qcow2Header header, bool isActive, ref long next)
    {
        switch (kind)
        {
            case ClusterKind.Compressed:
                if ((entry >> 63) != 0)
                {
                    _result.Say($"ERROR: coffset=0x{entry & ~(1UL << 63):x}: copied flag must never be set for compressed clusters");
                    _result.Corruptions++;
                }

                var (offset, length) = node.CompressedExtent(entry);
                Count(offset, length, header);
                if (isActive)
                {
                    _result.CompressedClusters++;
                    _result.AllocatedClusters++;
                    // Compressed clusters always count as fragmented.
                    _result.FragmentedClusters++;
                }

                return;
            case ClusterKind.Normal or ClusterKind.ZeroAllocated:
                var host = (long)(entry & Qcow2Node.TableOffsetMask);
                if ((host & (header.ClusterSize - 1)) != 0)
                {
                    Error($"ERROR offset={host:x}: Cluster is not properly aligned; L2 entry corrupted.");
                    return;
                }

                if (isActive)
                {
                    _result.AllocatedClusters++;
                    if (next != 0 && host != next)
                        _result.FragmentedClusters++;
                    next = host + header.ClusterSize;
                }

                if (!header.HasExternalData)
                    Count(host, header.ClusterSize, header);
                return;
        }
    }

    private void CountBitmaps(Qcow2Header header)
    {
        if ((header.Autoclear & (ulong)AutoclearFeatures.Bitmaps) == 0
            || header.FindExtension(Qcow2Header.BitmapsExtension) is not { Length: >= 24 } extension)
            return;
        try
        {
            Count(BinaryPrimitives.ReadInt64BigEndian(extension.AsSpan(16)), BinaryPrimitives.ReadInt64BigEndian(extension.AsSpan(8)), header);
            foreach (var bitmap in node.Bitmaps)
            {
                Count(bitmap.TableOffset, bitmap.TableSize * 8L, header);
                if (bitmap.TableOffset + bitmap.TableSize * 8L > node.FileEnd + header.ClusterSize)
                    continue;
                foreach (var entry in node.ReadRawTable(bitmap.TableOffset, bitmap.TableSize))
                {
                    if ((entry & Qcow2Node.TableOffsetMask) is var offset && offset != 0)
                        Count((long)offset, header.ClusterSize, header);
                }
            }
        }
        catch (BlockException)
        {
            _result.CheckErrors++;
        }
    }

    private void CountRefcountBlocks(Qcow2Header header, Refcounts refcounts, Qcow2Repair repair)
    {
        for (var i = 0; i < refcounts.Table.Count; i++)
        {
            var offset = (long)(refcounts.Table[i] & Qcow2Node.TableOffsetMask);
            if (offset == 0)
                continue;
            if ((offset & (header.ClusterSize - 1)) != 0)
            {
                Error($"ERROR refcount block {i} is not cluster aligned; refcount table entry corrupted");
                _rebuild = true;
                continue;
            }

            if (offset >= node.FileEnd && !BringInside(offset, i, header, repair))
                continue;

            Count(offset, header.ClusterSize, header);
            if (References(offset >> header.ClusterBits) != 1)
            {
                Error($"ERROR refcount block {i} refcount={References(offset >> header.ClusterBits)}");
                _rebuild = true;
            }
        }
    }

    /// <summary>A refcount block behind the end of the file: the file grows over it, if it can.</summary>
    private bool BringInside(long offset, int index, Qcow2Header header, Qcow2Repair repair)
    {
        var fix = (repair & Qcow2Repair.Errors) != 0;
        _result.Say($"{(fix ? "Repairing" : "ERROR")} refcount block {index} is outside image");
        if (fix)
        {
            try
            {
                if (offset > long.MaxValue - header.ClusterSize)
                    throw new BlockException(BlockError.Invalid);
                node.File.Resize(offset + header.ClusterSize);
                _result.CorruptionsFixed++;
                return true;
            }
            catch (BlockException e)
            {
                _result.Say($"ERROR could not resize image: {e.Message}");
            }
        }

        _result.Corruptions++;
        _rebuild = true;
        return false;
    }

    private void Compare(Qcow2Header header, Refcounts refcounts, Qcow2Repair repair)
    {
        var last = -1L;
        for (var block = 0; block < refcounts.Table.Count; block++)
        {
            var offset = refcounts.Table[block] & Qcow2Node.TableOffsetMask;
            var start = block * refcounts.ClustersPerBlock;
            if (offset == 0 && start > _highest)
                continue;
            if (offset == 0 && !AnyFound(start, start + refcounts.ClustersPerBlock))
                continue;
            if (offset != 0 && ((long)offset >= node.FileEnd || ((long)offset & (header.ClusterSize - 1)) != 0))
                continue;
            for (var cluster = start; cluster < start + refcounts.ClustersPerBlock; cluster++)
            {
                var count = refcounts.Get(cluster);
                var references = References(cluster);
                if (count != 0 || references != 0)
                    last = cluster;
                if (count == references)
                    continue;
                CompareOne(cluster, count, references, offset == 0, refcounts, repair);
            }
        }

        for (var cluster = refcounts.Table.Count * refcounts.ClustersPerBlock; cluster <= _highest; cluster++)
        {
            if (References(cluster) is var references && references != 0)
                CompareOne(cluster, 0, references, true, refcounts, repair);
        }

        _result.ImageEndOffset = (Math.Max(last, _highest) + 1) << header.ClusterBits;
    }

    private bool AnyFound(long start, long end)
    {
        for (var page = start >> PageBits; page <= (end - 1) >> PageBits; page++)
        {
            if (_found.ContainsKey(page))
                return true;
        }

        return false;
    }

    private void CompareOne(long cluster, ulong count, uint references, bool noBlock, Refcounts refcounts, Qcow2Repair repair)
    {
        var isLeak = count > references;
        var fix = (repair & (isLeak ? Qcow2Repair.Leaks : Qcow2Repair.Errors)) != 0;
        // A cluster in use that counts as free means that the counts as a whole cannot be trusted.
        if (fix && !isLeak && (noBlock || count == 0))
        {
            _rebuild = true;
            fix = false;
        }

        _result.Say($"{(fix ? "Repairing" : isLeak ? "Leaked" : "ERROR")} cluster {cluster} refcount={count} reference={references}");
        if (fix)
        {
            try
            {
                refcounts.Force(cluster, references);
                if (isLeak)
                    _result.LeaksFixed++;
                else
                    _result.CorruptionsFixed++;
                return;
            }
            catch (BlockException)
            {
                _result.CheckErrors++;
            }
        }

        if (isLeak)
            _result.Leaks++;
        else
            _result.Corruptions++;
    }

    private void CheckFlags(Qcow2Header header, Refcounts refcounts, ulong[] l1, Qcow2Repair repair)
    {
        if (header.HasExternalData)
            return;
        var fix = (repair & Qcow2Repair.Errors) != 0;
        for (var i = 0; i < l1.Length; i++)
        {
            var l2Offset = (long)(l1[i] & Qcow2Node.TableOffsetMask);
            if (l2Offset == 0 || (l2Offset & (header.ClusterSize - 1)) != 0 || l2Offset >= node.FileEnd)
                continue;
            var count = refcounts.Get(l2Offset >> header.ClusterBits);
            if ((count == 1) != ((l1[i] >> 63) != 0))
            {
                Flag($"OFLAG_COPIED L2 cluster: l1_index={i} l1_entry={l1[i]:x} refcount={count}", fix);
                if (fix)
                    node.SetL1Flag(i, count == 1);
            }

            _ = node.VisitL2(l2Offset, (_, entry, kind) =>
            {
                if (kind is not (ClusterKind.Normal or ClusterKind.ZeroAllocated))
                    return null;
                var host = (long)(entry & Qcow2Node.TableOffsetMask);
                if ((host & (header.ClusterSize - 1)) != 0)
                    return null;
                var references = refcounts.Get(host >> header.ClusterBits);
                if ((references == 1) == ((entry >> 63) != 0))
                    return null;
                Flag($"OFLAG_COPIED data cluster: l2_entry={entry:x} refcount={references}", fix);
                return fix ? entry ^ (1UL << 63) : null;
            });
        }
    }

    private void Flag(string text, bool fix)
    {
        _result.Say($"{(fix ? "Repairing" : "ERROR")} {text}");
        if (fix)
            _result.CorruptionsFixed++;
        else
            _result.Corruptions++;
    }

    /// <summary>Makes a new refcount table and blocks behind everything else, and counts again with them.</summary>
    private void Rebuild(Qcow2Header header)
    {
        _result.Say("Rebuilding refcount structure");
        node.RebuildRefcounts(cluster => References(cluster), _highest + 1);
        // The old table and blocks are found to be leaked, and freed.
        var again = new Qcow2Checker(node).Run(Qcow2Repair.All);
        foreach (var line in again.Lines)
            _result.Say(line);
        _result.CorruptionsFixed += _result.Corruptions + again.CorruptionsFixed;
        _result.LeaksFixed += _result.Leaks;
        _result.Corruptions = again.Corruptions;
        _result.Leaks = again.Leaks;
        _result.ImageEndOffset = again.ImageEndOffset;
        _rebuild = false;
    }
}
