namespace Dromaius.Cpu.X86;

/// <summary>A CPU model with its features: what CPUID says and what decodes.</summary>
public sealed class X86Model
{
    private readonly uint[] _words = new uint[Enum.GetValues<FeatureWord>().Length];

    public required string Name { get; init; }

    public bool Has(X86Feature feature) => (_words[(int)feature >> 5] >> ((int)feature & 31) & 1) != 0;
}
