namespace Dromaius.Jit.Ir;

/// <summary>
/// Collects the operations of one unit. Reused from unit to unit: nothing is allocated once its arrays have grown.
/// </summary>
/// <remarks>
/// Temporaries live until the next <see cref="Label"/> or branch to one; only globals keep their values across labels.
/// (A conditional branch that falls through keeps temporaries alive on the fall-through path.)
/// </remarks>
public sealed class IrBuilder
{
    private IrInsn[] _insns = new IrInsn[1024];
    private ValType[] _types = new ValType[512];
    private ulong[] _consts = new ulong[256];
    private readonly Dictionary<ulong, int> _constIndex = [];
    private readonly List<Helper> _helpers = [];
    private int _count, _values, _constCount, _labels;
    private ulong[] _likely = [];

    public IrBuilder(GuestLayout layout)
    {
        Layout = layout;
        Reset();
    }

    public GuestLayout Layout { get; }

    /// <summary>The code base is 0 in every unit of this unit's mode: looked-up exits need not compare it.</summary>
    public bool HasFlatCode { get; set; }

    /// <summary>The unit is hot: each access is to remember its page.</summary>
    public bool IsHot { get; set; }

    /// <summary>What a global holds where a hot unit is about to run: a guess at what it will hold again; 0 if it is not known.</summary>
    public ulong LikelyValue(int global) => global < _likely.Length ? _likely[global] : 0;

    /// <summary>Notes what the first globals hold now.</summary>
    public void NoteLikelyValues(ReadOnlySpan<ulong> values) => _likely = values.ToArray();

    /// <summary>Vectors of the CPU state that the unit's loop keeps at hand from one turn to the next (set by passes).</summary>
    internal List<CarriedVector> Carried { get; } = [];

    public Span<IrInsn> Insns => _insns.AsSpan(0, _count);
    public int Count => _count;

    /// <summary>Globals and temporaries together; globals come first.</summary>
    public int ValueCount => _values;
    public int LabelCount => _labels;
    public int GlobalCount => Layout.Globals.Length;

    public void Reset()
    {
        _count = 0;
        _values = Layout.Globals.Length;
        Array.Fill(_types, ValType.Int, 0, _values);
        _constCount = 0;
        _constIndex.Clear();
        _helpers.Clear();
        _labels = 0;
        HasFlatCode = IsHot = false;
        _likely = [];
        Carried.Clear();
    }

    public ValType TypeOf(Val v) => v.IsConst ? ValType.Int : _types[v.Id];

    public ulong ConstValue(Val v) => _consts[v.ConstIndex];

    public bool TryConst(Val v, out ulong value)
    {
        value = v.IsConst ? _consts[v.ConstIndex] : 0;
        return v.IsConst;
    }

    public Helper HelperOf(in IrInsn insn) => _helpers[insn.Aux];

    /// <summary>Forgets everything after a mark (a <see cref="Count"/>): undoes a half-translated instruction.</summary>
    public void Truncate(int mark) => _count = mark;

    // Values.

    public Val Const(ulong value)
    {
        if (!_constIndex.TryGetValue(value, out var index))
        {
            if (_constCount == _consts.Length)
                Array.Resize(ref _consts, _constCount * 2);
            index = _constCount++;
            _consts[index] = value;
            _constIndex[value] = index;
        }

        return Val.OfConst(index);
    }

    public Val Const(long value) => Const((ulong)value);

    public Val Const(int value) => Const((ulong)(long)value);

    public Val NewTemp(ValType type = ValType.Int)
    {
        if (_values == _types.Length)
            Array.Resize(ref _types, _values * 2);
        _types[_values] = type;
        return new Val(_values++);
    }

    public int NewLabel() => _labels++;

    // Integer operations: a fresh temporary for the result.

    public Val Add(W w, Val a, Val b) => Binary(IrOp.Add, w, a, b);

    public Val Sub(W w, Val a, Val b) => Binary(IrOp.Sub, w, a, b);

    public Val And(W w, Val a, Val b) => Binary(IrOp.And, w, a, b);

    public Val Or(W w, Val a, Val b) => Binary(IrOp.Or, w, a, b);

    public Val Xor(W w, Val a, Val b) => Binary(IrOp.Xor, w, a, b);

    /// <summary>~a &amp; b.</summary>
    public Val AndNot(W w, Val a, Val b) => Binary(IrOp.AndNot, w, a, b);

    /// <summary>Shift counts must be below the width (D: 32, Q: 64).</summary>
    public Val Shl(W w, Val a, Val count) => Binary(IrOp.Shl, w, a, count);

    public Val Shr(W w, Val a, Val count) => Binary(IrOp.Shr, w, a, count);

