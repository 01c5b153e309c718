using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;
using Dromaius.Jit.Passes;

namespace Dromaius.Jit.X64;

/// <summary>What the back end made of a unit.</summary>
internal unsafe struct CompiledUnit
{
    /// <summary>Where it runs.</summary>
    public byte* Code;
    public int Length;

    /// <summary>Bytes before the cold paths.</summary>
    public int HotLength;
}

/// <summary>
/// The native back end for x86-64: turns a unit of IR into host code, front to back, in one pass. Cold paths (slow memory
/// accesses, unlinked exits) are collected and placed behind the hot code.
/// </summary>
internal sealed unsafe partial class X64Compiler
{
    private readonly Assembler _asm = new();
    private readonly Allocator _alloc;
    private readonly CodeCache _cache;
    private readonly GuestLayout _layout;
    private readonly Reg[] _pin;
    private readonly Thunks _thunks;
    private readonly Liveness _liveness = new();
    private readonly Addresses _addresses = new();
    private readonly SteadyPages _steady = new();
    private readonly ForwardVectors _forward = new();
    private readonly DeadStores _deadStores = new();
    private readonly List<ColdPath> _cold = [];
    private readonly List<(int Global, Reg Reg, ulong Const)> _dirty = [];
    private readonly List<SavedVector> _vectors = [];
    private int _coldCount;
    private readonly List<(nint Rel32, int Label)> _jumps = [];
    private readonly List<ExitSlot> _exits = [];
    private nint[] _labels = new nint[64];
    private IrBuilder _b = null!;
    private CompiledUnit _unit;
    private ulong _firstExit;
    private ulong _pc;

    // The operation whose flags the host has, while the assembler says that they hold.
    private int _flagsAt;

    public X64Compiler(CodeCache cache, GuestLayout layout, GuestMemoryCallbacks memory)
    {
        _cache = cache;
        _layout = layout;
        _alloc = new Allocator(_asm);
        _pin = Allocator.PinMap(layout);
        _thunks = new Thunks(cache, layout, _pin, memory);
        _thunks.Of(RunVec);
        _thunks.Of(BitHelpers.Pdep);
        _thunks.Of(BitHelpers.Pext);
        cache.KeepAll();
    }

    /// <summary>Throws away all units; nobody may be running one.</summary>
    public void Clear()
    {
        _cache.Clear();
        _thunks.DropAfter(_cache.Next + _cache.ExecDelta);
    }

    public Thunks Thunks => _thunks;

    /// <summary>The last unit's exits, by slot.</summary>
    public ReadOnlySpan<ExitSlot> Exits => CollectionsMarshal.AsSpan(_exits);

    /// <summary>The last unit did not compile for a reason of its own.</summary>
    public bool WasUnfit => _alloc.IsStuck;

