using System.Numerics;
using System.Runtime.Intrinsics.X86;

namespace Dromaius.Jit.Ir;

/// <summary>
/// What the integer operations compute: the one definition, used by constant folding and by the interpreter.
/// Shift counts are taken modulo the width.
/// </summary>
public static class IrFold
{
    /// <summary>The result of an operation on known operands, or false when it is not a pure function of a, b and imm.</summary>
    public static bool TryFold(IrOp op, W w, Cond cond, ulong a, ulong b, ulong imm, out ulong result)
    {
        switch (op)
        {
            case IrOp.ZExt:
                result = Truncate(w, a);
                return true;
            case IrOp.SExt:
                result = (ulong)SignExtend(w, a);
                return true;
            case IrOp.Extract:
                result = (a >> Pos(imm)) & LowMask(Len(imm));
                return true;
            case IrOp.Deposit:
                var mask = LowMask(Len(imm)) << Pos(imm);
                result = (a & ~mask) | ((b << Pos(imm)) & mask);
                return true;
            case IrOp.AddScaled:
                result = Truncate(w, a + (b << (int)imm));
                return true;
            case IrOp.SetCond:
                result = Holds(cond, w, a, b) ? 1UL : 0UL;
                return true;
            default:
                return w == W.Q ? Fold64(op, a, b, out result) : Fold32(op, (uint)a, (uint)b, out result);
        }
    }

    /// <summary>The result of AddCarry, SubBorrow, CarryOf or BorrowOf.</summary>
    public static ulong Carry(IrOp op, W w, ulong a, ulong b, ulong c)
    {
        (a, b, c) = (Truncate(w, a), Truncate(w, b), c & 1);
        return op switch
        {
            IrOp.AddCarry => Truncate(w, a + b + c),
            IrOp.SubBorrow => Truncate(w, a - b - c),
            IrOp.CarryOf => Truncate(w, a + b + c) < a || (c != 0 && Truncate(w, a + b + c) == a) ? 1UL : 0UL,
            _ => a < b || (c != 0 && a == b) ? 1UL : 0UL,
        };
    }

    /// <summary>Whether a condition holds between two values at a width.</summary>
    public static bool Holds(Cond cond, W w, ulong a, ulong b)
    {
        switch (cond)
        {
            case Cond.Eq: return Truncate(w, a ^ b) == 0;
            case Cond.Ne: return Truncate(w, a ^ b) != 0;
            case Cond.ULt: return Truncate(w, a) < Truncate(w, b);
            case Cond.UGe: return Truncate(w, a) >= Truncate(w, b);
            case Cond.ULe: return Truncate(w, a) <= Truncate(w, b);
            case Cond.UGt: return Truncate(w, a) > Truncate(w, b);
            case Cond.SLt: return SignExtend(w, a) < SignExtend(w, b);
            case Cond.SGe: return SignExtend(w, a) >= SignExtend(w, b);
            case Cond.SLe: return SignExtend(w, a) <= SignExtend(w, b);
            case Cond.SGt: return SignExtend(w, a) > SignExtend(w, b);
            case Cond.TestEq: return Truncate(w, a & b) == 0;
            default: return Truncate(w, a & b) != 0;
        }
    }

    /// <summary>The low bits of a value at a width, zero-extended.</summary>
    public static ulong Truncate(W w, ulong a) => w switch
    {
        W.B => (byte)a,
        W.W => (ushort)a,
        W.D => (uint)a,
        _ => a,
    };

    /// <summary>The low bits of a value at a width, sign-extended.</summary>
    public static long SignExtend(W w, ulong a) => w switch
    {
        W.B => (sbyte)a,
        W.W => (short)a,
        W.D => (int)a,
        _ => (long)a,
    };

    /// <summary>The value that an atomic read-modify-write stores.</summary>
    public static ulong Rmw(RmwKind kind, ulong old, ulong operand) => kind switch
    {
        RmwKind.Exchange => operand,
        RmwKind.Add => old + operand,
        RmwKind.And => old & operand,
        RmwKind.Or => old | operand,
        _ => old ^ operand,
    };

    /// <summary>First bit of the field of an Extract or Deposit.</summary>
    public static int Pos(ulong imm) => (int)(imm & 0xFF);

    /// <summary>Length in bits of the field of an Extract or Deposit.</summary>
    public static int Len(ulong imm) => (int)((imm >> 8) & 0xFF);

