using System.Text;
using Dromaius.Core.Errors;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>The items of <c>-d</c>.</summary>
internal static class LogOption
{
    private static readonly (string Name, LogItems Items, string Help)[] Known =
    [
        ("out_asm", LogItems.OutAsm, "show generated host assembly code for each compiled TB"),
        ("in_asm", LogItems.InAsm, "show target assembly code for each compiled TB"),
        ("op", LogItems.Op, "show micro ops for each compiled TB"),
        ("op_opt", LogItems.OpOpt, "show micro ops after optimization"),
        ("int", LogItems.Int, "show interrupts/exceptions in short format"),
        ("exec", LogItems.Exec, "show trace before each executed TB (lots of logs)"),
        ("cpu", LogItems.Cpu, "show CPU registers before entering a TB (lots of logs)"),
        ("mmu", LogItems.Mmu, "log MMU-related activities"),
        ("cpu_reset", LogItems.CpuReset, "show CPU state before CPU resets"),
        ("unimp", LogItems.Unimplemented, "log unimplemented functionality"),
        ("guest_errors", LogItems.GuestErrors, "log when the guest OS does something invalid (eg accessing a non-existent register)"),
        ("nochain", LogItems.None, "accepted: 'exec' and 'cpu' always show complete traces"),
    ];

    /// <summary>The items with their help.</summary>
    public static IReadOnlyList<(string Name, string Help)> Items { get; } = [.. Known.Select(static k => (k.Name, k.Help))];

    /// <summary>Sets what is logged from now on; false, and no change, when a name is unknown.</summary>
    public static bool TrySet(string text)
    {
        try
        {
            GuestLog.Items = text.Length == 0 ? LogItems.None : Parse(text);
            return true;
        }
        catch (Exception e) when (e is UserErrorException or HelpRequestException)
        {
            return false;
        }
    }

    /// <summary>Sends the log to a file.</summary>
    public static void OpenFile(string path) => GuestLog.SetOutput(Create(path));

    /// <summary>A log file; %d in its name is the process.</summary>
    public static StreamWriter Create(string path)
    {
        try
        {
            return new StreamWriter(path.Replace("%d", $"{Environment.ProcessId}")) { AutoFlush = true };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"could not open '{path}': {Host.Explain(e)}");
        }
    }

    public static LogItems Parse(string text)
    {
        var items = LogItems.None;
        foreach (var name in text.Split(','))
        {
            if (name is "help" or "?")
                throw new HelpRequestException(Help());
            if (name == "all")
            {
                foreach (var known in Known)
                    items |= known.Items;
                continue;
            }

            var index = Array.FindIndex(Known, k => k.Name == name);
            if (index < 0)
                throw new UserErrorException($"unknown log item '{name}'{NearestNames.Hint(name, Known.Select(static k => k.Name))}; use -d help for a list");
            items |= Known[index].Items;
        }

        return items;
    }

    private static string Help()
    {
        var text = new StringBuilder("Log items (comma separated):\n");
        foreach (var (name, _, help) in Known)
            text.Append(name.PadRight(15)).Append(' ').Append(help).Append('\n');
        return text.ToString();
    }
}
