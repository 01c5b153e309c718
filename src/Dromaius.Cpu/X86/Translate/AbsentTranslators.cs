namespace Dromaius.Cpu.X86;

// Delete each as the translator of that name lands.

internal static class VectorTranslator
{
    public static bool TryEmit(X86Emitter e) => false;
}

internal static class FpuTranslator
{
    public static bool TryEmit(X86Emitter e) => false;
}
