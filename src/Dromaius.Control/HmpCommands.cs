using System.Globalization;
using System.Text;
using Dromaius.Boards;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;

namespace Dromaius.Control;

/// <summary>The commands of the human monitor: one line in, text out. Used under the machine lock.</summary>
public sealed class HmpCommands
{
    private sealed record Command(string Name, string Alias, string Arguments, string Help, Func<string[], string> Run);

    private readonly IMachineControl _machine;
    private readonly List<Command> _commands;
    private readonly List<Command> _infos;
    private int _cpu;
    private int _buttons;

    public HmpCommands(IMachineControl machine)
    {
        _machine = machine;
        _commands =
        [
            new("cont", "c", "", "resume emulation", _ => Do(machine.Continue)),
            new("cpu", "", "index", "set the default CPU", SetCpu),
            new("help", "?", "[cmd]", "show the help", Help),
            new("i", "", "/fmt addr", "I/O port read", a => PortRead(a)),
            new("info", "", "[subcommand]", "show various information about the system state", Info),
            new("mouse_button", "", "state", "change mouse button state (1=L, 2=M, 4=R)", MouseButton),
            new("mouse_move", "", "dx dy [dz]", "send mouse move events", MouseMove),
            new("mouse_set", "", "index", "set which mouse device receives events", MouseSet),
            new("nmi", "", "", "inject an NMI", _ => Do(machine.Nmi)),
            new("o", "", "/fmt addr value", "I/O port write", PortWrite),
            new("print", "p", "/fmt expr", "print expression value", Print),
            new("quit", "q", "", "quit the emulator", _ => Do(machine.Quit)),
            new("ringbuf_read", "", "device size", "read from a ring buffer character device", ReadRingBuffer),
            new("screendump", "", "[-f format] filename [device [head]]", "save screen from head 'head' of display device 'device' in specified format 'format' as image 'filename'.", Screendump),
            new("sendkey", "", "keys [hold_ms]", "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)", SendKey),
            new("stop", "s", "", "stop emulation", _ => Do(machine.Stop)),
            new("system_powerdown", "", "", "send system power down event", _ => Do(machine.PowerDown)),
            new("system_reset", "", "", "reset the system", _ => Do(machine.Reset)),
            new("x", "", "/fmt addr", "virtual memory dump starting at 'addr'", a => Dump(a, physical: false)),
            new("xp", "", "/fmt addr", "physical memory dump starting at 'addr'", a => Dump(a, physical: true)),
        ];
        _infos =
        [
            new("chardev", "", "", "show the character devices", _ => InfoChardev()),
            new("cpus", "", "", "show infos for each CPU", _ => InfoCpus()),
            new("kvm", "", "", "show KVM information", _ => "kvm support: not compiled\n"),
            new("memory_size_summary", "", "", "show the amount of initially allocated memory", _ => $"base memory: {machine.RamSize}\n"),
            new("mice", "", "", "show which guest mouse is receiving events", _ => InfoMice()),
            new("mtree", "", "[-f]", "show memory tree", a => MemoryTree.Show(machine, flat: a.Contains("-f"))),
            new("name", "", "", "show the current VM name", _ => machine.Name is { } name ? name + "\n" : ""),
            new("registers", "", "[-a]", "show the cpu registers (-a: show register info for all cpus)", InfoRegisters),
            new("status", "", "", "show the current VM status (running|paused)", _ => InfoStatus()),
            new("uuid", "", "", "show the current VM UUID", _ => $"{machine.Uuid}\n"),
            new("version", "", "", "show the version of Dromaius", _ => $"{Product.Version}\n"),
        ];
    }

    /// <summary>Runs a command line and gives what it prints, with plain newlines.</summary>
    public string Execute(string line)
    {
        var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0 || words[0].StartsWith('#'))
            return "";

