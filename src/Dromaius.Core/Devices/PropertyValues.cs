using System.Globalization;
using Dromaius.Core.Errors;

namespace Dromaius.Core.Devices;

/// <summary>Values as users write them.</summary>
public static class PropertyValues
{
    /// <summary>A decimal, 0x hexadecimal or 0 octal number.</summary>
    public static bool TryParseInteger(string text, out ulong value)
    {
        value = 0;
        if (text.Length == 0)
            return false;
        if (text[0] == '-')
        {
            if (!TryParseInteger(text[1..], out var positive))
                return false;
            value = (ulong)-(long)positive;
            return true;
        }

        if (text.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
            return ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
        if (text.Length > 1 && text[0] == '0' && text.All(static c => c is >= '0' and <= '7'))
        {
            if (text.Length > 22)
                return false;
            foreach (var c in text)
                value = (value << 3) | (uint)(c - '0');
            return true;
        }

        return ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
    }

    public static bool TryParseBool(string text, out bool value)
    {
        value = text is "on" or "yes" or "true" or "y";
        return value || text is "off" or "no" or "false" or "n";
    }

    /// <summary>A byte count: a number, perhaps with a fraction, and one of B, K, M, G, T, P, E.</summary>
    public static bool TryParseSize(string text, out ulong value, ulong unit = 1)
    {
        value = 0;
        if (text.Length == 0)
            return false;
        var shift = char.ToUpperInvariant(text[^1]) switch
        {
            'B' when !text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) => 0,
            'K' => 10,
            'M' => 20,
            'G' => 30,
            'T' => 40,
            'P' => 50,
            'E' when !text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) => 60,
            _ => -1,
        };
        var number = shift >= 0 ? text[..^1] : text;
        var scale = shift >= 0 ? 1UL << shift : unit;
        if (number.Length == 0 || number[0] is '-' or '+')
            return false;
        if (number.Contains('.'))
        {
            if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var fraction)
                || fraction > ulong.MaxValue / scale)
                return false;
            value = (ulong)(fraction * scale);
            return true;
        }

        if (!TryParseInteger(number, out var whole) || whole > ulong.MaxValue / scale)
            return false;
        value = whole * scale;
        return true;
    }

    /// <summary>Checks a value against its property's kind; throws the one-line error.</summary>
    public static void Check(string typeName, DeviceProperty property, string value)
    {
        var name = property.Name;
        switch (property.Kind)
        {
            case PropertyKind.Bool:
                if (!TryParseBool(value, out _))
                    throw new UserErrorException($"Parameter '{name}' expects 'on' or 'off'");
                break;
            case PropertyKind.UInt8:
                CheckInteger(typeName, name, value, byte.MaxValue);
                break;
            case PropertyKind.UInt16:
                CheckInteger(typeName, name, value, ushort.MaxValue);
                break;
            case PropertyKind.UInt32:
                CheckInteger(typeName, name, value, uint.MaxValue);
                break;
            case PropertyKind.Int32:
            case PropertyKind.UInt64:
                CheckInteger(typeName, name, value, ulong.MaxValue);
                break;
            case PropertyKind.Size:
                if (!TryParseSize(value, out _))
                    throw new UserErrorException($"Parameter '{name}' expects a non-negative number below 2^64");
                break;
            case PropertyKind.PciAddress:
                if (!TryParsePciAddress(value, out _))
                    throw new UserErrorException($"Property '{typeName}.{name}' doesn't take value '{value}'");
                break;
            case PropertyKind.OnOffAuto:
                if (value is not ("on" or "off" or "auto"))
                    throw new UserErrorException($"Parameter '{name}' does not accept value '{value}'");
                break;
        }
    }

    /// <summary>A devfn from <c>slot[.function]</c> in hexadecimal.</summary>
    public static bool TryParsePciAddress(string text, out int devfn)
    {
        devfn = -1;
        if (text == "-1")
            return true;
        var dot = text.IndexOf('.');
        var slotText = dot < 0 ? text : text[..dot];
        uint function = 0;
        if (!TryParse(slotText, out var slot) || slot > 31 || (dot >= 0 && (!TryParse(text[(dot + 1)..], out function) || function > 7)))
            return false;
        devfn = (int)((slot << 3) | function);
        return true;

        // Hexadecimal with or without saying so: libvirt writes 0x4.0x1.
        static bool TryParse(string part, out uint value) => uint.TryParse(
            part.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? part.AsSpan(2) : part, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static void CheckInteger(string typeName, string name, string value, ulong max)
    {
        if (!TryParseInteger(value, out var n))
            throw new UserErrorException($"Parameter '{name}' expects integer");
        if (n > max && value[0] != '-')
            throw new UserErrorException($"Property {typeName}.{name} doesn't take value {value} (minimum: 0, maximum: {max})");
    }
}
