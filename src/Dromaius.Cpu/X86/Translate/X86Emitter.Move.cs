using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: moves, conversions, flag transfers and decimal adjustment (Intel SDM volume 2).</remarks>
public sealed partial class X86Emitter
{
    private void Mov()
    {
        ref readonly var insn = ref Insn;
        if (insn.Op0Kind == OpKind.Register && insn.Op0Register.IsSegmentRegister())
        {
            LoadSegmentRegister(insn.Op0Register, LoadOperand(1, W.W));
            return;
        }

        if (insn.Op1Kind == OpKind.Register && insn.Op1Register.IsSegmentRegister())
        {
            StoreSegmentRegister();
            return;
        }

        if (insn.Op0Kind == OpKind.Register && !insn.Op0Register.IsGPR())
        {
            MovToSystemRegister();
            return;
        }

        if (insn.Op1Kind == OpKind.Register && !insn.Op1Register.IsGPR())
        {
            MovFromSystemRegister();
            return;
        }

        var w = OperandWidth(0);
        var value = LoadOperand(1, w);
        if (insn.Op0Kind == OpKind.Memory)
            StoreMemory(w, EffectiveAddress(), value);
        else if (insn.Op1Kind == OpKind.Memory)
            WriteGprClean(insn.Op0Register, value);
        else if (w == W.D && insn.Op1Kind != OpKind.Register)
            WriteGprClean(insn.Op0Register, B.Const((ulong)insn.Immediate32));
        else
            WriteGpr(insn.Op0Register, value);
    }

    private void MovNonTemporal()
    {
        var w = OperandWidth(0);
        StoreMemory(w, EffectiveAddress(), ReadGpr(Insn.Op1Register));
    }

    private void Extend(bool signed)
    {
        var from = OperandWidth(1);
        var to = OperandWidth(0);
        var value = LoadOperand(1, from);
        if (signed)
        {
            value = B.SExt(from, value);
            WriteGpr(Insn.Op0Register, value);
            return;
        }

        if (Insn.Op1Kind != OpKind.Memory)
            value = B.ZExt(from, value);
        if (to < W.D)
            WriteGpr(Insn.Op0Register, value);
        else
            WriteGprClean(Insn.Op0Register, value);
    }

    private void Lea()
    {
        var w = OperandWidth(0);
        var offset = EffectiveOffset();
        if (w == W.D && AddressSize == 8)
            offset = B.ZExt(W.D, offset);
        WriteGprClean(Insn.Op0Register, offset);
    }

    private void Xchg()
    {
        var w = OperandWidth(0);
        ref readonly var insn = ref Insn;
        if (insn.Op0Kind == OpKind.Memory || insn.Op1Kind == OpKind.Memory)
        {
            var register = insn.Op0Kind == OpKind.Memory ? insn.Op1Register : insn.Op0Register;
            var old = B.GuestRmw(RmwKind.Exchange, w, EffectiveAddress(), ReadGpr(register), MemOpFor(w));
            WriteGprClean(register, old);
            return;
        }

        if (insn.Op0Register == insn.Op1Register && w != W.D)
            return;
        var first = B.Copy(ReadGpr(insn.Op0Register));
        var second = B.Copy(ReadGpr(insn.Op1Register));
        WriteGpr(insn.Op0Register, second);
        WriteGpr(insn.Op1Register, first);
    }

    private void Bswap()
    {
        var register = Insn.Op0Register;
        var w = WidthOf(register);
        // With a 16-bit operand the result is undefined; processors clear the register.
        WriteGprClean(register, w == W.W ? B.Const(0) : B.Bswap(w, ReadGpr(register)));
    }

    private void Movbe()
    {
        var w = OperandWidth(0);
        var value = LoadOperand(1, w);
        var swapped = w == W.W ? B.Shr(W.D, B.Bswap(W.D, value), B.Const(16)) : B.Bswap(w, value);
        if (Insn.Op0Kind == OpKind.Memory)
            StoreMemory(w, EffectiveAddress(), swapped);
        else
            WriteGprClean(Insn.Op0Register, swapped);
    }

