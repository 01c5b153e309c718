using System.Text;
using Dromaius.Boards;
using Dromaius.Control;
using Dromaius.Core.Chardev;
using Dromaius.Cpu.X86;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>The listings: <c>-help</c> and the <c>help</c> argument of options, laid out as scripts know them.</summary>
internal static class HelpText
{
    private const int Column = 16;

    public static string Version =>
        $"Dromaius emulator version {Product.Version} (compatible with QEMU {Product.QemuMajor}.{Product.QemuMinor})\n"
        + "Copyright (c) 2026 The Dromaius authors. Free software under the MIT licence.\n";

    public static string Accelerators => "Accelerators supported in QEMU binary:\nqtest\ntcg\ninterpreter\n";

    public static string Chardevs =>
        "Available chardev backend types: \n" + string.Concat(CharBackendFactory.Types.Select(static t => $"  {t}\n"));

    /// <summary>The whole <c>-help</c>.</summary>
    public static string Options()
    {
        var text = new StringBuilder(Version);
        text.Append($"usage: {Host.ProgramName} [options]\n");
        foreach (var group in OptionTable.Groups)
        {
            text.Append('\n').Append(group.Heading).Append(":\n");
            foreach (var option in group.Options)
            {
                if (option.Help != null)
                    Append(text, option);
            }
        }

        text.Append("""

            During emulation, the following keys are useful:
            ctrl-a c        switch to the monitor when using -nographic
            ctrl-a x        exit the emulator when using -nographic
            ctrl-a h        help on the keys when using -nographic

            """);
        return text.ToString();
    }

    public static string Machines() => MachineTypes.HelpText();

    public static string MachineProperties(string machine) => MachineTypes.HelpText(machine);

    public static string Cpus() => X86Model.Help();

    public static string Devices() => Catalog.Devices.HelpText();

    public static string DeviceProperties(string name) => Catalog.Devices.HelpText(name);

    public static string FirmwarePath(SystemSettings settings) => string.Concat(Catalog.FirmwareFolders(settings.FirmwarePath).Select(static folder => folder + "\n"));

    private static void Append(StringBuilder text, OptionSpec option)
    {
        var names = option.Name switch
        {
            "h" => "-h or -help",
            "machine" => "-machine or -M",
            var name => "-" + name,
        };
        var head = option.Arguments is { Length: > 0 } arguments ? $"{names} {arguments}" : names;
        var lines = option.Help!.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        text.Append(head);
        var start = 0;
        if (head.Length < Column && lines.Length > 0)
            text.Append(' ', Column - head.Length).Append(lines[start++]);
        text.Append('\n');
        foreach (var line in lines.AsSpan(start))
            text.Append(' ', Column).Append(line.TrimEnd('\r')).Append('\n');
    }
}
