namespace Dromaius.Net;

/// <summary>A repeater: what comes in at one port goes out at all others (<c>hubport</c>, and what <c>-net</c> connects to).</summary>
public sealed class Hub(int id)
{
    private readonly List<HubPort> _ports = [];

    public int Id => id;
    public IReadOnlyList<HubPort> Ports => _ports;

    /// <summary>A new port.</summary>
    /// <param name="name">Its name, or null for the usual one.</param>
    public HubPort AddPort(string? name = null)
    {
        var port = new HubPort(this, name ?? $"hub{id}port{_ports.Count}");
        _ports.Add(port);
        return port;
    }

    internal void Remove(HubPort port) => _ports.Remove(port);

    /// <summary>Repeats a frame; a port that is not ready misses it, as on a shared wire.</summary>
    internal void Repeat(HubPort from, ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        foreach (var port in _ports)
        {
            if (port != from)
                _ = port.Send(frame, offload);
        }
    }

    /// <summary>With just two ends the hub is a cable, and what the other end can do this one can.</summary>
    internal OffloadFeatures AcceptsFrom(HubPort from) =>
        _ports.Count == 2 ? (_ports[0] == from ? _ports[1] : _ports[0]).PeerAccepts : OffloadFeatures.None;

    internal void NoteOffloads(HubPort from)
    {
        foreach (var port in _ports)
        {
            if (port != from)
                port.Peer?.OnPeerOffloadsChanged();
        }
    }

    /// <summary>Somebody has room again: whoever waits for the hub goes on.</summary>
    internal void Wake(HubPort from)
    {
        foreach (var port in _ports)
        {
            if (port != from)
                port.ReadyForMore();
        }
    }

    /// <summary>Somebody at another port would take a frame now, as far as one can tell.</summary>
    internal bool AnyReady(HubPort from)
    {
        var others = 0;
        foreach (var port in _ports)
        {
            if (port == from || port.Peer == null)
                continue;
            others++;
            if (!port.Peer.IsPaused && !port.IsBlocked)
                return true;
        }

        return others == 0;
    }
}

/// <summary>A port of a <see cref="Hub"/>.</summary>
public sealed class HubPort(Hub hub, string name) : NetEndpoint(name)
{
    public Hub Hub => hub;
    public override string Kind => "hubport";
    public override string Description => $"hubid={hub.Id}";

    public override OffloadFeatures Accepts => hub.AcceptsFrom(this);

    /// <summary>The last frame sent out here was refused.</summary>
    internal bool IsBlocked { get; private set; }

    protected internal override bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (!hub.AnyReady(this))
            return false;
        hub.Repeat(this, frame, offload);
        return true;
    }

    protected internal override void OnPeerOffloadsChanged() => hub.NoteOffloads(this);

    protected internal override void OnPeerReady()
    {
        IsBlocked = false;
        hub.Wake(this);
    }

    internal new bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        IsBlocked = !base.Send(frame, offload);
        return !IsBlocked;
    }

    public override void Dispose()
    {
        base.Dispose();
        hub.Remove(this);
    }
}
