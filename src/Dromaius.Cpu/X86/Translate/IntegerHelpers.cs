using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>Integer operations that are too long to be inline. All but CMPXCHG16B are pure functions of their arguments.</summary>
public static unsafe class IntegerHelpers
{
    /// <summary>a / b of 64-bit unsigned values; b is not 0.</summary>
    public static readonly Helper DivideUnsigned = new("divU", &DivideUnsignedImpl, HelperEffects.None);

    /// <summary>a / b of 64-bit signed values; b is not 0. The one overflow gives the dividend.</summary>
    public static readonly Helper DivideSigned = new("divS", &DivideSignedImpl, HelperEffects.None);

    /// <summary>a:b / c; a is below c.</summary>
    public static readonly Helper DivideUnsigned128 = new("divU128", &DivideUnsigned128Impl, HelperEffects.None);

    /// <summary>1 if the signed quotient a:b / c does not fit in 64 bits or c is 0.</summary>
    public static readonly Helper DivideOverflows128 = new("divOverflows128", &DivideOverflows128Impl, HelperEffects.None);

    /// <summary>a:b / c signed; it fits.</summary>
    public static readonly Helper DivideSigned128 = new("divS128", &DivideSigned128Impl, HelperEffects.None);

    // Rotates through carry: value a (zero-extended), carry b, masked count c, width in bits d; the new value or the new carry.
    public static readonly Helper RotateCarryLeft = new("rcl", &RotateCarryLeftImpl, HelperEffects.None);
    public static readonly Helper RotateCarryLeftOut = new("rclCarry", &RotateCarryLeftOutImpl, HelperEffects.None);
    public static readonly Helper RotateCarryRight = new("rcr", &RotateCarryRightImpl, HelperEffects.None);
    public static readonly Helper RotateCarryRightOut = new("rcrCarry", &RotateCarryRightOutImpl, HelperEffects.None);

    // Decimal adjustment: AX a, arithmetic flags b; the new AX, and the new flags from bit 16 on.
    public static readonly Helper Aaa = new("aaa", &AaaImpl, HelperEffects.None);
    public static readonly Helper Aas = new("aas", &AasImpl, HelperEffects.None);
    public static readonly Helper Daa = new("daa", &DaaImpl, HelperEffects.None);
    public static readonly Helper Das = new("das", &DasImpl, HelperEffects.None);

    /// <summary>CRC-32C of accumulator a over the c low bytes of b.</summary>
    public static readonly Helper Crc32C = new("crc32c", &Crc32CImpl, HelperEffects.None);

    /// <summary>64 random bits.</summary>
    public static readonly Helper Random = new("random", &RandomImpl, HelperEffects.Reads);

    /// <summary>CMPXCHG16B at linear address a: changes memory or RDX:RAX, gives 1 if the values were equal.</summary>
    public static readonly Helper Cmpxchg16B = new("cmpxchg16b", &Cmpxchg16BImpl, HelperEffects.All);

    private static readonly Lock WideLock = new();

    [UnmanagedCallersOnly]
    private static ulong DivideUnsignedImpl(void* state, ulong a, ulong b, ulong c, ulong d) => b == 0 ? 0 : a / b;

    [UnmanagedCallersOnly]
    private static ulong DivideSignedImpl(void* state, ulong a, ulong b, ulong c, ulong d) => b switch
    {
        0 => 0,
        ulong.MaxValue => 0 - a,
        _ => (ulong)((long)a / (long)b),
    };

    [UnmanagedCallersOnly]
    private static ulong DivideUnsigned128Impl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        c == 0 ? 0 : a == 0 ? b / c : (ulong)(new UInt128(a, b) / c);

    [UnmanagedCallersOnly]
    private static ulong DivideOverflows128Impl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        c == 0 || Overflows(a, b, c) ? 1UL : 0;

