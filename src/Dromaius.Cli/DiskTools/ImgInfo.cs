using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>info</c></summary>
internal static class ImgInfo
{
    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:U", "help/h", "format/f=", "output=", "backing-chain", "object=", "image-opts", "force-share/U");
        ImgTool.TakeObjects(options);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        var json = ImgTool.WantsJson(options);
        var chain = options.Has("backing-chain");
        var flags = OpenFlags.Tool with { ReadOnly = true, NoBacking = true, ForceShare = options.Has("U") };
        var list = new List<ImageInfo>();
        var seen = new HashSet<string>();
        string? name = options.Rest[0];
        var format = options.Value("f");
        var imageOptions = options.Has("image-opts");
        while (name != null)
        {
            if (!seen.Add(name))
                throw new ToolException($"Backing file '{name}' creates an infinite loop.");
            using var node = ImgTool.Open(name, format, flags, imageOptions);
            var info = ImageInfo.Of(node);
            list.Add(info);
            (name, format, imageOptions) = chain ? (info.FullBackingFile, info.BackingFormat, false) : (null, null, false);
        }

        if (json)
            Host.Print(InfoTree.ToJson(chain ? list.Select(static i => (object)i.ToTree()).ToArray() : list[0].ToTree()) + "\n");
        else
        {
            var text = new StringBuilder();
            for (var i = 0; i < list.Count; i++)
                text.Append(i > 0 ? "\n" : "").Append(list[i].ToText());
            Host.Print(text.ToString());
        }

        return 0;
    }
}
