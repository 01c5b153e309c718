using System.Numerics;
using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>Bits of EFLAGS (Intel SDM volume 1, section 3.4.3).</summary>
public static class Eflags
{
    public const uint Cf = 1, Fixed = 2, Pf = 4, Af = 0x10, Zf = 0x40, Sf = 0x80, Tf = 0x100, If = 0x200, Df = 0x400,
        Of = 0x800, Iopl = 0x3000, Nt = 0x4000, Rf = 0x10000, Vm = 0x20000, Ac = 0x40000, Vif = 0x80000, Vip = 0x100000,
        Id = 0x200000;

    /// <summary>The flags that follow from the Cc fields.</summary>
    public const uint Arithmetic = Cf | Pf | Af | Zf | Sf | Of;

    /// <summary>Every flag that exists.</summary>
    public const uint All = Arithmetic | Tf | If | Df | Iopl | Nt | Rf | Vm | Ac | Vif | Vip | Id;
}

public static unsafe partial class SystemHelpers
{
    /// <summary>The arithmetic flags (EFLAGS positions) of CcOp a, CcDst b, CcSrc c, CcSrc2 d. A pure function.</summary>
    public static readonly Helper ComputeFlags = new("computeFlags", &ComputeFlagsImpl, HelperEffects.None);

    /// <summary>The carry flag (0 or 1) of CcOp a, CcDst b, CcSrc c, CcSrc2 d. A pure function.</summary>
    public static readonly Helper ComputeCarry = new("computeCarry", &ComputeCarryImpl, HelperEffects.None);

    [UnmanagedCallersOnly]
    private static ulong ComputeFlagsImpl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        X86Cpu.ComputeArithmeticFlags(a, b, c, d);

    [UnmanagedCallersOnly]
    private static ulong ComputeCarryImpl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        X86Cpu.ComputeCarry(a, b, c, d);
}

public sealed unsafe partial class X86Cpu
{
    /// <summary>EFLAGS whole.</summary>
    public ulong ReadEflags() =>
        (State->Eflags & ~(ulong)Eflags.Arithmetic) | Eflags.Fixed
        | ComputeArithmeticFlags(State->CcOp, State->CcDst, State->CcSrc, State->CcSrc2);

    /// <summary>Replaces the flags in the mask. Updates the mode, and looks at interrupts again when they may have become
    /// deliverable.</summary>
    public void WriteEflags(ulong value, ulong mask)
    {
        var before = ReadEflags();
        SetEflagsRaw((before & ~mask) | (value & mask));
        UpdateMode();
        if ((State->Eflags & ~before & Eflags.If) != 0)
            RecheckRequests();
    }

    /// <summary>Stores all of EFLAGS without looking at consequences.</summary>
    private void SetEflagsRaw(ulong value)
    {
        value = (value & Eflags.All) | Eflags.Fixed;
        State->Eflags = value & ~(ulong)Eflags.Arithmetic;
        State->CcOp = (ulong)CcOp.Eflags;
        State->CcSrc = value & Eflags.Arithmetic;
    }

    private void SetZero(bool zero)
    {
        var flags = ComputeArithmeticFlags(State->CcOp, State->CcDst, State->CcSrc, State->CcSrc2);
        State->CcOp = (ulong)CcOp.Eflags;
        State->CcSrc = zero ? flags | Eflags.Zf : flags & ~(ulong)Eflags.Zf;
    }

    /// <summary>The six arithmetic flags in their EFLAGS positions, from what the fields of the state hold.</summary>
    public static ulong ComputeArithmeticFlags(ulong op, ulong dst, ulong src, ulong src2)
    {
        var (own, before) = ((CcOp)op, (CcOp)(op >> 32));
        switch ((CcOp)((uint)op & ~3u))
        {
            case CcOp.IncOver:
            case CcOp.DecOver:
                return ComputeArithmeticFlags(own - CcOp.IncOver + CcOp.Inc, src2, ComputeCarry(before, dst, src, 0), 0);
            case CcOp.RolOver:
            case CcOp.RorOver:
                var carry = RotatedOut(own, src2);
                var second = own < CcOp.RorOver ? Bits(own) - 1 : Bits(own) - 2;
                return (ComputeArithmeticFlags(before, dst, src, 0) & ~(Eflags.Cf | (ulong)Eflags.Of)) | carry
                    | (carry ^ (src2 >> second & 1)) << 11;
            default:
                return ComputeArithmeticFlags(own, dst, src, src2);
        }
    }

    /// <summary>The carry flag alone, 0 or 1, from what the fields of the state hold.</summary>
    public static ulong ComputeCarry(ulong op, ulong dst, ulong src, ulong src2) => (CcOp)((uint)op & ~3u) switch
    {
        CcOp.IncOver or CcOp.DecOver => ComputeCarry((CcOp)(op >> 32), dst, src, 0),
        CcOp.RolOver or CcOp.RorOver => RotatedOut((CcOp)op, src2),
        _ => ComputeCarry((CcOp)op, dst, src, src2),
    };

    private static int Bits(CcOp op) => 8 << (int)((uint)op & 3);

    /// <summary>The carry flag after a rotate: the bit that went around.</summary>
    private static ulong RotatedOut(CcOp op, ulong result) => op < CcOp.RorOver ? result & 1 : result >> (Bits(op) - 1) & 1;

