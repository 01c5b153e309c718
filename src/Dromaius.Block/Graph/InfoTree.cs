using System.Globalization;
using System.Text;

namespace Dromaius.Block.Graph;

/// <summary>
/// Named values in order, nested, as the tools print them for people and as JSON. Values are strings, numbers, booleans, trees and
/// lists of these.
/// </summary>
public sealed class InfoTree
{
    private readonly List<KeyValuePair<string, object>> _items = [];

    public IReadOnlyList<KeyValuePair<string, object>> Items => _items;

    public InfoTree Add(string key, object? value)
    {
        if (value != null)
            _items.Add(new(key, value));
        return this;
    }

    /// <summary>JSON in lines, four spaces a level.</summary>
    public static string ToJson(object value)
    {
        var text = new StringBuilder();
        Json(text, value, 0);
        return text.ToString();
    }

    /// <summary>Lines of <c>key: value</c>, dashes of keys as spaces.</summary>
    public string ToText(int indent)
    {
        var text = new StringBuilder();
        Lines(text, this, indent);
        return text.ToString();
    }

    public static string Quote(string value)
    {
        var text = new StringBuilder("\"");
        foreach (var c in value)
        {
            _ = c switch
            {
                '"' => text.Append("\\\""),
                '\\' => text.Append(@"\\"),
                '\n' => text.Append("\\n"),
                '\t' => text.Append("\\t"),
                '\r' => text.Append("\\r"),
                '\b' => text.Append("\\b"),
                '\f' => text.Append("\\f"),
                < ' ' or > '~' => text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:X4}"),
                _ => text.Append(c),
            };
        }

        return text.Append('"').ToString();
    }

    private static void Json(StringBuilder text, object value, int level)
    {
        switch (value)
        {
            case InfoTree tree:
                text.Append('{');
                for (var i = 0; i < tree._items.Count; i++)
                {
                    Break(text, i, level + 1);
                    text.Append(Quote(tree._items[i].Key)).Append(": ");
                    Json(text, tree._items[i].Value, level + 1);
                }

                text.Append('\n').Append(' ', level * 4).Append('}');
                break;
            case IReadOnlyList<object> list:
                text.Append('[');
                for (var i = 0; i < list.Count; i++)
                {
                    Break(text, i, level + 1);
                    Json(text, list[i], level + 1);
                }

                text.Append('\n').Append(' ', level * 4).Append(']');
                break;
            case string s:
                text.Append(Quote(s));
                break;
            case bool b:
                text.Append(b ? "true" : "false");
                break;
            default:
                text.Append(CultureInfo.InvariantCulture, $"{value}");
                break;
        }
    }

    private static void Break(StringBuilder text, int index, int level)
    {
        if (index > 0)
            text.Append(',');
        text.Append('\n').Append(' ', level * 4);
    }

    private static void Lines(StringBuilder text, object value, int level)
    {
        switch (value)
        {
            case InfoTree tree:
                foreach (var (key, item) in tree._items)
                    Line(text, key.Replace('-', ' '), item, level);
                break;
            case IReadOnlyList<object> list:
                for (var i = 0; i < list.Count; i++)
                    Line(text, $"[{i}]", list[i], level);
                break;
        }
    }

    private static void Line(StringBuilder text, string key, object value, int level)
    {
        text.Append(' ', level * 4).Append(key).Append(':');
        if (value is InfoTree or IReadOnlyList<object>)
        {
            text.Append('\n');
            Lines(text, value, level + 1);
            return;
        }

        var shown = value is bool b ? b ? "true" : "false" : string.Create(CultureInfo.InvariantCulture, $"{value}");
        text.Append(' ').Append(shown).Append('\n');
    }
}
