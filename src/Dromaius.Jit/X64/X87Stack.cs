using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>Which guest registers the host's x87 stack holds at a point of a unit, and what of its status word the state lacks.</summary>
internal struct X87Stack
{
    /// <summary>A guest register each four bits, ST(0) lowest.</summary>
    private uint _slots;

    public int Depth { get; private set; }

    /// <summary>Guest registers, a bit each, whose slot in the state is old.</summary>
    public int Dirty { get; private set; }

    /// <summary>The host's sticky flags may hold more than the state's.</summary>
    public bool Flags;

    /// <summary>C1, and C0 with C2 and C3, of the status word are the host's.</summary>
    public bool HostC1, HostConditions;

    /// <summary>C1 is 0 whatever the state and the host say.</summary>
    public bool ClearC1;

    public readonly bool IsStatusPending => Flags || HostC1 || HostConditions || ClearC1;

    public readonly bool IsIdle => Depth == 0 && !IsStatusPending;

    /// <summary>Guest register in ST(k).</summary>
    public readonly int this[int k] => (int)(_slots >> 4 * k) & 15;

    /// <summary>The k of ST(k) that holds a guest register, or -1.</summary>
    public readonly int Find(int register)
    {
        for (var k = 0; k < Depth; k++)
        {
            if (this[k] == register)
                return k;
        }

        return -1;
    }

    public void Push(int register, bool dirty)
    {
        _slots = _slots << 4 | (uint)register;
        Depth++;
        if (dirty)
            Touch(register);
    }

    public void Pop()
    {
        Dirty &= ~(1 << this[0]);
        _slots >>= 4;
        Depth--;
    }

    public void Touch(int register) => Dirty |= 1 << register;

    /// <summary>ST(k) holds another guest register now.</summary>
    public void Rename(int k, int register)
    {
        Dirty &= ~(1 << this[k]);
        Replace(k, register);
        Touch(register);
    }

    /// <summary>FXCH ST(k).</summary>
    public void Exchange(int k)
    {
        var (a, b) = (this[0], this[k]);
        Replace(0, b);
        Replace(k, a);
    }

    /// <summary>FSTP ST(k): the top takes the place of ST(k), whose content is gone.</summary>
    public void Overwrite(int k)
    {
        Dirty &= ~(1 << this[k]);
        Replace(k, this[0]);
        _slots >>= 4;
        Depth--;
    }

    private void Replace(int k, int register) => _slots = _slots & ~(15u << 4 * k) | (uint)register << 4 * k;

    public void StatusStored() => Flags = HostC1 = HostConditions = ClearC1 = false;

    /// <summary>An instruction that clears C1.</summary>
    public void Clears()
    {
        HostC1 = false;
        ClearC1 = true;
    }

    /// <summary>An instruction that computes: C1 tells how it rounded.</summary>
    public void Computes()
    {
        Flags = HostC1 = true;
        ClearC1 = false;
    }

    /// <summary>Bits of the status word to take from the host, and to clear in the state before.</summary>
    public readonly int HostBits => (Flags ? X87Layout.Exceptions : 0) | (HostC1 ? X87Layout.C1 : 0)
        | (HostConditions ? X87Layout.C0C2C3 : 0);

    public readonly int ClearedBits => (HostC1 || ClearC1 ? X87Layout.C1 : 0) | (HostConditions ? X87Layout.C0C2C3 : 0);
}
