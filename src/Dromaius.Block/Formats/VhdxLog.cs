using System.Buffers.Binary;

namespace Dromaius.Block.Formats;

/// <summary>The log of a VHDX image: changes of metadata that may not have reached their place. [MS-VHDX], "Log".</summary>
internal sealed class VhdxLog(BlockNode file, byte[] header)
{
    private const int Sector = 4096;

    private sealed record Entry(long At, ulong Sequence, uint Tail, byte[] Bytes);

    /// <summary>Applies what is in the log, and empties it.</summary>
    public void Replay(bool readOnly)
    {
        var length = BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(68));
        var offset = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(72));
        if (length is 0 or > 256 << 20 || length % (1 << 20) != 0 || offset < 1 << 20 || offset > file.Length - length)
            throw new BlockException(BlockError.Invalid, "VHDX log is invalid");
        var log = new byte[length];
        file.ReadPadded(offset, log);
        var entries = Find(log);
        if (entries.Count > 0)
        {
            if (readOnly)
            {
                throw new BlockException(BlockError.NotPermitted,
                    $"VHDX image file '{file.FileName}' opened read-only, but contains a log that needs to be replayed")
                {
                    Hint = $"To replay the log, run:\nqemu-img check -r all '{file.FileName}'",
                };
            }

            foreach (var entry in entries)
                Apply(entry.Bytes);
            file.Flush();
        }
    }

    /// <summary>The entries to apply in order: from the tail that the newest one names up to it.</summary>
    private List<Entry> Find(byte[] log)
    {
        var valid = new Dictionary<long, Entry>();
        for (var at = 0L; at < log.Length; at += Sector)
        {
            if (Parse(log, at) is { } entry)
                valid[at] = entry;
        }

        foreach (var head in valid.Values.OrderByDescending(static e => e.Sequence))
        {
            var list = new List<Entry>();
            var at = (long)head.Tail;
            while (valid.TryGetValue(at, out var entry) && (list.Count == 0 || entry.Sequence == list[^1].Sequence + 1))
            {
                list.Add(entry);
                if (entry == head)
                    return list;
                at = (at + entry.Bytes.Length) % log.Length;
            }
        }

        return [];
    }

    private Entry? Parse(byte[] log, long at)
    {
        var head = log.AsSpan((int)at, 64);
        if (!head[..4].SequenceEqual("loge"u8) || !head[32..48].SequenceEqual(header.AsSpan(48, 16)))
            return null;
        var length = BinaryPrimitives.ReadUInt32LittleEndian(head[8..]);
        var tail = BinaryPrimitives.ReadUInt32LittleEndian(head[12..]);
        if (length == 0 || length % Sector != 0 || length > log.Length || tail % Sector != 0 || tail >= log.Length)
            return null;
        var bytes = new byte[length];
        var first = (int)Math.Min(length, log.Length - at);
        log.AsSpan((int)at, first).CopyTo(bytes);
        log.AsSpan(0, (int)length - first).CopyTo(bytes.AsSpan(first));
        if (VhdxNode.Checksum(bytes, 4) != BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4)))
            return null;
        return new Entry(at, BinaryPrimitives.ReadUInt64LittleEndian(head[16..]), tail, bytes);
    }

    private void Apply(byte[] entry)
    {
        var count = BinaryPrimitives.ReadUInt32LittleEndian(entry.AsSpan(24));
        var data = (64 + count * 32L + Sector - 1) / Sector * Sector;
        if (data > entry.Length)
            throw new BlockException(BlockError.Invalid, "VHDX log entry is invalid");
        for (var i = 0; i < count; i++)
        {
            var descriptor = entry.AsSpan(64 + i * 32, 32);
            var target = BinaryPrimitives.ReadInt64LittleEndian(descriptor[16..]);
            if (target < 0 || target % Sector != 0 || target > 1L << 50)
                throw new BlockException(BlockError.Invalid, "VHDX log entry is invalid");
            if (descriptor[..4].SequenceEqual("zero"u8))
            {
                var length = BinaryPrimitives.ReadInt64LittleEndian(descriptor[8..]);
                if (length < 0 || length > 1L << 40)
                    throw new BlockException(BlockError.Invalid, "VHDX log entry is invalid");
                file.WriteZeroes(target, length, true);
                continue;
            }

            if (!descriptor[..4].SequenceEqual("desc"u8) || data + Sector > entry.Length)
                throw new BlockException(BlockError.Invalid, "VHDX log entry is invalid");
            // A sector is the descriptor's first eight and last four bytes around what the log holds.
            var sector = new byte[Sector];
            descriptor.Slice(8, 8).CopyTo(sector);
            entry.AsSpan((int)data + 8, Sector - 12).CopyTo(sector.AsSpan(8));
            descriptor.Slice(4, 4).CopyTo(sector.AsSpan(Sector - 4));
            file.Write(target, sector);
            data += Sector;
        }
    }
}
