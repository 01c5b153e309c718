using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;

namespace Dromaius.Core.Devices;

/// <summary>What a machine offers to devices that are plugged into it.</summary>
public interface IDeviceHost
{
    /// <summary>The I/O port space to add regions to.</summary>
    MemoryRegion IoRoot { get; }

    /// <summary>The memory space to add regions to.</summary>
    MemoryRegion MemoryRoot { get; }
    AddressSpace Memory { get; }
    Clock VirtualClock { get; }

    /// <summary>A new driver of an ISA interrupt; drivers of one interrupt are ORed.</summary>
    IrqLine IsaIrq(int number);

    /// <summary>The character device of that id; throws for an unknown one or one in use.</summary>
    ICharBackend Chardev(string id);

    /// <summary>The contents of a file found on the firmware search path; throws if there is none.</summary>
    byte[] Firmware(string name);

    /// <summary>Something to connect to by its class, such as the PCI root bus or the list of screens, or null.</summary>
    T? Bus<T>()
        where T : class;

    /// <summary>Ends the emulator with this status (isa-debug-exit).</summary>
    void Exit(int status);

    void GuestPanicked();

    void GuestCrashLoaded();

    void RequestShutdown();

    void RequestReset();
}

/// <summary>The values given for a new device, with the globals and defaults of its type behind them.</summary>
public sealed class DeviceArguments
{
    private readonly Dictionary<string, string> _values;

    internal DeviceArguments(DeviceType type, string? id, string? bus, Dictionary<string, string> values, IDeviceHost host)
    {
        Type = type;
        Id = id;
        BusName = bus;
        _values = values;
        Host = host;
    }

    public DeviceType Type { get; }
    public string? Id { get; }

    /// <summary>The bus the user asked for (<c>bus=</c>), or null.</summary>
    public string? BusName { get; }
    public IDeviceHost Host { get; }

    /// <summary>The user asked for the device; the board makes others itself.</summary>
    public bool IsUserMade { get; internal init; }

    /// <summary>Where the bus put the device, when it has places with numbers; set by the bus's owner.</summary>
    public int? Place { get; set; }

    public bool IsSet(string name) => _values.ContainsKey(name);

    public string? String(string name) =>
        _values.TryGetValue(name, out var value) ? value : Type.FindProperty(name)?.Default;

    public bool Bool(string name) => String(name) is { } s && PropertyValues.TryParseBool(s, out var value) && value;

    public ulong Integer(string name) => String(name) is { } s && PropertyValues.TryParseInteger(s, out var value) ? value : 0;

    public ulong Size(string name) => String(name) is { } s && PropertyValues.TryParseSize(s, out var value) ? value : 0;

    /// <summary>A PCI devfn, or -1 for any.</summary>
    public int PciAddress(string name = "addr") =>
        String(name) is { } s && PropertyValues.TryParsePciAddress(s, out var devfn) ? devfn : -1;

    public ICharBackend? Chardev(string name)
    {
        if (String(name) is not { } id)
            return null;
        try
        {
            return Host.Chardev(id);
        }
        catch (KeyNotFoundException)
        {
            throw new UserErrorException($"Property '{Type.Name}.{name}' can't find value '{id}'");
        }
    }
}
