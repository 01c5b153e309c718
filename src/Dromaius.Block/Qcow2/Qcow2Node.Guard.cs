namespace Dromaius.Block.Qcow2;

/// <summary>Noticing damaged metadata before a write makes it worse: nothing of the guest's is written over tables in use.</summary>
public sealed partial class Qcow2Node
{
    /// <summary>Clusters of the file that hold metadata, by what they hold; null when it has to be found out again.</summary>
    private Dictionary<long, string>? _metadata;

    /// <summary>Where the tables were when that was found out.</summary>
    private (int Counts, long CountTable, ulong[] L1, long L1Offset, long Snapshots, int SnapshotCount) _metadataState;

    /// <summary>Throws, and marks the image as corrupt, when host clusters that are about to be written hold metadata. Under the lock.</summary>
    private void CheckOverlap(long host, long length)
    {
        if (_options.OverlapCheck == OverlapCheck.None)
            return;
        var state = (_refcounts.Version, _header.RefcountTableOffset, _l1, _header.L1Offset, _header.SnapshotsOffset, _snapshots.Count);
        if (_metadata == null || _metadataState != state)
            (_metadata, _metadataState) = (FindMetadata(), state);

        for (var cluster = host >> _clusterBits; cluster <= (host + length - 1) >> _clusterBits; cluster++)
        {
            if (_metadata.TryGetValue(cluster, out var what))
                throw MarkCorrupt($"Preventing invalid write on metadata (overlaps with {what})");
        }
    }

    private Dictionary<long, string> FindMetadata()
    {
        var found = new Dictionary<long, string>();
        void Add(long offset, long length, string what)
        {
            for (var cluster = offset >> _clusterBits; length > 0 && cluster <= (offset + length - 1) >> _clusterBits; cluster++)
                _ = found.TryAdd(cluster, what);
        }

        Add(0, 1, "qcow2_header");
        Add(_header.L1Offset, _l1.Length * 8L, "active L1 table");
        if (_options.OverlapCheck != OverlapCheck.Constant)
            AddTables(_l1, "active L2 table");
        Add(_header.RefcountTableOffset, (long)_header.RefcountTableClusters << _clusterBits, "refcount table");
        Add(_header.SnapshotsOffset, _snapshots.Count == 0 ? 0 : SnapshotTableBytes, "snapshot table");
        if (_options.OverlapCheck != OverlapCheck.Constant)
            AddTables(_refcounts.Table, "refcount block");
        foreach (var snapshot in _options.OverlapCheck == OverlapCheck.Constant ? [] : _snapshots)
        {
            Add(snapshot.L1Offset, snapshot.L1Size * 8L, "inactive L1 table");
            if (_options.OverlapCheck == OverlapCheck.All && !IsMisplaced(snapshot))
                AddTables(ReadSnapshotL1(snapshot), "inactive L2 table");
        }

        return found;

        void AddTables(IReadOnlyList<ulong> table, string what)
        {
            for (var i = 0; i < table.Count; i++)
            {
                if ((table[i] & OffsetMask) is var offset && offset != 0)
                    _ = found.TryAdd((long)offset >> _clusterBits, what);
            }
        }
    }

    /// <summary>Notes in the header that the image is damaged, so that nobody writes to it; the failure of the transfer.</summary>
    private BlockException MarkCorrupt(string message)
    {
        // What is in memory may be as wrong as the file: nothing of it is written any more.
        var isWritable = !_readOnly && !_options.ForCheck;
        if (isWritable && _header.Version >= 3)
        {
            _header.Incompatible |= IncompatibleFeatures.Corrupt;
            try
            {
                WriteHeaderFlags();
            }
            catch (BlockException)
            {
                // The message below is what matters.
            }
        }

        _readOnly |= isWritable;
        if (!_toldCorrupt)
        {
            _toldCorrupt = true;
            Console.Error.WriteLine(isWritable
                ? $"qcow2: Marking image as corrupt: {message}; further corruption events will be suppressed"
                : $"qcow2: Image is corrupt: {message}; further non-fatal corruption events will be suppressed");
        }

        return new BlockException(BlockError.Io);
    }

    private bool _toldCorrupt;

    /// <summary>As messages about damage print numbers.</summary>
    private static string Hex(long value) => value == 0 ? "0" : $"0x{value:x}";
}
