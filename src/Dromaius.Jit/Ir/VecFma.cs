namespace Dromaius.Jit.Ir;

/// <summary>Signs of a fused multiply-add.</summary>
internal interface IFmaShape
{
    static abstract bool NegateProduct { get; }

    static abstract bool NegatesAddend(int lane);
}

internal readonly struct Madd : IFmaShape
{
    public static bool NegateProduct => false;

    public static bool NegatesAddend(int lane) => false;
}

internal readonly struct Msub : IFmaShape
{
    public static bool NegateProduct => false;

    public static bool NegatesAddend(int lane) => true;
}

internal readonly struct Nmadd : IFmaShape
{
    public static bool NegateProduct => true;

    public static bool NegatesAddend(int lane) => false;
}

internal readonly struct Nmsub : IFmaShape
{
    public static bool NegateProduct => true;

    public static bool NegatesAddend(int lane) => true;
}

/// <summary>Even lanes subtract.</summary>
internal readonly struct MaddSub : IFmaShape
{
    public static bool NegateProduct => false;

    public static bool NegatesAddend(int lane) => (lane & 1) == 0;
}

/// <summary>Odd lanes subtract.</summary>
internal readonly struct MsubAdd : IFmaShape
{
    public static bool NegateProduct => false;

    public static bool NegatesAddend(int lane) => (lane & 1) != 0;
}

/// <summary>From the instruction's operands to multiplicand, multiplier, addend.</summary>
internal interface IFmaOrder
{
    static abstract void Arrange(ref ulong x, ref ulong y, ref ulong z);
}

/// <summary>First times third plus second.</summary>
internal readonly struct Order132 : IFmaOrder
{
    public static void Arrange(ref ulong x, ref ulong y, ref ulong z) => (y, z) = (z, y);
}

/// <summary>Second times first plus third.</summary>
internal readonly struct Order213 : IFmaOrder
{
    public static void Arrange(ref ulong x, ref ulong y, ref ulong z) => (x, y) = (y, x);
}

/// <summary>Second times third plus first.</summary>
internal readonly struct Order231 : IFmaOrder
{
    public static void Arrange(ref ulong x, ref ulong y, ref ulong z) => (x, y, z) = (y, z, x);
}