    public Val Sar(W w, Val a, Val count) => Binary(IrOp.Sar, w, a, count);

    public Val Rol(W w, Val a, Val count) => Binary(IrOp.Rol, w, a, count);

    public Val Ror(W w, Val a, Val count) => Binary(IrOp.Ror, w, a, count);

    public Val Mul(W w, Val a, Val b) => Binary(IrOp.Mul, w, a, b);

    /// <summary>Upper half of the unsigned double-width product.</summary>
    public Val MulHiU(W w, Val a, Val b) => Binary(IrOp.MulHiU, w, a, b);

    public Val MulHiS(W w, Val a, Val b) => Binary(IrOp.MulHiS, w, a, b);

    public Val Pdep(W w, Val a, Val mask) => Binary(IrOp.Pdep, w, a, mask);

    public Val Pext(W w, Val a, Val mask) => Binary(IrOp.Pext, w, a, mask);

    public Val Neg(W w, Val a) => Unary(IrOp.Neg, w, a);

    public Val Not(W w, Val a) => Unary(IrOp.Not, w, a);

    public Val Bswap(W w, Val a) => Unary(IrOp.Bswap, w, a);

    /// <summary>Leading zeros; the width for 0.</summary>
    public Val Clz(W w, Val a) => Unary(IrOp.Clz, w, a);

    /// <summary>Trailing zeros; the width for 0.</summary>
    public Val Ctz(W w, Val a) => Unary(IrOp.Ctz, w, a);

    public Val Popcnt(W w, Val a) => Unary(IrOp.Popcnt, w, a);

    /// <summary>The low bits (B, W, D; Q copies) zero-extended to 64.</summary>
    public Val ZExt(W from, Val a) => Unary(from == W.Q ? IrOp.Mov : IrOp.ZExt, from, a);

    /// <summary>The low bits (B, W, D; Q copies) sign-extended to 64.</summary>
    public Val SExt(W from, Val a) => Unary(from == W.Q ? IrOp.Mov : IrOp.SExt, from, a);

    /// <summary>a + (b &lt;&lt; shift), the shift up to 3.</summary>
    public Val AddScaled(W w, Val a, Val b, int shift)
    {
        var t = NewTemp();
        Emit(IrOp.AddScaled, w, t, a, b).Imm = (ulong)shift;
        return t;
    }

    /// <summary>a + b + carry, and what is carried out; of the carry bit 0 counts.</summary>
    public (Val Sum, Val Carry) AddCarry(W w, Val a, Val b, Val carry) => WithCarry(IrOp.CarryOf, IrOp.AddCarry, w, a, b, carry);

    /// <summary>a - b - borrow, and what is borrowed; of the borrow bit 0 counts.</summary>
    public (Val Difference, Val Borrow) SubBorrow(W w, Val a, Val b, Val borrow) =>
        WithCarry(IrOp.BorrowOf, IrOp.SubBorrow, w, a, b, borrow);

    private (Val Result, Val Carry) WithCarry(IrOp carryOp, IrOp resultOp, W w, Val a, Val b, Val c)
    {
        var (carry, result) = (NewTemp(), NewTemp());
        Emit(carryOp, w, carry, a, b).C = c;
        Emit(resultOp, w, result, a, b).C = c;
        return (result, carry);
    }

    public Val Extract(Val a, int pos, int len)
    {
        var t = NewTemp();
        Emit(IrOp.Extract, W.Q, t, a).Imm = (ulong)(pos | len << 8);
        return t;
    }

    /// <summary>a with bits pos..pos+len-1 replaced by the low bits of v.</summary>
    public Val Deposit(Val a, Val v, int pos, int len)
    {
        var t = NewTemp();
        Emit(IrOp.Deposit, W.Q, t, a, v).Imm = (ulong)(pos | len << 8);
        return t;
    }

    public Val SetCond(Cond cond, W w, Val a, Val b)
    {
        var t = NewTemp();
        Emit(IrOp.SetCond, w, t, a, b).Cond = cond;
        return t;
    }

    public Val Select(Cond cond, W w, Val a, Val b, Val ifTrue, Val ifFalse)
    {
        var t = NewTemp();
        ref var i = ref Emit(IrOp.Select, w, t, a, b);
        i.Cond = cond;
        i.C = ifTrue;
        i.D = ifFalse;
        return t;
    }

    /// <summary>Writes a global (or overwrites a temporary).</summary>
    public void Set(Val target, Val value) =>
        Emit(TypeOf(target) == ValType.Vec ? IrOp.VMov : IrOp.Mov, W.Q, target, value);

    /// <summary>A copy that later writes to the source do not change.</summary>
    public Val Copy(Val value)
    {
        var t = NewTemp(TypeOf(value));
        Set(t, value);
        return t;
    }

