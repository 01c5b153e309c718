using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Block.Graph;
using Dromaius.Boards;
using Dromaius.Consoles;
using Dromaius.Core.Chardev;
using Dromaius.Core.Memory;

namespace Dromaius.Control.Tests;

/// <summary>A machine that only remembers what it was asked for; memory is 1 MiB of RAM.</summary>
internal sealed class FakeMachine : IMachineControl, IDisposable
{
    private readonly RamBlock _ram = new("ram", 1 << 20);

    public FakeMachine()
    {
        var root = MemoryRegion.Container("system", 0);
        root.Add(0, MemoryRegion.RamRegion("ram", _ram));
        Memory = new AddressSpace("memory", root, new Lock());
        Io = new AddressSpace("I/O", MemoryRegion.Container("io", 0x10000), new Lock());
    }

    public BlockGraph? Blocks { get; set; }
    public CharBackendFactory? ChardevFactory { get; set; }
    public DumpProgress Dump { get; } = new();
    public List<string> Calls { get; } = [];
    public List<(string Name, JsonObject? Data)> Events { get; } = [];
    public string? Name => "test";
    public Guid Uuid => new("12345678-1234-1234-1234-123456789abc");
    public string Target => "x86_64";
    public RunState State { get; set; } = RunState.Running;
    public IReadOnlyList<VcpuInfo> Cpus => [new(0, 11, false, 0xFFF0), new(1, 12, true, 0)];
    public AddressSpace Memory { get; }
    public AddressSpace Io { get; }
    public ulong RamSize => 1 << 20;
    public UserObjects Objects { get; } = new(null);
    public IReadOnlyDictionary<string, ICharBackend> Chardevs => ChardevFactory?.Backends ?? new Dictionary<string, ICharBackend>();

    public event Action<MachineEvent>? Happened;

    public void Tell(MachineEvent e) => Happened?.Invoke(e);

    public void RaiseEvent(string name, JsonObject? data) => Events.Add((name, data));

    public void Stop() => Calls.Add("stop");

    public void Continue() => Calls.Add("continue");

    public void Reset() => Calls.Add("reset");

    public void PowerDown() => Calls.Add("powerdown");

    public void Quit() => Calls.Add("quit");

    public void Nmi() => Calls.Add("nmi");

    public DisplayList Displays { get; } = new();
    public InputRouter Input { get; } = new();

    public void PressKeys(int[] codes, int holdMilliseconds) =>
        Calls.Add($"keys {string.Join('+', codes.Select(static c => KeyNames.NameOf(c)))} {holdMilliseconds}");

    public string Registers(int cpu) => $"registers of {cpu}\n";

    public bool TryReadVirtual(int cpu, ulong address, Span<byte> bytes) => Memory.Read(address & 0xFFFFF, bytes);

    public void Dispose() => _ram.Dispose();
}

/// <summary>A terminal for a monitor.</summary>
internal sealed class FakeTerminal : ICharBackend
{
    private readonly StringBuilder _shown = new();

    public string Id => "terminal";
    public ICharSink? Sink { get; set; }

    public void Write(ReadOnlySpan<byte> bytes) => _shown.Append(Encoding.UTF8.GetString(bytes));

    public void AcceptInput()
    {
    }

    public void Dispose()
    {
    }

    /// <summary>What was shown since the last call.</summary>
    public string Take()
    {
        var text = _shown.ToString();
        _shown.Clear();
        return text;
    }

    public string Type(string text)
    {
        Sink!.Receive(Encoding.UTF8.GetBytes(text));
        return Take();
    }
}
