using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Core.Errors;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>dromaius-io</c>: reads and writes an image by commands, for tests.</summary>
internal static class IoTool
{
    public static int Run(ArraySegment<string> args)
    {
        try
        {
            return Run(new GetOpt(args, "hVc:d:f:rsnCmki:t:T:U", "help/h", "version/V", "cmd/c=", "format/f=", "read-only/r", "snapshot/s", "nocache/n",
                "copy-on-read/C", "misalign/m", "native-aio/k", "aio/i=", "cache/t=", "discard/d=", "trace/T=", "force-share/U", "object=", "image-opts"));
        }
        catch (ToolException e)
        {
            Host.Complain(e.Message);
            if (e.ShowHelpHint)
                Host.Warn($"Try '{Host.ProgramName} --help' for more information.\n");
            return e.Status;
        }
        catch (BlockException e)
        {
            Host.Complain(ImgTool.Explain(e));
            return 1;
        }
        catch (UserErrorException e)
        {
            Host.Complain(e.Message);
            return 1;
        }
    }

    private static int Run(GetOpt options)
    {
        if (options.Has("h"))
        {
            Host.Print(Help());
            return 0;
        }

        if (options.Has("V"))
        {
            Host.Print(ImgHelp.Version());
            return 0;
        }

        ImgTool.TakeObjects(options);
        var session = new IoSession(new IoOpenSettings
        {
            ReadOnly = options.Has("r"),
            Snapshot = options.Has("s"),
            Cache = options.Has("n") ? "none" : options.Value("t") ?? "writeback",
            Discard = options.Value("d") ?? "unmap",
            ForceShare = options.Has("U"),
            CopyOnRead = options.Has("C"),
        });
        try
        {
            if (options.Rest.Count > 1)
                throw new ToolException("Only one file may be given", 1, true);
            if (options.Rest.Count == 1)
            {
                try
                {
                    session.Open(options.Rest[0], options.Value("f"), options.Has("image-opts"), session.Defaults);
                }
                catch (BlockException e)
                {
                    throw new ToolException($"can't open{(options.Has("image-opts") ? "" : $" device {options.Rest[0]}")}: {ImgTool.Explain(e)}");
                }
            }

            return Interpret(session, [.. options.Values("c")]);
        }
        finally
        {
            session.Close();
        }
    }

    private static int Interpret(IoSession session, List<string> commands)
    {
        var failed = false;
        if (commands.Count > 0)
        {
            foreach (var command in commands)
            {
                failed |= !session.Execute(command);
                if (session.Ended)
                    break;
            }
        }
        else
        {
            using var input = new StreamReader(Console.OpenStandardInput(), Encoding.UTF8);
            while (!session.Ended)
            {
                Host.Print("qemu-io> ");
                if (input.ReadLine() is not { } line)
                    break;
                failed |= !session.Execute(line);
            }
        }

        session.WaitForAll();
        return failed ? 1 : 0;
    }

    private static string Help() => $"""
        Usage: {Host.ProgramName} [OPTIONS]... [-c STRING]... [file]
        Disk exerciser

          --object OBJECTDEF   define an object such as 'secret' for
                               passwords and/or encryption keys
          --image-opts         treat file as option string
          -c, --cmd STRING     execute command with its arguments
                               from the given string
          -f, --format FMT     specifies the block driver to use
          -r, --read-only      export read-only
          -s, --snapshot       use snapshot file
          -n, --nocache        disable host cache, short for -t none
          -t, --cache=MODE     use the given cache mode for the image
          -d, --discard=MODE   use the given discard mode for the image
          -U, --force-share    force shared permissions
          -h, --help           display this help and exit
          -V, --version        output version information and exit

        See '{Host.ProgramName} -c help' for information on available commands.

        """;
}
