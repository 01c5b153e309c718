using System.Globalization;
using System.Text;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;

namespace Dromaius.Control;

/// <summary>
/// The text protocol with which a test drives the devices of a machine whose processors do not run: lines of words in, a line
/// beginning with OK or FAIL out, and lines beginning with IRQ when a watched interrupt input changes.
/// </summary>
public sealed class QtestServer : ICharSink
{
    private const int LongestLine = 64 << 20;

    /// <summary>Bytes that one command may move.</summary>
    private const ulong LargestBlock = 64 << 20;

    private readonly ICharBackend _backend;
    private readonly IMachineControl _machine;
    private readonly TextWriter? _log;
    private readonly List<byte> _line = [];
    private readonly DateTime _start = DateTime.UtcNow;
    private IInterruptInputs? _watched;

    public QtestServer(ICharBackend backend, IMachineControl machine, TextWriter? log)
    {
        _backend = backend;
        _machine = machine;
        _log = log;
        backend.Sink = this;
    }

    public int CanReceive => 4096;

    public void Receive(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
        {
            if (b != '\n')
            {
                if (_line.Count < LongestLine)
                    _line.Add(b);
                continue;
            }

            var line = Encoding.ASCII.GetString(_line.ToArray());
            _line.Clear();
            Log('R', line);
            Send(Execute(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)));
        }
    }

    public void OnEvent(CharEvent e)
    {
        if (e is not (CharEvent.Opened or CharEvent.Closed))
            return;
        _line.Clear();
        Watch(null);
    }

    private void Send(string text)
    {
        Log('S', text);
        _backend.Write(Encoding.ASCII.GetBytes(text + "\n"));
    }

    private void Log(char direction, string text) =>
        _log?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"[{direction} +{(DateTime.UtcNow - _start).TotalSeconds:F6}] {text}"));

    private string Execute(string[] words)
    {
        try
        {
            return words switch
            {
                [] => "FAIL Unknown command ''",
                ["outb" or "outw" or "outl", var address, var value] => Out(Size(words[0]), Number(address), Number(value)),
                ["inb" or "inw" or "inl", var address] => $"OK 0x{_machine.Io.Load(Number(address) & 0xFFFF, Size(words[0])):x4}",
                ["writeb" or "writew" or "writel" or "writeq", var address, var value] => Write(Size(words[0]), Number(address), Number(value)),
                ["readb" or "readw" or "readl" or "readq", var address] => $"OK 0x{_machine.Memory.Load(Number(address), Size(words[0])):x16}",
                ["read", var address, var size] => "OK 0x" + Convert.ToHexStringLower(Block(Number(address), Number(size))),
                ["b64read", var address, var size] => "OK " + Convert.ToBase64String(Block(Number(address), Number(size))),
                ["write", var address, var size, var data] => Store(Number(address), FromHex(data, Length(Number(size)))),
                ["b64write", var address, var size, var data] => Store(Number(address), FromBase64(data, Length(Number(size)))),
                ["memset", var address, var size, var value] => Fill(Number(address), Length(Number(size)), (byte)Number(value)),
                ["endianness"] => "OK little",
                ["clock_step"] => Step(_machine.SteppedClock?.NextDeadline ?? _machine.SteppedClock?.Now ?? 0),
                ["clock_step", var ns] => Step((_machine.SteppedClock?.Now ?? 0) + Time(ns)),
                ["clock_set", var ns] => Step(Time(ns)),
                ["irq_intercept_in", var device] => Find(device) is { } inputs ? Watch(inputs) : "FAIL Unknown device",
                ["irq_intercept_out" or "irq_intercept_out_named", var device, ..] => Exists(device) ? "OK" : "FAIL Unknown device",
                ["set_irq_in", var device, _, var number, var level] => SetIrq(device, Number(number), Number(level)),
                ["module_load", ..] => "OK",
                _ => $"FAIL Unknown command '{words[0]}'",
            };
        }
        catch (FormatException e)
        {
            return $"FAIL {e.Message}";
        }
    }

    private static int Size(string command) => command[^1] switch
    {
        'b' => 1,
        'w' => 2,
        'l' => 4,
        _ => 8,
    };

    private static ulong Number(string text) =>
        PropertyValues.TryParseInteger(text, out var value) ? value : throw new FormatException($"'{text}' is no number");

    private static long Time(string text) => (long)Math.Min(Number(text), long.MaxValue / 2);

    private static int Length(ulong size) => size <= LargestBlock ? (int)size : throw new FormatException("the block is too large");

    private string Out(int size, ulong port, ulong value)
    {
        _machine.Io.Store(port & 0xFFFF, size, value);
        return "OK";
    }

    private string Write(int size, ulong address, ulong value)
    {
        _machine.Memory.Store(address, size, value);
        return "OK";
    }

    private byte[] Block(ulong address, ulong size)
    {
        var bytes = new byte[Length(size)];
        _ = _machine.Memory.Read(address, bytes);
        return bytes;
    }

    private string Store(ulong address, byte[] bytes)
    {
        _ = _machine.Memory.Write(address, bytes);
        return "OK";
    }

    private string Fill(ulong address, int size, byte value)
    {
        var bytes = new byte[size];
        bytes.AsSpan().Fill(value);
        return Store(address, bytes);
    }

    /// <summary>Digits behind 0x; what is missing is zero.</summary>
    private static byte[] FromHex(string text, int size)
    {
        if (!text.StartsWith("0x", StringComparison.Ordinal))
            throw new FormatException("data must begin with 0x");
        var bytes = new byte[size];
        for (var i = 0; i < size && (2 * i) + 4 <= text.Length; i++)
            bytes[i] = byte.Parse(text.AsSpan(2 + (2 * i), 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        return bytes;
    }

    private static byte[] FromBase64(string text, int size)
    {
        var decoded = Convert.FromBase64String(text);
        Array.Resize(ref decoded, size);
        return decoded;
    }

    private string Step(long time)
    {
        if (_machine.SteppedClock is not { } clock)
            return "FAIL the clock runs by itself without -accel qtest";
        clock.StepTo(time);
        return string.Create(CultureInfo.InvariantCulture, $"OK {clock.Now}");
    }

    private bool Exists(string name) => ObjectTree.Find(ObjectTree.Build(_machine), name, out _) != null || Find(name) != null;

    /// <summary>A device with interrupt inputs by its path, id or type.</summary>
    private IInterruptInputs? Find(string name)
    {
        var last = name[(name.LastIndexOf('/') + 1)..];
        foreach (var device in _machine.Devices)
        {
            if (device is IInterruptInputs inputs && (device.Id == last || device.TypeName == last || ObjectTree.PathOf(_machine, device) == name))
                return inputs;
        }

        return null;
    }

    private string Watch(IInterruptInputs? inputs)
    {
        if (_watched == inputs)
            return "OK";
        if (_watched != null && inputs != null)
            return "FAIL IRQ intercept already enabled";
        if (_watched != null)
            _watched.InputChanged -= OnInput;
        _watched = inputs;
        if (inputs != null)
            inputs.InputChanged += OnInput;
        return "OK";
    }

    private void OnInput(int number, bool level) => Send($"IRQ {(level ? "raise" : "lower")} {number}");

    private string SetIrq(string device, ulong number, ulong level)
    {
        if (Find(device) is not { } inputs)
            return "FAIL Unknown device";
        if (number > int.MaxValue)
            return "FAIL no such input";
        inputs.SetIrq((int)number, level != 0);
        return "OK";
    }
}