    private void Widen(W from, W to) => WriteGpr(X86Layout.Rax, to, B.SExt(from, Rax));

    private void SignIntoRdx(W w)
    {
        var sign = w switch
        {
            W.W => B.Sar(W.D, B.SExt(W.W, Rax), B.Const(31)),
            W.D => B.Sar(W.D, Rax, B.Const(31)),
            _ => B.Sar(W.Q, Rax, B.Const(63)),
        };
        WriteGpr(X86Layout.Rdx, w, sign);
    }

    private void Xlat() => WriteGpr(X86Layout.Rax, W.B, LoadMemory(W.B, EffectiveAddress()));

    private void Lahf()
    {
        var flags = B.Or(W.D, MaterializeFlags(), B.Const(2));
        WriteGpr(Register.AH, flags);
    }

    private void Sahf()
    {
        const int mask = FlagC | FlagP | FlagA | FlagZ | FlagS;
        var kept = B.And(W.D, MaterializeFlags(), B.Const(FlagO));
        SetFlagsFromBits(B.Or(W.D, kept, B.And(W.D, ReadGpr(Register.AH), B.Const(mask))));
    }

    private void Salc() => WriteGpr(X86Layout.Rax, W.B, B.Neg(W.D, CarryFlag()));

    private void SetDirection(bool down)
    {
        var flags = B.LdState(W.Q, X86Layout.EflagsOffset);
        const ulong direction = Eflags.Df;
        B.StState(W.Q, X86Layout.EflagsOffset,
            down ? B.Or(W.Q, flags, B.Const(direction)) : B.And(W.Q, flags, B.Const(~direction)));
    }

    private void Crc32()
    {
        var w = OperandWidth(1);
        var value = B.ZExt(w, LoadOperand(1, w));
        var result = B.Call(IntegerHelpers.Crc32C, Gpr(GprNumber(Insn.Op0Register)), value, B.Const(1 << (int)w));
        WriteGprClean(Insn.Op0Register, result);
    }

    private void ConditionalMove(ConditionCode condition)
    {
        var w = OperandWidth(0);
        var value = LoadOperand(1, w);
        var test = Condition(condition);
        var old = ReadGpr(Insn.Op0Register);
        WriteGpr(Insn.Op0Register, B.Select(test.Cond, test.Width, test.A, test.B, value, old));
    }

    /// <summary>AAA, AAS, DAA, DAS: the helper maps AX and the flags to new ones (flags in bits 16 and up).</summary>
    private void Decimal(Helper helper)
    {
        var result = B.Call(helper, B.ZExt(W.W, Rax), MaterializeFlags());
        WriteGpr(X86Layout.Rax, W.W, result);
        SetFlagsFromBits(B.Shr(W.D, result, B.Const(16)));
    }

    private void Aam()
    {
        var divisor = Insn.Immediate8;
        if (divisor == 0)
        {
            RaiseFault(0);
            return;
        }

        var al = B.ZExt(W.B, Rax);
        var quotient = B.Call(IntegerHelpers.DivideUnsigned, al, B.Const((int)divisor));
        var remainder = B.Sub(W.D, al, B.Mul(W.D, quotient, B.Const((int)divisor)));
        SetLogicFlags(W.B, remainder);
        WriteGpr(X86Layout.Rax, W.W, B.Or(W.D, remainder, B.Shl(W.D, quotient, B.Const(8))));
    }

    private void Aad()
    {
        var high = B.Mul(W.D, B.Extract(Rax, 8, 8), B.Const((int)Insn.Immediate8));
        var sum = B.ZExt(W.B, B.Add(W.D, Rax, high));
        SetLogicFlags(W.B, sum);
        WriteGpr(X86Layout.Rax, W.W, sum);
    }
}
