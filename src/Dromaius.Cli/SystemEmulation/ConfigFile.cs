using Dromaius.Core.Errors;
using Dromaius.Core.Options;

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
        ["netdev"] = "netdev", ["object"] = "object", ["nic"] = "nic", ["net"] = "net", ["msg"] = "msg", ["action"] = "action", ["overcommit"] = "overcommit",
    };

    private static readonly Dictionary<string, string> FirstKey = new() { ["device"] = "driver", ["chardev"] = "backend", ["netdev"] = "type", ["nic"] = "type", ["net"] = "type", ["object"] = "qom-type" };

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

        foreach (var section in IniFile.Parse(path, lines))
        {
            if (!OptionOfGroup.TryGetValue(section.Name, out var name))
                throw new UserErrorException($"{path}:{section.Line}: There is no option group '{section.Name}'{NearestNames.Hint(section.Name, OptionOfGroup.Keys)}");
            List<string> items = section.Id is { } id ? [$"id={id}"] : [];
            foreach (var (key, value) in section.Items)
                items.Insert(FirstKey.GetValueOrDefault(section.Name) == key ? 0 : items.Count, $"{key}={value.Replace(",", ",,")}");
            var option = OptionTable.Find(name)!;
            option.Apply(settings, new Argument(option.Name, string.Join(',', items)));
        }
    }
}
