using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>
/// Where each value of a unit is, as code is emitted from front to back. A host register holds one content, which several
/// values may share (a copy costs nothing until one side changes). Pinned globals own their register for good. Other
/// globals are stored only when they must be: at joins, exits and calls, or in the cold path of an access that faults.
/// </summary>
internal sealed partial class Allocator(Assembler asm)
{
    /// <summary>Fixed registers of pinned globals, in order; those not used are temporaries.</summary>
    private static readonly Reg[] PinOrder = [Reg.Rax, Reg.Rcx, Reg.Rdx, Reg.Rbx, Reg.R8, Reg.R9, Reg.Rsi, Reg.Rdi];

    public const Reg State = Reg.Rbp;
    private const byte HasMem = 1, HasConst = 2;

    private readonly int[] _first = new int[16];
    private sbyte[] _reg = [];
    private byte[] _flags = [];
    private ulong[] _const = [];
    private int[] _next = [];
    private int[] _spill = [];
    private int[] _lastNeed = [];
    private IrBuilder _b = null!;
    private GuestLayout _layout = null!;
    private Reg[] _pin = [];
    private int _pinnedMask;
    private int _tempMask;
    private int _locked;
    private ulong _spillUsed;
    private int _globals;

    /// <summary>Index of the operation being emitted.</summary>
    public int At { get; set; }

    /// <summary>Spill slots ran out, or the end of a loop cannot be made like its head: the unit is to be given up.</summary>
    public bool IsStuck { get; private set; }

    public static Reg[] PinMap(GuestLayout layout)
    {
        var map = new Reg[layout.Globals.Length];
        var n = 0;
        for (var g = 0; g < map.Length; g++)
            map[g] = layout.Globals[g].Pinned && n < PinOrder.Length ? PinOrder[n++] : Reg.None;
        return map;
    }

    public void Begin(IrBuilder b, Reg[] pinMap, ReadOnlySpan<int> needAtEntry, int groups)
    {
        _b = b;
        _layout = b.Layout;
        _pin = pinMap;
        _globals = b.GlobalCount;
        _firstGroupValue = b.ValueCount;
        var n = b.ValueCount + 2 * (groups + 1);
        if (_reg.Length < n)
        {
            n *= 2;
            _reg = new sbyte[n];
            _flags = new byte[n];
            _const = new ulong[n];
            _next = new int[n];
            _spill = new int[n];
            _lastNeed = new int[n];
            n = b.ValueCount + 2 * (groups + 1);
        }

        Array.Fill(_reg, (sbyte)-1, 0, n);
        Array.Clear(_flags, 0, n);
        Array.Fill(_spill, -1, 0, n);
        Array.Fill(_lastNeed, -1, 0, n);
        Array.Fill(_first, -1);
        Array.Fill(_vecOwner, -1);
        _inState.Clear();
        _late.Clear();
        _pinnedMask = 0;
        _locked = 0;
        _vecLocked = 0;
        _spillUsed = 0;
        IsStuck = false;
        for (var g = 0; g < _globals; g++)
        {
            _lastNeed[g] = needAtEntry[g];
            _flags[g] = HasMem;
            if (_pin[g] != Reg.None)
            {
                _pinnedMask |= 1 << (int)_pin[g];
                Attach(g, (int)_pin[g]);
            }
        }

        _tempMask = 0xFFFF & ~(_pinnedMask | 1 << (int)Reg.Rsp | 1 << (int)Reg.Rbp);
    }

    public bool IsPinned(Val v) => v.IsValue && v.Id < _globals && _pin[v.Id] != Reg.None;

    private bool IsGlobal(int v) => v < _globals;

    public Mem Home(int v) => new(State, IsGlobal(v) ? _layout.Globals[v].Offset : SpillOffset(v));

    private int SpillOffset(int v)
    {
        if (_spill[v] < 0)
        {
            var slot = System.Numerics.BitOperations.TrailingZeroCount(~_spillUsed);
            if (slot >= EngineState.SpillSlots)
            {
                IsStuck = true;
                slot = 0;
            }

            _spillUsed |= 1UL << slot;
            _spill[v] = slot;
        }

        return _layout.EngineOffset + EngineOffsets.Spill + _spill[v] * 32;
    }

    // Membership.

