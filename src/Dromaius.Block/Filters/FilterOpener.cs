using Dromaius.Block.Graph;

namespace Dromaius.Block.Filters;

/// <summary>Opens the drivers that stand between others.</summary>
internal static class FilterOpener
{
    public static IReadOnlyList<string> Names { get; } = ["blkdebug", "blkverify", "copy-on-read", "throttle"];

    /// <summary>Opens a filter.</summary>
    /// <param name="driver">Its name.</param>
    /// <param name="fileName">What is behind the prefix of its name, <c>config:image</c> or <c>raw:image</c>; null when the options say all.</param>
    /// <param name="options">Its options.</param>
    /// <param name="flags">How.</param>
    public static BlockNode Open(string driver, string? fileName, BlockOptions options, OpenFlags flags)
    {
        var prefix = driver + ":";
        string? first = null, image = fileName;
        if (fileName != null && fileName.StartsWith(prefix, StringComparison.Ordinal))
        {
            var rest = fileName[prefix.Length..];
            var colon = rest.IndexOf(':');
            if (colon < 0)
                throw new BlockException(BlockError.Invalid, driver == "blkverify" ? "blkverify requires raw copy and original image path" : "blkdebug requires both config file and image path");
            (first, image) = (rest[..colon], rest[(colon + 1)..]);
        }

        switch (driver)
        {
            case "throttle":
                var name = options.Take("throttle-group") ?? throw new BlockException(BlockError.Invalid, "Parameter 'throttle-group' is missing");
                var group = flags.Graph?.FindThrottle(name) ?? throw new BlockException(BlockError.NoEntry, $"Throttle group '{name}' does not exist");
                return new ThrottleNode(Child("file", image, options, flags), group);
            case "copy-on-read":
                var bottom = options.Take("bottom");
                var top = Child("file", image, options, flags);
                if (bottom == null)
                    return new CopyOnReadNode(top);
                var lowest = top;
                while (lowest != null && lowest.NodeName != bottom)
                    lowest = lowest.Backing;
                if (lowest != null)
                    return new CopyOnReadNode(top, lowest);
                top.Release();
                throw new BlockException(BlockError.Invalid, $"Bottom node '{bottom}' not found");
            case "blkdebug":
                if (first is { Length: > 0 })
                    options.Set("config", first);
                var config = options.Take("config") ?? "";
                var rules = DebugRules.Take(options);
                foreach (var hint in (ReadOnlySpan<string>)["align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"])
                    _ = options.TakeSize(hint);
                return new BlkdebugNode(Child("image", image, options, flags), rules, config);
            default:
                var test = Child("test", image, options, flags);
                try
                {
                    return new BlkverifyNode(test, Child("raw", first, options, flags));
                }
                catch
                {
                    test.Release();
                    throw;
                }
        }
    }

    private static BlockNode Child(string key, string? fileName, BlockOptions options, OpenFlags flags)
    {
        if (fileName == null && !options.Has(key) && !options.HasBelow(key))
            throw new BlockException(BlockError.Invalid, flags.IsTyped ? $"Parameter '{key}' is missing" : $"A block device must be specified for \"{key}\"");
        flags = flags with { Depth = flags.Depth + 1 };
        // What is verified is an image; what it is compared with, and what is debugged, are files unless the options say otherwise.
        return fileName != null && key == "test" && !options.Below(key).Has("driver")
            ? ImageOpener.OpenNode(fileName, options.Below(key), flags)
            : ImageOpener.OpenChild(key, fileName, options, flags);
    }
}
