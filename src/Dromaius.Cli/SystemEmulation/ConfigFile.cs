using Dromaius.Core.Errors;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>
/// <c>-readconfig</c>: an INI file whose sections are options, as <c>[device "id"]</c> with <c>key = "value"</c> lines.
/// </summary>
internal static class ConfigFile
{
    private static readonly Dictionary<string, string> OptionOfGroup = new()
    {
        ["machine"] = "machine", ["memory"] = "m", ["smp-opts"] = "smp", ["device"] = "device", ["drive"] = "drive", ["chardev"] = "chardev", ["mon"] = "mon",
        ["name"] = "name", ["rtc"] = "rtc", ["boot-opts"] = "boot", ["global"] = "global", ["fw_cfg"] = "fw_cfg", ["accel"] = "accel",
        ["netdev"] = "netdev", ["nic"] = "nic", ["net"] = "net", ["msg"] = "msg", ["action"] = "action", ["overcommit"] = "overcommit",
    };

    private static readonly Dictionary<string, string> FirstKey = new() { ["device"] = "driver", ["chardev"] = "backend", ["netdev"] = "type", ["nic"] = "type", ["net"] = "type" };

    public static void Read(SystemSettings settings, string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"Cannot read config file {path}: {Host.Explain(e)}");
        }

        string? group = null;
        List<string> items = [];
        for (var i = 0; i < lines.Length; i++)
        {
            var line = lines[i].Trim();
            if (line.Length == 0 || line[0] == '#')
                continue;
            if (line[0] == '[' && line[^1] == ']')
            {
                Apply(settings, group, items);
                var header = line[1..^1].Split('"');
                group = header[0].Trim();
                if (!OptionOfGroup.ContainsKey(group))
                    throw new UserErrorException($"{path}:{i + 1}: There is no option group '{group}'{NearestNames.Hint(group, OptionOfGroup.Keys)}");
                items = header.Length > 1 ? [$"id={header[1]}"] : [];
                continue;
            }

            var equals = line.IndexOf('=');
            if (group == null || equals < 0)
                throw new UserErrorException($"{path}:{i + 1}: parse error");
            var key = line[..equals].Trim();
            var value = line[(equals + 1)..].Trim().Trim('"').Replace(",", ",,");
            if (FirstKey.GetValueOrDefault(group) == key)
                items.Insert(0, $"{key}={value}");
            else
                items.Add($"{key}={value}");
        }

        Apply(settings, group, items);
    }

    private static void Apply(SystemSettings settings, string? group, List<string> items)
    {
        if (group == null)
            return;
        var option = OptionTable.Find(OptionOfGroup[group])!;
        option.Apply(settings, new Argument(option.Name, string.Join(',', items)));
    }
}
