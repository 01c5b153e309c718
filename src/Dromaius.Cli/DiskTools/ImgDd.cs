using System.Globalization;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Core.Devices;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>dd</c></summary>
internal static class ImgDd
{
    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:O:U", "help/h", "object=", "image-opts", "force-share/U");
        ImgTool.TakeObjects(options);
        string? input = null, output = null;
        long blockSize = 512, skip = 0;
        long? count = null;
        foreach (var word in options.Rest)
        {
            var equals = word.IndexOf('=');
            if (equals < 0)
                throw new ToolException($"unrecognized operand {word}");
            var (key, value) = (word[..equals], word[(equals + 1)..]);
            long Number() => PropertyValues.TryParseSize(value, out var n, 1) && n <= long.MaxValue ? (long)n : throw new ToolException($"invalid number: '{value}'");
            switch (key)
            {
                case "if":
                    input = value;
                    break;
                case "of":
                    output = value;
                    break;
                case "bs":
                    blockSize = Number();
                    if (blockSize is <= 0 or > int.MaxValue)
                        throw new ToolException($"invalid number: '{value}'");
                    break;
                case "count":
                    count = Number();
                    break;
                case "skip":
                    skip = Number();
                    break;
                default:
                    throw new ToolException($"unrecognized operand {word}");
            }
        }

        if (input == null || output == null)
            throw new ToolException("Must specify both input and output file names");
        var format = options.Value("O") ?? "raw";
        using var source = ImgTool.Open(input, options.Value("f"), OpenFlags.Tool with { ReadOnly = true, ForceShare = options.Has("U") }, options.Has("image-opts"));
        var start = skip > source.Length / blockSize ? source.Length : Math.Min(skip * blockSize, source.Length);
        if (skip * blockSize > source.Length)
            Host.Complain($"{input}: cannot skip to specified offset");
        var size = source.Length - start;
        if (count is { } c && c < long.MaxValue / blockSize)
            size = Math.Min(size, c * blockSize);
        var create = new BlockOptions();
        create.Set("size", size.ToString(CultureInfo.InvariantCulture));
        try
        {
            _ = ImageCreator.Create(output, format, create, OpenFlags.Tool);
            ImageCreator.Write(output, format, create, OpenFlags.Tool);
        }
        catch (BlockException e)
        {
            throw new ToolException($"{output}: error while creating output image: {e.Message}");
        }

        using var target = ImgTool.Open(output, format, OpenFlags.Tool);
        var buffer = new byte[blockSize];
        for (var at = 0L; at < size; at += blockSize)
        {
            var part = buffer.AsSpan(0, (int)Math.Min(blockSize, size - at));
            source.Read(start + at, part);
            target.Write(at, part);
        }

        target.Flush();
        return 0;
    }
}
