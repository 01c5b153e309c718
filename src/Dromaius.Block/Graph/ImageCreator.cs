using System.Globalization;
using Dromaius.Core.Errors;

namespace Dromaius.Block.Graph;

/// <summary>Makes images as <c>create</c> and <c>convert</c> do.</summary>
public static class ImageCreator
{
    /// <summary>What was made, and how it is reported.</summary>
    /// <param name="FileName">The image.</param>
    /// <param name="Description">The line of <c>create</c>.</param>
    public readonly record struct Created(string FileName, string Description);

    /// <summary>Checks the options and creates the image.</summary>
    /// <param name="fileName">Where.</param>
    /// <param name="formatName">The format.</param>
    /// <param name="options">The <c>-o</c> options; <c>size</c>, <c>backing_file</c>, <c>backing_fmt</c> among them.</param>
    /// <param name="flags">For the files opened on the way.</param>
    /// <param name="checkBacking">The backing file must be there, and gives the size if there is none.</param>
    public static Created Create(string fileName, string formatName, BlockOptions options, OpenFlags flags, bool checkBacking = true)
    {
        var format = ImageFormats.Find(formatName) ?? throw new BlockException(BlockError.Invalid, $"Unknown file format '{formatName}'");
        if (!format.CanCreate)
            throw new BlockException(BlockError.NotSupported, $"Format driver '{formatName}' does not support image creation");
        foreach (var key in options.Keys)
        {
            if (!format.CreateOptions.Any(o => o.Name == key))
            {
                if (key is "backing_file" or "backing_fmt")
                    throw new BlockException(BlockError.Invalid, key == "backing_file"
                        ? $"Backing file not supported for file format '{formatName}'"
                        : $"Backing format not supported for file format '{formatName}'");
                throw new BlockException(BlockError.Invalid, $"Invalid parameter '{key}'{NearestNames.Hint(key, format.CreateOptions.Select(static o => o.Name))}");
            }
        }

        var size = options.TakeSize("size");
        var backing = options.Take("backing_file");
        if (backing is { Length: 0 })
            throw new BlockException(BlockError.Invalid, "Expected backing file name, got empty string");
        if (backing == fileName)
            throw new BlockException(BlockError.Invalid, "Error: Trying to create an image with the same filename as the backing file");
        if (backing != null && !checkBacking && size != null && !options.Has("backing_fmt"))
            throw new BlockException(BlockError.Invalid, "Backing file specified without backing format");
        if (backing != null && (checkBacking || size == null))
            size = CheckBacking(fileName, backing, options, flags, size, checkBacking);
        if (size == null)
            throw new BlockException(BlockError.Invalid, "Image creation needs a size parameter");
        options.Set("size", size.Value.ToString(CultureInfo.InvariantCulture));
        var description = Describe(fileName, format, options);
        return new Created(fileName, description);
    }

    /// <summary>Writes the image that <see cref="Create"/> checked.</summary>
    public static void Write(string fileName, string formatName, BlockOptions options, OpenFlags flags)
    {
        var format = ImageFormats.Find(formatName)!;
        var size = options.TakeSize("size") ?? 0;
        var rest = options.Clone();
        rest.Remove("size");
        format.Create(new CreateRequest(fileName, size, rest, flags));
    }

    private static long CheckBacking(string fileName, string backing, BlockOptions options, OpenFlags flags, long? size, bool strict)
    {
        var format = options.Take("backing_fmt");
        if (format != null && ImageFormats.Find(format) == null)
            throw new BlockException(BlockError.Invalid, $"Unknown backing file format '{format}'");
        var path = ImageOpener.Combine(fileName, backing);
        BlockNode node;
        try
        {
            node = ImageOpener.Open(path, flags with { ReadOnly = true, ForceShare = true, GuessedRaw = null }, format);
        }
        catch (BlockException e)
        {
            if (!strict && size != null)
                return size.Value;
            throw new BlockException(e.Error, e.Message, e) { Hint = "Could not open backing image." };
        }

        using (node)
        {
            if (format == null && strict)
            {
                throw new BlockException(BlockError.Invalid, "Backing file specified without backing format")
                {
                    Hint = $"Detected format of {node.Driver}.",
                };
            }

            return size ?? node.Length;
        }
    }

    private static string Describe(string fileName, ImageFormat format, BlockOptions options)
    {
        var text = $"Formatting '{fileName}', fmt={format.Name}";
        foreach (var option in format.CreateOptions)
        {
            if ((options.Take(option.Name) ?? option.Default) is not { } value)
                continue;
            if (option.Kind == "size")
                value = (options.TakeSize(option.Name) ?? long.Parse(value, CultureInfo.InvariantCulture)).ToString(CultureInfo.InvariantCulture);
            else if (option.Kind.StartsWith("bool", StringComparison.Ordinal) && options.Has(option.Name))
                value = options.TakeBool(option.Name) == true ? "on" : "off";
            text += $" {option.Name}={value.Replace(",", ",,")}";
        }

        return text;
    }

    /// <summary>What <c>-o help</c> prints.</summary>
    /// <param name="formatName">The format.</param>
    /// <param name="withFile">With the options of the host file.</param>
    public static string Help(string formatName, bool withFile)
    {
        var format = ImageFormats.Find(formatName) ?? throw new BlockException(BlockError.Invalid, $"Unknown file format '{formatName}'");
        var options = format.CreateOptions.OrderBy(static o => o.Name, StringComparer.Ordinal);
        if (withFile)
            return "Supported options:\n" + string.Concat(options.Select(Line));
        return $"Supported {formatName} options:\n"
            + string.Concat(options.Where(o => o.Name is not ("nocow" or "extent_size_hint") && (o.Name != "preallocation" || formatName == "qcow2")).Select(Line))
            + "\nThe protocol level may support further options.\nSpecify the target filename to include those options.\n";
    }

    public static string Line(CreateOption option) => $"  {$"{option.Name}=<{option.Kind}>",-22} - {option.Help}\n";
}
