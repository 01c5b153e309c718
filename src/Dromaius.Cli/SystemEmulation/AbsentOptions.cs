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
        new("trace", "[[enable=]<pattern>][,events=<file>][,file=<file>]", null, static (_, a) => Trace(a)),
        new("only-migratable", null, null, static (_, _) => { }),
        new("enable-sync-profile", null, null, static (_, _) => { }),
        new("async-teardown", null, null, static (_, _) => { }),
        new("compat", "[deprecated-input=accept|reject|crash][,deprecated-output=accept|hide]", null, static (s, a) =>
        {
            var list = OptionList.Parse(a.Value);
            foreach (var key in (ReadOnlySpan<string>)["deprecated-input", "deprecated-output", "unstable-input", "unstable-output"])
                _ = list.Take(key);
            list.RejectUntaken();
        }),
        new("watchdog-action", "reset|shutdown|poweroff|inject-nmi|pause|debug|none", null, static (_, a) =>
        {
            if (a.Value is not ("reset" or "shutdown" or "poweroff" or "inject-nmi" or "pause" or "debug" or "none"))
                throw new UserErrorException($"Parameter 'watchdog' does not accept value '{a.Value}'");
        }),
    ];

    /// <summary>Further names, without dashes.</summary>
    public static readonly HashSet<string> Known =
    [
        "numa", "mem-path", "audio-help", "audio",
        "fsdev", "virtfs", "iscsi", "usbdevice", "spice", "portrait", "rotate", "full-screen", "tpmdev",
        "gdb", "s", "hax", "hvf", "xen-domid", "xen-attach", "xen-domid-restrict", "loadvm", "option-rom", "icount", "watchdog",
        "virtioconsole", "tb-size", "incoming", "chroot", "runas", "prom-env", "semihosting",
        "semihosting-config", "old-param", "writeconfig", "plugin", "enable-fips", "dump-vmstate",
        "dfilter", "dtb", "kernel-irqchip", "curses", "sdl", "alt-grab", "ctrl-grab", "soundhw", "tdf", "no-kvm", "preconfig",
        "g", "jitdump", "run-with",
    ];

    /// <summary>Nothing can be traced, whatever events are named.</summary>
    private static void Trace(Argument argument)
    {
        var list = OptionList.Parse(argument.Value, "enable");
        if (list.Take("enable") is { } pattern && !pattern.Contains('*', StringComparison.Ordinal))
            Host.Complain(pattern == "help" ? "there are no trace events" : $"{argument.Text}: warning: trace event '{pattern}' does not exist");
        _ = list.Take("events");
        _ = list.Take("file");
        list.RejectUntaken();
    }

    private static void OnlyNone(Argument argument, string what)
    {
        if (OptionList.Parse(argument.Value, "driver").Take("driver") != "none")
            throw new UserErrorException($"{what} not available in this version (only 'none')");
    }
}
