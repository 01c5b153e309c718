using System.Runtime.Intrinsics.X86;

namespace Dromaius.Jit.X64;

/// <summary>What the host processor has beyond x86-64-v2.</summary>
internal static class HostFeatures
{
    public static readonly bool Bmi2 = System.Runtime.Intrinsics.X86.Bmi2.X64.IsSupported;
    public static readonly bool Bmi1 = System.Runtime.Intrinsics.X86.Bmi1.X64.IsSupported;
    public static readonly bool Lzcnt = System.Runtime.Intrinsics.X86.Lzcnt.X64.IsSupported;
    public static readonly bool Avx = System.Runtime.Intrinsics.X86.Avx.IsSupported;
    public static readonly bool Avx2 = System.Runtime.Intrinsics.X86.Avx2.IsSupported;
    public static readonly bool Fma = System.Runtime.Intrinsics.X86.Fma.IsSupported;

    /// <summary>The least the native back end needs.</summary>
    public static readonly bool Supported = Sse42.X64.IsSupported && Popcnt.X64.IsSupported;
}
