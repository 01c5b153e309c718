using System.Text;
using Dromaius.Core.Errors;

namespace Dromaius.Core.Devices;

/// <summary>A <c>-global driver.property=value</c>.</summary>
public sealed record GlobalProperty(string Driver, string Property, string Value);

/// <summary>Every device type that a board knows: makes devices from the command line and lists them.</summary>
public sealed class DeviceRegistry
{
    private readonly Dictionary<string, DeviceType> _types = new(StringComparer.Ordinal);

    public DeviceRegistry(IEnumerable<DeviceType> types)
    {
        foreach (var type in types)
            _types.Add(type.Name, type);
    }

    public IEnumerable<DeviceType> Types => _types.Values;

    public DeviceType? Find(string name) =>
        _types.TryGetValue(name, out var type) ? type : _types.Values.FirstOrDefault(t => t.Alias == name);

    /// <summary>The type, or the one-line error for a name that is none.</summary>
    public DeviceType Get(string name) =>
        Find(name) ?? throw new UserErrorException($"'{name}' is not a valid device model name"
            + NearestNames.Hint(name, _types.Values.Where(static t => t.UserCreatable).Select(static t => t.Name)));

    /// <summary>Makes the device of one <c>-device</c> option.</summary>
    public Device Create(string name, IEnumerable<KeyValuePair<string, string>> properties,
        IReadOnlyList<GlobalProperty> globals, IDeviceHost host)
    {
        var type = Get(name);
        if (!type.UserCreatable)
            throw new UserErrorException($"Parameter 'driver' expects a pluggable device type");
        return Create(type, properties, globals, host, userMade: true);
    }

    /// <summary>Makes a device, also one that only boards make.</summary>
    public static Device Create(DeviceType type, IEnumerable<KeyValuePair<string, string>> properties,
        IReadOnlyList<GlobalProperty> globals, IDeviceHost host, bool userMade = false)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var global in globals)
        {
            if (global.Driver == type.Name && type.FindProperty(global.Property) is { } p)
            {
                PropertyValues.Check(type.Name, p, global.Value);
                values[global.Property] = global.Value;
            }
        }

        string? id = null, bus = null;
        foreach (var (key, value) in properties)
        {
            switch (key)
            {
                case "id":
                    CheckId(value);
                    id = value;
                    break;
                case "bus":
                    bus = value;
                    break;
                default:
                    var property = type.FindProperty(key) ?? throw new UserErrorException(
                        $"Property '{type.Name}.{key}' not found"
                        + NearestNames.Hint(key, type.Properties.Select(static p => p.Name)));
                    PropertyValues.Check(type.Name, property, value);
                    values[key] = value;
                    break;
            }
        }

        var arguments = new DeviceArguments(type, id, bus, values, host) { IsUserMade = userMade };
        var device = type.Create(arguments);
        device.Arguments = arguments;
        return device;
    }

    /// <summary>Throws unless it is a letter and then letters, digits, '-', '.' and '_'.</summary>
    public static void CheckId(string id)
    {
        if (id.Length == 0 || !char.IsAsciiLetter(id[0])
            || !id.All(static c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '_'))
            throw new UserErrorException("Parameter 'id' expects an identifier");
    }

    /// <summary>The text of <c>-device help</c>.</summary>
    public string HelpText()
    {
        var text = new StringBuilder();
        foreach (var group in _types.Values.Where(static t => t.UserCreatable).GroupBy(static t => t.Category)
            .OrderBy(static g => g.Key))
        {
            if (text.Length > 0)
                text.Append('\n');
            text.Append(Heading(group.Key)).Append(" devices:\n");
            foreach (var type in group.OrderBy(static t => t.Name, StringComparer.Ordinal))
            {
                text.Append($"name \"{type.Name}\"");
                if (type.Bus != null)
                    text.Append($", bus {type.Bus}");
                if (type.Alias != null)
                    text.Append($", alias \"{type.Alias}\"");
                text.Append($", desc \"{type.Description}\"");
                text.Append('\n');
            }
        }

        return text.ToString();
    }

    /// <summary>The text of <c>-device NAME,help</c>.</summary>
    public string HelpText(string name)
    {
        var type = Get(name);
        if (type.Properties.Count == 0)
            return $"There are no options for {type.Name}.\n";
        var text = new StringBuilder($"{type.Name} options:\n");
        foreach (var property in type.Properties.OrderBy(static p => p.Name, StringComparer.Ordinal))
            text.Append(property.HelpLine).Append('\n');
        return text.ToString();
    }

    private static string Heading(DeviceCategory category) => category switch
    {
        DeviceCategory.Bridge => "Controller/Bridge/Hub",
        DeviceCategory.Usb => "USB",
        DeviceCategory.Cpu => "CPU",
        _ => category.ToString(),
    };
}
