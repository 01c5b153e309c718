using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>compare</c></summary>
internal static class ImgCompare
{
    private const int Different = 1, Failed = 2, ReadFailed = 4;
    private const int BufferSize = 2 << 20;

    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:F:T:pqsU", "help/h", "object=", "image-opts", "force-share/U");
        try
        {
            ImgTool.TakeObjects(options);
            if (options.Rest.Count != 2)
                throw new ToolException("Expecting two image file names", Failed, true);
            var flags = OpenFlags.Tool with { ReadOnly = true, ForceShare = options.Has("U") };
            flags = ImgTool.Cache(flags, options.Value("T") ?? "writeback", "source cache");
            var imageOptions = options.Has("image-opts");
            using var a = ImgTool.Open(options.Rest[0], options.Value("f"), flags, imageOptions);
            using var b = ImgTool.Open(options.Rest[1], options.Value("F"), flags, imageOptions);
            using var progress = new ProgressLine(options.Has("p") && !options.Has("q"));
            var (same, message) = Compare(a, b, options, progress);
            if (!options.Has("q"))
                Host.Print(message + "\n");
            return same ? 0 : Different;
        }
        catch (ToolException e) when (e.Status != ReadFailed)
        {
            throw new ToolException(e.Message, Failed, e.ShowHelpHint);
        }
        catch (BlockException e)
        {
            throw new ToolException(e.Message, Failed);
        }
    }

    private static (bool Same, string Message) Compare(BlockNode a, BlockNode b, GetOpt options, ProgressLine progress)
    {
        var strict = options.Has("s");
        if (strict && a.Length != b.Length)
            return (false, "Strict mode: Image size mismatch!");
        var common = Math.Min(a.Length, b.Length);
        var buffers = (new byte[BufferSize], new byte[BufferSize]);
        for (var at = 0L; at < common;)
        {
            var sa = ChainStatus.Get(a, null, at, common - at);
            var sb = ChainStatus.Get(b, null, at, common - at);
            if (strict && (sa.IsAllocated, sa.IsZero, sa.IsData) != (sb.IsAllocated, sb.IsZero, sb.IsData))
                return (false, $"Strict mode: Offset {at} block status mismatch!");
            var n = Math.Min(sa.Length, sb.Length);
            if (sa.IsZero && sb.IsZero)
            {
                at += n;
                progress.Report(at, common);
                continue;
            }

            n = Math.Min(n, BufferSize);
            var x = buffers.Item1.AsSpan(0, (int)n);
            var y = buffers.Item2.AsSpan(0, (int)n);
            if (sa.IsZero || sb.IsZero)
            {
                Read(sa.IsZero ? b : a, at, x);
                if (x.IndexOfAnyExcept((byte)0) is var nonZero && nonZero >= 0)
                    return Mismatch(at + nonZero);
            }
            else
            {
                Read(a, at, x);
                Read(b, at, y);
                if (x.CommonPrefixLength(y) is var prefix && prefix < n)
                    return Mismatch(at + prefix);
            }

            at += n;
            progress.Report(at, common);
        }

        if (a.Length == b.Length)
            return (true, "Images are identical.");
        if (!options.Has("q"))
            Host.Print("Warning: Image size mismatch!\n");
        var longer = a.Length > b.Length ? a : b;
        for (var at = common; at < longer.Length;)
        {
            var status = ChainStatus.Get(longer, null, at, longer.Length - at);
            var n = status.Length;
            if (!status.IsZero)
            {
                n = Math.Min(n, BufferSize);
                var x = buffers.Item1.AsSpan(0, (int)n);
                Read(longer, at, x);
                if (x.IndexOfAnyExcept((byte)0) is var nonZero && nonZero >= 0)
                    return Mismatch(at + nonZero);
            }

            at += n;
        }

        return (true, "Images are identical.");
    }

    private static void Read(BlockNode node, long at, Span<byte> into)
    {
        try
        {
            node.Read(at, into);
        }
        catch (BlockException e)
        {
            throw new ToolException($"Error while reading offset {at} of {node.FileName}: {e.Message}", ReadFailed);
        }
    }

    /// <summary>Offsets are reported by sector.</summary>
    private static (bool Same, string Message) Mismatch(long offset) => (false, $"Content mismatch at offset {offset & ~511L}!");
}
