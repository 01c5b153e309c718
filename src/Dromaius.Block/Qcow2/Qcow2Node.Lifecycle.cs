using System.Buffers.Binary;

namespace Dromaius.Block.Qcow2;

/// <summary>Opening for writing, closing, resizing, changing the header.</summary>
public sealed partial class Qcow2Node
{
    private bool _writeCounts;
    private bool _lazy;

    public override void Reopen(bool readOnly)
    {
        if (readOnly == _readOnly)
            return;
        if (readOnly)
        {
            CloseCleanly();
            _readOnly = true;
            _file.Reopen(true);
            return;
        }

        _file.Reopen(false);
        if (IsCorrupt)
            throw new BlockException(BlockError.Access, "qcow2: Image is corrupt; cannot be opened read/write");
        _readOnly = false;
        PrepareForWriting();
    }

    protected override void ResizeCore(long length)
    {
        CheckWritable();
        if ((length & 511) != 0)
            throw new BlockException(BlockError.Invalid, "The new size must be a multiple of 512");
        if (length == Length)
            return;
        if (_snapshots.Count > 0 && _header.Version < 3)
            throw new BlockException(BlockError.NotSupported, "Can't resize a v2 image which has snapshots");
        foreach (var bitmap in _bitmaps)
            bitmap.Live?.CheckUsable();
        if (length < Length)
            Shrink(length);
        else if (_backing != null && _backing.Length > Length && _header.Version >= 3)
        {
            // What the backing image has behind the old end must not show.
            var old = Length;
            SetLength(length);
            ResizeBitmapTables();
            WriteZeroes(old, length - old, true);
            Flush();
            return;
        }

        SetLength(length);
        ResizeBitmapTables();
    }

    /// <summary>Writes another backing file name, and format, into the header.</summary>
    public void ChangeBackingFile(string? name, string? format)
    {
        CheckWritable();
        lock (_lock)
        {
            var (oldName, oldFormat) = (_header.BackingFile, _header.BackingFormat);
            _header.BackingFile = name;
            _header.BackingFormat = name == null ? null : format;
            try
            {
                WriteHeader();
            }
            catch (BlockException)
            {
                (_header.BackingFile, _header.BackingFormat) = (oldName, oldFormat);
                throw;
            }
        }
    }

    /// <summary>Writes another name of the external data file into the header; null for none, which users must give then.</summary>
    public void ChangeDataFile(string? name)
    {
        CheckWritable();
        lock (_lock)
        {
            var old = _header.DataFile;
            _header.DataFile = name;
            try
            {
                WriteHeader();
            }
            catch (BlockException)
            {
                _header.DataFile = old;
                throw;
            }
        }
    }

    /// <summary>Makes everything come from the backing file, after its contents were committed there.</summary>
    public void MakeEmpty() => ForgetClusters(0, Length);

    /// <summary>Changes version or lazy refcounts in place.</summary>
    public void ChangeFeatures(int version, bool lazyRefcounts)
    {
        CheckWritable();
        if (lazyRefcounts && version < 3)
            throw new BlockException(BlockError.Invalid, "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)");
        if (version < 3 && _header.Version >= 3)
            PrepareDowngrade();
        lock (_lock)
        {
            WriteBackUnderLock();
            ClearDirtyFlag();
            _header.Compatible = lazyRefcounts ? _header.Compatible | 1 : _header.Compatible & ~1UL;
            if (version < 3)
                (_header.Compatible, _header.Autoclear) = (0, 0);
            _header.Version = version;
            WriteHeader();
        }
    }

    /// <summary>Allocates every cluster of the disk; their contents read as zeroes.</summary>
    internal void PreallocateClusters()
    {
        lock (_lock)
        {
            for (var at = 0L; at < Length;)
            {
                var table = L2ForWriting(at);
                var index = L2Index(at);
                var wanted = Math.Min((Length - at + _clusterSize - 1) >> _clusterBits, (1L << _header.L2Bits) - index);
                var got = wanted;
                var host = _data != null ? at : _refcounts.Allocate(wanted, out got) << _clusterBits;
                for (var i = 0L; i < got; i++)
                    SetEntry(table, index + (int)i, (ulong)(host + (i << _clusterBits)) | Copied, _extended ? _backing == null && _header.BackingFile == null ? 0xFFFFFFFF : 0UL : 0);
                at += got << _clusterBits;
                if (_data == null && host + (got << _clusterBits) is var end && end > _file.Length)
                    _file.Resize(end);
            }
        }

        Flush();
    }

    private void PrepareDowngrade()
    {
        if (_snapshots.Count > 0)
            throw new BlockException(BlockError.NotSupported, "Internal snapshots prevent downgrade of image");
        if (Bitmaps.Count > 0)
            throw new BlockException(BlockError.NotSupported, "Cannot downgrade an image with bitmaps");
        if (_header.RefcountOrder != 4)
            throw new BlockException(BlockError.NotSupported, "compat=0.10 requires refcount_bits=16");
        if ((_header.Incompatible & ~IncompatibleFeatures.Dirty) != 0)
            throw new BlockException(BlockError.NotSupported, "Cannot downgrade an image with incompatible features set");
        // Zero clusters are unknown to version 2: they are stored.
        var zeroes = new byte[1 << 20];
        for (var at = 0L; at < Length;)
        {
            Mapping map;
            lock (_lock)
                map = Map(at, Math.Min(Length - at, zeroes.Length));
            if (map.Kind is ClusterKind.Zero or ClusterKind.ZeroAllocated)
                Write(at, zeroes.AsSpan(0, (int)map.Length));
            at += map.Length;
        }

        Flush();
    }

