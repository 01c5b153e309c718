using Dromaius.Core.Devices;
using Dromaius.Core.Errors;

namespace Dromaius.Core.Options;

/// <summary>Scalars of option arguments, with the message for what cannot be one.</summary>
public static class OptionValue
{
    public static bool Bool(string key, string text) =>
        PropertyValues.TryParseBool(text, out var value)
            ? value
            : throw new UserErrorException($"Parameter '{key}' expects 'on' or 'off'");

    public static long Number(string key, string text, long min = 0, long max = long.MaxValue)
    {
        if (!PropertyValues.TryParseInteger(text, out var bits))
            throw new UserErrorException($"Parameter '{key}' expects integer");
        var value = unchecked((long)bits);
        var wraps = value < 0 != text.StartsWith('-');
        if (wraps || value < min || value > max)
        {
            throw new UserErrorException(max == long.MaxValue
                ? $"Parameter '{key}' expects a value not below {min}"
                : $"Parameter '{key}' expects a value between {min} and {max}");
        }

        return value;
    }

    /// <summary>Bytes from text such as <c>512</c>, <c>1.5G</c>, <c>0x1000</c>, <c>64k</c>.</summary>
    /// <param name="key">For the message.</param>
    /// <param name="text">The argument.</param>
    /// <param name="unit">What a number without suffix counts, in bytes.</param>
    public static ulong Size(string key, string text, ulong unit = 1) =>
        PropertyValues.TryParseSize(text, out var bytes, unit)
            ? bytes
            : throw new UserErrorException(
                $"Parameter '{key}' expects a non-negative number below 2^64, with an optional suffix k, M, G, T, P or E");
}
