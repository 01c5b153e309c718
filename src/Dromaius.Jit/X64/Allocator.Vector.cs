using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>A vector register to be stored in a cold path, or kept over its call.</summary>
/// <param name="Xmm">The host register.</param>
/// <param name="Home">Where its value is or goes.</param>
/// <param name="Width">How much of it <paramref name="Home"/> holds; if it is loaded, the rest is clear.</param>
/// <param name="Store">It is not there yet.</param>
/// <param name="Load">It is loaded behind the call.</param>
internal readonly record struct SavedVector(int Xmm, Mem Home, W Width, bool Store, bool Load);

/// <content>Vectors: one owner a register, no sharing.</content>
internal sealed partial class Allocator
{
    private const int VecCount = 14; // XMM14 and XMM15 are scratch

    private readonly int[] _vecOwner = new int[16];
    private readonly List<(int Value, int Offset, W Width)> _inState = [];
    private int _vecLocked;

    public int UseVec(Val v)
    {
        var id = v.Id;
        if (_reg[id] < 0)
        {
            var x = TakeVec();
            Reload(x, id);
            _vecOwner[x] = id;
            _reg[id] = (sbyte)x;
        }

        _vecLocked |= 1 << _reg[id];
        return _reg[id];
    }

    public int TargetVec(Val reuse = default)
    {
        if (reuse.IsValue && _reg[reuse.Id] >= 0 && !LiveAfter(reuse.Id) && !IsLate(reuse.Id))
            return _reg[reuse.Id];
        var x = TakeVec();
        _vecLocked |= 1 << x;
        return x;
    }

    public void DefineVec(Val dst, int x, int lastNeed)
    {
        if (_vecOwner[x] >= 0)
            _reg[_vecOwner[x]] = -1;
        FlushValue(dst.Id);
        ReleaseVec(dst.Id);
        ForgetInState(dst.Id);
        _vecOwner[x] = dst.Id;
        _reg[dst.Id] = (sbyte)x;
        _flags[dst.Id] = 0;
        _lastNeed[dst.Id] = lastNeed;
    }

    private void ReleaseVec(int id)
    {
        if (_reg[id] >= 0)
            _vecOwner[_reg[id]] = -1;
        _reg[id] = -1;
    }

    /// <summary>A vector that nobody needs any more.</summary>
    private void DropVec(int id)
    {
        ReleaseVec(id);
        ForgetInState(id);
        FreeSpill(id);
    }

    private int TakeVec()
    {
        var best = -1;
        var far = -1;
        for (var x = 0; x < VecCount; x++)
        {
            if ((_vecLocked & 1 << x) != 0)
                continue;
            var v = _vecOwner[x];
            var live = v >= 0 && LiveNow(v);
            if (!live && (v < 0 || !IsLate(v)))
            {
                if (v >= 0)
                    ReleaseVec(v);
                return x;
            }

            // What is only to be stored costs no reload.
            var need = live ? _lastNeed[v] : int.MaxValue;
            if (need > far)
                (best, far) = (x, need);
        }

        SpillVec(best);
        return best;
    }

    private void SpillVec(int x)
    {
        var v = _vecOwner[x];
        FlushValue(v);
        if (LiveNow(v) && (_flags[v] & HasMem) == 0 && FindInState(v) < 0)
        {
            StoreVec(Home(v), x);
            _flags[v] |= HasMem;
        }

        ReleaseVec(v);
    }

    /// <summary>Before a call: every live vector to its home.</summary>
    public void SpillVectors()
    {
        FlushVectors();
        StateChanges(0, int.MaxValue);
        for (var x = 0; x < VecCount; x++)
        {
            if (_vecOwner[x] >= 0 && LiveNow(_vecOwner[x]))
                SpillVec(x);
            else if (_vecOwner[x] >= 0)
                ReleaseVec(_vecOwner[x]);
        }
    }

    /// <summary>Vectors that live across the current operation, for its cold path.</summary>
    public void LiveVectors(List<SavedVector> into)
    {
        LateStores(into);
        for (var x = 0; x < VecCount; x++)
        {
            var v = _vecOwner[x];
            if (v < 0)
                continue;
            var (late, at) = (FindLate(v), FindInState(v));
            if (late >= 0)
                into.Add(new SavedVector(x, new Mem(State, _late[late].Offset), _late[late].Width, Store: false, Load: true));
            else if (!LiveNow(v) && !IsLate(v))
                continue;
            else if (at >= 0)
                into.Add(new SavedVector(x, new Mem(State, _inState[at].Offset), _inState[at].Width, Store: false, Load: true));
            else
                into.Add(new SavedVector(x, Home(v), W.Y, Store: true, Load: true));
        }
    }

    // Values that the CPU state holds too: they need no store to be given up.

    private int FindInState(int v)
    {
        for (var i = 0; i < _inState.Count; i++)
        {
            if (_inState[i].Value == v)
                return i;
        }

        return -1;
    }

    private void ForgetInState(int v)
    {
        if (FindInState(v) is var at && at >= 0)
            _inState.RemoveAt(at);
    }

    private void Reload(int x, int v)
    {
        var at = FindInState(v);
        if (at < 0)
            LoadVec(x, Home(v));
        else
            LoadVec(x, new Mem(State, _inState[at].Offset), _inState[at].Width);
    }

    /// <summary>A value is at an offset of the CPU state, in full.</summary>
    public void IsInState(Val v, int offset, W width)
    {
        if (width >= W.X && FindInState(v.Id) < 0)
            _inState.Add((v.Id, offset, width));
    }

    /// <summary>Bytes of the CPU state are about to change: values that only they hold are loaded first.</summary>
    public void StateChanges(int offset, int length)
    {
        for (var i = _inState.Count - 1; i >= 0; i--)
        {
            var (v, at, width) = _inState[i];
            if (at >= offset + length || offset >= at + (1 << (int)width))
                continue;
            if (LiveNow(v) && _reg[v] < 0 && (_flags[v] & HasMem) == 0)
                _ = UseVec(new Val(v));
            _inState.RemoveAt(i);
        }
    }

    public void StoreVec(in Mem m, int x, W width = W.Y)
    {
        if (HostFeatures.Avx)
            asm.VexRM(1, 0, 0x11, false, width == W.Y, x, 0, m);
        else
            asm.SseRM(1, 0, 0x11, false, x, m);
    }

    public void LoadVec(int x, in Mem m, W width = W.Y)
    {
        if (HostFeatures.Avx)
            asm.VexRM(1, 0, 0x10, false, width == W.Y, x, 0, m);
        else
            asm.SseRM(1, 0, 0x10, false, x, m);
    }
}