    private void Attach(int v, int reg)
    {
        _reg[v] = (sbyte)reg;
        _next[v] = _first[reg];
        _first[reg] = v;
    }

    private void Detach(int v)
    {
        var reg = _reg[v];
        if (reg < 0)
            return;
        _reg[v] = -1;
        if (_first[reg] == v)
        {
            _first[reg] = _next[v];
            return;
        }

        for (var m = _first[reg]; m >= 0; m = _next[m])
        {
            if (_next[m] == v)
            {
                _next[m] = _next[v];
                return;
            }
        }
    }

    /// <summary>The value is needed after the current operation.</summary>
    private bool LiveAfter(int v) => _lastNeed[v] > At;

    private bool LiveNow(int v) => _lastNeed[v] >= At;

    // Locks: registers the current operation uses.

    public void ClearLocks() => _locked = _vecLocked = 0;

    public void Lock(Reg r) => _locked |= 1 << (int)r;

    public void Unlock(Reg r) => _locked &= ~(1 << (int)r);

    /// <summary>A free register for the current operation; gives it back with the locks.</summary>
    public Reg Scratch()
    {
        var r = TakeReg();
        Lock(r);
        return r;
    }

    private Reg TakeReg()
    {
        var candidates = _tempMask & ~_locked;
        var best = -1;
        var bestScore = int.MinValue;
        for (var m = candidates; m != 0; m &= m - 1)
        {
            var r = System.Numerics.BitOperations.TrailingZeroCount(m);
            var score = Score(r);
            if (score == int.MaxValue)
            {
                Empty(r);
                return (Reg)r;
            }

            if (score > bestScore)
                (best, bestScore) = (r, score);
        }

        if (best < 0)
            throw new InvalidOperationException("no host register left");
        Evict(best);
        return (Reg)best;
    }

    /// <summary>How cheap it is to take a register: MaxValue when nothing live is in it.</summary>
    private int Score(int r)
    {
        var score = int.MaxValue;
        for (var v = _first[r]; v >= 0; v = _next[v])
        {
            if (!LiveNow(v))
                continue;
            // Clean values cost a reload, dirty ones a store too; the later the need the better.
            var cost = (_flags[v] & HasMem) != 0 ? 1 << 20 : 0;
            score = Math.Min(score, cost + Math.Min(_lastNeed[v] - At, 1 << 19));
        }

        return score;
    }

    private void Empty(int r)
    {
        while (_first[r] >= 0)
            Detach(_first[r]);
    }

    private void Evict(int r)
    {
        while (_first[r] >= 0)
        {
            var v = _first[r];
            if (v >= _firstGroupValue)
            {
                DropGroup((v - _firstGroupValue) / 2);
                continue;
            }

            if (LiveNow(v))
                SaveHome(v);
            Detach(v);
        }
    }

    /// <summary>Makes the home of a value hold it.</summary>
    private void SaveHome(int v)
    {
        if ((_flags[v] & HasMem) != 0)
            return;
        if (_reg[v] >= 0)
            asm.Store(3, Home(v), (Reg)_reg[v]);
        else if ((_flags[v] & HasConst) != 0)
            StoreConst(Home(v), _const[v]);
        _flags[v] |= HasMem;
    }

    public void StoreConst(in Mem m, ulong value)
    {
        if ((long)value == (int)value)
        {
            asm.StoreImm(3, m, (int)value);
            return;
        }

        asm.StoreImm(2, m, (int)value);
        asm.StoreImm(2, m with { Disp = m.Disp + 4 }, (int)(value >> 32));
    }

    // Reading.

    public bool TryConst(Val v, out ulong value)
    {
        if (_b.TryConst(v, out value))
            return true;
        if (v.IsValue && (_flags[v.Id] & HasConst) != 0)
        {
            value = _const[v.Id];
            return true;
        }

        return false;
    }

    /// <summary>A constant that fits a sign-extended 32-bit immediate.</summary>
    public bool TryImm(Val v, out int imm)
    {
        var ok = TryConst(v, out var value) && (long)value == (int)value;
        imm = (int)value;
        return ok;
    }

