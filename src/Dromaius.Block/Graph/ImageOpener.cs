using Dromaius.Block.Filters;
using Dromaius.Block.Host;
using Dromaius.Block.Nbd;
using Dromaius.Block.Raw;
using Dromaius.Core.Errors;

namespace Dromaius.Block.Graph;

/// <summary>Opens images: by name with probing, or by options, with everything that is below them.</summary>
public static class ImageOpener
{
    private const int MaxDepth = 128;
    private static readonly string[] FileDrivers = ["file", "host_device", "host_cdrom"];

    /// <summary>Names of drivers that are not formats.</summary>
    public static IReadOnlyList<string> Protocols { get; } =
        ["blkdebug", "blkverify", "copy-on-read", "file", "host_cdrom", "host_device", "nbd", "null-aio", "null-co", "throttle"];

    public static BlockNode Open(string fileName, OpenFlags flags, string? format = null)
    {
        var options = new BlockOptions();
        if (format != null)
            options.Set("driver", format);
        return Open(fileName, options, flags);
    }

    /// <summary>Opens an image and its backing chain.</summary>
    /// <param name="fileName">The file, a <c>json:</c> description, or null when the options say it all.</param>
    /// <param name="options">Options of the node; all must be understood.</param>
    /// <param name="flags">How.</param>
    public static BlockNode Open(string? fileName, BlockOptions options, OpenFlags flags)
    {
        var node = OpenNode(fileName, options, flags);
        try
        {
            options.RejectUntaken(node.Driver, flags.IsTyped);
            return node;
        }
        catch
        {
            node.Release();
            throw;
        }
    }

    /// <summary>Where a name in an image's header leads: relative to the folder of the image.</summary>
    public static string Combine(string image, string name)
    {
        if (name.StartsWith('/') || HasProtocol(name))
            return name;
        if (HasProtocol(image))
            return name;
        var slash = image.LastIndexOf('/');
        return slash < 0 ? name : image[..(slash + 1)] + name;
    }

    /// <summary>A word and a colon before any slash: <c>nbd:</c>, <c>json:</c>.</summary>
    public static bool HasProtocol(string name)
    {
        var colon = name.IndexOf(':');
        var slash = name.IndexOf('/');
        return colon > 0 && (slash < 0 || colon < slash);
    }

    internal static BlockNode OpenChild(string key, string? fileName, BlockOptions options, OpenFlags flags)
    {
        if (fileName == null && options.Take(key) is { } reference)
        {
            var node = flags.Graph?.FindNode(reference);
            return node?.Retain() ?? throw new BlockException(BlockError.NoEntry, $"Cannot find device='' nor node-name='{reference}'");
        }

        return OpenProtocol(fileName, options.Below(key), flags);
    }

    internal static BlockNode OpenProtocol(string? fileName, BlockOptions options, OpenFlags flags)
    {
        if (flags.Depth > MaxDepth)
            throw new BlockException(BlockError.Invalid, "The backing chain is too long");
        flags = TakeFlags(options, flags, out var nodeName);
        var driver = options.Take("driver");
        if (fileName != null && driver == null)
        {
            if (fileName.StartsWith("file:", StringComparison.Ordinal))
                fileName = HasProtocol(fileName[5..]) ? "./" + fileName[5..] : fileName[5..];
            else if (HasProtocol(fileName) && !File.Exists(fileName))
            {
                var remote = OpenRemote(fileName, options, flags);
                remote.NodeName = nodeName;
                flags.Graph?.Register(remote);
                return remote;
            }
        }

        driver ??= "file";
        BlockNode node;
        if (FileDrivers.Contains(driver))
        {
            var locking = options.Take("locking") is not "off";
            foreach (var hint in (ReadOnlySpan<string>)["aio", "aio-max-batch", "pr-manager", "x-check-cache-dropped", "drop-cache"])
                _ = options.Take(hint);
            var path = fileName ?? options.Take("filename") ?? throw new BlockException(BlockError.Invalid, "The 'file' block driver requires a file name");
            if (fileName != null)
                _ = options.Take("filename");
            node = new HostFileNode(path, new HostFileOptions
            {
                ReadOnly = flags.ReadOnly,
                AutoReadOnly = flags.AutoReadOnly,
                Direct = flags.Direct,
                NoFlush = flags.NoFlush,
                ShareWrite = flags.ShareWrite,
                ForceShare = flags.ForceShare,
                LocksLater = flags.Graph != null && flags.ShareWrite,
                Discard = flags.Discard,
                Locking = locking,
            });
        }
        else if (driver is "null-co" or "null-aio")
            node = OpenNull(driver, options);
        else if (FilterOpener.Names.Contains(driver))
            node = FilterOpener.Open(driver, fileName, options, flags);
        else if (driver == "nbd")
            node = OpenNbd(fileName != null ? NbdAddress.Parse(fileName) : NbdAddress.FromOptions(options), options, flags);
        else
            return OpenNode(fileName, WithDriver(options, driver), flags with { Depth = flags.Depth + 1 });

        node.NodeName = nodeName;
        flags.Graph?.Register(node);
        return node;
    }

