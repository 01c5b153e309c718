using System.Text.Json.Nodes;

namespace Dromaius.Control.Qmp;

/// <summary>The arguments of a command, checked against the schema before.</summary>
internal readonly struct QmpArguments(JsonObject values)
{
    public JsonObject Values => values;

    public bool Has(string name) => values.ContainsKey(name);

    public string Text(string name) => (string)values[name]!;

    public string? OptionalText(string name) => values[name] switch
    {
        null => null,
        JsonValue v when v.TryGetValue<string>(out var text) => text,
        _ => throw WrongType(name, "string"),
    };

    public bool Flag(string name, bool fallback = false) => values[name] switch
    {
        null => fallback,
        JsonValue v when v.TryGetValue<bool>(out var flag) => flag,
        _ => throw WrongType(name, "boolean"),
    };

    /// <summary>What the schema does not look into: the members of a transaction's actions.</summary>
    private static QmpErrorException WrongType(string name, string expected) =>
        QmpErrorException.Generic($"Invalid parameter type for '{name}', expected: {expected}");

    public long Integer(string name, long fallback = 0)
    {
        if (values[name] is not JsonValue v)
            return fallback;
        return v.TryGetValue<long>(out var signed) ? signed : v.TryGetValue<ulong>(out var unsigned) ? (long)unsigned : fallback;
    }

    public JsonArray Array(string name) => (JsonArray)values[name]!;
}
