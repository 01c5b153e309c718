using Dromaius.Boards;
using Dromaius.Boards.Pc;
using Dromaius.Core.Devices;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>What the target of this run offers by name.</summary>
internal static class Catalog
{
    /// <summary>The architecture in the program's name: <c>x86_64</c> or <c>i386</c>.</summary>
    public static string Target { get; set; } = "x86_64";

    /// <summary>The processor where the user names none: the target's in place of the general one; null for the machine's own.</summary>
    public static string? DefaultCpu(string machine) =>
        Target == "i386" && MachineTypes.Find(machine) is { DefaultCpu: "qemu64" } ? "qemu32" : null;

    public static DeviceRegistry Devices => PcDeviceTypes.Registry;

    public static IEnumerable<string> FirmwareFolders(IReadOnlyList<string> first) => new FirmwareFinder(first).Folders;
}
