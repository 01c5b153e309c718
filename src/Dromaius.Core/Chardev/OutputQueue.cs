namespace Dromaius.Core.Chardev;

/// <summary>
/// Bytes on their way out. What the host takes at once is written at once; the rest waits in a bounded queue that a thread
/// of its own empties, so that the machine lock is not held while a pipe or a terminal is full.
/// </summary>
internal sealed class OutputQueue : IDisposable
{
    /// <summary>What a descriptor that polls writable takes without blocking (PIPE_BUF on Linux).</summary>
    private const int AtOnce = 4096;
    private const int Capacity = 1 << 20;

    private readonly Func<int> _isWritable;
    private readonly WriteBytes _write;
    private readonly bool _lossless;
    private readonly object _gate = new();
    private byte[] _ring = new byte[Capacity];
    private int _head;
    private int _count;
    private bool _started;
    private bool _closed;
    private bool _failed;

    /// <summary>Writes all the bytes, waiting if it must; false when the peer is gone.</summary>
    public delegate bool WriteBytes(ReadOnlySpan<byte> bytes);

    /// <param name="isWritable">Positive: a write of 4096 bytes would not block; 0: it might; negative: nobody listens.</param>
    /// <param name="write">Writes all the bytes.</param>
    /// <param name="lossless">When the queue is full: wait (files, terminals) or drop the newest bytes (network peers). Where bytes are
    /// dropped, a write that finds room is taken whole, however long: a monitor's answer must not lose its end.</param>
    public OutputQueue(Func<int> isWritable, WriteBytes write, bool lossless)
    {
        _isWritable = isWritable;
        _write = write;
        _lossless = lossless;
    }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        lock (_gate)
        {
            if (_count == 0 && !_failed)
            {
                while (!bytes.IsEmpty)
                {
                    var state = _isWritable();
                    if (state < 0)
                        return;
                    if (state == 0)
                        break;
                    var n = Math.Min(bytes.Length, AtOnce);
                    if (!_write(bytes[..n]))
                    {
                        _failed = true;
                        return;
                    }

                    bytes = bytes[n..];
                }
            }

            Enqueue(bytes);
        }
    }

    /// <summary>Forgets what waits and any error: a new peer is there.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            _count = 0;
            _failed = false;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Waits until everything is written, at most a moment for a reader that does not read.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            var until = Environment.TickCount64 + 2000;
            while (_count > 0 && !_failed && Environment.TickCount64 < until)
                Monitor.Wait(_gate, 50);
            _closed = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Enqueue(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty || _failed || _closed)
            return;
        if (!_started)
        {
            _started = true;
            new Thread(Drain) { IsBackground = true, Name = "chardev output" }.Start();
        }

        if (!_lossless)
        {
            if (_count >= Capacity)
                return;
            Grow(_count + bytes.Length);
        }

        while (!bytes.IsEmpty && !_failed && !_closed)
        {
            var room = _ring.Length - _count;
            if (room == 0)
            {
                Monitor.Wait(_gate);
                continue;
            }

            var tail = (_head + _count) % _ring.Length;
            var n = Math.Min(Math.Min(room, bytes.Length), _ring.Length - tail);
            bytes[..n].CopyTo(_ring.AsSpan(tail));
            _count += n;
            bytes = bytes[n..];
        }

        Monitor.PulseAll(_gate);
    }

    private void Grow(int needed)
    {
        if (needed <= _ring.Length)
            return;
        var ring = new byte[needed];
        var first = Math.Min(_count, _ring.Length - _head);
        _ring.AsSpan(_head, first).CopyTo(ring);
        _ring.AsSpan(0, _count - first).CopyTo(ring.AsSpan(first));
        (_ring, _head) = (ring, 0);
    }

    private void Drain()
    {
        var chunk = new byte[AtOnce];
        while (true)
        {
            int n;
            lock (_gate)
            {
                while (_count == 0 && !_closed)
                    Monitor.Wait(_gate);
                if (_count == 0)
                    return;
                n = Math.Min(Math.Min(_count, chunk.Length), _ring.Length - _head);
                _ring.AsSpan(_head, n).CopyTo(chunk);
            }

            var ok = _write(chunk.AsSpan(0, n));
            lock (_gate)
            {
                // The bytes leave the queue only now, so that a direct write cannot overtake them.
                _failed |= !ok;
                if (_failed || _count < n)
                    _count = 0;
                else
                {
                    _head = (_head + n) % _ring.Length;
                    _count -= n;
                }

                if (_count == 0 && _ring.Length > Capacity)
                    (_ring, _head) = (new byte[Capacity], 0);

                Monitor.PulseAll(_gate);
            }
        }
    }
}
