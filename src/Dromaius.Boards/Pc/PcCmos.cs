using Dromaius.Core.Errors;
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
        // Equipment: coprocessor, PS/2 mouse; no floppy drives.
        rtc[0x10] = 0;
        rtc[0x14] = 0x06;
    }

    /// <summary>Boot devices, best first: floppy a and b, disk c, CD-ROM d, network n to p.</summary>
    public static void SetBootOrder(Mc146818 rtc, string order)
    {
        var codes = new int[3];
        for (var i = 0; i < order.Length && i < codes.Length; i++)
            codes[i] = Code(order[i]);
        rtc[0x3D] = (byte)(codes[0] | (codes[1] << 4));
        // Bit 0: do not check a floppy's boot signature.
        rtc[0x38] = (byte)(codes[2] << 4);
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
