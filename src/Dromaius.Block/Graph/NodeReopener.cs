namespace Dromaius.Block.Graph;

/// <summary><c>blockdev-reopen</c>: new options for a node that is open.</summary>
internal static class NodeReopener
{
    /// <summary>Options that may be given again, and change nothing that is not said here.</summary>
    private static readonly string[] Same =
    [
        "driver", "node-name", "file", "auto-read-only", "cache.direct", "cache.no-flush", "force-share", "filename", "locking", "aio", "lazy-refcounts",
        "cache-size", "l2-cache-size", "l2-cache-entry-size", "refcount-cache-size", "cache-clean-interval", "overlap-check", "pass-discard-request",
        "pass-discard-snapshot", "pass-discard-other", "data-file", "offset", "size", "throttle-group",
    ];

    public static void Reopen(BlockGraph graph, BlockOptions options)
    {
        var name = options.Take("node-name") ?? throw new BlockException(BlockError.Invalid, "node-name not specified");
        var node = graph.FindImage(name) ?? throw new BlockException(BlockError.NoEntry, $"Failed to find node with node-name='{name}'");
        if (options.Take("driver") is { } driver && driver != node.Driver)
            throw new BlockException(BlockError.Invalid, "Cannot change the option 'driver'");
        foreach (var key in Same)
            _ = options.Take(key);
        if (options.HasBelow("file") && node.File is { } inner)
            RequireSame(options.Below("file"), inner);
        if (options.Take("file") is { } file && node.File is { } child && graph.FindImage(file) != child)
            throw new BlockException(BlockError.NotSupported, $"Changing the 'file' child of '{node.Driver}' nodes is not supported");
        var readOnly = options.TakeBool("read-only") ?? false;
        var discard = options.TakeChoice("discard", ("ignore", false), ("off", false), ("unmap", true), ("on", true)) ?? false;
        var zeroes = options.TakeChoice("detect-zeroes", ("off", DetectZeroes.Off), ("on", DetectZeroes.On), ("unmap", DetectZeroes.Unmap)) ?? DetectZeroes.Off;
        var backing = options.Take("backing");
        options.RejectUntaken(node.Driver);
        if (zeroes == DetectZeroes.Unmap && !discard)
            throw new BlockException(BlockError.Invalid, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
        foreach (var backend in graph.AllBackends)
            backend.Drain();
        if (backing != null)
            SetBacking(graph, node, backing);
        else if (node.Backing != null)
            throw new BlockException(BlockError.Invalid, $"backing is missing for '{node.NodeName}'");
        node.Reopen(readOnly);
        node.AllowsDiscard = discard;
        node.DetectZeroes = zeroes;
    }

    /// <summary>Options of a child that stays as it is.</summary>
    private static void RequireSame(BlockOptions options, BlockNode node)
    {
        Check("driver", node.Driver);
        Check("filename", node.FileName);
        Check("node-name", node.NodeName);
        foreach (var key in Same)
            _ = options.Take(key);

        void Check(string key, string? now)
        {
            if (options.Take(key) is { } value && value != now)
                throw new BlockException(BlockError.Invalid, $"Cannot change the option '{key}'");
        }
    }

    private static void SetBacking(BlockGraph graph, BlockNode node, string name)
    {
        var old = node.Backing;
        BlockNode? below = null;
        if (name.Length > 0)
            below = graph.FindImage(name) ?? throw new BlockException(BlockError.NoEntry, $"Cannot find device='' nor node-name='{name}'");
        if (below == old)
            return;
        for (var b = below; b != null; b = b.Backing)
        {
            if (b == node)
                throw new BlockException(BlockError.Invalid, $"Making '{name}' a backing child of '{node.NodeName}' would create a cycle");
        }

        // Copies to or from a node do not mind what is behind it; those along a chain do.
        if (graph.Jobs.All.Any(static j => j.Type is "stream" or "commit"))
            throw new BlockException(BlockError.Busy, $"Cannot change 'backing' link from '{node.NodeName}' to '{old?.NodeName}': a block job runs");
        if (node is not IBackingChange change)
            throw new BlockException(BlockError.NotSupported, $"'{node.NodeName}' is a {node.Driver} node that does not support backing files");
        change.SetBacking(below?.Retain());
        old?.Release();
        graph.Forget();
    }
}
