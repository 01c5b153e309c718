using Dromaius.Jit.Ir.SoftFloat;
using static Dromaius.Cpu.X86.FpuState;

namespace Dromaius.Cpu.X86;

/// <remarks>
/// This file: memory operands. A store is three steps so that its faults are precise: the value is computed, the translation
/// stores it, and only then the exceptions are raised and the stack is popped.
/// </remarks>
internal static unsafe partial class FpuUnit
{
    private const ulong MaxBcd = 999_999_999_999_999_999;

    /// <summary>A store between its steps, in <see cref="X86State.Vector"/>.</summary>
    private const ulong Skip = 1ul << 32, WasEmpty = 1ul << 33, WentUp = 1ul << 34;

    /// <summary>FLD m32, FLD m64, FILD: pushes.</summary>
    public static void Load(X86State* s, FpuFormat format, ulong bits)
    {
        ClearC1(s);
        var v = Operand(format, bits);
        if (!Room(s))
            return;
        var env = Environment(s);
        if (v.Denormal)
            env.Flags |= FpFlags.Denormal;
        if (v.Class == FpClass.SignalingNan)
        {
            env.Flags |= FpFlags.Invalid;
            v.Class = FpClass.QuietNan;
        }

        // A denormal is loaded even when it traps.
        if (Finish(s, ref env) || (env.Flags & FpFlags.Invalid) == 0)
            Push(s, Float80.FromExact(v));
    }

    /// <summary>FLD m80.</summary>
    public static void LoadExtended(X86State* s, ulong low, ulong high)
    {
        ClearC1(s);
        if (Room(s))
            Push(s, new Float80((ushort)high, low));
    }

    /// <summary>FBLD.</summary>
    public static void LoadBcd(X86State* s, ulong low, ulong high)
    {
        ClearC1(s);
        if (!Room(s))
            return;
        ulong value = 0;
        for (var i = 17; i >= 0; i--)
            value = value * 10 + ((i >= 16 ? high >> 4 * (i - 16) : low >> 4 * i) & 15);
        Push(s, Float80.FromExact(FpValue.FromInteger((high & 0x8000) != 0, value)));
    }

    /// <summary>First step of a store: the bits (of 80-bit formats the low 64; the others in Vector.A).</summary>
    public static ulong PrepareStore(X86State* s, FpuFormat format)
    {
        var env = Environment(s);
        ref var pending = ref s->Vector.Int;
        pending = 0;
        if (IsEmpty(s, 0))
        {
            pending = WasEmpty | ((env.Masks & FpFlags.Invalid) == 0 ? Skip : 0);
            return Encode(s, format, Float80.Indefinite.Unpack(), ref env);
        }

        if (format == FpuFormat.F80)
        {
            s->Vector.A.Q[0] = Register(s, 0)->SignExponent;
            return Register(s, 0)->Significand;
        }

        var bits = Encode(s, format, Register(s, 0)->Unpack(), ref env);
        // Of the exceptions a store can raise only PE leaves a result when unmasked.
        var refused = env.Flags & ~env.Masks & ~FpFlags.Inexact;
        if (refused != 0)
            env.Flags &= ~FpFlags.Inexact;
        pending = env.Flags | (refused != 0 ? Skip : 0) | (env.RoundedUp ? WentUp : 0);
        return bits;
    }

    /// <summary>Whether the prepared value must not be stored.</summary>
    public static bool StoreRefused(X86State* s) => (s->Vector.Int & Skip) != 0;

    public static void CommitStore(X86State* s, bool pop)
    {
        var pending = s->Vector.Int;
        ClearC1(s);
        if ((pending & WasEmpty) != 0)
        {
            if (!Underflow(s))
                return;
        }
        else
        {
            var env = Environment(s);
            env.Flags = (uint)pending;
            env.RoundedUp = (pending & WentUp) != 0;
            Finish(s, ref env);
            if ((pending & Skip) != 0)
                return;
        }

        if (pop)
            Pop(s);
    }

    private static ulong Encode(X86State* s, FpuFormat format, in FpValue v, ref FpEnv env) => format switch
    {
        FpuFormat.F32 => ToFormat<F32>(v, ref env),
        FpuFormat.F64 => ToFormat<F64>(v, ref env),
        FpuFormat.I16 => ToInteger(v, 16, env.Rounding, ref env),
        FpuFormat.I32 => ToInteger(v, 32, env.Rounding, ref env),
        FpuFormat.I64 => ToInteger(v, 64, env.Rounding, ref env),
        FpuFormat.I16Truncate => ToInteger(v, 16, FpRounding.TowardZero, ref env),
        FpuFormat.I32Truncate => ToInteger(v, 32, FpRounding.TowardZero, ref env),
        FpuFormat.I64Truncate => ToInteger(v, 64, FpRounding.TowardZero, ref env),
        FpuFormat.Bcd => ToBcd(s, v, ref env),
        _ => EncodeExtended(s),
    };

    /// <summary>The indefinite NaN of an empty register.</summary>
    private static ulong EncodeExtended(X86State* s)
    {
        s->Vector.A.Q[0] = Float80.Indefinite.SignExponent;
        return Float80.Indefinite.Significand;
    }

    private static ulong ToFormat<F>(in FpValue v, ref FpEnv env) where F : struct, IFpFormat
    {
        if (v.Class != FpClass.SignalingNan)
            return FpFormat<F>.Pack(v, ref env);
        env.Flags |= FpFlags.Invalid;
        if (Float80.IsUnsupportedValue(v))
            return FpFormat<F>.DefaultNan;
        var quiet = v;
        quiet.Class = FpClass.QuietNan;
        return FpFormat<F>.Pack(quiet, ref env);
    }

    private static ulong ToInteger(in FpValue v, int bits, FpRounding rounding, ref FpEnv env)
    {
        var limit = 1ul << bits - 1;
        if (v.Class <= FpClass.Normal && FpCore.TryToInteger(v, rounding, out var magnitude, out var inexact, out env.RoundedUp)
            && magnitude <= limit - (v.Sign ? 0ul : 1))
        {
            if (inexact)
                env.Flags |= FpFlags.Inexact;
            return v.Sign ? 0 - magnitude : magnitude;
        }

        env.RoundedUp = false;
        env.Flags |= FpFlags.Invalid;
        return limit;
    }

    private static ulong ToBcd(X86State* s, in FpValue v, ref FpEnv env)
    {
        if (v.Class <= FpClass.Normal
            && FpCore.TryToInteger(v, env.Rounding, out var magnitude, out var inexact, out env.RoundedUp) && magnitude <= MaxBcd)
        {
            if (inexact)
                env.Flags |= FpFlags.Inexact;
            ulong low = 0, high = v.Sign ? 0x8000u : 0;
            for (var i = 0; i < 18; i++, magnitude /= 10)
            {
                var digit = magnitude % 10;
                if (i < 16)
                    low |= digit << 4 * i;
                else
                    high |= digit << 4 * (i - 16);
            }

            s->Vector.A.Q[0] = high;
            return low;
        }

        env.RoundedUp = false;
        env.Flags |= FpFlags.Invalid;
        s->Vector.A.Q[0] = 0xFFFF;
        return 0xC000000000000000;
    }
}
