namespace Dromaius.Cpu.X86;

/// <summary>What one call of the translator covered.</summary>
/// <param name="Length">Guest bytes translated, from the start address.</param>
/// <param name="Instructions">Guest instructions translated.</param>
/// <param name="WatchStart">
/// First byte, as a distance from the start address, that the code depends on: 0, or negative when instructions in front of the block
/// were looked at to drop dead flags.
/// </param>
/// <param name="WatchEnd">Distance of the end of what the code depends on: at least <paramref name="Length"/>.</param>
/// <param name="Transient">
/// The code only raises a fetch fault (at its start or behind a page boundary inside its one instruction). It must run once and not be
/// kept: the page may be mapped the next time.
/// </param>
public readonly record struct TranslatedBlock(int Length, int Instructions, int WatchStart, int WatchEnd, bool Transient);
