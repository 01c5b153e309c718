using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Dromaius.Block.Qcow2;

/// <summary>A state of the disk that is kept inside the image.</summary>
public sealed record Snapshot
{
    public required string Id { get; init; }
    public required string Name { get; init; }
    public uint DateSeconds { get; init; }
    public uint DateNanoseconds { get; init; }

    /// <summary>Time that the guest had run, in nanoseconds.</summary>
    public ulong VmClock { get; init; }
    public ulong VmStateSize { get; init; }
    public ulong DiskSize { get; init; }
    public ulong InstructionCount { get; init; } = ulong.MaxValue;
    internal long L1Offset { get; init; }
    internal int L1Size { get; init; }

    /// <summary>Fields of later versions of the format.</summary>
    internal byte[] Unknown { get; init; } = [];
}

/// <summary>Internal snapshots. Source: the qcow2 format specification, "Snapshots".</summary>
public sealed partial class Qcow2Node
{
    private const int SnapshotHeader = 40, KnownExtra = 24;
    private const long MaxSnapshotTable = 64 << 20;
    private List<Snapshot> _snapshots = [];
    private long _snapshotTableClusters;

    public IReadOnlyList<Snapshot> Snapshots => _snapshots;

    /// <summary>Finds by id, then by name.</summary>
    public Snapshot? FindSnapshot(string idOrName) =>
        _snapshots.Find(s => s.Id == idOrName) ?? _snapshots.Find(s => s.Name == idOrName);

    /// <summary>Keeps the present state.</summary>
    public Snapshot CreateSnapshot(string name, DateTimeOffset date, ulong vmClock = 0, ulong vmStateSize = 0, ulong instructionCount = 0)
    {
        CheckWritable();
        if (_data != null)
            throw new BlockException(BlockError.NotSupported, "Snapshots are not supported with an external data file");
        if (_snapshots.Count >= 65536)
            throw new BlockException(BlockError.TooBig, "Too many snapshots");
        return Exclusively(() =>
        {
            var id = 0L;
            foreach (var s in _snapshots)
            {
                if (long.TryParse(s.Id, NumberStyles.None, CultureInfo.InvariantCulture, out var n))
                    id = Math.Max(id, n);
            }

            AddReferences(_l1, 1, isActive: true);
            WriteBackUnderLock();
            _file.Flush();
            var clusters = Math.Max(1, ((long)_l1.Length * 8 + _clusterSize - 1) >> _clusterBits);
            var offset = _refcounts.AllocateRun(clusters) << _clusterBits;
            WriteL1To(offset, _l1, clusters);
            var snapshot = new Snapshot
            {
                Id = (id + 1).ToString(CultureInfo.InvariantCulture),
                Name = name,
                DateSeconds = (uint)date.ToUnixTimeSeconds(),
                DateNanoseconds = (uint)(date.Ticks % TimeSpan.TicksPerSecond * 100),
                VmClock = vmClock,
                VmStateSize = vmStateSize,
                InstructionCount = instructionCount,
                DiskSize = (ulong)Length,
                L1Offset = offset,
                L1Size = _l1.Length,
            };
            StoreSnapshots([.. _snapshots, snapshot]);
            return snapshot;
        });
    }

    public void DeleteSnapshot(Snapshot snapshot)
    {
        CheckWritable();
        _ = Exclusively(() =>
        {
            var l1 = ReadSnapshotL1(snapshot);
            StoreSnapshots([.. _snapshots.Where(s => s != snapshot)]);
            AddReferences(l1, -1, isActive: false);
            FreeRun(snapshot.L1Offset, (long)snapshot.L1Size * 8);
            AddReferences(_l1, 0, isActive: true);
            WriteBackUnderLock();
            _file.Flush();
            return true;
        });
    }

    /// <summary>Goes back to a state.</summary>
    public void ApplySnapshot(Snapshot snapshot)
    {
        CheckWritable();
        _ = Exclusively(() =>
        {
            var l1 = ReadSnapshotL1(snapshot);
            var length = snapshot.DiskSize == 0 ? Length : checked((long)snapshot.DiskSize);
            if (_header.L1SizeFor(length) > Math.Max(l1.Length, _l1.Length))
                throw new BlockException(BlockError.Invalid, "The snapshot's size does not fit its tables");
            AddReferences(l1, 1, isActive: false);
            WriteBackUnderLock();
            _file.Flush();
            if (l1.Length > _l1.Length)
                GrowL1(l1.Length);
            var old = _l1;
            _l1 = new ulong[old.Length];
            for (var i = 0; i < l1.Length; i++)
                _l1[i] = l1[i] & ~Copied;
            MarkL1Dirty(0);
            MarkL1Dirty(_l1.Length - 1);
            WriteBackUnderLock();
            _file.Flush();
            AddReferences(old, -1, isActive: false);
            AddReferences(_l1, 0, isActive: true);
            WriteBackUnderLock();
            if (length != Length)
                SetLength(length);
            _file.Flush();
            return true;
        });
    }

