namespace Dromaius.Net;

/// <summary>
/// Frames on their way between two threads, in buffers that are used again and again. Bounded by count and by bytes, so that
/// whoever fills it faster than it is emptied has to wait.
/// </summary>
public sealed class FrameQueue
{
    private const int SmallSize = 2048, LargeSize = NetEndpoint.MaxFrame + 64;
    private readonly Lock _gate = new();
    private readonly Entry[] _entries;
    private readonly int _maxBytes;
    private readonly Stack<byte[]> _small = new();
    private readonly Stack<byte[]> _large = new();
    private int _head, _count, _bytes;

    /// <param name="capacity">Frames.</param>
    /// <param name="maxBytes">Bytes of all frames.</param>
    public FrameQueue(int capacity = 256, int maxBytes = 2 << 20)
    {
        _entries = new Entry[capacity];
        _maxBytes = maxBytes;
    }

    private struct Entry
    {
        public byte[] Buffer;
        public int Length;
        public FrameOffload Offload;
    }

    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>No further frame goes in, whatever its size.</summary>
    public bool IsFull => Volatile.Read(ref _count) >= _entries.Length || Volatile.Read(ref _bytes) >= _maxBytes;

    /// <summary>Less than half of what fits is there.</summary>
    public bool IsHalfEmpty => Volatile.Read(ref _count) <= _entries.Length / 2 && Volatile.Read(ref _bytes) <= _maxBytes / 2;

    /// <summary>Copies a frame in; false when full.</summary>
    public bool TryAdd(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (Rent(frame.Length) is not { } buffer)
            return false;
        frame.CopyTo(buffer);
        Add(buffer, frame.Length, offload);
        return true;
    }

    /// <summary>A buffer to write a frame of at most this length in and give to <see cref="Add"/>; null when full.</summary>
    public byte[]? Rent(int length)
    {
        if (length > LargeSize || IsFull)
            return null;
        lock (_gate)
        {
            var pool = length <= SmallSize ? _small : _large;
            return pool.TryPop(out var buffer) ? buffer : new byte[length <= SmallSize ? SmallSize : LargeSize];
        }
    }

    /// <summary>Queues a buffer from <see cref="Rent"/>. One thread adds, so there is room still.</summary>
    public void Add(byte[] buffer, int length, in FrameOffload offload)
    {
        lock (_gate)
        {
            ref var entry = ref _entries[(_head + _count) % _entries.Length];
            entry.Buffer = buffer;
            entry.Length = length;
            entry.Offload = offload;
            _count++;
            _bytes += length;
        }
    }

    /// <summary>The oldest frame, which stays until <see cref="Remove"/>.</summary>
    public bool TryPeek(out ReadOnlySpan<byte> frame, out FrameOffload offload)
    {
        lock (_gate)
        {
            if (_count == 0)
            {
                frame = default;
                offload = default;
                return false;
            }

            ref var entry = ref _entries[_head];
            frame = entry.Buffer.AsSpan(0, entry.Length);
            offload = entry.Offload;
            return true;
        }
    }

    /// <summary>Drops the oldest frame.</summary>
    public void Remove()
    {
        lock (_gate)
        {
            ref var entry = ref _entries[_head];
            (entry.Buffer.Length == SmallSize ? _small : _large).Push(entry.Buffer);
            _head = (_head + 1) % _entries.Length;
            _count--;
            _bytes -= entry.Length;
        }
    }

    public void Clear()
    {
        while (!IsEmpty)
            Remove();
    }
}