    /// <summary>As <see cref="TryImm"/> where only the low bits of the operation's width count.</summary>
    public bool TryImm(Val v, W w, out int imm)
    {
        imm = 0;
        if (!TryConst(v, out var value))
            return false;
        var x = w switch { W.B => (sbyte)value, W.W => (short)value, W.D => (int)value, _ => (long)value };
        imm = (int)x;
        return x == imm;
    }

    /// <summary>A register that holds the value, locked; it must not be written.</summary>
    public Reg Use(Val v)
    {
        if (v.IsConst)
        {
            var r = Scratch();
            asm.MovImm(r, _b.ConstValue(v));
            return r;
        }

        var id = v.Id;
        if (_reg[id] < 0)
        {
            var r = TakeReg();
            if ((_flags[id] & HasConst) != 0)
                asm.MovImm(r, _const[id]);
            else
                asm.Load(3, r, Home(id));
            Attach(id, (int)r);
        }

        var reg = (Reg)_reg[id];
        Lock(reg);
        return reg;
    }

    /// <summary>The register of a value if it is in one.</summary>
    public Reg RegOf(Val v) => v.IsValue && _reg[v.Id] >= 0 ? (Reg)_reg[v.Id] : Reg.None;

    /// <summary>A value that is only in memory, to be used as a memory operand.</summary>
    public bool TryMemory(Val v, out Mem m)
    {
        m = default;
        if (!v.IsValue || _reg[v.Id] >= 0 || (_flags[v.Id] & HasConst) != 0 || (_flags[v.Id] & HasMem) == 0)
            return false;
        m = Home(v.Id);
        return true;
    }

    // Writing.

    /// <summary>
    /// A register for the result of the current operation, not yet holding it; operands stay valid until it is written.
    /// <paramref name="reuse"/>: an operand whose register may be taken over if it dies here.
    /// </summary>
    public Reg Target(Val dst, Val reuse = default, Val reuse2 = default)
    {
        if (IsPinned(dst))
        {
            var r = (int)_pin[dst.Id];
            for (var v = _first[r]; v >= 0;)
            {
                var next = _next[v];
                if (v != dst.Id)
                    MoveAway(v, r);
                v = next;
            }

            Lock((Reg)r);
            return (Reg)r;
        }

        foreach (var o in (ReadOnlySpan<Val>)[reuse, reuse2])
        {
            if (CanTakeOver(o, dst))
            {
                Lock((Reg)_reg[o.Id]);
                return (Reg)_reg[o.Id];
            }
        }

        return Scratch();
    }

    private bool CanTakeOver(Val v, Val dst)
    {
        if (!v.IsValue || _reg[v.Id] < 0 || (_tempMask & 1 << _reg[v.Id]) == 0)
            return false;
        for (var m = _first[_reg[v.Id]]; m >= 0; m = _next[m])
        {
            if (m != dst.Id && LiveAfter(m))
                return false;
        }

        return true;
    }

    /// <summary>The content of a pinned register is about to change: gives another value in it a place of its own.</summary>
    private void MoveAway(int v, int r)
    {
        if (!LiveNow(v) || (_flags[v] & HasMem) != 0)
        {
            if (LiveNow(v) && !LiveAfter(v))
                return; // an operand of this very operation; dies with it
            Detach(v);
            return;
        }

        if (!LiveAfter(v))
            return; // needed by this operation only: the old content is read before it is overwritten
        if (IsGlobal(v))
        {
            SaveHome(v);
            Detach(v);
            return;
        }

        var t = TakeReg();
        asm.Mov(3, t, (Reg)r);
        for (var m = _first[r]; m >= 0;)
        {
            var next = _next[m];
            if (!IsGlobal(m) && LiveAfter(m))
            {
                Detach(m);
                Attach(m, (int)t);
            }

            m = next;
        }
    }

    /// <summary>The current operation wrote a value into a register from <see cref="Target"/>.</summary>
    public void Define(Val dst, Reg r, int lastNeed)
    {
        var id = dst.Id;
        _lastNeed[id] = lastNeed;
        _flags[id] = 0;
        if (IsPinned(dst))
        {
            // Whatever else is listed died with the operation.
            for (var v = _first[(int)r]; v >= 0;)
            {
                var next = _next[v];
                if (v != id)
                    Detach(v);
                v = next;
            }

            return;
        }

        Detach(id);
        Empty((int)r);
        Attach(id, (int)r);
    }

