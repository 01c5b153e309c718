using System.Globalization;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Host;
using Dromaius.Block.Jobs;
using Dromaius.Core.Devices;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>convert</c></summary>
internal static class ImgConvert
{
    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:O:B:Cco:l:S:pt:T:qnm:WUr:F:", "help/h", "object=", "source-image-opts", "image-opts/source-image-opts",
            "target-image-opts", "force-share/U", "target-is-zero", "salvage", "bitmaps", "skip-broken-bitmaps");
        ImgTool.TakeObjects(options);
        var create = ImgTool.FormatOptions(options);
        var format = options.Value("O") ?? "raw";
        if (ImgTool.AsksForHelp(create))
        {
            Host.Print(ImageCreator.Help(format, options.Rest.Count > 0));
            return 0;
        }

        var skipCreate = options.Has("n");
        var targetOptions = options.Has("target-image-opts");
        if (targetOptions && !skipCreate)
            throw new ToolException("--target-image-opts requires use of -n flag");
        if (options.Has("target-is-zero") && !skipCreate)
            throw new ToolException("--target-is-zero requires use of -n flag");
        if (skipCreate && options.Has("o"))
            throw new ToolException("-o has no effect when skipping image creation");
        if (options.Has("bitmaps"))
            throw new ToolException("Format driver does not support bitmaps");
        if (options.Rest.Count < 2)
            throw new ToolException("Must specify image file name");
        int? workers = options.Value("m") is not { } m ? null
            : int.TryParse(m, out var w) && w is >= 1 and <= 16 ? w
            : throw new ToolException("Invalid number of coroutines. Allowed number of coroutines is between 1 and 16");
        var sparse = 4096;
        if (options.Value("S") is { } text)
        {
            if (!PropertyValues.TryParseSize(text, out var n, 1) || n > int.MaxValue || (n % 512 != 0))
                throw new ToolException("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to 1073741824. "
                    + "Select 0 to disable sparse detection (fully allocates output).");
            sparse = (int)n;
        }

        var rate = options.Value("r") is { } r ? ImgTool.ParseSize(r, "rate limit") : 0;
        return Convert(options, create, format, workers, sparse, rate);
    }

    /// <summary>What the host's cache takes is bound by its processors; for disks and networks more is on its way at once.</summary>
    private static int UsualWorkers(BlockNode source, BlockNode target)
    {
        const int most = 8;
        return IsCached(source) && IsCached(target) ? Math.Clamp(Environment.ProcessorCount, 2, most) : most;

        static bool IsCached(BlockNode node)
        {
            while (node.File is { } file)
                node = file;
            return node is HostFileNode { IsDirect: false };
        }
    }

    private static int Convert(GetOpt options, BlockOptions create, string format, int? workers, int sparse, long rate)
    {
        var output = options.Rest[^1];
        var sourceFlags = ImgTool.Cache(OpenFlags.Tool with { ReadOnly = true, ForceShare = options.Has("U") }, options.Value("T") ?? "writeback", "source cache");
        var sources = new List<BlockNode>();
        try
        {
            foreach (var name in options.Rest.Take(options.Rest.Count - 1))
                sources.Add(ImgTool.Open(name, options.Value("f"), sourceFlags, options.Has("source-image-opts")));
            if (options.Value("l") is { } snapshot)
            {
                if (sources.Count > 1)
                    throw new ToolException("No support for concatenating multiple snapshot");
                ImgSnapshot.Show(sources[0], snapshot);
            }

            if (sources.Count > 1 && (options.Has("B") || create.Has("backing_file")))
                throw new ToolException("Having a backing file for the target makes no sense when concatenating multiple input images");
            // The target's clusters may begin in one image and end in the next.
            var source = sources.Count > 1 ? new ConcatNode(sources) : sources[0];
            var total = source.Length;
            var skipCreate = options.Has("n");
            var target = skipCreate ? format : Create(options, create, format, output, total);
            using var node = OpenTarget(options, skipCreate && !options.Has("O") ? null : target, output);
            if (node.Length < total)
                throw new ToolException("output file is smaller than input file");

            // Some formats know nothing else.
            var compress = options.Has("c") || node is Block.Formats.Vmdk.VmdkNode { NeedsCompressedWrites: true };
            if (compress && !node.CanCompress)
                throw new ToolException("Compression not supported for this file format");
            var backing = create.Take("backing_file") is { Length: > 0 };
            using var progress = new ProgressLine(options.Has("p") && !options.Has("q"));
            var backingLength = backing ? BackingLength(node, output, create) : 0;
            new ImageCopier([source], node)
            {
                TargetHasBacking = backing,
                BackingLength = backingLength,
                TargetIsZero = (!skipCreate && !backing) || options.Has("target-is-zero"),
                Compress = compress,
                MinSparse = sparse,
                Workers = workers ?? UsualWorkers(source, node),
                OutOfOrder = options.Has("W") || node.Driver == "raw",
                RateLimit = rate,
                Salvage = options.Has("salvage") ? (at, e) => Host.Complain($"warning: error while reading offset {at}: {e.Message}") : null,
                Progress = progress.Report,
            }.Run();
            node.Flush();
        }
        finally
        {
            foreach (var source in sources)
                source.Dispose();
        }

        return 0;
    }

    private static string Create(GetOpt options, BlockOptions create, string format, string output, long total)
    {
        if (ImageFormats.Find(format) == null)
            throw new ToolException($"Unknown file format '{format}'");
        if (options.Value("B") is { } backing)
            create.Set("backing_file", backing);
        if (options.Value("F") is { } backingFormat)
            create.Set("backing_fmt", backingFormat);
        if (create.Has("backing_file") && !create.Has("backing_fmt"))
            throw new ToolException("Use of backing file requires explicit backing format");
        if (!create.Has("size"))
            create.Set("size", total.ToString(CultureInfo.InvariantCulture));
        if (options.Has("c") && create.Take("preallocation") is { } mode && mode != "off")
            throw new ToolException("Compression and preallocation not supported at the same time");
        try
        {
            _ = ImageCreator.Create(output, format, create, OpenFlags.Tool);
            ImageCreator.Write(output, format, create, OpenFlags.Tool);
        }
        catch (BlockException e)
        {
            throw new ToolException($"{output}: error while converting {format}: {ImgTool.Explain(e)}");
        }

        return format;
    }

    private static BlockNode OpenTarget(GetOpt options, string? format, string output)
    {
        var flags = ImgTool.Cache(OpenFlags.Tool, options.Value("t") ?? "unsafe", "cache");
        return options.Has("target-image-opts")
            ? ImgTool.Open(output, null, flags, imageOptions: true)
            : ImgTool.Open(output, format, flags with { NoBacking = true }, quiet: true);
    }

    private static long BackingLength(BlockNode node, string output, BlockOptions create)
    {
        if (node.Backing is { } open)
            return open.Length;
        var path = ImageOpener.Combine(output, create.Take("backing_file")!);
        var below = ImgTool.Open(path, create.Take("backing_fmt"), OpenFlags.Tool with { ReadOnly = true });
        // The target writes whole clusters, and what is around the data comes from there.
        ImageFormats.Find(node.Driver)!.SetBacking(node, below);
        return below.Length;
    }
}
