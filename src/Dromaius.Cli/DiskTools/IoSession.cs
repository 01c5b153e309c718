using System.Globalization;
using Dromaius.Block;
using Dromaius.Block.Filters;
using Dromaius.Block.Graph;
using Dromaius.Core.Devices;
using Dromaius.Core.Storage;

namespace Dromaius.Cli.DiskTools;

/// <summary>How <c>dromaius-io</c> opens its image.</summary>
internal sealed record IoOpenSettings
{
    public bool ReadOnly { get; init; }
    public bool Snapshot { get; init; }
    public string Cache { get; init; } = "writeback";
    public string Discard { get; init; } = "unmap";
    public bool ForceShare { get; init; }
    public bool CopyOnRead { get; init; }
}

/// <summary>An open image and the commands on it.</summary>
internal sealed class IoSession(IoOpenSettings defaults)
{
    private readonly List<Thread> _pending = [];
    private bool _isBorrowed;

    public IoOpenSettings Defaults => defaults;
    public BlockNode? Node { get; private set; }
    public bool WriteThrough { get; private set; }

    /// <summary>Tells what a command found wrong.</summary>
    public Action<string> Complain { get; init; } = Host.Complain;

    /// <summary><c>quit</c> was given.</summary>
    public bool Ended { get; set; }

    public void Open(string? name, string? format, bool imageOptions, IoOpenSettings settings, BlockOptions? extra = null)
    {
        var flags = ImgTool.Cache(OpenFlags.Tool with
        {
            ReadOnly = settings.ReadOnly || settings.Snapshot,
            ForceShare = settings.ForceShare,
            GuessedRaw = settings.ReadOnly ? null : ImgTool.WarnGuessed,
            Discard = settings.Discard switch
            {
                "unmap" or "on" => true,
                "ignore" or "off" => false,
                _ => throw new ToolException($"Invalid discard option: {settings.Discard}"),
            },
        }, settings.Cache, "cache", out var writeThrough);
        var options = imageOptions && name != null ? BlockOptions.Parse(name) : extra ?? new BlockOptions();
        if (imageOptions && ImgTool.ForceShareConflicts(options, settings.ForceShare))
            throw new ToolException("-U conflicts with image options");
        if (format != null)
            options.Set("driver", format);
        var node = ImageOpener.Open(imageOptions ? null : name, options, flags);
        if (settings.CopyOnRead && node.IsReadOnly && !settings.Snapshot)
        {
            node.Dispose();
            throw new BlockException(BlockError.Invalid, "Can't use copy-on-read on read-only device");
        }

        if (settings.Snapshot)
            node = new BlockGraph(new Core.Time.EventLoop(new Lock())).AddTemporaryOverlay(node);
        if (settings.CopyOnRead)
            node = new CopyOnReadNode(node);
        Close();
        (Node, WriteThrough) = (node, writeThrough);
    }

    public void Close()
    {
        WaitForAll();
        if (!_isBorrowed)
            Node?.Dispose();
        _isBorrowed = false;
        Node = null;
    }

