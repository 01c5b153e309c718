using Dromaius.Core.Errors;

namespace Dromaius.Boards;

/// <summary>Files that the user names: read whole, with the host's reason in one line when that fails.</summary>
internal static class HostFile
{
    /// <param name="path">The file.</param>
    /// <param name="context">What asked for it, in front of the message; null for nothing.</param>
    public static byte[] Read(string path, string? context = null)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            var prefix = context == null ? "" : $"{context}: ";
            throw new UserErrorException($"{prefix}could not open '{path}': {Reason(e, path)}");
        }
    }

    /// <summary>The reason as the host's C library would put it.</summary>
    public static string Reason(Exception e, string path) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException or ArgumentException => "No such file or directory",
        UnauthorizedAccessException when Directory.Exists(path) => "Is a directory",
        UnauthorizedAccessException => "Permission denied",
        _ => e.Message,
    };
}
