using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Control.Hmp;
using Dromaius.Control.Qmp;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Control;

/// <summary>A command of the human monitor.</summary>
/// <param name="Name">What the user types.</param>
/// <param name="Alias">A shorter name, or nothing.</param>
/// <param name="Declaration">Its arguments, see <see cref="HmpArguments"/>.</param>
/// <param name="Arguments">Its arguments as the help shows them.</param>
/// <param name="Help">A line of help.</param>
/// <param name="Run">Does it; gives what it prints.</param>
internal sealed record HmpCommand(string Name, string Alias, string Declaration, string Arguments, string Help, Func<HmpArguments, string> Run);

/// <summary>The commands of the human monitor: one line in, text out. Used under the machine lock.</summary>
public sealed class HmpCommands
{
    private readonly IMachineControl _machine;
    private readonly List<HmpCommand> _commands;
    private readonly List<HmpCommand> _infos;
    private HmpFormat _format = new(1, 'x', 4);
    private int _buttons;

    public HmpCommands(IMachineControl machine)
    {
        _machine = machine;
        _commands =
        [
            new("change", "", "device:B,force:-f,target:F,arg:s?,read-only-mode:s?", "device [-f] filename [format [read-only-mode]]", "change a removable medium, optional format, use -f to force the operation", Change),
            new("cont", "c", "", "", "resume emulation", _ => Do(machine.Continue)),
            new("cpu", "", "index:i", "index", "set the default CPU", SetCpu),
            new("device_add", "", "device:S", "driver[,prop=value][,...]", "add device, like -device on the command line", AddDevice),
            new("device_del", "", "id:s", "device", "remove device", RemoveDevice),
            new("block_set_io_throttle", "", "device:B,bps:l,bps_rd:l,bps_wr:l,iops:l,iops_rd:l,iops_wr:l", "device bps bps_rd bps_wr iops iops_rd iops_wr",
                "change I/O throttle limits for a block drive", a => HmpBlock.SetThrottle(machine, a)),
            new("drive_add", "", "pci_addr:s,opts:s", "[-n] [[<domain>:]<bus>:]<slot>\n[file=file][,if=type][,bus=n]\n[,unit=m][,media=d][,index=i]\n[,snapshot=on|off][,cache=on|off]\n[,readonly=on|off][,copy-on-read=on|off]",
                "add drive to PCI storage controller", a => HmpBlock.AddDrive(machine, a.Text("opts"))),
            new("eject", "", "force:-f,device:B", "[-f] device", "eject a removable medium (use -f to force it)", a => Do(() => BlockCommands.Eject(machine, a.Text("device"), a.Has("force")))),
            new("help", "?", "name:S?", "[cmd]", "show the help", Help),
            new("info", "", "item:S?", "[subcommand]", "show various information about the system state", Info),
            new("log", "", "items:s", "item1[,...]", "activate logging of the specified items", Log),
            new("logfile", "", "filename:F", "filename", "output logs to 'filename'", a => Do(() => machine.OpenLog(a.Text("filename")))),
            new("mouse_button", "", "button_state:i", "state", "change mouse button state (1=L, 2=M, 4=R)", a =>
            {
                _buttons = InputCommands.SetButtons(machine.Input, _buttons, a.Integer("button_state"));
                return "";
            }),
            new("mouse_move", "", "dx_str:s,dy_str:s,dz_str:s?", "dx dy [dz]", "send mouse move events", MouseMove),
            new("mouse_set", "", "index:i", "index", "set which mouse device receives events", a =>
                machine.Input.Activate(a.Integer("index")) ? "" : $"Mouse at index '{a.Integer("index")}' not found\n"),
            new("nmi", "", "", "", "inject an NMI", _ => Do(machine.Nmi)),
            new("object_add", "", "object:S", "[qom-type=]type,id=str[,prop=value][,...]", "create QOM object", a =>
                Do(() => ObjectCommands.ObjectsOf(machine).Add(OptionList.Parse(a.Text("object"), "qom-type")))),
            new("object_del", "", "id:s", "id", "destroy QOM object", a => Do(() => ObjectCommands.ObjectsOf(machine).Remove(a.Text("id")))),
            new("balloon", "", "value:i", "target", "request VM to change its memory allocation (in MB)", static _ => "Error: No balloon device has been activated\n"),
            new("singlestep", "", "option:s?", "[on|off]", "run emulation in singlestep mode or switch to normal mode", static _ => ""),
            new("watchdog_action", "", "action:s", "[reset|shutdown|poweroff|pause|debug|none]", "change watchdog action", WatchdogAction),
            new("qom-get", "", "path:s,property:s", "path property", "print QOM property", a => HmpInfo.GetProperty(machine, a.Text("path"), a.Text("property"))),
            new("qom-list", "", "path:s?", "path", "list QOM properties", a => HmpInfo.ListProperties(machine, a.OptionalText("path") ?? "/")),
            new("quit", "q", "", "", "quit the emulator", _ => Do(machine.Quit)),
            new("ringbuf_read", "", "device:s,size:i", "device size", "Read from a ring buffer character device", ReadRingBuffer),
            new("ringbuf_write", "", "device:s,data:s", "device data", "Write to a ring buffer character device", WriteRingBuffer),
            new("screendump", "", "filename:F,format:-fs,device:s?,head:i?", "filename [-f format] [device [head]]",
                "save screen from head 'head' of display device 'device' in specified format 'format' as image 'filename'.Currently only 'png' and 'ppm' formats are supported.", Screendump),
            new("sendkey", "", "keys:s,hold-time:i?", "keys [hold_ms]", "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)", SendKey),
            new("stop", "s", "", "", "stop emulation", _ => Do(machine.Stop)),
            new("system_powerdown", "", "", "", "send system power down event", _ => Do(machine.PowerDown)),
            new("system_reset", "", "", "", "reset the system", _ => Do(machine.Reset)),
            new("system_wakeup", "", "", "", "wakeup guest from suspend", static _ => "Error: Unable to wake up: guest is not in suspended state\n"),
            .. new HmpMemory(machine, this).Commands,
            .. new HmpNetwork(machine).Commands,
            .. new HmpJobs(machine).Commands,
            .. new HmpCharacters(machine).Commands,
            .. new HmpExports(machine).Commands,
            .. HmpAbsent.Commands(machine),
            new("boot_set", "", "bootdevice:s", "bootdevice", "define new values for the boot device list", SetBootOrder),
            new("dump-guest-memory", "", "paging:-p,detach:-d,windmp:-w,zlib:-z,lzo:-l,snappy:-s,filename:F,begin:l?,length:l?",
                "[-p] [-d] [-z|-l|-s|-w] filename [begin length]", "dump guest memory into file 'filename'.", Dump),
            new("qom-set", "", "json:-j,path:s,property:s,value:S", "[-j] path property value", "set QOM property.", a =>
                Do(() => _ = new ObjectCommands(machine).Table["qom-set"](new QmpArguments(new JsonObject
                {
                    ["path"] = a.Text("path"), ["property"] = a.Text("property"), ["value"] = a.Text("value"),
                })))),
        ];
        _commands.Sort(static (a, b) => string.CompareOrdinal(a.Name, b.Name));
        _infos = [.. new HmpInfo(machine, this).Commands.OrderBy(static c => c.Name, StringComparer.Ordinal)];
    }

