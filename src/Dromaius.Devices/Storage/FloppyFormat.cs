namespace Dromaius.Devices.Storage;

/// <summary>Drive types as the CMOS numbers them.</summary>
public enum FloppyDriveType : byte
{
    None = 0,
    Kib360 = 1,
    Mib12 = 2,
    Kib720 = 3,
    Mib144 = 4,
    Mib288 = 5,
}

/// <summary>Data rates as the controller's rate registers code them.</summary>
public enum FloppyRate : byte
{
    Kbps500 = 0,
    Kbps300 = 1,
    Kbps250 = 2,
    Mbps1 = 3,
}

/// <summary>The layout of a diskette, guessed from its size.</summary>
/// <param name="Type">The drive that writes it.</param>
/// <param name="Sectors">Sectors a track.</param>
/// <param name="Tracks">Tracks a side.</param>
/// <param name="Heads">Sides.</param>
/// <param name="Rate">Data rate.</param>
public readonly record struct FloppyFormat(FloppyDriveType Type, int Sectors, int Tracks, int Heads, FloppyRate Rate)
{
    private static readonly FloppyFormat[] All =
    [
        new(FloppyDriveType.Mib144, 18, 80, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib144, 20, 80, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib144, 21, 80, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib144, 21, 82, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib144, 21, 83, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib144, 22, 80, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib144, 23, 80, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib144, 24, 80, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib288, 36, 80, 2, FloppyRate.Mbps1),
        new(FloppyDriveType.Mib288, 39, 80, 2, FloppyRate.Mbps1),
        new(FloppyDriveType.Mib288, 40, 80, 2, FloppyRate.Mbps1),
        new(FloppyDriveType.Mib288, 44, 80, 2, FloppyRate.Mbps1),
        new(FloppyDriveType.Mib288, 48, 80, 2, FloppyRate.Mbps1),
        new(FloppyDriveType.Mib144, 9, 80, 2, FloppyRate.Kbps250),
        new(FloppyDriveType.Mib144, 10, 80, 2, FloppyRate.Kbps250),
        new(FloppyDriveType.Mib144, 10, 82, 2, FloppyRate.Kbps250),
        new(FloppyDriveType.Mib144, 10, 83, 2, FloppyRate.Kbps250),
        new(FloppyDriveType.Mib144, 13, 80, 2, FloppyRate.Kbps250),
        new(FloppyDriveType.Mib144, 14, 80, 2, FloppyRate.Kbps250),
        new(FloppyDriveType.Mib12, 15, 80, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib12, 18, 82, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib12, 18, 83, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib12, 8, 77, 2, FloppyRate.Kbps500),
        new(FloppyDriveType.Mib12, 9, 40, 2, FloppyRate.Kbps300),
        new(FloppyDriveType.Mib12, 9, 40, 1, FloppyRate.Kbps300),
        new(FloppyDriveType.Mib12, 10, 41, 2, FloppyRate.Kbps300),
        new(FloppyDriveType.Mib12, 10, 42, 2, FloppyRate.Kbps300),
        new(FloppyDriveType.Kib360, 8, 40, 2, FloppyRate.Kbps250),
        new(FloppyDriveType.Kib360, 8, 40, 1, FloppyRate.Kbps250),
    ];

    public static readonly FloppyFormat Default = All[0];

    public int TotalSectors => Sectors * Tracks * Heads;

    /// <summary>The format of that many bytes; for an odd size the smallest that holds it, else the largest.</summary>
    public static FloppyFormat Guess(long bytes, FloppyDriveType drive = FloppyDriveType.None)
    {
        var sectors = (bytes + 511) / 512;
        FloppyFormat? exact = null, larger = null;
        foreach (var format in All)
        {
            if (format.TotalSectors == sectors && (exact == null || (format.Type == drive && exact.Value.Type != drive)))
                exact = format;
            if (format.TotalSectors > sectors && (larger == null || format.TotalSectors < larger.Value.TotalSectors))
                larger = format;
        }

        if (exact is { } e)
            return e;
        return larger ?? new FloppyFormat(FloppyDriveType.Mib288, 36, 80, 2, FloppyRate.Mbps1);
    }
}
