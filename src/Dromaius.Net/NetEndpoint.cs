namespace Dromaius.Net;

/// <summary>
/// One end of a cable: an adapter, a backend or a port of a hub. Frames are Ethernet frames without preamble and check sequence.
/// Everything is used under the machine lock; a backend with a thread of its own takes the lock to hand frames over.
/// </summary>
/// <remarks>
/// Flow control goes both ways: who cannot take a frame refuses it, and calls <see cref="ReadyForMore"/> once it can; who was
/// refused keeps the frame and waits for <see cref="OnPeerReady"/>.
/// </remarks>
public abstract class NetEndpoint : IDisposable
{
    /// <summary>The longest frame, with segments still to be made.</summary>
    public const int MaxFrame = 65535 + 40 + 18;

    private readonly List<FrameDump> _dumps = [];
    private bool _linkUp = true;

    protected NetEndpoint(string name) => Name = name;

    /// <summary>The id of the backend or adapter.</summary>
    public string Name { get; }

    /// <summary>The word after <c>type=</c> in listings.</summary>
    public abstract string Kind { get; }

    /// <summary>The rest of the line in listings.</summary>
    public virtual string Description => "";
    public NetEndpoint? Peer { get; private set; }

    /// <summary>Frames pass only while both ends are up.</summary>
    public bool LinkUp
    {
        get => _linkUp;
        set
        {
            if (_linkUp == value)
                return;
            _linkUp = value;
            OnLinkChanged();
            Peer?.OnLinkChanged();
            if (value)
                Peer?.OnPeerReady();
        }
    }

    /// <summary>Both ends are up.</summary>
    public bool HasCarrier => _linkUp && Peer is not { LinkUp: false };

    /// <summary>The machine is stopped: nobody takes frames.</summary>
    public bool IsPaused { get; internal set; }

    /// <summary>What this end takes besides plain frames; may change while in use.</summary>
    public virtual OffloadFeatures Accepts => OffloadFeatures.None;

    /// <summary>What the far end takes.</summary>
    public OffloadFeatures PeerAccepts => Peer is { _dumps.Count: 0 } peer && _dumps.Count == 0 ? peer.Accepts : OffloadFeatures.None;

    /// <summary>Recorders that see what passes this end.</summary>
    public IReadOnlyList<FrameDump> Dumps => _dumps;

    /// <summary>Connects two ends.</summary>
    public static void Connect(NetEndpoint a, NetEndpoint b)
    {
        a.Peer = b;
        b.Peer = a;
    }

    /// <summary>Takes the cable out.</summary>
    public void Disconnect()
    {
        if (Peer is not { } peer)
            return;
        Peer = null;
        peer.Peer = null;
        peer.OnLinkChanged();
        OnLinkChanged();
    }

    public void Add(FrameDump dump) => _dumps.Add(dump);

    public void Remove(FrameDump dump) => _dumps.Remove(dump);

    /// <summary>Sends a frame to the far end. Nobody there, or no carrier: the frame is lost, as on a wire.</summary>
    /// <returns>False if there is no room: wait for <see cref="OnPeerReady"/> and send it again.</returns>
    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (Peer is not { } peer || !HasCarrier || frame.Length > MaxFrame)
            return true;
        if (peer.IsPaused)
            return false;
        // What the far end cannot do is done here.
        if (!Segmenter.IsTaken(offload, PeerAccepts))
            return Segmenter.Split(frame, offload, this);
        if (!peer.Receive(frame, offload))
            return false;
        foreach (var dump in _dumps)
            dump.Record(frame, outgoing: true);
        foreach (var dump in peer._dumps)
            dump.Record(frame, outgoing: false);
        return true;
    }

    /// <summary>Tells the far end that there is room again.</summary>
    public void ReadyForMore() => Peer?.OnPeerReady();

    /// <summary>A frame from the far end.</summary>
    /// <returns>False if there is no room; <see cref="ReadyForMore"/> follows then.</returns>
    protected internal abstract bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload);

    /// <summary>The far end, which had refused a frame, takes frames again.</summary>
    protected internal virtual void OnPeerReady()
    {
    }

    /// <summary>What the far end takes besides plain frames may have changed.</summary>
    protected internal virtual void OnPeerOffloadsChanged()
    {
    }

    /// <summary><see cref="HasCarrier"/> may have changed.</summary>
    protected internal virtual void OnLinkChanged()
    {
    }

    public virtual void Dispose()
    {
        Disconnect();
        GC.SuppressFinalize(this);
    }
}
