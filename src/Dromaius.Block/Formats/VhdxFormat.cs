using System.Buffers.Binary;
using System.Text;
using Dromaius.Block.Graph;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Formats;

/// <summary>How to tell, open and make VHDX images.</summary>
public sealed class VhdxFormat : ImageFormat
{
    private const long Mega = 1 << 20;

    public override string Name => "vhdx";

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
    [
        new("size", "size", "Virtual disk size; max of 64TB."),
        new("log_size", "size", "Log size; min 1MB.", "1048576"),
        new("block_size", "size", "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.", "0"),
        new("subformat", "str", "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'."),
        new("block_state_zero", "bool (on/off)",
            "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' when using 'qemu-img convert' with subformat=dynamic."),
        .. FileOptions,
    ];

    public override int Probe(ReadOnlySpan<byte> head, string fileName) => head.Length >= 8 && head[..8].SequenceEqual("vhdxfile"u8) ? 100 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags) => new VhdxNode(file, flags.ReadOnly, flags.Discard);

    public override void Create(CreateRequest request)
    {
        var options = request.Options;
        var isFixed = options.Take("subformat") switch
        {
            null or "dynamic" => false,
            "fixed" => true,
            var other => throw new BlockException(BlockError.Invalid, $"Invalid subformat '{other}'"),
        };
        var logSize = RoundUp(options.TakeSize("log_size") ?? Mega);
        var blockSize = options.TakeSize("block_size") ?? 0;
        _ = options.TakeBool("block_state_zero");
        var mode = NewFile.TakeFileOptions(options);
        options.RejectUntaken(Name);
        var size = (request.Size + 511) & ~511L;
        if (size > 64L << 40)
            throw new BlockException(BlockError.Invalid, "Image size too large; max of 64TB");
        if (size == 0)
            throw new BlockException(BlockError.Invalid, "Image size must not be zero");
        if (logSize is < Mega or > 256 * Mega)
            throw new BlockException(BlockError.Invalid, "Log size must be a multiple of 1 MB");
        if (blockSize == 0)
            blockSize = size > 32L << 40 ? 64 * Mega : size > 100L << 30 ? 32 * Mega : size > 1L << 30 ? 16 * Mega : 8 * Mega;
        blockSize = RoundUp(blockSize);
        if (blockSize > 256 * Mega)
            throw new BlockException(BlockError.Invalid, "Block size must not exceed 268435456");
        if (!long.IsPow2(blockSize))
            throw new BlockException(BlockError.Invalid, "Block size must be a power of two");
        using var made = NewFile.For(request);
        var file = made.Node;
        Write(file, size, logSize, blockSize, isFixed, mode);
    }

    private static void Write(BlockNode file, long size, long logSize, long blockSize, bool isFixed, string mode)
    {
        var logOffset = Mega;
        var metadataOffset = logOffset + logSize;
        var batOffset = metadataOffset + Mega;
        var ratio = (1L << 23) * 512 / blockSize;
        var blocks = (size + blockSize - 1) / blockSize;
        var entries = blocks + (blocks - 1) / ratio;
        var batLength = RoundUp(entries * 8);
        var data = batOffset + batLength;

        var id = new byte[VhdxNode.HeaderSize];
        "vhdxfile"u8.CopyTo(id);
        Encoding.Unicode.GetBytes("Dromaius", id.AsSpan(8));
        file.Write(0, id);
        WriteHeaders(file, logSize, logOffset);
        WriteRegions(file, metadataOffset, batOffset, batLength);
        WriteMetadata(file, metadataOffset, size, (uint)blockSize, isFixed);
        file.Resize(data);
        if (isFixed)
        {
            var bat = new byte[entries * 8];
            for (var i = 0L; i < blocks; i++)
                BinaryPrimitives.WriteUInt64LittleEndian(bat.AsSpan((int)((i + i / ratio) * 8)), (ulong)(data + i * blockSize) | VhdxNode.StateFull);
            file.Write(batOffset, bat);
            file.Resize(data + blocks * blockSize);
            NewFile.Preallocate(file, mode, file.Length);
        }

        file.Flush();
    }

    private static void WriteHeaders(BlockNode file, long logSize, long logOffset)
    {
        var header = new byte[VhdxNode.HeaderSize];
        "head"u8.CopyTo(header);
        Guid.NewGuid().TryWriteBytes(header.AsSpan(16));
        Guid.NewGuid().TryWriteBytes(header.AsSpan(32));
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(66), 1);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(68), (uint)logSize);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(72), logOffset);
        foreach (var (at, sequence) in ((long, ulong)[])[(VhdxNode.FirstHeader, 1), (VhdxNode.SecondHeader, 2)])
        {
            BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(8), sequence);
            BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), VhdxNode.Checksum(header, 4));
            file.Write(at, header);
        }
    }

    private static void WriteRegions(BlockNode file, long metadataOffset, long batOffset, long batLength)
    {
        var table = new byte[VhdxNode.TableSize];
        "regi"u8.CopyTo(table);
        table[8] = 2;
        void Region(int at, Guid id, long offset, long length)
        {
            _ = id.TryWriteBytes(table.AsSpan(at));
            BinaryPrimitives.WriteInt64LittleEndian(table.AsSpan(at + 16), offset);
            BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(at + 24), (uint)length);
            table[at + 28] = 1;
        }

        Region(16, VhdxNode.BatRegion, batOffset, batLength);
        Region(48, VhdxNode.MetadataRegion, metadataOffset, Mega);
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(4), VhdxNode.Checksum(table, 4));
        file.Write(VhdxNode.FirstRegions, table);
        file.Write(VhdxNode.SecondRegions, table);
    }

    private static void WriteMetadata(BlockNode file, long offset, long size, uint blockSize, bool isFixed)
    {
        var table = new byte[VhdxNode.TableSize + 4096];
        "metadata"u8.CopyTo(table);
        table[10] = 5;
        var (entry, item) = (32, VhdxNode.MetadataItems);
        // Flags: 2 for the virtual disk, 4 for required.
        void Item(Guid id, byte flags, ReadOnlySpan<byte> value)
        {
            _ = id.TryWriteBytes(table.AsSpan(entry));
            BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(entry + 16), item);
            BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(entry + 20), value.Length);
            table[entry + 24] = flags;
            value.CopyTo(table.AsSpan(item));
            entry += 32;
            item += value.Length;
        }

        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, blockSize);
        bytes[4] = (byte)(isFixed ? 1 : 0);
        Item(VhdxNode.FileParameters, 4, bytes);
        BinaryPrimitives.WriteInt64LittleEndian(bytes, size);
        Item(VhdxNode.DiskSize, 6, bytes);
        Item(VhdxNode.DiskId, 6, Guid.NewGuid().ToByteArray());
        BinaryPrimitives.WriteInt32LittleEndian(bytes, 512);
        Item(VhdxNode.LogicalSector, 6, bytes.AsSpan(0, 4));
        Item(VhdxNode.PhysicalSector, 6, bytes.AsSpan(0, 4));
        file.Write(offset, table);
    }

    private static long RoundUp(long value) => (value + Mega - 1) / Mega * Mega;
}
