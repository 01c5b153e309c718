using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>amend</c></summary>
internal static class ImgAmend
{
    private static readonly string[] Amendable = ["backing_file", "backing_fmt", "compat", "data_file", "data_file_raw", "lazy_refcounts", "refcount_bits", "size"];

    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "ho:f:t:pq", "help/h", "object=", "image-opts", "force");
        ImgTool.TakeObjects(options);
        if (!options.Has("o"))
            throw new ToolException("Must specify options (-o)", 1, true);
        var changes = ImgTool.FormatOptions(options);
        if (ImgTool.AsksForHelp(changes) && options.Value("f") is { } format)
            return PrintHelp(format);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        var flags = ImgTool.Cache(OpenFlags.Tool, options.Value("t") ?? "writeback", "cache");
        using var node = ImgTool.Open(options.Rest[0], options.Value("f"), flags, options.Has("image-opts"));
        if (ImgTool.AsksForHelp(changes))
            return PrintHelp(node.Driver);
        if (node is not Qcow2Node image)
            throw new ToolException($"Format driver '{node.Driver}' does not support option amendment");
        foreach (var key in changes.Keys)
        {
            if (!Amendable.Contains(key))
                throw new ToolException($"Invalid parameter '{key}'\nThis option is only supported for image creation");
        }

        using var progress = new ProgressLine(options.Has("p") && !options.Has("q"));
        Amend(image, changes);
        return 0;
    }

    private static int PrintHelp(string format)
    {
        if (format != "qcow2")
            throw new ToolException($"Format driver '{format}' does not support option amendment");
        Host.Print("Amend options for 'qcow2':\n" + string.Concat(ImageFormats.Find("qcow2")!.CreateOptions
            .Where(static o => Amendable.Contains(o.Name)).OrderBy(static o => o.Name, StringComparer.Ordinal).Select(ImageCreator.Line)));
        return 0;
    }

    private static void Amend(Qcow2Node image, BlockOptions changes)
    {
        var version = changes.Take("compat") switch
        {
            null => image.Version,
            "0.10" or "v2" => 2,
            "1.1" or "v3" => 3,
            var other => throw new ToolException($"Unknown compatibility level {other}"),
        };
        if (changes.TakeSize("refcount_bits") is { } bits && bits != image.RefcountBits)
            throw new ToolException("Changing the refcount width is not supported");
        if (changes.TakeBool("data_file_raw") == true && !image.DataFileRaw)
            throw new ToolException("data-file-raw cannot be set on existing images");
        if (changes.Take("data_file") is { } data)
        {
            if (image.DataFile == null)
                throw new ToolException("data-file can only be set for images that use an external data file");
            image.ChangeDataFile(data.Length == 0 ? null : data);
        }

        var lazy = changes.TakeBool("lazy_refcounts") ?? (version >= 3 && image.LazyRefcounts);
        if (version != image.Version || lazy != image.LazyRefcounts)
            image.ChangeFeatures(version, lazy);
        if (changes.Has("backing_file") || changes.Has("backing_fmt"))
        {
            var name = changes.Has("backing_file") ? changes.Take("backing_file") : image.BackingFileName;
            image.ChangeBackingFile(string.IsNullOrEmpty(name) ? null : name, changes.Take("backing_fmt") ?? image.BackingFormat);
        }

        if (changes.TakeSize("size") is { } size)
            image.Resize(size);
        image.Flush();
    }
}
