namespace Dromaius.Cli.SystemEmulation;

/// <summary>Asks for a listing instead of a machine; ends with status 0.</summary>
internal sealed class HelpRequestException(string text) : Exception
{
    public string Text => text;
}

/// <summary>One option of the command line.</summary>
/// <param name="Name">Without dashes.</param>
/// <param name="Arguments">What follows it in the help; null when it takes no argument.</param>
/// <param name="Help">Lines of help; null to leave it out of the listing.</param>
/// <param name="Apply">Records it.</param>
internal sealed record OptionSpec(string Name, string? Arguments, string? Help, Action<SystemSettings, Argument> Apply)
{
    public bool TakesArgument => Arguments != null;
}

/// <summary>Options under one heading of the help.</summary>
internal sealed record OptionGroup(string Heading, IReadOnlyList<OptionSpec> Options);
