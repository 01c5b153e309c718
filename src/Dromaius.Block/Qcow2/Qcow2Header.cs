using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Block.Qcow2;

[Flags]
internal enum IncompatibleFeatures : ulong
{
    None = 0,
    Dirty = 1,
    Corrupt = 2,
    ExternalData = 4,
    CompressionType = 8,
    ExtendedL2 = 16,
    All = 31,
}

[Flags]
internal enum AutoclearFeatures : ulong
{
    None = 0,
    Bitmaps = 1,
    RawExternalData = 2,
}

public enum Qcow2Compression : byte
{
    Zlib = 0,
    Zstd = 1,
}

/// <summary>A header extension that is kept as it is.</summary>
internal sealed record HeaderExtension(uint Type, byte[] Data);

/// <summary>The header of an image. Source: the qcow2 format specification (docs/interop/qcow2.txt), "Header" and "Header extensions".</summary>
internal sealed class Qcow2Header
{
    public const uint Magic = 0x514649FB;
    public const uint BackingFormatExtension = 0xE2792ACA, FeatureNamesExtension = 0x6803F857, BitmapsExtension = 0x23852875,
        EncryptionExtension = 0x0537BE77, DataFileExtension = 0x44415441;
    private const int Length2 = 72, Length3 = 112;
    private const long MaxL1Bytes = 32 << 20, MaxRefcountTableBytes = 8 << 20;
    private const int MaxSnapshots = 65536;

    public int Version { get; set; } = 3;
    public int ClusterBits { get; set; } = 16;
    public long Size { get; set; }
    public uint CryptMethod { get; set; }
    public int L1Size { get; set; }
    public long L1Offset { get; set; }
    public long RefcountTableOffset { get; set; }
    public int RefcountTableClusters { get; set; }
    public int SnapshotCount { get; set; }
    public long SnapshotsOffset { get; set; }
    public IncompatibleFeatures Incompatible { get; set; }
    public ulong Compatible { get; set; }
    public ulong Autoclear { get; set; }
    public int RefcountOrder { get; set; } = 4;
    public Qcow2Compression Compression { get; set; }
    public string? BackingFile { get; set; }
    public string? BackingFormat { get; set; }
    public string? DataFile { get; set; }
    public List<HeaderExtension> Extensions { get; } = [];

    private byte[] _featureNames = [];

    public int ClusterSize => 1 << ClusterBits;
    public bool LazyRefcounts => (Compatible & 1) != 0;
    public bool IsExtended => (Incompatible & IncompatibleFeatures.ExtendedL2) != 0;
    public bool HasExternalData => (Incompatible & IncompatibleFeatures.ExternalData) != 0;

    /// <summary>log2 of the entries of an L2 table.</summary>
    public int L2Bits => ClusterBits - (IsExtended ? 4 : 3);

    /// <summary>Reads and checks a header.</summary>
    /// <param name="file">The image file.</param>
    public static Qcow2Header Read(BlockNode file)
    {
        var head = new byte[Length3];
        file.ReadPadded(0, head);
        if (U32(head, 0) != Magic)
            throw Bad("Image is not in qcow2 format");
        var header = new Qcow2Header { Version = (int)U32(head, 4) };
        if (header.Version is not (2 or 3))
            throw new BlockException(BlockError.NotSupported, $"Unsupported qcow2 version {(uint)header.Version}");
        header.ReadFields(file, head);
        return header;
    }

    /// <summary>The header's cluster, ready to be written.</summary>
    public byte[] Serialize()
    {
        var image = new byte[ClusterSize];
        var length = Version == 2 ? Length2 : Length3;
        Put32(image, 0, Magic);
        Put32(image, 4, (uint)Version);
        Put32(image, 20, (uint)ClusterBits);
        Put64(image, 24, (ulong)Size);
        Put32(image, 32, CryptMethod);
        Put32(image, 36, (uint)L1Size);
        Put64(image, 40, (ulong)L1Offset);
        Put64(image, 48, (ulong)RefcountTableOffset);
        Put32(image, 56, (uint)RefcountTableClusters);
        Put32(image, 60, (uint)SnapshotCount);
        Put64(image, 64, (ulong)SnapshotsOffset);
        if (Version == 3)
        {
            Put64(image, 72, (ulong)Incompatible);
            Put64(image, 80, Compatible);
            Put64(image, 88, Autoclear);
            Put32(image, 96, (uint)RefcountOrder);
            Put32(image, 100, (uint)length);
            image[104] = (byte)Compression;
        }

        var at = length;
        if (BackingFormat != null)
            Append(image, ref at, BackingFormatExtension, Encoding.UTF8.GetBytes(BackingFormat));
        if (DataFile != null)
            Append(image, ref at, DataFileExtension, Encoding.UTF8.GetBytes(DataFile));
        // Names of features are for the messages of programs that do not know them; a small cluster may have no room for them.
        var names = FeatureNames();
        var rest = Extensions.Where(static e => e.Type is not (BackingFormatExtension or FeatureNamesExtension or DataFileExtension)).ToList();
        if (Version == 3 && at + 16 + names.Length + rest.Sum(static e => 8 + ((e.Data.Length + 7) & ~7)) + (BackingFile?.Length ?? 0) <= ClusterSize)
            Append(image, ref at, FeatureNamesExtension, names);
        // What is not known here comes last.
        foreach (var extension in rest.OrderBy(static e => e.Type != BitmapsExtension))
            Append(image, ref at, extension.Type, extension.Data);
        if (at + 8 > ClusterSize)
            throw new BlockException(BlockError.NoSpace, "Header does not fit into a cluster");
        at += 8; // the end marker is zero
        if (BackingFile != null)
        {
            var name = Encoding.UTF8.GetBytes(BackingFile);
            if (name.Length > 1023)
                throw Bad("Backing file name too long");
            if (at + name.Length > ClusterSize)
                throw new BlockException(BlockError.NoSpace, "Header does not fit into a cluster");
            Put64(image, 8, (ulong)at);
            Put32(image, 16, (uint)name.Length);
            name.CopyTo(image, at);
        }

        return image;
    }

