using System.Buffers;
using System.Numerics;

namespace Dromaius.Net.User;

/// <summary>Bytes of a stream in order, with room beyond them for bytes that came too early. Grows as needed up to its limit.</summary>
internal sealed class ByteRing(int limit) : IDisposable
{
    private const int FirstSize = 16 << 10;
    private byte[] _data = [];
    private int _size, _head;

    /// <summary>Bytes there.</summary>
    public int Count { get; private set; }

    public int Limit => limit;

    public int Free => limit - Count;

    /// <summary>A piece of room behind the last byte, as far as it lies in one piece; empty when full.</summary>
    public Span<byte> WriteSpan()
    {
        if (Count == _size)
            Grow(Count + 1);
        var tail = (_head + Count) & (_size - 1);
        return _data.AsSpan(tail, Math.Min(_size - Count, _size - tail));
    }

    /// <summary>So many bytes were written to <see cref="WriteSpan"/>, or by <see cref="WriteAt"/>.</summary>
    public void Commit(int count) => Count += count;

    /// <summary>Writes behind the head at an offset, also beyond <see cref="Count"/>; the caller has checked the limit.</summary>
    public void WriteAt(int offset, ReadOnlySpan<byte> bytes)
    {
        if (offset + bytes.Length > _size)
            Grow(offset + bytes.Length);
        var at = (_head + offset) & (_size - 1);
        var first = Math.Min(bytes.Length, _size - at);
        bytes[..first].CopyTo(_data.AsSpan(at));
        bytes[first..].CopyTo(_data);
    }

    /// <summary>The first bytes, as far as they lie in one piece.</summary>
    public ReadOnlySpan<byte> ReadSpan() => _data.AsSpan(_head, Math.Min(Count, _size - _head));

    public void CopyTo(int offset, Span<byte> into)
    {
        var at = (_head + offset) & (_size - 1);
        var first = Math.Min(into.Length, _size - at);
        _data.AsSpan(at, first).CopyTo(into);
        _data.AsSpan(0, into.Length - first).CopyTo(into[first..]);
    }

    public void Consume(int count)
    {
        Count -= count;
        _head = _size == 0 ? 0 : (_head + count) & (_size - 1);
    }

    public void Dispose()
    {
        if (_data.Length > 0)
            ArrayPool<byte>.Shared.Return(_data);
        (_data, _size, _head, Count) = ([], 0, 0, 0);
    }

    private void Grow(int needed)
    {
        var size = Math.Min((int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(needed, FirstSize)), limit);
        if (size <= _size)
            return;
        // What lies beyond the count is kept too.
        var next = ArrayPool<byte>.Shared.Rent(size);
        if (_size > 0)
        {
            _data.AsSpan(_head, _size - _head).CopyTo(next);
            _data.AsSpan(0, _head).CopyTo(next.AsSpan(_size - _head));
            ArrayPool<byte>.Shared.Return(_data);
        }

        (_data, _size, _head) = (next, size, 0);
    }
}
