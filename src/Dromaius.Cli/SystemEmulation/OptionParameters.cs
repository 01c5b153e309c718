using Dromaius.Control;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>The parameters of options, as management tools ask for them (<c>query-command-line-options</c>).</summary>
internal static class OptionParameters
{
    public static IReadOnlyList<CommandLineOption> All { get; } =
    [
        Of("machine", "type accel smm:boolean acpi:boolean graphics:boolean hpet:boolean i8042:boolean kernel-irqchip usb:boolean vmport:boolean "
            + "max-ram-below-4g:size dump-guest-core:boolean mem-merge:boolean firmware"),
        Of("memory", "size:size slots:number maxmem:size"),
        Of("smp-opts", "cpus:number sockets:number dies:number cores:number threads:number maxcpus:number"),
        Of("boot-opts", "order once menu:boolean splash splash-time reboot-timeout strict:boolean"),
        Of("rtc", "base clock driftfix"),
        Of("accel", "accel tb-size:number thread"),
        Of("name", "guest process debug-threads:boolean"),
        Of("chardev", "backend path host port id to ipv4:boolean ipv6:boolean wait:boolean server:boolean delay:boolean nodelay:boolean reconnect:number "
            + "telnet:boolean mux:boolean signal:boolean name debug:number size:size append:boolean logfile logappend:boolean input-path"),
        Of("mon", "mode chardev pretty:boolean"),
        Of("device", ""),
        Of("global", "driver property value"),
        Of("fw_cfg", "name file string gen_id"),
        Of("msg", "timestamp:boolean guest-name:boolean"),
        Of("overcommit", "mem-lock:boolean cpu-pm:boolean"),
        Of("action", "shutdown reboot panic watchdog"),
        Of("drive", "bus unit:number index:number media if file format id werror rerror readonly:boolean cache aio discard detect-zeroes snapshot:boolean"),
        Of("blockdev", ""),
    ];

    private static CommandLineOption Of(string name, string parameters) => new(name,
        [.. parameters.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(static p => p.Split(':') is [var n, var t] ? (n, t) : (p, "string"))]);
}
