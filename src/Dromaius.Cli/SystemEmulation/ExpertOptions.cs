using Dromaius.Boards;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

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
        new("overcommit", "[mem-lock=on|off][,cpu-pm=on|off]", null, static (_, a) => OptionList.Parse(a.Value)),
        new("qtest", "CHR", "specify tracing options and drive the devices from a test (with -accel qtest)", static (s, a) => s.Qtest = a),
        new("qtest-log", "LOG", null, static (s, a) => s.QtestLog = a.Value),
        new("seed", "number", null, static (_, _) => { }),
        new("singlestep", null, null, static (_, _) => { }),
        new("sandbox", "on|off", null, static (_, a) =>
        {
            if (a.Value.Split(',')[0] != "off")
                throw new UserErrorException("the seccomp filter is not available in this version");
        }),
    ];

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
