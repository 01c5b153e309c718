using System.Buffers;
using System.Buffers.Binary;

namespace Dromaius.Block.Qcow2;

/// <summary>Writing: allocation, copy on write, discards, zeroes, write-back.</summary>
public sealed partial class Qcow2Node
{
    private const long MaxPendingFrees = 16384;

    /// <summary>Clusters of the guest that are being allocated: others that want them wait.</summary>
    private readonly List<Allocation> _inFlight = [];
    private readonly List<(long Cluster, long Count)> _pendingFrees = [];
    private long _pendingFreeCount;
    private long _compressedTail;

    /// <summary>Host clusters taken for a run of the guest's, not linked yet.</summary>
    private sealed record Allocation(long GuestCluster, long Count, long HostOffset, bool IsFresh, bool IsReused, Mapping[] Old);

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckRange(offset, from.Length);
        CheckWritable();
        _gate.EnterReadLock();
        try
        {
            while (!from.IsEmpty)
            {
                var n = WriteSome(offset, from);
                offset += n;
                from = from[n..];
            }
        }
        finally
        {
            _gate.ExitReadLock();
        }

        FreeSomePending();
    }

    protected override void WriteCompressedCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckRange(offset, from.Length);
        CheckWritable();
        if (_data != null)
            throw new BlockException(BlockError.NotSupported, "Compression is not supported with an external data file");
        if ((offset & (_clusterSize - 1)) != 0 || (from.Length != _clusterSize && offset + from.Length != Length) || from.Length > _clusterSize)
        {
            if ((offset & (_clusterSize - 1)) != 0 || ((from.Length & (_clusterSize - 1)) != 0 && offset + from.Length != Length))
                throw new BlockException(BlockError.Invalid);
            for (var at = 0; at < from.Length; at += _clusterSize)
                WriteCompressed(offset + at, from.Slice(at, Math.Min(_clusterSize, from.Length - at)));
            return;
        }

        var cluster = ArrayPool<byte>.Shared.Rent(_clusterSize);
        var packed = ArrayPool<byte>.Shared.Rent(_clusterSize);
        try
        {
            from.CopyTo(cluster);
            cluster.AsSpan(from.Length, _clusterSize - from.Length).Clear();
            var n = ClusterCodec.Compress(_header.Compression, cluster.AsSpan(0, _clusterSize), packed);
            if (n < 0)
                Write(offset, from);
            else
                StoreCompressed(offset, packed.AsSpan(0, n));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(cluster);
            ArrayPool<byte>.Shared.Return(packed);
        }
    }

    public override bool CanCompress => _data == null;

    public override int Compress(ReadOnlySpan<byte> cluster, Span<byte> into) =>
        cluster.Length == _clusterSize ? ClusterCodec.Compress(_header.Compression, cluster, into) : -1;

    protected override void WritePackedCore(long offset, ReadOnlySpan<byte> packed)
    {
        CheckRange(offset, 1);
        CheckWritable();
        StoreCompressed(offset, packed);
    }

    /// <summary>Makes ranges come from the backing file again.</summary>
    internal void ForgetClusters(long offset, long length)
    {
        ChangeUnits(offset & -(long)_clusterSize, (offset + length + _clusterSize - 1) & -(long)_clusterSize, UnitChange.Forget);
        FreeSomePending();
    }

    public override void Flush()
    {
        if (_readOnly)
            return;
        lock (_lock)
            WriteBackUnderLock();
        _data?.Flush();
        _file.OnStep("flush_to_os");
        _file.OnStep("flush_to_disk");
        _file.Flush();
        FreeSomePending(flushed: true);
    }

    /// <summary>Stores what comes from the backing file as this image's own; writes meanwhile win.</summary>
    internal void CopyUp(long offset, long length)
    {
        CheckRange(offset, length);
        CheckWritable();
        _gate.EnterReadLock();
        try
        {
            var end = offset + length;
            for (var at = offset & -(long)_clusterSize; at < end; at += _clusterSize)
                CopyUpCluster(at);
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    private void CopyUpCluster(long at)
    {
        var n = (int)Math.Min(_clusterSize, Length - at);
        if (_backing == null)
            return;
        var buffer = new byte[n];
        _backing.ReadPadded(at, buffer);
        if (_header.Version >= 3 && _data == null && !buffer.AsSpan().ContainsAnyExcept((byte)0))
        {
            // Zeroes take no room.
            ChangeUnits(at, at + _clusterSize, UnitChange.ZeroUnallocated);
            return;
        }

        Allocation allocation;
        var isPartial = false;
        lock (_lock)
        {
            WaitForAllocations(at >> _clusterBits, (at >> _clusterBits) + 1);
            if (Map(at, n) is not { Kind: ClusterKind.Unallocated } map || map.Length < n)
            {
                if (!_extended || !HasUnallocated(at, n))
                    return;
                isPartial = true;
            }

            allocation = BeginAllocation(at, n);
        }

        try
        {
            if (isPartial)
                ReadInGate(at, buffer);
            FillAllocation(allocation, at, buffer);
        }
        catch
        {
            Abandon(allocation);
            throw;
        }

        Link(allocation, at, n);
    }

    private bool HasUnallocated(long at, long length)
    {
        var end = at + length;
        while (at < end)
        {
            var map = Map(at, end - at);
            if (map.Kind == ClusterKind.Unallocated)
                return true;
            at += map.Length;
        }

        return false;
    }

    private int WriteSome(long offset, ReadOnlySpan<byte> from)
    {
        if (Place(offset, from.Length, out var map) is not { } allocation)
        {
            DataNode.OnStep("write_aio");
            DataNode.Write(map.Host, from[..(int)map.Length]);
            return (int)map.Length;
        }

        var n = (int)Math.Min(from.Length, EndOf(allocation) - offset);
        try
        {
            FillAllocation(allocation, offset, from[..n]);
        }
        catch
        {
            Abandon(allocation);
            throw;
        }

        Link(allocation, offset, n);
        return n;
    }

    /// <summary>Where a write goes: onto clusters that are there (<paramref name="map"/>), or onto new ones, which are returned.</summary>
    private Allocation? Place(long offset, long length, out Mapping map)
    {
        lock (_lock)
        {
            while (true)
            {
                map = Map(offset, length);
                if (map.Kind == ClusterKind.Normal && map.IsExclusive)
                {
                    if (_data == null)
                        CheckOverlap(map.Host, map.Length);
                    return null;
                }

                if (FindInFlight(offset >> _clusterBits) == null)
                    return BeginAllocation(offset, length);
                Monitor.Wait(_lock);
            }
        }
    }

    /// <summary>Lets the guest see the clusters of an allocation, whose range from <paramref name="offset"/> on is written.</summary>
    private void Link(Allocation allocation, long offset, long length)
    {
        lock (_lock)
        {
            try
            {
                LinkUnderLock(allocation, offset, length);
            }
            finally
            {
                _ = _inFlight.Remove(allocation);
                Monitor.PulseAll(_lock);
            }
        }
    }

    /// <summary>Guest offset behind an allocation's last cluster.</summary>
    private long EndOf(Allocation allocation) => (allocation.GuestCluster + allocation.Count) << _clusterBits;

    private Allocation? FindInFlight(long cluster)
    {
        foreach (var a in _inFlight)
        {
            if (cluster >= a.GuestCluster && cluster < a.GuestCluster + a.Count)
                return a;
        }

        return null;
    }

    /// <summary>Waits until nothing is being allocated in a range. Under the lock.</summary>
    private void WaitForAllocations(long firstCluster, long endCluster)
    {
        while (_inFlight.Exists(a => a.GuestCluster < endCluster && a.GuestCluster + a.Count > firstCluster))
            Monitor.Wait(_lock);
    }

    /// <summary>Takes host clusters for the run of clusters from here on that need new ones.</summary>
    private Allocation BeginAllocation(long offset, long length)
    {
        SetDirtyFlag();
        var first = offset >> _clusterBits;
        var table = L2ForWriting(offset);
        var index = L2Index(offset);
        var wanted = Math.Min(((offset + length - 1) >> _clusterBits) - first + 1, (1L << _header.L2Bits) - index);
        var old = new List<Mapping> { OldMapping(table, index) };
        var reuse = CanReuse(old[0]);
        while (old.Count < wanted && FindInFlight(first + old.Count) == null)
        {
            var next = OldMapping(table, index + old.Count);
            if (CanReuse(next) != reuse || (next.Kind == ClusterKind.Normal && next.IsExclusive))
                break;
            if (reuse && next.Host != old[0].Host + ((long)old.Count << _clusterBits))
                break;
            old.Add(next);
        }

        long host;
        var count = (long)old.Count;
        var fresh = false;
        if (reuse)
            host = old[0].Host;
        else if (_data != null)
            host = first << _clusterBits;
        else
        {
            _file.OnStep("cluster_alloc");
            host = _refcounts.Allocate(old.Count, out count) << _clusterBits;
            CheckOverlap(host, count << _clusterBits);
            // What was never written is a hole, so it reads as zeroes already.
            fresh = host >= _file.Length && _file is Host.HostFileNode { Driver: "file" };
        }

        var allocation = new Allocation(first, count, host, fresh, reuse, [.. old[..(int)count]]);
        _inFlight.Add(allocation);
        return allocation;
    }

    /// <summary>A cluster as it is now, as a whole.</summary>
    private Mapping OldMapping(Table table, int index)
    {
        var entry = Entry(table, index);
        var kind = KindOf(entry);
        if (_extended && kind == ClusterKind.Unallocated && Bitmap(table, index) >> 32 != 0)
            kind = ClusterKind.Zero;
        if (_extended && kind == ClusterKind.Normal && (uint)Bitmap(table, index) != uint.MaxValue)
            kind = ClusterKind.ZeroAllocated; // some of it is not stored: room to write into
        return new Mapping(kind, _clusterSize, (long)(entry & OffsetMask), (entry & Copied) != 0, entry);
    }

    private static bool CanReuse(Mapping old) => old.Kind == ClusterKind.ZeroAllocated && old.IsExclusive;

    /// <summary>Writes the data, and around it what the units at the edges held before.</summary>
    private void FillAllocation(Allocation allocation, long offset, ReadOnlySpan<byte> from)
    {
        var host = allocation.HostOffset - (allocation.GuestCluster << _clusterBits);
        var (head, tail) = BoundsToWrite(allocation, offset, from.Length);
        DataNode.OnStep("write_aio");
        if (head == offset && tail == offset + from.Length)
        {
            DataNode.Write(host + offset, from);
            return;
        }

        if (tail - head > 4 << 20)
        {
            // Large writes are not copied for the sake of their edges.
            WriteEdge(host, head, (int)(offset - head));
            DataNode.Write(host + offset, from);
            WriteEdge(host, offset + from.Length, (int)(tail - offset - from.Length));
            return;
        }

        var buffer = ArrayPool<byte>.Shared.Rent((int)(tail - head));
        try
        {
            var all = buffer.AsSpan(0, (int)(tail - head));
            _file.OnStep("cow_read");
            ReadOld(head, all[..(int)(offset - head)]);
            from.CopyTo(all[(int)(offset - head)..]);
            ReadOld(offset + from.Length, all[(int)(offset - head + from.Length)..]);
            _file.OnStep("cow_write");
            DataNode.Write(host + head, all);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>The range to write for a write: with the edges, but for those that are zero in new clusters of the file already.</summary>
    private (long Head, long Tail) BoundsToWrite(Allocation allocation, long offset, long length)
    {
        var end = offset + length;
        var (head, tail) = CopyBounds(allocation, offset, length);
        tail = Math.Min(tail, EndOf(allocation));
        if (allocation.IsFresh && !allocation.IsReused)
        {
            if (ReadsAsZero(head, offset))
                head = offset;
            if (ReadsAsZero(end, tail))
                tail = end;
        }

        return (head, tail);
    }

    private void WriteEdge(long host, long at, int length)
    {
        if (length == 0)
            return;
        var edge = new byte[length];
        ReadOld(at, edge);
        DataNode.Write(host + at, edge);
    }

    /// <summary>What the guest sees now, zeroes behind the end.</summary>
    private void ReadOld(long offset, Span<byte> into)
    {
        var n = (int)Math.Clamp(Length - offset, 0, into.Length);
        if (n > 0)
            ReadInGate(offset, into[..n]);
        into[n..].Clear();
    }

    /// <summary>The range that has to be stored: clusters that hold something are copied whole, others by unit.</summary>
    private (long Head, long Tail) CopyBounds(Allocation allocation, long offset, long length)
    {
        var end = offset + length;
        return (offset & -Unit(allocation.Old[0]), (end + Unit(allocation.Old[^1]) - 1) & -Unit(allocation.Old[^1]));
    }

    private long Unit(Mapping old) =>
        _extended && (CanReuse(old) || old.Kind is ClusterKind.Unallocated or ClusterKind.Zero) ? 1L << _unitBits : _clusterSize;

    private void LinkUnderLock(Allocation allocation, long offset, long length)
    {
        var start = allocation.GuestCluster << _clusterBits;
        var table = L2ForWriting(start);
        var index = L2Index(start);
        var (head, tail) = CopyBounds(allocation, offset, length);
        for (var i = 0; i < allocation.Count; i++)
        {
            var old = allocation.Old[i];
            var guest = start + ((long)i << _clusterBits);
            var bitmap = 0UL;
            if (_extended)
            {
                var whole = Unit(old) == _clusterSize;
                var from = whole ? 0 : (int)((Math.Max(head, guest) - guest) >> _unitBits);
                var to = whole ? 32 : (int)((Math.Min(tail, guest + _clusterSize) - guest) >> _unitBits);
                var stored = (uint)(((1UL << to) - 1) & ~((1UL << from) - 1));
                bitmap = whole ? stored : (Bitmap(table, index + i) & ~((ulong)stored << 32)) | stored;
            }

            SetEntry(table, index + i, (ulong)(allocation.HostOffset + ((long)i << _clusterBits)) | Copied, bitmap);
            if (!allocation.IsReused)
                FreeOld(old);
        }
    }

    private void Abandon(Allocation allocation)
    {
        lock (_lock)
        {
            _ = _inFlight.Remove(allocation);
            if (!allocation.IsReused && _data == null)
            {
                for (var i = 0; i < allocation.Count; i++)
                    _refcounts.Add((allocation.HostOffset >> _clusterBits) + i, -1);
            }

            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Gives up what an entry referred to, once the entry is gone from the file.</summary>
    private void FreeOld(Mapping old)
    {
        switch (old.Kind)
        {
            case ClusterKind.Compressed:
                var (offset, length) = CompressedRange(old.Entry);
                var first = offset >> _clusterBits;
                AddPendingFree(first, ((offset + length - 1) >> _clusterBits) - first + 1);
                break;
            case ClusterKind.Normal or ClusterKind.ZeroAllocated when _data == null:
                AddPendingFree(old.Host >> _clusterBits, 1);
                break;
            case ClusterKind.Normal or ClusterKind.ZeroAllocated when AllowsDiscard:
                _data!.Discard(old.Host, _clusterSize);
                break;
        }
    }

    private void AddPendingFree(long cluster, long count)
    {
        _pendingFreeCount += count;
        if (_pendingFrees.Count > 0 && _pendingFrees[^1] is var (last, n) && last + n == cluster)
            _pendingFrees[^1] = (last, n + count);
        else
            _pendingFrees.Add((cluster, count));
    }

    private void StoreCompressed(long offset, ReadOnlySpan<byte> packed)
    {
        _gate.EnterReadLock();
        try
        {
            long at;
            Allocation allocation;
            lock (_lock)
            {
                WaitForAllocations(offset >> _clusterBits, (offset >> _clusterBits) + 1);
                SetDirtyFlag();
                var old = OldMapping(L2ForWriting(offset), L2Index(offset));
                at = AllocateBytes(packed.Length);
                allocation = new Allocation(offset >> _clusterBits, 1, at, false, true, [old]);
                _inFlight.Add(allocation);
            }

            try
            {
                _file.OnStep("write_compressed");
                _file.Write(at, packed);
                lock (_lock)
                {
                    var shift = 62 - (_clusterBits - 8);
                    var sectors = (ulong)(((at + packed.Length - 1) >> 9) - (at >> 9));
                    SetEntry(L2ForWriting(offset), L2Index(offset), CompressedFlag | (sectors << shift) | (ulong)at, 0);
                    FreeOld(allocation.Old[0]);
                }
            }
            finally
            {
                lock (_lock)
                {
                    _ = _inFlight.Remove(allocation);
                    Monitor.PulseAll(_lock);
                }
            }
        }
        finally
        {
            _gate.ExitReadLock();
        }

        FreeSomePending();
    }

    /// <summary>Room for compressed bytes, in the rest of the last such cluster if they fit.</summary>
    private long AllocateBytes(int length)
    {
        var left = (_clusterSize - (int)(_compressedTail & (_clusterSize - 1))) & (_clusterSize - 1);
        var tailCluster = _compressedTail >> _clusterBits;
        if (_compressedTail != 0 && left >= length && _refcounts.Get(tailCluster) is var count && count > 0 && count < _refcounts.Max)
            _refcounts.Add(tailCluster, 1);
        else
        {
            _compressedTail = _refcounts.Allocate(1, out _) << _clusterBits;
            CheckOverlap(_compressedTail, _clusterSize);
        }

        var at = _compressedTail;
        _compressedTail += length;
        if ((_compressedTail & (_clusterSize - 1)) == 0)
            _compressedTail = 0;
        return at;
    }

    private enum UnitChange
    {
        Zero,
        ZeroAndFree,

        /// <summary>Zero where nothing is said yet.</summary>
        ZeroUnallocated,
        Discard,
        Forget,
    }

    /// <summary>The L2 table of an offset, made or copied when it is missing or shared with a snapshot.</summary>
    private Table L2ForWriting(long offset)
    {
        var l1Index = (int)(offset >> (_clusterBits + _header.L2Bits));
        var entry = _l1[l1Index];
        var old = (long)(entry & OffsetMask);
        if (old != 0 && (entry & Copied) != 0)
            return LoadL2(old, l1Index);
        var cluster = _refcounts.Allocate(1, out _);
        CheckOverlap(cluster << _clusterBits, _clusterSize);
        _file.OnStep("l2_alloc_write");
        var table = _l2.Create(cluster << _clusterBits, old != 0 ? LoadL2(old, l1Index).Data : null);
        _l1[l1Index] = (ulong)table.Offset | Copied;
        MarkL1Dirty(l1Index);
        if (old != 0)
            AddPendingFree(old >> _clusterBits, 1);
        return table;
    }

    private void MarkL1Dirty(int index)
    {
        _l1DirtyStart = Math.Min(_l1DirtyStart, index);
        _l1DirtyEnd = Math.Max(_l1DirtyEnd, index + 1);
        _metadata = null;
    }

    /// <summary>Writes dirty metadata in the order that keeps the file sound.</summary>
    private void WriteBackUnderLock()
    {
        var lazy = IsDirty && LazyRefcounts && !_writeCounts;
        if (_refcounts.HasDirty && !lazy)
        {
            _refcounts.WriteBack();
            if (_l2.HasDirty || _l1DirtyStart < _l1DirtyEnd)
                _file.Flush();
        }

        if (_l2.HasDirty)
        {
            _file.OnStep("l2_update");
            _l2.WriteBack();
            if (_l1DirtyStart < _l1DirtyEnd)
                _file.Flush();
        }

        if (_l1DirtyStart < _l1DirtyEnd)
        {
            _file.OnStep("l1_update");
            var bytes = new byte[(_l1DirtyEnd - _l1DirtyStart) * 8];
            for (var i = _l1DirtyStart; i < _l1DirtyEnd; i++)
                BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan((i - _l1DirtyStart) * 8), _l1[i]);
            _file.Write(_header.L1Offset + _l1DirtyStart * 8L, bytes);
            _l1DirtyStart = int.MaxValue;
            _l1DirtyEnd = 0;
        }
    }

    /// <summary>
    /// Applies what was given up, now that no table in the file refers to it, if no transfer is under way that could still look
    /// there; otherwise later.
    /// </summary>
    private void FreeSomePending(bool flushed = false)
    {
        var count = Volatile.Read(ref _pendingFreeCount);
        var enough = count > MaxPendingFrees;
        if (count == 0 || !(flushed || enough))
            return;
        if (enough)
            _gate.EnterWriteLock();
        else if (!_gate.TryEnterWriteLock(0))
            return;
        try
        {
            lock (_lock)
                ApplyFrees();
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    private void ApplyFrees()
    {
        if (_pendingFrees.Count == 0)
            return;
        WriteBackUnderLock();
        _file.Flush();
        foreach (var (cluster, count) in _pendingFrees)
        {
            for (var i = 0L; i < count; i++)
            {
                _file.OnStep("cluster_free");
                _refcounts.Add(cluster + i, -1);
                if (_refcounts.Get(cluster + i) != 0)
                    continue;
                _l2.Drop((cluster + i) << _clusterBits);
                if (cluster + i == _compressedTail >> _clusterBits)
                    _compressedTail = 0;
                if (AllowsDiscard)
                    _file.Discard((cluster + i) << _clusterBits, _clusterSize);
            }
        }

        _pendingFrees.Clear();
        _pendingFreeCount = 0;
    }
}
