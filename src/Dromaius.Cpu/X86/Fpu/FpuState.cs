using System.Numerics;
using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Cpu.X86;

/// <summary>The x87 register stack and its control, status and tag words (Intel SDM volume 1, section 8.1).</summary>
internal static unsafe class FpuState
{
    public const uint StackFault = 0x40, ErrorSummary = 0x80, C0 = 0x100, C1 = 0x200, C2 = 0x400, C3 = 0x4000, Busy = 0x8000;
    public const uint ConditionCodes = C0 | C1 | C2 | C3;
    private const uint TopMask = 0x3800;

    /// <summary>Control word bits that can be written; bit 6 reads as 1.</summary>
    public const uint ControlMask = 0x1F3F, ControlFixed = 0x40, InitialControl = 0x37F;

    public static int Physical(X86State* s, int i) => (int)(s->FpTop + (uint)i) & 7;

    public static Float80* Register(X86State* s, int i) => (Float80*)s->FpRegs + Physical(s, i);

    public static bool IsEmpty(X86State* s, int i) => (s->FpEmpty >> Physical(s, i) & 1) != 0;

    public static void Free(X86State* s, int i) => s->FpEmpty |= (byte)(1 << Physical(s, i));

    public static void Write(X86State* s, int i, in Float80 value)
    {
        *Register(s, i) = value;
        s->FpEmpty &= (byte)~(1 << Physical(s, i));
    }

    public static void Pop(X86State* s)
    {
        Free(s, 0);
        s->FpTop = s->FpTop + 1 & 7;
    }

    /// <summary>Decrements TOP and writes; the caller has looked whether the slot is free.</summary>
    public static void Push(X86State* s, in Float80 value)
    {
        s->FpTop = s->FpTop - 1 & 7;
        Write(s, 0, value);
    }

    public static void ClearC1(X86State* s) => s->FpStatus &= unchecked((ushort)~C1);

    public static void SetConditions(X86State* s, uint bits) => s->FpStatus = (ushort)(s->FpStatus & ~ConditionCodes | bits);

    public static FpEnv Environment(X86State* s) => new()
    {
        Masks = s->FpControl & FpFlags.All,
        Rounding = (FpRounding)(s->FpControl >> 10 & 3),
    };

    /// <summary>Bits of precision that the control word asks of add, subtract, multiply, divide and square root.</summary>
    public static int Precision(X86State* s) => (s->FpControl >> 8 & 3) switch
    {
        0 => 24,
        2 => 53,
        _ => 64,
    };

    /// <summary>Tags of a stack in order: so many full registers from TOP on.</summary>
    public static byte EmptyMask(int top, int depth)
    {
        var full = (1 << depth) - 1 << top;
        return (byte)~(full | full >> 8);
    }

    /// <summary>Derives <see cref="Mode.Fpu"/> anew where it is not ignored.</summary>
    public static void UpdateMode(X86State* s)
    {
        if ((s->Mode & (uint)Mode.Fpu) != (uint)Mode.FpuIgnored)
            Attend(s);
    }

    /// <summary>Derives <see cref="Mode.Fpu"/> from the state.</summary>
    public static void Attend(X86State* s)
    {
        var mode = s->Mode & ~(uint)Mode.Fpu;
        var depth = 8 - BitOperations.PopCount(s->FpEmpty);
        if ((~s->FpControl & FpFlags.All) != 0 || (s->FpStatus & ErrorSummary) != 0
            || s->FpEmpty != EmptyMask((int)s->FpTop, depth))
            mode |= (uint)Mode.FpuAnything;
        else
            mode |= (uint)Known((int)s->FpTop, depth);
        s->Mode = mode;
    }

    /// <summary><see cref="Mode.Fpu"/> of a stack in order.</summary>
    public static Mode Known(int top, int depth) => (Mode)((uint)(depth * 8 + top) << BitOperations.TrailingZeroCount((uint)Mode.Fpu));

