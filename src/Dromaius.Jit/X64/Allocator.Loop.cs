using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <content>
/// The loop of a unit: what globals are where at its head is remembered, and made so again at its end. Globals that are not pinned
/// stay in registers meanwhile.
/// </content>
internal sealed partial class Allocator
{
    /// <summary>How many globals that are not pinned may be in registers at the head; the others need some too.</summary>
    private const int MaxLoopRegs = 4;

    private sbyte[] _headReg = [];
    private byte[] _headFlags = [];
    private ulong[] _headConst = [];
    private bool[] _headLive = [];
    private int[] _uses = [];
    private bool[] _written = [];

    // The loop has paths that join, or calls that change globals.
    private bool _forgets;

    // The registers of what is carried.
    private readonly List<int> _headVec = [];

    /// <summary>At the head, reached from above: temporaries are gone, globals stay where they are as far as that is of use.</summary>
    public void EnterLoop(IrBuilder b)
    {
        if (_headReg.Length < _globals)
        {
            (_headReg, _headFlags, _headConst) = (new sbyte[_globals], new byte[_globals], new ulong[_globals]);
            (_headLive, _uses, _written) = (new bool[_globals], new int[_globals], new bool[_globals]);
        }

        CountUses(b);
        FlushVectors();
        EnterVectors(b);
        var kept = 0;
        for (var g = 0; g < _globals; g++)
        {
            if (_pin[g] != Reg.None)
                continue;
            _headLive[g] = LiveAfter(g);
            if (!_headLive[g])
            {
                Detach(g);
                _flags[g] = HasMem;
            }
            else if ((_flags[g] & HasConst) != 0 && StaysConstant(b, g))
                Detach(g);
            else
            {
                var inTemporary = _reg[g] >= 0 && (_tempMask & 1 << _reg[g]) != 0;
                if (inTemporary && SharesOnlyWithEquals(b, g, out var first) && (!first || (IsOftenUsed(g) && kept < MaxLoopRegs)))
                {
                    kept += first ? 1 : 0;
                    _flags[g] &= unchecked((byte)~HasConst);
                }
                else
                {
                    SaveHome(g);
                    Detach(g);
                    _flags[g] = HasMem;
                }
            }

            // What the loop changes comes back changed.
            if (_written[g] && (_reg[g] >= 0 || (_flags[g] & HasConst) != 0))
                _flags[g] &= unchecked((byte)~HasMem);
            (_headReg[g], _headFlags[g], _headConst[g]) = (_reg[g], _flags[g], _const[g]);
        }
    }

    /// <summary>Whether every global in this one's register keeps its value; and whether it is the first of them.</summary>
    private bool SharesOnlyWithEquals(IrBuilder b, int g, out bool first)
    {
        first = true;
        for (var v = _first[_reg[g]]; v >= 0; v = _next[v])
        {
            if (v == g)
                continue;
            first &= v > g;
            if (!StayEqual(b, g, v))
                return false;
        }

        return true;
    }

    /// <summary>Two globals that are equal at the head are so at the loop's end: neither is written, or both in the end with one value.</summary>
    private bool StayEqual(IrBuilder b, int one, int other)
    {
        var (lastOne, lastOther) = (-1, -1);
        for (var i = At + 1; i < b.Count && b.Insns[i].Op != IrOp.LoopBack; i++)
        {
            if (b.Insns[i].Dst is not { IsValue: true, Id: var id })
                continue;
            if (id == one)
                lastOne = i;
            else if (id == other)
                lastOther = i;
        }

        var last = Math.Max(lastOne, lastOther);
        if (last < 0)
            return true;
        ref readonly var copy = ref b.Insns[last];
        return copy.Op == IrOp.Mov && copy.A.IsValue && copy.A.Id == (last == lastOne ? other : one);
    }

    private void CountUses(IrBuilder b)
    {
        Array.Clear(_uses);
        Array.Clear(_written);
        _forgets = false;
        for (var i = At + 1; i < b.Count; i++)
        {
            ref readonly var insn = ref b.Insns[i];
            if (insn.Op == IrOp.LoopBack)
                break;
            foreach (var v in (ReadOnlySpan<Val>)[insn.A, insn.B, insn.C, insn.D, insn.Dst])
            {
                if (v.IsValue && v.Id < _globals)
                    _uses[v.Id]++;
            }

            if (insn.Dst.IsValue && insn.Dst.Id < _globals)
                _written[insn.Dst.Id] = true;
            _forgets |= insn.Op == IrOp.Label
                || (insn.Op == IrOp.Call && (b.HelperOf(insn).Effects & HelperEffects.Writes) != 0);
        }
    }

    /// <summary>The loop gives the global no other value.</summary>
    private bool StaysConstant(IrBuilder b, int g)
    {
        if (!_written[g])
            return !_forgets;
        for (var i = At + 1; i < b.Count && b.Insns[i].Op != IrOp.LoopBack; i++)
        {
            ref readonly var insn = ref b.Insns[i];
            if (insn.Dst.IsValue && insn.Dst.Id == g
                && !(insn.Op == IrOp.Mov && b.TryConst(insn.A, out var value) && value == _const[g]))
                return false;
        }

        return !_forgets;
    }