    [UnmanagedCallersOnly]
    private static ulong DivideSigned128Impl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        if (c == 0)
            return 0;
        if (a == (ulong)((long)b >> 63) && c != ulong.MaxValue)
            return (ulong)((long)b / (long)c);
        var quotient = Magnitude(a, b) / Magnitude(c);
        return (long)(a ^ c) < 0 ? 0 - (ulong)quotient : (ulong)quotient;
    }

    private static bool Overflows(ulong high, ulong low, ulong divisor)
    {
        var quotient = Magnitude(high, low) / Magnitude(divisor);
        var limit = (long)(high ^ divisor) < 0 ? 1UL << 63 : (1UL << 63) - 1;
        return quotient > limit;
    }

    private static UInt128 Magnitude(ulong high, ulong low)
    {
        var value = new UInt128(high, low);
        return (long)high < 0 ? 0 - value : value;
    }

    private static ulong Magnitude(ulong value) => (long)value < 0 ? 0 - value : value;

    [UnmanagedCallersOnly]
    private static ulong RotateCarryLeftImpl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        RotateLeftThrough(a, b, (int)c, (int)d, out _);

    [UnmanagedCallersOnly]
    private static ulong RotateCarryLeftOutImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        RotateLeftThrough(a, b, (int)c, (int)d, out var carry);
        return carry;
    }

    [UnmanagedCallersOnly]
    private static ulong RotateCarryRightImpl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        RotateRightThrough(a, b, (int)c, (int)d, out _);

    [UnmanagedCallersOnly]
    private static ulong RotateCarryRightOutImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        RotateRightThrough(a, b, (int)c, (int)d, out var carry);
        return carry;
    }

    private static ulong RotateRightThrough(ulong value, ulong carry, int count, int bits, out ulong carryOut) =>
        RotateLeftThrough(value, carry, bits + 1 - (count % (bits + 1)), bits, out carryOut);

    /// <summary>Rotates carry:value, a quantity of bits + 1 bits, to the left.</summary>
    private static ulong RotateLeftThrough(ulong value, ulong carry, int count, int bits, out ulong carryOut)
    {
        var width = bits + 1;
        count %= width;
        var all = new UInt128(carry & 1, 0) >> (64 - bits) | value;
        if (bits == 64)
            all = new UInt128(carry & 1, value);
        if (count != 0)
            all = all << count | all >> (width - count);
        carryOut = (ulong)(all >> bits) & 1;
        return (ulong)all & (ulong.MaxValue >> (64 - bits));
    }

    [UnmanagedCallersOnly]
    private static ulong AaaImpl(void* state, ulong a, ulong b, ulong c, ulong d) => AsciiAdjust(a, b, false);

    [UnmanagedCallersOnly]
    private static ulong AasImpl(void* state, ulong a, ulong b, ulong c, ulong d) => AsciiAdjust(a, b, true);

    private static ulong AsciiAdjust(ulong ax, ulong flags, bool subtract)
    {
        flags &= ~(ulong)(Eflags.Cf | Eflags.Of | Eflags.Sf | Eflags.Zf | Eflags.Pf);
        if ((ax & 0xF) > 9 || (flags & Eflags.Af) != 0)
        {
            ax = subtract ? ax - 0x106 : ax + 0x106;
            flags |= Eflags.Af | Eflags.Cf;
        }
        else
        {
            flags &= ~(ulong)Eflags.Af;
        }

        ax &= 0xFF0F;
        return ax | (flags | ResultFlags((byte)ax)) << 16;
    }

    [UnmanagedCallersOnly]
    private static ulong DaaImpl(void* state, ulong a, ulong b, ulong c, ulong d) => DecimalAdjust(a, b, false);

    [UnmanagedCallersOnly]
    private static ulong DasImpl(void* state, ulong a, ulong b, ulong c, ulong d) => DecimalAdjust(a, b, true);

    private static ulong DecimalAdjust(ulong ax, ulong flags, bool subtract)
    {
        var al = (int)(byte)ax;
        var result = al;
        var carry = (flags & Eflags.Cf) != 0;
        var newFlags = 0UL;
        if ((al & 0xF) > 9 || (flags & Eflags.Af) != 0)
        {
            newFlags |= Eflags.Af;
            // The borrow or carry out of the byte of this first step counts too.
            if (subtract && (al < 6 || carry))
                newFlags |= Eflags.Cf;
            result += subtract ? -6 : 6;
        }

        if (al > 0x99 || carry)
        {
            result += subtract ? -0x60 : 0x60;
            newFlags |= Eflags.Cf;
        }

        var adjusted = (byte)result;
        return (ax & 0xFF00) | adjusted | (newFlags | ResultFlags(adjusted)) << 16;
    }

    private static ulong ResultFlags(byte value) =>
        (value == 0 ? Eflags.Zf : 0ul) | ((value & 0x80) != 0 ? Eflags.Sf : 0ul)
        | ((BitOperations.PopCount(value) & 1) == 0 ? Eflags.Pf : 0ul);

    [UnmanagedCallersOnly]
    private static ulong Crc32CImpl(void* state, ulong a, ulong b, ulong c, ulong d) => c switch
    {
        1 => BitOperations.Crc32C((uint)a, (byte)b),
        2 => BitOperations.Crc32C((uint)a, (ushort)b),
        4 => BitOperations.Crc32C((uint)a, (uint)b),
        _ => BitOperations.Crc32C((uint)a, b),
    };

    [UnmanagedCallersOnly]
    private static ulong RandomImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        ulong value;
        RandomNumberGenerator.Fill(new Span<byte>(&value, sizeof(ulong)));
        return value;
    }

    [UnmanagedCallersOnly]
    private static ulong Cmpxchg16BImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        var s = cpu.State;
        try
        {
            if ((a & 15) != 0)
                throw GuestFaultException.GeneralProtection();
            lock (WideLock)
            {
                cpu.Probe(a, 8, AccessKind.Write);
                var low = cpu.Load(a, 8);
                var high = cpu.Load(a + 8, 8);
                if (low == s->Gpr[X86Layout.Rax] && high == s->Gpr[X86Layout.Rdx])
                {
                    cpu.Store(a, 8, s->Gpr[X86Layout.Rbx]);
                    cpu.Store(a + 8, 8, s->Gpr[X86Layout.Rcx]);
                    return 1;
                }

                s->Gpr[X86Layout.Rax] = low;
                s->Gpr[X86Layout.Rdx] = high;
                return 0;
            }
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
            return 0;
        }
    }
}