    /// <summary>Only a check takes an image without counts, to make them.</summary>
    public void RequireRefcounts()
    {
        if (RefcountTableClusters == 0)
            throw Bad("Image does not contain a reference count table");
    }

    public byte[]? FindExtension(uint type) => Extensions.Find(e => e.Type == type)?.Data;

    private void ReadFields(BlockNode file, byte[] head)
    {
        ClusterBits = (int)U32(head, 20);
        if (ClusterBits is < 9 or > 21)
            throw Bad($"Unsupported cluster size: 2^{(uint)ClusterBits}");
        var headerLength = Length2;
        if (Version == 3)
        {
            Incompatible = (IncompatibleFeatures)U64(head, 72);
            Compatible = U64(head, 80);
            Autoclear = U64(head, 88);
            RefcountOrder = (int)U32(head, 96);
            var stated = U32(head, 100);
            if (stated < 104)
                throw Bad("qcow2 header too short");
            if (stated > ClusterSize)
                throw Bad("qcow2 header exceeds cluster size");
            headerLength = (int)stated;
            if (headerLength > 104)
                Compression = (Qcow2Compression)head[104];
        }

        Size = (long)U64(head, 24);
        CryptMethod = U32(head, 32);
        ReadExtensions(file, headerLength, (long)U64(head, 8));
        if ((Incompatible & ~IncompatibleFeatures.All) is var unknown && unknown != 0)
            throw new BlockException(BlockError.NotSupported, $"Unsupported qcow2 feature(s): {NamesOf((ulong)unknown)}");
        if (RefcountOrder is < 0 or > 6)
            throw Bad("Reference count entry width too large; may not exceed 64 bits");
        if (CryptMethod > 2)
            throw Bad($"Unsupported encryption method {CryptMethod}");
        if ((byte)Compression > 1)
            throw new BlockException(BlockError.NotSupported, $"qcow2: unknown compression type: {(byte)Compression}");
        if (((Incompatible & IncompatibleFeatures.CompressionType) != 0) != (Compression != 0))
        {
            throw Bad(Compression == 0
                ? "qcow2: Compression type incompatible feature bit must not be set"
                : "qcow2: Compression type incompatible feature bit must be set");
        }

        if (IsExtended && ClusterBits < 14)
            throw Bad("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
        ReadTables(head);
    }

    /// <summary>Incompatible features that this program does not know, as the image's own table of names calls them.</summary>
    private string NamesOf(ulong features)
    {
        var names = new List<string>();
        var table = _featureNames;
        for (var at = 0; at + 48 <= table.Length && features != 0; at += 48)
        {
            if (table[at] != 0 || table[at + 1] > 63 || (features >> table[at + 1] & 1) == 0)
                continue;
            names.Add(Encoding.UTF8.GetString(table.AsSpan(at + 2, 46)).Split('\0')[0]);
            features &= ~(1UL << table[at + 1]);
        }

        if (features != 0)
            names.Add($"Unknown incompatible feature: {features:x}");
        return string.Join(", ", names);
    }

    private void ReadTables(byte[] head)
    {
        RefcountTableOffset = (long)U64(head, 48);
        var tableClusters = U32(head, 56);
        SnapshotCount = (int)Math.Min(U32(head, 60), int.MaxValue);
        SnapshotsOffset = (long)U64(head, 64);
        L1Offset = (long)U64(head, 40);
        var l1Size = U32(head, 36);

        if (Size < 0)
            throw Bad("Image size too big");
        if (tableClusters > (ulong)MaxRefcountTableBytes >> ClusterBits)
            throw Bad("Reference count table too large");
        RefcountTableClusters = (int)tableClusters;
        CheckTable(RefcountTableOffset, (long)tableClusters << ClusterBits, "Reference count table");
        if (SnapshotCount > MaxSnapshots)
            throw Bad("Snapshot table too large");
        CheckTable(SnapshotsOffset, 0, "Snapshot table");
        if (l1Size > MaxL1Bytes / 8)
            throw new BlockException(BlockError.TooBig, "Active L1 table too large");
        L1Size = (int)l1Size;
        CheckTable(L1Offset, (long)l1Size * 8, "Active L1 table");
        if (L1SizeFor(Size) > int.MaxValue)
            throw new BlockException(BlockError.TooBig, "Image is too big");
        if (L1Size < L1SizeFor(Size))
            throw Bad("L1 table is too small");
    }

    /// <summary>L1 entries that a size needs.</summary>
    public long L1SizeFor(long size)
    {
        var shift = ClusterBits + L2Bits;
        return shift >= 63 ? 1 : (size >> shift) + ((size & ((1L << shift) - 1)) != 0 ? 1 : 0);
    }

    private void CheckTable(long offset, long length, string what)
    {
        if (offset < 0 || offset > long.MaxValue - length || (offset & (ClusterSize - 1)) != 0)
            throw Bad($"{what} offset invalid");
    }

    private void ReadExtensions(BlockNode file, int start, long backingOffset)
    {
        if (backingOffset > ClusterSize || backingOffset < 0)
            throw Bad("Invalid backing file offset");
        var end = backingOffset != 0 ? (int)backingOffset : ClusterSize;
        var cluster = new byte[ClusterSize];
        file.ReadPadded(0, cluster);
        var at = start;
        while (at + 8 <= end)
        {
            var type = U32(cluster, at);
            var length = U32(cluster, at + 4);
            at += 8;
            if (type == 0)
                break;
            if (length > end - at)
                throw Bad("Header extension too large");
            var data = cluster.AsSpan(at, (int)length).ToArray();
            switch (type)
            {
                case BackingFormatExtension:
                    BackingFormat = Encoding.UTF8.GetString(data);
                    break;
                case FeatureNamesExtension:
                    // The last name may be cut short.
                    Array.Resize(ref data, (data.Length + 47) / 48 * 48);
                    _featureNames = data;
                    break;
                case DataFileExtension:
                    DataFile = Encoding.UTF8.GetString(data);
                    break;
                default:
                    Extensions.Add(new HeaderExtension(type, data));
                    break;
            }

            at += ((int)length + 7) & ~7;
        }

        if (backingOffset != 0)
        {
            var length = U32(cluster, 16);
            if (length > Math.Min(1023, ClusterSize - backingOffset))
                throw Bad("Backing file name too long");
            if (length > 0)
                BackingFile = Encoding.UTF8.GetString(cluster, (int)backingOffset, (int)length);
        }
    }

    private static void Append(byte[] image, ref int at, uint type, byte[] data)
    {
        if (at + 8 + data.Length + 8 > image.Length)
            throw new BlockException(BlockError.NoSpace, "Header does not fit into a cluster");
        Put32(image, at, type);
        Put32(image, at + 4, (uint)data.Length);
        data.CopyTo(image, at + 8);
        at += 8 + ((data.Length + 7) & ~7);
    }

    private static byte[] FeatureNames()
    {
        (byte Kind, byte Bit, string Name)[] features =
        [
            (0, 0, "dirty bit"), (0, 1, "corrupt bit"), (0, 2, "external data file"), (0, 3, "compression type"), (0, 4, "extended L2 entries"),
            (1, 0, "lazy refcounts"), (2, 0, "bitmaps"), (2, 1, "raw external data"),
        ];
        var table = new byte[features.Length * 48];
        for (var i = 0; i < features.Length; i++)
        {
            table[i * 48] = features[i].Kind;
            table[i * 48 + 1] = features[i].Bit;
            Encoding.ASCII.GetBytes(features[i].Name, table.AsSpan(i * 48 + 2));
        }

        return table;
    }

    private static BlockException Bad(string message) => new(BlockError.Invalid, message);

    private static uint U32(byte[] data, int at) => BinaryPrimitives.ReadUInt32BigEndian(data.AsSpan(at));

    private static ulong U64(byte[] data, int at) => BinaryPrimitives.ReadUInt64BigEndian(data.AsSpan(at));

    private static void Put32(byte[] data, int at, uint value) => BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(at), value);

    private static void Put64(byte[] data, int at, ulong value) => BinaryPrimitives.WriteUInt64BigEndian(data.AsSpan(at), value);
}
