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

    /// <summary>Why the check came to no end, or none.</summary>
    public BlockError Failure { get; set; }
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

    /// <summary>Bits that a standard cluster's entry and an L1 entry keep free (qcow2 specification, "Cluster mapping").</summary>
    private const ulong ReservedEntryBits = 0x3F000000000001FE, ReservedTableBits = 0x7F000000000001FF, ReservedBlockBits = 0x1FF;

    /// <summary>A refcount block behind the end of the file may be brought inside over so many bytes: entries can be anything.</summary>
    private const long MaxGrowth = 1L << 40;
    private readonly Dictionary<long, uint[]> _found = [];
    private readonly CheckResult _result = new();
    private readonly long _oldEnd = node.FileEnd;
    private long _highest = -1;
    private bool _rebuild;

    public CheckResult Run(Qcow2Repair repair) => node.WithMetadata((header, refcounts, l1) => Run(repair, header, refcounts, l1));

    private CheckResult Run(Qcow2Repair repair, Qcow2Header header, Refcounts refcounts, ulong[] l1)
    {
        _result.TotalClusters = (header.Size + header.ClusterSize - 1) >> header.ClusterBits;
        CountAll(header, refcounts, l1, repair);
        // First a look at everything: whether counts can be mended one by one shows only then.
        var counted = (_result.Corruptions, _result.Leaks, _result.CheckErrors);
        Compare(header, refcounts, Qcow2Repair.None);
        if (_rebuild && (repair & Qcow2Repair.Errors) != 0)
        {
            Rebuild(header, repair);
            return _result;
        }

        if (repair != Qcow2Repair.None)
        {
            if (_rebuild)
            {
                _result.Say("ERROR need to rebuild refcount structures");
                _result.Failure = BlockError.Io;
                return _result;
            }

            if (_result.Leaks != 0 || _result.Corruptions != 0)
            {
                (_result.Corruptions, _result.Leaks, _result.CheckErrors) = counted;
                Compare(header, refcounts, repair);
            }
        }

        CheckFlags(header, refcounts, l1, repair);
        return _result;
    }

    /// <summary>The check after new counts were made: the old table and blocks are leaked, and freed.</summary>
    private CheckResult Recheck(Qcow2Repair repair) => node.WithMetadata((header, refcounts, l1) =>
    {
        CountAll(header, refcounts, l1, Qcow2Repair.None);
        Compare(header, refcounts, repair | Qcow2Repair.Leaks);
        if (_rebuild)
            _result.Say("ERROR rebuilt refcount structure is still broken");
        _result.LeaksFixed = 0;
        CheckFlags(header, refcounts, l1, repair);
        return _result;
    });

    /// <summary>Counts the references to every cluster.</summary>
    private void CountAll(Qcow2Header header, Refcounts refcounts, ulong[] l1, Qcow2Repair repair)
    {
        Count(0, header.ClusterSize, header);
        CountL1(l1, header.L1Offset, header, isActive: true);
        foreach (var snapshot in node.Snapshots)
        {
            if (!node.IsMisplaced(snapshot))
            {
                CountL1(node.ReadSnapshotL1(snapshot), snapshot.L1Offset, header, isActive: false);
                continue;
            }

            _result.Corruptions++;
            _result.Say($"ERROR snapshot {snapshot.Id} ({snapshot.Name}) l1_offset=0x{snapshot.L1Offset:x}: L1 table is not cluster aligned; snapshot table entry corrupted");
        }

        if (node.Snapshots.Count > 0)
            Count(header.SnapshotsOffset, node.SnapshotTableBytes, header);
        CountBitmaps(header);
        if (header.FindExtension(Qcow2Header.EncryptionExtension) is { Length: >= 16 } encryption)
            Count(BinaryPrimitives.ReadInt64BigEndian(encryption), BinaryPrimitives.ReadInt64BigEndian(encryption.AsSpan(8)), header);
        Count(header.RefcountTableOffset, (long)header.RefcountTableClusters << header.ClusterBits, header);
        CountRefcountBlocks(header, refcounts, repair);
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
            if ((l1[i] & ReservedTableBits) != 0)
                Error($"ERROR found L1 entry with reserved bits set: {l1[i]:x}");
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
                if (kind != ClusterKind.Compressed && (entry & ReservedEntryBits) != 0)
                    Error($"ERROR found l2 entry with reserved bits set: {entry:x}");
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
            if ((refcounts.Table[i] & ReservedBlockBits) != 0)
            {
                Error($"ERROR refcount table entry {i} has reserved bits set");
                _rebuild = true;
                continue;
            }

            var offset = (long)refcounts.Table[i];
            if (offset == 0)
                continue;
            if ((offset & (header.ClusterSize - 1)) != 0)
            {
                Error($"ERROR refcount block {i} is not cluster aligned; refcount table entry corrupted");
                _rebuild = true;
                continue;
            }

            if ((offset < 0 || offset >= node.FileEnd) && !BringInside(offset, i, header, repair))
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
        if (!fix)
            _result.Corruptions++;
        else
        {
            try
            {
                if (offset < 0 || offset > long.MaxValue - header.ClusterSize)
                    throw new BlockException(BlockError.Invalid);
                if (offset - _oldEnd > MaxGrowth)
                    throw new BlockException(BlockError.TooBig);
                node.File.Resize(offset + header.ClusterSize);
                _result.CorruptionsFixed++;
                return true;
            }
            catch (BlockException e)
            {
                _result.Say($"ERROR could not resize image: {e.Message}");
                _result.Corruptions++;
                _rebuild = true;
            }
        }

        return false;
    }

    /// <summary>Compares the counts of every cluster that the file has, or that anything refers to.</summary>
    private void Compare(Qcow2Header header, Refcounts refcounts, Qcow2Repair repair)
    {
        var clusters = Math.Max((node.FileEnd + header.ClusterSize - 1) >> header.ClusterBits, _highest + 1);
        var last = -1L;
        for (var start = 0L; start < clusters; start += refcounts.ClustersPerBlock)
        {
            var end = Math.Min(start + refcounts.ClustersPerBlock, clusters);
            if (!AnyFound(start, end) && refcounts.IsFree(start))
                continue;
            for (var cluster = start; cluster < end; cluster++)
            {
                var references = References(cluster);
                ulong count;
                try
                {
                    count = refcounts.Get(cluster);
                }
                catch (BlockException e)
                {
                    _result.Say($"Can't get refcount for cluster {cluster}: {e.Message}");
                    _result.CheckErrors++;
                    continue;
                }

                if (count != 0 || references != 0)
                    last = cluster;
                if (count != references)
                    CompareOne(cluster, count, references, refcounts, repair, header);
            }
        }

        _result.ImageEndOffset = (last + 1) << header.ClusterBits;
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

    private void CompareOne(long cluster, ulong count, uint references, Refcounts refcounts, Qcow2Repair repair, Qcow2Header header)
    {
        var isLeak = count > references;
        // A cluster in use that counts as free means that the counts as a whole cannot be trusted.
        _rebuild |= count == 0;
        var fix = count != 0 && (repair & (isLeak ? Qcow2Repair.Leaks : Qcow2Repair.Errors)) != 0;
        _result.Say($"{(fix ? "Repairing" : isLeak ? "Leaked" : "ERROR")} cluster {cluster} refcount={count} reference={references}");
        if (fix)
        {
            try
            {
                refcounts.Force(cluster, references);
                if (references == 0)
                    node.File.Discard(cluster << header.ClusterBits, header.ClusterSize);
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
            if (l2Offset == 0 || (l2Offset & (header.ClusterSize - 1)) != 0)
                continue;
            if (CountOf(l2Offset >> header.ClusterBits, refcounts) is not { } count)
                continue;
            if ((count == 1) != ((l1[i] >> 63) != 0))
            {
                Flag($"OFLAG_COPIED L2 cluster: l1_index={i} l1_entry={l1[i]:x} refcount={count}", fix);
                if (fix)
                    node.SetL1Flag(i, count == 1);
            }

            if (l2Offset >= node.FileEnd)
                continue;
            _ = node.VisitL2(l2Offset, (_, entry, kind) =>
            {
                if (kind is not (ClusterKind.Normal or ClusterKind.ZeroAllocated))
                    return null;
                var host = (long)(entry & Qcow2Node.TableOffsetMask);
                if ((host & (header.ClusterSize - 1)) != 0)
                    return null;
                if (CountOf(host >> header.ClusterBits, refcounts) is not { } references || (references == 1) == ((entry >> 63) != 0))
                    return null;
                Flag($"OFLAG_COPIED data cluster: l2_entry={entry:x} refcount={references}", fix);
                return fix ? entry ^ (1UL << 63) : null;
            });
        }
    }

    private static ulong? CountOf(long cluster, Refcounts refcounts)
    {
        try
        {
            return refcounts.Get(cluster);
        }
        catch (BlockException)
        {
            // Said when the counts were compared.
            return null;
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
    private void Rebuild(Qcow2Header header, Qcow2Repair repair)
    {
        _result.Say("Rebuilding refcount structure");
        node.RebuildRefcounts(References, AnyFound, _highest + 1);
        var again = new Qcow2Checker(node).Recheck(repair);
        foreach (var line in again.Lines)
            _result.Say(line);
        _result.CorruptionsFixed += Math.Max(0, _result.Corruptions - again.Corruptions) + again.CorruptionsFixed;
        _result.LeaksFixed += _result.Leaks;
        _result.Corruptions = again.Corruptions;
        _result.Leaks = again.Leaks;
        _result.CheckErrors = again.CheckErrors;
        _result.Failure = again.Failure;
        _result.ImageEndOffset = again.ImageEndOffset;
    }
}
