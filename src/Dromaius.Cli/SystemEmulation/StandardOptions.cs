using System.Globalization;
using Dromaius.Boards;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Machine, processors, memory, devices, names.</summary>
internal static class StandardOptions
{
    private static readonly string[] AcceleratorNames = ["tcg", "interpreter", "qtest", "kvm"];

    public static readonly OptionSpec[] All =
    [
        new("h", null, "display this help and exit", static (_, _) => throw new HelpRequestException(HelpText.Options())),
        new("version", null, "display version information and exit", static (_, _) => throw new HelpRequestException(HelpText.Version)),
        new("machine", "[type=]name[,prop[=value][,...]]", """
            selects emulated machine ('-machine help' for list)
            property accel=accel1[:accel2[:...]] selects accelerator
            supported accelerators are tcg and interpreter (default: tcg)
            """, Machine),
        new("cpu", "cpu", "select CPU ('-cpu help' for list)", static (s, a) =>
        {
            if (IsHelp(a.Value))
                throw new HelpRequestException(HelpText.Cpus());
            s.Cpu = a.Value;
        }),
        new("accel", "[accel=]accelerator[,prop[=value][,...]]", """
            select accelerator (tcg or interpreter; use 'help' for a list)
            tb-size=n (size of the code cache in MiB)
            thread=single|multi (one thread for all CPUs, or one each)
            traces=hot|off|always (which code to translate again along its path; default: hot)
            """, static (s, a) => Accel(s, a)),
        new("smp", "[[cpus=]n][,maxcpus=maxcpus][,sockets=sockets][,dies=dies][,cores=cores][,threads=threads]", """
            set the number of initial CPUs to 'n' [default=1]
            maxcpus= maximum number of total CPUs
            sockets= number of sockets on the machine board
            dies= number of dies in one socket
            cores= number of cores in one die
            threads= number of threads in one core
            """, Smp),
        new("global", "driver.property=value", "", Global),
        new("boot", "[order=drives][,once=drives][,menu=on|off][,splash-time=sp_time][,reboot-timeout=rb_time][,strict=on|off]", """
            'drives': floppy (a), hard disk (c), CD-ROM (d), network (n)
            'sp_time': the period that the splash picture lasts if menu=on, in ms
            'rb_timeout': the timeout before guest reboot when boot failed, in ms
            """, Boot),
        new("m", "[size=]megs[,slots=n,maxmem=size]", """
            configure guest RAM
            size: initial amount of guest memory
            slots: number of hotplug slots (default: none)
            maxmem: maximum amount of guest memory (default: none)
            """, Memory),
        new("k", "language", "use keyboard layout (for example 'fr' for French)", static (_, _) => { }),
        new("device", "driver[,prop[=value][,...]]", """
            add device (based on driver)
            prop=value,... sets driver properties
            use '-device help' to print all possible drivers
            use '-device driver,help' to print all possible properties
            """, Device),
        new("name", "string1[,process=string2][,debug-threads=on|off]", "set the name of the guest", static (s, a) =>
        {
            var list = OptionList.Parse(a.Value, "guest");
            s.Name = list.Take("guest");
            _ = list.Take("process");
            _ = list.TakeBool("debug-threads", false);
            list.RejectUntaken();
        }),
        new("uuid", "%08x-%04x-%04x-%04x-%012x", "specify machine UUID", static (s, a) =>
        {
            if (!Guid.TryParseExact(a.Value, "D", out var uuid))
                throw new UserErrorException("failed to parse UUID string: wrong format");
            s.Uuid = uuid;
        }),
    ];

    private static bool IsHelp(string text) => text is "help" or "?";

    private static void Machine(SystemSettings settings, Argument argument)
    {
        var list = OptionList.Parse(argument.Value, "type");
        foreach (var (key, value) in list.Items)
        {
            switch (key)
            {
                case "type" when IsHelp(value):
                case "help" when settings.Machine == null:
                    throw new HelpRequestException(HelpText.Machines());
                case "help":
                    throw new HelpRequestException(HelpText.MachineProperties(settings.Machine));
                case "type":
                    _ = MachineTypes.Get(value);
                    settings.Machine = value;
                    break;
                case "accel":
                    ChooseAccelerator(settings, value.Split(':'));
                    break;
                default:
                    settings.MachineProperties.Add(new(key.Replace('_', '-'), value)); // old spellings have underscores
                    break;
            }
        }
    }

