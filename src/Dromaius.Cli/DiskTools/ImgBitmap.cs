using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>bitmap</c></summary>
internal static class ImgBitmap
{
    private static readonly string[] Actions = ["merge", "add", "remove", "clear", "enable", "disable"];

    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "b:f:F:g:h", "help/h", "object=", "image-opts", "source-file/b=", "source-format/F=", "granularity/g=", "format/f=",
            "add", "remove", "clear", "enable", "disable", "merge=");
        ImgTool.TakeObjects(options);
        if (options.Rest.Count != 2)
            throw new ToolException("Expecting filename and bitmap name", 1, true);
        var actions = options.All.Where(static o => Actions.Contains(o.Key)).ToArray();
        if (actions.Length == 0)
            throw new ToolException("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge", 1, true);
        var granularity = options.Value("g") is { } g ? ImgTool.ParseSize(g, "granularity") : 0;
        if (granularity != 0 && actions[0].Key != "add")
            throw new ToolException("granularity only supported with --add");
        using var node = ImgTool.Open(options.Rest[0], options.Value("f"), OpenFlags.Tool with { NoBacking = true }, options.Has("image-opts"));
        var name = options.Rest[1];
        if (node is not Qcow2Node image)
            throw new ToolException($"Operation {actions[0].Key} on bitmap {name} failed: Cannot store dirty bitmaps in file '{node.FileName}'");
        foreach (var (action, source) in actions)
        {
            try
            {
                Do(image, action, name, source, granularity, options);
            }
            catch (BlockException e)
            {
                throw new ToolException($"Operation {action} on bitmap {name} failed: {e.Message}");
            }
        }

        return 0;
    }

    private static void Do(Qcow2Node image, string action, string name, string source, long granularity, GetOpt options)
    {
        switch (action)
        {
            case "add":
                _ = image.AddDirtyBitmap(name, granularity, persistent: true);
                break;
            case "remove":
                image.RemoveDirtyBitmap(image.FindDirtyBitmap(name, usable: false));
                break;
            case "clear":
                image.FindDirtyBitmap(name).Clear();
                break;
            case "enable":
                image.FindDirtyBitmap(name).IsRecording = true;
                break;
            case "disable":
                image.FindDirtyBitmap(name).IsRecording = false;
                break;
            default:
                var other = options.Value("b") is { } file
                    ? ImgTool.Open(file, options.Value("F"), OpenFlags.Tool with { ReadOnly = true, NoBacking = true })
                    : image;
                try
                {
                    image.FindDirtyBitmap(name).Merge(other.FindDirtyBitmap(source));
                }
                finally
                {
                    if (other != image)
                        other.Dispose();
                }

                break;
        }
    }
}
