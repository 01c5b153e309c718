using System.Globalization;
using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Cli.DiskTools;

/// <summary>A command of <c>dromaius-io</c>.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Alias">A short name, or null.</param>
/// <param name="Arguments">For the help.</param>
/// <param name="Help">One line.</param>
/// <param name="MinArguments">Fewest words behind it.</param>
/// <param name="MaxArguments">Most words, or -1.</param>
/// <param name="NeedsImage">Only with an open image.</param>
/// <param name="Run">Does it; false if it failed.</param>
internal sealed record IoCommand(
    string Name, string? Alias, string Arguments, string Help, int MinArguments, int MaxArguments, bool NeedsImage, Func<IoSession, string[], bool> Run)
{
    public string Usage => $"{Name} {Arguments} -- {Help}";
}

/// <summary>The commands other than transfers, and the table of all.</summary>
internal static class IoCommands
{
    private static readonly IoCommand[] All =
    [
        new("abort", null, "", "simulate a program crash using abort(3)", 0, 0, false, static (_, _) =>
        {
            Core.Processes.HostSignal.Raise(Core.Processes.HostSignal.Abort);
            return true;
        }),
        new("aio_flush", null, "", "completes all outstanding aio requests", 0, 0, true, static (s, _) =>
        {
            s.WaitForAll();
            return true;
        }),
        new("aio_read", null, "[-Ciqv] [-P pattern] off len [len..]", "asynchronously reads a number of bytes", 2, -1, true, static (s, a) => IoTransfers.Read(s, a, "aio_read")),
        new("aio_write", null, "[-Cfiquz] [-P pattern] off len [len..]", "asynchronously writes a number of bytes", 2, -1, true, static (s, a) => IoTransfers.Write(s, a, "aio_write")),
        new("alloc", "a", "offset [count]", "checks if offset is allocated in the file", 1, 2, true, Alloc),
        new("break", null, "event tag", "sets a breakpoint on event and tags the stopped request as tag", 2, 2, true, static (s, a) =>
        {
            s.RequireDebugFilter().AddBreakpoint(a[0], a[1]);
            return true;
        }),
        new("close", "c", "", "close the current open file", 0, 0, true, static (s, _) =>
        {
            s.Close();
            return true;
        }),
        new("discard", "d", "[-Cq] off len", "discards a number of bytes at a specified offset", 2, -1, true, IoTransfers.Discard),
        new("flush", "f", "", "flush all in-core file state to disk", 0, 0, true, static (s, _) =>
        {
            s.WaitForAll();
            s.Node!.Flush();
            return true;
        }),
        new("help", "?", "[command]", "help for one or all commands", 0, 1, false, Help),
        new("info", "i", "", "prints information about the current file", 0, 0, true, Info),
        new("length", "l", "", "gets the length of the current file", 0, 0, true, static (s, _) =>
        {
            Host.Print(Units.Exact(s.Node!.Length) + "\n");
            return true;
        }),
        new("map", null, "", "prints the allocated areas of a file", 0, 1, true, Map),
        new("open", "o", "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]", "open the file specified by path", 0, -1, false, Open),
        new("quit", "q", "", "exit the program", 0, 0, false, static (s, _) =>
        {
            s.Ended = true;
            return true;
        }),
        new("read", "r", "[-abCqv] [-P pattern [-s off] [-l len]] off len", "reads a number of bytes at a specified offset", 2, -1, true, static (s, a) => IoTransfers.Read(s, a, "read")),
        new("readv", null, "[-Cqv] [-P pattern] off len [len..]", "reads a number of bytes at a specified offset", 2, -1, true, static (s, a) => IoTransfers.Read(s, a, "readv")),
        new("remove_break", null, "tag", "remove a breakpoint by tag", 1, 1, true, static (s, a) =>
            Said(s.DebugFilter?.RemoveBreakpoint(a[0]) ?? false, "Could not remove breakpoint " + a[0])),
        new("reopen", null, "[(-r|-w)] [-c cache] [-o options]", "reopens an image with new options", 0, -1, true, Reopen),
        new("resume", null, "tag", "resumes the request tagged as tag", 1, 1, true, static (s, a) =>
        {
            var resumed = s.DebugFilter?.Resume(a[0]) ?? false;
            if (resumed)
                s.Settle();
            return Said(resumed, "Could not resume request: No such file or directory");
        }),
        new("sigraise", null, "signal", "raises a signal", 1, 1, false, static (_, a) =>
        {
            var number = IoSession.Number(a[0]);
            if (number > int.MaxValue)
                throw new ToolException($"signal argument '{a[0]}' is too large to be a valid signal number");
            Core.Processes.HostSignal.Raise((int)number);
            return true;
        }),
        new("sleep", null, "", "waits for the given value in milliseconds", 1, 1, false, static (_, a) =>
        {
            Thread.Sleep((int)Math.Min(IoSession.Number(a[0]), 60_000));
            return true;
        }),
        new("truncate", "t", "[-m prealloc_mode] off", "truncates the current file at the given offset", 1, 3, true, Truncate),
        new("wait_break", null, "tag", "waits for the suspension of a request", 1, 1, true, static (s, a) =>
        {
            s.DebugFilter?.WaitStopped(a[0]);
            return true;
        }),
        new("write", "w", "[-bcCfnquz] [-P pattern | -s source_file] off len", "writes a number of bytes at a specified offset", 2, -1, true, static (s, a) => IoTransfers.Write(s, a, "write")),
        new("writev", null, "[-Cfq] [-P pattern] off len [len..]", "writes a number of bytes at a specified offset", 2, -1, true, static (s, a) => IoTransfers.Write(s, a, "writev")),
    ];

    public static IoCommand? Find(string name) => Array.Find(All, c => c.Name == name || c.Alias == name);

