using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>Sums and differences of more than one word: the carry goes through a register from one to the next.</summary>
internal sealed unsafe partial class X64Compiler
{
    // The value that the host's carry flag equals, as long as the flags hold; and the operation that set them.
    private Val _carry;
    private int _carryAt;

    /// <summary>One of the four operations, or a carry together with the sum or difference behind it.</summary>
    private void EmitCarry(ref IrInsn i)
    {
        var wantsCarry = i.Op is IrOp.CarryOf or IrOp.BorrowOf;
        var subtracts = i.Op is IrOp.SubBorrow or IrOp.BorrowOf;
        var from = _alloc.At;
        var resultAt = wantsCarry ? FindResult(i) : from;
        if (resultAt >= 0)
            _alloc.At = resultAt;

        // Every register is chosen before the flags are set: choosing one may need an instruction that changes them.
        var (w, a, b) = ((int)i.Width, i.A, i.B);
        if (!subtracts && _alloc.TryConst(a, out _) && !_alloc.TryConst(b, out _))
            (a, b) = (b, a);
        var isCarryConst = _alloc.TryConst(i.C, out var constant);
        var isHostCarry = IsHostCarry(i.C, from);
        var carryIn = isCarryConst || isHostCarry ? Reg.None : _alloc.Use(i.C);
        var ra = _alloc.Use(a);
        var isImm = _alloc.TryImm(b, i.Width, out var imm);
        var rb = isImm ? Reg.None : _alloc.Use(b);
        var d = resultAt < 0 ? _alloc.Scratch()
            : subtracts ? _alloc.Target(_b.Insns[resultAt].Dst, a) : _alloc.Target(_b.Insns[resultAt].Dst, a, b);
        var spare = d == rb && d != ra ? subtracts ? _alloc.Scratch() : ra : rb;
        var carryOut = wantsCarry ? _alloc.Scratch() : Reg.None;

        if (spare != rb && subtracts)
            _asm.Mov(3, spare, rb);
        if (isHostCarry && !_asm.FlagsHold)
            carryIn = _alloc.Use(i.C);
        if (carryIn != Reg.None)
            _asm.BitTest(carryIn, 0);
        else if (isCarryConst && (constant & 1) != 0)
            _asm.Stc();
        var op = isCarryConst && (constant & 1) == 0 ? subtracts ? Alu.Sub : Alu.Add : subtracts ? Alu.Sbb : Alu.Adc;
        if (spare == rb || subtracts)
            MoveFor(w, d, ra);
        if (isImm)
            _asm.OpImm(op, w, d, imm);
        else
            _asm.Op(op, w, d, spare);
        if (wantsCarry)
        {
            _asm.Setcc(Cc.B, carryOut);
            _asm.Movzx(0, carryOut, carryOut);
        }

        if (resultAt >= 0)
        {
            ref var result = ref _b.Insns[resultAt];
            _alloc.Define(result.Dst, d, result.LastNeed);
            if (wantsCarry)
            {
                result.Op = IrOp.Nop;
                _alloc.Release(result.Dst);
            }
        }

        if (wantsCarry)
            Result(ref i, carryOut);
        if (resultAt < 0)
            return;
        // ZF and SF are the result's.
        (_carry, _carryAt) = (wantsCarry ? i.Dst : Val.None, resultAt);
        NoteFlags();
    }

    /// <summary>The sum or difference that goes with a carry, if it is the next operation; else -1.</summary>
    private int FindResult(in IrInsn carry)
    {
        var next = NextOf(_alloc.At);
        if (next < 0)
            return -1;
        ref readonly var result = ref _b.Insns[next];
        var wanted = carry.Op == IrOp.CarryOf ? IrOp.AddCarry : IrOp.SubBorrow;
        return result.Op == wanted && result.Width == carry.Width && result.A == carry.A && result.B == carry.B && result.C == carry.C
            && carry.Dst != carry.A && carry.Dst != carry.B && carry.Dst != carry.C && carry.Dst != result.Dst
            ? next : -1;
    }

    /// <summary>The host's carry flag is this value still.</summary>
    private bool IsHostCarry(Val carry, int now)
    {
        if (!_asm.FlagsHold || !carry.IsValue || carry != _carry || _flagsAt != _carryAt)
            return false;
        for (var j = _carryAt + 1; j < now; j++)
        {
            if (_b.Insns[j].Dst == carry)
                return false;
        }

        return true;
    }
}
