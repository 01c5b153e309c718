using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>measure</c></summary>
internal static class ImgMeasure
{
    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:l:o:O:U", "help/h", "object=", "image-opts", "output=", "size=", "force-share/U");
        ImgTool.TakeObjects(options);
        var json = ImgTool.WantsJson(options);
        var size = options.Value("size") is { } text ? ImgTool.ParseSize(text, "image size") : (long?)null;
        if (options.Rest.Count > 1)
            throw new ToolException("At most one filename argument is allowed.");
        if (options.Rest.Count == 1 && size != null)
            throw new ToolException("--size N cannot be used together with a filename.");
        if (options.Rest.Count == 0 && size == null)
            throw new ToolException("Either --size N or one filename must be specified.");
        if (options.Rest.Count == 0 && (options.Has("f") || options.Has("l") || options.Has("image-opts")))
            throw new ToolException("--image-opts, -f, and -l can only be used with a filename argument.");
        var format = options.Value("O") ?? "raw";
        var create = ImgTool.FormatOptions(options);
        if (ImageFormats.Find(format) == null)
            throw new ToolException($"Unknown file format '{format}'");
        if (ImgTool.AsksForHelp(create))
        {
            Host.Print(ImageCreator.Help(format, options.Rest.Count > 0));
            return 0;
        }

        BlockNode? node = null;
        if (options.Rest.Count == 1)
            node = ImgTool.Open(options.Rest[0], options.Value("f"), OpenFlags.Tool with { ReadOnly = true, ForceShare = options.Has("U") }, options.Has("image-opts"));
        try
        {
            if (options.Value("l") is { } snapshot)
                ImgSnapshot.Show(node!, snapshot);
            var (required, full, bitmaps) = Measure(format, create, node, size);
            if (json)
            {
                var tree = new InfoTree();
                if (bitmaps is { } extra)
                    tree.Add("bitmaps", extra);
                Host.Print(InfoTree.ToJson(tree.Add("required", required).Add("fully-allocated", full)) + "\n");
            }
            else
                Host.Print($"required size: {required}\nfully allocated size: {full}\n" + (bitmaps != null ? $"bitmaps size: {bitmaps}\n" : ""));
        }
        finally
        {
            node?.Dispose();
        }

        return 0;
    }

    private static (long Required, long Full, long? Bitmaps) Measure(string format, BlockOptions create, BlockNode? node, long? size)
    {
        switch (format)
        {
            case "raw":
                var bytes = (node?.Length ?? size!.Value) + 511 & ~511L;
                return (bytes, bytes, null);
            case "qcow2":
                var old = create.Clone().Take("compat") is "0.10" or "v2";
                var cluster = create.Clone().TakeSize("cluster_size") ?? 65536;
                var sizes = Qcow2Size.Measure(create, node, size);
                return (sizes.Required, sizes.Full, !old && node is Qcow2Node { Version: >= 3 } image ? Qcow2Size.OfBitmaps(image, cluster) : null);
            default:
                throw new ToolException($"Block driver '{format}' does not support size measurement");
        }
    }
}
