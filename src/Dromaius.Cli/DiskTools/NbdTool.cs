using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Nbd;
using Dromaius.Core.Errors;
using Dromaius.Core.Processes;
using Dromaius.Core.Time;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>dromaius-nbd</c>: offers an image on a TCP or Unix socket.</summary>
internal static class NbdTool
{
    private static readonly string[] LongNames =
    [
        "help/h", "version/V", "port/p=", "bind/b=", "socket/k=", "shared/e=", "persistent/t", "verbose/v", "format/f=", "read-only/r", "snapshot/s",
        "nocache/n", "cache=", "discard=", "detect-zeroes=", "aio=", "export-name/x=", "description/D=", "offset/o=", "list/L", "fork", "pid-file=",
        "image-opts", "object=", "load-snapshot/l=", "allocation-depth/A", "bitmap/B=", "connect/c=", "disconnect/d", "partition/P=", "tls-creds=", "trace/T=",
    ];

    public static int Run(ArraySegment<string> args)
    {
        try
        {
            return Run(new GetOpt(args, "hVb:o:p:rsnc:dvk:e:f:tl:x:T:D:AB:LP:", LongNames));
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
        foreach (var (key, what) in ((string, string)[])[("c", "--connect"), ("d", "--disconnect"), ("P", "--partition"), ("tls-creds", "--tls-creds"), ("B", "--bitmap")])
        {
            if (options.Has(key))
                throw new ToolException($"{what} is not supported");
        }

        var address = Address(options);
        if (options.Has("L"))
            return List(address);
        if (options.Rest.Count != 1)
            throw new ToolException(options.Rest.Count == 0 ? "Missing image file name" : $"Too many file names: {options.Rest[1]}", 1, true);
        if (options.Has("fork") && !Daemon.IsChild)
            return Daemon.Start();
        return Serve(options, address);
    }

    private static NbdAddress Address(GetOpt options)
    {
        if (options.Value("k") is { } path)
        {
            if (options.Has("p") || options.Has("b"))
                throw new ToolException("The -p, -b and -k options can't be combined");
            return new NbdAddress { SocketPath = Path.GetFullPath(path), Export = options.Value("x") ?? "" };
        }

        var port = options.Value("p") is { } text
            ? int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n is >= 0 and < 65536 ? n : throw new ToolException("Invalid port")
            : 10809;
        return new NbdAddress { Host = options.Value("b") ?? "0.0.0.0", Port = port, Export = options.Value("x") ?? "" };
    }

    private static int Serve(GetOpt options, NbdAddress address)
    {
        var shared = options.Value("e") is { } e
            ? int.TryParse(e, NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : throw new ToolException($"Invalid shared device number '{e}'")
            : 1;
        var readOnly = options.Has("r") || options.Has("l");
        var flags = ImgTool.Cache(OpenFlags.Tool with
        {
            ReadOnly = readOnly || options.Has("s"),
            ShareWrite = false,
            Discard = options.Value("discard") is null or "unmap" or "on",
            GuessedRaw = ImgTool.WarnGuessed,
        }, options.Has("n") ? "none" : options.Value("cache") ?? "writeback", "cache mode");
        BlockNode node;
        try
        {
            var name = options.Rest[0];
            node = options.Has("image-opts")
                ? ImageOpener.Open(null, BlockOptions.Parse(name), flags)
                : ImageOpener.Open(name, flags, options.Value("f"));
        }
        catch (BlockException failure)
        {
            throw new ToolException($"Failed to blk_new_open '{options.Rest[0]}': {ImgTool.Explain(failure)}");
        }

        if (options.Value("l") is { } snapshot)
            ImgSnapshot.Show(node, snapshot);
        if (options.Has("s"))
            node = new BlockGraph(new EventLoop(new Lock())).AddTemporaryOverlay(node);
        if (options.Value("o") is { } text)
        {
            var offset = ImgTool.ParseSize(text, "offset");
            if (offset > node.Length)
                throw new ToolException($"Offset ({offset}) has to be smaller than the image size ({node.Length})");
            node = new Block.Raw.RawNode(node, offset);
        }

        using var ended = new ManualResetEventSlim();
        var persistent = options.Has("t");
        try
        {
            using var server = new NbdServer(address, shared);
            server.Add(new NbdExport(address.Export, node, !readOnly && !node.IsReadOnly, options.Value("D")));
            server.ClientGone += left =>
            {
                if (left == 0 && !persistent)
                    ended.Set();
            };
            using var pidFile = options.Value("pid-file") is { } path ? SystemEmulation.PidFile.Write(path) : null;
            using var term = Handle(PosixSignal.SIGTERM, ended);
            using var interrupt = Handle(PosixSignal.SIGINT, ended);
            using var hangUp = Handle(PosixSignal.SIGHUP, ended);
            server.Start();
            if (options.Has("fork"))
                Daemon.Ready();
            ended.Wait();
        }
        finally
        {
            node.Release();
        }

        return 0;
    }

    private static PosixSignalRegistration Handle(PosixSignal signal, ManualResetEventSlim ended) => PosixSignalRegistration.Create(signal, context =>
    {
        context.Cancel = true;
        ended.Set();
    });

    private static int List(NbdAddress address)
    {
        if (address.Host is "0.0.0.0")
            address = address with { Host = "localhost" };
        using var socket = address.Connect();
        using var stream = new System.Net.Sockets.NetworkStream(socket);
        var exports = new NbdHandshake(stream).List();
        var text = new StringBuilder($"exports available: {exports.Count}\n");
        string[] names =
        [
            "", "readonly", "flush", "fua", "rotational", "trim", "zeroes", "df", "multi", "resize", "cache", "fast-zero",
        ];
        foreach (var export in exports)
        {
            text.Append($" export: '{export.Name}'\n");
            if (export.Description is { Length: > 0 } description)
                text.Append($"  description: {description}\n");
            text.Append(CultureInfo.InvariantCulture, $"  size:  {export.Size}\n  flags: 0x{export.Flags:x} (");
            for (var i = 1; i < names.Length; i++)
            {
                if ((export.Flags >> i & 1) != 0)
                    text.Append(' ').Append(names[i]);
            }

            text.Append(" )\n");
            if (export.BlockSize is var (min, preferred, max))
                text.Append(CultureInfo.InvariantCulture, $"  min block: {min}\n  opt block: {preferred}\n  max block: {max}\n");
            if (export.Contexts.Count > 0)
            {
                text.Append(CultureInfo.InvariantCulture, $"  available meta contexts: {export.Contexts.Count}\n");
                foreach (var context in export.Contexts)
                    text.Append($"   {context}\n");
            }
        }

        Host.Print(text.ToString());
        return 0;
    }

    private static string Help() => $"""
        Usage: {Host.ProgramName} [OPTIONS] FILE
           or: {Host.ProgramName} -L [OPTIONS]
        Disk Network Block Device Utility

          -h, --help                display this help and exit
          -V, --version             output version information and exit

        Connection properties:
          -p, --port=PORT           port to listen on (default '10809')
          -b, --bind=IFACE          interface to bind to (default '0.0.0.0')
          -k, --socket=PATH         path to the unix socket
          -e, --shared=NUM          device can be shared by NUM clients (default '1')
          -t, --persistent          don't exit on the last connection
          -L, --list                list exports available from another NBD server

        Exposing part of the image:
          -o, --offset=OFFSET       offset into the image

        General purpose options:
          --object type,id=ID,...   define an object such as 'secret' for providing
                                    passwords and/or encryption keys
              --fork                fork off the server process and exit the parent
                                    once the server is running
              --pid-file=PATH       store the server's process ID in the given file

        Block device options:
          -f, --format=FORMAT       set image format (raw, qcow2, ...)
          -r, --read-only           export read-only
          -s, --snapshot            use FILE as an external snapshot, create a temporary
                                    file with backing_file=FILE, redirect the write to
                                    the temporary one
          -l, --load-snapshot=SNAPSHOT_PARAM
                                    load an internal snapshot inside FILE and export it
                                    as an read-only device
          -n, --nocache             disable host cache
              --cache=MODE          set cache mode used to access the disk image
              --discard=MODE        set discard mode (ignore, unmap)
          -x, --export-name=NAME    expose export by name (default is empty string)
          -D, --description=TEXT    export a human-readable description
              --image-opts          treat FILE as a full set of image options

        """;
}
