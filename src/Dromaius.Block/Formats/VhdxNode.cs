using System.Buffers.Binary;
using System.Numerics;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Formats;

/// <summary>Hyper-V virtual hard disk, version 2. Source: Microsoft's [MS-VHDX], version 6.</summary>
public sealed class VhdxNode : MappedNode, ICheckable
{
    internal const int HeaderSize = 4096, TableSize = 65536, MetadataItems = 65536;
    internal const long FirstHeader = 64 << 10, SecondHeader = 128 << 10, FirstRegions = 192 << 10, SecondRegions = 256 << 10;
    internal const ulong StateMask = 7, StateFull = 6, StateZero = 2, StateUnmapped = 3, OffsetMask = 0xFFFFFFFFFFF00000;
    internal static readonly Guid BatRegion = new("2DC27766-F623-4200-9D64-115E9BFD4A08");
    internal static readonly Guid MetadataRegion = new("8B7CA206-4790-4B9A-B8FE-575F050F886E");
    internal static readonly Guid FileParameters = new("CAA16737-FA36-4D43-B3B6-33F0AA44E76B");
    internal static readonly Guid DiskSize = new("2FA54224-CD1B-4876-B211-5DBED83BF4B8");
    internal static readonly Guid DiskId = new("BECA12AB-B2E6-4523-93EF-C309E000C746");
    internal static readonly Guid LogicalSector = new("8141BF1D-A96F-4709-BA47-F233A8FAAB5F");
    internal static readonly Guid PhysicalSector = new("CDA348C7-445D-4471-9CC9-E9885251C556");

    private readonly byte[] _header;
    private readonly bool _firstIsCurrent;
    private readonly ulong[] _bat;
    private readonly long _batOffset;
    private readonly int _blockSize;
    private readonly long _chunkRatio;
    private readonly long _length;
    private long _end;
    private bool _announced;