    /// <summary>Compiles a unit; false when the cache is full (or the unit needs more spill slots than there are).</summary>
    /// <param name="b">The unit, before passes.</param>
    /// <param name="firstExit">What <see cref="EngineState.LastExit"/> tells of its first exit; the others follow.</param>
    public bool TryCompile(IrBuilder b, ulong firstExit, out CompiledUnit unit)
    {
        // Bridges come first: they may not stand in the middle of a unit.
        foreach (ref readonly var insn in b.Insns)
        {
            if (_cache.End - _cache.Next < 0x4000)
                break;
            if (insn.Op == IrOp.Call)
                _thunks.Of(b.HelperOf(insn));
        }

        unit = default;
        if (_cache.End - _cache.Next < 0x4000 + 96L * b.Count)
            return false;
        _b = b;
        _firstExit = firstExit;
        _unit = default;
        _x87 = default;
        _coldCount = 0;
        _dirty.Clear();
        _vectors.Clear();
        _jumps.Clear();
        _exits.Clear();
        if (_labels.Length < b.LabelCount)
            _labels = new nint[b.LabelCount * 2];
        Array.Clear(_labels);
        Coalesce.Run(b);
        _addresses.Run(b);
        if (b.IsHot)
            _steady.Run(b);
        _forward.Run(b);
        _deadStores.Run(b);
        _liveness.Run(b);
        _alloc.Begin(b, _pin, _liveness.GlobalsAtEntry, _addresses.GroupCount);
        if (_groupAnchor.Length <= _addresses.GroupCount)
        {
            _groupAnchor = new int[_addresses.GroupCount * 2];
            _groupWritable = new bool[_groupAnchor.Length];
        }

        _asm.Begin(_cache.Next, _cache.End, _cache.ExecDelta);
        _asm.Align(16);
        _unit.Code = _asm.ExecPosition;
        var insns = b.Insns;
        for (var i = 0; i < insns.Length; i++)
        {
            if (_asm.Overflowed)
                return false;
            ref var insn = ref insns[i];
            if (insn.Op == IrOp.Nop)
                continue;
            _alloc.At = i;
            _alloc.ClearLocks();
            Emit(ref insn);
            _alloc.Release(insn.A);
            _alloc.Release(insn.B);
            _alloc.Release(insn.C);
            _alloc.Release(insn.D);
            _alloc.Release(insn.Dst);
        }

        _unit.HotLength = (int)(_asm.ExecPosition - _unit.Code);
        for (var i = 0; i < _coldCount; i++)
        {
            if (_asm.Overflowed)
                return false;
            EmitCold(_cold[i]);
        }

        if (_asm.Overflowed || _alloc.IsStuck)
            return false;
        foreach (var (rel32, label) in _jumps)
            Assembler.Patch((byte*)rel32, (byte*)_labels[label]);
        _unit.Length = (int)(_asm.ExecPosition - _unit.Code);
        _cache.Commit(_asm.Position);
        unit = _unit;
        return true;
    }

    private Mem Eng(int offset) => new(Allocator.State, _layout.EngineOffset + offset);

    private Mem StateAt(ulong offset) => new(Allocator.State, (int)offset);

