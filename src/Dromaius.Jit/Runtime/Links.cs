using System.Runtime.InteropServices;

namespace Dromaius.Jit;

/// <summary>A way out of a unit that can lead straight to another.</summary>
internal unsafe struct ExitSlot
{
    /// <summary>Write address of the jump's displacement, or null.</summary>
    public byte* Patch;

    /// <summary>Guest page of the unit it belongs to (linear).</summary>
    public ulong Page;

    /// <summary>The displacement that leads to its way out of generated code.</summary>
    public int Unlinked;

    /// <summary>Number of the unit it leads straight to, plus one; else 0.</summary>
    public int Target;

    /// <summary>Its neighbours among the exits that lead there; 0 at the ends.</summary>
    public int Next, Previous;
}

/// <summary>
/// The direct jumps between units. Flat tables that hold no objects but the units: a large guest has a million jumps, which the
/// garbage collector has nothing to do with. Under the engine's lock.
/// </summary>
internal sealed unsafe class Links(CodeCache cache)
{
    private const int MaxPageLinks = 100_000;

    private readonly List<Unit?> _units = [];

    /// <summary>Links that hold only while addresses keep their meaning, by side (<see cref="Engine.UnlinkPages"/>).</summary>
    private readonly List<int>[] _pageLinks = [[], []];

    // From 1 on: 0 means none.
    private ExitSlot[] _exits = new ExitSlot[1 << 12];
    private int _count = 1;
    private ulong _base;

    public int UnitCount => _units.Count;

    /// <summary>What <see cref="EngineState.LastExit"/> will tell of the next unit's first exit. Never used twice.</summary>
    public ulong NextExit => _base + (ulong)_count;

    public bool HasPageLinks(int side) => _pageLinks[side].Count != 0;

    /// <summary>Numbers a new unit and its exits, of which jump and displacement are known.</summary>
    public void Add(Unit unit, ReadOnlySpan<ExitSlot> exits)
    {
        (unit.Number, unit.FirstExit, unit.ExitCount) = (_units.Count, _count, exits.Length);
        _units.Add(unit);
        if (_count + exits.Length > _exits.Length)
            Array.Resize(ref _exits, Math.Max(_exits.Length * 2, _count + exits.Length));
        var page = PageOf(unit);
        foreach (ref readonly var exit in exits)
            _exits[_count++] = new ExitSlot { Patch = exit.Patch, Unlinked = exit.Unlinked, Page = page };
    }

    /// <summary>Makes an exit lead straight to a unit, if both are still there and it may.</summary>
    public void TryLink(ulong lastExit, Unit target, int side, bool mayCrossPages)
    {
        var index = lastExit - _base;
        if (index - 1 >= (ulong)(_count - 1) || target.Invalid)
            return;
        ref var exit = ref _exits[index];
        if (exit.Patch == null || exit.Target != 0)
            return;
        if (target.Ram2 != null || exit.Page != PageOf(target))
        {
            if (!mayCrossPages || _pageLinks[side].Count >= MaxPageLinks)
                return;
            _pageLinks[side].Add((int)index);
        }

        SetJump(exit.Patch, (int)(target.Code - (exit.Patch + cache.ExecDelta + 4)));
        (exit.Target, exit.Next, exit.Previous) = (target.Number + 1, target.Incoming, 0);
        if (target.Incoming != 0)
            _exits[target.Incoming].Previous = (int)index;
        target.Incoming = (int)index;
    }

    public void UndoPageLinks(int side)
    {
        foreach (var exit in CollectionsMarshal.AsSpan(_pageLinks[side]))
            Undo(exit);
        _pageLinks[side].Clear();
    }

    /// <summary>Takes back all links from and to a unit, whose exits are never linked again.</summary>
    public void Remove(Unit unit)
    {
        while (unit.Incoming != 0)
            Undo(unit.Incoming);
        for (var i = unit.FirstExit; i < unit.FirstExit + unit.ExitCount; i++)
        {
            Undo(i);
            _exits[i].Patch = null;
        }

        _units[unit.Number] = null;
    }

    /// <summary>Forgets all, without a look at the code.</summary>
    public void Clear()
    {
        _base += (ulong)_count;
        _count = 1;
        _units.Clear();
        foreach (var links in _pageLinks)
            links.Clear();
    }

    private void Undo(int index)
    {
        ref var exit = ref _exits[index];
        if (exit.Target == 0)
            return;
        if (exit.Previous != 0)
            _exits[exit.Previous].Next = exit.Next;
        else
            _units[exit.Target - 1]!.Incoming = exit.Next;
        if (exit.Next != 0)
            _exits[exit.Next].Previous = exit.Previous;
        exit.Target = 0;
        SetJump(exit.Patch, exit.Unlinked);
    }

    private static ulong PageOf(Unit unit) => (unit.Key.CodeBase + unit.Key.Pc) >> 12;

    private static void SetJump(byte* patch, int displacement) => Volatile.Write(ref *(int*)patch, displacement);
}