        // "x/4xw 0x1000" and "x /4xw 0x1000" are the same.
        var slash = words[0].IndexOf('/');
        if (slash > 0)
            words = [words[0][..slash], words[0][slash..], .. words[1..]];
        var command = Find(_commands, words[0]);
        if (command == null)
            return $"unknown command: '{words[0]}'{NearestNames.Hint(words[0], _commands.Select(static c => c.Name))}\n";
        try
        {
            return command.Run(words[1..]);
        }
        catch (UserErrorException e)
        {
            return $"Error: {e.Message}\n";
        }
    }

    /// <summary>The processor that commands are about.</summary>
    public void SelectCpu(int index) => _cpu = index;

    /// <summary>Completions of the last word of what was typed.</summary>
    public IReadOnlyList<string> Complete(string typed)
    {
        var words = typed.Split(' ');
        var list = words.Length == 1 ? _commands : words.Length == 2 && words[0] is "info" ? _infos : [];
        return [.. list.Select(static c => c.Name).Where(n => n.StartsWith(words[^1], StringComparison.Ordinal))];
    }

    private static Command? Find(List<Command> list, string name) => list.Find(c => c.Name == name || (c.Alias.Length > 0 && c.Alias == name));

    private static string Do(Action action)
    {
        action();
        return "";
    }

    private string Help(string[] args)
    {
        if (args is ["info", ..])
            return HelpOf(_infos, "info ");
        if (args.Length > 0)
            return Find(_commands, args[0]) is { } one ? HelpOf([one], "") : $"unknown command: '{args[0]}'\n";
        return HelpOf(_commands, "");
    }

    private static string HelpOf(List<Command> list, string prefix)
    {
        var text = new StringBuilder();
        foreach (var c in list)
        {
            var names = c.Alias.Length > 0 ? $"{c.Name}|{c.Alias}" : c.Name;
            text.Append($"{prefix}{names} {c.Arguments}".TrimEnd()).Append(" -- ").Append(c.Help).Append('\n');
        }

        return text.ToString();
    }

    private string Info(string[] args)
    {
        if (args.Length == 0)
            return HelpOf(_infos, "info ");
        var info = Find(_infos, args[0]);
        return info == null
            ? $"unknown command: 'info {args[0]}'{NearestNames.Hint(args[0], _infos.Select(static c => c.Name))}\n"
            : info.Run(args[1..]);
    }

    private string InfoStatus() => "VM status: " + _machine.State switch
    {
        RunState.Running => "running",
        RunState.PreLaunch => "paused (prelaunch)",
        RunState.Shutdown => "paused (shutdown)",
        RunState.GuestPanicked => "paused (guest-panicked)",
        RunState.InternalError => "paused (internal-error)",
        _ => "paused",
    } + "\n";

    private string InfoCpus()
    {
        var text = new StringBuilder();
        foreach (var cpu in _machine.Cpus)
        {
            text.Append($"{(cpu.Index == _cpu ? '*' : ' ')} CPU #{cpu.Index}: thread_id={cpu.ThreadId}");
            text.Append(cpu.Halted ? " (halted)\n" : "\n");
        }

        return text.ToString();
    }

    private string InfoRegisters(string[] args)
    {
        if (!args.Contains("-a"))
            return _machine.Registers(_cpu);
        var text = new StringBuilder();
        foreach (var cpu in _machine.Cpus)
            text.Append($"\nCPU#{cpu.Index}\n").Append(_machine.Registers(cpu.Index));
        return text.ToString();
    }

    private string InfoChardev()
    {
        var text = new StringBuilder();
        foreach (var (id, backend) in _machine.Chardevs)
            text.Append($"{id}: filename={(backend as CharBackend)?.Description ?? "mux"}\n");
        return text.ToString();
    }

    private string SetCpu(string[] args)
    {
        var index = args.Length == 1 ? Number(args[0]) : ulong.MaxValue;
        if (index >= (ulong)_machine.Cpus.Count)
            return "Error: invalid CPU index\n";
        _cpu = (int)index;
        return "";
    }

    private string ReadRingBuffer(string[] args)
    {
        if (args.Length != 2)
            return "ringbuf_read: device and size expected\n";
        if (!_machine.Chardevs.TryGetValue(args[0], out var backend))
            return $"Error: Device '{args[0]}' not found\n";
        if (backend is not RingBufferBackend ring)
            return $"Error: {args[0]} is not a ringbuf device\n";
        var bytes = ring.Snapshot();
        var size = (int)Math.Min((ulong)bytes.Length, Number(args[1]));
        return Encoding.UTF8.GetString(bytes.AsSpan(0, size)) + "\n";
    }

    private string SendKey(string[] args)
    {
        if (args.Length is 0 or > 2)
            return "sendkey: keys expected\n";
        try
        {
            var hold = args.Length == 2 ? (int)Math.Min(Number(args[1]), 60_000) : 100;
            _machine.PressKeys(InputCommands.ParseKeys(args[0]), hold);
            return "";
        }
        catch (InputCommands.InvalidKeyException e)
        {
            return $"invalid parameter: {e.Key}\n";
        }
    }

    private string MouseMove(string[] args)
    {
        if (args.Length is < 2 or > 3)
            return "mouse_move: dx and dy expected\n";
        InputCommands.MoveMouse(_machine.Input, Signed(args[0]), Signed(args[1]), args.Length == 3 ? Signed(args[2]) : 0);
        return "";
    }

    private string MouseButton(string[] args)
    {
        if (args.Length != 1)
            return "mouse_button: state expected\n";
        _buttons = InputCommands.SetButtons(_machine.Input, _buttons, Signed(args[0]));
        return "";
    }

    private string MouseSet(string[] args)
    {
        if (args.Length != 1)
            return "mouse_set: index expected\n";
        return _machine.Input.Activate(Signed(args[0])) ? "" : $"Error: Mouse at given index {args[0]} not found\n";
    }

    private static int Signed(string text) =>
        text.StartsWith('-') ? -(int)Math.Min(Number(text[1..]), int.MaxValue) : (int)Math.Min(Number(text), int.MaxValue);

    private string Screendump(string[] args)
    {
        string? file = null, device = null;
        var (head, format) = (0, "ppm");
        for (var i = 0; i < args.Length; i++)
        {
            if (args[i] == "-f" && i + 1 < args.Length)
            {
                format = args[++i];
                if (format is not ("ppm" or "png"))
                    return $"Error: invalid parameter value: {format}\n";
            }
            else if (file == null)
                file = args[i];
            else if (device == null)
                device = args[i];
            else
                head = Signed(args[i]);
        }

        if (file == null)
            return "screendump: string expected\n";
        InputCommands.Screendump(_machine.Displays, file, device, head, format);
        return "";
    }

    private string InfoMice()
    {
        var text = new StringBuilder();
        foreach (var mouse in _machine.Input.Pointers)
            text.Append($"{(mouse.IsCurrent ? '*' : ' ')} Mouse #{mouse.Index}: {mouse.Name}{(mouse.IsAbsolute ? " (absolute)" : "")}\n");
        return text.Length > 0 ? text.ToString() : "No mouse devices connected\n";
    }

    private string Print(string[] args)
    {
        var format = Format.Take(ref args, new Format(1, 'x', 8));
        return args.Length == 0 ? "print: expression expected\n" : FormatValue(format.Letter, 8, Number(string.Concat(args))).Trim() + "\n";
    }

    private string PortRead(string[] args)
    {
        var format = Format.Take(ref args, new Format(1, 'x', 1));
        if (args.Length == 0)
            return "i: port expected\n";
        var port = Number(args[0]) & 0xFFFF;
        var value = _machine.Io.Load(port, Math.Min(format.Size, 4));
        return $"port{"bwlq"[BitOperationsLog2(format.Size)]}[0x{port:x4}] = 0x{value.ToString("x" + (2 * format.Size), CultureInfo.InvariantCulture)}\n";
    }

    private string PortWrite(string[] args)
    {
        var format = Format.Take(ref args, new Format(1, 'x', 1));
        if (args.Length != 2)
            return "o: port and value expected\n";
        _machine.Io.Store(Number(args[0]) & 0xFFFF, Math.Min(format.Size, 4), Number(args[1]));
        return "";
    }

    private string Dump(string[] args, bool physical)
    {
        var format = Format.Take(ref args, new Format(1, 'x', 4));
        if (args.Length == 0)
            return "address expected\n";
        var address = Number(string.Concat(args));
        var text = new StringBuilder();
        var perLine = format.Letter == 'c' ? 8 : Math.Max(1, 16 / format.Size);
        var count = Math.Min(format.Count, 1 << 16);
        Span<byte> item = stackalloc byte[8];
        for (var i = 0; i < count; i++)
        {
            var at = address + (ulong)(i * format.Size);
            if (i % perLine == 0)
                text.Append(i == 0 ? "" : "\n").Append(CultureInfo.InvariantCulture, $"{at:x16}:");
            item.Clear();
            var ok = physical ? _machine.Memory.Read(at, item[..format.Size]) : _machine.TryReadVirtual(_cpu, at, item[..format.Size]);
            if (!ok)
                return text.Append("\nCannot access memory\n").ToString().TrimStart('\n');
            text.Append(' ').Append(FormatValue(format.Letter, format.Size, BitConverter.ToUInt64(item)));
        }

        return text.Append('\n').ToString();
    }

    private static string FormatValue(char letter, int size, ulong value)
    {
        var signed = (long)(value << (64 - (8 * size))) >> (64 - (8 * size));
        return letter switch
        {
            'o' => "0" + Convert.ToString((long)value, 8).PadLeft(((8 * size) + 2) / 3, '0'),
            'd' => signed.ToString(CultureInfo.InvariantCulture).PadLeft(size * 5 / 2),
            'u' => value.ToString(CultureInfo.InvariantCulture).PadLeft(size * 5 / 2),
            'c' => value is >= 32 and < 127 ? $"'{(char)value}'" : $"'\\x{value & 0xFF:x2}'",
            _ => "0x" + value.ToString("x" + (2 * size), CultureInfo.InvariantCulture),
        };
    }

    /// <summary>A number, or a sum and difference of numbers.</summary>
    private static ulong Number(string text)
    {
        var total = 0UL;
        var start = 0;
        var subtract = false;
        for (var i = 1; i <= text.Length; i++)
        {
            if (i < text.Length && text[i] is not ('+' or '-'))
                continue;
            var part = text[start..i];
            if (!PropertyValues.TryParseInteger(part, out var value))
                throw new UserErrorException($"invalid number '{part}'");
            total = subtract ? total - value : total + value;
            subtract = i < text.Length && text[i] == '-';
            start = i + 1;
        }

        return text.Length > 0 ? total : throw new UserErrorException("number expected");
    }

    private static int BitOperationsLog2(int size) => System.Numerics.BitOperations.Log2((uint)size);

    /// <summary>The <c>/4xw</c> of memory commands: how many, shown how, of how many bytes.</summary>
    private readonly record struct Format(int Count, char Letter, int Size)
    {
        public static Format Take(ref string[] args, Format fallback)
        {
            if (args.Length == 0 || !args[0].StartsWith('/'))
                return fallback;
            var spec = args[0].AsSpan(1);
            args = args[1..];
            var (count, letter, size) = (0, fallback.Letter, fallback.Size);
            foreach (var c in spec)
            {
                switch (c)
                {
                    case >= '0' and <= '9':
                        count = Math.Min((count * 10) + (c - '0'), 1 << 20);
                        break;
                    case 'x' or 'd' or 'u' or 'o':
                        letter = c;
                        break;
                    case 'c':
                        letter = c;
                        size = 1;
                        break;
                    case 'b':
                        size = 1;
                        break;
                    case 'h':
                        size = 2;
                        break;
                    case 'w':
                        size = 4;
                        break;
                    case 'g' or 'L':
                        size = 8;
                        break;
                    default:
                        throw new UserErrorException($"invalid char in format: '{c}'");
                }
            }

            return new Format(Math.Max(count, 1), letter, size);
        }
    }
}