    // CPU state that is not a global.

    public Val LdState(W w, int offset)
    {
        var t = NewTemp();
        Emit(IrOp.LdState, w, t).Imm = (ulong)offset;
        return t;
    }

    public void StState(W w, int offset, Val value) => Emit(IrOp.StState, w, Val.None, value).Imm = (ulong)offset;

    // Guest memory.

    /// <summary>Loads, zero-extended to 64 bits.</summary>
    public Val GuestLd(W w, Val address, MemOp op)
    {
        var t = NewTemp();
        Emit(IrOp.GuestLd, w, t, address).Aux = op.Pack();
        return t;
    }

    public void GuestSt(W w, Val address, Val value, MemOp op) =>
        Emit(IrOp.GuestSt, w, Val.None, address, value).Aux = op.Pack();

    /// <summary>Atomic read-modify-write; gives the old value, zero-extended.</summary>
    public Val GuestRmw(RmwKind kind, W w, Val address, Val operand, MemOp op)
    {
        var t = NewTemp();
        ref var i = ref Emit(IrOp.GuestRmw, w, t, address, operand);
        i.Aux = op.Pack();
        i.Extra = (byte)kind;
        return t;
    }

    /// <summary>Atomic compare and swap; gives the old value, zero-extended.</summary>
    public Val GuestCas(W w, Val address, Val expected, Val desired, MemOp op)
    {
        var t = NewTemp();
        ref var i = ref Emit(IrOp.GuestCas, w, t, address, expected);
        i.C = desired;
        i.Aux = op.Pack();
        return t;
    }

    // The x87.

    public void X87(X87Op op, int dst, int src = 0, int imm = 0, Val a = default)
    {
        ref var i = ref Emit(IrOp.X87, W.T, Val.None, a);
        (i.Aux, i.Extra, i.Imm) = ((int)op, (byte)(dst | src << 4), (ulong)imm);
    }

    /// <summary>The operations with an integer result.</summary>
    public Val X87ToInt(X87Op op, int dst = 0, int src = 0, int imm = 0)
    {
        var t = NewTemp();
        X87(op, dst, src, imm);
        _insns[_count - 1].Dst = t;
        return t;
    }

    public void X87Mem(X87Access access, W w, int register, Val address, MemOp op)
    {
        ref var i = ref Emit(IrOp.X87Mem, w, Val.None, address);
        (i.Aux, i.Extra) = (op.Pack() | access.Pack(), (byte)register);
    }

    // Vectors.

    public Val VLdState(W w, int offset)
    {
        var t = NewTemp(ValType.Vec);
        Emit(IrOp.VLdState, w, t).Imm = (ulong)offset;
        return t;
    }

    public void VStState(W w, int offset, Val value) => Emit(IrOp.VStState, w, Val.None, value).Imm = (ulong)offset;

    public Val VGuestLd(W w, Val address, MemOp op)
    {
        var t = NewTemp(ValType.Vec);
        Emit(IrOp.VGuestLd, w, t, address).Aux = op.Pack();
        return t;
    }

    public void VGuestSt(W w, Val address, Val value, MemOp op) =>
        Emit(IrOp.VGuestSt, w, Val.None, address, value).Aux = op.Pack();

    public Val VFromInt(W w, Val a)
    {
        var t = NewTemp(ValType.Vec);
        Emit(IrOp.VFromInt, w, t, a);
        return t;
    }

    public Val VToInt(W w, Val a) => Unary(IrOp.VToInt, w, a);

    /// <summary>A vector operation at width X or Y. Unused operands are <see cref="Val.None"/>.</summary>
    public Val Vec(VecKind kind, W w, Val a, Val b, Val c = default, byte imm = 0)
    {
        var t = NewTemp(ValType.Vec);
        EmitVec(IrOp.VecOp, kind, w, t, a, b, c, imm);
        return t;
    }

    /// <summary>A vector operation with an integer result (movemask, compares that set flags, conversions).</summary>
    public Val VecToInt(VecKind kind, W w, Val a, Val b, byte imm = 0)
    {
        var t = NewTemp();
        EmitVec(IrOp.VecToIntOp, kind, w, t, a, b, Val.None, imm);
        return t;
    }

    /// <summary>Host sticky FP flags into the state's FP control register.</summary>
    public void FpSync() => Emit(IrOp.FpSync, W.D, Val.None);

    /// <summary>The state's FP control register (all exceptions masked) into the host's.</summary>
    public void FpLoad() => Emit(IrOp.FpLoad, W.D, Val.None);

    // Control.

    public void Label(int label) => Emit(IrOp.Label, W.Q, Val.None).Aux = label;

    public void Br(int label) => Emit(IrOp.Br, W.Q, Val.None).Aux = label;