    private static BlockOptions WithDriver(BlockOptions options, string driver)
    {
        options.Set("driver", driver);
        return options;
    }

    private static BlockNode OpenRemote(string fileName, BlockOptions options, OpenFlags flags)
    {
        var protocol = fileName[..fileName.IndexOf(':')];
        if (protocol is "nbd" or "nbd+tcp" or "nbd+unix")
            return OpenNbd(NbdAddress.Parse(fileName), options, flags);
        return protocol switch
        {
            "null-co" or "null-aio" when fileName != protocol + "://" =>
                throw new BlockException(BlockError.Invalid, $"The only allowed filename for this driver is '{protocol}://'"),
            "null-co" or "null-aio" => OpenNull(protocol, options),
            "blkdebug" or "blkverify" => FilterOpener.Open(protocol, fileName, options, flags),
            _ => throw new BlockException(BlockError.Invalid, $"Unknown protocol '{protocol}'"),
        };
    }

    private static NullNode OpenNull(string driver, BlockOptions options)
    {
        _ = options.TakeSize("latency-ns");
        return new NullNode(driver, options.TakeSize("size") ?? 1L << 30, options.TakeBool("read-zeroes") ?? false);
    }

    private static NbdNode OpenNbd(NbdAddress address, BlockOptions options, OpenFlags flags)
    {
        foreach (var hint in (ReadOnlySpan<string>)["reconnect-delay", "open-timeout", "x-dirty-bitmap", "tls-creds", "tls-hostname"])
        {
            if (options.Take(hint) != null && hint.StartsWith("tls", StringComparison.Ordinal))
                throw new BlockException(BlockError.NotSupported, "TLS is not supported");
        }

        return new NbdNode(address, flags.ReadOnly, flags.AutoReadOnly);
    }

    internal static BlockNode OpenNode(string? fileName, BlockOptions options, OpenFlags flags)
    {
        if (flags.Depth > MaxDepth)
            throw new BlockException(BlockError.Invalid, "The backing chain is too long");
        if (fileName != null && fileName.StartsWith("json:", StringComparison.Ordinal))
        {
            options.AddJson(fileName[5..]);
            fileName = null;
        }

        flags = TakeFlags(options, flags, out var nodeName);
        var driver = options.Take("driver");
        if (driver != null && Protocols.Contains(driver))
        {
            options.Set("driver", driver);
            var protocol = OpenProtocol(fileName, options, flags);
            protocol.NodeName = nodeName;
            protocol.OpenedReadOnly = flags.ReadOnly;
            flags.Graph?.Register(protocol);
            return protocol;
        }

        var format = driver == null ? null : ImageFormats.Find(driver) ?? throw new BlockException(BlockError.Invalid,
            $"Unknown driver '{driver}'{NearestNames.Hint(driver, ImageFormats.All.Select(static f => f.Name).Concat(Protocols))}");
        if (fileName == null && !options.Has("file") && !options.HasBelow("file"))
        {
            if (driver == null && options.Take("filename") is { } name)
                fileName = name;
            else
                throw new BlockException(BlockError.Invalid, driver == null ? "Must specify either driver or file" : "A block device must be specified for \"file\"");
        }

        // A file in use by a format is not for others to write.
        var share = flags.ShareWrite && (format?.ShareWrite ?? true);
        var file = OpenChild("file", fileName, options, flags with { ShareWrite = share });
        try
        {
            var guessed = format == null;
            if (format == null)
            {
                format = ImageFormats.Probe(file);
                if (share && !format.ShareWrite)
                {
                    file.Release();
                    file = OpenChild("file", fileName, options, flags with { ShareWrite = false });
                }
            }

            if (guessed && format.Name == "raw" && !file.IsReadOnly)
                flags.GuessedRaw?.Invoke(fileName ?? file.FileName);
            var effective = file.IsReadOnly ? flags with { ReadOnly = true } : flags;
            var node = guessed && format.Name == "raw" ? RawFormat.OpenGuessed(file) : format.Open(file, options, effective);
            file = null;
            try
            {
                node.NodeName = nodeName;
                node.OpenedReadOnly = flags.ReadOnly;
                node.DetectZeroes = flags.DetectZeroes;
                OpenBacking(node, format, options, flags);
                flags.Graph?.Register(node);
                return node;
            }
            catch
            {
                node.Release();
                throw;
            }
        }
        catch
        {
            file?.Release();
            throw;
        }
    }

