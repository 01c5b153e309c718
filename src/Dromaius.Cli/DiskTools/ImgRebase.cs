using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>rebase</c></summary>
internal static class ImgRebase
{
    private const int BufferSize = 2 << 20;

    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:F:b:upt:T:qU", "help/h", "object=", "image-opts", "force-share/U", "compress/c");
        ImgTool.TakeObjects(options);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        if (!options.Has("u") && options.Value("b") == null)
            throw new ToolException("Use backing file (-b) option or specify -u", 1, true);
        var name = options.Rest[0];
        var unsafeMode = options.Has("u");
        var newName = options.Value("b") is { Length: > 0 } b ? b : null;
        var newFormat = options.Value("F");
        if (newFormat != null && ImageFormats.Find(newFormat) == null && !ImageOpener.Protocols.Contains(newFormat))
            throw new ToolException($"Invalid format name: '{newFormat}'");
        var flags = ImgTool.Cache(OpenFlags.Tool with { NoBacking = unsafeMode }, options.Value("t") ?? "writeback", "cache");
        using var node = ImgTool.Open(name, options.Value("f"), flags, options.Has("image-opts"));
        if (ImageFormats.Find(node.Driver) is not { SupportsBacking: true } || node is not IBackingChange change)
            throw new ToolException($"Could not change the backing file to '{newName}': Operation not supported");
        using var progress = new ProgressLine(options.Has("p") && !options.Has("q"));
        if (!unsafeMode)
        {
            using var below = newName == null ? null : OpenNew(name, newName, newFormat, options);
            Copy(node, node.Backing, below, progress);
        }

        if (newName != null && newFormat == null)
            throw new ToolException($"Could not change the backing file to '{newName}': backing format must be specified");
        try
        {
            change.ChangeBackingFile(newName, newFormat);
        }
        catch (BlockException e) when (e.Error == BlockError.NoSpace)
        {
            throw new ToolException($"Could not change the backing file to '{newName}': No space left in the file header");
        }
        catch (BlockException e)
        {
            throw new ToolException($"Could not reopen/change the backing file to '{newName}': {e.Message}");
        }

        return 0;
    }

    private static BlockNode OpenNew(string name, string newName, string? format, GetOpt options)
    {
        var path = ImageOpener.Combine(name, newName);
        try
        {
            var flags = ImgTool.Cache(OpenFlags.Tool with { ReadOnly = true }, options.Value("T") ?? "writeback", "source cache");
            return ImageOpener.Open(path, flags, format);
        }
        catch (BlockException e)
        {
            throw new ToolException($"Could not open new backing file '{path}': {ImgTool.Explain(e)}");
        }
    }

    /// <summary>Stores in the overlay what reads differently with the new backing file.</summary>
    private static void Copy(BlockNode node, BlockNode? old, BlockNode? below, ProgressLine progress)
    {
        var (x, y) = (new byte[BufferSize], new byte[BufferSize]);
        for (var at = 0L; at < node.Length;)
        {
            var status = node.Status(at, node.Length - at);
            var n = status.Length;
            if (status.IsAllocated)
            {
                at += n;
                continue;
            }

            n = Math.Min(n, BufferSize);
            var before = x.AsSpan(0, (int)n);
            var after = y.AsSpan(0, (int)n);
            ReadFrom(old, at, before);
            ReadFrom(below, at, after);
            WriteDifferences(node, at, before, after);
            at += n;
            progress.Report(at, node.Length);
        }

        node.Flush();
    }

    private static void ReadFrom(BlockNode? node, long at, Span<byte> into)
    {
        if (node == null)
            into.Clear();
        else
            node.ReadPadded(at, into);
    }

    private static void WriteDifferences(BlockNode node, long at, ReadOnlySpan<byte> before, ReadOnlySpan<byte> after)
    {
        const int unit = 4096;
        for (var i = 0; i < before.Length;)
        {
            var end = i;
            while (end < before.Length && !Same(before, after, end))
                end = Math.Min(end + unit, before.Length);
            if (end > i)
            {
                var part = before[i..end];
                if (part.ContainsAnyExcept((byte)0))
                    node.Write(at + i, part);
                else
                    node.WriteZeroes(at + i, part.Length, false);
            }

            i = Math.Min(end + unit, before.Length);
        }

        static bool Same(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b, int start)
        {
            var end = Math.Min(start + unit, a.Length);
            return a[start..end].SequenceEqual(b[start..end]);
        }
    }
}