    /// <summary>A mask of the given number of low bits (0 to 64).</summary>
    public static ulong LowMask(int bits) => bits >= 64 ? ulong.MaxValue : (1UL << bits) - 1;

    private static bool Fold64(IrOp op, ulong a, ulong b, out ulong result)
    {
        var count = (int)b & 63;
        switch (op)
        {
            case IrOp.Mov: result = a; return true;
            case IrOp.Add: result = a + b; return true;
            case IrOp.Sub: result = a - b; return true;
            case IrOp.And: result = a & b; return true;
            case IrOp.Or: result = a | b; return true;
            case IrOp.Xor: result = a ^ b; return true;
            case IrOp.AndNot: result = ~a & b; return true;
            case IrOp.Shl: result = a << count; return true;
            case IrOp.Shr: result = a >> count; return true;
            case IrOp.Sar: result = (ulong)((long)a >> count); return true;
            case IrOp.Rol: result = BitOperations.RotateLeft(a, count); return true;
            case IrOp.Ror: result = BitOperations.RotateRight(a, count); return true;
            case IrOp.Mul: result = a * b; return true;
            case IrOp.MulHiU: result = Math.BigMul(a, b, out _); return true;
            case IrOp.MulHiS: result = (ulong)Math.BigMul((long)a, (long)b, out _); return true;
            case IrOp.Neg: result = 0 - a; return true;
            case IrOp.Not: result = ~a; return true;
            case IrOp.Bswap: result = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a); return true;
            case IrOp.Clz: result = (ulong)BitOperations.LeadingZeroCount(a); return true;
            case IrOp.Ctz: result = (ulong)BitOperations.TrailingZeroCount(a); return true;
            case IrOp.Popcnt: result = (ulong)BitOperations.PopCount(a); return true;
            case IrOp.Pdep: result = Pdep(a, b); return true;
            case IrOp.Pext: result = Pext(a, b); return true;
            default: result = 0; return false;
        }
    }

    private static bool Fold32(IrOp op, uint a, uint b, out ulong result)
    {
        var count = (int)b & 31;
        switch (op)
        {
            case IrOp.Mov: result = a; return true;
            case IrOp.Add: result = a + b; return true;
            case IrOp.Sub: result = a - b; return true;
            case IrOp.And: result = a & b; return true;
            case IrOp.Or: result = a | b; return true;
            case IrOp.Xor: result = a ^ b; return true;
            case IrOp.AndNot: result = ~a & b; return true;
            case IrOp.Shl: result = a << count; return true;
            case IrOp.Shr: result = a >> count; return true;
            case IrOp.Sar: result = (uint)((int)a >> count); return true;
            case IrOp.Rol: result = BitOperations.RotateLeft(a, count); return true;
            case IrOp.Ror: result = BitOperations.RotateRight(a, count); return true;
            case IrOp.Mul: result = a * b; return true;
            case IrOp.MulHiU: result = (ulong)a * b >> 32; return true;
            case IrOp.MulHiS: result = (uint)((long)(int)a * (int)b >> 32); return true;
            case IrOp.Neg: result = 0 - a; return true;
            case IrOp.Not: result = ~a; return true;
            case IrOp.Bswap: result = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(a); return true;
            case IrOp.Clz: result = (ulong)BitOperations.LeadingZeroCount(a); return true;
            case IrOp.Ctz: result = (ulong)BitOperations.TrailingZeroCount(a); return true;
            case IrOp.Popcnt: result = (ulong)BitOperations.PopCount(a); return true;
            case IrOp.Pdep: result = Pdep(a, b); return true;
            case IrOp.Pext: result = Pext(a, b); return true;
            default: result = 0; return false;
        }
    }

    private static ulong Pdep(ulong value, ulong mask)
    {
        if (Bmi2.X64.IsSupported)
            return Bmi2.X64.ParallelBitDeposit(value, mask);
        var result = 0UL;
        for (; mask != 0; mask &= mask - 1, value >>= 1)
        {
            if ((value & 1) != 0)
                result |= mask & (0 - mask);
        }

        return result;
    }

    private static ulong Pext(ulong value, ulong mask)
    {
        if (Bmi2.X64.IsSupported)
            return Bmi2.X64.ParallelBitExtract(value, mask);
        var result = 0UL;
        for (var bit = 1UL; mask != 0; mask &= mask - 1, bit <<= 1)
        {
            if ((value & mask & (0 - mask)) != 0)
                result |= bit;
        }

        return result;
    }
}
