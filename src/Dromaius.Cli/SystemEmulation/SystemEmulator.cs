using System.Runtime.InteropServices;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Boards;
using Dromaius.Consoles;
using Dromaius.Control;
using Dromaius.Control.Qmp;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Processes;
using Dromaius.Core.Time;
using Dromaius.Devices.Input;
using Dromaius.Net;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>A run of <c>dromaius-system-*</c>: from the command line to the exit status.</summary>
internal static class SystemEmulator
{
    /// <param name="target">The architecture in the program's name.</param>
    /// <param name="args">The command line without the program's name.</param>
    public static int Run(string target, IReadOnlyList<string> args)
    {
        CrashReport.Install();
        Catalog.Target = target;
        var settings = CommandLineParser.Parse(args);
        StandardOptions.ResolveAccelerators(settings);
        Check(settings);
        if (settings.Daemonize && !Daemon.IsChild)
            return Daemon.Start();
        return Run(settings, target);
    }

    /// <summary>What can be told to be wrong before anything is made.</summary>
    private static void Check(SystemSettings settings)
    {
        // Only where something would be put on the terminal that a daemon has not.
        if (settings.NoGraphic && settings.Daemonize && !settings.NoDefaults
            && (settings.DefaultMonitor || settings.Serial.Count == 0 || settings.Parallel.Count == 0))
            throw new UserErrorException("-nographic cannot be used with -daemonize");
        if (settings.Kernel == null && settings.Append != null)
            throw new UserErrorException("-append only allowed with -kernel option");
        if (settings.Kernel == null && settings.Initrd != null)
            throw new UserErrorException("-initrd only allowed with -kernel option");
        var type = MachineTypes.Get(settings.Machine ?? MachineTypes.Default.Name);
        if (settings.SmpArgument is { } smp)
            CommandLineParser.InContextOf(smp, () => CpuTopology.Resolve(settings.Smp, type.Name, type.MaxCpus));
        if (settings.RamArgument is { } ram && settings.RamSize > HostMemory.Total())
        {
            CommandLineParser.InContextOf(ram, () => throw new UserErrorException(
                $"cannot set up guest memory 'pc.ram': Cannot allocate memory (the host has {HostMemory.Total() >> 20} MiB)"));
        }
    }

    private static int Run(SystemSettings settings, string target)
    {
        GuestLog.Items = settings.Log;
        if (settings.LogFile is { } log)
            CommandLineParser.InContextOf(new Argument("D", log), () => LogOption.OpenFile(log));

        var loop = new EventLoop(new Lock());
        Machine? machine = null;
        var input = new InputRouter();
        var chardevs = new CharBackendFactory(loop, () => machine!.Quit(), Host.Complain, static line => Host.Print(line + "\n"))
        {
            EscapeCharacter = settings.EscapeCharacter, SerialMouse = id => new SerialMouse(loop, id, input),
        };
        using var consoles = new Consoles(settings, chardevs);
        using var blocks = new BlockGraph(loop);
        using var networks = new NetworkSet(new HostClock(loop), loop.MachineLock) { Warn = static line => Host.Complain("warning: " + line) };
        var forwards = 0;
        networks.OpenChardev = spec => chardevs.Open(spec, $"guestfwd{forwards++}", out _) ?? throw new UserErrorException($"Could not open guest forwarding device '{spec}'");
        try
        {
            var objects = new UserObjects(networks, blocks);
            ObjectOptions.Open(settings, objects, later: false);
            var nics = NetOptions.Open(settings, networks);
            ObjectOptions.Open(settings, objects, later: true);
            machine = Machine.Create(Options(settings, consoles) with
            {
                Input = input,
                Drives = DriveSettings.Open(settings, blocks), Blocks = blocks, Networks = networks, Nics = nics, Objects = objects,
            }, loop);
            networks.WarnLoose();
            var control = new MachineControl(machine, target, consoles.All) 
            {
                DriveMaker = text => DriveSettings.AddLater(settings, blocks, text), ChardevFactory = chardevs,
            };
            StopOnDiskErrors(machine, blocks, control);
            machine.DeviceDeleted += control.ReportDeleted;
            machine.ClockSet += new ClockEvents(control, machine.RealTimeClock).Report;
            CrashReport.Machine = control;
            networks.FilterChanged += nic => NetworkCommands.RaiseFilterChanged(control, nic);
            foreach (var (backend, isMachine, pretty) in consoles.Monitors)
                Attach(control, backend, isMachine, pretty);
            using var qtestLog = settings.QtestLog is { } file and not "none" ? LogOption.Create(file) : null;
            if (consoles.Qtest is { } qtest)
                _ = new QtestServer(qtest, control, qtestLog);
            using var pidFile = settings.PidFile is { } path ? PidFile.Write(path) : null;
            using var signals = new SignalHandlers(machine);
            if (settings.Daemonize)
                Daemon.Ready();
            var status = machine.Run();
            if (machine.Failure is { } failure)
            {
                CrashReport.Write(failure);
                return 134;
            }

            return status;
        }
        finally
        {
            networks.Dispose();
            machine?.Dispose();
            TerminalMode.Restore();
        }
    }

