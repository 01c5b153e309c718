using Dromaius.Core.Errors;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Turns arguments into settings: one or two dashes, the option's argument in the next word.</summary>
internal static class CommandLineParser
{
    public static SystemSettings Parse(IReadOnlyList<string> args)
    {
        var settings = new SystemSettings();
        for (var i = 0; i < args.Count; i++)
        {
            var word = args[i];
            if (!word.StartsWith('-') || word == "-")
            {
                // A bare word is the first disk.
                settings.Drives.Add(new Argument("hda", word));
                continue;
            }

            var name = word[(word.StartsWith("--", StringComparison.Ordinal) ? 2 : 1)..];
            var option = OptionTable.Find(name);
            if (option == null)
                throw new UserErrorException(OptionTable.Unknown(word, name));
            if (!option.TakesArgument)
            {
                Apply(option, settings, new Argument(option.Name, ""), word);
                continue;
            }

            if (i + 1 == args.Count)
                throw new UserErrorException($"{word}: requires an argument");
            Apply(option, settings, new Argument(option.Name, args[++i]), word);
        }

        return settings;
    }

    /// <summary>Runs something that an argument asked for; what is wrong is said with the argument before it.</summary>
    public static void InContextOf(Argument argument, Action action)
    {
        try
        {
            action();
        }
        catch (UserErrorException e)
        {
            throw new UserErrorException($"{argument.Text}: {e.Message}");
        }
    }

    private static void Apply(OptionSpec option, SystemSettings settings, Argument argument, string word)
    {
        try
        {
            option.Apply(settings, argument);
        }
        catch (UserErrorException e)
        {
            throw new UserErrorException(option.TakesArgument ? $"{word} {argument.Value}: {e.Message}" : $"{word}: {e.Message}");
        }
    }
}
