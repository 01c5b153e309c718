using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <content>
/// Late stores: in hot code a vector of the guest stays in its host register, and is stored where the unit may be left, or not at all
/// if the register gets another value before.
/// </content>
internal sealed partial class Allocator
{
    private readonly record struct LateStore(int Value, int Offset, W Width, bool InFull);

    private readonly List<LateStore> _late = [];

    /// <summary>Vectors wait to be stored: leaving the unit needs code of its own.</summary>
    public bool HasLateStores => _late.Count > 0;

    /// <summary>A vector, in its register, is to be stored in the CPU state.</summary>
    /// <param name="v">The vector.</param>
    /// <param name="offset">Where in the state.</param>
    /// <param name="width">X or Y.</param>
    /// <param name="inFull">It has nothing beyond the width.</param>
    public void StoreLate(Val v, int offset, W width, bool inFull)
    {
        for (var i = _late.Count - 1; i >= 0; i--)
        {
            var late = _late[i];
            if (!Overlaps(late, offset, 1 << (int)width))
                continue;
            if (late.Offset < offset || late.Offset + (1 << (int)late.Width) > offset + (1 << (int)width))
                StoreNow(late);
            _late.RemoveAt(i);
            ReleaseIfDone(late.Value);
        }

        StateChanges(offset, 1 << (int)width);
        _late.Add(new LateStore(v.Id, offset, width, inFull));
    }

    /// <summary>These bytes of the CPU state are about to be looked at, or changed.</summary>
    public void FlushVectors(int offset, int length)
    {
        for (var i = _late.Count - 1; i >= 0; i--)
        {
            if (Overlaps(_late[i], offset, length))
                Flush(i);
        }
    }

    /// <summary>A vector that the current operation needs last gives its register away: it is stored now.</summary>
    public void FlushAtEnd(Val v)
    {
        if (!LiveAfter(v.Id))
            FlushValue(v.Id);
    }

    /// <summary>All of the CPU state may be looked at, or changed.</summary>
    public void FlushVectors()
    {
        while (_late.Count > 0)
            Flush(_late.Count - 1);
    }

    private void FlushValue(int v)
    {
        for (var i = _late.Count - 1; i >= 0; i--)
        {
            if (_late[i].Value == v)
                Flush(i);
        }
    }

    private void Flush(int at)
    {
        var late = _late[at];
        StoreNow(late);
        _late.RemoveAt(at);
        if (late.InFull)
            IsInState(new Val(late.Value), late.Offset, late.Width);
        ReleaseIfDone(late.Value);
    }

    private void ReleaseIfDone(int v)
    {
        if (!LiveNow(v) && !IsLate(v))
            DropVec(v);
    }

    private void StoreNow(in LateStore late) => StoreVec(new Mem(State, late.Offset), _reg[late.Value], late.Width);

    private bool IsLate(int v)
    {
        foreach (var late in _late)
        {
            if (late.Value == v)
                return true;
        }

        return false;
    }

    /// <summary>The late store that makes the state hold a vector in full; -1: none does.</summary>
    private int FindLate(int v)
    {
        for (var i = 0; i < _late.Count; i++)
        {
            if (_late[i].Value == v && _late[i].InFull)
                return i;
        }

        return -1;
    }

    private static bool Overlaps(in LateStore late, int offset, int length) =>
        late.Offset < offset + length && offset < late.Offset + (1 << (int)late.Width);

    /// <summary>The stores that a way out of the unit has to make.</summary>
    public void LateStores(List<SavedVector> into)
    {
        foreach (var late in _late)
            into.Add(new SavedVector(_reg[late.Value], new Mem(State, late.Offset), late.Width, Store: true, Load: false));
    }
}