    /// <summary>Fewer than enough globals to fill the registers are used more.</summary>
    private bool IsOftenUsed(int g)
    {
        var more = 0;
        for (var o = 0; o < _globals; o++)
        {
            if (_pin[o] == Reg.None && _uses[o] > _uses[g] && (_flags[o] & HasConst) == 0)
                more++;
        }

        return _uses[g] > 0 && more < MaxLoopRegs;
    }

    /// <summary>Vectors that are carried are in registers at the head, and in the state.</summary>
    private void EnterVectors(IrBuilder b)
    {
        foreach (var c in b.Carried)
            _ = UseVec(c.Value);
        _headVec.Clear();
        foreach (var c in b.Carried)
            _headVec.Add(_reg[c.Value.Id]);
        DropTemporaries();
        for (var n = 0; n < _headVec.Count; n++)
        {
            var (value, offset, width) = b.Carried[n];
            _vecOwner[_headVec[n]] = value.Id;
            _flags[value.Id] = 0;
            IsInState(value, offset, width);
        }
    }

    /// <summary>Every carried vector back to its register, by way of the state where another is in the way.</summary>
    private void CloseVectors(IrBuilder b)
    {
        for (var n = 0; n < _headVec.Count; n++)
        {
            var value = b.Carried[n].Value.Id;
            var occupied = _vecOwner[_headVec[n]];
            if (_reg[value] < 0 || _reg[value] == _headVec[n] || b.Carried.Exists(c => c.Value.Id == occupied))
                continue;
            asm.MoveVec(_headVec[n], _reg[value], true);
            _vecOwner[_reg[value]] = -1;
            (_reg[value], _vecOwner[_headVec[n]]) = ((sbyte)_headVec[n], value);
        }

        for (var n = 0; n < _headVec.Count; n++)
        {
            var (value, offset, width) = b.Carried[n];
            if (_reg[value.Id] != _headVec[n])
                LoadVec(_headVec[n], new Mem(State, offset), width);
        }
    }

    /// <summary>Temporaries are gone from registers, spill slots and the state.</summary>
    private void DropTemporaries()
    {
        for (var r = 0; r < 16; r++)
        {
            for (var v = _first[r]; v >= 0;)
            {
                var next = _next[v];
                if (!IsGlobal(v))
                    Detach(v);
                v = next;
            }

            _vecOwner[r] = -1;
        }

        _inState.Clear();
        Array.Fill(_spill, -1, _globals, _b.ValueCount - _globals);
        _spillUsed = 0;
    }

    /// <summary>At the loop's end: everything as it was at the head. Nothing is emitted on this path behind it but the jump.</summary>
    public void CloseLoop(IrBuilder b)
    {
        ClearLocks();
        CloseVectors(b);
        DropTemporaries();
        for (var g = 0; g < _globals; g++)
        {
            if (_pin[g] != Reg.None || !_headLive[g])
                continue;
            if ((_headFlags[g] & HasMem) != 0)
                SaveHome(g);
            if (_headReg[g] >= 0 || (_headFlags[g] & HasConst) == 0)
                continue;
            // The head's code counts on this constant.
            if ((_flags[g] & HasConst) == 0 || _const[g] != _headConst[g])
                IsStuck = true;
        }

        while (MoveToHead(out var waiting))
        {
            if (waiting < 0)
                continue;
            // A circle: one goes by its home.
            SaveHome(waiting);
            Detach(waiting);
        }
    }

    /// <summary>Moves globals whose register at the head is free. False when all are there; else one that waits if none could go.</summary>
    private bool MoveToHead(out int waiting)
    {
        waiting = -1;
        var moved = false;
        for (var g = 0; g < _globals; g++)
        {
            if (_pin[g] != Reg.None || _headReg[g] < 0 || !_headLive[g] || _reg[g] == _headReg[g])
                continue;
            var to = _headReg[g];
            if (HoldsEqual(to))
            {
                Detach(g);
                Attach(g, to);
                continue;
            }

            if (IsWanted(to))
            {
                // Where all wait there is a circle, of globals in registers.
                if (_reg[g] >= 0)
                    waiting = g;
                continue;
            }

            if (_reg[g] >= 0)
                asm.Mov(3, (Reg)to, (Reg)_reg[g]);
            else if ((_flags[g] & HasConst) != 0)
                asm.MovImm((Reg)to, _const[g]);
            else
                asm.Load(3, (Reg)to, Home(g));
            Empty(to);
            Detach(g);
            Attach(g, to);
            moved = true;
        }

        if (moved)
            waiting = -1;
        return moved || waiting >= 0;
    }

    /// <summary>A register holds a global that has yet to go from it to another.</summary>
    private bool IsWanted(int reg)
    {
        for (var v = _first[reg]; v >= 0; v = _next[v])
        {
            if (IsGlobal(v) && _headReg[v] >= 0 && _headLive[v])
                return true;
        }

        return false;
    }

    /// <summary>A global that shared this register at the head is there: the other has the same value.</summary>
    private bool HoldsEqual(int reg)
    {
        for (var v = _first[reg]; v >= 0; v = _next[v])
        {
            if (IsGlobal(v) && _headLive[v] && _headReg[v] == reg)
                return true;
        }

        return false;
    }
}
