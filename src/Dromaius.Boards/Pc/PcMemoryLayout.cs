using Dromaius.Core.Errors;

namespace Dromaius.Boards.Pc;

/// <summary>How RAM is split around the hole below 4 GiB.</summary>
internal sealed record PcMemoryLayout(ulong BelowSize, ulong AboveSize)
{
    public const ulong FourGiB = 1UL << 32;

    public ulong RamEnd => AboveSize > 0 ? FourGiB + AboveSize : BelowSize;

    /// <param name="ram">All RAM in bytes.</param>
    /// <param name="maxBelow">The machine's <c>max-ram-below-4g</c>, or null.</param>
    /// <param name="from">From this size on not all RAM is below 4 GiB.</param>
    /// <param name="to">What is below then; whole gibibytes keep the part above aligned.</param>
    public static PcMemoryLayout Split(ulong ram, ulong? maxBelow, ulong from = 0xE000_0000, ulong to = 0xC000_0000)
    {
        var limit = ram >= from ? to : from;
        if (maxBelow is { } max)
        {
            if (max > FourGiB)
                throw new UserErrorException("option 'max-ram-below-4g' must be less than or equal to 4G");
            limit = Math.Clamp(max, 1 << 20, from);
        }

        return ram > limit ? new PcMemoryLayout(limit, ram - limit) : new PcMemoryLayout(ram, 0);
    }
}
