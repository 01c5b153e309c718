using System.Runtime.Versioning;
using Dromaius.Block;
using Dromaius.Cli.DiskTools;
using Dromaius.Cli.SystemEmulation;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;

[assembly: SupportedOSPlatform("linux")]

namespace Dromaius.Cli;

/// <summary>The multi-call executable: the name it is called by, or the first word, says which tool it is.</summary>
internal static class Program
{
    private static readonly string[] Targets = ["system-x86_64", "system-i386", "img", "io", "nbd"];

    public static int Main(string[] args)
    {
        var name = Path.GetFileName(Environment.GetCommandLineArgs()[0]);
        Host.ProgramName = name;
        var tool = Targets.FirstOrDefault(t => name.EndsWith("-" + t, StringComparison.Ordinal));
        var rest = new ArraySegment<string>(args);
        if (tool == null && args.Length > 0)
        {
            tool = Targets.FirstOrDefault(t => args[0] == t || args[0] == "dromaius-" + t || args[0] == "qemu-" + t);
            if (tool != null)
            {
                rest = rest[1..];
                Host.ProgramName = "dromaius-" + tool;
            }
        }

        return tool != null ? RunTool(tool, rest) : RunBare(args);
    }

    private static int RunTool(string tool, ArraySegment<string> args) => tool switch
    {
        "img" => ImgTool.Run(args),
        "io" => IoTool.Run(args),
        "nbd" => NbdTool.Run(args),
        _ => RunSystem(tool, args),
    };

    private static int RunSystem(string tool, ArraySegment<string> args)
    {
        // Scripts ask for the version before each use; nothing else is touched for it.
        if (args.Count == 1 && args[0] is "-version" or "--version")
        {
            Host.Print(HelpText.Version);
            return 0;
        }

        try
        {
            return SystemEmulator.Run(tool["system-".Length..], args);
        }
        catch (HelpRequestException e)
        {
            Host.Print(e.Text);
            return 0;
        }
        catch (Exception e) when (e is UserErrorException or BlockException)
        {
            TerminalMode.Restore();
            Host.Complain(e.Message);
            return 1;
        }
        catch (Exception e)
        {
            CrashReport.Write(e);
            return 134;
        }
    }

    private static int RunBare(string[] args)
    {
        if (args.Length == 0 || args[0] is "-h" or "-help" or "--help")
        {
            Host.Print(Overview);
            return 0;
        }

        if (args[0] is "-version" or "--version")
        {
            Host.Print(HelpText.Version);
            return 0;
        }

        Host.Complain($"'{args[0]}' is not a tool of this program{NearestNames.Hint(args[0], Targets)}");
        return 1;
    }

    private static string Overview =>
        HelpText.Version + """

        Dromaius runs whole computers built for other processors. Each tool is a name of this program:

          dromaius-system-x86_64   a PC with 64-bit x86 processors (also: dromaius system-x86_64)
          dromaius-system-i386     a PC with 32-bit x86 processors (also: dromaius system-i386)
          dromaius-img             makes, converts, checks and changes disk images (also: dromaius img)
          dromaius-io              reads and writes a disk image by commands (also: dromaius io)
          dromaius-nbd             serves a disk image to network block device clients (also: dromaius nbd)

        The options are those of QEMU. Begin with

          dromaius-system-x86_64 -help
          dromaius-system-x86_64 -nographic -kernel vmlinuz -initrd initrd.img -append console=ttyS0

        """;
}
