using Dromaius.Core.Errors;

namespace Dromaius.Boards.Pc;

/// <summary>How RAM is split around the hole below 4 GiB.</summary>
internal sealed record PcMemoryLayout(ulong BelowSize, ulong AboveSize)
{
    public const ulong FourGiB = 1UL << 32;

    /// <summary>RAM above this moves beyond 4 GiB to leave room for PCI.</summary>
    private const ulong LowLimit = 0xE000_0000, RoundLimit = 0xC000_0000;

    public ulong RamEnd => AboveSize > 0 ? FourGiB + AboveSize : BelowSize;

    /// <param name="ram">All RAM in bytes.</param>
    /// <param name="maxBelow">The machine's <c>max-ram-below-4g</c>, or null.</param>
    public static PcMemoryLayout Split(ulong ram, ulong? maxBelow)
    {
        // With more RAM than fits, 3 GiB below keep the part above aligned to whole gibibytes.
        var limit = ram >= LowLimit ? RoundLimit : LowLimit;
        if (maxBelow is { } max)
        {
            if (max > FourGiB)
                throw new UserErrorException("option 'max-ram-below-4g' must be less than or equal to 4G");
            limit = Math.Clamp(max, 1 << 20, LowLimit);
        }

        return ram > limit ? new PcMemoryLayout(limit, ram - limit) : new PcMemoryLayout(ram, 0);
    }
}