    public VhdxNode(BlockNode file, bool readOnly, bool discard)
        : base(file, readOnly, discard)
    {
        var id = new byte[8];
        file.ReadPadded(0, id);
        if (!id.AsSpan().SequenceEqual("vhdxfile"u8))
            throw Bad("Invalid VHDX file");
        (_header, _firstIsCurrent) = ReadHeader(file);
        if (BinaryPrimitives.ReadUInt16LittleEndian(_header.AsSpan(66)) != 1)
            throw new BlockException(BlockError.NotSupported, "Unsupported VHDX version");
        if (_header.AsSpan(48, 16).ContainsAnyExcept((byte)0))
            new VhdxLog(file, _header).Replay(ReadOnlyMode);
        var (batOffset, batLength, metadataOffset) = ReadRegions(file);
        var (blockSize, length, sectorSize) = ReadMetadata(file, metadataOffset);
        (_blockSize, _length, _batOffset) = (blockSize, length, batOffset);
        _chunkRatio = (1L << 23) * sectorSize / blockSize;
        var blocks = (length + blockSize - 1) / blockSize;
        var entries = blocks == 0 ? 0 : blocks + (blocks - 1) / _chunkRatio;
        if (entries * 8 > batLength)
            throw Bad("VHDX BAT is too small for the image");
        if (batOffset + entries * 8 > file.Length)
            throw Bad("VHDX BAT is outside the file");
        _bat = new ulong[entries];
        var bytes = new byte[entries * 8];
        file.ReadPadded(batOffset, bytes);
        _end = file.Length;
        for (var i = 0; i < _bat.Length; i++)
        {
            _bat[i] = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(i * 8));
            if ((_bat[i] & StateMask) == StateFull)
                _end = Math.Max(_end, (long)Math.Min(_bat[i] & OffsetMask, long.MaxValue / 2) + blockSize);
        }
    }

    public override string Driver => "vhdx";
    public override long Length => _length;
    public override int ClusterSize => _blockSize;
    protected override int BlockSize => _blockSize;
    protected override bool MayHaveBacking => false;

    internal static uint Checksum(ReadOnlySpan<byte> data, int fieldAt)
    {
        var crc = uint.MaxValue;
        for (var i = 0; i < data.Length; i++)
            crc = BitOperations.Crc32C(crc, i >= fieldAt && i < fieldAt + 4 ? (byte)0 : data[i]);
        return ~crc;
    }

    /// <summary>Blocks that are not in the file. The log was replayed when the image was opened.</summary>
    public CheckResult Check(Qcow2Repair repair)
    {
        var result = new CheckResult();
        for (var i = 0; i < _bat.Length; i++)
        {
            // Every so many entries is one for the bitmap of a differencing disk.
            var isBitmap = (i + 1) % (_chunkRatio + 1) == 0;
            if (isBitmap || (_bat[i] & StateMask) != StateFull)
                continue;
            var offset = _bat[i] & OffsetMask;
            if (offset != 0 && offset <= (ulong)Math.Max(0, File.Length - _blockSize))
                continue;
            result.Say($"ERROR: VHDX BAT entry {i}: the block at {offset} is not in the file");
            result.Corruptions++;
        }

        return result;
    }

    protected override long Lookup(long block)
    {
        var entry = _bat[Index(block)];
        switch (entry & StateMask)
        {
            case StateFull:
                var offset = (long)(entry & OffsetMask);
                return offset > 0 && offset <= long.MaxValue - _blockSize ? offset : throw new BlockException(BlockError.Io, "vhdx: bad block offset");
            case 7:
                throw new BlockException(BlockError.NotSupported, "vhdx: partially present blocks need a parent image");
            default:
                return Zero;
        }
    }

    protected override long Allocate(long block)
    {
        Announce();
        return (_end + (1 << 20) - 1) & ~((1L << 20) - 1);
    }

    protected override void Link(long block, long host)
    {
        _end = host + _blockSize;
        Store(block, (ulong)host | StateFull);
    }

    protected override bool MarkZero(long block)
    {
        if ((_bat[Index(block)] & StateMask) == StateFull)
            return false;
        return true;
    }

    private long Index(long block) => block + block / _chunkRatio;

    private void Store(long block, ulong entry)
    {
        var index = Index(block);
        _bat[index] = entry;
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, entry);
        File.Write(_batOffset + index * 8, bytes);
    }

    /// <summary>Before the first change, both headers get new identifiers, so that others see that the contents differ.</summary>
    private void Announce()
    {
        if (_announced)
            return;
        _announced = true;
        Guid.NewGuid().TryWriteBytes(_header.AsSpan(16));
        Guid.NewGuid().TryWriteBytes(_header.AsSpan(32));
        _header.AsSpan(48, 16).Clear();
        var sequence = BinaryPrimitives.ReadUInt64LittleEndian(_header.AsSpan(8));
        for (var i = 0; i < 2; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(_header.AsSpan(8), ++sequence);
            BinaryPrimitives.WriteUInt32LittleEndian(_header.AsSpan(4), Checksum(_header, 4));
            File.Write(_firstIsCurrent == (i == 0) ? SecondHeader : FirstHeader, _header);
            File.Flush();
        }
    }

    private static (byte[] Header, bool First) ReadHeader(BlockNode file)
    {
        var (a, b) = (new byte[HeaderSize], new byte[HeaderSize]);
        file.ReadPadded(FirstHeader, a);
        file.ReadPadded(SecondHeader, b);
        var (validA, validB) = (IsValid(a), IsValid(b));
        if (!validA && !validB)
            throw Bad("No valid VHDX header found");
        var first = validA && (!validB || Sequence(a) >= Sequence(b));
        return (first ? a : b, first);

        static bool IsValid(byte[] h) => h.AsSpan(0, 4).SequenceEqual("head"u8) && BinaryPrimitives.ReadUInt32LittleEndian(h.AsSpan(4)) == Checksum(h, 4);
        static ulong Sequence(byte[] h) => BinaryPrimitives.ReadUInt64LittleEndian(h.AsSpan(8));
    }

    private static (long Bat, long BatLength, long Metadata) ReadRegions(BlockNode file)
    {
        var table = new byte[TableSize];
        file.ReadPadded(FirstRegions, table);
        if (!table.AsSpan(0, 4).SequenceEqual("regi"u8) || BinaryPrimitives.ReadUInt32LittleEndian(table.AsSpan(4)) != Checksum(table, 4))
        {
            file.ReadPadded(SecondRegions, table);
            if (!table.AsSpan(0, 4).SequenceEqual("regi"u8))
                throw Bad("No valid VHDX region table found");
        }

        var count = BinaryPrimitives.ReadUInt32LittleEndian(table.AsSpan(8));
        if (count > 2047)
            throw Bad("VHDX region table is invalid");
        long bat = 0, batLength = 0, metadata = 0;
        for (var i = 0; i < count; i++)
        {
            var entry = table.AsSpan(16 + i * 32, 32);
            var id = new Guid(entry[..16]);
            var offset = BinaryPrimitives.ReadInt64LittleEndian(entry[16..]);
            var length = BinaryPrimitives.ReadUInt32LittleEndian(entry[24..]);
            if (offset < 1 << 20 || offset > long.MaxValue - length)
                throw Bad("VHDX region is outside the file");
            if (id == BatRegion)
                (bat, batLength) = (offset, length);
            else if (id == MetadataRegion)
                metadata = offset;
            else if ((BinaryPrimitives.ReadUInt32LittleEndian(entry[28..]) & 1) != 0)
                throw new BlockException(BlockError.NotSupported, "VHDX image has a required region that is not known");
        }

        if (bat == 0 || metadata == 0)
            throw Bad("VHDX image lacks a BAT or metadata region");
        return (bat, batLength, metadata);
    }

    private static (int BlockSize, long Length, int SectorSize) ReadMetadata(BlockNode file, long offset)
    {
        var table = new byte[TableSize];
        file.ReadPadded(offset, table);
        var count = BinaryPrimitives.ReadUInt16LittleEndian(table.AsSpan(10));
        if (!table.AsSpan(0, 8).SequenceEqual("metadata"u8) || count > 2047)
            throw Bad("VHDX metadata table is invalid");
        ulong blockSize = 0, length = 0, sectorSize = 0;
        for (var i = 0; i < count; i++)
        {
            var entry = table.AsSpan(32 + i * 32, 32);
            var item = new byte[8];
            file.ReadPadded(offset + BinaryPrimitives.ReadUInt32LittleEndian(entry[16..]), item);
            var value = BinaryPrimitives.ReadUInt64LittleEndian(item);
            var id = new Guid(entry[..16]);
            if (id == FileParameters)
            {
                blockSize = (uint)value;
                if ((value >> 33 & 1) != 0)
                    throw new BlockException(BlockError.NotSupported, "Differencing VHDX images are not supported");
            }
            else if (id == DiskSize)
                length = value;
            else if (id == LogicalSector)
                sectorSize = (uint)value;
        }

        if (blockSize is < 1 << 20 or > 256 << 20 || !BitOperations.IsPow2(blockSize))
            throw Bad("VHDX block size is invalid");
        if (sectorSize is not (512 or 4096))
            throw new BlockException(BlockError.NotSupported, "VHDX sector size is not supported");
        if (length == 0 || length > 64UL << 40 || length % sectorSize != 0)
            throw Bad("VHDX image size is invalid");
        return ((int)blockSize, (long)length, (int)sectorSize);
    }

    private static BlockException Bad(string message) => new(BlockError.Invalid, message);
}