    /// <summary>The six arithmetic flags in their EFLAGS positions of one record.</summary>
    private static ulong ComputeArithmeticFlags(CcOp op, ulong dst, ulong src, ulong src2)
    {
        var family = (CcOp)((uint)op & ~3u);
        if (family == CcOp.Eflags)
            return src & Eflags.Arithmetic;
        if (family >= CcOp.Carries)
        {
            var others = family == CcOp.Carries ? src & Eflags.Arithmetic
                : ComputeArithmeticFlags((family == CcOp.CarriesInc ? CcOp.Inc : CcOp.Dec) + (op - family), src, 0, 0);
            return (others & ~(Eflags.Cf | (ulong)Eflags.Of)) | (dst != 0 ? Eflags.Cf : 0) | (src2 != 0 ? Eflags.Of : 0);
        }

        if (family == CcOp.Cmp)
            (family, dst) = (CcOp.Sub, dst - src);
        var bits = Bits(op);
        var mask = ulong.MaxValue >> (64 - bits);
        var top = 1UL << (bits - 1);
        dst &= mask;
        src &= mask;
        ulong flags = 0;
        switch (family)
        {
            case CcOp.Add:
            case CcOp.Adc:
            case CcOp.Sub:
            case CcOp.Sbb:
                var subtract = family is CcOp.Sub or CcOp.Sbb;
                var carry = family is CcOp.Adc or CcOp.Sbb ? src2 & 1 : 0;
                var first = (subtract ? dst + src + carry : dst - src - carry) & mask;
                flags |= CarryOf(family, dst, src, carry, mask) ? Eflags.Cf : 0;
                flags |= (first ^ src ^ dst) & Eflags.Af;
                var overflow = subtract ? (first ^ src) & (first ^ dst) : ~(first ^ src) & (first ^ dst);
                flags |= (overflow & top) != 0 ? Eflags.Of : 0;
                break;
            case CcOp.Inc:
                flags |= (src & 1) | (dst == top ? Eflags.Of : 0) | ((dst & 0xF) == 0 ? Eflags.Af : 0);
                break;
            case CcOp.Dec:
                flags |= (src & 1) | (dst == top - 1 ? Eflags.Of : 0) | ((dst & 0xF) == 0xF ? Eflags.Af : 0);
                break;
            case CcOp.Shl:
                flags |= ((src & top) != 0 ? Eflags.Cf : 0) | (((src ^ dst) & top) != 0 ? Eflags.Of : 0);
                break;
            case CcOp.Sar:
                flags |= (src & 1) | (((src ^ dst) & top) != 0 ? Eflags.Of : 0);
                break;
            case CcOp.Mul:
                flags |= src != 0 ? Eflags.Cf | Eflags.Of : 0;
                break;
            case CcOp.Bmi:
                return (src != 0 ? Eflags.Cf : 0) | (dst == 0 ? Eflags.Zf : 0) | ((dst & top) != 0 ? Eflags.Sf : 0);
            case CcOp.Count:
                return (src == 0 ? Eflags.Cf : 0) | (dst == 0 ? Eflags.Zf : 0);
            case CcOp.Popcnt:
                return dst == 0 ? Eflags.Zf : 0;
        }

        return flags
            | (dst == 0 ? Eflags.Zf : 0)
            | ((dst & top) != 0 ? Eflags.Sf : 0)
            | ((BitOperations.PopCount((uint)(byte)dst) & 1) == 0 ? Eflags.Pf : 0);
    }

    /// <summary>The carry flag of one record.</summary>
    private static ulong ComputeCarry(CcOp op, ulong dst, ulong src, ulong src2)
    {
        var family = (CcOp)((uint)op & ~3u);
        var mask = ulong.MaxValue >> (64 - Bits(op));
        switch (family)
        {
            case CcOp.Eflags:
            case CcOp.Inc:
            case CcOp.Dec:
            case CcOp.Sar:
                return src & 1;
            case CcOp.Shl:
                return (src & ~(mask >> 1) & mask) != 0 ? 1UL : 0;
            case CcOp.Mul:
            case CcOp.Bmi:
                return (src & mask) != 0 ? 1UL : 0;
            case CcOp.Count:
                return (src & mask) == 0 ? 1UL : 0;
            case CcOp.Carries:
            case CcOp.CarriesInc:
            case CcOp.CarriesDec:
                return dst;
            case CcOp.Cmp:
                return (dst & mask) < (src & mask) ? 1UL : 0;
            case CcOp.Add:
            case CcOp.Adc:
            case CcOp.Sub:
            case CcOp.Sbb:
                return CarryOf(family, dst & mask, src & mask, family is CcOp.Adc or CcOp.Sbb ? src2 & 1 : 0, mask) ? 1UL : 0;
            default:
                return 0;
        }
    }

    private static bool CarryOf(CcOp family, ulong dst, ulong src, ulong carry, ulong mask)
    {
        if (family is CcOp.Add or CcOp.Adc)
            return carry != 0 ? dst <= src : dst < src;
        var first = (dst + src + carry) & mask;
        return carry != 0 ? first <= src : first < src;
    }
}
