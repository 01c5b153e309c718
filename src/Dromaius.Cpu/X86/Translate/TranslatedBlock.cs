namespace Dromaius.Cpu.X86;

/// <summary>What one call of the translator covered.</summary>
/// <param name="Length">Guest bytes translated, from the start address.</param>
/// <param name="Instructions">Guest instructions translated.</param>
/// <param name="WatchLength">
/// Bytes from the start address on that the code depends on: at least <paramref name="Length"/>, more when instructions after the block
/// were looked at to drop dead flags. Writes to any of them make the translation stale.
/// </param>
/// <param name="WatchBefore">Bytes before the start address that the code depends on in the same way.</param>
public readonly record struct TranslatedBlock(int Length, int Instructions, int WatchLength, int WatchBefore);