    /// <summary>A copy: shares the register or the constant where it can, else emits a move.</summary>
    public void Copy(Val dst, Val src, int lastNeed)
    {
        if (src == dst)
        {
            _lastNeed[dst.Id] = lastNeed;
            return;
        }

        if (IsPinned(dst))
        {
            if (TryConst(src, out var c))
            {
                var r = Target(dst);
                asm.MovImm(r, c);
                Define(dst, r, lastNeed);
                return;
            }

            if (TryMemory(src, out var m))
            {
                var r = Target(dst);
                asm.Load(3, r, m);
                Define(dst, r, lastNeed);
                return;
            }

            var s = Use(src);
            var d = Target(dst);
            asm.Mov(3, d, s);
            Define(dst, d, lastNeed);
            return;
        }

        if (TryConst(src, out var value))
        {
            Detach(dst.Id);
            _flags[dst.Id] = HasConst;
            _const[dst.Id] = value;
            _lastNeed[dst.Id] = lastNeed;
            return;
        }

        var reg = Use(src);
        Detach(dst.Id);
        _flags[dst.Id] = 0;
        _lastNeed[dst.Id] = lastNeed;
        Attach(dst.Id, (int)reg);
    }

    /// <summary>Temporaries that the current operation needed last give their registers back.</summary>
    public void Release(Val v)
    {
        if (!v.IsValue || v.Id < _globals || _lastNeed[v.Id] > At)
            return;
        if (_b.TypeOf(v) != ValType.Vec)
        {
            Detach(v.Id);
            FreeSpill(v.Id);
        }
        else if (!IsLate(v.Id))
            DropVec(v.Id);
    }

    private void FreeSpill(int v)
    {
        if (_spill[v] < 0)
            return;
        _spillUsed &= ~(1UL << _spill[v]);
        _spill[v] = -1;
        _flags[v] = 0;
    }

    // Globals as a whole.

    /// <summary>Stores every global and vector that is not in its home yet; pinned ones stay in their registers.</summary>
    public void SyncGlobals()
    {
        FlushVectors();
        for (var g = 0; g < _globals; g++)
        {
            if (_pin[g] == Reg.None)
                SaveHome(g);
        }
    }

    /// <summary>The homes changed (or paths joined): unpinned globals are in memory only.</summary>
    public void ForgetGlobals()
    {
        for (var g = 0; g < _globals; g++)
        {
            if (_pin[g] != Reg.None)
            {
                // Copies that share a pinned register are stale if its global was reloaded.
                continue;
            }

            Detach(g);
            _flags[g] = HasMem;
        }
    }

    /// <summary>Before a helper that writes globals: temporaries that share a pinned register get their own.</summary>
    public void UnsharePinned()
    {
        for (var g = 0; g < _globals; g++)
        {
            if (_pin[g] == Reg.None)
                continue;
            var r = (int)_pin[g];
            while (Sharer(r, g) is var v && v >= 0)
            {
                if (IsGlobal(v))
                    SaveHome(v);
                else if (LiveNow(v))
                {
                    var t = TakeReg();
                    asm.Mov(3, t, (Reg)r);
                    Detach(v);
                    Attach(v, (int)t);
                    Lock(t);
                    continue;
                }

                Detach(v);
            }
        }
    }

    private int Sharer(int r, int owner)
    {
        var v = _first[r];
        return v == owner ? _next[v] : v;
    }

    /// <summary>At a label: globals in their homes, no temporary lives.</summary>
    public void Join()
    {
        DropTemporaries();
        for (var g = 0; g < _globals; g++)
        {
            if (_reg[g] != (sbyte)_pin[g])
                Detach(g);
            _flags[g] = HasMem;
            _lastNeed[g] = int.MaxValue; // refined at the next definition
        }
    }

    /// <summary>Globals that only registers hold now, for the cold path of an access: global, register or constant.</summary>
    public void Dirty(List<(int Global, Reg Reg, ulong Const)> into)
    {
        for (var g = 0; g < _globals; g++)
        {
            if (_pin[g] == Reg.None && (_flags[g] & HasMem) == 0 && (_reg[g] >= 0 || (_flags[g] & HasConst) != 0))
                into.Add((g, _reg[g] >= 0 ? (Reg)_reg[g] : Reg.None, _const[g]));
        }
    }
}