    private void PrepareForWriting()
    {
        _lazy = _options.LazyRefcounts ?? _header.LazyRefcounts;
        if (IsDirty)
        {
            // Counts were not kept up with the tables: they are worked out anew.
            var result = new Qcow2Checker(this).Run(Qcow2Repair.All);
            if (result.Corruptions > 0 || result.CheckErrors > 0 || result.Failure != BlockError.None)
                throw new BlockException(BlockError.Io, "qcow2: Image was not closed cleanly and could not be repaired");
            ClearCorrupt();
            ClearDirtyFlag();
        }

        ClearUnknownFeatures();
        OpenBitmapsForWriting();
    }

    /// <summary>What other programs keep in step with the image is not kept so by this one: the header says that.</summary>
    private void ClearUnknownFeatures()
    {
        var known = (ulong)(AutoclearFeatures.Bitmaps | AutoclearFeatures.RawExternalData);
        if (_header.Version >= 3 && (_header.Autoclear & ~known) != 0)
        {
            _header.Autoclear &= known;
            WriteHeaderFlags();
        }
    }

    private void CloseCleanly()
    {
        if (_options.ForCheck)
        {
            _file.Flush();
            return;
        }

        CloseBitmaps();
        lock (_lock)
        {
            _writeCounts = true;
            WriteBackUnderLock();
            _data?.Flush();
            ApplyFrees();
            WriteBackUnderLock();
            _file.Flush();
            ClearDirtyFlag();
            _writeCounts = false;
        }
    }

    private void SetDirtyFlag()
    {
        if (!_lazy || IsDirty || _header.Version < 3)
            return;
        _header.Incompatible |= IncompatibleFeatures.Dirty;
        WriteHeaderFlags();
        _file.Flush();
    }

    private void ClearDirtyFlag()
    {
        if (!IsDirty)
            return;
        _file.Flush();
        _header.Incompatible &= ~IncompatibleFeatures.Dirty;
        WriteHeaderFlags();
        _file.Flush();
    }

    private void Shrink(long length)
    {
        if (_header.Version < 3 && _backing != null)
            throw new BlockException(BlockError.NotSupported, "Cannot shrink a v2 image with a backing file");
        var first = (length + _clusterSize - 1) & -(long)_clusterSize;
        if (first < Length)
            ForgetClusters(first, Length - first);
        _gate.EnterWriteLock();
        try
        {
            lock (_lock)
            {
                ApplyFrees();
                WriteBackUnderLock();
                _file.Flush();
                // Whole L2 tables behind the new end go, too.
                var keep = _header.L1SizeFor(length);
                for (var i = keep; i < _l1.Length; i++)
                {
                    if ((_l1[i] & OffsetMask) == 0)
                        continue;
                    AddPendingFree((long)(_l1[i] & OffsetMask) >> _clusterBits, 1);
                    _l1[i] = 0;
                    MarkL1Dirty((int)i);
                }

                ApplyFrees();
                WriteBackUnderLock();
                var end = _refcounts.EndOfUse() << _clusterBits;
                if (end < _file.Length && _data == null)
                    _file.Resize(end);
            }
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    private void SetLength(long length)
    {
        lock (_lock)
        {
            var needed = _header.L1SizeFor(length);
            if (needed * 8 > 32 << 20)
                throw new BlockException(BlockError.TooBig, "The image is too large for its cluster size");
            if (needed > _l1.Length)
                GrowL1((int)needed);
            if (_data != null && length > _data.Length)
                _data.Resize(length);
            var bytes = new byte[8];
            BinaryPrimitives.WriteInt64BigEndian(bytes, length);
            _file.Write(24, bytes);
            _file.Flush();
            _header.Size = length;
            Volatile.Write(ref _length, length);
        }
    }

    /// <summary>Moves the L1 table to a larger place.</summary>
    private void GrowL1(int entries)
    {
        WriteBackUnderLock();
        var clusters = ((long)entries * 8 + _clusterSize - 1) >> _clusterBits;
        var oldOffset = _header.L1Offset;
        var oldClusters = ((long)_l1.Length * 8 + _clusterSize - 1) >> _clusterBits;
        var offset = _refcounts.AllocateRun(clusters) << _clusterBits;
        Array.Resize(ref _l1, entries);
        WriteL1To(offset, _l1, clusters);
        _refcounts.WriteBack();
        _file.Flush();
        var fields = new byte[12];
        BinaryPrimitives.WriteInt32BigEndian(fields, entries);
        BinaryPrimitives.WriteInt64BigEndian(fields.AsSpan(4), offset);
        _file.Write(36, fields);
        _file.Flush();
        _header.L1Offset = offset;
        _header.L1Size = entries;
        if (oldOffset != 0)
        {
            for (var i = 0L; i < oldClusters; i++)
                _refcounts.Add((oldOffset >> _clusterBits) + i, -1);
        }
    }

    private void WriteL1To(long offset, ulong[] table, long clusters)
    {
        var bytes = new byte[Math.Min(clusters << _clusterBits, (table.Length * 8L + 511) & ~511L)];
        for (var i = 0; i < table.Length; i++)
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * 8), table[i]);
        _file.Write(offset, bytes);
    }
}