    public void BrCond(Cond cond, W w, Val a, Val b, int label)
    {
        ref var i = ref Emit(IrOp.BrCond, w, Val.None, a, b);
        i.Cond = cond;
        i.Aux = label;
    }

    public Val Call(Helper helper, Val a = default, Val b = default, Val c = default, Val d = default)
    {
        var t = NewTemp();
        EmitCall(helper, t, a, b, c, d);
        return t;
    }

    public void CallVoid(Helper helper, Val a = default, Val b = default, Val c = default, Val d = default) =>
        EmitCall(helper, Val.None, a, b, c, d);

    public void InsnStart(ulong pc) => Emit(IrOp.InsnStart, W.Q, Val.None).Imm = pc;

    /// <summary>Ends the path at a known address. <paramref name="slot"/> 0 or 1: linked directly; -1: looked up each time.</summary>
    /// <param name="checkExit">Look at exit requests first (backward jumps).</param>
    public void ExitDirect(ulong pc, int slot, bool checkExit)
    {
        ref var i = ref Emit(IrOp.ExitDirect, W.Q, Val.None);
        i.Imm = pc;
        i.Aux = slot;
        i.Extra = checkExit ? IrInsn.CheckExit : (byte)0;
    }

    /// <summary>Leaves for a known address if the condition holds; slot and check as for <see cref="ExitDirect"/>.</summary>
    public void ExitIf(Cond cond, W w, Val a, Val b, ulong pc, int slot, bool checkExit)
    {
        ref var i = ref Emit(IrOp.ExitIf, w, Val.None, a, b);
        (i.Cond, i.Imm, i.Aux, i.Extra) = (cond, pc, slot, checkExit ? IrInsn.CheckExit : (byte)0);
    }

    /// <summary>Leaves for an address unless it is the expected one.</summary>
    public void ExitUnless(Val pc, ulong expected)
    {
        ref var i = ref Emit(IrOp.ExitIf, W.Q, Val.None, pc, Const(expected));
        (i.Cond, i.Aux, i.Extra) = (Cond.Ne, -1, IrInsn.ToOperand);
    }

    public void LoopHead(int label)
    {
        ReserveForCarried();
        Emit(IrOp.LoopHead, W.Q, Val.None).Aux = label;
    }

    /// <summary>Ends the path: back to the loop's head, which is the code of an address.</summary>
    public void LoopBack(int label, ulong pc)
    {
        ReserveForCarried();
        ref var i = ref Emit(IrOp.LoopBack, W.Q, Val.None);
        (i.Aux, i.Imm) = (label, pc);
    }

    private void ReserveForCarried()
    {
        for (var n = 0; n < CarriedVector.Most; n++)
            Emit(IrOp.Nop, W.Q, Val.None);
    }

    public void ExitIndirect(Val pc) => Emit(IrOp.ExitIndirect, W.Q, Val.None, pc);

    public void ExitLookup() => Emit(IrOp.ExitLookup, W.Q, Val.None);

    public void ExitLoop() => Emit(IrOp.ExitLoop, W.Q, Val.None);

    /// <summary>Stores a constant program counter in the CPU state.</summary>
    public void SetPc(ulong pc) => StState(W.Q, Layout.PcOffset, Const(pc));

    // Plumbing.

    private Val Binary(IrOp op, W w, Val a, Val b)
    {
        var t = NewTemp();
        Emit(op, w, t, a, b);
        return t;
    }

    private Val Unary(IrOp op, W w, Val a)
    {
        var t = NewTemp();
        Emit(op, w, t, a);
        return t;
    }

    private void EmitVec(IrOp op, VecKind kind, W w, Val t, Val a, Val b, Val c, byte imm)
    {
        ref var i = ref Emit(op, w, t, a, b);
        i.C = c;
        i.Aux = (int)kind;
        i.Imm = imm;
    }

    private void EmitCall(Helper helper, Val t, Val a, Val b, Val c, Val d)
    {
        ref var i = ref Emit(IrOp.Call, W.Q, t, a, b);
        i.C = c;
        i.D = d;
        i.Aux = _helpers.Count;
        _helpers.Add(helper);
    }

    private ref IrInsn Emit(IrOp op, W w, Val dst, Val a = default, Val b = default)
    {
        if (_count == _insns.Length)
            Array.Resize(ref _insns, _count * 2);
        ref var i = ref _insns[_count++];
        i.Op = op;
        i.Width = w;
        i.Cond = 0;
        i.Extra = 0;
        i.Aux = 0;
        i.Imm = 0;
        i.Group = 0;
        i.Dst = dst;
        i.A = a;
        i.B = b;
        i.C = Val.None;
        i.D = Val.None;
        return ref i;
    }
}
