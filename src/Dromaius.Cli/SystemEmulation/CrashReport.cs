using System.Text;
using Dromaius.Control;
using Dromaius.Core.Chardev;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>What is printed when the emulator itself is at fault: where, with the state of the guest.</summary>
internal static class CrashReport
{
    private static int s_reported;

    /// <summary>Set when there is a machine to tell about.</summary>
    public static IMachineControl? Machine { get; set; }

    public static void Install() => AppDomain.CurrentDomain.UnhandledException += static (_, e) =>
    {
        Write(e.ExceptionObject as Exception);
        Environment.Exit(134);
    };

    public static void Write(Exception? exception)
    {
        if (Interlocked.Exchange(ref s_reported, 1) != 0)
            return;
        TerminalMode.Restore();
        var text = new StringBuilder();
        text.Append($"\n{Host.ProgramName}: internal error. This is a bug of the emulator; the report below helps to find it.\n");
        text.Append($"version: {Product.Version}, {System.Runtime.InteropServices.RuntimeInformation.OSDescription}\n");
        text.Append($"command line: {string.Join(' ', Environment.GetCommandLineArgs())}\n");
        text.Append(exception).Append('\n');
        AppendGuest(text);
        using var error = Console.OpenStandardError();
        error.Write(Encoding.UTF8.GetBytes(text.ToString()));
    }

    private static void AppendGuest(StringBuilder text)
    {
        if (Machine is not { } machine)
            return;
        try
        {
            foreach (var cpu in machine.Cpus)
                text.Append($"CPU#{cpu.Index}\n").Append(machine.Registers(cpu.Index));
        }
        catch (Exception e)
        {
            // Whatever is broken may be broken here too; the rest of the report must still come out.
            text.Append($"(no guest state: {e.Message})\n");
        }
    }
}
