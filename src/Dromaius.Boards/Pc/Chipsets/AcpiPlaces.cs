namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>Addresses in the ACPI tables that firmware chooses.</summary>
/// <param name="PmBase">The power management block.</param>
/// <param name="GpeBase">The general purpose events.</param>
/// <param name="GpeLength">Their length in bytes.</param>
/// <param name="ConfigWindow">Memory-mapped configuration space; null for none.</param>
internal readonly record struct AcpiPlaces(uint PmBase, uint GpeBase, byte GpeLength, (ulong Base, ulong Size)? ConfigWindow);
