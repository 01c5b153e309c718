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
        var mode = NewFile.TakeFileOptions(request.Options);
        request.Options.RejectUntaken(Name);
        using var made = NewFile.For(request);
        var file = made.Node;
        file.Resize((request.Size + 511) & ~511L);
        NewFile.Preallocate(file, mode, request.Size);
        file.Flush();
    }
}

/// <summary>Makes the host file of a new image.</summary>
internal static class NewFile
{
    /// <summary>Takes the options that every host file has; the preallocation mode.</summary>
    public static string TakeFileOptions(BlockOptions options)
    {
        _ = options.Take("extent_size_hint");
        _ = options.Take("nocow");
        var mode = options.Take("preallocation") ?? "off";
        return mode is "off" or "falloc" or "full"
            ? mode
            : throw new BlockException(BlockError.Invalid, $"Parameter 'preallocation' does not accept value '{mode}'");
    }

    public static void Preallocate(BlockNode file, string mode, long length)
    {
        if (mode == "off" || length == 0)
            return;
        (file as HostFileNode)?.Preallocate(0, length);
        if (mode == "full")
            file.WriteZeroes(0, length, false);
    }

    /// <summary>The file of an image that is made; disposing gives it up.</summary>
    public readonly record struct Holder(BlockNode Node) : IDisposable
    {
        public void Dispose() => Node.Release();
    }

    /// <summary>The file of a new image: made now, or a node that is open, emptied.</summary>
    public static Holder For(CreateRequest request)
    {
        if (request.File is not { } open)
            return new Holder(Create(request.FileName));
        if (open.IsReadOnly)
            throw new BlockException(BlockError.ReadOnly, "Block node is read-only");
        try
        {
            open.Resize(0);
        }
        catch (BlockException e) when (e.Error == BlockError.NotSupported)
        {
            // A device keeps its size.
        }

        return new Holder(open.Retain());
    }

    public static HostFileNode Create(string path)
    {
        if (path.StartsWith("file:", StringComparison.Ordinal))
            path = path["file:".Length..];
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
