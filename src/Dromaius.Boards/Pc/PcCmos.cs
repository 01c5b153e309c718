using Dromaius.Core.Errors;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Timers;

namespace Dromaius.Boards.Pc;

/// <summary>What PC firmware reads from CMOS memory: sizes, equipment, boot order (the Bochs BIOS's layout beyond the AT's).</summary>
internal static class PcCmos
{
    public static void Fill(Mc146818 rtc, CpuTopology topology, PcMemoryLayout layout)
    {
        const ulong MiB = 1 << 20;
        const int BaseKib = 640;
        rtc[0x15] = BaseKib & 0xFF;
        rtc[0x16] = BaseKib >> 8;
        var extended = layout.BelowSize > MiB ? Math.Min((layout.BelowSize - MiB) >> 10, 65535) : 0;
        rtc[0x17] = rtc[0x30] = (byte)extended;
        rtc[0x18] = rtc[0x31] = (byte)(extended >> 8);
        var above16 = layout.BelowSize > 16 * MiB ? Math.Min((layout.BelowSize - (16 * MiB)) >> 16, 65535) : 0;
        rtc[0x34] = (byte)above16;
        rtc[0x35] = (byte)(above16 >> 8);
        var above4G = layout.AboveSize >> 16;
        rtc[0x5B] = (byte)above4G;
        rtc[0x5C] = (byte)(above4G >> 8);
        rtc[0x5D] = (byte)(above4G >> 16);
        rtc[0x5F] = (byte)(topology.Cpus - 1);
        // Equipment: coprocessor, PS/2 mouse.
        rtc[0x14] = 0x06;
    }

    /// <summary>Types of the two floppy drives, and how many there are.</summary>
    public static void SetFloppies(Mc146818 rtc, FloppyDriveType first, FloppyDriveType second)
    {
        rtc[0x10] = (byte)((int)first << 4 | (int)second);
        var count = (first != FloppyDriveType.None ? 1 : 0) + (second != FloppyDriveType.None ? 1 : 0);
        rtc[0x14] = (byte)(0x06 | (count == 0 ? 0 : 1 | (count - 1) << 6));
    }

    /// <summary>The user-defined types 47 of the two disks of the primary channel, and the translation of all four.</summary>
    public static void SetDisks(Mc146818 rtc, IReadOnlyList<DiskGeometry?> disks)
    {
        var types = 0;
        var translations = 0;
        for (var i = 0; i < disks.Count; i++)
        {
            if (disks[i] is not { } disk)
                continue;
            translations |= (int)disk.Translation << (2 * i);
            if (i > 1)
                continue;
            types |= i == 0 ? 0xF0 : 0x0F;
            rtc[0x19 + i] = 47;
            var at = i == 0 ? 0x1B : 0x24;
            rtc[at] = rtc[at + 6] = (byte)disk.Cylinders;
            rtc[at + 1] = rtc[at + 7] = (byte)(disk.Cylinders >> 8);
            rtc[at + 2] = (byte)disk.Heads;
            rtc[at + 3] = rtc[at + 4] = 0xFF;
            rtc[at + 5] = (byte)(0xC0 | (disk.Heads > 8 ? 8 : 0));
            rtc[at + 8] = (byte)disk.Sectors;
        }

        rtc[0x12] = (byte)types;
        rtc[0x39] = (byte)translations;
    }

    /// <summary>Boot devices, best first: floppy a and b, disk c, CD-ROM d, network n to p.</summary>
    public static void SetBootOrder(Mc146818 rtc, string order, bool checkFloppy)
    {
        var codes = new int[3];
        for (var i = 0; i < order.Length && i < codes.Length; i++)
            codes[i] = Code(order[i]);
        rtc[0x3D] = (byte)(codes[0] | (codes[1] << 4));
        // Bit 0: do not check a floppy's boot signature.
        rtc[0x38] = (byte)((codes[2] << 4) | (checkFloppy ? 0 : 1));
    }

    private static int Code(char drive) => drive switch
    {
        'a' or 'b' => 1,
        'c' => 2,
        'd' => 3,
        'n' or 'o' or 'p' => 4,
        _ => throw new UserErrorException($"Invalid boot device for PC: '{drive}'"),
    };
}
