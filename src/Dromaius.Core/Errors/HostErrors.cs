namespace Dromaius.Core.Errors;

/// <summary>What went wrong with a file of the host, in the words of strerror(3).</summary>
public static class HostErrors
{
    public static string Explain(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException or ArgumentException => "No such file or directory",
        UnauthorizedAccessException => "Permission denied",
        IOException { HResult: 28 } => "No space left on device",
        _ => e.Message,
    };
}
