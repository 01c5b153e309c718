namespace Dromaius.Core.Memory;

/// <summary>One run of addresses that resolve to one region.</summary>
/// <param name="Start">First address.</param>
/// <param name="Last">Last address, inclusive.</param>
/// <param name="Region">A RAM, ROM or device region.</param>
/// <param name="Offset">Offset in the region of <paramref name="Start"/>.</param>
/// <param name="ReadOnly">Stores do not reach the RAM.</param>
public readonly record struct FlatRange(ulong Start, ulong Last, MemoryRegion Region, ulong Offset, bool ReadOnly)
{
    /// <summary>Loads can go straight to host memory.</summary>
    public bool IsMemory => Region.Ram != null;
}

/// <summary>The memory tree flattened: sorted, disjoint ranges. Immutable, so readers need no lock.</summary>
public sealed class FlatView
{
    private readonly FlatRange[] _ranges;

    private FlatView(FlatRange[] ranges) => _ranges = ranges;

    public static FlatView Empty { get; } = new([]);

    public ReadOnlySpan<FlatRange> Ranges => _ranges;

    /// <summary>Finds the range that holds an address; false for unassigned ones.</summary>
    public bool TryFind(ulong address, out FlatRange range)
    {
        int lo = 0, hi = _ranges.Length - 1;
        while (lo <= hi)
        {
            var mid = (lo + hi) >>> 1;
            ref readonly var r = ref _ranges[mid];
            if (address < r.Start)
                hi = mid - 1;
            else if (address > r.Last)
                lo = mid + 1;
            else
            {
                range = r;
                return true;
            }
        }

        range = default;
        return false;
    }

    public static FlatView Build(MemoryRegion root)
    {
        var ranges = new List<FlatRange>();
        Render(ranges, root, 0, 0, root.Size == 0 ? ulong.MaxValue : root.Size - 1, false);
        ranges.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        return new FlatView(Merge(ranges));
    }

    /// <summary>Adds what is visible of a region between two absolute addresses and not yet covered.</summary>
    private static void Render(List<FlatRange> ranges, MemoryRegion region, ulong regionBase, ulong first, ulong last,
        bool readOnly)
    {
        if (!region.Enabled)
            return;
        readOnly |= region.ReadOnly;
        var regionLast = region.Size == 0 ? ulong.MaxValue : regionBase + (region.Size - 1);
        first = Math.Max(first, regionBase);
        last = regionLast < regionBase ? last : Math.Min(last, regionLast);
        if (first > last)
            return;

        switch (region.Kind)
        {
            case RegionKind.Container:
                foreach (var child in region.Children)
                {
                    if (child.Address <= ulong.MaxValue - regionBase)
                        Render(ranges, child, regionBase + child.Address, first, last, readOnly);
                }

                break;
            case RegionKind.Alias:
                // The target's own address is ignored: the alias looks at its inside.
                RenderAlias(ranges, region, regionBase, first, last, readOnly);
                break;
            default:
                AddUncovered(ranges, region, regionBase, first, last, readOnly);
                break;
        }
    }

    private static void RenderAlias(List<FlatRange> ranges, MemoryRegion alias, ulong aliasBase, ulong first, ulong last,
        bool readOnly)
    {
        // Rendered at a base that may wrap below zero; do it in the target's own coordinates and shift back.
        var inner = new List<FlatRange>();
        var from = alias.AliasOffset + (first - aliasBase);
        var to = alias.AliasOffset + (last - aliasBase);
        Render(inner, alias.AliasOf!, 0, from, to, readOnly);
        inner.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        foreach (var r in inner)
        {
            var start = r.Start - alias.AliasOffset + aliasBase;
            var end = r.Last - alias.AliasOffset + aliasBase;
            AddUncovered(ranges, r.Region, start - r.Offset, start, end, r.ReadOnly);
        }
    }

    private static void AddUncovered(List<FlatRange> ranges, MemoryRegion region, ulong regionBase, ulong first, ulong last,
        bool readOnly)
    {
        // Subtract what higher priorities cover already.
        var holes = new List<(ulong First, ulong Last)> { (first, last) };
        foreach (var r in ranges)
        {
            for (var i = holes.Count - 1; i >= 0; i--)
            {
                var (f, l) = holes[i];
                if (r.Last < f || r.Start > l)
                    continue;
                holes.RemoveAt(i);
                if (r.Start > f)
                    holes.Add((f, r.Start - 1));
                if (r.Last < l)
                    holes.Add((r.Last + 1, l));
            }
        }

        foreach (var (f, l) in holes)
            ranges.Add(new FlatRange(f, l, region, f - regionBase, readOnly));
    }

    private static FlatRange[] Merge(List<FlatRange> ranges)
    {
        var merged = new List<FlatRange>(ranges.Count);
        foreach (var r in ranges)
        {
            if (merged.Count > 0)
            {
                var p = merged[^1];
                if (p.Region == r.Region && p.ReadOnly == r.ReadOnly && p.Last + 1 == r.Start
                    && p.Offset + (r.Start - p.Start) == r.Offset)
                {
                    merged[^1] = p with { Last = r.Last };
                    continue;
                }
            }

            merged.Add(r);
        }

        return [.. merged];
    }
}
