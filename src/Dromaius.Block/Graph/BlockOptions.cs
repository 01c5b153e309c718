using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Block.Graph;

/// <summary>
/// Options of a node as flat pairs with dotted keys (<c>file.driver</c>, <c>backing.file.filename</c>), whatever syntax they came in.
/// Those that nobody takes are complained about.
/// </summary>
public sealed class BlockOptions
{
    private readonly List<KeyValuePair<string, string>> _items;
    private readonly HashSet<string> _taken;
    private readonly string _prefix;

    public BlockOptions()
        : this([], [], "")
    {
    }

    private BlockOptions(List<KeyValuePair<string, string>> items, HashSet<string> taken, string prefix)
    {
        _items = items;
        _taken = taken;
        _prefix = prefix;
    }

    /// <summary>From <c>key=value,...</c> or a JSON object.</summary>
    public static BlockOptions Parse(string text, string? impliedKey = null)
    {
        var options = new BlockOptions();
        if (text.StartsWith('{'))
        {
            options.AddJson(text);
            return options;
        }

        foreach (var (key, value) in OptionList.Parse(text, impliedKey).Items)
            options.Set(key, value);
        return options;
    }

    /// <summary>Adds the members of a JSON object, nested ones with dotted keys.</summary>
    public void AddJson(string json)
    {
        try
        {
            Add("", JsonReader.Parse(Encoding.UTF8.GetBytes(json)) as JsonObject
                ?? throw new BlockException(BlockError.Invalid, "Invalid JSON object given"));
        }
        catch (JsonTextException e)
        {
            throw new BlockException(BlockError.Invalid, $"Could not parse the JSON options: {e.Message}", e);
        }
    }

    /// <summary>The keys, relative to this level, that are set.</summary>
    public IEnumerable<string> Keys
    {
        get
        {
            foreach (var (key, _) in _items)
            {
                if (key.StartsWith(_prefix, StringComparison.Ordinal))
                    yield return key[_prefix.Length..];
            }
        }
    }

    public void Set(string key, string value)
    {
        _ = _items.RemoveAll(i => i.Key == _prefix + key);
        _items.Add(new(_prefix + key, value));
    }

    public void Remove(string key) => _items.RemoveAll(i => i.Key == _prefix + key);

    public bool Has(string key) => _items.Exists(i => i.Key == _prefix + key);

    /// <summary>Something is set below a key.</summary>
    public bool HasBelow(string key) => _items.Exists(i => i.Key.StartsWith(_prefix + key + ".", StringComparison.Ordinal));

    /// <summary>The options below a key, sharing what was taken.</summary>
    public BlockOptions Below(string key) => new(_items, _taken, _prefix + key + ".");

    public BlockOptions Clone() => new([.. _items.Where(i => i.Key.StartsWith(_prefix, StringComparison.Ordinal))
        .Select(i => new KeyValuePair<string, string>(i.Key[_prefix.Length..], i.Value))], [], "");

    public string? Take(string key)
    {
        _ = _taken.Add(_prefix + key);
        var at = _items.FindIndex(i => i.Key == _prefix + key);
        return at < 0 ? null : _items[at].Value;
    }

    public string Require(string key) =>
        Take(key) ?? throw new BlockException(BlockError.Invalid, $"Parameter '{_prefix}{key}' is missing");

    public bool? TakeBool(string key)
    {
        if (Take(key) is not { } text)
            return null;
        return PropertyValues.TryParseBool(text, out var value)
            ? value
            : throw new BlockException(BlockError.Invalid, $"Parameter '{key}' expects 'on' or 'off'");
    }

    public long? TakeSize(string key)
    {
        if (Take(key) is not { } text)
            return null;
        return PropertyValues.TryParseSize(text, out var bytes, 1) && bytes <= long.MaxValue
            ? (long)bytes
            : throw new BlockException(BlockError.Invalid, $"Parameter '{key}' expects a non-negative number below 2^64")
            {
                Hint = "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.",
            };
    }

    public T? TakeChoice<T>(string key, params ReadOnlySpan<(string Name, T Value)> choices)
        where T : struct
    {
        if (Take(key) is not { } text)
            return null;
        foreach (var (name, value) in choices)
        {
            if (name == text)
                return value;
        }

        throw new BlockException(BlockError.Invalid, $"Parameter '{key}' does not accept value '{text}'");
    }

    /// <summary>Complains about the first option at or below this level that nobody took.</summary>
    /// <param name="driver">Of the node.</param>
    /// <param name="typed">As the schema of the protocol words it.</param>
    public void RejectUntaken(string driver, bool typed = false)
    {
        foreach (var (key, _) in _items)
        {
            if (key.StartsWith(_prefix, StringComparison.Ordinal) && !_taken.Contains(key))
                throw new BlockException(BlockError.Invalid, typed ? $"Parameter '{key}' is unexpected" : $"Block format '{driver}' does not support the option '{key[_prefix.Length..]}'");
        }
    }

    /// <summary>As <c>json:{...}</c> names print it.</summary>
    public override string ToString() => string.Join(",", _items.Select(static i => $"{i.Key}={i.Value.Replace(",", ",,")}"));

    private void Add(string key, JsonNode? value)
    {
        switch (value)
        {
            case JsonObject members:
                foreach (var (name, member) in members)
                    Add(key.Length == 0 ? name : $"{key}.{name}", member);
                break;
            case JsonArray items:
                for (var i = 0; i < items.Count; i++)
                    Add($"{key}.{i}", items[i]);
                break;
            default:
                Set(key, value is JsonValue scalar ? JsonReader.Text(scalar) : "");
                break;
        }
    }
}
