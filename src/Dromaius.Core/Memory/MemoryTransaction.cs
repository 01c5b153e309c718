namespace Dromaius.Core.Memory;

/// <summary>
/// Groups changes of the memory tree: address spaces rebuild their flat views once, when the outermost transaction ends.
/// Changes are made under the machine lock.
/// </summary>
public readonly ref struct MemoryTransaction
{
    [ThreadStatic]
    private static int t_depth;

    [ThreadStatic]
    private static bool t_pending;

    /// <summary>Every live address space listens; weak, so that a dropped machine is collected.</summary>
    private static readonly List<WeakReference<AddressSpace>> Spaces = [];

    public static MemoryTransaction Begin()
    {
        t_depth++;
        return default;
    }

    public void Dispose()
    {
        if (--t_depth == 0 && t_pending)
            Commit();
    }

    internal static void Changed()
    {
        if (t_depth == 0)
            Commit();
        else
            t_pending = true;
    }

    internal static void Register(AddressSpace space)
    {
        lock (Spaces)
            Spaces.Add(new WeakReference<AddressSpace>(space));
    }

    private static void Commit()
    {
        t_pending = false;
        List<AddressSpace> live = [];
        lock (Spaces)
        {
            Spaces.RemoveAll(static w => !w.TryGetTarget(out _));
            foreach (var w in Spaces)
            {
                if (w.TryGetTarget(out var space))
                    live.Add(space);
            }
        }

        foreach (var space in live)
            space.Rebuild();
    }
}