    private static void Accel(SystemSettings settings, Argument argument)
    {
        var list = OptionList.Parse(argument.Value, "accel");
        var name = list.Take("accel") ?? throw new UserErrorException("Parameter 'accel' is missing");
        if (IsHelp(name) || list.Has("help"))
            throw new HelpRequestException(HelpText.Accelerators);
        if (!AcceleratorNames.Contains(name))
            throw new UserErrorException($"invalid accelerator {name}{NearestNames.Hint(name, AcceleratorNames)}");
        settings.Accelerators.Add(argument);
    }

    /// <summary>The first accelerator of the list that works here.</summary>
    public static void ChooseAccelerator(SystemSettings settings, IReadOnlyList<string> names)
    {
        foreach (var name in names)
        {
            switch (name)
            {
                case "tcg":
                    settings.Accelerator = AcceleratorKind.Translator;
                    return;
                case "interpreter":
                    settings.Accelerator = AcceleratorKind.Interpreter;
                    return;
                case "qtest":
                    settings.Accelerator = AcceleratorKind.Qtest;
                    return;
                case "kvm" when names.Count > 1:
                    break;
                case "kvm":
                    throw new UserErrorException("KVM is not available in this version (try -accel tcg)");
                default:
                    throw new UserErrorException($"invalid accelerator {name}{NearestNames.Hint(name, AcceleratorNames)}");
            }
        }

        throw new UserErrorException("no accelerator found");
    }

    /// <summary>Settles the <c>-accel</c> options, the first that works here.</summary>
    public static void ResolveAccelerators(SystemSettings settings)
    {
        foreach (var argument in settings.Accelerators)
        {
            var list = OptionList.Parse(argument.Value, "accel");
            var name = list.Take("accel")!;
            if (name == "kvm" && settings.Accelerators.Count > 1)
                continue;
            CommandLineParser.InContextOf(argument, () =>
            {
                ChooseAccelerator(settings, [name]);
                settings.SingleThread = list.Take("thread") switch
                {
                    null or "multi" => false,
                    "single" => true,
                    var other => throw new UserErrorException($"Invalid 'thread' setting {other}"),
                };
                settings.Traces = list.Take("traces") switch
                {
                    null or "hot" => TraceKind.Hot,
                    "off" => TraceKind.Off,
                    "always" => TraceKind.Always,
                    var other => throw new UserErrorException($"Invalid 'traces' setting {other} (use hot, off or always)"),
                };
                if (list.Take("tb-size") is { } size)
                    settings.CodeCacheSize = (ulong)OptionValue.Number("tb-size", size, 0, 1 << 20) << 20;
                _ = list.Take("split-wx");
                _ = list.Take("one-insn-per-tb");
                list.RejectUntaken();
            });
            return;
        }

        if (settings.Accelerators.Count > 0)
            throw new UserErrorException("KVM is not available in this version (try -accel tcg)");
    }

    private static void Smp(SystemSettings settings, Argument argument)
    {
        int? Count(string key, string value) => (int)OptionValue.Number("smp." + key, value, -1, int.MaxValue);
        var smp = new SmpOption();
        foreach (var (key, value) in OptionList.Parse(argument.Value, "cpus").Items)
        {
            smp = key switch
            {
                "cpus" => smp with { Cpus = Count(key, value) },
                "sockets" => smp with { Sockets = Count(key, value) },
                "dies" => smp with { Dies = Count(key, value) },
                "cores" => smp with { Cores = Count(key, value) },
                "threads" => smp with { Threads = Count(key, value) },
                "maxcpus" => smp with { MaxCpus = Count(key, value) },
                "clusters" => Count(key, value) == 1 ? smp : throw new UserErrorException("clusters not supported by this machine's CPU topology"),
                _ => throw new UserErrorException($"Parameter 'smp.{key}' is unexpected"
                    + NearestNames.Hint(key, ["cpus", "sockets", "dies", "cores", "threads", "maxcpus"])),
            };
        }

        settings.Smp = smp;
        settings.SmpArgument = argument;
    }

