using System.Buffers.Binary;
using System.Text;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Formats;

/// <summary>VirtualBox disk image. Source: the layout of version 1.1 as VirtualBox's VDICore describes it.</summary>
public sealed class VdiNode : MappedNode, ICheckable
{
    internal const uint Signature = 0xBEDA107F;
    private const uint FreeBlock = 0xFFFFFFFF, ZeroBlock = 0xFFFFFFFE;
    private const long MaxBlocks = 0x3FFFFFFF / 4;

    private readonly uint[] _map;
    private readonly int _blockSize;
    private readonly long _mapOffset, _dataOffset, _length;
    private uint _allocated;

    public VdiNode(BlockNode file, bool readOnly, bool discard)
        : base(file, readOnly, discard)
    {
        var header = new byte[512];
        file.ReadPadded(0, header);
        uint U32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(at));
        if (U32(0x40) != Signature)
            throw Bad($"Image not in VDI format (bad signature {U32(0x40):x8})");
        if (U32(0x44) != 0x00010001)
            throw new BlockException(BlockError.NotSupported, $"unsupported VDI image (version {U32(0x44) >> 16}.{U32(0x44) & 0xFFFF})");
        _mapOffset = U32(0x154);
        _dataOffset = U32(0x158);
        if ((_mapOffset & 511) != 0 || (_dataOffset & 511) != 0)
            throw new BlockException(BlockError.NotSupported, "unsupported VDI image (unaligned block map or data offset)");
        if (U32(0x168) != 512)
            throw new BlockException(BlockError.NotSupported, $"unsupported VDI image (sector size {U32(0x168)} is not 512)");
        _blockSize = (int)U32(0x178);
        if (_blockSize is < 1 << 20 or > 64 << 20 || !int.IsPow2(_blockSize))
            throw new BlockException(BlockError.NotSupported, $"unsupported VDI image (block size {U32(0x178)} is not 1048576)");
        _length = ((long)BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(0x170)) + 511) & ~511L;
        var blocks = U32(0x180);
        if (_length < 0 || blocks > MaxBlocks || _length > blocks * (long)_blockSize)
            throw new BlockException(BlockError.NotSupported, $"unsupported VDI image (disk size {_length}, image bitmap has room for {blocks * (long)_blockSize})");
        if (header.AsSpan(0x1A8, 16).ContainsAnyExcept((byte)0) || header.AsSpan(0x1B8, 16).ContainsAnyExcept((byte)0))
            throw new BlockException(BlockError.NotSupported, "unsupported VDI image (non-NULL link UUID)");
        _allocated = U32(0x184);
        var bytes = new byte[blocks * 4];
        file.ReadPadded(_mapOffset, bytes);
        _map = new uint[blocks];
        for (var i = 0; i < _map.Length; i++)
            _map[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(i * 4));
    }

    public override string Driver => "vdi";
    public override long Length => _length;
    public override int ClusterSize => _blockSize;
    protected override int BlockSize => _blockSize;
    protected override bool MayHaveBacking => false;

    public CheckResult Check(Qcow2Repair repair)
    {
        if (repair != Qcow2Repair.None)
            throw new BlockException(BlockError.NotSupported);
        var result = new CheckResult();
        var seen = new HashSet<uint>();
        var allocated = 0u;
        for (var i = 0; i < _map.Length; i++)
        {
            var entry = _map[i];
            if (entry >= ZeroBlock)
                continue;
            if (entry >= _map.Length)
            {
                result.Say($"ERROR: block index {i} out of range, is {entry}");
                result.Corruptions++;
                continue;
            }

            allocated++;
            if (!seen.Add(entry))
            {
                result.Say($"ERROR: block index {entry} also used by {entry}");
                result.Corruptions++;
            }
        }

        if (allocated != _allocated)
        {
            result.Say($"ERROR: allocated blocks mismatch, is {allocated}, should be {_allocated}");
            result.Corruptions++;
        }

        return result;
    }

    protected override long Lookup(long block)
    {
        if (block >= _map.Length)
            return Unallocated;
        return _map[block] switch
        {
            FreeBlock => Unallocated,
            ZeroBlock => Zero,
            var entry => _dataOffset + entry * (long)_blockSize,
        };
    }

    protected override long Allocate(long block) => _dataOffset + _allocated * (long)_blockSize;

    protected override void Link(long block, long host)
    {
        var bytes = new byte[4];
        if (_map[block] >= ZeroBlock)
        {
            _allocated++;
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, _allocated);
            File.Write(0x184, bytes);
        }

        _map[block] = (uint)((host - _dataOffset) / _blockSize);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, _map[block]);
        File.Write(_mapOffset + block * 4, bytes);
    }

    private static BlockException Bad(string message) => new(BlockError.Invalid, message);
}

/// <summary>How to tell, open and make VDI images.</summary>
public sealed class VdiFormat : ImageFormat
{
    private const int BlockSize = 1 << 20;

    public override string Name => "vdi";

    public override IReadOnlyList<CreateOption> CreateOptions { get; } =
        [new("size", "size", "Virtual disk size"), new("static", "bool (on/off)", "VDI static (pre-allocated) image", "off"), .. FileOptions];

    public override int Probe(ReadOnlySpan<byte> head, string fileName) =>
        head.Length >= 512 && BinaryPrimitives.ReadUInt32LittleEndian(head[0x40..]) == VdiNode.Signature ? 100 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags) => new VdiNode(file, flags.ReadOnly, flags.Discard);

    public override void Create(CreateRequest request)
    {
        var isStatic = request.Options.TakeBool("static") ?? false;
        var mode = NewFile.TakeFileOptions(request.Options);
        request.Options.RejectUntaken(Name);
        var blocks = (request.Size + BlockSize - 1) / BlockSize;
        if (blocks > 0x1FFFFFFF)
            throw new BlockException(BlockError.NotSupported, $"Unsupported VDI image size (size is 0x{request.Size:x}, max supported is 0x1fffffff00000)");
        var mapBytes = (blocks * 4 + 511) & ~511L;
        var header = new byte[512];
        void Put(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(at), value);
        Encoding.ASCII.GetBytes("<<< Oracle VM VirtualBox Disk Image >>>\n", header);
        Put(0x40, VdiNode.Signature);
        Put(0x44, 0x00010001);
        Put(0x48, 0x180);
        Put(0x4C, isStatic ? 2u : 1u);
        Put(0x154, 512);
        Put(0x158, (uint)(512 + mapBytes));
        Put(0x168, 512);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(0x170), (request.Size + 511) & ~511L);
        Put(0x178, BlockSize);
        Put(0x180, (uint)blocks);
        Put(0x184, isStatic ? (uint)blocks : 0);
        Guid.NewGuid().TryWriteBytes(header.AsSpan(0x188));
        Guid.NewGuid().TryWriteBytes(header.AsSpan(0x198));
        using var made = NewFile.For(request);
        var file = made.Node;
        var map = new byte[mapBytes];
        for (var i = 0; i < blocks; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(map.AsSpan(i * 4), isStatic ? (uint)i : 0xFFFFFFFF);
        file.Write(0, header);
        if (map.Length > 0)
            file.Write(512, map);
        if (isStatic)
        {
            file.Resize(512 + mapBytes + blocks * BlockSize);
            NewFile.Preallocate(file, mode, file.Length);
        }

        file.Flush();
    }
}
