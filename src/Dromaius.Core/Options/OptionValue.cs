using System.Globalization;
using Dromaius.Core.Errors;

namespace Dromaius.Core.Options;

/// <summary>Scalars of option arguments: booleans, numbers, sizes with suffixes.</summary>
public static class OptionValue
{
    public static bool Bool(string key, string text) => text switch
    {
        "on" or "yes" or "true" or "y" => true,
        "off" or "no" or "false" or "n" => false,
        _ => throw new UserErrorException($"Parameter '{key}' expects 'on' or 'off'"),
    };

    /// <summary>A decimal, 0x hexadecimal or 0 octal integer.</summary>
    public static bool TryNumber(string text, out long value)
    {
        value = 0;
        var negative = text.StartsWith('-');
        var digits = negative || text.StartsWith('+') ? text.AsSpan(1) : text.AsSpan();
        ulong magnitude;
        if (digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
        {
            if (!ulong.TryParse(digits[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out magnitude))
                return false;
        }
        else if (digits.Length > 1 && digits[0] == '0')
        {
            magnitude = 0;
            foreach (var c in digits)
            {
                if (c is < '0' or > '7' || magnitude >> 61 != 0)
                    return false;
                magnitude = (magnitude << 3) | (uint)(c - '0');
            }
        }
        else if (!ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out magnitude))
            return false;

        if (magnitude > long.MaxValue && digits.Length > 0 && negative)
            return false;
        value = negative ? -(long)magnitude : unchecked((long)magnitude);
        return negative || magnitude <= long.MaxValue;
    }

    public static long Number(string key, string text, long min = 0, long max = long.MaxValue)
    {
        if (!TryNumber(text, out var value))
            throw new UserErrorException($"Parameter '{key}' expects a number");
        if (value < min || value > max)
        {
            throw new UserErrorException(max == long.MaxValue
                ? $"Parameter '{key}' expects a value not below {min}"
                : $"Parameter '{key}' expects a value between {min} and {max}");
        }

        return value;
    }

    /// <summary>Bytes from text such as <c>512</c>, <c>1.5G</c>, <c>0x1000</c>, <c>64k</c>.</summary>
    /// <param name="text">The argument.</param>
    /// <param name="defaultUnit">What a number without suffix counts, in bytes.</param>
    public static bool TrySize(string text, ulong defaultUnit, out ulong bytes)
    {
        bytes = 0;
        if (text.Length == 0)
            return false;
        if (text.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
        {
            if (!ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var hex))
                return false;
            return TryMultiply(hex, defaultUnit, out bytes);
        }

        var number = text.AsSpan();
        var unit = defaultUnit;
        if (char.IsAsciiLetter(text[^1]))
        {
            var shift = char.ToLowerInvariant(text[^1]) switch
            {
                'b' => 0, 'k' => 10, 'm' => 20, 'g' => 30, 't' => 40, 'p' => 50, 'e' => 60, _ => -1,
            };
            if (shift < 0)
                return false;
            unit = 1UL << shift;
            number = number[..^1];
        }

        if (ulong.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var whole))
            return TryMultiply(whole, unit, out bytes);
        if (unit == 1 || !decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var fraction))
            return false;
        var exact = fraction * unit;
        if (exact > ulong.MaxValue)
            return false;
        bytes = (ulong)exact;
        return true;
    }

    public static ulong Size(string key, string text, ulong defaultUnit = 1) =>
        TrySize(text, defaultUnit, out var bytes)
            ? bytes
            : throw new UserErrorException($"Parameter '{key}' expects a non-negative number below 2^64, with an optional suffix k, M, G, T, P or E");

    private static bool TryMultiply(ulong value, ulong unit, out ulong product)
    {
        product = unchecked(value * unit);
        return Math.BigMul(value, unit, out _) == 0;
    }
}
