using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace Dromaius.Core.Options;

/// <summary>What is wrong with JSON text.</summary>
public sealed class JsonTextException(string message) : Exception(message);

/// <summary>
/// JSON as clients and command lines write it (RFC 8259, and strings in single quotes). Nesting is bounded.
/// </summary>
public ref struct JsonReader
{
    private const int MaxNesting = 1024;

    private readonly ReadOnlySpan<byte> _text;
    private int _at;
    private int _depth;

    private JsonReader(ReadOnlySpan<byte> text) => _text = text;

    /// <summary>Parses one value; null stands for JSON's null.</summary>
    public static JsonNode? Parse(ReadOnlySpan<byte> text)
    {
        var reader = new JsonReader(text);
        var value = reader.Value();
        reader.SkipBlanks();
        return reader._at == text.Length ? value : throw new JsonTextException("Expecting at most one JSON value");
    }

    /// <summary>A text, number or boolean as options spell it.</summary>
    public static string Text(JsonValue value) => value.TryGetValue<bool>(out var on) ? on ? "on" : "off" : value.ToString();

    private static JsonTextException Error(string message) => new($"JSON parse error, {message}");

    private void SkipBlanks()
    {
        while (_at < _text.Length && _text[_at] is (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\r')
            _at++;
    }

    private byte Peek()
    {
        SkipBlanks();
        return _at < _text.Length ? _text[_at] : (byte)0;
    }

    private JsonNode? Value()
    {
        var first = Peek();
        switch (first)
        {
            case (byte)'{' or (byte)'[':
                if (++_depth > MaxNesting)
                    throw Error("JSON nesting depth limit exceeded");
                JsonNode value = first == '{' ? Object() : Array();
                _depth--;
                return value;
            case (byte)'"' or (byte)'\'':
                return JsonValue.Create(String());
            case (byte)'-' or (>= (byte)'0' and <= (byte)'9'):
                return Number();
            case (>= (byte)'a' and <= (byte)'z') or (>= (byte)'A' and <= (byte)'Z'):
                return Keyword();
            case 0 when _at >= _text.Length:
                throw Error("premature EOI");
            case (byte)'}' or (byte)']' or (byte)',' or (byte)':':
                throw Error("expecting value");
            default:
                throw Error($"stray '{(char)first}'");
        }
    }

    private JsonObject Object()
    {
        var result = new JsonObject();
        _at++;
        if (Peek() == '}')
        {
            _at++;
            return result;
        }

        while (true)
        {
            if (Value() is not JsonValue name || !name.TryGetValue<string>(out var key))
                throw Error("key is not a string in object");
            if (Peek() != ':')
                throw Error("missing : in object pair");
            _at++;
            var value = Value();
            if (!result.TryAdd(key, value))
                throw Error("duplicate key");
            switch (Peek())
            {
                case (byte)',':
                    _at++;
                    break;
                case (byte)'}':
                    _at++;
                    return result;
                default:
                    throw Error("expected separator in dict");
            }
        }
    }

    private JsonArray Array()
    {
        var result = new JsonArray();
        _at++;
        if (Peek() == ']')
        {
            _at++;
            return result;
        }

        while (true)
        {
            result.Add(Value());
            switch (Peek())
            {
                case (byte)',':
                    _at++;
                    break;
                case (byte)']':
                    _at++;
                    return result;
                default:
                    throw Error("expected separator in list");
            }
        }
    }

    private JsonValue? Keyword()
    {
        var start = _at;
        while (_at < _text.Length && char.IsAsciiLetterOrDigit((char)_text[_at]))
            _at++;
        return Encoding.ASCII.GetString(_text[start.._at]) switch
        {
            "true" => JsonValue.Create(true),
            "false" => JsonValue.Create(false),
            "null" => null,
            var other => throw Error($"invalid keyword '{other}'"),
        };
    }

    private JsonValue Number()
    {
        var start = _at;
        if (_text[_at] == '-')
            _at++;
        while (_at < _text.Length && _text[_at] is (>= (byte)'0' and <= (byte)'9') or (byte)'.' or (byte)'e' or (byte)'E' or (byte)'+' or (byte)'-')
            _at++;
        var text = Encoding.ASCII.GetString(_text[start.._at]);
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var integer))
            return JsonValue.Create(integer);
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var large))
            return JsonValue.Create(large);
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number)
            ? JsonValue.Create(number)
            : throw Error($"stray '{text}'");
    }

    private string String()
    {
        var quote = _text[_at++];
        var bytes = new List<byte>();
        Span<byte> encoded = stackalloc byte[4];
        while (true)
        {
            if (_at >= _text.Length)
                throw Error("expecting value");
            var b = _text[_at++];
            if (b == quote)
                return Encoding.UTF8.GetString(bytes.ToArray());
            if (b < 0x20)
                throw Error($"stray '{(char)quote}{Encoding.UTF8.GetString(bytes.ToArray())}'");
            if (b != '\\')
            {
                bytes.Add(b);
                continue;
            }

            var escaped = _at < _text.Length ? _text[_at++] : (byte)0;
            var plain = escaped switch
            {
                (byte)'"' or (byte)'\'' or (byte)'\\' or (byte)'/' => escaped,
                (byte)'b' => (byte)'\b',
                (byte)'f' => (byte)'\f',
                (byte)'n' => (byte)'\n',
                (byte)'r' => (byte)'\r',
                (byte)'t' => (byte)'\t',
                _ => (byte)0,
            };
            if (plain != 0)
            {
                bytes.Add(plain);
                continue;
            }

            if (escaped != 'u')
                throw Error("invalid escape sequence in string");
            var rune = Escape();
            bytes.AddRange(encoded[..rune.EncodeToUtf8(encoded)]);
        }
    }

    /// <summary>The digits behind <c>\u</c>, with the second half of a surrogate pair.</summary>
    private Rune Escape()
    {
        var first = Hex();
        if (Rune.TryCreate((char)first, out var rune))
            return rune;
        if (_at + 1 < _text.Length && _text[_at] == '\\' && _text[_at + 1] == 'u')
        {
            _at += 2;
            if (Rune.TryCreate((char)first, (char)Hex(), out rune))
                return rune;
        }

        throw Error("invalid escape sequence in string");
    }

    private int Hex()
    {
        if (_at + 4 <= _text.Length && ushort.TryParse(_text.Slice(_at, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
        {
            _at += 4;
            return value;
        }

        throw Error("invalid escape sequence '\\u'");
    }
}
