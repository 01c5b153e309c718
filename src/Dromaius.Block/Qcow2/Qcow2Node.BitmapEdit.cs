using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Block.Qcow2;

/// <summary>Changing the set of persistent bitmaps.</summary>
public sealed partial class Qcow2Node
{
    public void AddBitmap(string name, long granularity = 0)
    {
        CheckWritable();
        if (_header.Version < 3)
            throw new BlockException(BlockError.NotSupported, $"Cannot store dirty bitmaps in file '{FileName}'");
        if (Bitmaps.Any(b => b.Name == name))
            throw new BlockException(BlockError.Exists, $"Bitmap already exists: {name}");
        if (name.Length is 0 or > 1023)
            throw new BlockException(BlockError.Invalid, name.Length == 0 ? "Bitmap name cannot be empty" : "Name too long");
        if (granularity == 0)
            granularity = Math.Clamp(_clusterSize, 4096, 65536);
        if (granularity is < 512 or > 1 << 30 || !long.IsPow2(granularity))
            throw new BlockException(BlockError.Invalid, granularity < 512 ? "Granularity must be at least 512" : "Granularity must be power of 2");
        _ = Exclusively(() =>
        {
            var bitmap = new Qcow2Bitmap { Name = name, GranularityBits = System.Numerics.BitOperations.Log2((ulong)granularity), IsAuto = true };
            var bytes = BitmapBytes(bitmap);
            if (bytes > MaxBitmapBytes)
                throw new BlockException(BlockError.TooBig, "Too much space will be occupied by the bitmap. Use larger granularity");
            bitmap.TableSize = (int)((bytes + _clusterSize - 1) >> _clusterBits);
            var clusters = Math.Max(1, (bitmap.TableSize * 8L + _clusterSize - 1) >> _clusterBits);
            bitmap.TableOffset = _refcounts.AllocateRun(clusters) << _clusterBits;
            _file.Write(bitmap.TableOffset, new byte[clusters << _clusterBits]);
            bitmap.Bits = new byte[(long)bitmap.TableSize << _clusterBits];
            bitmap.InUse = true;
            _recording = true;
            _bitmaps.Add(bitmap);
            MoveDirectory();
            return true;
        });
    }

    public void RemoveBitmap(string name)
    {
        CheckWritable();
        var bitmap = FindBitmap(name);
        _ = Exclusively(() =>
        {
            var table = ReadTable(bitmap.TableOffset, bitmap.TableSize);
            _ = _bitmaps.Remove(bitmap);
            MoveDirectory();
            foreach (var entry in table)
            {
                if ((entry & OffsetMask) != 0)
                    _refcounts.Add((long)(entry & OffsetMask) >> _clusterBits, -1);
            }

            FreeRun(bitmap.TableOffset, Math.Max(1, bitmap.TableSize * 8L));
            return true;
        });
    }

    public void ClearBitmap(string name) => ChangeBits(name, static bits => bits.AsSpan().Clear());

    public void EnableBitmap(string name, bool enabled)
    {
        CheckWritable();
        var bitmap = FindUsable(name);
        if (bitmap.IsAuto == enabled)
            return;
        _ = Exclusively(() =>
        {
            if (enabled)
            {
                bitmap.Bits = LoadBits(bitmap, BitmapBytes(bitmap));
                bitmap.InUse = true;
                _recording = true;
            }
            else
            {
                StoreBits(bitmap);
                bitmap.Bits = null;
                bitmap.InUse = false;
            }

            bitmap.IsAuto = enabled;
            StoreBitmapDirectory();
            return true;
        });
    }

    /// <summary>Sets the bits that are set in a bitmap of this or another image.</summary>
    public void MergeBitmap(string name, Qcow2Node source, string sourceName)
    {
        var from = source.FindUsable(sourceName);
        if (source.Length != Length)
            throw new BlockException(BlockError.Invalid, "Bitmaps are of different sizes and can't be merged");
        var bits = from.Bits ?? source.LoadBits(from, source.BitmapBytes(from));
        var to = FindUsable(name);
        ChangeBits(name, target =>
        {
            for (var bit = 0L; bit < bits.Length * 8L; bit++)
            {
                if ((bits[bit >> 3] >> (int)(bit & 7) & 1) == 0)
                    continue;
                var start = bit << from.GranularityBits;
                if (start >= Length)
                    break;
                var end = Math.Min(start + (1L << from.GranularityBits), Length) - 1;
                for (var b = start >> to.GranularityBits; b <= end >> to.GranularityBits; b++)
                    target[b >> 3] |= (byte)(1 << (int)(b & 7));
            }
        });
    }

