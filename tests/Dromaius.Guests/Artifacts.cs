using System.Runtime.CompilerServices;

[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Dromaius.Guests;

/// <summary>Where the native executable and the guests are: what <c>make</c> and <c>eng/guests</c> make.</summary>
internal static class Artifacts
{
    private static readonly string Root = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(ThisFile())!, "..", ".."));

    public static string Emulator(string target = "x86_64") => Program($"dromaius-system-{target}");

    public static string Program(string name) => Need(Path.Combine(Folder("DROMAIUS_BIN", "build/bin"), name), "make");

    public static string Guest(string name) =>
        Need(Path.Combine(Folder("DROMAIUS_GUESTS", "build/cache/guests"), name), "eng/guests");

    private static string Folder(string variable, string usual) =>
        Environment.GetEnvironmentVariable(variable) ?? Path.Combine(Root, usual);

    private static string Need(string path, string maker) =>
        File.Exists(path) ? path : throw new FileNotFoundException($"{path} is missing; run {maker}");

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
