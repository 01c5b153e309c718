namespace Dromaius.Cpu.X86;

/// <summary>A CPU model with its features: what CPUID says and what decodes.</summary>
public sealed class X86Model
{
    public required string Name { get; init; }
}
