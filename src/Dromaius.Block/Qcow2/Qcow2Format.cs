using System.Buffers.Binary;
using System.Numerics;
using Dromaius.Block.Graph;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Qcow2;

/// <summary>How to tell, open and make qcow2 images.</summary>
public sealed class Qcow2Format : ImageFormat
{
    public override string Name => "qcow2";
    public override bool SupportsBacking => true;

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
    [
        new("cluster_size", "size", "qcow2 cluster size", "65536"),
        new("extended_l2", "bool (on/off)", "Extended L2 tables", "off"),
        new("preallocation", "str", "Preallocation mode (allowed values: off, metadata, falloc, full)"),
        new("compression_type", "str", "Compression method used for image cluster compression", "zlib"),
        new("size", "size", "Virtual disk size"),
        new("compat", "str", "Compatibility level (v2 [0.10] or v3 [1.1])"),
        new("backing_file", "str", "File name of a base image"),
        new("backing_fmt", "str", "Image format of the base image"),
        new("data_file", "str", "File name of an external data file"),
        new("data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image"),
        new("lazy_refcounts", "bool (on/off)", "Postpone refcount updates", "off"),
        new("refcount_bits", "num", "Width of a reference count entry in bits", "16"),
        new("nocow", "bool (on/off)", "Turn off copy-on-write (valid only on btrfs)"),
        new("extent_size_hint", "size", "Extent size hint for the image file, 0 to disable"),
    ];

