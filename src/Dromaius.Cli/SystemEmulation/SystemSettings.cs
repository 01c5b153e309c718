using Dromaius.Boards;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>An argument with the option that it belongs to, for messages.</summary>
internal readonly record struct Argument(string Option, string Value)
{
    /// <summary>As the user wrote it.</summary>
    public string Text => $"-{Option} {Value}";
}

/// <summary>A monitor to make: on which device, speaking which protocol.</summary>
internal sealed record MonitorOption(Argument Device, bool Machine, bool Pretty);

/// <summary>What a command line of <c>dromaius-system-*</c> says, before anything is made of it.</summary>
internal sealed class SystemSettings
{
    public string? Machine { get; set; }
    public List<KeyValuePair<string, string>> MachineProperties { get; } = [];

    /// <summary>Accelerators in the order to try.</summary>
    public List<Argument> Accelerators { get; } = [];
    public AcceleratorKind Accelerator { get; set; } = AcceleratorKind.Translator;
    public bool SingleThread { get; set; }
    public TraceKind Traces { get; set; }
    public ulong? CodeCacheSize { get; set; }
    public bool PerfMap { get; set; }
    public string? Cpu { get; set; }
    public SmpOption Smp { get; set; } = new();
    public Argument? SmpArgument { get; set; }
    public ulong RamSize { get; set; } = 128UL << 20;
    public Argument? RamArgument { get; set; }
    public string? Bios { get; set; }
    public List<string> FirmwarePath { get; } = [];
    public string? Kernel { get; set; }
    public string? Initrd { get; set; }
    public string? Append { get; set; }
    public BootOption Boot { get; set; } = new();
    public RtcOption Rtc { get; set; } = new();
    public string? Name { get; set; }
    public Guid? Uuid { get; set; }
    public VgaKind? Vga { get; set; }

    public List<OptionList> Chardevs { get; } = [];
    public List<Argument> Serial { get; } = [];
    public List<Argument> Parallel { get; } = [];
    public Argument? DebugConsole { get; set; }

    /// <summary>False once <c>-monitor</c> or <c>-mon</c> was given, <c>-monitor none</c> included.</summary>
    public bool DefaultMonitor { get; set; } = true;
    public List<MonitorOption> Monitors { get; } = [];
    public byte EscapeCharacter { get; set; } = 1;

    public List<DeviceOption> Devices { get; } = [];
    public List<GlobalProperty> Globals { get; } = [];
    public List<FwCfgOption> FwCfg { get; } = [];
    public List<SmbiosOption> Smbios { get; } = [];
    public List<AcpiTableOption> AcpiTables { get; } = [];

    /// <summary><c>-drive</c> and its short forms, in order.</summary>
    public List<Argument> Drives { get; } = [];

    /// <summary><c>-blockdev</c>, in order.</summary>
    public List<Argument> BlockNodes { get; } = [];
    public bool Snapshot { get; set; }

    /// <summary><c>-netdev</c>, <c>-nic</c> and <c>-net</c>, in order.</summary>
    public List<Argument> Networks { get; } = [];

    /// <summary><c>-object</c>, in order.</summary>
    public List<Argument> Objects { get; } = [];

    /// <summary>False once a backend or an adapter was asked for, or none.</summary>
    public bool DefaultNetwork { get; set; } = true;

    public bool NoDefaults { get; set; }
    public bool NoGraphic { get; set; }
    public bool StartPaused { get; set; }
    public RebootAction OnReboot { get; set; } = RebootAction.Reset;
    public ShutdownAction OnShutdown { get; set; } = ShutdownAction.Poweroff;
    public PanicAction OnPanic { get; set; } = PanicAction.Shutdown;
    public string? PidFile { get; set; }
    public bool Daemonize { get; set; }
    public LogItems Log { get; set; }
    public string? LogFile { get; set; }

    /// <summary>Where a test that drives the devices talks.</summary>
    public Argument? Qtest { get; set; }
    public string? QtestLog { get; set; }
}
