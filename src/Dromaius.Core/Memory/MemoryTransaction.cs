namespace Dromaius.Core.Memory;

/// <summary>
/// Groups changes of the memory tree: the address spaces that see what changed rebuild their flat views once, when the outermost
/// transaction ends. Changes are made under the machine lock.
/// </summary>
public readonly ref struct MemoryTransaction
{
    [ThreadStatic]
    private static int t_depth;

    [ThreadStatic]
    private static List<AddressSpace>? t_pending;

    public static MemoryTransaction Begin()
    {
        t_depth++;
        return default;
    }

    public void Dispose()
    {
        if (--t_depth == 0)
            Commit();
    }

    /// <summary>Something in or about a region changed.</summary>
    internal static void Changed(MemoryRegion region)
    {
        region.CollectSpaces(t_pending ??= []);
        if (t_depth == 0)
            Commit();
    }

    private static void Commit()
    {
        if (t_pending is not { Count: > 0 } pending)
            return;
        t_pending = null; // a listener may change the tree again
        foreach (var space in pending)
            space.Rebuild();
    }
}
