using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Boards;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Time;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Makes drives and images of what <c>-drive</c>, <c>-blockdev</c> and their short forms say.</summary>
internal sealed class DriveSettings(SystemSettings settings, BlockGraph graph)
{
    private static readonly Dictionary<string, DriveInterface> Interfaces = new()
    {
        ["none"] = DriveInterface.None, ["ide"] = DriveInterface.Ide, ["scsi"] = DriveInterface.Scsi, ["floppy"] = DriveInterface.Floppy,
        ["pflash"] = DriveInterface.Pflash, ["mtd"] = DriveInterface.Mtd, ["sd"] = DriveInterface.Sd, ["virtio"] = DriveInterface.Virtio,
    };

    private readonly List<DriveOption> _drives = [];

    /// <summary>Q35 has one disk on each of its SATA ports, older boards two on each IDE channel.</summary>
    private int UnitsOfIdeBus => (settings.Machine ?? "pc") is var name && (name == "q35" || name.StartsWith("pc-q35", StringComparison.Ordinal)) ? 1 : 2;

    /// <summary>Opens everything, images of <c>-blockdev</c> first, as drives may name them.</summary>
    public static IReadOnlyList<DriveOption> Open(SystemSettings settings, BlockGraph graph)
    {
        var drives = new DriveSettings(settings, graph);
        foreach (var argument in settings.BlockNodes)
            InContext(argument, () => graph.AddNode(BlockOptions.Parse(argument.Value, "driver")));
        foreach (var argument in settings.Drives)
            InContext(argument, () => drives.Add(argument));
        return drives._drives;
    }

    private static void InContext(Argument argument, Action action)
    {
        try
        {
            CommandLineParser.InContextOf(argument, action);
        }
        catch (BlockException e)
        {
            throw new UserErrorException(e.Hint == null ? $"{argument.Text}: {e.Message}" : $"{argument.Text}: {e.Message}\n{e.Hint}");
        }
    }

    private void Add(Argument argument)
    {
        var (options, isFlash) = Normalize(argument);
        var name = options.Take("if") ?? (isFlash ? "pflash" : "ide");
        if (!Interfaces.TryGetValue(name, out var type))
            throw new UserErrorException($"unsupported bus type '{name}'{NearestNames.Hint(name, Interfaces.Keys)}");
        var media = options.Take("media");
        if (media is not (null or "disk" or "cdrom"))
            throw new UserErrorException($"'{media}' invalid media");
        var isCdRom = media == "cdrom";
        var (bus, unit) = Place(options, type);
        var named = options.Take("id");
        if (named != null && !UserObjects.IsIdentifier(named))
        {
            throw new UserErrorException("Parameter 'id' expects an identifier\n"
                + "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.");
        }

        var id = named ?? DefaultId(type, bus, unit, isCdRom);
        graph.RequireFree(id);
        var readOnly = options.TakeBool("readonly") ?? options.TakeBool("read-only");
        var copyOnRead = options.TakeBool("copy-on-read") ?? false;
        var snapshot = options.TakeBool("snapshot") ?? settings.Snapshot;
        var file = options.Take("file");
        var format = options.Take("format");
        if (format is "help" or "?")
            throw new HelpRequestException(Formats());
        if (format != null)
            options.Set("driver", format);
        var flags = Caching(options, out var writeCache) with
        {
            ReadOnly = readOnly ?? isCdRom,
            GuessedRaw = WarnGuessed,
            Discard = options.TakeChoice("discard", ("ignore", false), ("off", false), ("unmap", true), ("on", true)) ?? false,
        };
        if (readOnly == null && !isCdRom)
            flags = flags with { AutoReadOnly = options.TakeBool("auto-read-only") ?? false };
        options.Set("discard", flags.Discard ? "unmap" : "ignore");
        var (onRead, onWrite) = (Policy(options, "rerror", type, ErrorPolicy.Report), Policy(options, "werror", type, ErrorPolicy.StopOnNoSpace));
        foreach (var ignored in (ReadOnlySpan<string>)["aio", "serial", "addr", "secs", "heads", "cyls", "trans", "boot", "stats-intervals"])
            _ = options.Take(ignored);
        var throttle = Throttling(options);
        var group = options.Take("throttling.group");

        if (copyOnRead && flags.ReadOnly)
            throw new UserErrorException("Cannot use copy-on-read with a read-only drive");
        var node = OpenMedium(file, options, flags, snapshot);
        var backend = graph.AddBackend(id, node);
        backend.WriteCache = writeCache;
        backend.CopyOnRead = copyOnRead;
        if (throttle.IsActive)
            graph.SetThrottle(backend, throttle, group);
        backend.OnReadError = onRead;
        backend.OnWriteError = onWrite;
        backend.IsRemovable = isCdRom || type is DriveInterface.Floppy or DriveInterface.Sd;
        _drives.Add(new DriveOption { Id = id, Interface = type, Bus = bus, Unit = unit, IsCdrom = isCdRom, Backend = backend, Text = argument.Text });
    }