    private static bool Said(bool done, string complaint)
    {
        if (!done)
            Host.Print(complaint + "\n");
        return done;
    }

    private static bool Help(IoSession session, string[] args)
    {
        if (args.Length == 0)
        {
            var text = new StringBuilder();
            foreach (var command in All)
                text.Append(command.Usage).Append('\n');
            Host.Print(text.Append("\nUse 'help commandname' for extended help.\n").ToString());
            return true;
        }

        if (Find(args[0]) is not { } found)
        {
            Host.Print($"command {args[0]} not found\n");
            return false;
        }

        Host.Print(found.Usage + "\n");
        return true;
    }

    private static bool Alloc(IoSession session, string[] args)
    {
        var node = session.Node!;
        var offset = IoSession.Number(args[0]);
        var count = args.Length > 1 ? IoSession.Number(args[1]) : 512;
        count = Math.Max(0, Math.Min(count, node.Length - offset));
        var (at, left, sum) = (offset, count, 0L);
        while (left > 0 && at < node.Length)
        {
            var status = node.Status(at, Math.Min(left, node.Length - at));
            if (status.IsAllocated)
                sum += status.Length;
            at += status.Length;
            left -= status.Length;
        }

        Host.Print($"{sum}/{count} bytes allocated at offset {Units.Exact(offset)}\n");
        return true;
    }

    private static bool Info(IoSession session, string[] args)
    {
        var node = session.Node!;
        var text = new StringBuilder($"format name: {node.Driver}\n");
        if (node.ClusterSize > 0)
            text.Append($"cluster size: {Units.Exact(node.ClusterSize)}\n");
        if (node is Qcow2Node image)
            text.Append($"vm state offset: {Units.Exact(image.VmStateOffset)}\n");
        if (node.FormatInfo is { } info)
            text.Append("Format specific information:\n").Append(info.ToText(1));
        Host.Print(text.ToString());
        return true;
    }

    private static bool Map(IoSession session, string[] args)
    {
        var node = session.Node!;
        var text = new StringBuilder();
        for (var at = 0L; at < node.Length;)
        {
            var status = node.Status(at, node.Length - at);
            var n = status.Length;
            while (at + n < node.Length && node.Status(at + n, node.Length - at - n) is var next && next.IsAllocated == status.IsAllocated)
                n += next.Length;
            text.Append(CultureInfo.InvariantCulture,
                $"{Units.Exact(n)} (0x{n:x}) bytes {(status.IsAllocated ? "    allocated" : "not allocated")} at offset {Units.Exact(at)} (0x{at:x})\n");
            at += n;
        }

        Host.Print(text.ToString());
        return true;
    }

    private static bool Open(IoSession session, string[] args)
    {
        var options = new GetOpt(args, "snCro:ki:t:d:U");
        if (session.Node != null)
        {
            Host.Print("file open already, try 'help close'\n");
            return false;
        }

        var extra = new BlockOptions();
        foreach (var text in options.Values("o"))
        {
            foreach (var (key, value) in Core.Options.OptionList.Parse(text).Items)
                extra.Set(key, value);
        }

        if (options.Rest.Count > 1)
            throw new ToolException(Find("open")!.Usage);
        if (ImgTool.ForceShareConflicts(extra, options.Has("U")))
        {
            session.Complain("-U conflicts with image options");
            return false;
        }

        try
        {
            session.Open(options.Rest.FirstOrDefault(), null, false, session.Defaults with
            {
                ReadOnly = options.Has("r"),
                Snapshot = options.Has("s"),
                Cache = options.Has("n") ? "none" : options.Value("t") ?? "writeback",
                Discard = options.Value("d") ?? "unmap",
                ForceShare = options.Has("U"),
                CopyOnRead = options.Has("C"),
            }, extra);
            return true;
        }
        catch (BlockException e)
        {
            session.Complain($"can't open{(options.Rest.Count > 0 ? $" device {options.Rest[0]}" : "")}: {ImgTool.Explain(e)}");
            return false;
        }
    }

    private static bool Reopen(IoSession session, string[] args)
    {
        GetOpt options;
        try
        {
            options = new GetOpt(args, "c:o:rw");
        }
        catch (ToolException)
        {
            throw new ToolException(Find("reopen")!.Usage);
        }

        if (options.Rest.Count > 0)
            throw new ToolException(Find("reopen")!.Usage);
        if (options.Has("r") && options.Has("w"))
            throw new ToolException("reopen: Only one -r/-c/-w option may be given");
        var changes = new BlockOptions();
        foreach (var text in options.Values("o"))
        {
            foreach (var (key, value) in Core.Options.OptionList.Parse(text).Items)
                changes.Set(key, value);
        }

        try
        {
            if ((options.Has("r") || options.Has("w")) && changes.Has("read-only"))
                throw new BlockException(BlockError.Invalid, "Cannot set both -r/-w and 'read-only'");
            if (options.Has("c") && (changes.Has("cache.direct") || changes.Has("cache.no-flush")))
                throw new BlockException(BlockError.Invalid, "Cannot set both -c and the cache options");
            var readOnly = options.Has("r") || (!options.Has("w") && (changes.TakeBool("read-only") ?? session.Node!.IsReadOnly));
            session.Reopen(readOnly, options.Value("c"), changes);
            return true;
        }
        catch (BlockException e)
        {
            session.Complain(ImgTool.Explain(e));
            return false;
        }
    }

    private static bool Truncate(IoSession session, string[] args)
    {
        var options = new GetOpt(args, "m:");
        if (options.Rest.Count != 1)
            throw new ToolException("bad argument count to truncate");
        session.Node!.Resize(IoSession.Number(options.Rest[0]));
        return true;
    }
}
