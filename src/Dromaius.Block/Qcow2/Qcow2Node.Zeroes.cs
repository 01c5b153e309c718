namespace Dromaius.Block.Qcow2;

/// <summary>Zeroes and discards: changes of what tables say, and bytes only where they cannot say it.</summary>
public sealed partial class Qcow2Node
{
    public override bool ZeroesFast => _header.Version >= 3;

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckRange(offset, length);
        CheckWritable();
        if (length == 0)
            return;
        var unit = 1L << (_header.Version >= 3 ? _unitBits : _clusterBits);
        var end = offset + length;
        var first = (offset + unit - 1) & -unit;
        var last = end == Length ? (end + unit - 1) & -unit : end & -unit;
        if (_header.Version < 3)
        {
            WriteExplicitZeroes(offset, length);
            return;
        }

        if (first >= last)
        {
            // One unit in part, or two.
            var middle = Math.Min(first, end);
            ZeroPart(offset, middle);
            ZeroPart(middle, end);
            FreeSomePending();
            return;
        }

        ZeroPart(offset, first);
        try
        {
            ChangeUnits(first, last, mayUnmap ? UnitChange.ZeroAndFree : UnitChange.Zero);
        }
        catch (BlockException e) when (e.Error == BlockError.NotSupported)
        {
            WriteExplicitZeroes(first, Math.Min(last, Length) - first);
        }