    /// <summary>The limits, under their present and their older names.</summary>
    private static ThrottleConfig Throttling(BlockOptions options)
    {
        var config = new ThrottleConfig
        {
            BytesTotal = Limit("bps", "total", ""), BytesRead = Limit("bps", "read", "_rd"), BytesWrite = Limit("bps", "write", "_wr"),
            OperationsTotal = Limit("iops", "total", ""), OperationsRead = Limit("iops", "read", "_rd"), OperationsWrite = Limit("iops", "write", "_wr"),
            OperationSize = Number("throttling.iops-size", "iops_size"),
        };
        config.Check();
        return config;

        ThrottleLimit Limit(string unit, string kind, string old) => new(Number($"throttling.{unit}-{kind}", unit + old),
            Number($"throttling.{unit}-{kind}-max", $"{unit}{old}_max"),
            options.Take($"throttling.{unit}-{kind}-max-length") is { } text ? OptionValue.Number($"throttling.{unit}-{kind}-max-length", text, 0, uint.MaxValue) : 1);

        long Number(string key, string old)
        {
            var name = options.Has(old) ? old : key;
            var text = options.Take(old) ?? options.Take(key);
            return text == null ? 0 : OptionValue.Number(name, text, 0, long.MaxValue);
        }
    }

    /// <summary>A drive for a device that will be plugged in (<c>drive_add</c>).</summary>
    public static void AddLater(SystemSettings settings, BlockGraph graph, string text)
    {
        var drives = new DriveSettings(settings, graph);
        try
        {
            drives.Add(new Argument("drive", text));
        }
        catch (BlockException e)
        {
            throw new UserErrorException(e.Hint == null ? e.Message : $"{e.Message}\n{e.Hint}");
        }
    }

    /// <summary>The short forms say the same as a <c>-drive</c>.</summary>
    private static (BlockOptions Options, bool IsFlash) Normalize(Argument argument)
    {
        if (argument.Option == "drive")
        {
            var list = OptionList.Parse(argument.Value);
            var options = new BlockOptions();
            foreach (var (key, value) in list.Items)
                options.Set(key, value);
            return (options, false);
        }

        var (index, type, media) = argument.Option switch
        {
            "hda" => ("0", "ide", "disk"),
            "hdb" => ("1", "ide", "disk"),
            "hdc" => ("2", "ide", "disk"),
            "hdd" => ("3", "ide", "disk"),
            "cdrom" => ("2", "ide", "cdrom"),
            "fda" => ("0", "floppy", null),
            "fdb" => ("1", "floppy", null),
            "sd" => ("", "sd", null),
            "mtdblock" => ("", "mtd", null),
            "pflash" => ("", "pflash", null),
            _ => ("0", "ide", (string?)"disk"),
        };
        var made = new BlockOptions();
        made.Set("if", type);
        if (index.Length > 0)
            made.Set("index", index);
        if (media != null)
            made.Set("media", media);
        // The argument is a file name: commas stand for themselves.
        if (argument.Value.Length > 0)
            made.Set("file", argument.Value);
        return (made, type == "pflash");
    }

