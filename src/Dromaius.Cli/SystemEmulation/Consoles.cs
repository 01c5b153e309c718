using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>The character devices of a machine, made from its settings with the defaults for what they leave out.</summary>
internal sealed class Consoles : IDisposable
{
    private readonly CharBackendFactory _factory;
    private readonly List<(ICharBackend Backend, bool Machine, bool Pretty)> _monitors = [];

    public Consoles(SystemSettings settings, CharBackendFactory factory)
    {
        _factory = factory;
        foreach (var options in settings.Chardevs)
            CommandLineParser.InContextOf(new Argument("chardev", options.Source), () => factory.Create(options));

        var (serial, parallel, monitors) = WithDefaults(settings);
        var number = 0;
        foreach (var monitor in monitors)
        {
            var label = $"compat_monitor{number++}";
            CommandLineParser.InContextOf(monitor.Device, () =>
            {
                if (factory.Open(monitor.Device.Value, label, out var shared) is { } backend)
                    _monitors.Add((backend, monitor.Machine, monitor.Pretty));
                AddMonitor(shared);
            });
        }

        Serial = Open(serial, "serial");
        Parallel = Open(parallel, "parallel");
        if (settings.DebugConsole is { } debug)
            DebugConsole = Open([debug], "debugcon")[0];
        if (settings.Qtest is { } qtest)
            Qtest = Open([qtest], "qtest")[0];
        ForDevices = factory.ForDevices();
    }

    public IReadOnlyList<ICharBackend?> Serial { get; }
    public IReadOnlyList<ICharBackend?> Parallel { get; }
    public ICharBackend? DebugConsole { get; }

    public ICharBackend? Qtest { get; }

    /// <summary>What devices may name.</summary>
    public IReadOnlyDictionary<string, ICharBackend> ForDevices { get; }

    /// <summary>Every device by id.</summary>
    public IReadOnlyDictionary<string, ICharBackend> All => _factory.Backends;

    /// <summary>Where monitors are wanted.</summary>
    public IReadOnlyList<(ICharBackend Backend, bool Machine, bool Pretty)> Monitors => _monitors;

    public void Dispose() => _factory.Dispose();

    private void AddMonitor(ICharBackend? shared)
    {
        if (shared != null)
            _monitors.Add((shared, false, false));
    }

    private List<ICharBackend?> Open(List<Argument> arguments, string role)
    {
        var backends = new List<ICharBackend?>();
        foreach (var argument in arguments)
        {
            CommandLineParser.InContextOf(argument, () =>
            {
                var label = role is "debugcon" or "qtest" ? role : $"{role}{backends.Count}";
                backends.Add(_factory.Open(argument.Value, label, out var shared));
                AddMonitor(shared);
            });
        }

        return backends;
    }

    /// <summary>
    /// With <c>-nographic</c> the first serial port and the monitor share the terminal; without a display both are nowhere.
    /// </summary>
    private static (List<Argument> Serial, List<Argument> Parallel, List<MonitorOption> Monitors) WithDefaults(SystemSettings settings)
    {
        var (serial, parallel, monitors) = (settings.Serial, settings.Parallel, settings.Monitors);
        var defaultSerial = serial.Count == 0 && !settings.NoDefaults && !settings.Devices.Exists(static d => d.Name == "isa-serial");
        var defaultMonitor = settings.DefaultMonitor && !settings.NoDefaults
            && !serial.Exists(static s => s.Value.StartsWith("mon:", StringComparison.Ordinal));
        var defaultParallel = parallel.Count == 0 && !settings.NoDefaults && !settings.Devices.Exists(static d => d.Name == "isa-parallel");
        if (settings.NoGraphic && defaultSerial && defaultMonitor)
            serial = [new Argument("serial", "mon:stdio")];
        else if (settings.NoGraphic && defaultMonitor)
            monitors = [.. monitors, new MonitorOption(new Argument("monitor", "stdio"), false, false)];
        else if (defaultSerial)
            serial = [new Argument("serial", settings.NoGraphic ? "stdio" : "null")];
        if (defaultParallel)
            parallel = [new Argument("parallel", "null")];
        return (serial, parallel, monitors);
    }
}