    /// <summary>The processor that commands are about.</summary>
    public int CurrentCpu { get; private set; }

    /// <summary>What the user typed before, for <c>info history</c>.</summary>
    public Func<IReadOnlyList<string>> History { get; set; } = static () => [];

    public void SelectCpu(int index) => CurrentCpu = index;

    /// <summary>Runs a command line and gives what it prints, with plain newlines.</summary>
    public string Execute(string line)
    {
        line = line.Trim();
        if (line.Length == 0 || line.StartsWith('#'))
            return "";
        var (name, rest) = Split(line);
        var command = Find(_commands, name);
        if (command == null)
            return $"unknown command: '{name}'{NearestNames.Hint(name, _commands.Select(static c => c.Name))}\n";
        return Run(command, rest, command.Name);
    }

    private string Run(HmpCommand command, string rest, string helpName)
    {
        try
        {
            var arguments = HmpArguments.Parse(command.Name, command.Declaration, rest, command.Name is "i" or "o" ? _format with { Size = 1 } : _format, Register);
            if (command.Declaration.StartsWith("fmt:", StringComparison.Ordinal))
                _format = arguments.Format;
            return command.Run(arguments);
        }
        catch (MonitorSyntaxException e)
        {
            return $"{e.Message}\nTry \"help {helpName}\" for more information\n";
        }
        catch (InputCommands.InvalidKeyException e)
        {
            return $"invalid parameter: {e.Key}\n";
        }
        catch (Exception e) when (e is UserErrorException or QmpErrorException)
        {
            return $"Error: {e.Message}\n";
        }
    }