    private static void Memory(SystemSettings settings, Argument argument)
    {
        var list = OptionList.Parse(argument.Value, "size");
        if (list.Take("size") is { } size)
        {
            var bytes = OptionValue.Size("size", size, 1UL << 20);
            if (bytes > 0)
                settings.RamSize = (bytes + 8191) & ~8191UL;
        }

        var slots = list.TakeNumber("slots", 0, 0, 256);
        if (list.Take("maxmem") is { } max)
        {
            if (OptionValue.Size("maxmem", max, 1UL << 20) < settings.RamSize)
                throw new UserErrorException("invalid value of maxmem: maximum memory size must be at least the initial memory size");
        }
        else if (slots > 0)
            throw new UserErrorException("slots specified but no max-size");
        list.RejectUntaken();
        settings.RamArgument = argument;
    }

    private static void Boot(SystemSettings settings, Argument argument)
    {
        var list = OptionList.Parse(argument.Value, "order");
        var boot = settings.Boot;
        if (list.Take("order") is { } order)
            boot = boot with { Order = CheckDrives(order) };
        if (list.Take("once") is { } once)
            boot = boot with { Once = CheckDrives(once) };
        boot = boot with { Menu = list.TakeBool("menu", boot.Menu), Strict = list.TakeBool("strict", boot.Strict) };
        if (list.Take("splash-time") is { } time)
            boot = boot with { SplashTime = (int)OptionValue.Number("splash-time", time, 0, 0xFFFF) };
        if (list.Take("reboot-timeout") is { } timeout)
            boot = boot with { RebootTimeout = (int)OptionValue.Number("reboot-timeout", timeout, -1, 0xFFFF) };
        _ = list.Take("splash");
        list.RejectUntaken();
        settings.Boot = boot;
    }

    private static string CheckDrives(string drives)
    {
        for (var i = 0; i < drives.Length; i++)
        {
            if (drives[i] is < 'a' or > 'p')
                throw new UserErrorException($"Invalid boot device '{drives[i]}'");
            if (drives.IndexOf(drives[i], i + 1) >= 0)
                throw new UserErrorException($"Boot device '{drives[i]}' was given twice");
        }

        return drives;
    }

    private static void Device(SystemSettings settings, Argument argument)
    {
        var list = OptionList.Parse(argument.Value, "driver");
        var name = list.Take("driver") ?? throw new UserErrorException("Parameter 'driver' is missing");
        if (IsHelp(name))
            throw new HelpRequestException(HelpText.Devices());
        if (list.Has("help"))
            throw new HelpRequestException(HelpText.DeviceProperties(name));
        settings.Devices.Add(new DeviceOption(name, [.. list.Items.Where(static i => i.Key != "driver")], argument.Text));
    }

    private static void Global(SystemSettings settings, Argument argument)
    {
        var equals = argument.Value.IndexOf('=');
        var dot = argument.Value.IndexOf('.');
        if (equals > dot && dot > 0)
        {
            settings.Globals.Add(new GlobalProperty(argument.Value[..dot], argument.Value[(dot + 1)..equals], argument.Value[(equals + 1)..]));
            return;
        }

        var list = OptionList.Parse(argument.Value);
        settings.Globals.Add(new GlobalProperty(list.TakeRequired("driver"), list.TakeRequired("property"), list.TakeRequired("value")));
        list.RejectUntaken();
    }

    /// <summary>A UTC date as <c>-rtc base=</c> writes it, or null.</summary>
    public static DateTime? ParseDate(string text) =>
        DateTime.TryParseExact(text, ["yyyy-MM-ddTHH:mm:ss", "yyyy-MM-dd"], CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var date) ? date : null;
}
