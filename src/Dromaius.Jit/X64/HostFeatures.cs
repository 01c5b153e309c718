using System.Runtime.Intrinsics.X86;

namespace Dromaius.Jit.X64;

/// <summary>
/// What the host processor has beyond x86-64-v2, by CPUID (Intel SDM volume 2, table 3-8). The <c>IsSupported</c> properties
/// would answer for the instruction set that this program was compiled for ahead of time.
/// </summary>
internal static class HostFeatures
{
    private static readonly (int Eax, int Ebx, int Ecx, int Edx) Leaf1 = Leaf(1);
    private static readonly (int Eax, int Ebx, int Ecx, int Edx) Leaf7 = Leaf(7);

    public static readonly bool Aes = Bit(Leaf1.Ecx, 25);
    public static readonly bool Pclmulqdq = Bit(Leaf1.Ecx, 1);

    /// <summary>The processor has it and the operating system saves its registers.</summary>
    public static readonly bool Avx = Bit(Leaf1.Ecx, 28) && Bit(Leaf1.Ecx, 27);
    public static readonly bool Avx2 = Avx && Bit(Leaf7.Ebx, 5);
    public static readonly bool Fma = Avx && Bit(Leaf1.Ecx, 12);
    public static readonly bool Bmi1 = Bit(Leaf7.Ebx, 3);
    public static readonly bool Bmi2 = Bit(Leaf7.Ebx, 8);
    public static readonly bool Lzcnt = Bit(Leaf(unchecked((int)0x8000_0001)).Ecx, 5);

    /// <summary>The least the native back end needs.</summary>
    public static readonly bool Supported = Sse42.X64.IsSupported && Popcnt.X64.IsSupported;

    private static (int Eax, int Ebx, int Ecx, int Edx) Leaf(int number)
    {
        if (!X86Base.IsSupported)
            return default;
        var highest = (uint)X86Base.CpuId(number & unchecked((int)0x8000_0000), 0).Eax;
        return (uint)number <= highest ? X86Base.CpuId(number, 0) : default;
    }

    private static bool Bit(int word, int bit) => (word >> bit & 1) != 0;
}
