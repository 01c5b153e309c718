namespace Dromaius.Cpu.X86;

/// <summary>Where the translator reads guest code.</summary>
public interface ICodeFetcher
{
    /// <summary>
    /// Copies code at a linear address, translated as an instruction fetch of the running privilege. Gives how many bytes could be had
    /// without a fault: 0 when the first one faults. Raises nothing.
    /// </summary>
    int Fetch(ulong linear, Span<byte> into);
}
