using System.Text;
using Dromaius.Boards.Pc;
using Dromaius.Boards.Pc.Chipsets;
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
    public bool IsDeprecated { get; init; }
    public required int MaxCpus { get; init; }
    public required string DefaultCpu { get; init; }

    /// <summary>What monitors call the machine's own RAM.</summary>
    public string DefaultRamId => DefaultCpu.Length > 0 ? "pc.ram" : "ram";
    public IReadOnlyList<MachineProperty> Properties { get; init; } = [];
    public required Func<MachineOptions, EventLoop?, Machine> Create { get; init; }
}

/// <summary>Every machine type of the x86 targets.</summary>
public static class MachineTypes
{
    /// <summary>Older revisions, newest first; they differ in what this emulator does not do.</summary>
    private static readonly string[] I440FxVersions =
    [
        "7.2", "7.1", "7.0", "6.2", "6.1", "6.0", "5.2", "5.1", "5.0", "4.2", "4.1", "4.0", "3.1", "3.0", "2.9", "2.8", "2.7", "2.6", "2.5",
        "2.4", "2.3", "2.2", "2.12", "2.11", "2.10", "2.1", "2.0", "1.7", "1.6", "1.5", "1.4",
    ];

    private static readonly string[] Q35Versions =
    [
        "7.2", "7.1", "7.0", "6.2", "6.1", "6.0", "5.2", "5.1", "5.0", "4.2", "4.1", "4.0.1", "4.0", "3.1", "3.0", "2.9", "2.8", "2.7", "2.6",
        "2.5", "2.4", "2.12", "2.11", "2.10",
    ];

    private static readonly MachineType[] All =
    [
        .. I440FxVersions.Select(static v => Pc("pc", $"pc-i440fx-{v}", "Standard PC (i440FX + PIIX, 1996)", 255, v, PcBoard.I440Fx)),
        .. Q35Versions.Select(static v => Pc("q35", $"pc-q35-{v}", "Standard PC (Q35 + ICH9, 2009)", 288, v, PcBoard.Q35)),
        new()
        {
            Name = "isapc", Description = "ISA-only PC", MaxCpus = 1, DefaultCpu = "486", Properties = PcProperties.Known,
            Create = static (options, loop) => new PcMachine(PcBoard.IsaPc, options, loop),
        },
        new()
        {
            Name = "microvm", Description = "microvm (i386)", MaxCpus = 288, DefaultCpu = "qemu64", Properties = PcProperties.Microvm,
            Create = static (options, loop) => new PcMachine(PcBoard.Microvm, options, loop),
        },
        NoneMachine.Type,
    ];

    private static MachineType Pc(string alias, string name, string description, int maxCpus, string version, PcBoard board) => new()
    {
        Name = name, Alias = version == "7.2" ? alias : null, Description = description, IsDefault = alias == "pc" && version == "7.2",
        IsDeprecated = version.StartsWith("1.", StringComparison.Ordinal), MaxCpus = maxCpus, DefaultCpu = "qemu64", Properties = PcProperties.Known,
        Create = (options, loop) => new PcMachine(board, options, loop),
    };

    /// <summary>Every type.</summary>
    public static IReadOnlyList<MachineType> List => All;

    public static MachineType Default => All.First(static t => t.IsDefault);

    public static MachineType? Find(string name) =>
        All.FirstOrDefault(t => t.Name == name || t.Alias == name);

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
            text.Append($"{type.Name,-20} {type.Description}{(type.IsDefault ? " (default)" : "")}{(type.IsDeprecated ? " (deprecated)" : "")}\n");
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