    /// <summary>The command and the rest; a format sticks to the name.</summary>
    private static (string Name, string Tail) Split(string line)
    {
        var end = 0;
        while (end < line.Length && !char.IsWhiteSpace(line[end]) && line[end] != '/')
            end++;
        return (line[..end], line[end..]);
    }

    private ulong? Register(string name) => _machine.TryGetRegister(CurrentCpu, name, out var value) ? value : null;

    /// <summary>Completions of the last word of what was typed.</summary>
    public IReadOnlyList<string> Complete(string typed)
    {
        var words = typed.Split(' ');
        var last = words[^1];
        IEnumerable<string> choices = words switch
        {
            [_] => _commands.Select(static c => c.Name),
            ["info", _] => _infos.Select(static c => c.Name),
            ["help" or "?", _] => _commands.Select(static c => c.Name),
            ["help" or "?", "info", _] => _infos.Select(static c => c.Name),
            ["sendkey", _] => CompleteKeys(last),
            ["device_add", _] => _machine.Description?.DeviceTypes.Types.Where(static t => t.UserCreatable).Select(static t => t.Name) ?? [],
            ["device_del", _] => _machine.Devices.Where(static d => d.Id != null).Select(static d => d.Id!),
            ["eject" or "change", _] or ["info", "block", _] => _machine.Blocks?.Backends.Keys ?? [],
            ["ringbuf_read" or "ringbuf_write", _] => _machine.Chardevs.Where(static c => c.Value is RingBufferBackend).Select(static c => c.Key),
            _ => [],
        };
        return [.. choices.Where(n => n.StartsWith(last, StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
    }

    private static IEnumerable<string> CompleteKeys(string typed)
    {
        var head = typed[..(typed.LastIndexOf('-') + 1)];
        return Consoles.KeyNames.All.Select(name => head + name);
    }

    private static HmpCommand? Find(List<HmpCommand> list, string name) =>
        list.Find(c => c.Name == name || (c.Alias.Length > 0 && c.Alias == name));

    private static string Do(Action action)
    {
        action();
        return "";
    }

    private string Help(HmpArguments a)
    {
        var words = (a.OptionalText("name") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return words switch
        {
            [] => HelpOf(_commands, ""),
            ["info"] => HelpOf(_infos, "info "),
            ["info", var item, ..] => Find(_infos, item) is { } one ? HelpOf([one], "info ") : $"unknown command: 'info {item}'\n",
            ["log"] => "Log items (comma separated):\n" + string.Concat(_machine.LogItems.Select(static i => $"{i.Name,-15} {i.Help}\n")),
            _ => Find(_commands, words[0]) is { } one ? HelpOf([one], "") : $"unknown command: '{words[0]}'\n",
        };
    }

    private static string HelpOf(List<HmpCommand> list, string prefix)
    {
        var text = new StringBuilder();
        foreach (var c in list)
        {
            var names = c.Alias.Length > 0 ? $"{c.Name}|{c.Alias}" : c.Name;
            text.Append($"{prefix}{names} {c.Arguments} -- {c.Help}\n");
        }

        return text.ToString();
    }

    private string Info(HmpArguments a)
    {
        var line = a.OptionalText("item") ?? "";
        if (line.Length == 0)
            return HelpOf(_infos, "info ");
        var (name, rest) = Split(line);
        var info = Find(_infos, name);
        return info == null
            ? $"unknown command: 'info {name}'{NearestNames.Hint(name, _infos.Select(static c => c.Name))}\n"
            : Run(info, rest, "info " + name);
    }

    private string SetBootOrder(HmpArguments a)
    {
        var order = a.Text("bootdevice");
        for (var i = 0; i < order.Length; i++)
        {
            if (order[i] is < 'a' or > 'p')
                return $"Invalid boot device '{order[i]}'\n";
            if (order.IndexOf(order[i]) < i)
                return $"Boot device '{order[i]}' was given twice\n";
        }

        return _machine.TrySetBootOrder(order) ? $"boot device list now set to {order}\n" : "Error: no function defined to set boot device list for this architecture\n";
    }

    private string Dump(HmpArguments a)
    {
        var format = a.Has("zlib") ? "kdump-zlib" : a.Has("lzo") ? "kdump-lzo" : a.Has("snappy") ? "kdump-snappy" : a.Has("windmp") ? "win-dmp" : "elf";
        var arguments = new JsonObject
        {
            ["paging"] = a.Has("paging"), ["detach"] = a.Has("detach"), ["protocol"] = "file:" + a.Text("filename"), ["format"] = format,
        };
        if (a.Has("begin"))
            arguments["begin"] = a.Number("begin");
        if (a.Has("length"))
            arguments["length"] = a.Number("length");
        _ = new DumpCommands(_machine, new DescriptorTable(static () => -1)).Table["dump-guest-memory"](new QmpArguments(arguments));
        return "";
    }

    private string SetCpu(HmpArguments a)
    {
        if (a.Number("index") >= (ulong)_machine.Cpus.Count)
            return "Error: invalid CPU index\n";
        CurrentCpu = (int)a.Number("index");
        return "";
    }

    private string AddDevice(HmpArguments a)
    {
        var list = OptionList.Parse(a.Text("device"), "driver");
        var driver = list.TakeRequired("driver");
        if (driver is "help" or "?")
            return _machine.Description?.DeviceTypes.HelpText() ?? "";
        if (list.Items.Any(static i => i.Key == "help"))
            return _machine.Description?.DeviceTypes.HelpText(driver) ?? "";
        _machine.PlugDevice(new DeviceOption(driver, [.. list.Items.Where(static i => i.Key != "driver")], $"-device {a.Text("device")}"));
        return "";
    }

    private string RemoveDevice(HmpArguments a)
    {
        var id = a.Text("id");
        _machine.UnplugDevice(_machine.Devices.FirstOrDefault(d => d.Id == id) ?? throw QmpErrorException.DeviceNotFound(id));
        return "";
    }

    private string Change(HmpArguments a)
    {
        if (a.Text("device") == "vnc")
            return "Error: Parameter 'vnc' is missing\n";
        BlockCommands.ChangeMedium(_machine, a.Text("device"), a.Text("target"), a.OptionalText("arg"), a.OptionalText("read-only-mode") ?? "retain", a.Has("force"));
        return "";
    }

    /// <summary>There is no watchdog whose action this could be.</summary>
    private static string WatchdogAction(HmpArguments a) =>
        a.Text("action") is "reset" or "shutdown" or "poweroff" or "pause" or "debug" or "none" or "inject-nmi"
            ? ""
            : $"Error: invalid parameter value: {a.Text("action")}\n";

    private string Log(HmpArguments a)
    {
        var items = a.Text("items");
        if (!_machine.TrySetLog(items == "none" ? "" : items))
            return Help(HmpArguments.Parse("help", "name:S?", "log", _format, Register));
        return "";
    }

    private RingBufferBackend RingBuffer(string id)
    {
        if (!_machine.Chardevs.TryGetValue(id, out var backend))
            throw new UserErrorException($"Device '{id}' not found");
        return backend as RingBufferBackend ?? throw new UserErrorException($"{id} is not a ringbuf device");
    }

    private string ReadRingBuffer(HmpArguments a)
    {
        var bytes = RingBuffer(a.Text("device")).Snapshot();
        return Encoding.UTF8.GetString(bytes.AsSpan(0, (int)Math.Min((ulong)bytes.Length, a.Number("size")))) + "\n";
    }

    private string WriteRingBuffer(HmpArguments a)
    {
        RingBuffer(a.Text("device")).Write(Encoding.UTF8.GetBytes(a.Text("data")));
        return "";
    }

    private string SendKey(HmpArguments a)
    {
        _machine.PressKeys(InputCommands.ParseKeys(a.Text("keys")), a.Integer("hold-time", 100));
        return "";
    }

    private string MouseMove(HmpArguments a)
    {
        InputCommands.MoveMouse(_machine.Input, Signed(a.Text("dx_str")), Signed(a.Text("dy_str")), Signed(a.OptionalText("dz_str") ?? "0"));
        return "";
    }

    /// <summary>A whole number; what is none counts as 0.</summary>
    private static int Signed(string text) =>
        Core.Devices.PropertyValues.TryParseInteger(text, out var value) ? (int)Math.Clamp((long)value, int.MinValue, int.MaxValue) : 0;

    private string Screendump(HmpArguments a)
    {
        var format = a.OptionalText("format") ?? "ppm";
        if (format is not ("ppm" or "png"))
            throw new UserErrorException($"invalid parameter value: {format}");
        InputCommands.Screendump(_machine.Displays, a.Text("filename"), a.OptionalText("device"), a.Integer("head"), format);
        return "";
    }
}
