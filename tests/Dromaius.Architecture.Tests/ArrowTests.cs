using System.Runtime.CompilerServices;
using System.Xml.Linq;

namespace Dromaius.Architecture.Tests;

/// <summary>The arrows of docs/architecture.md: which project may name which, and where unsafe code may stand.</summary>
public sealed class ArrowTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Generators"] = [],
        ["Core"] = [],
        ["Jit"] = ["Core"],
        ["Cpu"] = ["Core", "Jit"],
        ["Kvm"] = ["Core", "Cpu"],
        ["Block"] = ["Core"],
        ["Net"] = ["Core"],
        ["Consoles"] = ["Core"],
        ["Devices"] = ["Core", "Block", "Net", "Consoles"],
        ["Boards"] = ["Core", "Block", "Net", "Consoles", "Devices", "Cpu"],
        ["Control"] = ["Core", "Cpu", "Block", "Net", "Consoles", "Boards"],
        ["LinuxUser"] = ["Core", "Jit", "Cpu"],
        ["Cli"] = ["Core", "Jit", "Cpu", "Kvm", "Block", "Net", "Consoles", "Devices", "Boards", "Control", "LinuxUser"],
    };

    private static readonly string[] Safe = ["Devices", "Block", "Net", "Consoles", "Control", "Boards"];

    private static readonly string Source = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(ThisFile())!, "..", "..", "src"));

    public static TheoryData<string> Projects() =>
        [.. Directory.GetFiles(Source, "*.csproj", SearchOption.AllDirectories).Select(static p => Path.GetFileNameWithoutExtension(p)).Order()];

    [Theory]
    [MemberData(nameof(Projects))]
    public void ProjectNamesOnlyThoseBelowIt(string project)
    {
        var name = project["Dromaius.".Length..];
        Assert.True(Allowed.ContainsKey(name), $"{project} is not in the plan: add it to docs/architecture.md and here");
        var references = Load(project).Descendants("ProjectReference")
            .Select(static r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value)["Dromaius.".Length..]);
        Assert.Empty(references.Except(Allowed[name]));
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void UnsafeCodeStaysInItsRooms(string project)
    {
        if (!Safe.Contains(project["Dromaius.".Length..]))
            return;
        Assert.Empty(Load(project).Descendants("AllowUnsafeBlocks"));

        // The compiler refuses the keyword then; these get round it without.
        string[] roundabouts = ["Unsafe.As", "Unsafe.Add", "MemoryMarshal.GetReference", "MemoryMarshal.CreateSpan", "Marshal.Read", "Marshal.Write"];
        foreach (var file in Directory.EnumerateFiles(Path.Combine(Source, project), "*.cs", SearchOption.AllDirectories))
        {
            if (file.Contains("/obj/", StringComparison.Ordinal))
                continue;
            var text = File.ReadAllText(file);
            Assert.All(roundabouts, word => Assert.False(text.Contains(word, StringComparison.Ordinal), $"{file} uses {word}"));
        }
    }

    [Fact]
    public void FilesStayReadable()
    {
        foreach (var file in Directory.EnumerateFiles(Source, "*.cs", SearchOption.AllDirectories))
        {
            if (file.Contains("/obj/", StringComparison.Ordinal))
                continue;
            var lines = File.ReadLines(file).Count();
            Assert.True(lines <= 1000, $"{file} has {lines} lines");
        }
    }

    private static XDocument Load(string project) => XDocument.Load(Path.Combine(Source, project, project + ".csproj"));

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
