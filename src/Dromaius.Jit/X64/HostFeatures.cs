using System.Runtime.Intrinsics.X86;
using Dromaius.Core.Memory;

namespace Dromaius.Jit.X64;

/// <summary>
/// What the host processor has beyond x86-64-v2, asked of CPUID itself: an ahead-of-time compiled program answers
/// <c>IsSupported</c> for the processor it was compiled for.
/// </summary>
internal static unsafe class HostFeatures
{
    private static readonly (int Eax, int Ebx, int Ecx, int Edx) Leaf1 = Cpuid(1);
    private static readonly (int Eax, int Ebx, int Ecx, int Edx) Leaf7 = Cpuid(7);
    private static readonly (int Eax, int Ebx, int Ecx, int Edx) Extended1 = Cpuid(unchecked((int)0x80000001));

    public static readonly bool Ssse3 = (Leaf1.Ecx & 1 << 9) != 0;
    public static readonly bool Sse41 = (Leaf1.Ecx & 1 << 19) != 0;
    public static readonly bool Sse42 = (Leaf1.Ecx & 1 << 20) != 0;
    public static readonly bool Popcnt = (Leaf1.Ecx & 1 << 23) != 0;
    public static readonly bool Aes = (Leaf1.Ecx & 1 << 25) != 0;
    public static readonly bool Pclmul = (Leaf1.Ecx & 1 << 1) != 0;
    public static readonly bool Sha = (Leaf7.Ebx & 1 << 29) != 0;
    public static readonly bool Lzcnt = (Extended1.Ecx & 1 << 5) != 0 && (Leaf7.Ebx & 1 << 3) != 0; // with TZCNT (BMI1)
    public static readonly bool Bmi2 = (Leaf7.Ebx & 1 << 8) != 0;

    /// <summary>AVX, with the operating system saving the YMM registers.</summary>
    public static readonly bool Avx = (Leaf1.Ecx & 1 << 28) != 0 && (Leaf1.Ecx & 1 << 27) != 0 && (Xcr0() & 6) == 6;
    public static readonly bool Avx2 = Avx && (Leaf7.Ebx & 1 << 5) != 0;
    public static readonly bool Fma = Avx && (Leaf1.Ecx & 1 << 12) != 0;
    public static readonly bool F16c = Avx && (Leaf1.Ecx & 1 << 29) != 0;

    private static (int Eax, int Ebx, int Ecx, int Edx) Cpuid(int leaf)
    {
        if (!X86Base.IsSupported)
            return default;
        var highest = X86Base.CpuId(leaf & int.MinValue, 0).Eax;
        return (uint)highest >= (uint)leaf ? X86Base.CpuId(leaf, 0) : default;
    }

    /// <summary>XGETBV with ECX 0, through a few bytes of machine code: no intrinsic gives it.</summary>
    private static uint Xcr0()
    {
        ReadOnlySpan<byte> code = [0x31, 0xC9, 0x0F, 0x01, 0xD0, 0xC3]; // xor ecx,ecx; xgetbv; ret
        if (!NativeMemory.TryMapDual(4096, out var writable, out var executable))
            return 0;
        code.CopyTo(new Span<byte>(writable, code.Length));
        var value = ((delegate* unmanaged<uint>)executable)();
        NativeMemory.Unmap(writable, 4096);
        NativeMemory.Unmap(executable, 4096);
        return value;
    }
}