    /// <summary>Opens the backing file that an image names, for one that was opened without.</summary>
    public static void OpenBacking(BlockNode node, OpenFlags flags)
    {
        if (node.Backing == null && ImageFormats.Find(node.Driver) is { } format)
            OpenBacking(node, format, new BlockOptions(), flags);
    }

    private static void OpenBacking(BlockNode node, ImageFormat format, BlockOptions options, OpenFlags flags)
    {
        if (options.Take("backing") is { } reference)
        {
            if (reference.Length == 0)
                return;
            var named = flags.Graph?.FindNode(reference) ?? throw new BlockException(BlockError.NoEntry, $"Cannot find device='' nor node-name='{reference}'");
            format.SetBacking(node, named.Retain());
            return;
        }

        var (name, backingFormat) = format.BackingOf(node);
        var below = options.HasBelow("backing");
        if (flags.NoBacking || (name == null && !below))
            return;
        var backingOptions = below ? options.Below("backing") : new BlockOptions();
        if (below && (backingOptions.HasBelow("file") || backingOptions.Has("file") || backingOptions.Has("filename")))
            name = null;
        if (name != null && backingFormat != null && !backingOptions.Has("driver"))
            backingOptions.Set("driver", backingFormat);
        var backingFlags = flags with { ReadOnly = true, Depth = flags.Depth + 1, GuessedRaw = null, DetectZeroes = DetectZeroes.Off };
        try
        {
            var path = name == null ? null : Combine(node.FileName, name);
            format.SetBacking(node, OpenNode(path, backingOptions, backingFlags));
        }
        catch (BlockException e)
        {
            throw e.Within("Could not open backing file");
        }
    }

    /// <summary>Options that every node has.</summary>
    private static OpenFlags TakeFlags(BlockOptions options, OpenFlags flags, out string? nodeName)
    {
        nodeName = options.Take("node-name");
        var discard = options.TakeChoice("discard", ("ignore", false), ("off", false), ("unmap", true), ("on", true));
        var zeroes = options.TakeChoice("detect-zeroes", ("off", DetectZeroes.Off), ("on", DetectZeroes.On), ("unmap", DetectZeroes.Unmap));
        if (zeroes == DetectZeroes.Unmap && !(discard ?? flags.Discard))
            throw new BlockException(BlockError.Invalid, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
        flags = flags with
        {
            ReadOnly = options.TakeBool("read-only") ?? flags.ReadOnly,
            AutoReadOnly = options.TakeBool("auto-read-only") ?? flags.AutoReadOnly,
            Direct = options.TakeBool("cache.direct") ?? flags.Direct,
            NoFlush = options.TakeBool("cache.no-flush") ?? flags.NoFlush,
            ForceShare = options.TakeBool("force-share") ?? flags.ForceShare,
            Discard = discard ?? flags.Discard,
            DetectZeroes = zeroes ?? flags.DetectZeroes,
        };
        if (flags.ForceShare && !flags.ReadOnly)
            throw new BlockException(BlockError.Invalid, "force-share=on can only be used with read-only images");
        return flags;
    }
}
