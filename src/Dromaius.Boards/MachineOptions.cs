using Dromaius.Block.Graph;
using Dromaius.Consoles;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Net;

namespace Dromaius.Boards;

/// <summary>Which guest code is translated anew as traces, several blocks at a time.</summary>
public enum TraceKind
{
    /// <summary>What is found running again and again.</summary>
    Hot,

    /// <summary>None.</summary>
    Off,

    /// <summary>All of it, to test the translator.</summary>
    Always,
}

/// <summary>A name with <c>key=value</c> pairs, as in <c>-device isa-debug-exit,iobase=0xf4</c>.</summary>
/// <param name="Name">The driver.</param>
/// <param name="Properties">In the order given; <c>id</c> and <c>bus</c> included.</param>
/// <param name="Text">The option as the user wrote it, for errors: <c>-device isa-debug-exit,iobase=0xf4</c>.</param>
public sealed record DeviceOption(string Name, IReadOnlyList<KeyValuePair<string, string>> Properties, string Text);

/// <summary>A <c>-smp</c> option; what is left out is null and worked out by <see cref="CpuTopology.Resolve"/>.</summary>
public sealed record SmpOption
{
    public int? Cpus { get; init; }
    public int? Sockets { get; init; }
    public int? Dies { get; init; }
    public int? Cores { get; init; }
    public int? Threads { get; init; }
    public int? MaxCpus { get; init; }
}

/// <summary>A <c>-fw_cfg name=NAME,file=FILE</c> or <c>string=TEXT</c>.</summary>
public sealed record FwCfgOption(string? Name, string? File, string? String, string Text);

/// <summary>A <c>-smbios type=N,key=value,...</c> or <c>-smbios file=FILE</c>.</summary>
public sealed record SmbiosOption(IReadOnlyList<KeyValuePair<string, string>> Properties, string Text);

/// <summary>An <c>-acpitable key=value,...</c>.</summary>
public sealed record AcpiTableOption(IReadOnlyList<KeyValuePair<string, string>> Properties, string Text);

/// <summary>The <c>-boot</c> option.</summary>
public sealed record BootOption
{
    /// <summary>Drive letters (a, b floppy; c disk; d CD-ROM; n-p network), best first.</summary>
    public string Order { get; init; } = "cad";

    /// <summary>Order of the first boot only, or null.</summary>
    public string? Once { get; init; }
    public bool Menu { get; init; }

    /// <summary>Milliseconds for the boot menu's splash, or null.</summary>
    public int? SplashTime { get; init; }

    /// <summary>Milliseconds before the firmware tries again after a failed boot; -1 for never; null for unset.</summary>
    public int? RebootTimeout { get; init; }
    public bool Strict { get; init; }
}

public enum RtcBase
{
    Utc,
    LocalTime,
    Date,
}

/// <summary>The <c>-rtc</c> option.</summary>
public sealed record RtcOption
{
    public RtcBase Base { get; init; } = RtcBase.Utc;

    /// <summary>Where the clock starts, for <see cref="RtcBase.Date"/>; UTC.</summary>
    public DateTime Date { get; init; }

    /// <summary>True: the clock follows virtual time (<c>clock=vm</c>) and stops with the machine.</summary>
    public bool FollowsVirtualTime { get; init; }
}

public enum AcceleratorKind
{
    /// <summary>The dynamic translator (<c>-accel tcg</c>).</summary>
    Translator,

    /// <summary>The IR interpreter (<c>-accel interpreter</c>).</summary>
    Interpreter,

    /// <summary>Processors do not run and time stands still: a test drives the devices (<c>-accel qtest</c>).</summary>
    Qtest,
}

public enum RebootAction
{
    Reset,

    /// <summary><c>-no-reboot</c>: a reset request ends the emulator.</summary>
    Shutdown,
}

public enum ShutdownAction
{
    Poweroff,

    /// <summary><c>-no-shutdown</c>: a shutdown request stops the machine and keeps the emulator.</summary>
    Pause,
}

public enum PanicAction
{
    Pause,
    Shutdown,
    ExitFailure,
    None,
}

public enum VgaKind
{
    Standard,
    Cirrus,
    None,
}

/// <summary>
/// A machine as asked for: what a command line, or a test, says, without any syntax. Character devices are made before the
/// machine and passed in; a backend that hears from the outside hands its bytes over on the machine's event loop.
/// </summary>
public sealed record MachineOptions
{
    /// <summary>The machine type, as <c>-machine</c> names it.</summary>
    public string Machine { get; init; } = "pc";

