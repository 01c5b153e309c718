namespace Dromaius.Cpu.Softmmu;

/// <summary>What a page-table walk found.</summary>
public struct PageWalk
{
    /// <summary>Physical address of the 4 KiB page that holds the address (page-aligned).</summary>
    public ulong Physical;

    /// <summary>Size in bytes of the mapping: 4 KiB, 2 or 4 MiB, 1 GiB.</summary>
    public ulong PageSize;

    /// <summary>Stores are allowed and need no further walk (the dirty bit is set).</summary>
    public bool Writable;
    public bool Readable;
    public bool Executable;

    /// <summary>Survives address-space switches.</summary>
    public bool Global;
}
