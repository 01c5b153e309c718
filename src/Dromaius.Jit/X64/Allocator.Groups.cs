namespace Dromaius.Jit.X64;

/// <content>
/// Groups of accesses that share one check: two registers hold the offset in its page and the host address of the group's anchor.
/// They are given up like any other value when registers run short; the next access then checks in full again.
/// </content>
internal sealed partial class Allocator
{
    private int _firstGroupValue;

    private int OffsetValue(int group) => _firstGroupValue + 2 * group;

    /// <summary>The registers of a group, locked; false if it has none.</summary>
    public bool TryGroup(int group, out Reg offset, out Reg host)
    {
        var v = OffsetValue(group);
        (offset, host) = ((Reg)_reg[v], (Reg)_reg[v + 1]);
        if (_reg[v] < 0 || _reg[v + 1] < 0)
            return false;
        Lock(offset);
        Lock(host);
        return true;
    }

    /// <summary>The registers with the offset of each group that is used later, a bit each.</summary>
    public int LiveGroups()
    {
        var mask = 0;
        for (var r = 0; r < 16; r++)
        {
            var v = _first[r];
            if (v >= _firstGroupValue && ((v - _firstGroupValue) & 1) == 0 && LiveAfter(v))
                mask |= 1 << r;
        }

        return mask;
    }

    /// <summary>Gives two registers of the current operation to a group until its last access.</summary>
    public void KeepGroup(int group, Reg offset, Reg host, int last)
    {
        var v = OffsetValue(group);
        DropGroup(group);
        Own(v, offset, last);
        Own(v + 1, host, last);
    }

    private void Own(int v, Reg r, int last)
    {
        Empty((int)r);
        Attach(v, (int)r);
        _lastNeed[v] = last;
    }

    public void DropGroup(int group)
    {
        Detach(OffsetValue(group));
        Detach(OffsetValue(group) + 1);
    }
}
