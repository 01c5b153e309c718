using System.Numerics;
using System.Runtime.InteropServices;

namespace Dromaius.Block;

/// <summary>Which parts of a node were written since some time: one bit for so many bytes. Safe for several threads.</summary>
public sealed class DirtyBitmap
{
    private const long MaxBytes = 512 << 20;
    private readonly Lock _lock = new();
    private byte[] _bits;
    private long _count;

    /// <param name="name">What clients call it.</param>
    /// <param name="granularityBits">A bit stands for 1 &lt;&lt; this many bytes.</param>
    /// <param name="length">Of the node.</param>
    /// <param name="bits">As many as that takes at least, lowest first; the bitmap's own from now on.</param>
    public DirtyBitmap(string name, int granularityBits, long length, byte[] bits)
    {
        Name = name;
        GranularityBits = granularityBits;
        Length = length;
        _bits = bits;
        _count = Count(bits);
    }

    public string Name { get; }
    public int GranularityBits { get; }
    public long Granularity => 1L << GranularityBits;

    /// <summary>Bytes of the node.</summary>
    public long Length { get; private set; }

    /// <summary>Writes set bits.</summary>
    public bool IsRecording { get; set; }

    /// <summary>Kept in the image.</summary>
    public bool IsPersistent { get; init; }

    /// <summary>The image was not closed as it should: the bits say nothing.</summary>
    public bool IsInconsistent { get; init; }

    /// <summary>A job or an export uses it.</summary>
    public bool IsBusy { get; set; }

    /// <summary>Bytes that the set bits stand for.</summary>
    public long DirtyBytes => Interlocked.Read(ref _count) << GranularityBits;

    /// <summary>Those of the bits that a job took and may still put back; null when there is no such job.</summary>
    public long? TakenBytes { get; set; }

    public long BitCount => (Length + Granularity - 1) >> GranularityBits;

    public static byte[] NewBits(long length, long granularity)
    {
        CheckSize(length, granularity);
        return new byte[BytesFor(length, granularity)];
    }

    /// <summary>Throws when the bits for a node of some bytes would take too much memory.</summary>
    public static void CheckSize(long length, long granularity)
    {
        if (BytesFor(length, granularity) > MaxBytes)
            throw new BlockException(BlockError.TooBig, "Too much space will be occupied by the bitmap. Use larger granularity");
    }

    private static long BytesFor(long length, long granularity) => ((length / granularity) + (length % granularity != 0 ? 1 : 0) + 7) / 8;

    public void CheckFree()
    {
        if (IsBusy)
            throw new BlockException(BlockError.Busy, $"Bitmap '{Name}' is currently in use by another operation and cannot be used");
    }

    public void CheckUsable()
    {
        CheckFree();
        if (IsInconsistent)
        {
            throw new BlockException(BlockError.Invalid, $"Bitmap '{Name}' is inconsistent and cannot be used")
            {
                Hint = "Try block-dirty-bitmap-remove to delete this bitmap from disk",
            };
        }
    }

    /// <summary>A range was written.</summary>
    public void Mark(long offset, long length)
    {
        lock (_lock)
        {
            length = Math.Min(length, Length - offset);
            if (length <= 0 || offset < 0)
                return;
            var last = (offset + length - 1) >> GranularityBits;
            for (var bit = offset >> GranularityBits; bit <= last; bit++)
            {
                ref var b = ref _bits[bit >> 3];
                var mask = (byte)(1 << (int)(bit & 7));
                if ((b & mask) == 0)
                    _count++;
                b |= mask;
            }
        }
    }

    /// <summary>The node has another size now; what came in is clean.</summary>
    public void Resize(long length)
    {
        lock (_lock)
        {
            var bits = NewBits(length, Granularity);
            Length = length;
            _bits.AsSpan(0, Math.Min(bits.Length, _bits.Length)).CopyTo(bits);
            for (var bit = BitCount; bit < bits.Length * 8L; bit++)
                bits[bit >> 3] &= (byte)~(1 << (int)(bit & 7));
            _bits = bits;
            _count = Count(bits);
        }
    }

    public bool IsDirty(long offset)
    {
        var bit = offset >> GranularityBits;
        lock (_lock)
            return (_bits[bit >> 3] >> (int)(bit & 7) & 1) != 0;
    }

    public void Clear()
    {
        lock (_lock)
        {
            Array.Clear(_bits);
            _count = 0;
        }
    }

    /// <summary>The bits as they are now.</summary>
    public byte[] Snapshot()
    {
        lock (_lock)
            return [.. _bits];
    }

    /// <summary>The bits as they are now, which are clear from then on.</summary>
    public byte[] TakeAll()
    {
        lock (_lock)
        {
            byte[] bits = [.. _bits];
            Array.Clear(_bits);
            _count = 0;
            return bits;
        }
    }

    /// <summary>Puts back bits that were taken: replaces what there is.</summary>
    public void Restore(byte[] bits)
    {
        lock (_lock)
        {
            bits.CopyTo(_bits, 0);
            _count = Count(_bits);
        }
    }

    /// <summary>Sets what is set in another's bits of the same node size.</summary>
    public void Merge(byte[] bits, int granularityBits)
    {
        if (granularityBits == GranularityBits)
        {
            lock (_lock)
            {
                for (var i = 0; i < Math.Min(bits.Length, _bits.Length); i++)
                    _bits[i] |= bits[i];
                _count = Count(_bits);
            }

            return;
        }

        for (var bit = 0L; bit < bits.Length * 8L; bit++)
        {
            if ((bits[bit >> 3] >> (int)(bit & 7) & 1) != 0)
                Mark(bit << granularityBits, 1L << granularityBits);
        }
    }

    /// <summary>Sets what is set in another bitmap of a node of the same size.</summary>
    public void Merge(DirtyBitmap source)
    {
        if (source.Length != Length)
            throw new BlockException(BlockError.Invalid, "Bitmaps are of different sizes and can't be merged");
        Merge(source.Snapshot(), source.GranularityBits);
    }

    /// <summary>How far from an offset on the bits are the same.</summary>
    public long RunLength(long offset, long most, out bool dirty)
    {
        lock (_lock)
        {
            var bit = offset >> GranularityBits;
            dirty = Get(bit);
            var end = Math.Min(offset + most, Length);
            while ((bit << GranularityBits) < end && Get(bit) == dirty)
                bit++;
            return Math.Min(bit << GranularityBits, end) - offset;
        }

        bool Get(long bit) => (_bits[bit >> 3] >> (int)(bit & 7) & 1) != 0;
    }

    private static long Count(byte[] bits)
    {
        var count = 0L;
        var words = MemoryMarshal.Cast<byte, ulong>(bits.AsSpan(0, bits.Length & ~7));
        foreach (var word in words)
            count += BitOperations.PopCount(word);
        foreach (var b in bits.AsSpan(bits.Length & ~7))
            count += BitOperations.PopCount(b);
        return count;
    }
}
