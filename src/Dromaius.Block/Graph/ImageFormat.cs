namespace Dromaius.Block.Graph;

/// <summary>An option of image creation (<c>-o name=value</c>).</summary>
/// <param name="Name">As users write it.</param>
/// <param name="Kind">What it takes: <c>size</c>, <c>str</c>, <c>bool (on/off)</c>, <c>num</c>.</param>
/// <param name="Help">One line.</param>
/// <param name="Default">What it is when not given, where that is shown.</param>
public sealed record CreateOption(string Name, string Kind, string Help, string? Default = null);

/// <summary>What an image is made from.</summary>
/// <param name="FileName">Where.</param>
/// <param name="Size">Virtual size.</param>
/// <param name="Options">The <c>-o</c> options.</param>
/// <param name="Flags">For the files that are opened on the way.</param>
public sealed record CreateRequest(string FileName, long Size, BlockOptions Options, OpenFlags Flags)
{
    /// <summary>The node to write the image into; null to make a file.</summary>
    public BlockNode? File { get; init; }
}

/// <summary>An image format: how to tell, open and make it.</summary>
public abstract class ImageFormat
{
    public abstract string Name { get; }

    /// <summary>How sure it is that a file is of this format, 0 to 100.</summary>
    public virtual int Probe(ReadOnlySpan<byte> head, string fileName) => 0;

    /// <summary>Opens an image; takes over the file, unless it throws.</summary>
    public abstract BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags);

    /// <summary>The backing file that an open image names, and its format.</summary>
    public virtual (string? Name, string? Format) BackingOf(BlockNode node) => default;

    public virtual void SetBacking(BlockNode node, BlockNode backing) =>
        throw new BlockException(BlockError.NotSupported, $"Driver '{Name}' does not support backing files");

    public virtual bool CanCreate => CreateOptions.Count > 0;
    public virtual bool SupportsBacking => false;
    public virtual bool ShareWrite => false;

    /// <summary>The options of creation, in the order in which they are reported.</summary>
    public virtual IReadOnlyList<CreateOption> CreateOptions => [];

    /// <summary>Options that the host file takes, whatever the format.</summary>
    protected static IReadOnlyList<CreateOption> FileOptions { get; } =
    [
        new("nocow", "bool (on/off)", "Turn off copy-on-write (valid only on btrfs)"),
        new("preallocation", "str", "Preallocation mode (allowed values: off, falloc, full)"),
        new("extent_size_hint", "size", "Extent size hint for the image file, 0 to disable"),
    ];

    public virtual void Create(CreateRequest request) =>
        throw new BlockException(BlockError.NotSupported, $"Format driver '{Name}' does not support image creation");
}
