using Dromaius.Boards;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Storage;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Running, stopping, logging.</summary>
internal static class ExpertOptions
{
    public static readonly OptionSpec[] All =
    [
        new("S", null, "freeze CPU at startup (use 'c' to start execution)", static (s, _) => s.StartPaused = true),
        new("no-reboot", null, "exit instead of rebooting", static (s, _) => s.OnReboot = RebootAction.Shutdown),
        new("no-shutdown", null, "stop before shutdown", static (s, _) => s.OnShutdown = ShutdownAction.Pause),
        new("action", "reboot=reset|shutdown|shutdown=poweroff|pause|panic=pause|shutdown|exit-failure|none",
            "action when the guest reboots, shuts down or panics", Action),
        new("pidfile", "file", "write PID to 'file'", static (s, a) => s.PidFile = a.Value),
        new("daemonize", null, "daemonize after initializing", static (s, _) => s.Daemonize = true),
        new("d", "item1,...", "enable logging of specified items (use '-d help' for a list of log items)", static (s, a) =>
            s.Log |= LogOption.Parse(a.Value)),
        new("D", "logfile", "output log to logfile (default stderr)", static (s, a) => s.LogFile = a.Value),
        new("perfmap", null, "generate a /tmp/perf-${pid}.map file for perf", static (s, _) => s.PerfMap = true),
        new("enable-kvm", null, null, static (s, _) =>
            throw new UserErrorException("KVM is not available in this version (try -accel tcg)")),
        new("no-user-config", null, "do not load default user-provided config files at startup", static (_, _) => { }),
        new("nodefaults", null, "don't create default devices", static (s, _) => s.NoDefaults = true),
        new("readconfig", "<file>", "read config file", static (s, a) => ConfigFile.Read(s, a.Value)),
        new("msg", "[timestamp[=on|off]][,guest-name=[on|off]]", null, static (_, a) => OptionList.Parse(a.Value)),
        new("overcommit", "[mem-lock=on|off][,cpu-pm=on|off]", null, static (s, a) =>
        {
            var list = OptionList.Parse(a.Value);
            _ = list.TakeBool("mem-lock", false);
            _ = list.TakeBool("cpu-pm", false);
            list.RejectUntaken();
        }),
        new("set", "group.id.arg=value", """
            set <arg> parameter for item <id> of type <group>
            i.e. -set drive.$id.file=/path/to/image
            """, Set),
        new("add-fd", "fd=fd,set=set[,opaque=opaque]", "Add 'fd' to fd 'set'", AddDescriptor),
        new("qtest", "CHR", "specify tracing options and drive the devices from a test (with -accel qtest)", static (s, a) => s.Qtest = a),
        new("qtest-log", "LOG", null, static (s, a) => s.QtestLog = a.Value),
        new("seed", "number", null, static (_, _) => { }),
        new("singlestep", null, null, static (_, _) => { }),
        new("sandbox", "on|off", null, static (_, a) =>
        {
            var enable = a.Value.Split(',')[0];
            if (enable is not ("on" or "off" or "enable=on" or "enable=off"))
                throw new UserErrorException("Parameter 'enable' expects 'on' or 'off'");
            if (enable.EndsWith("on", StringComparison.Ordinal))
                throw new UserErrorException("the seccomp filter is not available in this version");
        }),
    ];

    /// <summary>A property of a device that an option before this one describes.</summary>
    private static void Set(SystemSettings settings, Argument argument)
    {
        var text = argument.Value;
        var first = text.IndexOf('.');
        var second = first < 0 ? -1 : text.IndexOf('.', first + 1);
        var equals = second < 0 ? -1 : text.IndexOf('=', second);
        if (equals < 0)
            throw new UserErrorException($"can't parse: \"{text}\"");
        var (group, id, name, value) = (text[..first], text[(first + 1)..second], text[(second + 1)..equals], text[(equals + 1)..]);
        switch (group)
        {
            case "device":
                var at = settings.Devices.FindIndex(d => d.Properties.Any(p => p.Key == "id" && p.Value == id));
                if (at < 0)
                    break;
                var device = settings.Devices[at];
                settings.Devices[at] = device with { Properties = [.. device.Properties.Where(p => p.Key != name), new(name, value)] };
                return;
            case "drive":
                var drive = settings.Drives.FindIndex(d => d.Option == "drive" && OptionList.Parse(d.Value).Take("id") == id);
                if (drive < 0)
                    break;
                var items = OptionList.Parse(settings.Drives[drive].Value).Items.Where(p => p.Key != name).Append(new(name, value));
                settings.Drives[drive] = new Argument("drive", string.Join(',', items.Select(static p => $"{p.Key}={p.Value.Replace(",", ",,")}")));
                return;
        }

        throw new UserErrorException($"there is no {group} \"{id}\" defined");
    }

    private static void AddDescriptor(SystemSettings settings, Argument argument)
    {
        var list = OptionList.Parse(argument.Value);
        var fd = (int)OptionValue.Number("fd", list.TakeRequired("fd"), int.MinValue, int.MaxValue);
        var set = OptionValue.Number("set", list.TakeRequired("set"), int.MinValue, int.MaxValue);
        var opaque = list.Take("opaque");
        list.RejectUntaken();
        if (fd < 0)
            throw new UserErrorException("fd option is required and must be non-negative");
        if (fd <= 2)
            throw new UserErrorException("fd cannot be a standard I/O stream");
        if (set < 0)
            throw new UserErrorException("set option is required and must be non-negative");
        if (!DescriptorSets.TryDuplicate(fd, out var copy))
            throw new UserErrorException("fd is not valid or already in use");
        _ = DescriptorSets.Add(set, copy, opaque);
    }

    private static void Action(SystemSettings settings, Argument argument)
    {
        foreach (var (key, value) in OptionList.Parse(argument.Value).Items)
        {
            switch (key, value)
            {
                case ("reboot", "reset"):
                    settings.OnReboot = RebootAction.Reset;
                    break;
                case ("reboot", "shutdown"):
                    settings.OnReboot = RebootAction.Shutdown;
                    break;
                case ("shutdown", "poweroff"):
                    settings.OnShutdown = ShutdownAction.Poweroff;
                    break;
                case ("shutdown", "pause"):
                    settings.OnShutdown = ShutdownAction.Pause;
                    break;
                case ("panic", "pause"):
                    settings.OnPanic = PanicAction.Pause;
                    break;
                case ("panic", "shutdown"):
                    settings.OnPanic = PanicAction.Shutdown;
                    break;
                case ("panic", "exit-failure"):
                    settings.OnPanic = PanicAction.ExitFailure;
                    break;
                case ("panic", "none"):
                    settings.OnPanic = PanicAction.None;
                    break;
                case ("watchdog", _):
                    break; // there is no watchdog device whose action this could be
                case ("reboot" or "shutdown" or "panic", _):
                    throw new UserErrorException($"Parameter '{key}' does not accept value '{value}'");
                default:
                    throw new UserErrorException($"Invalid parameter '{key}'{NearestNames.Hint(key, ["reboot", "shutdown", "panic", "watchdog"])}");
            }
        }
    }
}