    private static void Attach(MachineControl control, ICharBackend backend, bool machine, bool pretty)
    {
        if (machine)
            _ = new QmpMonitor(backend, control, pretty);
        else
            _ = new HumanMonitor(backend, control);
    }

    private static string MachineName(SystemSettings settings) => settings.Machine ?? MachineTypes.Default.Name;

    private static MachineOptions Options(SystemSettings settings, Consoles consoles) => new()
    {
        Machine = MachineName(settings),
        // Without a display the firmware shows its messages on the first serial port.
        MachineProperties = settings.NoGraphic ? [new("graphics", "off"), .. settings.MachineProperties] : settings.MachineProperties,
        Accelerator = settings.Accelerator,
        SingleThread = settings.SingleThread,
        Traces = settings.Traces,
        CodeCacheSize = settings.CodeCacheSize,
        PerfMap = settings.PerfMap,
        Cpu = settings.Cpu ?? Catalog.DefaultCpu(MachineName(settings)),
        Smp = settings.Smp,
        RamSize = settings.RamSize,
        Bios = settings.Bios,
        FirmwarePath = settings.FirmwarePath,
        Kernel = settings.Kernel,
        Initrd = settings.Initrd,
        Append = settings.Append,
        Boot = settings.Boot,
        Rtc = settings.Rtc,
        Name = settings.Name,
        Uuid = settings.Uuid,
        Vga = settings.Vga,
        Chardevs = consoles.ForDevices,
        Serial = consoles.Serial,
        Parallel = consoles.Parallel,
        DebugConsole = consoles.DebugConsole,
        Devices = settings.Devices,
        Globals = settings.Globals,
        FwCfg = settings.FwCfg,
        Smbios = settings.Smbios,
        AcpiTables = settings.AcpiTables,
        NoDefaults = settings.NoDefaults,
        StartPaused = settings.StartPaused,
        OnReboot = settings.OnReboot,
        OnShutdown = settings.OnShutdown,
        OnPanic = settings.OnPanic,
        Warn = static line => Host.Complain("warning: " + line),
    };

    /// <summary>What <c>werror=stop</c> and <c>rerror=stop</c> ask for: the machine stops, and going on tries the transfers again.</summary>
    private static void StopOnDiskErrors(Machine machine, BlockGraph blocks, MachineControl control)
    {
        blocks.TransferFailed += (backend, operation, error, policy) =>
        {
            BlockEvents.RaiseError(control, backend, operation, error, policy);
            if (policy == ErrorPolicy.Stop)
                machine.StopForIoError();
        };

        blocks.Exports.Deleted += id => BlockEvents.RaiseExportDeleted(control, id);
        machine.Happened += e =>
        {
            if (e.Kind != MachineEventKind.Started)
                return;
            foreach (var backend in blocks.AllBackends)
                backend.Resume();
        };
    }

    /// <summary>Signals that end the emulator in order, and the one that says the terminal is ours again.</summary>
    private sealed class SignalHandlers : IDisposable
    {
        private readonly List<PosixSignalRegistration> _registrations = [];

        public SignalHandlers(Machine machine)
        {
            foreach (var signal in (ReadOnlySpan<PosixSignal>)[PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP])
            {
                _registrations.Add(PosixSignalRegistration.Create(signal, context =>
                {
                    context.Cancel = true;
                    Host.Complain($"terminating on signal {Number(context.Signal)}");
                    machine.RequestShutdown(EventReason.HostSignal);
                }));
            }

            _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGCONT, static _ => TerminalMode.Reenter()));
        }

        public void Dispose()
        {
            foreach (var registration in _registrations)
                registration.Dispose();
        }

        private static int Number(PosixSignal signal) => signal switch
        {
            PosixSignal.SIGHUP => 1,
            PosixSignal.SIGINT => 2,
            _ => 15,
        };
    }
}
