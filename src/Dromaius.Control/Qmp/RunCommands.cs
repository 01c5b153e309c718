using System.Text.Json.Nodes;
using Dromaius.Boards;

namespace Dromaius.Control.Qmp;

/// <summary>Running, stopping and the program itself.</summary>
internal sealed class RunCommands
{
    public const string Schema = """
        enum RunState = debug inmigrate internal-error io-error paused postmigrate prelaunch finish-migrate restore-vm running save-vm shutdown suspended watchdog guest-panicked colo
        enum ShutdownCause = none host-error host-qmp-quit host-qmp-system-reset host-signal host-ui guest-shutdown guest-reset guest-panic subsystem-reset snapshot-load
        enum RebootAction = reset shutdown
        enum ShutdownAction = poweroff pause
        enum PanicAction = pause shutdown exit-failure none
        enum WatchdogAction = reset shutdown poweroff pause debug none inject-nmi
        enum GuestPanicAction = pause poweroff run
        struct StatusInfo = running: bool, singlestep: bool, status: RunState
        struct VersionTriple = major: int, minor: int, micro: int
        struct VersionInfo = qemu: VersionTriple, package: str
        struct NameInfo = name?: str
        struct UuidInfo = UUID: str
        struct KvmInfo = enabled: bool, present: bool
        enum SysEmuTarget = aarch64 alpha arm avr cris hppa i386 loongarch64 m68k microblaze microblazeel mips mips64 mips64el mipsel nios2 or1k ppc ppc64 riscv32 riscv64 rx s390x sh4 sh4eb sparc sparc64 tricore x86_64 xtensa xtensaeb
        struct TargetInfo = arch: SysEmuTarget
        struct CurrentMachineParams = wakeup-suspend-support: bool
        enum HumanFormat = none
        struct HumanReadableText = human-readable-text: str
        command query-status -> StatusInfo
        command stop
        command cont
        command system_reset
        command system_powerdown
        command system_wakeup
        command quit
        command inject-nmi
        command query-version -> VersionInfo
        command query-name -> NameInfo
        command query-uuid -> UuidInfo
        command query-kvm -> KvmInfo
        command query-target -> TargetInfo
        command query-current-machine -> CurrentMachineParams
        command set-action(reboot?: RebootAction, shutdown?: ShutdownAction, panic?: PanicAction, watchdog?: WatchdogAction)
        command watchdog-set-action(action: WatchdogAction)
        command human-monitor-command(command-line: str, cpu-index?: int) -> str
        command rtc-reset-reinjection
        event STOP
        event RESUME
        event RESET(guest: bool, reason: ShutdownCause)
        event SHUTDOWN(guest: bool, reason: ShutdownCause)
        event POWERDOWN
        event SUSPEND
        event WAKEUP
        event GUEST_PANICKED(action: GuestPanicAction)
        event GUEST_CRASHLOADED(action: GuestPanicAction)
        event RTC_CHANGE(offset: int, qom-path: str)
        """;

    private readonly IMachineControl _machine;
    private readonly HmpCommands _human;

    public RunCommands(IMachineControl machine)
    {
        _machine = machine;
        _human = new HmpCommands(machine);
        Table = new()
        {
            ["query-status"] = _ => Status(),
            ["stop"] = _ => QmpCommands.Do(machine.Stop),
            ["cont"] = _ => QmpCommands.Do(machine.Continue),
            ["system_reset"] = _ => QmpCommands.Do(machine.Reset),
            ["system_powerdown"] = _ => QmpCommands.Do(machine.PowerDown),
            ["system_wakeup"] = _ => throw QmpErrorException.Generic("Unable to wake up: guest is not in suspended state"),
            ["quit"] = _ => QmpCommands.Do(machine.Quit),
            ["inject-nmi"] = _ => QmpCommands.Do(machine.Nmi),
            ["query-version"] = _ => Version(),
            ["query-name"] = _ => machine.Name is { } name ? new JsonObject { ["name"] = name } : null,
            ["query-uuid"] = _ => new JsonObject { ["UUID"] = machine.Uuid.ToString() },
            ["query-kvm"] = _ => new JsonObject { ["enabled"] = false, ["present"] = false },
            ["query-target"] = _ => new JsonObject { ["arch"] = machine.Target },
            ["query-current-machine"] = _ => new JsonObject { ["wakeup-suspend-support"] = false },
            ["set-action"] = SetAction,
            ["watchdog-set-action"] = static _ => null,
            ["human-monitor-command"] = Human,
            ["rtc-reset-reinjection"] = static _ => null,
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    /// <summary>The version as the greeting has it too.</summary>
    public static JsonObject Version() => new()
    {
        ["qemu"] = new JsonObject
        {
            ["micro"] = Product.QemuMicro, ["minor"] = Product.QemuMinor, ["major"] = Product.QemuMajor,
        },
        ["package"] = $"Dromaius {Product.Version}",
    };

    private JsonObject Status() => new()
    {
        ["status"] = _machine.State switch
        {
            RunState.Running => "running",
            RunState.PreLaunch => "prelaunch",
            RunState.Shutdown => "shutdown",
            RunState.GuestPanicked => "guest-panicked",
            RunState.IoError => "io-error",
            RunState.InternalError => "internal-error",
            _ => "paused",
        },
        ["singlestep"] = false,
        ["running"] = _machine.State == RunState.Running,
    };

    private JsonNode? SetAction(QmpArguments a)
    {
        if (a.OptionalText("reboot") is { } reboot)
            _machine.OnReboot = reboot == "shutdown" ? RebootAction.Shutdown : RebootAction.Reset;
        if (a.OptionalText("shutdown") is { } shutdown)
            _machine.OnShutdown = shutdown == "pause" ? ShutdownAction.Pause : ShutdownAction.Poweroff;
        if (a.OptionalText("panic") is { } panic)
        {
            _machine.OnPanic = panic switch
            {
                "pause" => PanicAction.Pause,
                "exit-failure" => PanicAction.ExitFailure,
                "none" => PanicAction.None,
                _ => PanicAction.Shutdown,
            };
        }

        return null;
    }

    private JsonValue Human(QmpArguments a)
    {
        var cpu = a.Integer("cpu-index");
        if (cpu < 0 || (a.Has("cpu-index") && cpu >= _machine.Cpus.Count))
            throw QmpErrorException.Generic("Parameter 'cpu-index' expects a CPU number");
        if (a.Has("cpu-index"))
            _human.SelectCpu((int)cpu);
        return JsonValue.Create(_human.Execute(a.Text("command-line")).Replace("\n", "\r\n"));
    }
}
