using Dromaius.Core.Errors;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>All options by heading, in the order of the help.</summary>
internal static class OptionTable
{
    public static IReadOnlyList<OptionGroup> Groups { get; } =
    [
        new("Standard options", StandardOptions.All),
        new("Block device options", DriveOptions.All),
        new("Display options", DisplayOptions.All),
        new("x86 options", X86Options.All),
        new("Network options", NetOptions.All),
        new("Character device options", ChardevOptions.All),
        new("Linux/Multiboot boot options", BootOptions.All),
        new("Generic object creation", ObjectOptions.All),
        new("Debug and expert options", ExpertOptions.All),
        new("Other options (accepted where they ask for nothing)", AbsentOptions.All),
    ];

    private static readonly Dictionary<string, OptionSpec> ByName = Build();

    public static OptionSpec? Find(string name) => ByName.GetValueOrDefault(name);

    /// <summary>The message for an option that is not in the table.</summary>
    public static string Unknown(string word, string name) =>
        AbsentOptions.Known.Contains(name)
            ? $"{word}: not available in this version"
            : $"{word}: invalid option{NearestNames.Hint(name, ByName.Keys)}";

    private static Dictionary<string, OptionSpec> Build()
    {
        var table = new Dictionary<string, OptionSpec>(StringComparer.Ordinal);
        foreach (var group in Groups)
        {
            foreach (var option in group.Options)
                table.Add(option.Name, option);
        }

        table.Add("M", table["machine"]);
        table.Add("help", table["h"]);
        return table;
    }
}
