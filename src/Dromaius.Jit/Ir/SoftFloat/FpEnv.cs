namespace Dromaius.Jit.Ir.SoftFloat;

/// <summary>Rounding modes as MXCSR.RC and the x87 control word encode them.</summary>
public enum FpRounding : byte
{
    Nearest = 0, Down = 1, Up = 2, TowardZero = 3,
}

/// <summary>Exception flags in their places in MXCSR and the x87 status word.</summary>
public static class FpFlags
{
    public const uint Invalid = 1, Denormal = 2, ZeroDivide = 4, Overflow = 8, Underflow = 0x10, Inexact = 0x20;

    /// <summary>Those found before a result is computed.</summary>
    public const uint PreComputation = Invalid | Denormal | ZeroDivide;
    public const uint All = 0x3F;
}

/// <summary>How to compute, and what exceptions it raised.</summary>
public struct FpEnv
{
    /// <summary>Raised so far (<see cref="FpFlags"/>).</summary>
    public uint Flags;

    /// <summary>The last rounding went away from zero.</summary>
    public bool RoundedUp;

    /// <summary>Exceptions that are masked, one bit each.</summary>
    public uint Masks;
    public FpRounding Rounding;

    /// <summary>Denormal operands count as zeros.</summary>
    public bool DenormalsAreZeros;

    /// <summary>Tiny results become zeros (while underflow is masked).</summary>
    public bool FlushToZero;

    /// <summary>The environment of MXCSR (Intel SDM volume 1, section 10.2.3); the flags start empty.</summary>
    public static FpEnv FromMxcsr(uint mxcsr) => new()
    {
        Masks = mxcsr >> 7 & FpFlags.All,
        Rounding = (FpRounding)(mxcsr >> 13 & 3),
        DenormalsAreZeros = (mxcsr & 0x40) != 0,
        FlushToZero = (mxcsr & 0x8000) != 0,
    };
}
