using Dromaius.Core.Errors;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// A PCI bus: up to 32 slots of 8 functions, and interrupt lines that the functions' pins are swizzled onto. The root bus has the
/// host's lines; a bus behind a bridge hands its four on to the bridge's slot. Source: PCI Local Bus Specification 3.0, sections
/// 2.2.6 and 3.2.2.3; PCI-to-PCI Bridge Architecture Specification 1.2, section 9.1.
/// </summary>
public sealed class PciBus
{
    public const int Slots = 32;
    private const int Pins = 4;

    private readonly PciFunction?[] _functions = new PciFunction?[Slots * 8];
    private readonly int[] _pins = new int[Slots * Pins];
    private int[] _asserted = new int[Pins];
    private Func<int, int, int> _route;

    /// <param name="name">As <c>bus=</c> names it.</param>
    /// <param name="memoryRoot">Where memory base address registers map.</param>
    /// <param name="ioRoot">Where I/O base address registers map.</param>
    /// <param name="memory">The memory that bus masters see.</param>
    public PciBus(string name, MemoryRegion memoryRoot, MemoryRegion ioRoot, AddressSpace memory)
    {
        Name = name;
        MemoryRoot = memoryRoot;
        IoRoot = ioRoot;
        Memory = memory;
        // Slot 1's pin A is line 0.
        _route = static (slot, pin) => (pin + slot + 3) & 3;
    }

    /// <summary>The bus behind a bridge.</summary>
    internal PciBus(string name, PciBridge parent)
        : this(name, MemoryRegion.Container(name, 0), MemoryRegion.Container(name + "-io", 0x10000), null!)
    {
        Parent = parent;
        _route = static (slot, pin) => (pin + slot) & 3;
        InterruptChanged = parent.PassInterrupt;
    }

    public string Name { get; }
    public MemoryRegion MemoryRoot { get; }
    public MemoryRegion IoRoot { get; }

    /// <summary>The memory that bus masters see: behind bridges the same as before them.</summary>
    public AddressSpace Memory => Parent?.Bus?.Memory ?? field;

    /// <summary>The bridge to the bus above; null for the root bus.</summary>
    public PciBridge? Parent { get; }

    /// <summary>The links of the bus are PCI Express.</summary>
    public bool IsExpress { get; init; }

    /// <summary>Functions can be plugged in and out while the machine runs.</summary>
    public bool IsHotPluggable { get; set; }

    /// <summary>The number that configuration cycles name it by.</summary>
    public int Number => Parent?.SecondaryBus ?? 0;

    /// <summary>Told of changes of the interrupt lines: the line and its level.</summary>
    public Action<int, bool>? InterruptChanged { get; set; }

    public IEnumerable<PciFunction> Functions => _functions.Where(static f => f != null)!;

    /// <summary>The functions of this bus and of those behind its bridges.</summary>
    public IEnumerable<PciFunction> AllFunctions =>
        Functions.SelectMany(static f => f is PciBridge b ? b.Secondary.AllFunctions.Prepend(f) : [f]);

    /// <summary>This bus and those behind its bridges.</summary>
    public IEnumerable<PciBus> AllBuses => Functions.OfType<PciBridge>().SelectMany(static b => b.Secondary.AllBuses).Prepend(this);

    public PciFunction? this[int devfn] => devfn is >= 0 and < 256 ? _functions[devfn] : null;

    public bool InterruptLevel(int line) => (uint)line < (uint)_asserted.Length && _asserted[line] > 0;

    /// <summary>Puts a function in a slot; -1 takes the first free one.</summary>
    public void Plug(PciFunction function, int devfn = -1)
    {
        var name = function.TypeName;
        if (devfn < 0)
        {
            devfn = Enumerable.Range(0, Slots).Select(static slot => slot << 3).FirstOrDefault(d => _functions[d] == null, -1);
            if (devfn < 0)
                throw new UserErrorException($"PCI: no slot/function available for {name}, all in use or reserved");
        }
        else if (_functions[devfn] is { } other)
        {
            throw new UserErrorException($"PCI: slot {devfn >> 3} function {devfn & 7} not available for {name}, "
                + $"in use by {other.TypeName},id={other.Id ?? "(null)"}");
        }
        else if ((devfn & 7) != 0 && _functions[devfn & ~7] is { IsMultifunction: false } single)
        {
            throw new UserErrorException($"PCI: {devfn >> 3:x}.0 indicates single function, can't populate "
                + $"{devfn >> 3:x}.{devfn & 7:x} with {name} (slot is used by {single.TypeName})");
        }

        _functions[devfn] = function;
        function.Bus = this;
        function.Devfn = devfn;
        function.OnPlugged();
        function.UpdateMappings();
    }

    public void Unplug(PciFunction function)
    {
        if (function.Bus != this)
            return;
        function.Unmap();
        _functions[function.Devfn] = null;
        function.Bus = null;
    }

    /// <summary>The bus of a number: this one or one behind its bridges; null for none.</summary>
    public PciBus? Find(int number)
    {
        if (number == Number)
            return this;
        foreach (var function in _functions)
        {
            if (function is PciBridge bridge && number >= bridge.SecondaryBus && number <= bridge.SubordinateBus && bridge.SecondaryBus > Number)
                return bridge.Secondary.Find(number);
        }

        return null;
    }

    public uint ReadConfig(int devfn, int offset, int size) =>
        this[devfn] is { } function ? function.ReadConfig(offset, size) : uint.MaxValue >> (8 * (4 - size));

    public void WriteConfig(int devfn, int offset, int size, uint value) => this[devfn]?.WriteConfig(offset, size, value);

    /// <summary>Resets everything on the bus and behind it.</summary>
    public void Reset()
    {
        foreach (var function in _functions)
            function?.Reset();
    }

    /// <summary>How many lines there are and which one a slot's pin is on.</summary>
    public void SetRouting(int lines, Func<int, int, int> route)
    {
        _asserted = new int[lines];
        _route = route;
    }

    /// <summary>The routing gives other results now.</summary>
    public void Reroute()
    {
        var before = Array.ConvertAll(_asserted, static n => n > 0);
        Array.Clear(_asserted);
        for (var i = 0; i < _pins.Length; i++)
        {
            if (_pins[i] > 0)
                _asserted[_route(i / Pins, i % Pins)]++;
        }

        for (var line = 0; line < _asserted.Length; line++)
        {
            if (before[line] != _asserted[line] > 0)
                InterruptChanged?.Invoke(line, _asserted[line] > 0);
        }
    }

    /// <summary>A function's pin changed; functions of a slot share the four pins.</summary>
    internal void SetIntx(int slot, int pin, bool level)
    {
        ref var count = ref _pins[(slot * Pins) + pin];
        var was = count > 0;
        count = Math.Max(0, count + (level ? 1 : -1));
        if (was == count > 0)
            return;
        var line = _route(slot, pin);
        var before = _asserted[line];
        _asserted[line] = Math.Max(0, before + (level ? 1 : -1));
        if (before > 0 != _asserted[line] > 0)
            InterruptChanged?.Invoke(line, level);
    }
}
