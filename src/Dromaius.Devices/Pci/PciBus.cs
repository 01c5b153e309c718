using Dromaius.Core.Errors;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// A PCI bus: up to 32 slots of 8 functions, and four interrupt lines that the functions' pins are swizzled onto. Source: PCI
/// Local Bus Specification 3.0, sections 2.2.6 and 3.2.2.3.
/// </summary>
public sealed class PciBus
{
    private readonly PciFunction?[] _functions = new PciFunction?[256];
    private readonly int[] _asserted = new int[4];

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
    }

    public string Name { get; }
    public MemoryRegion MemoryRoot { get; }
    public MemoryRegion IoRoot { get; }
    public AddressSpace Memory { get; }

    /// <summary>Told of changes of the four interrupt lines: line 0 to 3 and its level.</summary>
    public Action<int, bool>? InterruptChanged { get; set; }

    public IEnumerable<PciFunction> Functions => _functions.Where(static f => f != null)!;

    public PciFunction? this[int devfn] => devfn is >= 0 and < 256 ? _functions[devfn] : null;

    public bool InterruptLevel(int line) => _asserted[line] > 0;

    /// <summary>Puts a function in a slot; -1 takes the first free one.</summary>
    public void Plug(PciFunction function, int devfn = -1)
    {
        var name = function.TypeName;
        if (devfn < 0)
        {
            devfn = Enumerable.Range(0, 32).Select(static slot => slot << 3).FirstOrDefault(d => _functions[d] == null, -1);
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

    public uint ReadConfig(int devfn, int offset, int size) =>
        this[devfn] is { } function ? function.ReadConfig(offset, size) : uint.MaxValue >> (8 * (4 - size));

    public void WriteConfig(int devfn, int offset, int size, uint value) => this[devfn]?.WriteConfig(offset, size, value);

    /// <summary>A function's pin changed; slots rotate the pins so that slot 1's pin A is line 0.</summary>
    internal void SetIntx(int slot, int pin, bool level)
    {
        var line = (pin + slot + 3) & 3;
        var before = _asserted[line];
        _asserted[line] = Math.Max(0, before + (level ? 1 : -1));
        if (before > 0 != _asserted[line] > 0)
            InterruptChanged?.Invoke(line, level);
    }
}
