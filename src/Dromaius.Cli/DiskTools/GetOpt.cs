namespace Dromaius.Cli.DiskTools;

/// <summary>Ends a tool with a message and a status.</summary>
internal sealed class ToolException(string message, int status = 1, bool showHelpHint = false) : Exception(message)
{
    public int Status => status;

    /// <summary>The command line was wrong: point to the help.</summary>
    public bool ShowHelpHint => showHelpHint;
}

/// <summary>Options of a tool as getopt_long(3) reads them: short ones may be joined, others may follow the arguments.</summary>
internal sealed class GetOpt
{
    private readonly List<(string Key, string Value)> _options = [];

    /// <param name="args">The words.</param>
    /// <param name="shorts">Letters, each with a colon behind it if it takes an argument.</param>
    /// <param name="longs">Names, each with an equals sign behind it if it takes an argument; <c>name/x</c> stands for the letter x.</param>
    public GetOpt(IReadOnlyList<string> args, string shorts, params ReadOnlySpan<string> longs)
    {
        var names = longs.ToArray();
        for (var i = 0; i < args.Count; i++)
        {
            var word = args[i];
            if (word == "--")
            {
                Rest.AddRange(args.Skip(i + 1));
                break;
            }

            if (word.StartsWith("--", StringComparison.Ordinal))
                ReadLong(args, ref i, names);
            else if (word.Length > 1 && word[0] == '-')
                ReadShort(args, ref i, shorts);
            else
                Rest.Add(word);
        }
    }

    /// <summary>What is not an option.</summary>
    public List<string> Rest { get; } = [];

    public bool Has(string key) => _options.Exists(o => o.Key == key);

    /// <summary>The last argument of an option, or null.</summary>
    public string? Value(string key) => _options.FindLast(o => o.Key == key).Value;

    public IEnumerable<string> Values(string key) => _options.Where(o => o.Key == key).Select(static o => o.Value);

    /// <summary>All options in order.</summary>
    public IReadOnlyList<(string Key, string Value)> All => _options;

    private void ReadLong(IReadOnlyList<string> args, ref int i, string[] longs)
    {
        var word = args[i];
        var equals = word.IndexOf('=');
        var name = equals < 0 ? word[2..] : word[2..equals];
        var matches = longs.Where(l => Name(l).StartsWith(name, StringComparison.Ordinal)).ToArray();
        var found = Array.Find(matches, l => Name(l) == name) ?? (matches.Length == 1 ? matches[0] : null)
            ?? throw new ToolException($"unrecognized option '{word}'", 1, true);
        var slash = found.IndexOf('/');
        var key = slash < 0 ? Name(found) : found[(slash + 1)..].TrimEnd('=');
        if (!found.EndsWith('='))
        {
            _options.Add((key, ""));
            return;
        }

        if (equals >= 0)
            _options.Add((key, word[(equals + 1)..]));
        else if (i + 1 < args.Count)
            _options.Add((key, args[++i]));
        else
            throw new ToolException($"missing argument for option '{word}'", 1, true);
    }

    private static string Name(string spec) => spec.Split('/')[0].TrimEnd('=');

    private void ReadShort(IReadOnlyList<string> args, ref int i, string shorts)
    {
        var word = args[i];
        for (var j = 1; j < word.Length; j++)
        {
            var at = shorts.IndexOf(word[j]);
            if (at < 0 || word[j] == ':')
                throw new ToolException($"unrecognized option '{word}'", 1, true);
            var key = word[j].ToString();
            if (at + 1 >= shorts.Length || shorts[at + 1] != ':')
            {
                _options.Add((key, ""));
                continue;
            }

            if (j + 1 < word.Length)
                _options.Add((key, word[(j + 1)..]));
            else if (i + 1 < args.Count)
                _options.Add((key, args[++i]));
            else
                throw new ToolException($"missing argument for option '{word}'", 1, true);
            return;
        }
    }
}