        ZeroPart(last, end);
        FreeSomePending();
    }

    protected override void DiscardCore(long offset, long length)
    {
        CheckRange(offset, length);
        if (_readOnly || !AllowsDiscard)
            return;
        DiscardClusters(offset, length);
    }

    /// <summary>Gives whole clusters back, whatever <c>discard=</c> says.</summary>
    internal void DiscardClusters(long offset, long length)
    {
        // An old image cannot say "zero", and what is behind a given-up cluster would show.
        if (_header.Version < 3 && _backing != null)
            return;
        MarkDirty(offset, length);
        var end = offset + length;
        var first = (offset + _clusterSize - 1) & -(long)_clusterSize;
        var last = end == Length ? (end + _clusterSize - 1) & -(long)_clusterSize : end & -(long)_clusterSize;
        if (first < last)
            ChangeUnits(first, last, UnitChange.Discard);
        FreeSomePending();
    }

    private void ChangeUnits(long first, long last, UnitChange change)
    {
        while (first < last)
        {
            lock (_lock)
            {
                SetDirtyFlag();
                var span = 1L << (_clusterBits + _header.L2Bits);
                var stop = Math.Min(last, (first / span + 1) * span);
                WaitForAllocations(first >> _clusterBits, ((stop - 1) >> _clusterBits) + 1);
                var absent = _l1[first / span] is var l1 && (l1 & OffsetMask) == 0;
                if (absent && (change == UnitChange.Forget || (_backing == null && change == UnitChange.Discard)))
                {
                    first = stop;
                    continue;
                }

                var table = L2ForWriting(first);
                while (first < stop)
                {
                    var guest = first & -(long)_clusterSize;
                    var end = Math.Min(stop, guest + _clusterSize);
                    ChangeCluster(table, L2Index(guest), (int)((first - guest) >> _unitBits), (int)((end - guest) >> _unitBits), change);
                    first = end;
                }
            }
        }
    }

    private void ChangeCluster(Table table, int index, int fromUnit, int toUnit, UnitChange change)
    {
        var entry = Entry(table, index);
        var bitmap = Bitmap(table, index);
        var kind = KindOf(entry);
        var old = new Mapping(kind, _clusterSize, (long)(entry & OffsetMask), (entry & Copied) != 0, entry);
        var whole = !_extended || (fromUnit == 0 && toUnit == 32);
        var hasHost = kind is ClusterKind.Normal or ClusterKind.ZeroAllocated;
        if (!whole)
        {
            // Part of a compressed cluster cannot be marked; its bytes are written out instead.
            var units = (uint)(((1UL << toUnit) - 1) & ~((1UL << fromUnit) - 1));
            if (kind == ClusterKind.Compressed)
                throw new BlockException(BlockError.NotSupported, "Part of a compressed cluster");
            SetEntry(table, index, entry, (bitmap & ~(ulong)units) | ((ulong)units << 32));
            return;
        }

        var zeroBitmap = _extended ? 0xFFFFFFFF00000000 : 0;
        var zeroEntry = _extended ? 0 : ZeroFlag;
        if (change == UnitChange.ZeroUnallocated)
        {
            var nothing = ~(bitmap | (bitmap >> 32)) & uint.MaxValue;
            if (!_extended && kind == ClusterKind.Unallocated)
                SetEntry(table, index, ZeroFlag, 0);
            else if (_extended && kind != ClusterKind.Compressed && nothing != 0)
                SetEntry(table, index, entry, bitmap | (nothing << 32));
            return;
        }

        if (change == UnitChange.Zero && hasHost && old.IsExclusive)
        {
            SetEntry(table, index, entry | zeroEntry, zeroBitmap);
            return;
        }

        var wasZero = kind == ClusterKind.Zero || (_extended && kind == ClusterKind.Unallocated && bitmap == zeroBitmap);
        var wasNothing = kind == ClusterKind.Unallocated && bitmap == 0;
        switch (change)
        {
            case UnitChange.Forget when !wasNothing:
                SetEntry(table, index, 0, 0);
                break;
            case UnitChange.Discard when _header.Version < 3 && !wasNothing:
                SetEntry(table, index, 0, 0);
                break;
            case UnitChange.Discard when wasZero || (wasNothing && _backing == null) || _header.Version < 3:
            case UnitChange.Forget:
            case UnitChange.ZeroAndFree or UnitChange.Zero when wasZero:
                return;
            default:
                SetEntry(table, index, zeroEntry, zeroBitmap);
                break;
        }

        FreeOld(old);
    }

    /// <summary>Zeroes a part of one unit: all of it when the rest reads as zeroes anyway, so that nothing has to be stored.</summary>
    private void ZeroPart(long offset, long end)
    {
        if (offset >= end)
            return;
        var unit = 1L << _unitBits;
        var first = offset & -unit;
        var last = first + unit;
        lock (_lock)
        {
            WaitForAllocations(first >> _clusterBits, (first >> _clusterBits) + 1);
            if (Map(first, Math.Min(unit, Length - first)) is { Kind: ClusterKind.Unallocated or ClusterKind.Zero } && IsZeroNow(first, offset) && IsZeroNow(end, last))
            {
                ChangeUnits(first, last, UnitChange.Zero);
                return;
            }
        }

        WriteExplicitZeroes(offset, end - offset);
    }

    /// <summary>Bytes that are not stored here read as zeroes. Under the lock.</summary>
    private bool IsZeroNow(long from, long to)
    {
        to = Math.Min(to, Length);
        while (from < to)
        {
            var map = Map(from, to - from);
            var n = map.Length;
            if (map.Kind == ClusterKind.Unallocated && _backing is { } backing && from < backing.Length)
            {
                var below = Graph.ChainStatus.Get(backing, null, from, Math.Min(n, backing.Length - from));
                if (!below.IsZero)
                    return false;
                n = below.Length;
            }

            from += n;
        }

        return true;
    }

    private void WriteExplicitZeroes(long offset, long length)
    {
        while (length > 0)
        {
            var n = Math.Min(length, _clusterSize - (offset & (_clusterSize - 1)));
            // What is behind the end of the backing image is stored all the same, as with the rest of its cluster.
            if ((_backing != null && _header.Version >= 3) || !ReadsAsZero(offset, offset + n))
            {
                var zeroes = new byte[n];
                Write(offset, zeroes);
            }

            offset += n;
            length -= n;
        }
    }
}
