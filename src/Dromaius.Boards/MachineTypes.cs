using System.Text;
using Dromaius.Boards.Pc;
using Dromaius.Core.Errors;
using Dromaius.Core.Time;

namespace Dromaius.Boards;

/// <summary>A property of a machine type: what <c>-machine TYPE,help</c> lists.</summary>
public sealed record MachineProperty(string Name, string Kind, string? Help = null);

/// <summary>A kind of machine the user can name.</summary>
public sealed class MachineType
{
    public required string Name { get; init; }
    public string? Alias { get; init; }
    public required string Description { get; init; }
    public bool IsDefault { get; init; }
    public required int MaxCpus { get; init; }
    public required string DefaultCpu { get; init; }
    public IReadOnlyList<MachineProperty> Properties { get; init; } = [];
    public required Func<MachineOptions, EventLoop?, Machine> Create { get; init; }
}

/// <summary>Every machine type of the x86 targets.</summary>
public static class MachineTypes
{
    private static readonly MachineType[] All =
    [
        new()
        {
            Name = "pc-i440fx-7.2", Alias = "pc", Description = "Standard PC (i440FX + PIIX, 1996)", IsDefault = true, MaxCpus = 255,
            DefaultCpu = "qemu64", Properties = PcProperties.Known,
            Create = static (options, loop) => new PcMachine(options, loop),
        },
        NoneMachine.Type,
    ];

    /// <summary>Every type.</summary>
    public static IReadOnlyList<MachineType> List => All;

    public static MachineType Default => All.First(static t => t.IsDefault);

    public static MachineType? Find(string name) =>
        All.FirstOrDefault(t => t.Name == name || t.Alias == name)
        // Older revisions differ in what this emulator does not do.
        ?? (name.StartsWith("pc-i440fx-", StringComparison.Ordinal) ? All[0] : null);

    public static MachineType Get(string name) =>
        Find(name) ?? throw new UserErrorException("unsupported machine type '" + name + "'"
            + NearestNames.Hint(name, All.SelectMany(static t => t.Alias == null ? [t.Name] : new[] { t.Alias, t.Name }))
            + ", use -machine help to list supported machines");

    /// <summary>The text of <c>-machine help</c>.</summary>
    public static string HelpText()
    {
        var text = new StringBuilder("Supported machines are:\n");
        foreach (var type in All)
        {
            if (type.Alias is { } alias)
                text.Append($"{alias,-20} {type.Description} (alias of {type.Name})\n");
            text.Append($"{type.Name,-20} {type.Description}{(type.IsDefault ? " (default)" : "")}\n");
        }

        return text.ToString();
    }

    /// <summary>The text of <c>-machine TYPE,help</c>.</summary>
    public static string HelpText(string name)
    {
        var type = Get(name);
        var text = new StringBuilder($"{type.Name}-machine options:\n");
        foreach (var p in type.Properties.OrderBy(static p => p.Name, StringComparer.Ordinal))
        {
            var head = $"  {p.Name}=<{p.Kind}>";
            text.Append(p.Help == null ? head : $"{head,-24} - {p.Help}").Append('\n');
        }

        return text.ToString();
    }
}