    private (int Bus, int Unit) Place(BlockOptions options, DriveInterface type)
    {
        var units = type switch
        {
            DriveInterface.Ide => UnitsOfIdeBus,
            DriveInterface.Scsi => 7,
            _ => 0,
        };
        int? Number(string key) => options.Take(key) is { } text ? (int)OptionValue.Number(key, text, 0, 1 << 20) : null;
        var (bus, unit, index) = (Number("bus"), Number("unit"), Number("index"));
        if (index is { } i)
        {
            if (bus != null || unit != null)
                throw new UserErrorException("index cannot be used with bus and unit");
            (bus, unit) = units == 0 ? (0, i) : (i / units, i % units);
        }

        var b = bus ?? 0;
        if (unit is not { } u)
        {
            u = 0;
            while (Find(type, b, u) != null)
            {
                u++;
                if (units != 0 && u >= units)
                    (b, u) = (b + 1, u - units);
            }
        }

        if (units != 0 && u >= units)
            throw new UserErrorException($"unit {u} too big (max is {units - 1})");
        if (type != DriveInterface.None && Find(type, b, u) != null)
            throw new UserErrorException($"drive with bus={b}, unit={u} (index={(units == 0 ? u : b * units + u)}) exists");
        return (b, u);
    }

    private DriveOption? Find(DriveInterface type, int bus, int unit) =>
        _drives.Find(d => d.Interface == type && d.Bus == bus && d.Unit == unit);

    private static string DefaultId(DriveInterface type, int bus, int unit, bool isCdRom)
    {
        var name = Interfaces.First(i => i.Value == type).Key;
        return type is DriveInterface.Ide or DriveInterface.Scsi ? $"{name}{bus}-{(isCdRom ? "cd" : "hd")}{unit}" : $"{name}{unit}";
    }

    private static OpenFlags Caching(BlockOptions options, out bool writeCache)
    {
        var (back, direct, noFlush) = options.Take("cache") switch
        {
            null or "writeback" => (true, false, false),
            "writethrough" => (false, false, false),
            "none" or "off" => (true, true, false),
            "directsync" => (false, true, false),
            "unsafe" => (true, false, true),
            _ => throw new UserErrorException("invalid cache option"),
        };
        writeCache = options.TakeBool("cache.writeback") ?? back;
        return new OpenFlags
        {
            Direct = options.TakeBool("cache.direct") ?? direct,
            NoFlush = options.TakeBool("cache.no-flush") ?? noFlush,
        };
    }

    private static ErrorPolicy Policy(BlockOptions options, string key, DriveInterface type, ErrorPolicy fallback)
    {
        if (options.Take(key) is not { } text)
            return fallback;
        if (type is not (DriveInterface.Ide or DriveInterface.Scsi or DriveInterface.Virtio or DriveInterface.None))
            throw new UserErrorException($"{key} is not supported by this bus type");
        return text switch
        {
            "ignore" => ErrorPolicy.Ignore,
            "report" => ErrorPolicy.Report,
            "stop" => ErrorPolicy.Stop,
            "enospc" when key == "werror" => ErrorPolicy.StopOnNoSpace,
            _ => throw new UserErrorException($"'{text}' invalid {(key == "werror" ? "write" : "read")} error action"),
        };
    }

    private BlockNode? OpenMedium(string? file, BlockOptions options, OpenFlags flags, bool snapshot)
    {
        if (string.IsNullOrEmpty(file))
        {
            if (!options.HasBelow("file") && !options.Has("driver"))
                return null;
            file = null;
        }

        if (file != null && graph.FindNode(file) is { } named && !File.Exists(file))
            return named.Retain();
        // What is below a temporary image is never written.
        var node = graph.Open(file!, options, snapshot ? flags with { ReadOnly = true, GuessedRaw = null } : flags);
        return snapshot ? graph.AddTemporaryOverlay(node) : node;
    }

    private static string Formats()
    {
        var names = string.Join(' ', ImageFormats.All.Select(static f => f.Name).Concat(ImageOpener.Protocols).Order(StringComparer.Ordinal));
        return $"Supported formats: {names}\nSupported formats (read-only): {names}\n";
    }

    private static void WarnGuessed(string file) => Host.Warn(
        $"""
        WARNING: Image format was not specified for '{file}' and probing guessed raw.
                 Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.
                 Specify the 'raw' format explicitly to remove the restrictions.

        """);
}
