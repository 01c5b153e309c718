using Dromaius.Block.Graph;
using Dromaius.Block.Raw;
using Dromaius.Core.Errors;

namespace Dromaius.Block.Jobs;

/// <summary><c>blockdev-create</c>: a file, or an image in a node that is open. Its options are those of the protocol.</summary>
internal sealed class CreateJob : BlockJob
{
    private readonly BlockOptions _options;
    private readonly string _driver;
    private readonly ImageFormat? _format;

    public CreateJob(BlockGraph graph, string id, BlockOptions options)
        : base(graph, id, "create")
    {
        _options = options;
        _driver = options.Require("driver");
        if (_driver != "file")
        {
            _format = ImageFormats.Find(_driver) ?? throw new BlockException(BlockError.Invalid,
                $"Parameter 'driver' does not accept value '{_driver}'{NearestNames.Hint(_driver, ImageFormats.All.Select(static f => f.Name))}");
            if (!_format.CanCreate)
                throw new BlockException(BlockError.NotSupported, "Driver does not support blockdev-create");
        }

        Total = 1;
    }

    protected override void Work()
    {
        var size = _options.TakeSize("size") ?? throw new BlockException(BlockError.Invalid, "Parameter 'size' is missing");
        if (_format == null)
            MakeFile(size);
        else
            MakeImage(_format, size);
        Done = 1;
    }

    protected override void Succeed()
    {
    }

    protected override void Abandon()
    {
    }

    private void MakeFile(long size)
    {
        var name = _options.Require("filename");
        var rest = _options.Clone();
        foreach (var key in (ReadOnlySpan<string>)["driver", "filename", "size"])
            rest.Remove(key);
        var mode = NewFile.TakeFileOptions(rest);
        rest.RejectUntaken(_driver);
        using var file = NewFile.Create(name);
        file.Resize(size);
        NewFile.Preallocate(file, mode, size);
    }

    private void MakeImage(ImageFormat format, long size)
    {
        var name = _options.Require("file");
        var node = Graph.FindNode(name) ?? throw new BlockException(BlockError.NoEntry, $"Cannot find device='{name}' nor node-name='{name}'");
        var options = new BlockOptions();
        foreach (var key in _options.Keys.Distinct().ToList())
        {
            if (key is "driver" or "file" or "size")
                continue;
            var value = _options.Take(key)!;
            // The protocol's names differ from those of the tools by dashes, and in these.
            options.Set(key switch
            {
                "version" => "compat",
                _ => key.Replace('-', '_').Replace("backing_format", "backing_fmt", StringComparison.Ordinal),
            }, value);
        }

        foreach (var key in options.Keys)
        {
            if (!format.CreateOptions.Any(o => o.Name == key))
                throw new BlockException(BlockError.Invalid, $"Parameter '{key.Replace('_', '-')}' is unexpected");
        }

        if (_driver == "qcow2" && (size & 511) != 0)
            throw new BlockException(BlockError.Invalid, "Image size must be a multiple of 512 bytes");
        format.Create(new CreateRequest(node.FileName, size, options, OpenFlags.Tool) { File = node });
    }
}