    /// <summary>The other pairs of <c>-machine</c>, without <c>type</c> and <c>accel</c>.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> MachineProperties { get; init; } = [];

    /// <summary>Where events of keyboards and mice go.</summary>
    public InputRouter Input { get; init; } = new();

    /// <summary>Objects that are no devices; null for none.</summary>
    public UserObjects? Objects { get; init; }
    public AcceleratorKind Accelerator { get; init; } = AcceleratorKind.Translator;

    /// <summary>True: all vCPUs take turns on one thread (<c>-accel tcg,thread=single</c>).</summary>
    public bool SingleThread { get; init; }

    /// <summary>Which code becomes traces (<c>-accel tcg,traces=</c>).</summary>
    public TraceKind Traces { get; init; }

    /// <summary>Bytes of translated code to keep (<c>-accel tcg,tb-size=</c> in MiB), or null.</summary>
    public ulong? CodeCacheSize { get; init; }

    /// <summary>Name generated code for the host's perf (<c>-perfmap</c>).</summary>
    public bool PerfMap { get; init; }

    /// <summary>The <c>-cpu</c> string (<c>Haswell,+x2apic</c>), or null for the machine's own.</summary>
    public string? Cpu { get; init; }
    public SmpOption Smp { get; init; } = new();

    /// <summary>RAM in bytes.</summary>
    public ulong RamSize { get; init; } = 128UL << 20;

    /// <summary>The <c>-bios</c> file, or null for the machine's own.</summary>
    public string? Bios { get; init; }

    /// <summary>The <c>-L</c> folders, searched first.</summary>
    public IReadOnlyList<string> FirmwarePath { get; init; } = [];
    public string? Kernel { get; init; }

    /// <summary>The <c>-initrd</c> option; for multiboot a comma-separated list of modules with arguments.</summary>
    public string? Initrd { get; init; }
    public string? Append { get; init; }
    public BootOption Boot { get; init; } = new();
    public RtcOption Rtc { get; init; } = new();
    public string? Name { get; init; }
    public Guid? Uuid { get; init; }

    /// <summary>The <c>-vga</c> adapter; null for the default, which is none with <see cref="NoDefaults"/>.</summary>
    public VgaKind? Vga { get; init; }

    /// <summary>Every character device by id.</summary>
    public IReadOnlyDictionary<string, ICharBackend> Chardevs { get; init; } = new Dictionary<string, ICharBackend>();

    /// <summary>The <c>-serial</c> ports in order: null for none there. Up to four.</summary>
    public IReadOnlyList<ICharBackend?> Serial { get; init; } = [];

    /// <summary>The <c>-parallel</c> ports in order.</summary>
    public IReadOnlyList<ICharBackend?> Parallel { get; init; } = [];

    /// <summary>The <c>-debugcon</c> backend (port 0xE9), or null.</summary>
    public ICharBackend? DebugConsole { get; init; }

    /// <summary>The drives, opened: <c>-drive</c>, <c>-hda</c>, <c>-cdrom</c>, <c>-fda</c>, and the nodes of <c>-blockdev</c>.</summary>
    public IReadOnlyList<DriveOption> Drives { get; init; } = [];
    public IReadOnlyList<DeviceOption> Devices { get; init; } = [];
    public IReadOnlyList<GlobalProperty> Globals { get; init; } = [];
    public IReadOnlyList<FwCfgOption> FwCfg { get; init; } = [];
    public IReadOnlyList<SmbiosOption> Smbios { get; init; } = [];
    public IReadOnlyList<AcpiTableOption> AcpiTables { get; init; } = [];

    /// <summary>The images, by id and node name, that <c>drive=</c> of a device names; null for none.</summary>
    public BlockGraph? Blocks { get; init; }

    /// <summary>The networks that adapters connect to; null for none.</summary>
    public NetworkSet? Networks { get; init; }

    /// <summary>The adapters of <c>-nic</c> and <c>-net nic</c>, or the one by default.</summary>
    public IReadOnlyList<NicOption> Nics { get; init; } = [];

    /// <summary><c>-nodefaults</c>: no default devices.</summary>
    public bool NoDefaults { get; init; }

    /// <summary><c>-S</c>: wait for a continue command.</summary>
    public bool StartPaused { get; init; }
    public RebootAction OnReboot { get; init; } = RebootAction.Reset;
    public ShutdownAction OnShutdown { get; init; } = ShutdownAction.Poweroff;
    public PanicAction OnPanic { get; init; } = PanicAction.Shutdown;

    /// <summary>Where warnings go, one line each, without the program's name.</summary>
    public Action<string> Warn { get; init; } = static _ => { };
}
