using System.Globalization;
using Dromaius.Block.Graph;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Block.Filters;

/// <summary>Opens the drivers that stand between others.</summary>
internal static class FilterOpener
{
    public static IReadOnlyList<string> Names { get; } = ["blkdebug", "blkverify", "copy-on-read", "throttle"];

    public static BlockNode Open(string driver, BlockOptions options, OpenFlags flags) => Open(driver, options, flags, null, null);

    /// <summary>Opens <c>blkdebug:CONFIG:IMAGE</c> or <c>blkverify:RAW:TEST</c>.</summary>
    public static BlockNode OpenNamed(string name, BlockOptions options, OpenFlags flags)
    {
        var parts = name.Split(':', 3);
        var isDebug = parts[0] == "blkdebug";
        if (parts.Length < 3)
            throw new BlockException(BlockError.Invalid, isDebug ? "blkdebug requires both config file and image path" : "blkverify requires raw copy and original image path");
        if (!isDebug)
            return Open(parts[0], options, flags, parts[2], parts[1]);
        options.Set("config", parts[1]);
        return Open(parts[0], options, flags, parts[2], null);
    }

    private static BlockNode Open(string driver, BlockOptions options, OpenFlags flags, string? image, string? raw)
    {
        switch (driver)
        {
            case "throttle":
                var name = options.Take("throttle-group") ?? throw new BlockException(BlockError.Invalid, "Parameter 'throttle-group' is missing");
                var group = flags.Graph?.FindThrottle(name) ?? throw new BlockException(BlockError.NoEntry, $"Throttle group '{name}' does not exist");
                return new ThrottleNode(Child("file", options, flags), group);
            case "copy-on-read":
                _ = options.Take("bottom");
                return new CopyOnReadNode(Child("file", options, flags));
            case "blkdebug":
                if (options.Take("config") is { Length: > 0 } config)
                    AddRules(config, options);
                var rules = Rules(options);
                foreach (var hint in (ReadOnlySpan<string>)["align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"])
                    _ = options.Take(hint);
                return new BlkdebugNode(Child("image", options, flags, image), rules);
            default:
                var test = Child("test", options, flags, image);
                try
                {
                    return new BlkverifyNode(test, Child("raw", options, flags, raw));
                }
                catch
                {
                    test.Release();
                    throw;
                }
        }
    }

    /// <summary>The rules of a configuration file, behind those that the options state.</summary>
    private static void AddRules(string path, BlockOptions options)
    {
        List<IniSection> sections;
        try
        {
            sections = IniFile.Parse(path, File.ReadLines(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BlockException(BlockError.Io, $"Could not read blkdebug config file: {HostErrors.Explain(e)}", e);
        }
        catch (UserErrorException e)
        {
            throw new BlockException(BlockError.Invalid, e.Message, e);
        }

        foreach (var section in sections)
        {
            if (section.Name is not ("inject-error" or "set-state"))
                throw new BlockException(BlockError.Invalid, $"There is no option group '{section.Name}'");
            var number = 0;
            while (options.HasBelow($"{section.Name}.{number}"))
                number++;
            foreach (var (key, value) in section.Items)
                options.Set($"{section.Name}.{number}.{key}", value);
        }
    }

    private static BlockNode Child(string key, BlockOptions options, OpenFlags flags, string? name = null)
    {
        if (name == null && !options.Has(key) && !options.HasBelow(key))
            throw new BlockException(BlockError.Invalid, $"Parameter '{key}' is missing");
        return ImageOpener.OpenChild(key, name, options, flags with { Depth = flags.Depth + 1 });
    }

    private static List<InjectedError> Rules(BlockOptions options)
    {
        var rules = new List<InjectedError>();
        for (var i = 0; options.HasBelow($"inject-error.{i}"); i++)
        {
            var rule = options.Below($"inject-error.{i}");
            var number = rule.TakeSize("errno") ?? (int)BlockError.Io;
            if (number is < 1 or > 4095)
                throw new BlockException(BlockError.Invalid, $"Parameter 'errno' does not accept value '{number.ToString(CultureInfo.InvariantCulture)}'");
            var type = rule.Take("iotype");
            _ = rule.Take("state");
            _ = rule.TakeBool("immediately");
            var name = rule.Take("event") ?? throw new BlockException(BlockError.Invalid, "Parameter 'event' is missing");
            var any = type == null && name is "none" or "pwritev" or "pwritev_done";
            rules.Add(new InjectedError((BlockError)number, rule.TakeSize("sector") * 512, rule.TakeBool("once") ?? false,
                type == "read" || (type == null && (name == "none" || name.StartsWith("read", StringComparison.Ordinal))),
                type is "write" or "write-zeroes" || any || (type == null && name.StartsWith("write", StringComparison.Ordinal)),
                type == "flush" || (type == null && name is "none" or "flush_to_os" or "flush_to_disk")));
        }

        for (var i = 0; options.HasBelow($"set-state.{i}"); i++)
        {
            foreach (var key in (ReadOnlySpan<string>)["event", "state", "new_state"])
                _ = options.Below($"set-state.{i}").Take(key);
        }

        return rules;
    }
}