    /// <summary>Raises exceptions; gives those that are unmasked.</summary>
    public static uint Raise(X86State* s, uint flags)
    {
        s->FpStatus |= (ushort)flags;
        var unmasked = flags & FpFlags.All & ~(uint)s->FpControl;
        if (unmasked != 0)
            s->FpStatus |= (ushort)(ErrorSummary | Busy);
        return unmasked;
    }

    /// <summary>Ends an operation: raises what it found. False if the destination stays as it was.</summary>
    public static bool Finish(X86State* s, ref FpEnv env)
    {
        var refused = env.Flags & ~env.Masks & FpFlags.PreComputation;
        if (refused != 0)
        {
            Raise(s, env.Flags & FpFlags.PreComputation);
            return false;
        }

        if (env.RoundedUp && (env.Flags & FpFlags.Inexact) != 0)
            s->FpStatus |= (ushort)C1;
        Raise(s, env.Flags);
        return true;
    }

    /// <summary>An empty register was read. True if the masked response (the indefinite NaN) is to be stored.</summary>
    public static bool Underflow(X86State* s)
    {
        ClearC1(s);
        return Raise(s, FpFlags.Invalid | StackFault) == 0;
    }

    /// <summary>A push found no free register.</summary>
    public static bool Overflow(X86State* s)
    {
        s->FpStatus |= (ushort)C1;
        return Raise(s, FpFlags.Invalid | StackFault) == 0;
    }

    /// <summary>Whether a push has room; otherwise stores the indefinite NaN if that is the response.</summary>
    public static bool Room(X86State* s)
    {
        if (IsEmpty(s, -1))
            return true;
        if (Overflow(s))
            Push(s, Float80.Indefinite);
        return false;
    }

    /// <summary>ES and B follow from flags and masks.</summary>
    public static void UpdateSummary(X86State* s)
    {
        var pending = (s->FpStatus & ~s->FpControl & (int)FpFlags.All) != 0;
        s->FpStatus = (ushort)(s->FpStatus & ~(ErrorSummary | Busy) | (pending ? ErrorSummary | Busy : 0));
    }

    public static ushort StatusWord(X86State* s) => (ushort)(s->FpStatus & ~TopMask | s->FpTop << 11);

    public static void SetStatusWord(X86State* s, ushort value)
    {
        s->FpTop = (uint)value >> 11 & 7;
        s->FpStatus = (ushort)(value & ~TopMask);
    }

    public static void SetControlWord(X86State* s, ushort value)
    {
        s->FpControl = (ushort)(value & ControlMask | ControlFixed);
        UpdateSummary(s);
    }

    /// <summary>Two bits a register: valid, zero, special, empty.</summary>
    public static ushort TagWord(X86State* s)
    {
        var tags = 0;
        for (var i = 7; i >= 0; i--)
        {
            tags <<= 2;
            var r = ((Float80*)s->FpRegs)[i];
            if ((s->FpEmpty >> i & 1) != 0)
                tags |= 3;
            else if (r.BiasedExponent == 0 && r.Significand == 0)
                tags |= 1;
            else if (r.BiasedExponent is 0 or 0x7FFF || r.IsUnsupported)
                tags |= 2;
        }

        return (ushort)tags;
    }

    public static void SetTagWord(X86State* s, ushort tags)
    {
        var empty = 0;
        for (var i = 0; i < 8; i++)
        {
            if ((tags >> 2 * i & 3) == 3)
                empty |= 1 << i;
        }

        s->FpEmpty = (byte)empty;
    }

    /// <summary>FNINIT.</summary>
    public static void Initialize(X86State* s)
    {
        s->FpControl = (ushort)InitialControl;
        s->FpStatus = 0;
        s->FpTop = 0;
        s->FpEmpty = 0xFF;
        s->FpIp = s->FpDp = 0;
        s->FpCodeSelector = s->FpDataSelector = s->FpOpcode = 0;
    }
}
