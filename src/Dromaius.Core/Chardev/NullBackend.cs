using Dromaius.Core.Time;

namespace Dromaius.Core.Chardev;

/// <summary>Takes everything and says nothing.</summary>
public sealed class NullBackend(EventLoop loop, string id, string description = "null") : CharBackend(loop, id)
{
    public override string Description => description;

    protected override void Send(ReadOnlySpan<byte> bytes)
    {
    }

    protected override void Close()
    {
    }
}

/// <summary>Keeps the last bytes in memory, for whoever asks.</summary>
public sealed class RingBufferBackend : CharBackend
{
    private readonly byte[] _ring;
    private long _written;

    /// <param name="loop">Where events are told.</param>
    /// <param name="id">The chardev's name.</param>
    /// <param name="size">Bytes kept; a power of two.</param>
    public RingBufferBackend(EventLoop loop, string id, int size = 65536)
        : base(loop, id)
    {
        _ring = new byte[size];
        PostOpen(true);
    }

    public override string Description => "ringbuf";

    /// <summary>What is held, oldest first.</summary>
    public byte[] Snapshot()
    {
        var count = (int)Math.Min(_written, _ring.Length);
        var bytes = new byte[count];
        for (var i = 0; i < count; i++)
            bytes[i] = _ring[(_written - count + i) % _ring.Length];
        return bytes;
    }

    protected override void Send(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
            _ring[_written++ % _ring.Length] = b;
    }

    protected override void Close()
    {
    }
}
