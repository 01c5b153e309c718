using Dromaius.Core.Devices;

namespace Dromaius.Control.Hmp;

/// <summary>The <c>/4xw</c> of memory commands: how many, shown how, of how many bytes.</summary>
internal readonly record struct HmpFormat(int Count, char Letter, int Size);

/// <summary>
/// Arguments of a command by name, parsed as its declaration says: a list of <c>name:type</c> where the type is <c>s</c> (a string),
/// <c>F</c> (a file name), <c>B</c> (a drive), <c>i</c> or <c>l</c> (an expression), <c>o</c> (a size in MiB), <c>b</c> (on or off),
/// <c>S</c> (the rest of the line), <c>/</c> (a format) or <c>-x</c> (a flag, with <c>s</c> behind it one with a value); a question
/// mark makes it optional.
/// </summary>
internal sealed class HmpArguments
{
    private readonly Dictionary<string, string> _texts = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ulong> _numbers = new(StringComparer.Ordinal);

    public HmpFormat Format { get; private set; }

    public bool Has(string name) => _texts.ContainsKey(name) || _numbers.ContainsKey(name);

    public string Text(string name) => _texts[name];

    public string? OptionalText(string name) => _texts.GetValueOrDefault(name);

    public ulong Number(string name, ulong fallback = 0) => _numbers.TryGetValue(name, out var value) ? value : fallback;

    public int Integer(string name, int fallback = 0) =>
        _numbers.TryGetValue(name, out var value) ? (int)Math.Clamp((long)value, int.MinValue, int.MaxValue) : fallback;

    /// <param name="command">The command's name, for errors.</param>
    /// <param name="declaration">As above.</param>
    /// <param name="line">What follows the name.</param>
    /// <param name="format">What the last format was: what a new one leaves out stays.</param>
    /// <param name="register">Values of registers.</param>
    public static HmpArguments Parse(string command, string declaration, string line, HmpFormat format, Func<string, ulong?> register)
    {
        var result = new HmpArguments { Format = format };
        var at = 0;
        foreach (var item in declaration.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var colon = item.IndexOf(':');
            var (name, type) = (item[..colon], item[(colon + 1)..]);
            while (at < line.Length && char.IsWhiteSpace(line[at]))
                at++;
            var optional = type.EndsWith('?');
            if (type.StartsWith('-'))
            {
                result.TakeFlag(name, type, line, ref at);
                continue;
            }

            if (type == "/")
            {
                result.TakeFormat(line, ref at);
                continue;
            }

            if (at >= line.Length && optional)
                continue;
            result.Take(command, name, type.TrimEnd('?'), line, ref at, register);
        }

        while (at < line.Length && char.IsWhiteSpace(line[at]))
            at++;
        if (at < line.Length)
            throw new MonitorSyntaxException($"{command}: extraneous characters at the end of line");
        return result;
    }

    private void Take(string command, string name, string type, string line, ref int at, Func<string, ulong?> register)
    {
        switch (type)
        {
            case "i" or "l":
                _numbers[name] = MonitorExpression.Parse(line.AsSpan(at), register, out var length);
                at += length;
                break;
            case "S":
                if (at >= line.Length)
                    throw new MonitorSyntaxException($"{command}: string expected");
                _texts[name] = line[at..].TrimEnd();
                at = line.Length;
                break;
            default:
                var word = Word(line, ref at);
                if (word == null)
                {
                    var what = type switch
                    {
                        "F" => "filename expected",
                        "B" => "block device name expected",
                        _ => "string expected",
                    };
                    throw new MonitorSyntaxException($"{command}: {what}");
                }

                if (type == "o")
                    _numbers[name] = PropertyValues.TryParseSize(word, out var size, 1 << 20) ? size : throw new MonitorSyntaxException("invalid size");
                else if (type == "b")
                    _numbers[name] = word is "on" ? 1UL : word is "off" ? 0UL : throw new MonitorSyntaxException("Expected 'on' or 'off'");
                else
                    _texts[name] = word;
                break;
        }
    }

    private void TakeFlag(string name, string type, string line, ref int at)
    {
        if (at + 1 >= line.Length || line[at] != '-' || line[at + 1] != type[1] || (at + 2 < line.Length && !char.IsWhiteSpace(line[at + 2])))
            return;
        at += 2;
        if (type.Length > 2 && type[2] == 's')
        {
            while (at < line.Length && char.IsWhiteSpace(line[at]))
                at++;
            _texts[name] = Word(line, ref at) ?? throw new MonitorSyntaxException($"option -{type[1]} needs a value");
        }
        else
            _numbers[name] = 1;
    }

    private void TakeFormat(string line, ref int at)
    {
        var (count, letter, size) = (1, Format.Letter == '\0' ? 'x' : Format.Letter, Format.Size);
        if (at < line.Length && line[at] == '/')
        {
            at++;
            var digits = 0;
            for (; at < line.Length && char.IsAsciiDigit(line[at]); at++)
                digits = Math.Min((digits * 10) + (line[at] - '0'), 1 << 20);
            if (digits > 0)
                count = digits;
            for (; at < line.Length && !char.IsWhiteSpace(line[at]); at++)
            {
                switch (line[at])
                {
                    case 'o' or 'd' or 'u' or 'x' or 'i' or 'c':
                        letter = line[at];
                        break;
                    case 'b':
                        size = 1;
                        break;
                    case 'h':
                        size = 2;
                        break;
                    case 'w':
                        size = 4;
                        break;
                    case 'g' or 'L':
                        size = 8;
                        break;
                    default:
                        throw new MonitorSyntaxException($"invalid char in format: '{line[at]}'");
                }
            }
        }

        Format = new HmpFormat(count, letter, size);
    }

    /// <summary>The next word; quotes hold blanks together, with the usual escapes.</summary>
    private static string? Word(string line, ref int at)
    {
        if (at >= line.Length)
            return null;
        if (line[at] != '"')
        {
            var start = at;
            while (at < line.Length && !char.IsWhiteSpace(line[at]))
                at++;
            return line[start..at];
        }

        var text = new System.Text.StringBuilder();
        for (at++; at < line.Length && line[at] != '"'; at++)
        {
            if (line[at] != '\\')
            {
                text.Append(line[at]);
                continue;
            }

            if (++at >= line.Length)
                break;
            text.Append(line[at] switch
            {
                'n' => '\n',
                'r' => '\r',
                '\\' or '\'' or '"' => line[at],
                var other => throw new MonitorSyntaxException($"unsupported escape code: '\\{other}'"),
            });
        }

        if (at >= line.Length)
            throw new MonitorSyntaxException("unterminated string");
        at++;
        return text.ToString();
    }
}
