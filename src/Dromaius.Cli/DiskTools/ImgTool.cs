using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>dromaius-img</c>: makes, converts, checks and changes disk images.</summary>
internal static class ImgTool
{
    private static readonly Dictionary<string, Func<string[], int>> Commands = new()
    {
        ["amend"] = ImgAmend.Run, ["bench"] = ImgBench.Run, ["bitmap"] = ImgBitmap.Run, ["check"] = ImgCheck.Run, ["commit"] = ImgCommit.Run,
        ["compare"] = ImgCompare.Run, ["convert"] = ImgConvert.Run, ["create"] = ImgCreate.Run, ["dd"] = ImgDd.Run, ["info"] = ImgInfo.Run,
        ["map"] = ImgMap.Run, ["measure"] = ImgMeasure.Run, ["snapshot"] = ImgSnapshot.Run, ["rebase"] = ImgRebase.Run, ["resize"] = ImgResize.Run,
    };

    public static int Run(ArraySegment<string> args)
    {
        try
        {
            return Dispatch([.. args]);
        }
        catch (ToolException e)
        {
            if (e.Message.Length > 0)
                Host.Complain(e.Message);
            if (e.ShowHelpHint)
                Host.Warn($"Try '{Host.ProgramName} --help' for more information\n");
            return e.Status;
        }
        catch (BlockException e)
        {
            Host.Complain(Explain(e));
            return 1;
        }
        catch (UserErrorException e)
        {
            Host.Complain(e.Message);
            return 1;
        }
    }

    private static int Dispatch(string[] args)
    {
        var i = 0;
        for (; i < args.Length && args[i].StartsWith('-'); i++)
        {
            switch (args[i])
            {
                case "-h" or "--help":
                    Host.Print(ImgHelp.Text());
                    return 0;
                case "-V" or "--version":
                    Host.Print(ImgHelp.Version());
                    return 0;
                case "-T" or "--trace":
                    i++;
                    break;
                default:
                    throw new ToolException($"unrecognized option '{args[i]}'", 1, true);
            }
        }

        if (i >= args.Length)
            throw new ToolException("Not enough arguments", 1, true);
        if (!Commands.TryGetValue(args[i], out var command))
            throw new ToolException($"Command not found: {args[i]}", 1, true);
        var rest = args[(i + 1)..];
        if (rest is ["-h" or "--help", ..])
        {
            Host.Print(ImgHelp.Text());
            return 0;
        }

        return command(rest);
    }

    public static string Explain(BlockException e) => e.Hint == null ? e.Message : $"{e.Message}\n{e.Hint}";

    /// <summary>Opens an image of the command line.</summary>
    /// <param name="name">A file name, or options with <paramref name="imageOptions"/>.</param>
    /// <param name="format">The <c>-f</c> format.</param>
    /// <param name="flags">How.</param>
    /// <param name="imageOptions"><c>--image-opts</c> was given.</param>
    /// <param name="quiet">No warning about guessed formats.</param>
    public static BlockNode Open(string name, string? format, OpenFlags flags, bool imageOptions = false, bool quiet = false)
    {
        if (!flags.ReadOnly && !quiet)
            flags = flags with { GuessedRaw = WarnGuessed };
        try
        {
            if (imageOptions)
            {
                if (format != null)
                    throw new ToolException("--image-opts and --format are mutually exclusive");
                var options = BlockOptions.Parse(name);
                if (ForceShareConflicts(options, flags.ForceShare))
                    throw new ToolException("--force-share/-U conflicts with image options");
                return ImageOpener.Open(null, options, flags);
            }

            return ImageOpener.Open(name, flags, format);
        }
        catch (BlockException e)
        {
            throw new ToolException($"Could not open '{name}': {Explain(e)}");
        }
    }

    /// <summary><c>-U</c> and the options of an image say different things.</summary>
    public static bool ForceShareConflicts(BlockOptions options, bool forceShare) =>
        forceShare && options.Has("force-share") && options.Clone().TakeBool("force-share") != true;

    public static void WarnGuessed(string file) => Host.Warn(
        $"""
        WARNING: Image format was not specified for '{file}' and probing guessed raw.
                 Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.
                 Specify the 'raw' format explicitly to remove the restrictions.

        """);

    /// <summary>Applies a cache mode.</summary>
    public static OpenFlags Cache(OpenFlags flags, string mode, string what, out bool writeThrough)
    {
        writeThrough = mode is "writethrough" or "directsync";
        return mode switch
        {
            "writeback" or "writethrough" => flags,
            "none" or "off" or "directsync" => flags with { Direct = true },
            "unsafe" => flags with { NoFlush = true },
            _ => throw new ToolException($"Invalid {what} option: {mode}"),
        };
    }

    public static OpenFlags Cache(OpenFlags flags, string mode, string what) => Cache(flags, mode, what, out _);

    /// <summary>Whether <c>--output</c> asks for JSON.</summary>
    public static bool WantsJson(GetOpt options) => options.Value("output") switch
    {
        null or "human" => false,
        "json" => true,
        _ => throw new ToolException("--output must be used with human or json as argument."),
    };

    public static long ParseSize(string text, string what)
    {
        if (PropertyValues.TryParseSize(text, out var bytes, 1) && bytes <= long.MaxValue)
            return (long)bytes;
        throw new ToolException($"Invalid {what} specified. You may use k, M, G, T, P or E suffixes for\n"
            + $"{Host.ProgramName}: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
    }

    public static long ParseCount(string text, string what) =>
        long.TryParse(text, out var n) && n >= 0 ? n : throw new ToolException($"Invalid {what} specified");

    /// <summary>The <c>-o</c> options, which may come in several pieces.</summary>
    public static BlockOptions FormatOptions(GetOpt options)
    {
        var all = new BlockOptions();
        foreach (var text in options.Values("o"))
        {
            foreach (var (key, value) in Core.Options.OptionList.Parse(text).Items)
                all.Set(key, value);
        }

        return all;
    }

    /// <summary><c>-o help</c></summary>
    public static bool AsksForHelp(BlockOptions options) => options.Has("help");

    /// <summary>Objects other than secrets mean nothing here.</summary>
    public static void TakeObjects(GetOpt options)
    {
        foreach (var text in options.Values("object"))
            Secrets.Add(text);
    }
}

/// <summary>The progress line of <c>-p</c>.</summary>
internal sealed class ProgressLine(bool shown) : IDisposable
{
    private readonly Lock _lock = new();
    private double _last = -10;

    public void Report(long done, long total)
    {
        if (!shown)
            return;
        var percent = total == 0 ? 100 : done * 100.0 / total;
        lock (_lock)
        {
            if (percent < _last + 1 && percent < 100)
                return;
            if (percent == _last)
                return;
            _last = percent;
            Host.Print(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"    ({percent:F2}/100%)\r"));
        }
    }

    public void Dispose()
    {
        if (!shown)
            return;
        Report(1, 1);
        Host.Print("\n");
    }
}
