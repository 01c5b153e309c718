using System.Globalization;
using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>create</c></summary>
internal static class ImgCreate
{
    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "F:b:f:ho:qu", "object=");
        ImgTool.TakeObjects(options);
        var format = options.Value("f") ?? "raw";
        var create = ImgTool.FormatOptions(options);
        if (ImgTool.AsksForHelp(create))
        {
            Host.Print(ImageCreator.Help(format, options.Rest.Count > 0));
            return 0;
        }

        if (options.Rest.Count == 0)
            throw new ToolException("Expecting image file name", 1, true);
        var fileName = options.Rest[0];
        if (options.Rest.Count > 1 && create.Has("size"))
            throw new ToolException($"{fileName}: The image size must be specified only once");
        if (options.Rest.Count > 1)
            create.Set("size", ImgTool.ParseSize(options.Rest[1], "image size").ToString(CultureInfo.InvariantCulture));
        if (options.Rest.Count > 2)
            throw new ToolException($"Unexpected argument: {options.Rest[2]}");
        if (options.Value("b") is { } backing)
            create.Set("backing_file", backing);
        if (options.Value("F") is { } backingFormat)
            create.Set("backing_fmt", backingFormat);
        try
        {
            var made = ImageCreator.Create(fileName, format, create, OpenFlags.Tool, checkBacking: !options.Has("u"));
            if (!options.Has("q"))
                Host.Print(made.Description + "\n");
            ImageCreator.Write(fileName, format, create, OpenFlags.Tool);
        }
        catch (BlockException e)
        {
            throw new ToolException($"{fileName}: {ImgTool.Explain(e)}");
        }

        return 0;
    }
}
