using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Core.Errors;

namespace Dromaius.Core.Options;

/// <summary>
/// A <c>value,key=value,flag,noflag</c> argument as QEMU's options spell it: commas separate, a doubled comma stands for one,
/// the first part may leave its key out, a part without a value is a boolean. Order is kept; a later key wins. Where a first part may
/// leave its key out, a JSON object says the same.
/// </summary>
public sealed class OptionList
{
    private readonly List<KeyValuePair<string, string>> _items = [];
    private readonly HashSet<string> _taken = [];

    /// <summary>The argument as the user wrote it, for messages.</summary>
    public string Source { get; private init; } = "";

    public IReadOnlyList<KeyValuePair<string, string>> Items => _items;

    /// <param name="text">The argument.</param>
    /// <param name="impliedKey">Key of a first part that has none; null when it must have one.</param>
    public static OptionList Parse(string text, string? impliedKey = null)
    {
        var list = new OptionList { Source = text };
        if (impliedKey != null && text.StartsWith('{'))
        {
            list.AddJson(text);
            return list;
        }

        var first = true;
        foreach (var part in SplitParts(text))
        {
            var equals = part.IndexOf('=');
            if (equals >= 0)
                list.Add(part[..equals], part[(equals + 1)..]);
            else if (first && impliedKey != null)
                list.Add(impliedKey, part);
            else if (part is "help" or "?")
                list.Add("help", "on");
            else if (part.StartsWith("no", StringComparison.Ordinal) && part.Length > 2 && part != "nodelay" && part != "node")
                list.Add(part[2..], "off");
            else if (part.Length > 0)
                list.Add(part, "on");
            first = false;
        }

        return list;
    }

    /// <summary>Members of a JSON object: nested ones with dotted keys, lists of texts as the same key several times.</summary>
    private void AddJson(string text)
    {
        try
        {
            AddJson("", JsonReader.Parse(Encoding.UTF8.GetBytes(text)));
        }
        catch (JsonTextException e)
        {
            throw new UserErrorException(e.Message);
        }
    }

    private void AddJson(string key, JsonNode? value)
    {
        switch (value)
        {
            case JsonObject members when members.Count == 1 && members.TryGetPropertyValue("str", out var only):
                AddJson(key, only);
                break;
            case JsonObject members:
                foreach (var (name, member) in members)
                    AddJson(key.Length == 0 ? name : $"{key}.{name}", member);
                break;
            case JsonArray items:
                foreach (var item in items)
                    AddJson(key, item);
                break;
            case JsonValue scalar:
                Add(key, JsonReader.Text(scalar));
                break;
        }
    }

    /// <summary>Splits at single commas and undoubles the others.</summary>
    public static List<string> SplitParts(string text)
    {
        var parts = new List<string>();
        var part = new StringBuilder();
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != ',')
                part.Append(text[i]);
            else if (i + 1 < text.Length && text[i + 1] == ',')
            {
                part.Append(',');
                i++;
            }
            else
            {
                parts.Add(part.ToString());
                part.Clear();
            }
        }

        parts.Add(part.ToString());
        return parts;
    }

    public void Add(string key, string value) => _items.Add(new(key, value));

    public bool Has(string key)
    {
        foreach (var item in _items)
        {
            if (item.Key == key)
                return true;
        }

        return false;
    }

    /// <summary>The last value of a key, or null; marks it as understood.</summary>
    public string? Take(string key)
    {
        _taken.Add(key);
        string? value = null;
        foreach (var item in _items)
        {
            if (item.Key == key)
                value = item.Value;
        }

        return value;
    }

    public string TakeRequired(string key) =>
        Take(key) ?? throw new UserErrorException($"Parameter '{key}' is missing");

    public bool TakeBool(string key, bool fallback) =>
        Take(key) is { } text ? OptionValue.Bool(key, text) : fallback;

    public long TakeNumber(string key, long fallback, long min = 0, long max = long.MaxValue) =>
        Take(key) is { } text ? OptionValue.Number(key, text, min, max) : fallback;

    /// <summary>Complains about the first key that nobody took.</summary>
    public void RejectUntaken()
    {
        foreach (var item in _items)
        {
            if (!_taken.Contains(item.Key))
                throw new UserErrorException($"Invalid parameter '{item.Key}'{NearestNames.Hint(item.Key, _taken)}");
        }
    }

    public override string ToString() => Source;
}
