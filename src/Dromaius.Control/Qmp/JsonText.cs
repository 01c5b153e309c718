using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace Dromaius.Control.Qmp;

/// <summary>Writes JSON in the layout that clients of the protocol are used to: a blank behind colons and commas, ASCII only.</summary>
internal static class JsonText
{
    public static string Write(JsonNode? node, bool pretty)
    {
        var text = new StringBuilder();
        Write(text, node, pretty ? 0 : -1);
        return text.ToString();
    }

    private static void Write(StringBuilder text, JsonNode? node, int indent)
    {
        switch (node)
        {
            case null:
                text.Append("null");
                break;
            case JsonObject o:
                Items(text, '{', '}', indent, o, static (t, e, i) =>
                {
                    Quote(t, e.Key);
                    t.Append(": ");
                    Write(t, e.Value, i);
                });
                break;
            case JsonArray a:
                Items(text, '[', ']', indent, a, static (t, e, i) => Write(t, e, i));
                break;
            case JsonValue v when v.TryGetValue<string>(out var s):
                Quote(text, s);
                break;
            case JsonValue v when v.TryGetValue<bool>(out var b):
                text.Append(b ? "true" : "false");
                break;
            case JsonValue v when v.TryGetValue<double>(out var d):
                text.Append(d.ToString("R", CultureInfo.InvariantCulture));
                break;
            default:
                text.Append(node.ToString());
                break;
        }
    }

    private static void Items<T>(StringBuilder text, char open, char close, int indent, IEnumerable<T> items,
        Action<StringBuilder, T, int> write)
    {
        text.Append(open);
        var inner = indent < 0 ? -1 : indent + 1;
        var first = true;
        foreach (var item in items)
        {
            if (!first)
                text.Append(inner < 0 ? ", " : ",");
            first = false;
            NewLine(text, inner);
            write(text, item, inner);
        }

        NewLine(text, indent);
        text.Append(close);
    }

    private static void NewLine(StringBuilder text, int indent)
    {
        if (indent >= 0)
            text.Append('\n').Append(' ', 4 * indent);
    }

    private static void Quote(StringBuilder text, string s)
    {
        text.Append('"');
        foreach (var c in s)
        {
            switch (c)
            {
                case '"':
                    text.Append("\\\"");
                    break;
                case '\\':
                    text.Append("\\\\");
                    break;
                case '\b':
                    text.Append("\\b");
                    break;
                case '\f':
                    text.Append("\\f");
                    break;
                case '\n':
                    text.Append("\\n");
                    break;
                case '\r':
                    text.Append("\\r");
                    break;
                case '\t':
                    text.Append("\\t");
                    break;
                case < ' ' or >= '\x7F':
                    text.Append("\\u").Append(((int)c).ToString("X4", CultureInfo.InvariantCulture));
                    break;
                default:
                    text.Append(c);
                    break;
            }
        }

        text.Append('"');
    }
}
