using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>commit</c></summary>
internal static class ImgCommit
{
    private const int BufferSize = 2 << 20;

    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "f:ht:b:dpqr:", "help/h", "object=", "image-opts");
        ImgTool.TakeObjects(options);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        var name = options.Rest[0];
        var flags = ImgTool.Cache(OpenFlags.Tool, options.Value("t") ?? "writeback", "cache");
        using var node = ImgTool.Open(name, options.Value("f"), flags, options.Has("image-opts"));
        var target = node.Backing;
        // Whoever names a base keeps the overlay: others between would hide what went further down.
        var wanted = options.Value("b");
        var keep = options.Has("d") || wanted != null;
        if (wanted != null)
        {
            var above = node;
            while (target != null && Path.GetFullPath(target.FileName) != Path.GetFullPath(ImageOpener.Combine(above.FileName, wanted)))
            {
                above = target;
                target = target.Backing;
            }

            if (target == null)
                throw new ToolException($"Did not find '{wanted}' in the backing chain of '{name}'");
        }

        if (target == null)
            throw new ToolException("Image does not have a backing file");
        using var progress = new ProgressLine(options.Has("p") && !options.Has("q"));
        target.Reopen(false);
        try
        {
            if (node.Length > target.Length)
                target.Resize(node.Length);
            Copy(node, target, progress);
            target.Flush();
        }
        catch (BlockException e)
        {
            throw new ToolException($"Block job failed: {e.Message}");
        }

        if (!keep && node is IBackingChange change)
            Empty(node, change);

        target.Reopen(true);
        if (!options.Has("q"))
            Host.Print("Image committed.\n");
        return 0;
    }

    private static void Empty(BlockNode node, IBackingChange change)
    {
        try
        {
            change.MakeEmpty();
            node.Flush();
        }
        catch (BlockException e)
        {
            throw new ToolException($"Failed to empty {node.FileName}: {e.Message}");
        }
    }

    private static void Copy(BlockNode node, BlockNode target, ProgressLine progress)
    {
        var buffer = new byte[BufferSize];
        for (var at = 0L; at < node.Length;)
        {
            var status = ChainStatus.Get(node, target, at, node.Length - at);
            var n = status.Length;
            if (status.IsAllocated && status.IsZero)
                target.WriteZeroes(at, n, true);
            else if (status.IsAllocated)
            {
                n = Math.Min(n, BufferSize);
                var part = buffer.AsSpan(0, (int)n);
                node.Read(at, part);
                target.Write(at, part);
            }

            at += n;
            progress.Report(at, node.Length);
        }
    }
}
