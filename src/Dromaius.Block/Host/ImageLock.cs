using Dromaius.Core.Storage;

namespace Dromaius.Block.Host;

/// <summary>What a user of an image does with it, or lets others do.</summary>
[Flags]
internal enum ImagePermissions
{
    None = 0,
    ConsistentRead = 1,
    Write = 2,
    WriteUnchanged = 4,
    Resize = 8,
    All = 15,
}

/// <summary>
/// The locks by which programs agree on who uses an image: a byte at 100 and up for each permission held, a byte at 200 and up for
/// each permission that others must not hold, all as shared locks of the open file. QEMU's tools use the same bytes.
/// </summary>
internal static class ImageLock
{
    private const int HeldBase = 100, RefusedBase = 200, Count = 4;
    private static readonly string[] Names = ["consistent read", "write", "write unchanged", "resize"];

    /// <summary>Takes the locks or throws.</summary>
    public static void Acquire(HostDisk disk, ImagePermissions held, ImagePermissions shared)
    {
        for (var i = 0; i < Count; i++)
        {
            if (Has(held, i))
                Take(disk, HeldBase + i);
            if (!Has(shared, i))
                Take(disk, RefusedBase + i);
        }

        for (var i = 0; i < Count; i++)
        {
            if (Has(held, i) && disk.IsByteLocked(RefusedBase + i))
                throw Refused(disk, $"\"{Names[i]}\"");
            if (!Has(shared, i) && disk.IsByteLocked(HeldBase + i))
                throw Refused(disk, $"shared \"{Names[i]}\"");
        }
    }

    /// <summary>Gives back all locks but those.</summary>
    public static void Reduce(HostDisk disk, ImagePermissions held, ImagePermissions shared)
    {
        for (var i = 0; i < Count; i++)
        {
            if (!Has(held, i))
                _ = disk.SetByteLock(HeldBase + i, false);
            if (Has(shared, i))
                _ = disk.SetByteLock(RefusedBase + i, false);
        }
    }

    /// <summary>Gives all locks back.</summary>
    public static void Release(HostDisk disk) => Reduce(disk, ImagePermissions.None, ImagePermissions.All);

    private static void Take(HostDisk disk, int at)
    {
        // A host without such locks (or a read-only network file system) goes without.
        _ = disk.SetByteLock(at, true);
    }

    private static bool Has(ImagePermissions set, int bit) => ((int)set >> bit & 1) != 0;

    private static BlockException Refused(HostDisk disk, string what) =>
        new(BlockError.TryAgain, $"Failed to get {what} lock") { Hint = $"Is another process using the image [{disk.Path}]?" };
}
