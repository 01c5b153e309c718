using System.Globalization;

namespace Dromaius.Core.Devices;

/// <summary>The headings of <c>-device help</c>, in its order.</summary>
public enum DeviceCategory
{
    Bridge,
    Usb,
    Storage,
    Network,
    Input,
    Display,
    Sound,
    Misc,
    Cpu,
    Watchdog,
    Uncategorized,
}

public enum PropertyKind
{
    Bool,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Int32,

    /// <summary>A byte count with an optional suffix (K, M, G, ...).</summary>
    Size,
    String,

    /// <summary>The id of a character device.</summary>
    Chardev,

    /// <summary>The id or node name of a drive.</summary>
    Drive,

    /// <summary>A PCI slot, with an optional function: <c>06.0</c>.</summary>
    PciAddress,
    OnOffAuto,
}

/// <summary>A property of a device type: what <c>-device NAME,help</c> lists and <c>-device NAME,prop=value</c> sets.</summary>
/// <param name="Name">As spelled on the command line.</param>
/// <param name="Kind">Says how a value is parsed.</param>
/// <param name="Default">As the user would write it; null for none.</param>
/// <param name="Help">A few words; null for none.</param>
public sealed record DeviceProperty(string Name, PropertyKind Kind, string? Default = null, string? Help = null)
{
    /// <summary>The type as the help listing spells it.</summary>
    public string KindName => Kind switch
    {
        PropertyKind.Bool => "bool",
        PropertyKind.UInt8 => "uint8",
        PropertyKind.UInt16 => "uint16",
        PropertyKind.UInt32 => "uint32",
        PropertyKind.UInt64 => "uint64",
        PropertyKind.Int32 or PropertyKind.PciAddress => "int32",
        PropertyKind.Size => "size",
        PropertyKind.OnOffAuto => "OnOffAuto",
        _ => "str",
    };

    /// <summary>One line of <c>-device NAME,help</c>.</summary>
    public string HelpLine
    {
        get
        {
            var head = $"  {Name}=<{KindName}>";
            var help = Help ?? (Kind switch
            {
                PropertyKind.Bool when Default != null => "on/off",
                PropertyKind.OnOffAuto => "on/off/auto",
                PropertyKind.Chardev => "ID of a chardev to use as a backend",
                PropertyKind.Drive => "Node name or ID of a block device to use as a backend",
                PropertyKind.PciAddress => "Slot and optional function number, example: 06.0 or 06",
                _ => null,
            });
            if (help == null && Default == null)
                return head;
            var shown = Kind switch
            {
                PropertyKind.Bool => Default == "on" ? "true" : "false",
                PropertyKind.UInt8 or PropertyKind.UInt16 or PropertyKind.UInt32 or PropertyKind.UInt64 or PropertyKind.Size
                    when Default != null && PropertyValues.TryParseInteger(Default, out var n) =>
                    n.ToString(CultureInfo.InvariantCulture),
                PropertyKind.String when Default != null => $"\"{Default}\"",
                _ => Default,
            };
            var tail = Default == null ? "" : $" (default: {shown})";
            return $"{head,-24} - {help}{tail}";
        }
    }
}

/// <summary>A kind of device the user can name.</summary>
public sealed class DeviceType
{
    public required string Name { get; init; }

    /// <summary>The kind of bus it plugs into: <c>PCI</c>, <c>ISA</c>, <c>System</c>; null for none.</summary>
    public string? Bus { get; init; }

    /// <summary>What it is, in a few words, for <c>-device help</c>.</summary>
    public required string Description { get; init; }
    public string? Alias { get; init; }
    public DeviceCategory Category { get; init; } = DeviceCategory.Misc;

    /// <summary>False: listed and settable with <c>-global</c>, but only boards make it.</summary>
    public bool UserCreatable { get; init; } = true;
    public IReadOnlyList<DeviceProperty> Properties { get; init; } = [];

    /// <summary>Makes the device and connects it to what the host offers.</summary>
    public required Func<DeviceArguments, Device> Create { get; init; }

    public DeviceProperty? FindProperty(string name) => Properties.FirstOrDefault(p => p.Name == name);
}
