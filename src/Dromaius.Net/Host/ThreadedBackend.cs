using Dromaius.Core.Errors;

namespace Dromaius.Net.Host;

/// <summary>
/// A backend with a thread that waits for frames of the host's and one that sends the guest's. The guest's frames are queued; what
/// the guest has no room for waits in the host.
/// </summary>
internal abstract class ThreadedBackend : NetEndpoint
{
    private readonly Lock _machineLock;
    private readonly FrameQueue _out = new();
    private readonly AutoResetEvent _queued = new(false), _ready = new(false);
    private bool _refused;
    private volatile bool _stop;
    private int _threads = 2;

    protected ThreadedBackend(string name, Lock machineLock)
        : base(name) => _machineLock = machineLock;

    protected bool IsStopped => _stop;

    /// <summary>Begins to work.</summary>
    public void Start()
    {
        Run("in", ReadFrames);
        Run("out", WriteFrames);
    }

    /// <summary>Waits for frames and passes them to <see cref="Deliver"/>, until <see cref="IsStopped"/>.</summary>
    protected abstract void ReadFrames();

    /// <summary>Sends a frame of the guest's; may wait.</summary>
    protected abstract void Write(ReadOnlySpan<byte> frame, in FrameOffload offload);

    /// <summary>Ends waits in the two methods above.</summary>
    protected abstract void Close();

    /// <summary>Both threads have ended: nothing is used any more.</summary>
    protected virtual void Release()
    {
    }

    /// <summary>Hands a frame to the guest, waiting for room.</summary>
    protected void Deliver(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        while (!_stop)
        {
            lock (_machineLock)
            {
                if (Send(frame, offload))
                    return;
            }

            _ready.WaitOne();
        }
    }

    protected internal override bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (!_out.TryAdd(frame, offload))
        {
            Volatile.Write(ref _refused, true);
            _queued.Set(); // the thread may have emptied it meanwhile
            return false;
        }

        _queued.Set();
        return true;
    }

    protected internal override void OnPeerReady() => _ready.Set();

    protected internal override void OnLinkChanged() => _ready.Set();

    public override void Dispose()
    {
        if (_stop)
            return;
        _stop = true;
        base.Dispose();
        Close();
        _queued.Set();
        _ready.Set();
    }

    private void WriteFrames()
    {
        while (!_stop)
        {
            _queued.WaitOne();
            while (!_stop && _out.TryPeek(out var frame, out var offload))
            {
                Write(frame, offload);
                _out.Remove();
                Resume();
            }

            Resume();
        }
    }

    private void Resume()
    {
        if (!Volatile.Read(ref _refused) || !_out.IsHalfEmpty)
            return;
        lock (_machineLock)
        {
            _refused = false;
            ReadyForMore();
        }
    }

    private void Run(string what, Action action)
    {
        new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception e) when (_stop && e is ObjectDisposedException or System.Net.Sockets.SocketException)
            {
                // Closed under us: the backend is gone.
            }
            catch (Exception e)
            {
                GuestLog.Write($"netdev {Name}: {e.Message}");
            }

            if (Interlocked.Decrement(ref _threads) == 0)
                Release();
        })
        {
            IsBackground = true,
            Name = $"net {Name} {what}",
        }.Start();
    }
}
