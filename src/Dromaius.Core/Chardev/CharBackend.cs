using Dromaius.Core.Errors;
using Dromaius.Core.Time;

namespace Dromaius.Core.Chardev;

/// <summary>
/// What the backends share: input that reading threads hand over under the machine lock, no faster than the sink takes it;
/// the open state and its events; the log file (<c>logfile=</c>).
/// </summary>
public abstract class CharBackend : ICharBackend
{
    private readonly EventLoop _loop;
    private readonly Action _deliver;
    private readonly AutoResetEvent _consumed = new(false);
    private ReadOnlyMemory<byte> _pending;
    private ICharSink? _sink;
    private bool _open;
    private bool _disposed;

    protected CharBackend(EventLoop loop, string id)
    {
        _loop = loop;
        Id = id;
        _deliver = Deliver;
    }

    public string Id { get; }

    /// <summary>What <c>info chardev</c> and <c>query-chardev</c> show.</summary>
    public abstract string Description { get; }

    /// <summary>Gets a copy of everything the guest writes.</summary>
    public Stream? Log { get; set; }

    public ICharSink? Sink
    {
        get => _sink;
        set
        {
            _sink = value;
            if (value != null)
            {
                if (_open)
                    _loop.Post(() => _sink?.OnEvent(CharEvent.Opened));
                AcceptInput();
            }
        }
    }

    public virtual int TakeDescriptor() => -1;

    public void Write(ReadOnlySpan<byte> bytes)
    {
        if (Log is { } log)
            WriteLog(log, bytes);
        if (!_disposed)
            Send(bytes);
    }

    public virtual void SetModemLines(bool dtr, bool rts)
    {
    }

    public virtual void AcceptInput()
    {
        if (!_pending.IsEmpty)
            _loop.Post(_deliver);
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _consumed.Set();
        Close();
        Log?.Dispose();
    }

    protected bool IsDisposed => _disposed;

    protected abstract void Send(ReadOnlySpan<byte> bytes);

    /// <summary>Flushes what can be, gives descriptors back.</summary>
    protected abstract void Close();

    /// <summary>Hands input to the sink; called by the backend's reading thread, returns when all is taken.</summary>
    protected void PostInput(ReadOnlyMemory<byte> bytes)
    {
        if (bytes.IsEmpty || _disposed)
            return;
        _loop.Post(() =>
        {
            _pending = bytes;
            Deliver();
        });
        _consumed.WaitOne();
    }

    /// <summary>Records and tells that the peer came or went; called by any thread.</summary>
    protected void PostOpen(bool open) => _loop.Post(() =>
    {
        if (_open == open)
            return;
        _open = open;
        _sink?.OnEvent(open ? CharEvent.Opened : CharEvent.Closed);
    });

    protected void PostBreak() => _loop.Post(() => _sink?.OnEvent(CharEvent.Break));

    protected Thread StartThread(string role, Action body)
    {
        var thread = new Thread(() => body()) { IsBackground = true, Name = $"{Id} {role}" };
        thread.Start();
        return thread;
    }

    private void Deliver()
    {
        if (_pending.IsEmpty)
            return;
        while (!_pending.IsEmpty && _sink is { } sink)
        {
            var room = Math.Min(sink.CanReceive, _pending.Length);
            if (room <= 0)
                return;
            var part = _pending[..room];
            _pending = _pending[room..];
            sink.Receive(part.Span);
        }

        if (_pending.IsEmpty)
            _consumed.Set();
    }

    private void WriteLog(Stream log, ReadOnlySpan<byte> bytes)
    {
        try
        {
            log.Write(bytes);
        }
        catch (IOException e)
        {
            Log = null;
            GuestLog.Write($"chardev {Id}: log file: {e.Message}");
        }
    }
}
