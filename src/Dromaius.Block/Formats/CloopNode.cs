using System.Buffers.Binary;
using System.IO.Compression;
using Dromaius.Block.Graph;

namespace Dromaius.Block.Formats;

/// <summary>What is read in compressed pieces of one size or many: the piece last used is kept.</summary>
public abstract class PiecewiseNode(BlockNode file) : BlockNode
{
    private readonly Lock _lock = new();
    private int _current = -1;
    private byte[] _piece = [];

    public override BlockNode File => file;
    public override bool IsReadOnly => true;

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        while (!into.IsEmpty)
        {
            int n;
            lock (_lock)
            {
                var (index, start) = Find(offset);
                if (index < 0)
                {
                    // Between pieces there is nothing.
                    n = (int)Math.Min(into.Length, start - offset);
                    into[..n].Clear();
                }
                else
                {
                    if (index != _current)
                    {
                        _current = -1;
                        _piece = Load(index);
                        _current = index;
                    }

                    var within = (int)(offset - start);
                    n = Math.Min(into.Length, _piece.Length - within);
                    if (n <= 0)
                        throw new BlockException(BlockError.Io);
                    _piece.AsSpan(within, n).CopyTo(into);
                }
            }

            offset += n;
            into = into[n..];
        }
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from) => CheckWritable();

    public override void Flush()
    {
    }

    public override BlockStatus Status(long offset, long length) => new(length, true, false, -1, true);

    /// <summary>The piece that holds an offset and where it starts; or -1 and where the next one does.</summary>
    protected abstract (int Index, long Start) Find(long offset);

    protected abstract byte[] Load(int index);

    /// <summary>Bytes of a zlib stream.</summary>
    protected static byte[] Inflate(byte[] packed, int length)
    {
        try
        {
            using var stream = new ZLibStream(new MemoryStream(packed), CompressionMode.Decompress);
            var data = new byte[length];
            stream.ReadExactly(data);
            return data;
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            throw new BlockException(BlockError.Io, "Bad compressed data", e);
        }
    }

    protected override void Dispose(bool disposing) => file.Release();
}

/// <summary>Compressed loop image, version 2. Source: the header of the cloop kernel module.</summary>
public sealed class CloopNode : PiecewiseNode
{
    private const int MaxBlockSize = 64 << 20;
    private readonly ulong[] _offsets;
    private readonly int _blockSize;

    public CloopNode(BlockNode file)
        : base(file)
    {
        var header = new byte[8];
        file.ReadPadded(128, header);
        var blockSize = BinaryPrimitives.ReadUInt32BigEndian(header);
        var blocks = BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(4));
        if (blockSize == 0)
            throw new BlockException(BlockError.Invalid, "block_size cannot be zero");
        if (blockSize % 512 != 0)
            throw new BlockException(BlockError.Invalid, $"block_size {blockSize} must be a multiple of 512");
        if (blockSize > MaxBlockSize)
            throw new BlockException(BlockError.Invalid, $"block_size {blockSize} must be 64 MB or less");
        if (blocks > 64 << 20 || (blocks + 1) * 8L + 136 > file.Length)
            throw new BlockException(BlockError.Invalid, "image requires too many offsets, try increasing block size");
        _blockSize = (int)blockSize;
        var bytes = new byte[(blocks + 1) * 8];
        file.ReadPadded(136, bytes);
        _offsets = new ulong[blocks + 1];
        for (var i = 0; i < _offsets.Length; i++)
        {
            _offsets[i] = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(i * 8));
            if (i > 0 && _offsets[i] < _offsets[i - 1])
                throw new BlockException(BlockError.Invalid, $"offsets not monotonically increasing at index {i}, image file is corrupt");
            if (i > 0 && _offsets[i] - _offsets[i - 1] > 2UL * MaxBlockSize)
                throw new BlockException(BlockError.Invalid, $"invalid compressed block size at index {i}, image file is corrupt");
        }
    }

    public override string Driver => "cloop";
    public override long Length => (_offsets.Length - 1L) * _blockSize;

    protected override (int Index, long Start) Find(long offset) => ((int)(offset / _blockSize), offset / _blockSize * _blockSize);

    protected override byte[] Load(int index)
    {
        var (start, end) = (_offsets[index], _offsets[index + 1]);
        if (end > (ulong)File.Length)
            throw new BlockException(BlockError.Io);
        var packed = new byte[end - start];
        File.Read((long)start, packed);
        return Inflate(packed, _blockSize);
    }
}

/// <summary>How to tell and open compressed loop images.</summary>
public sealed class CloopFormat : ImageFormat
{
    public override string Name => "cloop";

    public override int Probe(ReadOnlySpan<byte> head, string fileName) =>
        head.StartsWith("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"u8) ? 2 : 0;

    public override BlockNode Open(BlockNode file, BlockOptions options, OpenFlags flags) =>
        flags.ReadOnly || flags.AutoReadOnly ? new CloopNode(file) : throw new BlockException(BlockError.Access, "cloop images are read-only");
}