    public override int Probe(ReadOnlySpan<byte> head, string fileName) =>
        head.Length >= 72 && BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic && BinaryPrimitives.ReadUInt32BigEndian(head[4..]) >= 2 ? 100 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags)
    {
        var lazy = options.TakeBool("lazy-refcounts");
        foreach (var hint in (ReadOnlySpan<string>)["cache-clean-interval", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other"])
            _ = options.Take(hint);
        var overlap = TakeOverlapCheck(options);
        var cache = TakeCacheSize(options);
        var entry = options.TakeSize("l2-cache-entry-size");
        var header = Qcow2Header.Read(file);
        if (entry is { } e && (e < 512 || e > header.ClusterSize || (e & (e - 1)) != 0))
            throw new BlockException(BlockError.Invalid, $"L2 cache entry size must be a power of two between 512 and the cluster size ({header.ClusterSize})");
        BlockNode? data = null;
        if (!header.HasExternalData && (options.Has("data-file") || options.HasBelow("data-file")))
            throw new BlockException(BlockError.Invalid, "'data-file' can only be set for images with an external data file");
        if (header.HasExternalData)
            data = OpenDataFile(file, header, options, flags);
        try
        {
            return new Qcow2Node(file, new Qcow2Options
            {
                ReadOnly = flags.ReadOnly,
                LazyRefcounts = lazy,
                L2CacheSize = Math.Clamp(cache ?? 32 << 20, 1 << 16, 1L << 30),
                ForCheck = flags.ForCheck,
                Discard = flags.Discard,
                OverlapCheck = overlap,
            }, header, data);
        }
        catch
        {
            data?.Dispose();
            throw;
        }
    }

    private static long? TakeCacheSize(BlockOptions options)
    {
        var (all, l2, counts) = (options.TakeSize("cache-size"), options.TakeSize("l2-cache-size"), options.TakeSize("refcount-cache-size"));
        if (all == null)
            return l2;
        if (l2 != null && counts != null)
            throw new BlockException(BlockError.Invalid, "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time");
        if (l2 > all)
            throw new BlockException(BlockError.Invalid, "l2-cache-size may not exceed cache-size");
        if (counts > all)
            throw new BlockException(BlockError.Invalid, "refcount-cache-size may not exceed cache-size");
        return l2 ?? all - (counts ?? 0);
    }

    /// <summary><c>overlap-check</c>: a template, and single kinds of metadata that it leaves out or adds.</summary>
    private static OverlapCheck TakeOverlapCheck(BlockOptions options)
    {
        var (brief, template) = (options.Take("overlap-check"), options.Take("overlap-check.template"));
        if (brief != null && template != null && brief != template)
            throw new BlockException(BlockError.Invalid, $"Conflicting values for qcow2 options 'overlap-check' ('{brief}') and 'overlap-check.template' ('{template}')");
        var check = (brief ?? template) switch
        {
            null or "cached" => OverlapCheck.Cached,
            "none" => OverlapCheck.None,
            "constant" => OverlapCheck.Constant,
            "all" => OverlapCheck.All,
            var other => throw new BlockException(BlockError.Invalid,
                $"Unsupported value '{other}' for qcow2 option 'overlap-check'. Allowed are any of the following: none, constant, cached, all"),
        };
        foreach (var kind in (ReadOnlySpan<string>)["main-header", "active-l1", "active-l2", "refcount-table", "refcount-block", "snapshot-table",
            "inactive-l1", "bitmap-directory"])
            _ = options.TakeBool("overlap-check." + kind);
        return options.TakeBool("overlap-check.inactive-l2") == true ? OverlapCheck.All : check;
    }

    public override (string? Name, string? Format) BackingOf(BlockNode node) =>
        node is Qcow2Node qcow ? (qcow.BackingFileName, qcow.BackingFormat) : default;

    public override void SetBacking(BlockNode node, BlockNode backing) => ((Qcow2Node)node).SetBacking(backing);

    public override void Create(CreateRequest request)
    {
        var options = request.Options;
        var header = new Qcow2Header { Size = request.Size };
        var size = options.TakeSize("cluster_size") ?? 65536;
        if (size is < 512 or > 2 << 20 || !BitOperations.IsPow2(size))
            throw new BlockException(BlockError.Invalid, "Cluster size must be a power of two between 512 and 2048k");
        header.ClusterBits = BitOperations.Log2((ulong)size);
        header.Version = options.Take("compat") switch
        {
            null or "1.1" or "v3" => 3,
            "0.10" or "v2" => 2,
            var other => throw new BlockException(BlockError.Invalid, $"Parameter 'version' does not accept value '{other}'"),
        };
        // Negative numbers are no widths either.
        var bits = options.Has("refcount_bits") && options.Clone().Take("refcount_bits")!.StartsWith('-') ? 0 : options.TakeSize("refcount_bits") ?? 16;
        if (bits is < 1 or > 64 || !BitOperations.IsPow2(bits))
            throw new BlockException(BlockError.Invalid, "Refcount width must be a power of two and may not exceed 64 bits");
        if (header.Version < 3 && bits != 16)
        {
            throw new BlockException(BlockError.Invalid,
                "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)");
        }

        header.RefcountOrder = BitOperations.Log2((ulong)bits);
        ReadFeatures(options, header);
        header.BackingFile = options.Take("backing_file") is { Length: > 0 } backing ? backing : null;
        var format = options.Take("backing_fmt");
        header.BackingFormat = header.BackingFile != null ? format : null;
        _ = options.Take("nocow");
        _ = options.Take("extent_size_hint");
        var preallocation = options.Take("preallocation") ?? "off";
        if (preallocation is not ("off" or "metadata" or "falloc" or "full"))
            throw new BlockException(BlockError.Invalid, $"Parameter 'preallocation' does not accept value '{preallocation}'");
        if (header.BackingFile != null && preallocation != "off" && !header.IsExtended)
            throw new BlockException(BlockError.Invalid, "Backing file and preallocation can only be used at the same time if extended_l2 is enabled");
        options.RejectUntaken(Name);

        if ((header.Size & 511) != 0)
            header.Size = (header.Size + 511) & ~511L;
        using var data = header.DataFile == null ? null : NewFile.Create(ImageOpener.Combine(request.FileName, header.DataFile));
        data?.Resize(header.Size);
        using var made = NewFile.For(request);
        var file = made.Node;
        Format(file, header);
        if (preallocation == "off" && (header.Autoclear & (ulong)AutoclearFeatures.RawExternalData) != 0)
            preallocation = "metadata"; // every cluster must be at its own place
        if (preallocation != "off")
            Preallocate(file, data, header, preallocation);
    }

    /// <summary>Writes an empty image into a file.</summary>
    internal static void Format(BlockNode file, Qcow2Header header)
    {
        var entries = header.L1SizeFor(header.Size);
        if (entries * 8 > 32 << 20)
        {
            throw new BlockException(BlockError.TooBig, "The image size is too large for file format 'qcow2' (try using a larger cluster size)");
        }

        var cluster = header.ClusterSize;
        var l1Clusters = (int)((entries * 8 + cluster - 1) / cluster);
        var perBlock = (1L << (header.ClusterBits + 3)) >> header.RefcountOrder;
        // Header, refcount table, blocks, L1 table: the blocks count all of them.
        var blocks = 1L;
        while (blocks * perBlock < 2 + blocks + l1Clusters)
            blocks++;
        var used = 2 + blocks + l1Clusters;
        header.RefcountTableOffset = cluster;
        header.RefcountTableClusters = 1;
        header.L1Offset = entries == 0 ? (2 + blocks) * cluster : (2 + blocks) * cluster;
        header.L1Size = (int)entries;

        var table = new byte[cluster];
        var writer = new Refcounts.BlockWriter(header.RefcountOrder);
        for (var i = 0L; i < blocks; i++)
        {
            BinaryPrimitives.WriteInt64BigEndian(table.AsSpan((int)i * 8), (2 + i) * cluster);
            var block = new byte[cluster];
            for (var j = 0L; j < perBlock && i * perBlock + j < used; j++)
                writer.Set(block, (int)j, 1);
            file.Write((2 + i) * cluster, block);
        }

        file.Write(cluster, table);
        if (l1Clusters > 0)
            file.WriteZeroes(header.L1Offset, (long)l1Clusters * cluster, true);
        file.Write(0, header.Serialize());
        file.Flush();
    }

    private static void ReadFeatures(BlockOptions options, Qcow2Header header)
    {
        void NeedsVersion3(string what)
        {
            if (header.Version < 3)
                throw new BlockException(BlockError.Invalid, $"{what} only supported with compatibility level 1.1 and above (use version=v3 or greater)");
        }

        if (options.TakeBool("lazy_refcounts") == true)
        {
            NeedsVersion3("Lazy refcounts");
            header.Compatible |= 1;
        }

        if (options.TakeBool("extended_l2") == true)
        {
            NeedsVersion3("Extended L2 entries are");
            if (header.ClusterBits < 14)
                throw new BlockException(BlockError.Invalid, "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
            header.Incompatible |= IncompatibleFeatures.ExtendedL2;
        }

        switch (options.Take("compression_type"))
        {
            case null or "zlib":
                break;
            case "zstd":
                NeedsVersion3("Non-zlib compression type is");
                header.Compression = Qcow2Compression.Zstd;
                header.Incompatible |= IncompatibleFeatures.CompressionType;
                break;
            case var other:
                throw new BlockException(BlockError.Invalid, $"Parameter 'compression_type' does not accept value '{other}'");
        }

        var raw = options.TakeBool("data_file_raw") == true;
        if (options.Take("data_file") is { } data)
        {
            NeedsVersion3("External data files are");
            header.DataFile = data;
            header.Incompatible |= IncompatibleFeatures.ExternalData;
            if (raw)
                header.Autoclear |= (ulong)AutoclearFeatures.RawExternalData;
        }
        else if (raw)
            throw new BlockException(BlockError.Invalid, "data-file-raw requires data-file");
    }

    /// <summary>Sets clusters aside for the whole disk.</summary>
    private static void Preallocate(BlockNode file, BlockNode? data, Qcow2Header header, string mode)
    {
        using var node = new Qcow2Node(file.Retain(), new Qcow2Options(), data?.Retain());
        node.PreallocateClusters();
        var end = node.FileEnd;
        if (file is Host.HostFileNode host && mode != "metadata" && header.DataFile == null)
            host.Preallocate(0, end);
    }

    private static BlockNode OpenDataFile(BlockNode file, Qcow2Header header, BlockOptions options, OpenFlags flags)
    {
        if (options.Has("data-file") || options.HasBelow("data-file"))
            return ImageOpener.OpenChild("data-file", null, options, flags);
        if (header.DataFile == null)
            throw new BlockException(BlockError.Invalid, "'data-file' is required for this image");
        return ImageOpener.OpenProtocol(ImageOpener.Combine(file.FileName, header.DataFile), new BlockOptions(), flags);
    }
}
