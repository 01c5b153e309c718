using System.Text.Json.Nodes;

namespace Dromaius.Control.Qmp;

/// <summary>The arguments of a command, checked against the schema before.</summary>
internal readonly struct QmpArguments(JsonObject values)
{
    public JsonObject Values => values;

    public bool Has(string name) => values.ContainsKey(name);

    public string Text(string name) => (string)values[name]!;

    public string? OptionalText(string name) => values[name] is { } v ? (string?)v : null;

    public bool Flag(string name, bool fallback = false) => values[name] is { } v ? (bool)v : fallback;

    public long Integer(string name, long fallback = 0)
    {
        if (values[name] is not JsonValue v)
            return fallback;
        return v.TryGetValue<long>(out var signed) ? signed : v.TryGetValue<ulong>(out var unsigned) ? (long)unsigned : fallback;
    }

    public JsonArray Array(string name) => (JsonArray)values[name]!;
}
