using Dromaius.Core.Errors;

namespace Dromaius.Boards;

/// <summary>Finds firmware files: <c>-L</c> folders, then $DROMAIUS_FIRMWARE, the XDG data folders and the distribution's.</summary>
public sealed class FirmwareFinder(IReadOnlyList<string> folders)
{
    private static readonly string[] Usual =
    [
        "/usr/share/seabios", "/usr/share/qemu", "/usr/share/vgabios", "/usr/share/bochs", "/usr/share/OVMF", "/usr/share/ovmf",
        "/usr/lib/ipxe/qemu", "/usr/lib/ipxe", "/usr/local/share/qemu",
    ];

    /// <summary>The folders in the order searched.</summary>
    public IEnumerable<string> Folders
    {
        get
        {
            foreach (var folder in folders)
                yield return folder;
            foreach (var folder in Split(Environment.GetEnvironmentVariable("DROMAIUS_FIRMWARE")))
                yield return folder;
            var home = Environment.GetEnvironmentVariable("XDG_DATA_HOME");
            if (string.IsNullOrEmpty(home) && Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } user)
                home = Path.Combine(user, ".local/share");
            if (!string.IsNullOrEmpty(home))
                yield return Path.Combine(home, "dromaius");
            var data = Environment.GetEnvironmentVariable("XDG_DATA_DIRS");
            foreach (var folder in Split(string.IsNullOrEmpty(data) ? "/usr/local/share:/usr/share" : data))
                yield return Path.Combine(folder, "dromaius");
            foreach (var folder in Usual)
                yield return folder;
        }
    }

    /// <summary>The path of a file: as named if it exists, else in the first folder that has it; null if none has.</summary>
    public string? Find(string name)
    {
        if (File.Exists(name))
            return name;
        if (Path.IsPathRooted(name))
            return null;
        return Folders.Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
    }

    /// <summary>The contents of a file, or the one-line error.</summary>
    public byte[] Read(string name)
    {
        var path = Find(name) ?? throw new UserErrorException($"could not find firmware '{name}'");
        return HostFile.Read(path);
    }

    private static string[] Split(string? path) =>
        (path ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
}
