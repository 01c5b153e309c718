using Dromaius.Core.Devices;

namespace Dromaius.Devices.Input;

/// <summary>
/// The device end of a PS/2 port: what it has to say waits here until the host reads it. Events keep their order; responses, which
/// come first, are only kept until the next one.
/// </summary>
public abstract class Ps2Device : Device
{
    /// <summary>Events beyond this are dropped, as from a full keyboard buffer; answers to commands are not.</summary>
    protected const int EventLimit = 16;

    private readonly Queue<byte> _queue = new();
    private readonly Queue<byte> _response = new();

    /// <summary>Set by the controller: there is something new to fetch.</summary>
    internal Action? DataReady { get; set; }

    internal bool HasData => _response.Count + _queue.Count > 0;

    /// <summary>Takes the next byte.</summary>
    internal byte Take() => _response.TryDequeue(out var b) || _queue.TryDequeue(out b) ? b : (byte)0;

    /// <summary>A byte from the host.</summary>
    internal abstract void Write(byte value);

    protected int Queued => _queue.Count;

    protected void Clear()
    {
        _response.Clear();
        _queue.Clear();
    }

    /// <summary>
    /// The answer to a command, read before any event. A host that sends the next byte without having read it waits for one answer
    /// only, so that what it left of the answer before is dropped.
    /// </summary>
    protected void Respond(params ReadOnlySpan<byte> bytes)
    {
        _response.Clear();
        foreach (var b in bytes)
            _response.Enqueue(b);
        DataReady?.Invoke();
    }

    /// <summary>An answer to a command, in its turn behind events and other answers.</summary>
    protected void Reply(byte value)
    {
        // A host that never reads must not make it grow.
        if (_queue.Count < 256)
            _queue.Enqueue(value);
        DataReady?.Invoke();
    }

    /// <summary>A whole event, or nothing of it when there is no room.</summary>
    protected bool Send(ReadOnlySpan<byte> bytes, int limit = EventLimit)
    {
        if (_queue.Count + bytes.Length > limit)
            return false;
        foreach (var b in bytes)
            _queue.Enqueue(b);
        DataReady?.Invoke();
        return true;
    }
}
