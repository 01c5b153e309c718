namespace Dromaius.Net;

/// <summary>What a network adapter does for the cable's end that it holds. Used under the machine lock.</summary>
public interface INetworkAdapter
{
    /// <summary>What it takes besides plain frames now.</summary>
    OffloadFeatures Accepts => OffloadFeatures.None;

    /// <summary>Takes a frame; false if there is no room, and <see cref="NetEndpoint.ReadyForMore"/> follows then.</summary>
    bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload);

    /// <summary>The far end takes frames again.</summary>
    void OnPeerReady()
    {
    }

    /// <summary>The carrier came or went.</summary>
    void OnLinkChanged()
    {
    }

    /// <summary>Asks the driver to tell the network where the adapter is.</summary>
    void Announce()
    {
    }

    /// <summary>Which frames it lets through, for <c>query-rx-filter</c>; null if it does not say.</summary>
    RxFilter? Filter => null;
}

/// <summary>What a receive filter lets through, as the machine protocol says it.</summary>
public sealed record RxFilter
{
    public bool Promiscuous { get; init; }

    /// <summary><c>normal</c>, <c>none</c> or <c>all</c>.</summary>
    public string Multicast { get; init; } = "normal";
    public string Unicast { get; init; } = "normal";
    public string Vlan { get; init; } = "all";
    public bool BroadcastAllowed { get; init; } = true;
    public bool MulticastOverflow { get; init; }
    public bool UnicastOverflow { get; init; }
    public MacAddress MainMac { get; init; }
    public IReadOnlyList<int> VlanTable { get; init; } = [];
    public IReadOnlyList<MacAddress> UnicastTable { get; init; } = [];
    public IReadOnlyList<MacAddress> MulticastTable { get; init; } = [];
}

/// <summary>The adapter's end of a cable.</summary>
/// <param name="name">The device's id, or its model and a number.</param>
/// <param name="model">The device type.</param>
/// <param name="mac">The address in the adapter's PROM.</param>
/// <param name="adapter">The device itself.</param>
public sealed class Nic(string name, string model, MacAddress mac, INetworkAdapter adapter) : NetEndpoint(name)
{
    public override string Kind => "nic";
    public string Model => model;

    /// <summary>As listings show it; drivers may set another.</summary>
    public MacAddress Mac { get; set; } = mac;
    public INetworkAdapter Adapter => adapter;

    public override string Description => $"model={model},macaddr={Mac}";

    public override OffloadFeatures Accepts => adapter.Accepts;

    /// <summary>The driver changed the receive filter; told once until somebody asks for it.</summary>
    public event Action<Nic>? FilterChanged;

    /// <summary>Somebody was told that the filter changed and has not asked for it since.</summary>
    public bool IsFilterNoticePending { get; private set; }

    public void NoteFilterChange()
    {
        if (IsFilterNoticePending)
            return;
        IsFilterNoticePending = FilterChanged != null;
        FilterChanged?.Invoke(this);
    }

    /// <summary>The adapter takes other things besides plain frames than before.</summary>
    public void NoteOffloads() => Peer?.OnPeerOffloadsChanged();

    /// <summary>The filter for somebody who asks; changes are told again from now on.</summary>
    public RxFilter? QueryFilter()
    {
        IsFilterNoticePending = false;
        return adapter.Filter;
    }

    protected internal override bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload) => adapter.Receive(frame, offload);

    protected internal override void OnPeerReady() => adapter.OnPeerReady();

    protected internal override void OnLinkChanged() => adapter.OnLinkChanged();
}
