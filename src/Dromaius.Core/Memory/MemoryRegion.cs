namespace Dromaius.Core.Memory;

/// <summary>Reads a device register: byte offset in the region, access size 1, 2, 4 or 8 bytes.</summary>
public delegate ulong RegisterRead(ulong offset, int size);

/// <summary>Writes a device register: byte offset in the region, access size 1, 2, 4 or 8 bytes, value in the low bits.</summary>
public delegate void RegisterWrite(ulong offset, int size, ulong value);

public enum RegionKind
{
    /// <summary>Holds other regions and nothing itself.</summary>
    Container,

    /// <summary>RAM: loads and stores go to a <see cref="RamBlock"/>.</summary>
    Ram,

    /// <summary>ROM: loads from a <see cref="RamBlock"/>; stores go to the write handler if there is one, else nowhere.</summary>
    Rom,

    /// <summary>Registers of a device.</summary>
    Device,

    /// <summary>A window on a part of another region.</summary>
    Alias,
}

/// <summary>
/// A node of the memory tree. Where siblings overlap, the higher priority wins; of equal ones the later added. Any change
/// rebuilds the flat views of the address spaces above it; change many at once inside <see cref="MemoryTransaction"/>.
/// </summary>
public sealed class MemoryRegion
{
    private readonly List<MemoryRegion> _children = [];

    /// <summary>Address spaces with this as their root; and aliases of this region. Both guarded by the first.</summary>
    private readonly List<AddressSpace> _spaces = [];
    private readonly List<MemoryRegion> _aliases = [];
    private MemoryRegion? _parent;
    private bool _enabled = true;
    private ulong _address;
    private ulong _size;
    private ulong _aliasOffset;
    private bool _readOnly;
    private static long s_order;
    private long _added;

    private MemoryRegion(RegionKind kind, string name, ulong size)
    {
        Kind = kind;
        Name = name;
        _size = size;
    }

    public RegionKind Kind { get; }
    public string Name { get; }

    /// <summary>Size in bytes; 0 means the whole 64-bit space. Windows (aliases) change theirs.</summary>
    public ulong Size
    {
        get => _size;
        set => Change(ref _size, value);
    }

    public int Priority { get; private set; }
    public RamBlock? Ram { get; private init; }
    public RegisterRead? Read { get; private init; }
    public RegisterWrite? Write { get; private init; }

    /// <summary>Access sizes the handlers take; wider accesses are split, narrower ones widened.</summary>
    public int MinAccess { get; private init; } = 1;
    public int MaxAccess { get; private init; } = 8;
    public MemoryRegion? AliasOf { get; private init; }
    public IReadOnlyList<MemoryRegion> Children => _children;

    /// <summary>Offset in the parent.</summary>
    public ulong Address
    {
        get => _address;
        set => Change(ref _address, value);
    }

    /// <summary>Where an alias begins in the region it looks at.</summary>
    public ulong AliasOffset
    {
        get => _aliasOffset;
        set => Change(ref _aliasOffset, value);
    }

    public bool Enabled
    {
        get => _enabled;
        set => Change(ref _enabled, value);
    }

    /// <summary>For RAM and aliases of RAM: stores are dropped (PAM write-protect).</summary>
    public bool ReadOnly
    {
        get => _readOnly;
        set => Change(ref _readOnly, value);
    }

    public static MemoryRegion Container(string name, ulong size) => new(RegionKind.Container, name, size);

    public static MemoryRegion RamRegion(string name, RamBlock ram) => new(RegionKind.Ram, name, ram.Size) { Ram = ram };

    public static MemoryRegion Rom(string name, RamBlock ram, RegisterWrite? write = null) =>
        new(RegionKind.Rom, name, ram.Size) { Ram = ram, Write = write, _readOnly = true };

    public static MemoryRegion Device(string name, ulong size, RegisterRead read, RegisterWrite write, int minAccess = 1,
        int maxAccess = 4) =>
        new(RegionKind.Device, name, size) { Read = read, Write = write, MinAccess = minAccess, MaxAccess = maxAccess };

    public static MemoryRegion Alias(string name, MemoryRegion target, ulong offset, ulong size)
    {
        var alias = new MemoryRegion(RegionKind.Alias, name, size) { AliasOf = target, _aliasOffset = offset };
        lock (target._spaces)
            target._aliases.Add(alias);
        return alias;
    }

    /// <summary>Adds a child at an address of this container.</summary>
    public void Add(ulong address, MemoryRegion child, int priority = 0)
    {
        child._parent = this;
        child._address = address;
        child.Priority = priority;
        child._added = Interlocked.Increment(ref s_order);
        _children.Add(child);
        _children.Sort(static (a, b) =>
            a.Priority != b.Priority ? b.Priority.CompareTo(a.Priority) : b._added.CompareTo(a._added));
        MemoryTransaction.Changed(this);
    }

    public void Remove(MemoryRegion child)
    {
        if (_children.Remove(child))
        {
            child._parent = null;
            MemoryTransaction.Changed(this);
        }
    }

    private void Change<T>(ref T field, T value)
        where T : IEquatable<T>
    {
        if (field.Equals(value))
            return;
        field = value;
        MemoryTransaction.Changed(this);
    }

    /// <summary>An address space has this region as its root.</summary>
    internal void SeenBy(AddressSpace space)
    {
        lock (_spaces)
            _spaces.Add(space);
    }

    /// <summary>Adds the address spaces that see this region: through its parents, and through aliases of it or of them.</summary>
    internal void CollectSpaces(List<AddressSpace> into)
    {
        lock (_spaces)
        {
            foreach (var space in _spaces)
            {
                if (!into.Contains(space))
                    into.Add(space);
            }

            foreach (var alias in _aliases)
                alias.CollectSpaces(into);
        }

        _parent?.CollectSpaces(into);
    }
}
