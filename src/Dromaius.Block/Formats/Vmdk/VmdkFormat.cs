using System.Buffers.Binary;
using System.Text;
using Dromaius.Block.Graph;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Formats.Vmdk;

/// <summary>How to tell, open and make VMware disks.</summary>
public sealed class VmdkFormat : ImageFormat
{
    private const long SplitSize = 2L << 30;
    private const int Grain = 128, TableEntries = 512, DescriptorSectors = 20;

    public override string Name => "vmdk";
    public override bool SupportsBacking => true;

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
    [
        new("size", "size", "Virtual disk size"),
        new("adapter_type", "str", "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX"),
        new("backing_file", "str", "File name of a base image"),
        new("backing_fmt", "str", "Must be 'vmdk' if present"),
        new("compat6", "bool (on/off)", "VMDK version 6 image", "off"),
        new("hwversion", "str", "VMDK hardware version", "undefined"),
        new("toolsversion", "str", "VMware guest tools version"),
        new("subformat", "str", "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse "
            + "| twoGbMaxExtentFlat | streamOptimized} "),
        new("zeroed_grain", "bool (on/off)", "Enable efficient zero writes using the zeroed-grain GTE feature"),
        .. FileOptions,
    ];

    public override int Probe(ReadOnlySpan<byte> head, string fileName)
    {
        if (head.Length < 4)
            return 0;
        var magic = BinaryPrimitives.ReadUInt32LittleEndian(head);
        return magic == VmdkSparseExtent.Magic || VmdkDescriptor.Looks(head) ? 100 : 0;
    }

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags) => new VmdkNode(file, flags);

    public override (string? Name, string? Format) BackingOf(BlockNode node) =>
        node is VmdkNode { BackingFileName: { Length: > 0 } name } ? (name, "vmdk") : default;

    public override void SetBacking(BlockNode node, BlockNode backing) => ((VmdkNode)node).SetBacking(backing);

    public override void Create(CreateRequest request)
    {
        var options = request.Options;
        var adapter = options.Take("adapter_type") ?? "ide";
        var compat6 = options.TakeBool("compat6") ?? false;
        var version = options.Take("hwversion") ?? "undefined";
        if (version == "undefined")
            version = compat6 ? "6" : "4";
        var tools = options.Take("toolsversion") ?? "2147483647";
        var subformat = options.Take("subformat") ?? "monolithicSparse";
        var zeroGrain = options.TakeBool("zeroed_grain") ?? false;
        var backing = options.Take("backing_file");
        var backingFormat = options.Take("backing_fmt");
        _ = NewFile.TakeFileOptions(options);
        options.RejectUntaken(Name);
        if (adapter is not ("ide" or "buslogic" or "lsilogic" or "legacyESX"))
            throw new BlockException(BlockError.Invalid, $"Unknown adapter type: '{adapter}'");
        if (subformat is not ("monolithicSparse" or "monolithicFlat" or "twoGbMaxExtentSparse" or "twoGbMaxExtentFlat" or "streamOptimized"))
            throw new BlockException(BlockError.Invalid, $"Invalid subformat '{subformat}'");
        var isFlat = subformat.EndsWith("Flat", StringComparison.Ordinal);
        if (string.IsNullOrEmpty(backing))
            backing = null;
        if (isFlat && backing != null)
            throw new BlockException(BlockError.NotSupported, "Flat image can't have backing file");
        if (isFlat && zeroGrain)
            throw new BlockException(BlockError.NotSupported, "Flat image can't enable zeroed grain");
        var parentCid = backing == null ? uint.MaxValue : ParentCid(request, backing, backingFormat);
        var size = (request.Size + 511) & ~511L;
        var split = subformat.StartsWith("twoGb", StringComparison.Ordinal);
        var isSingle = !split && !isFlat;

        var lines = new List<string>();
        var (stem, extension) = Split(request.FileName);
        var parts = split ? (size + SplitSize - 1) / SplitSize : 1;
        for (var i = 0L; i < parts; i++)
        {
            var length = split ? Math.Min(SplitSize, size - i * SplitSize) : size;
            var name = isSingle ? request.FileName : split ? $"{stem}-{(isFlat ? 'f' : 's')}{i + 1:000}{extension}" : $"{stem}-flat{extension}";
            CreateExtent(name, length, isFlat, subformat == "streamOptimized", zeroGrain);
            lines.Add($"RW {length / 512} {(isFlat ? "FLAT" : "SPARSE")} \"{Path.GetFileName(name)}\"{(isFlat ? " 0" : "")}");
        }

        var text = Encoding.UTF8.GetBytes(VmdkDescriptor.Compose(subformat, lines, size / 512, adapter, version, tools, parentCid, backing));
        if (isSingle)
        {
            if (text.Length > DescriptorSectors * 512)
                throw new BlockException(BlockError.TooBig, "The descriptor does not fit");
            using var image = new Host.HostFileNode(request.FileName, new Host.HostFileOptions());
            image.Write(512, text);
            image.Flush();
            return;
        }

        using var file = NewFile.Create(request.FileName);
        file.Write(0, text);
        file.Flush();
    }

    private static (string Stem, string Extension) Split(string name) =>
        Path.GetExtension(name) is { Length: > 0 } extension ? (name[..^extension.Length], extension) : (name, "");

    private static uint ParentCid(CreateRequest request, string backing, string? format)
    {
        if (format is not (null or "vmdk"))
            throw new BlockException(BlockError.Invalid, "backing_file must be a vmdk image");
        using var node = ImageOpener.Open(ImageOpener.Combine(request.FileName, backing), request.Flags with { ReadOnly = true, NoBacking = true }, format);
        return node is VmdkNode vmdk ? vmdk.Cid : throw new BlockException(BlockError.Invalid, "Invalid backing file format: VMDK only");
    }

    private static void CreateExtent(string name, long length, bool isFlat, bool isCompressed, bool zeroGrain)
    {
        using var file = NewFile.Create(name);
        if (isFlat)
        {
            file.Resize(length);
            return;
        }

        var sectors = length / 512;
        var tables = (sectors + Grain * TableEntries - 1) / (Grain * TableEntries);
        const int tableSectors = TableEntries * 4 / 512;
        var directorySectors = (tables * 4 + 511) / 512;
        var redundant = 1 + DescriptorSectors;
        var directory = redundant + directorySectors + tables * tableSectors;
        var data = (directory + directorySectors + tables * tableSectors + Grain - 1) / Grain * Grain;
        if (data * 512 > 1L << 40)
            throw new BlockException(BlockError.TooBig, "Image size too large");
        var header = new byte[512];
        void Put64(int at, long value) => BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(at), value);
        BinaryPrimitives.WriteUInt32LittleEndian(header, VmdkSparseExtent.Magic);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), isCompressed ? 3 : zeroGrain ? 2 : 1);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), 3 | (isCompressed ? 0x30000 : 0) | (zeroGrain ? 4 : 0));
        Put64(12, sectors);
        Put64(20, Grain);
        Put64(28, 1);
        Put64(36, DescriptorSectors);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(44), TableEntries);
        Put64(48, redundant);
        Put64(56, directory);
        Put64(64, data);
        // Line ends that a transfer as text would spoil.
        "\n \r\n"u8.CopyTo(header.AsSpan(73));
        header[77] = (byte)(isCompressed ? 1 : 0);
        file.Resize(data * 512);
        file.Write(0, header);
        WriteDirectory(file, redundant, directorySectors, tables, tableSectors);
        WriteDirectory(file, directory, directorySectors, tables, tableSectors);
    }

    private static void WriteDirectory(BlockNode file, long at, long directorySectors, long tables, int tableSectors)
    {
        var bytes = new byte[directorySectors * 512];
        for (var i = 0L; i < tables; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan((int)i * 4), (uint)(at + directorySectors + i * tableSectors));
        if (bytes.Length > 0)
            file.Write(at * 512, bytes);
    }
}