    /// <summary>Changes options of the open image; what it is made of stays as it is.</summary>
    /// <param name="readOnly">Whether it may be written from now on.</param>
    /// <param name="cache">Another cache mode, or null.</param>
    /// <param name="changes">Options of nodes.</param>
    public void Reopen(bool readOnly, string? cache, BlockOptions changes)
    {
        WaitForAll();
        var node = Node!;
        if (cache != null)
        {
            _ = ImgTool.Cache(OpenFlags.Tool, cache, "cache", out var writeThrough);
            WriteThrough = writeThrough;
        }

        foreach (var prefix in (ReadOnlySpan<string>)["", "file.", "backing."])
        {
            var at = prefix switch { "" => node, "file." => node.File, _ => node.Backing };
            CheckSame("node-name", changes.Take(prefix + "node-name"), at?.NodeName);
            CheckSame("driver", changes.Take(prefix + "driver"), at?.Driver);
            foreach (var key in (ReadOnlySpan<string>)["read-only", "auto-read-only", "cache.direct", "cache.no-flush", "force-share", "copy-on-read"])
                _ = changes.TakeBool(prefix + key);
            if (changes.TakeChoice(prefix + "discard", ("ignore", false), ("off", false), ("unmap", true), ("on", true)) is { } discard && at != null)
                at.AllowsDiscard = discard;
            if (changes.TakeChoice(prefix + "detect-zeroes", ("off", DetectZeroes.Off), ("on", DetectZeroes.On), ("unmap", DetectZeroes.Unmap)) is { } zeroes && at != null)
                at.DetectZeroes = zeroes;
        }

        if (node.Driver == "qcow2")
        {
            foreach (var key in (ReadOnlySpan<string>)["lazy-refcounts", "cache-size", "l2-cache-size", "l2-cache-entry-size", "refcount-cache-size",
                "cache-clean-interval", "overlap-check", "overlap-check.template", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other"])
                _ = changes.Take(key);
        }

        changes.RejectUntaken(node.Driver);
        if (readOnly != node.IsReadOnly)
            node.Reopen(readOnly);
    }

    private static void CheckSame(string option, string? wanted, string? now)
    {
        if (wanted != null && wanted != now)
            throw new BlockException(BlockError.Invalid, $"Cannot change the option '{option}'");
    }

    /// <summary>The <c>blkdebug</c> filter in the image's files, whose breakpoints the commands set.</summary>
    public BlkdebugNode? DebugFilter
    {
        get
        {
            var node = Node;
            while (node is not (null or BlkdebugNode))
                node = node.File;
            var filter = (BlkdebugNode?)node;
            if (filter is { Stopped: null })
            {
                filter.Stopped = static (tag, stops) => Host.Print(stops ? $"blkdebug: Suspended request '{tag}'\n" : $"blkdebug: Resuming request '{tag}'\n");
            }

            return filter;
        }
    }

    public BlkdebugNode RequireDebugFilter() =>
        DebugFilter ?? throw new ToolException($"Could not set a breakpoint: {Core.Storage.HostDisk.Explain((int)BlockError.NotSupported)}");

    /// <summary>Gives what was stopped the time to end, as far as it does not stop again.</summary>
    public void Settle()
    {
        foreach (var thread in _pending)
            _ = thread.Join(20);
        _ = _pending.RemoveAll(static t => !t.IsAlive);
    }

    /// <summary>Runs a command line on an image that others use, which stays open; what it found wrong, line by line.</summary>
    public static string Execute(BlockNode image, string line)
    {
        var complaints = new System.Text.StringBuilder();
        var session = new IoSession(new IoOpenSettings()) { Node = image, _isBorrowed = true, Complain = text => complaints.Append(text).Append('\n') };
        _ = session.Execute(line);
        session.WaitForAll();
        return complaints.ToString();
    }

    /// <summary>Runs one command line; false if it failed.</summary>
    public bool Execute(string line)
    {
        // What is asynchronous goes on; everything else sees it done.
        var words = line.Split([' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0)
            return true;
        if (IoCommands.Find(words[0]) is not { } command)
        {
            Host.Warn($"command \"{words[0]}\" not found\n");
            return false;
        }

        if (command.NeedsImage && Node == null)
        {
            Host.Warn("no file open, try 'help open'\n");
            return false;
        }

        var count = words.Length - 1;
        if (count < command.MinArguments || (command.MaxArguments >= 0 && count > command.MaxArguments))
        {
            if (command.MaxArguments == -1)
                Host.Print($"bad argument count {count} to {words[0]}, expected at least {command.MinArguments} arguments\n");
            else if (command.MinArguments == command.MaxArguments)
                Host.Print($"bad argument count {count} to {words[0]}, expected {command.MinArguments} arguments\n");
            else
                Host.Print($"bad argument count {count} to {words[0]}, expected between {command.MinArguments} and {command.MaxArguments} arguments\n");
            return false;
        }

        try
        {
            return command.Run(this, words[1..]);
        }
        catch (BlockException e)
        {
            Host.Print($"{words[0]} failed: {HostDisk.Explain((int)e.Error)}\n");
            return false;
        }
        catch (ToolException e)
        {
            if (e.ShowHelpHint)
                Host.Print($"{words[0]}: invalid option -- {e.Message}\n{command.Usage}\n");
            else if (e.Message.Length > 0)
                Host.Print(e.Message + "\n");
            return false;
        }
    }

    public void Start(Action work)
    {
        var thread = new Thread(() => work(), 512 << 10);
        _pending.Add(thread);
        thread.Start();
    }

    public void WaitForAll()
    {
        foreach (var thread in _pending)
            thread.Join();
        _pending.Clear();
    }

    public static long Number(string text)
    {
        if (PropertyValues.TryParseSize(text, out var value, 1) && value <= long.MaxValue)
            return (long)value;
        if (ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _) || (text.Length > 0 && char.IsAsciiDigit(text[0]) && value > long.MaxValue))
            throw new ToolException($"Parsing error: argument too large -- {text}");
        throw new ToolException($"Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- {text}");
    }
}
