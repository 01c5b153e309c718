using Dromaius.Core.Errors;

namespace Dromaius.Core.Options;

/// <summary>A section of an INI file.</summary>
/// <param name="Name">The word behind the bracket.</param>
/// <param name="Id">The text in quotes behind it, or null.</param>
/// <param name="Line">Where it begins, for messages.</param>
public sealed record IniSection(string Name, string? Id, int Line)
{
    /// <summary>The pairs, in order.</summary>
    public List<KeyValuePair<string, string>> Items { get; } = [];
}

/// <summary>Files of sections, as <c>[device "id"]</c> with <c>key = "value"</c> lines; lines that begin with # say nothing.</summary>
public static class IniFile
{
    /// <param name="path">For messages.</param>
    /// <param name="lines">The text.</param>
    public static List<IniSection> Parse(string path, IEnumerable<string> lines)
    {
        List<IniSection> sections = [];
        var number = 0;
        foreach (var raw in lines)
        {
            number++;
            var line = raw.Trim();
            if (line.Length == 0 || line[0] == '#')
                continue;
            if (line[0] == '[' && line[^1] == ']')
            {
                var header = line[1..^1].Split('"');
                sections.Add(new IniSection(header[0].Trim(), header.Length > 1 ? header[1] : null, number));
                continue;
            }

            var equals = line.IndexOf('=');
            if (sections.Count == 0)
                throw new UserErrorException($"{path}:{number}: no group defined");
            if (equals < 0)
                throw new UserErrorException($"{path}:{number}: parse error");
            sections[^1].Items.Add(new(line[..equals].Trim(), line[(equals + 1)..].Trim().Trim('"')));
        }

        return sections;
    }
}
