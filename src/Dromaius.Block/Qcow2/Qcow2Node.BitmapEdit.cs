using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Block.Qcow2;

/// <summary>Changing the set of persistent bitmaps.</summary>
public sealed partial class Qcow2Node
{
    protected override DirtyBitmap AddPersistentBitmap(string name, long granularity)
    {
        CheckWritable();
        if (_header.Version < 3)
            throw new BlockException(BlockError.NotSupported, $"Cannot store dirty bitmaps in file '{FileName}'");
        if (granularity > 1 << 30)
            throw new BlockException(BlockError.Invalid, "Granularity is too large");
        LoadLive();
        if (_bitmaps.Count >= MaxBitmaps)
            throw new BlockException(BlockError.TooBig, "Maximum number of persistent bitmaps is already reached");
        return Exclusively(() =>
        {
            var bitmap = new Qcow2Bitmap { Name = name, GranularityBits = System.Numerics.BitOperations.Log2((ulong)granularity), IsAuto = true, IsNew = true };
            var bytes = BitmapBytes(bitmap);
            if (bytes > MaxBitmapBytes)
                throw new BlockException(BlockError.TooBig, "Too much space will be occupied by the bitmap. Use larger granularity");
            bitmap.TableSize = (int)((bytes + _clusterSize - 1) >> _clusterBits);
            var clusters = Math.Max(1, (bitmap.TableSize * 8L + _clusterSize - 1) >> _clusterBits);
            bitmap.TableOffset = _refcounts.AllocateRun(clusters) << _clusterBits;
            _file.Write(bitmap.TableOffset, new byte[clusters << _clusterBits]);
            bitmap.Live = NewLive(bitmap, new byte[bytes]);
            bitmap.InUse = true;
            // The newest is first among those of one session, which is the order that lists show backwards.
            _bitmaps.Insert(_bitmaps.FindIndex(static b => b.IsNew) is >= 0 and var first ? first : _bitmaps.Count, bitmap);
            MoveDirectory();
            return bitmap.Live;
        });
    }

    protected override void RemovePersistentBitmap(DirtyBitmap bitmap)
    {
        CheckWritable();
        var stored = _bitmaps.Find(b => b.Live == bitmap)!;
        _ = Exclusively(() =>
        {
            var table = ReadTable(stored.TableOffset, stored.TableSize);
            _ = _bitmaps.Remove(stored);
            MoveDirectory();
            foreach (var entry in table)
            {
                if ((entry & OffsetMask) != 0)
                    _refcounts.Add((long)(entry & OffsetMask) >> _clusterBits, -1);
            }

            FreeRun(stored.TableOffset, Math.Max(1, stored.TableSize * 8L));
            return true;
        });
    }

    /// <summary>Gives every stored bitmap as many clusters as the image's size takes now.</summary>
    private void ResizeBitmapTables()
    {
        if (_bitmaps.Count == 0)
            return;
        _ = Exclusively(() =>
        {
            var given = new List<(long Offset, long Bytes)>();
            foreach (var bitmap in _bitmaps)
            {
                var size = (int)((BitmapBytes(bitmap) + _clusterSize - 1) >> _clusterBits);
                if (size == bitmap.TableSize)
                    continue;
                var table = ReadTable(bitmap.TableOffset, bitmap.TableSize);
                var clusters = Math.Max(1, (size * 8L + _clusterSize - 1) >> _clusterBits);
                var offset = _refcounts.AllocateRun(clusters) << _clusterBits;
                var bytes = new byte[clusters << _clusterBits];
                for (var i = 0; i < table.Length; i++)
                {
                    if (i < size)
                        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * 8), table[i]);
                    else if ((table[i] & OffsetMask) != 0)
                        given.Add(((long)(table[i] & OffsetMask), _clusterSize));
                }

                _file.Write(offset, bytes);
                given.Add((bitmap.TableOffset, Math.Max(1, bitmap.TableSize * 8L)));
                (bitmap.TableOffset, bitmap.TableSize) = (offset, size);
            }

            if (given.Count == 0)
                return false;
            MoveDirectory();
            foreach (var (offset, bytes) in given)
                FreeRun(offset, bytes);
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
