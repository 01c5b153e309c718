namespace Dromaius.Jit.Ir;

/// <summary>
/// A temporary that crosses the head of the unit's loop. There, and behind the loop's last store, the CPU state holds the same.
/// </summary>
/// <param name="Value">The temporary.</param>
/// <param name="Offset">Where in the CPU state.</param>
/// <param name="Width">How much; what is beyond is clear in the temporary.</param>
internal readonly record struct CarriedVector(Val Value, int Offset, W Width)
{
    /// <summary>How many a loop may have; operations need some registers too.</summary>
    public const int Most = 8;
}
