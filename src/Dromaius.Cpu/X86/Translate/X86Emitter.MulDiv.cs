using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: multiplication and division (Intel SDM volume 2).</remarks>
public sealed partial class X86Emitter
{
    private void Mul()
    {
        var w = OperandWidth(0);
        var b = LoadOperand(0, w);
        Val low, high;
        if (w == W.Q)
        {
            low = B.Mul(W.Q, Rax, b);
            high = B.MulHiU(W.Q, Rax, b);
        }
        else
        {
            var product = B.Mul(W.Q, B.ZExt(w, Rax), B.ZExt(w, b));
            low = product;
            high = B.Shr(W.Q, product, B.Const(Bits(w)));
        }

        SetFlags(CcOp.Mul, w, low, high);
        StoreProduct(w, low, high);
    }

    private void Imul()
    {
        if (Insn.OpCount > 1)
        {
            ImulTruncated();
            return;
        }

        var w = OperandWidth(0);
        var b = LoadOperand(0, w);
        SignedProduct(w, Rax, b, out var low, out var high);
        SetFlags(CcOp.Mul, w, low, B.Xor(Wide(w), high, SignOf(w, low)));
        StoreProduct(w, low, high);
    }

    private void ImulTruncated()
    {
        var w = OperandWidth(0);
        var a = LoadOperand(Insn.OpCount == 3 ? 1 : 0, w);
        var b = LoadOperand(Insn.OpCount == 3 ? 2 : 1, w);
        if (_flagsDead)
        {
            WriteGprClean(Insn.Op0Register, B.Mul(Wide(w), a, b));
            return;
        }

        SignedProduct(w, a, b, out var low, out var high);
        SetFlags(CcOp.Mul, w, low, B.Xor(Wide(w), high, SignOf(w, low)));
        WriteGpr(Insn.Op0Register, low);
    }

    private void SignedProduct(W w, Val a, Val b, out Val low, out Val high)
    {
        if (w == W.Q)
        {
            low = B.Mul(W.Q, a, b);
            high = B.MulHiS(W.Q, a, b);
            return;
        }

        low = B.Mul(W.Q, B.SExt(w, a), B.SExt(w, b));
        high = B.Shr(W.Q, low, B.Const(Bits(w)));
    }

    /// <summary>All bits of the width (and those of D above it) equal to the value's sign.</summary>
    private Val SignOf(W w, Val value) => w switch
    {
        W.Q => B.Sar(W.Q, value, B.Const(63)),
        W.D => B.Sar(W.D, value, B.Const(31)),
        _ => B.Sar(W.D, B.SExt(w, value), B.Const(31)),
    };

    private void StoreProduct(W w, Val low, Val high)
    {
        if (w == W.B)
        {
            WriteGpr(X86Layout.Rax, W.W, low);
            return;
        }

        WriteGpr(X86Layout.Rax, w, low);
        WriteGpr(X86Layout.Rdx, w, high);
    }

    /// <summary>
    /// Unsigned division faults exactly when the upper half is not below the divisor, which also covers 0; what is left cannot
    /// overflow.
    /// </summary>
    private void Div()
    {
        var w = OperandWidth(0);
        var divisor = LoadOperand(0, w);
        var high = w == W.B ? B.Extract(Rax, 8, 8) : Rdx;
        B.BrCond(Cond.UGe, w, high, divisor, NewCold(ColdKind.DivideError, -1));
        if (w == W.Q)
        {
            var wideQuotient = B.Call(IntegerHelpers.DivideUnsigned128, Rdx, Rax, divisor);
            StoreQuotient(W.Q, wideQuotient, B.Sub(W.Q, Rax, B.Mul(W.Q, wideQuotient, divisor)));
            return;
        }

        divisor = B.ZExt(w, divisor);
        var dividend = Dividend(w);
        var quotient = B.Call(IntegerHelpers.DivideUnsigned, dividend, divisor);
        StoreQuotient(w, quotient, B.Sub(W.Q, dividend, B.Mul(W.Q, quotient, divisor)));
    }

    private void Idiv()
    {
        var w = OperandWidth(0);
        var divisor = LoadOperand(0, w);
        var overflow = NewCold(ColdKind.DivideError, -1);
        if (w == W.Q)
        {
            B.BrCond(Cond.Ne, W.Q, B.Call(IntegerHelpers.DivideOverflows128, Rdx, Rax, divisor), B.Const(0), overflow);
            var wideQuotient = B.Call(IntegerHelpers.DivideSigned128, Rdx, Rax, divisor);
            StoreQuotient(W.Q, wideQuotient, B.Sub(W.Q, Rax, B.Mul(W.Q, wideQuotient, divisor)));
            return;
        }

        B.BrCond(Cond.Eq, w, divisor, B.Const(0), overflow);
        divisor = B.SExt(w, divisor);
        var dividend = w == W.B ? B.SExt(W.W, Rax) : w == W.W ? B.SExt(W.D, Dividend(w)) : Dividend(w);
        var quotient = B.Call(IntegerHelpers.DivideSigned, dividend, divisor);
        B.BrCond(Cond.Ne, W.Q, B.SExt(w, quotient), quotient, overflow);
        StoreQuotient(w, quotient, B.Sub(W.Q, dividend, B.Mul(W.Q, quotient, divisor)));
    }

    /// <summary>AX, DX:AX or EDX:EAX.</summary>
    private Val Dividend(W w) => w switch
    {
        W.B => B.ZExt(W.W, Rax),
        W.W => B.Deposit(B.ZExt(W.W, Rax), Rdx, 16, 16),
        _ => B.Deposit(B.ZExt(W.D, Rax), Rdx, 32, 32),
    };

    private void StoreQuotient(W w, Val quotient, Val remainder)
    {
        if (w == W.B)
        {
            WriteGpr(X86Layout.Rax, W.W, B.Deposit(B.ZExt(W.B, quotient), remainder, 8, 8));
            return;
        }

        WriteGpr(X86Layout.Rax, w, quotient);
        WriteGpr(X86Layout.Rdx, w, remainder);
    }

    private void Mulx()
    {
        var w = OperandWidth(0);
        var b = LoadOperand(2, w);
        Val low, high;
        if (w == W.Q)
        {
            low = B.Mul(W.Q, Rdx, b);
            high = B.MulHiU(W.Q, Rdx, b);
        }
        else
        {
            low = B.Mul(W.Q, B.ZExt(W.D, Rdx), B.ZExt(W.D, b));
            high = B.Shr(W.Q, low, B.Const(32));
        }

        // The upper half wins when both destinations are the same register.
        WriteGpr(Insn.Op1Register, low);
        WriteGpr(Insn.Op0Register, high);
    }
}
