using System.Globalization;
using Dromaius.Block.Graph;

namespace Dromaius.Block.Filters;

/// <summary>Opens the drivers that stand between others.</summary>
internal static class FilterOpener
{
    public static IReadOnlyList<string> Names { get; } = ["blkdebug", "blkverify", "copy-on-read", "throttle"];

    public static BlockNode Open(string driver, BlockOptions options, OpenFlags flags)
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
                var rules = Rules(options);
                foreach (var hint in (ReadOnlySpan<string>)["config", "align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard"])
                    _ = options.Take(hint);
                return new BlkdebugNode(Child("image", options, flags), rules);
            default:
                var test = Child("test", options, flags);
                try
                {
                    return new BlkverifyNode(test, Child("raw", options, flags));
                }
                catch
                {
                    test.Release();
                    throw;
                }
        }
    }

    private static BlockNode Child(string key, BlockOptions options, OpenFlags flags)
    {
        if (!options.Has(key) && !options.HasBelow(key))
            throw new BlockException(BlockError.Invalid, $"Parameter '{key}' is missing");
        return ImageOpener.OpenChild(key, null, options, flags with { Depth = flags.Depth + 1 });
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
