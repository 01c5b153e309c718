namespace Dromaius.Cli.SystemEmulation;

/// <summary>Disks, CD-ROMs and floppies.</summary>
internal static class DriveOptions
{
    public static readonly OptionSpec[] All =
    [
        Short("fda", "file", "use 'file' as floppy disk 0 image"),
        Short("fdb", "file", "use 'file' as floppy disk 1 image"),
        Short("hda", "file", "use 'file' as hard disk 0 image"),
        Short("hdb", "file", "use 'file' as hard disk 1 image"),
        Short("hdc", "file", "use 'file' as hard disk 2 image"),
        Short("hdd", "file", "use 'file' as hard disk 3 image"),
        Short("cdrom", "file", "use 'file' as CD-ROM image (CD-ROM is ide1 master)"),
        new("blockdev", "[driver=]driver[,node-name=N][,discard=ignore|unmap][,cache.direct=on|off][,cache.no-flush=on|off][,read-only=on|off]"
            + "[,auto-read-only=on|off][,force-share=on|off][,detect-zeroes=on|off|unmap][,driver specific parameters...]",
            "configure a block backend", static (s, a) => s.BlockNodes.Add(a)),
        new("drive", "[file=file][,if=type][,bus=n][,unit=m][,media=d][,index=i][,cache=writethrough|writeback|none|directsync|unsafe][,format=f]"
            + "[,snapshot=on|off][,rerror=ignore|stop|report][,werror=ignore|stop|report|enospc][,id=name][,aio=threads|native|io_uring]"
            + "[,readonly=on|off][,auto-read-only=on|off][,copy-on-read=on|off][,discard=ignore|unmap][,detect-zeroes=on|off|unmap]",
            "use 'file' as a drive image", static (s, a) => s.Drives.Add(a)),
        Short("mtdblock", "file", "use 'file' as on-board Flash memory image"),
        Short("sd", "file", "use 'file' as SecureDigital card image"),
        Short("pflash", "file", "use 'file' as a parallel flash image"),
        new("snapshot", null, "write to temporary files instead of disk image files", static (s, _) => s.Snapshot = true),
    ];

    private static OptionSpec Short(string name, string arguments, string help) => new(name, arguments, help, static (s, a) => s.Drives.Add(a));
}
