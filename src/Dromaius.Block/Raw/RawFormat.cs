using Dromaius.Block.Graph;
using Dromaius.Block.Host;
using Dromaius.Core.Storage;

namespace Dromaius.Block.Raw;

/// <summary>Images without a format.</summary>
public sealed class RawFormat : ImageFormat
{
    public override string Name => "raw";
    public override int Probe(ReadOnlySpan<byte> head, string fileName) => 1;
    public override bool ShareWrite => true;

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
    [
        new("size", "size", "Virtual disk size"),
        .. FileOptions,
    ];

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags)
    {
        var offset = options.TakeSize("offset") ?? 0;
        return new RawNode(file, offset, options.TakeSize("size"));
    }

    /// <summary>Opens an image whose format was guessed.</summary>
    public static BlockNode OpenGuessed(BlockNode file) =>
        new RawNode(file, 0, null, sector => ImageFormats.Probe(sector, "").Name != "raw");

    public override void Create(CreateRequest request)
    {
        _ = request.Options.Take("extent_size_hint");
        _ = request.Options.Take("nocow");
        var mode = request.Options.Take("preallocation") ?? "off";
        if (mode is not ("off" or "falloc" or "full"))
            throw new BlockException(BlockError.Invalid, $"Parameter 'preallocation' does not accept value '{mode}'");
        request.Options.RejectUntaken(Name);
        using var file = NewFile.Create(request.FileName);
        file.Resize((request.Size + 511) & ~511L);
        if (mode != "off" && request.Size > 0)
            file.Preallocate(0, request.Size);
        if (mode == "full")
            file.WriteZeroes(0, request.Size, false);
        file.Flush();
    }
}

/// <summary>Makes the host file of a new image.</summary>
internal static class NewFile
{
    public static HostFileNode Create(string path)
    {
        using (var disk = HostDisk.Open(path, HostDiskFlags.Write | HostDiskFlags.Create, out var error))
        {
            if (disk == null)
                throw new BlockException((BlockError)error, $"Could not create '{path}': {HostDisk.Explain(error)}");
        }

        // Only who holds the locks may empty it.
        var file = new HostFileNode(path, new HostFileOptions { Discard = true });
        if (file.Driver == "file")
            file.Resize(0);
        return file;
    }
}
