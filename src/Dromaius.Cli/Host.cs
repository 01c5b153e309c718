using System.Text;

namespace Dromaius.Cli;

/// <summary>Standard output and error, without the terminal handling that <see cref="Console"/>'s writers bring along.</summary>
internal static class Host
{
    /// <summary>The name that messages begin with.</summary>
    public static string ProgramName { get; set; } = "dromaius";

    public static void Print(string text)
    {
        using var output = Console.OpenStandardOutput();
        output.Write(Encoding.UTF8.GetBytes(text));
    }

    /// <summary>One line on standard error, with the program's name before it.</summary>
    public static void Complain(string line)
    {
        using var error = Console.OpenStandardError();
        error.Write(Encoding.UTF8.GetBytes($"{ProgramName}: {line}\n"));
    }

    /// <summary>Text on standard error as it is.</summary>
    public static void Warn(string text)
    {
        using var error = Console.OpenStandardError();
        error.Write(Encoding.UTF8.GetBytes(text));
    }

    /// <summary>What went wrong with a file, in the words of strerror(3).</summary>
    public static string Explain(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "No such file or directory",
        UnauthorizedAccessException => "Permission denied",
        _ => e.Message,
    };
}
