using Dromaius.Core.Errors;
using Dromaius.Core.Sockets;
using Dromaius.Core.Time;

namespace Dromaius.Net.User;

/// <summary>
/// <c>-netdev user</c>: a <see cref="UserStack"/> on a thread of its own. Frames of the guest wait in a bounded queue for the thread;
/// frames for the guest are handed over in batches under the machine lock.
/// </summary>
public sealed class UserBackend : NetEndpoint
{
    private readonly Lock _machineLock;
    private readonly Poller _poller = new();
    private readonly UserStack _stack;
    private readonly FrameQueue _in = new(512, 4 << 20);
    private readonly Lock _stackGate = new();
    private readonly Thread _thread;
    private bool _refused;

    /// <summary>A fault ended the thread.</summary>
    private volatile bool _dead;
    private bool _guestBusy;
    private OffloadFeatures _guestAccepts;
    private volatile bool _stop;

    /// <param name="name">The id.</param>
    /// <param name="settings">The network.</param>
    /// <param name="clock">For time-outs.</param>
    /// <param name="machineLock">Taken to hand frames over.</param>
    public UserBackend(string name, UserNetSettings settings, Clock clock, Lock machineLock)
        : base(name)
    {
        _machineLock = machineLock;
        _stack = new UserStack(settings, clock, _poller, () => _guestAccepts);
        _thread = new Thread(Run) { IsBackground = true, Name = $"net {name}" };
    }

    public override string Kind => "user";

    public override string Description =>
        $"net={HostEndpoint.ToIpAddress(HostEndpoint.Map(_stack.Settings.Network & _stack.Settings.Mask))},restrict={(_stack.Settings.Restrict ? "on" : "off")}";

    public override OffloadFeatures Accepts => OffloadFeatures.Checksum | OffloadFeatures.Tcp4 | OffloadFeatures.Tcp6 | OffloadFeatures.Ecn;

    public UserNetSettings Settings => _stack.Settings;

    /// <summary>A folder that is shared as long as the network is there.</summary>
    internal SmbServer? Smb { get; set; }

    /// <summary>Begins to work; until then forwards can be added.</summary>
    public void Start() => _thread.Start();

    /// <summary>Does something with the stack while its thread does not.</summary>
    public T WithStack<T>(Func<UserStack, T> action)
    {
        lock (_stackGate)
        {
            var result = action(_stack);
            _poller.Wake();
            return result;
        }
    }

    protected internal override bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (_dead)
            return true; // lost, as on a wire
        if (!_in.TryAdd(frame, offload))
        {
            Volatile.Write(ref _refused, true);
            _poller.Wake(); // the thread may have emptied it meanwhile
            return false;
        }

        _poller.Wake();
        return true;
    }

    protected internal override void OnPeerReady()
    {
        Volatile.Write(ref _guestBusy, false);
        if (!_dead)
            _poller.Wake();
    }

    protected internal override void OnLinkChanged() => OnPeerReady();

    public override void Dispose()
    {
        if (_stop)
            return;
        _stop = true;
        base.Dispose();
        Smb?.Dispose();
        if ((_thread.ThreadState & ThreadState.Unstarted) != 0)
        {
            Release();
            return;
        }

        _poller.Wake();
        // The thread may be waiting for the lock that the caller holds; it ends by itself then.
        if (!_machineLock.IsHeldByCurrentThread)
            _thread.Join();
    }

    private void Release()
    {
        lock (_stackGate)
        {
            _stack.Dispose();
            _poller.Dispose();
        }
    }

    private void Run()
    {
        try
        {
            while (!_stop)
                Turn();
        }
        catch (Exception e)
        {
            // A fault of ours ends the network, not the machine.
            GuestLog.Write($"netdev {Name}: {e}");
            _dead = true;
        }

        Release();
    }

    private void Turn()
    {
        int wait;
        lock (_stackGate)
            wait = !_in.IsEmpty || (_stack.HasPending && !_stack.Out.IsFull) || (!_stack.Out.IsEmpty && !Volatile.Read(ref _guestBusy)) ? 0 : _stack.MillisecondsToDeadline;
        var ready = _poller.Wait(wait);
        lock (_stackGate)
        {
            TakeFromGuest();
            for (var i = 0; i < ready; i++)
            {
                var (tag, events) = _poller[i];
                _stack.OnEvents(tag, events);
            }

            _stack.RunTimers();
            _stack.Flush();
        }

        if (_refused || !_stack.Out.IsEmpty)
            HandOver();
    }

    private void TakeFromGuest()
    {
        // Bounded, so that sockets have their turn.
        for (var i = 0; i < 512 && _in.TryPeek(out var frame, out var offload); i++)
        {
            _stack.Input(frame, offload);
            _in.Remove();
        }
    }

    /// <summary>Gives the guest what is for it, and tells it that there is room again.</summary>
    private void HandOver()
    {
        lock (_machineLock)
        {
            _guestAccepts = PeerAccepts;
            if (!Volatile.Read(ref _guestBusy))
            {
                while (_stack.Out.TryPeek(out var frame, out var offload))
                {
                    if (!Send(frame, offload))
                    {
                        Volatile.Write(ref _guestBusy, true);
                        break;
                    }

                    _stack.Out.Remove();
                }
            }

            if (_refused && _in.IsHalfEmpty)
            {
                _refused = false;
                ReadyForMore();
            }
        }
    }
}