    /// <summary>Shows a state instead of the present one; for images that are open read-only.</summary>
    public void ShowSnapshot(Snapshot snapshot)
    {
        if (!_readOnly)
            throw new BlockException(BlockError.Invalid, "Device is not readonly");
        _l1 = ReadSnapshotL1(snapshot);
        _metadata = null;
        if (snapshot.DiskSize != 0)
            Volatile.Write(ref _length, checked((long)snapshot.DiskSize));
    }

    internal bool IsMisplaced(Snapshot snapshot) => (snapshot.L1Offset & (_clusterSize - 1)) != 0;

    internal ulong[] ReadSnapshotL1(Snapshot snapshot) => IsMisplaced(snapshot)
        ? throw new BlockException(BlockError.Invalid, "Snapshot L1 table offset invalid") : ReadTable(snapshot.L1Offset, snapshot.L1Size);

    private T Exclusively<T>(Func<T> action)
    {
        _gate.EnterWriteLock();
        try
        {
            lock (_lock)
            {
                WaitForAllocations(0, long.MaxValue);
                ApplyFrees();
                WriteBackUnderLock();
                _compressedTail = 0;
                return action();
            }
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    private void FreeRun(long offset, long length)
    {
        for (var at = offset >> _clusterBits; at <= (offset + length - 1) >> _clusterBits; at++)
            _refcounts.Add(at, -1);
    }

    /// <summary>Adds to the counts of everything that an L1 table reaches, and for the active one puts the flags right.</summary>
    private void AddReferences(ulong[] l1, int delta, bool isActive)
    {
        if (delta > 0)
            CheckCanAdd(l1);
        for (var i = 0; i < l1.Length; i++)
        {
            var l2Offset = (long)(l1[i] & OffsetMask);
            if (l2Offset == 0)
                continue;
            var table = LoadL2(l2Offset, i);
            for (var j = 0; j < 1 << _header.L2Bits; j++)
            {
                var entry = Entry(table, j);
                var kind = KindOf(entry);
                if (kind == ClusterKind.Compressed)
                {
                    if (delta != 0)
                    {
                        var (offset, length) = CompressedRange(entry);
                        for (var c = offset >> _clusterBits; c <= (offset + length - 1) >> _clusterBits; c++)
                            _refcounts.Add(c, delta);
                    }
                }
                else if (kind is ClusterKind.Normal or ClusterKind.ZeroAllocated)
                {
                    var cluster = CheckedHost(kind, entry, l2Offset, j) >> _clusterBits;
                    if (delta != 0)
                        _refcounts.Add(cluster, delta);
                    if (!isActive)
                        continue;
                    var flagged = _refcounts.Get(cluster) == 1 ? entry | Copied : entry & ~Copied;
                    if (flagged != entry)
                        SetEntry(table, j, flagged, Bitmap(table, j));
                }
            }

            if (delta != 0)
                _refcounts.Add(l2Offset >> _clusterBits, delta);
            if (isActive)
            {
                var flagged = _refcounts.Get(l2Offset >> _clusterBits) == 1 ? l1[i] | Copied : l1[i] & ~Copied;
                if (flagged != l1[i])
                {
                    l1[i] = flagged;
                    MarkL1Dirty(i);
                }
            }
            else if (_refcounts.Get(l2Offset >> _clusterBits) == 0)
                _l2.Drop(l2Offset);
        }
    }

    private void CheckCanAdd(ulong[] l1)
    {
        void Check(long cluster)
        {
            if (_refcounts.Get(cluster) >= _refcounts.Max)
                throw new BlockException(BlockError.Invalid);
        }

        for (var i = 0; i < l1.Length; i++)
        {
            var l2Offset = (long)(l1[i] & OffsetMask);
            if (l2Offset == 0)
                continue;
            Check(l2Offset >> _clusterBits);
            var table = LoadL2(l2Offset, i);
            for (var j = 0; j < 1 << _header.L2Bits; j++)
            {
                var entry = Entry(table, j);
                switch (KindOf(entry))
                {
                    case ClusterKind.Compressed:
                        var (offset, length) = CompressedRange(entry);
                        for (var c = offset >> _clusterBits; c <= (offset + length - 1) >> _clusterBits; c++)
                            Check(c);
                        break;
                    case ClusterKind.Normal or ClusterKind.ZeroAllocated:
                        Check((long)(entry & OffsetMask) >> _clusterBits);
                        break;
                }
            }
        }
    }

    private void LoadSnapshots()
    {
        if (_header.SnapshotCount == 0)
            return;
        var at = _header.SnapshotsOffset;
        var fixedPart = new byte[SnapshotHeader];
        for (var i = 0; i < _header.SnapshotCount; i++)
        {
            at = (at + 7) & ~7L;
            _file.ReadPadded(at, fixedPart);
            var l1Size = U32(fixedPart, 8);
            var idLength = BinaryPrimitives.ReadUInt16BigEndian(fixedPart.AsSpan(12));
            var nameLength = BinaryPrimitives.ReadUInt16BigEndian(fixedPart.AsSpan(14));
            var extraLength = U32(fixedPart, 36);
            var l1Offset = (long)U64(fixedPart, 0);
            if (extraLength > 1024 || l1Size > (32 << 20) / 8 || l1Offset < 0)
                throw new BlockException(BlockError.Invalid, $"Snapshot table entry {i} is invalid");
            at += SnapshotHeader;
            var rest = new byte[extraLength + idLength + nameLength];
            _file.ReadPadded(at, rest);
            at += rest.Length;
            if (at - _header.SnapshotsOffset > MaxSnapshotTable)
                throw new BlockException(BlockError.TooBig, "Snapshot table is too large");
            _snapshots.Add(new Snapshot
            {
                L1Offset = l1Offset,
                L1Size = (int)l1Size,
                DateSeconds = U32(fixedPart, 16),
                DateNanoseconds = U32(fixedPart, 20),
                VmClock = U64(fixedPart, 24),
                VmStateSize = extraLength >= 8 ? U64(rest, 0) : U32(fixedPart, 32),
                DiskSize = extraLength >= 16 ? U64(rest, 8) : (ulong)_header.Size,
                InstructionCount = extraLength >= 24 ? U64(rest, 16) : ulong.MaxValue,
                Unknown = extraLength > KnownExtra ? rest[KnownExtra..(int)extraLength] : [],
                Id = Encoding.UTF8.GetString(rest, (int)extraLength, idLength),
                Name = Encoding.UTF8.GetString(rest, (int)extraLength + idLength, nameLength),
            });
        }

        _snapshotTableClusters = (at - _header.SnapshotsOffset + _clusterSize - 1) >> _clusterBits;
    }

    /// <summary>Writes a new table elsewhere and switches the header over.</summary>
    private void StoreSnapshots(List<Snapshot> snapshots)
    {
        using var stream = new MemoryStream();
        foreach (var s in snapshots)
        {
            while ((stream.Length & 7) != 0)
                stream.WriteByte(0);
            var id = Encoding.UTF8.GetBytes(s.Id);
            var name = Encoding.UTF8.GetBytes(s.Name);
            var bytes = new byte[SnapshotHeader + KnownExtra];
            BinaryPrimitives.WriteInt64BigEndian(bytes, s.L1Offset);
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(8), s.L1Size);
            BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(12), (ushort)id.Length);
            BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(14), (ushort)name.Length);
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(16), s.DateSeconds);
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(20), s.DateNanoseconds);
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(24), s.VmClock);
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(32), s.VmStateSize <= uint.MaxValue ? (uint)s.VmStateSize : 0);
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(36), KnownExtra + s.Unknown.Length);
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(40), s.VmStateSize);
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(48), s.DiskSize);
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(56), s.InstructionCount);
            stream.Write(bytes);
            stream.Write(s.Unknown);
            stream.Write(id);
            stream.Write(name);
        }

        while ((stream.Length & 7) != 0)
            stream.WriteByte(0);
        var (oldOffset, oldClusters) = (_header.SnapshotsOffset, _snapshotTableClusters);
        var clusters = (stream.Length + _clusterSize - 1) >> _clusterBits;
        var offset = 0L;
        if (snapshots.Count > 0)
        {
            offset = _refcounts.AllocateRun(clusters) << _clusterBits;
            _file.Write(offset, stream.ToArray());
        }

        WriteBackUnderLock();
        _file.Flush();
        var fields = new byte[12];
        BinaryPrimitives.WriteInt32BigEndian(fields, snapshots.Count);
        BinaryPrimitives.WriteInt64BigEndian(fields.AsSpan(4), offset);
        _file.Write(60, fields);
        _file.Flush();
        _header.SnapshotCount = snapshots.Count;
        _header.SnapshotsOffset = offset;
        _snapshots = snapshots;
        _snapshotTableClusters = clusters;
        for (var i = 0L; i < oldClusters; i++)
            _refcounts.Add((oldOffset >> _clusterBits) + i, -1);
    }

    private static uint U32(byte[] data, int at) => BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at));

    private static ulong U64(byte[] data, int at) => BinaryPrimitives.ReadUInt64BigEndian(data.AsSpan(at));
}
