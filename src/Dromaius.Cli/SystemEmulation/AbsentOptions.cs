using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>
/// Options of QEMU for things that this version does not have. Those that scripts give to switch a thing off are accepted;
/// the others are known, so that the message says what is the matter.
/// </summary>
internal static class AbsentOptions
{
    public static readonly OptionSpec[] All =
    [
        new("usb", null, null, static (_, _) => Host.Complain("-usb: warning: USB is not available in this version")),
        new("audiodev", "none,id=id", null, static (_, a) => OnlyNone(a, "audio is")),
        new("mem-prealloc", null, null, static (_, _) => { }),
        new("set", "group.id.arg=value", null, static (_, a) => throw new UserErrorException($"there is no {a.Value.Split('.')[0]} of that id")),
    ];

    /// <summary>Further names, without dashes.</summary>
    public static readonly HashSet<string> Known =
    [
        "numa", "add-fd", "mem-path", "audio-help", "audio",
        "fsdev", "virtfs", "iscsi", "usbdevice", "spice", "portrait", "rotate", "full-screen", "tpmdev", "compat",
        "gdb", "s", "hax", "hvf", "xen-domid", "xen-attach", "xen-domid-restrict", "loadvm", "option-rom", "icount", "watchdog",
        "watchdog-action", "virtioconsole", "tb-size", "incoming", "only-migratable", "chroot", "runas", "prom-env", "semihosting",
        "semihosting-config", "old-param", "writeconfig", "trace", "plugin", "async-teardown", "enable-fips", "dump-vmstate",
        "enable-sync-profile", "dfilter", "dtb", "kernel-irqchip", "curses", "sdl", "alt-grab", "ctrl-grab", "soundhw", "tdf", "no-kvm", "preconfig",
        "g", "jitdump", "run-with",
    ];

    private static void OnlyNone(Argument argument, string what)
    {
        if (OptionList.Parse(argument.Value, "driver").Take("driver") != "none")
            throw new UserErrorException($"{what} not available in this version (only 'none')");
    }
}
