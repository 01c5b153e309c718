using System.Buffers.Binary;
using Dromaius.Block;

namespace Dromaius.Devices.Storage;

/// <summary>How PC firmware translates the geometry of a disk for its int 13h callers (the CMOS codes).</summary>
public enum DiskTranslation : byte
{
    None = 0,
    Lba = 1,
    Large = 2,
    Rechs = 3,
}

/// <summary>Cylinders, heads and sectors a track.</summary>
public readonly record struct DiskGeometry(int Cylinders, int Heads, int Sectors, DiskTranslation Translation)
{
    private const int MaxCylinders = 16383, MaxHeads = 16, MaxSectors = 63;

    /// <summary>
    /// The geometry of a disk: what its partition table was made with, if that says, else 16 heads of 63 sectors. The table's
    /// end addresses are in the translated geometry of the system that wrote it.
    /// </summary>
    public static DiskGeometry Guess(BlockNode? node)
    {
        var sectors = (node?.Length ?? 0) / 512;
        var physical = ForSize(sectors);
        if (node == null || !FromPartitions(node, sectors, out var logical))
            return physical;
        if (logical.Heads > MaxHeads)
        {
            // More heads than the interface has: the firmware translated.
            return physical with
            {
                Translation = physical.Cylinders * physical.Heads <= 131072 && logical.Sectors == MaxSectors && IsShifted(logical.Heads)
                    && physical.Cylinders > 1024 && logical.Heads != 255
                    ? DiskTranslation.Large
                    : DiskTranslation.Lba,
            };
        }

        return logical;
    }

    public static DiskGeometry ForSize(long sectors)
    {
        var cylinders = (int)Math.Clamp(sectors / (MaxHeads * MaxSectors), 2, MaxCylinders);
        return new DiskGeometry(cylinders, MaxHeads, MaxSectors, cylinders <= 1024 ? DiskTranslation.None : DiskTranslation.Lba);
    }

    private static bool IsShifted(int heads) => heads is 32 or 64 or 128;

    private static bool FromPartitions(BlockNode node, long total, out DiskGeometry geometry)
    {
        geometry = default;
        var sector = new byte[512];
        if (total == 0)
            return false;
        try
        {
            node.Read(0, sector);
        }
        catch (BlockException)
        {
            return false;
        }

        if (sector[510] != 0x55 || sector[511] != 0xAA)
            return false;
        for (var i = 0; i < 4; i++)
        {
            var entry = sector.AsSpan(446 + (16 * i), 16);
            var length = BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]);
            var heads = entry[5] + 1;
            var sectors = entry[6] & 63;
            if (length == 0 || entry[5] == 0 || sectors == 0)
                continue;
            var cylinders = total / (heads * sectors);
            if (cylinders is < 1 or > MaxCylinders)
                continue;
            geometry = new DiskGeometry((int)cylinders, heads, sectors, DiskTranslation.None);
            return true;
        }

        return false;
    }
}
