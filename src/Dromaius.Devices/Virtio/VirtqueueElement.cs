using System.Buffers.Binary;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Virtio;

/// <summary>A chain of buffers that the driver made available: first those the device reads, then those it writes.</summary>
public sealed class VirtqueueElement
{
    private readonly List<(ulong Address, int Length)> _readable = [];
    private readonly List<(ulong Address, int Length)> _writable = [];

    /// <summary>Index of the first descriptor; names the chain in the used ring.</summary>
    public ushort Head { get; internal set; }

    /// <summary>Bytes for the device to read.</summary>
    public long ReadableLength { get; private set; }

    /// <summary>Bytes for the device to write.</summary>
    public long WritableLength { get; private set; }

    /// <summary>Descriptors of a packed ring that the chain occupies.</summary>
    internal int Descriptors { get; set; }

    internal bool HasWritable => _writable.Count > 0;

    internal int Count => _readable.Count + _writable.Count;

    internal void Clear()
    {
        _readable.Clear();
        _writable.Clear();
        ReadableLength = WritableLength = 0;
    }

    internal void Add(ulong address, int length, bool writable)
    {
        if (writable)
        {
            _writable.Add((address, length));
            WritableLength += length;
        }
        else
        {
            _readable.Add((address, length));
            ReadableLength += length;
        }
    }

    /// <summary>Copies what the driver sends, from an offset on.</summary>
    /// <returns>How many bytes there were, at most the length asked for.</returns>
    public int Read(AddressSpace memory, long offset, Span<byte> into) => Copy(_readable, offset, into.Length, into, default, memory);

    /// <summary>Copies to what the driver receives, from an offset on.</summary>
    /// <returns>How many bytes fitted.</returns>
    public int Write(AddressSpace memory, long offset, ReadOnlySpan<byte> from) => Copy(_writable, offset, from.Length, default, from, memory);

    /// <summary>Adds a part of the readable buffers to a transfer.</summary>
    public void MapReadable(DmaBuffer to, long offset, long length) => Map(_readable, to, offset, length);

    /// <summary>Adds a part of the writable buffers to a transfer.</summary>
    public void MapWritable(DmaBuffer to, long offset, long length) => Map(_writable, to, offset, length);

    private static void Map(List<(ulong Address, int Length)> parts, DmaBuffer to, long offset, long length)
    {
        foreach (var (address, size) in parts)
        {
            if (length <= 0)
                return;
            if (offset >= size)
            {
                offset -= size;
                continue;
            }

            var n = (int)Math.Min(size - offset, length);
            to.Add(address + (ulong)offset, n);
            offset = 0;
            length -= n;
        }
    }

    private static int Copy(List<(ulong Address, int Length)> parts, long offset, int length, Span<byte> into, ReadOnlySpan<byte> from,
        AddressSpace memory)
    {
        var done = 0;
        foreach (var (address, size) in parts)
        {
            if (done >= length)
                break;
            if (offset >= size)
            {
                offset -= size;
                continue;
            }

            var n = (int)Math.Min(size - offset, length - done);
            if (into.IsEmpty)
                _ = memory.Write(address + (ulong)offset, from.Slice(done, n));
            else
                _ = memory.Read(address + (ulong)offset, into.Slice(done, n));
            offset = 0;
            done += n;
        }

        return done;
    }
}