    private void Emit(ref IrInsn i)
    {
        switch (i.Op)
        {
            case IrOp.InsnStart:
                _pc = i.Imm;
                break;
            case IrOp.Mov:
                _alloc.Copy(i.Dst, i.A, i.LastNeed);
                break;
            case IrOp.Add:
                EmitAdd(ref i);
                break;
            case IrOp.AddCarry or IrOp.SubBorrow or IrOp.CarryOf or IrOp.BorrowOf:
                EmitCarry(ref i);
                break;
            case IrOp.AddScaled:
                {
                    var (a, b) = (_alloc.Use(i.A), _alloc.Use(i.B));
                    var d = _alloc.Target(i.Dst, i.A, i.B);
                    _asm.Lea((int)i.Width, d, new Mem(a, 0, b, (byte)i.Imm));
                    _alloc.Define(i.Dst, d, i.LastNeed);
                    break;
                }
            case IrOp.Sub:
                EmitBinary(ref i, Alu.Sub, false);
                break;
            case IrOp.And:
                EmitBinary(ref i, Alu.And, true);
                break;
            case IrOp.Or:
                EmitBinary(ref i, Alu.Or, true);
                break;
            case IrOp.Xor:
                EmitBinary(ref i, Alu.Xor, true);
                break;
            case IrOp.AndNot:
                EmitAndNot(ref i);
                break;
            case IrOp.Shl:
                EmitShift(ref i, Shift.Shl, 1);
                break;
            case IrOp.Shr:
                EmitShift(ref i, Shift.Shr, 3);
                break;
            case IrOp.Sar:
                EmitShift(ref i, Shift.Sar, 2);
                break;
            case IrOp.Rol:
                EmitShift(ref i, Shift.Rol, -1);
                break;
            case IrOp.Ror:
                EmitShift(ref i, Shift.Ror, -1);
                break;
            case IrOp.Mul:
                EmitMul(ref i);
                break;
            case IrOp.MulHiU:
            case IrOp.MulHiS:
                EmitMulHigh(ref i);
                break;
            case IrOp.Neg:
            case IrOp.Not:
            case IrOp.Bswap:
                EmitUnary(ref i);
                break;
            case IrOp.Clz:
            case IrOp.Ctz:
            case IrOp.Popcnt:
                EmitCount(ref i);
                break;
            case IrOp.Pdep:
            case IrOp.Pext:
                EmitDeposit64(ref i);
                break;
            case IrOp.ZExt:
            case IrOp.SExt:
                EmitExtend(ref i);
                break;
            case IrOp.Extract:
                EmitExtract(ref i);
                break;
            case IrOp.Deposit:
                EmitDeposit(ref i);
                break;
            case IrOp.SetCond:
                EmitSetCond(ref i);
                break;
            case IrOp.Select:
                EmitSelect(ref i);
                break;
            case IrOp.LdState:
                {
                    FlushFor(i);
                    var d = _alloc.Target(i.Dst);
                    _asm.Load((int)i.Width, d, StateAt(i.Imm));
                    _alloc.Define(i.Dst, d, i.LastNeed);
                    break;
                }
            case IrOp.StState:
                EmitStoreState(ref i);
                break;
            case IrOp.GuestLd:
            case IrOp.GuestSt:
            case IrOp.GuestRmw:
            case IrOp.GuestCas:
            case IrOp.VGuestLd:
            case IrOp.VGuestSt:
            case IrOp.X87Mem:
                EmitMemory(ref i);
                break;
            case IrOp.VLdState:
            case IrOp.VStState:
            case IrOp.VFromInt:
            case IrOp.VToInt:
            case IrOp.VMov:
            case IrOp.VecOp:
            case IrOp.VecToIntOp:
                EmitVector(ref i);
                break;
            case IrOp.X87:
                EmitX87(ref i);
                break;
            case IrOp.FpSync:
                _thunks.SyncFpControl(_asm, _alloc.Scratch());
                break;
            case IrOp.FpLoad:
                _thunks.LoadFpControl(_asm, _alloc.Scratch());
                break;
            case IrOp.Label:
                FlushX87();
                _alloc.SyncGlobals();
                _alloc.Join();
                _asm.ForgetFlags();
                _labels[i.Aux] = (nint)_asm.Position;
                break;
            case IrOp.Br:
                FlushX87();
                _alloc.SyncGlobals();
                _jumps.Add(((nint)_asm.Jmp(), i.Aux));
                break;
            case IrOp.BrCond:
                {
                    FlushX87();
                    _alloc.SyncGlobals();
                    var cc = EmitCompare(i.Cond, i.Width, i.A, i.B);
                    if (TryExitAt(i.Aux, out var exit))
                    {
                        LinkExit(_asm.JccPatchable(cc), _b.Insns[exit]);
                        _b.Insns[exit].Op = IrOp.Nop;
                        break;
                    }

                    if (TryExitNext(i.Aux, out exit))
                    {
                        LinkExit(_asm.JccPatchable((Cc)((int)cc ^ 1)), _b.Insns[exit]);
                        _b.Insns[exit].Op = IrOp.Nop;
                        break;
                    }

                    _jumps.Add(((nint)_asm.Jcc(cc), i.Aux));
                    break;
                }
            case IrOp.Call:
                EmitCall(ref i);
                break;
            case IrOp.ExitIf:
                EmitExitIf(ref i);
                break;
            case IrOp.LoopHead:
                FlushX87();
                _alloc.EnterLoop(_b);
                _asm.ForgetFlags();
                _labels[i.Aux] = (nint)_asm.Position;
                break;
            case IrOp.LoopBack:
                EmitLoopBack(ref i);
                break;
            case IrOp.ExitDirect:
                EmitExitDirect(ref i);
                break;
            case IrOp.ExitIndirect:
                {
                    FlushX87();
                    _alloc.SyncGlobals();
                    var pc = _alloc.Use(i.A);
                    if (pc != Reg.R10)
                        _asm.Mov(3, Reg.R10, pc);
                    EmitLookup(_b.HasFlatCode);
                    break;
                }
            case IrOp.ExitLookup:
                FlushX87();
                _alloc.SyncGlobals();
                _asm.Load(3, Reg.R10, new Mem(Allocator.State, _layout.PcOffset));
                EmitLookup(false);
                break;
            case IrOp.ExitLoop:
                FlushX87();
                _alloc.SyncGlobals();
                _asm.StoreImm(3, Eng(EngineOffsets.LastExit), 0);
                _asm.JmpTo(_thunks.Exit);
                break;
            default:
                throw new InvalidOperationException($"no lowering for {i.Op}");
        }
    }

    /// <summary>The operation is to find the state as it ought to be.</summary>
    private void FlushFor(in IrInsn i)
    {
        FlushX87For(i);
        _alloc.FlushVectors((int)i.Imm, 1 << (int)i.Width);
    }

