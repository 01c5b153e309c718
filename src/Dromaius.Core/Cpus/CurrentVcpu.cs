namespace Dromaius.Core.Cpus;

/// <summary>
/// Which processor the calling thread runs. Registers that every processor sees at one address but owns alone (the local
/// APIC page) are told apart by it.
/// </summary>
public static class CurrentVcpu
{
    // Stored plus one, so that a thread that never set it is no processor.
    [ThreadStatic]
    private static int t_indexPlusOne;

    /// <summary>Number of the processor whose guest code this thread is running; -1 on other threads.</summary>
    public static int Index
    {
        get => t_indexPlusOne - 1;
        set => t_indexPlusOne = value + 1;
    }
}