    private Qcow2Bitmap FindBitmap(string name) =>
        Bitmaps.FirstOrDefault(b => b.Name == name) ?? throw new BlockException(BlockError.NoEntry, $"Dirty bitmap '{name}' not found");

    private Qcow2Bitmap FindUsable(string name)
    {
        var bitmap = FindBitmap(name);
        if (bitmap.InUse && bitmap.Bits == null)
        {
            throw new BlockException(BlockError.Invalid, $"Bitmap '{name}' is inconsistent and cannot be used")
            {
                Hint = "Try block-dirty-bitmap-remove to delete this bitmap from disk",
            };
        }

        return bitmap;
    }

    private void ChangeBits(string name, Action<byte[]> change)
    {
        CheckWritable();
        var bitmap = FindUsable(name);
        _ = Exclusively(() =>
        {
            if (bitmap.Bits is { } live)
            {
                change(live);
                return true;
            }

            bitmap.Bits = LoadBits(bitmap, BitmapBytes(bitmap));
            change(bitmap.Bits);
            StoreBits(bitmap);
            bitmap.Bits = null;
            return true;
        });
    }

    /// <summary>Writes the directory anew elsewhere and points the header there.</summary>
    private void MoveDirectory()
    {
        var old = _header.FindExtension(Qcow2Header.BitmapsExtension);
        using var stream = new MemoryStream();
        foreach (var bitmap in _bitmaps)
        {
            var name = Encoding.UTF8.GetBytes(bitmap.Name);
            var entry = new byte[(24 + bitmap.Extra.Length + name.Length + 7) & ~7];
            BinaryPrimitives.WriteInt64BigEndian(entry, bitmap.TableOffset);
            BinaryPrimitives.WriteInt32BigEndian(entry.AsSpan(8), bitmap.TableSize);
            BinaryPrimitives.WriteUInt32BigEndian(entry.AsSpan(12), bitmap.OtherFlags | (bitmap.InUse ? InUseFlag : 0) | (bitmap.IsAuto ? AutoFlag : 0));
            entry[16] = 1; // the only type: dirty tracking
            entry[17] = (byte)bitmap.GranularityBits;
            BinaryPrimitives.WriteUInt16BigEndian(entry.AsSpan(18), (ushort)name.Length);
            BinaryPrimitives.WriteInt32BigEndian(entry.AsSpan(20), bitmap.Extra.Length);
            bitmap.Extra.CopyTo(entry, 24);
            name.CopyTo(entry, 24 + bitmap.Extra.Length);
            stream.Write(entry);
        }

        _ = _header.Extensions.RemoveAll(static e => e.Type == Qcow2Header.BitmapsExtension);
        if (_bitmaps.Count > 0)
        {
            var clusters = (stream.Length + _clusterSize - 1) >> _clusterBits;
            var offset = _refcounts.AllocateRun(clusters) << _clusterBits;
            var bytes = new byte[clusters << _clusterBits];
            stream.ToArray().CopyTo(bytes, 0);
            _file.Write(offset, bytes);
            var extension = new byte[24];
            BinaryPrimitives.WriteInt32BigEndian(extension, _bitmaps.Count);
            BinaryPrimitives.WriteInt64BigEndian(extension.AsSpan(8), stream.Length);
            BinaryPrimitives.WriteInt64BigEndian(extension.AsSpan(16), offset);
            _header.Extensions.Add(new HeaderExtension(Qcow2Header.BitmapsExtension, extension));
            _header.Autoclear |= (ulong)AutoclearFeatures.Bitmaps;
        }
        else
            _header.Autoclear &= ~(ulong)AutoclearFeatures.Bitmaps;
        WriteBackUnderLock();
        _file.Flush();
        WriteHeader();
        if (old is { Length: >= 24 })
            FreeRun((long)U64(old, 16), (long)U64(old, 8));
    }
}
