using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Core.Devices;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>resize</c></summary>
internal static class ImgResize
{
    public static int Run(string[] args)
    {
        // The size is the last word, and a minus in front of it is no option.
        if (args.Length < 2 && !(args.Length == 1 && args[0].StartsWith("--", StringComparison.Ordinal)))
            throw new ToolException("Not enough arguments", 1, true);
        var size = args[^1];
        var options = new GetOpt(args[..^1], "f:hq", "help/h", "object=", "image-opts", "preallocation=", "shrink");
        ImgTool.TakeObjects(options);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting image file name and size", 1, true);
        var mode = options.Value("preallocation") ?? "off";
        if (mode is not ("off" or "metadata" or "falloc" or "full"))
            throw new ToolException($"Invalid preallocation mode '{mode}'");
        var sign = size[0] is '+' or '-' ? size[0] : ' ';
        if (!PropertyValues.TryParseSize(sign == ' ' ? size : size[1..], out var bytes, 1) || bytes > long.MaxValue)
            throw new ToolException($"Parameter 'size' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.");
        using var node = ImgTool.Open(options.Rest[0], options.Value("f"), OpenFlags.Tool, options.Has("image-opts"));
        var now = node.Length;
        var total = sign switch
        {
            '+' => now + (long)bytes,
            '-' => now - (long)bytes,
            _ => (long)bytes,
        };
        if (total <= 0)
            throw new ToolException("New image size must be positive");
        if (total <= now && mode != "off")
            throw new ToolException("Preallocation can only be used for growing images");
        if (total < now && !options.Has("shrink"))
        {
            Host.Complain("Use the --shrink option to perform a shrink operation.");
            throw new ToolException("warning: Shrinking an image will delete all data beyond the shrunken image's end. "
                + "Before performing such an operation, make sure there is no important data there.");
        }

        node.Resize((total + 511) & ~511L);
        if (mode is "falloc" or "full" && node.File is Block.Host.HostFileNode file && node.Driver == "raw")
        {
            file.Preallocate(now, total - now);
            if (mode == "full")
                file.WriteZeroes(now, total - now, false);
        }

        node.Flush();
        if (!options.Has("q"))
            Host.Print("Image resized.\n");
        return 0;
    }
}