    private void EmitStoreState(ref IrInsn i)
    {
        var m = StateAt(i.Imm);
        FlushFor(i);
        _alloc.StateChanges((int)i.Imm, 1 << (int)i.Width);
        if (_alloc.TryConst(i.A, out var c))
        {
            if (i.Width == W.Q)
                _alloc.StoreConst(m, c);
            else
                _asm.StoreImm((int)i.Width, m, (int)c);
            return;
        }

        _asm.Store((int)i.Width, m, _alloc.Use(i.A));
    }

    // Calls.

    private void StoreArg(int n, Val v)
    {
        if (v.IsNone)
            return;
        var m = Eng(EngineOffsets.Args + 8 * n);
        if (_alloc.TryConst(v, out var c))
            _alloc.StoreConst(m, c);
        else
            _asm.Store(3, m, _alloc.Use(v));
    }

    private void EmitCall(ref IrInsn i)
    {
        var helper = _b.HelperOf(i);
        FlushX87();
        StoreArg(0, i.A);
        StoreArg(1, i.B);
        StoreArg(2, i.C);
        StoreArg(3, i.D);
        if (helper.Effects != HelperEffects.None)
            _alloc.SyncGlobals();
        var writes = (helper.Effects & HelperEffects.Writes) != 0;
        if (writes)
            _alloc.UnsharePinned();
        _alloc.SpillVectors();
        _asm.CallTo(_thunks.Of(helper));
        if (writes)
            _alloc.ForgetGlobals();
        if (i.Dst.IsValue && i.LastNeed != Liveness.Never)
        {
            _alloc.ClearLocks();
            var d = _alloc.Target(i.Dst);
            _asm.Load(3, d, Eng(EngineOffsets.Result));
            _alloc.Define(i.Dst, d, i.LastNeed);
        }
    }

    // Cold paths.

    private enum ColdKind : byte
    {
        Exit, SideExit, LookupMiss, Memory,
    }

    private sealed class ColdPath
    {
        public ColdKind Kind;
        public nint Jump, Jump1, Jump2, Jump3;
        public nint Back;
        public ulong Pc;
        public int Slot;

        /// <summary>A side exit that looks at exit requests first.</summary>
        public bool Checks;

        // Memory: at Address, or if that is none at what AddressHome holds or AddressConst is, plus Displacement.
        public IrOp Op;
        public PackedAccess Access;
        public Reg Address, Result;
        public Mem AddressHome;
        public ulong AddressConst;
        public int Displacement;

        // The first of a group: where it keeps the offset in the page and the host address.
        public Reg GroupOffset, GroupHost;

        // An access that remembers its page: where, the registers of its check, which tag, and where it goes on.
        public int PageSlot;
        public Reg PageOffset, PageAddend;
        public int PageTagOffset;
        public nint PageBack;

        /// <summary>Registers with the offset in its page of each group in force, a bit each.</summary>
        public int Groups;
        public Reg ValueReg, Value2Reg;
        public ulong ValueConst;
        public int Xmm;

        // The host's x87 stack at the access, and the instruction if it is an x87 one.
        public X87Stack X87;
        public X87Access X87Access;

        // Ranges of the unit's lists.
        public Range Dirty, Vectors;
    }

    private void EmitCold(ColdPath c)
    {
        switch (c.Kind)
        {
            case ColdKind.Exit:
                _asm.PatchHere((byte*)c.Jump);
                EmitUnlinked(c);
                break;
            case ColdKind.SideExit:
                EmitColdSideExit(c);
                break;
            case ColdKind.LookupMiss:
                _asm.PatchHere((byte*)c.Jump);
                _asm.PatchHere((byte*)c.Jump1);
                if (c.Jump2 != 0)
                    _asm.PatchHere((byte*)c.Jump2);
                _asm.PatchHere((byte*)c.Jump3);
                _asm.Store(3, new Mem(Allocator.State, _layout.PcOffset), Reg.R10);
                _asm.StoreImm(3, Eng(EngineOffsets.LastExit), 0);
                _asm.JmpTo(_thunks.Exit);
                break;
            default:
                EmitColdMemory(c);
                break;
        }
    }
}
