using System.Text;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Time;
using Dromaius.Net.User;

namespace Dromaius.Net;

/// <summary>All networks of a machine: backends by id, adapters, hubs. Used under the machine lock, or before the machine runs.</summary>
public sealed class NetworkSet(Clock clock, Lock machineLock) : IDisposable
{
    private const ulong FirstMac = 0x5254_0012_3456;
    private readonly List<NetEndpoint> _backends = [];
    private readonly List<Nic> _nics = [];
    private readonly SortedDictionary<int, Hub> _hubs = [];
    private readonly Dictionary<string, FrameFilter> _filters = [];
    private readonly HashSet<ulong> _macs = [];
    private readonly Dictionary<string, int> _named = [];
    private int _made;
    private bool _paused = true;

    public Clock Clock => clock;
    public Lock MachineLock => machineLock;
    public IReadOnlyList<NetEndpoint> Backends => _backends;
    public IReadOnlyList<Nic> Nics => _nics;
    public IEnumerable<Hub> Hubs => _hubs.Values;

    /// <summary>Rounds of <c>announce_self</c>.</summary>
    public Announcer Announcer => field ??= new(this);

    /// <summary>What <c>-object filter-dump</c> made, by id.</summary>
    public IReadOnlyDictionary<string, FrameFilter> Filters => _filters;

    /// <summary>Makes a character device of a description, for forwards to one; null where there are none.</summary>
    public Func<string, ICharBackend>? OpenChardev { get; set; }

    /// <summary>Where warnings go.</summary>
    public Action<string> Warn { get; set; } = static _ => { };

    /// <summary>A driver changed its adapter's receive filter.</summary>
    public event Action<Nic>? FilterChanged;

    /// <summary>While the machine is stopped nothing passes.</summary>
    public bool IsPaused
    {
        get => _paused;
        set
        {
            if (_paused == value)
                return;
            _paused = value;
            foreach (var end in All)
                end.IsPaused = value;
            if (value)
                return;
            foreach (var end in All.ToArray())
                end.ReadyForMore();
        }
    }

    private IEnumerable<NetEndpoint> All => _backends.Concat(_nics).Concat(_hubs.Values.SelectMany(static h => h.Ports).Where(p => !_backends.Contains(p)));

    /// <summary>A name for a backend that has none.</summary>
    public string NextBackendName() => $"#net{_made++:000}";

    public NetEndpoint? FindBackend(string id) => _backends.Find(b => b.Name == id);

    public Hub Hub(int id)
    {
        if (!_hubs.TryGetValue(id, out var hub))
            _hubs[id] = hub = new Hub(id);
        return hub;
    }

    /// <summary>A port of a hub as a backend that an adapter connects to.</summary>
    public NetEndpoint AddHubPort(int hub)
    {
        var port = Hub(hub).AddPort();
        port.IsPaused = _paused;
        _backends.Add(port);
        return port;
    }

    /// <summary>Makes the backend of a <c>-netdev</c>, from its type and parameters.</summary>
    public NetEndpoint AddBackend(string type, string id, OptionList options)
    {
        if (FindBackend(id) != null)
            throw new UserErrorException($"Duplicate ID '{id}' for netdev");
        var backend = BackendTypes.Create(this, type, id, options);
        _backends.Add(backend);
        backend.IsPaused = _paused;
        return backend;
    }

    /// <summary>Takes a backend out.</summary>
    public void RemoveBackend(NetEndpoint backend)
    {
        _backends.Remove(backend);
        foreach (var (id, filter) in _filters.Where(f => f.Value.Endpoint == backend).ToArray())
            RemoveFilter(id);
        backend.Dispose();
    }

    /// <summary>The backend that a device names; it must be there and free.</summary>
    public NetEndpoint TakeBackend(string type, string id)
    {
        var backend = FindBackend(id) ?? throw new UserErrorException($"Property '{type}.netdev' can't find value '{id}'");
        return backend.Peer == null ? backend : throw new UserErrorException($"Property '{type}.netdev' can't take value '{id}', it's in use");
    }

    /// <summary>The user's address, or the next free one of those that count up.</summary>
    public MacAddress ChooseMac(MacAddress? wanted)
    {
        if (wanted is { Value: not 0 } mac)
        {
            _macs.Add(mac.Value);
            return mac;
        }

        var next = FirstMac;
        while (!_macs.Add(next))
            next++;
        return new MacAddress(next);
    }

    /// <summary>An adapter's end, connected to its backend.</summary>
    public Nic AddNic(string? id, string model, MacAddress mac, INetworkAdapter adapter, NetEndpoint? backend)
    {
        var number = _named.GetValueOrDefault(model);
        if (id == null)
            _named[model] = number + 1;
        var nic = new Nic(id ?? $"{model}.{number}", model, mac, adapter) { IsPaused = _paused };
        nic.FilterChanged += n => FilterChanged?.Invoke(n);
        _nics.Add(nic);
        if (backend != null)
        {
            NetEndpoint.Connect(nic, backend);
            backend.OnPeerReady();
            backend.OnPeerOffloadsChanged();
        }

        return nic;
    }

    public void RemoveNic(Nic nic)
    {
        _nics.Remove(nic);
        _macs.Remove(nic.Mac.Value);
        nic.Dispose();
    }

    /// <summary>Records what passes a backend.</summary>
    public void AddFilter(string id, FrameFilter filter)
    {
        if (!_filters.TryAdd(id, filter))
            throw new UserErrorException($"attempt to add duplicate property '{id}' to object (type 'container')");
        filter.Endpoint.Add(filter.Dump);
    }

    public bool RemoveFilter(string id)
    {
        if (!_filters.Remove(id, out var filter))
            return false;
        filter.Endpoint.Remove(filter.Dump);
        filter.Dump.Dispose();
        return true;
    }

    /// <summary>Makes the <c>filter-dump</c> object of these properties.</summary>
    public void AddDump(string id, OptionList options)
    {
        var netdev = options.Take("netdev") ?? throw new UserErrorException("Parameter 'netdev' is missing");
        var backend = FindBackend(netdev) ?? throw new UserErrorException($"Parameter 'netdev' expects a network backend id");
        var file = options.Take("file") ?? throw new UserErrorException("dump filter needs 'file' property set!");
        var queue = options.Take("queue") switch
        {
            null or "all" => DumpQueue.All,
            "rx" => DumpQueue.Rx,
            "tx" => DumpQueue.Tx,
            var other => throw new UserErrorException($"Invalid parameter '{other}'"),
        };
        var length = (int)options.TakeNumber("maxlen", 65536, 1, int.MaxValue);
        var isOff = options.Take("status") == "off";
        foreach (var ignored in (ReadOnlySpan<string>)["position", "insert", "qom-type", "id"])
            _ = options.Take(ignored);
        options.RejectUntaken();
        AddFilter(id, new FrameFilter(backend, new FrameDump(file, length, queue) { IsOff = isOff },
            $"type=filter-dump,file={file},maxlen={length},position=tail,status={(isOff ? "off" : "on")},insert=behind,netdev={netdev},queue={queue.ToString().ToLowerInvariant()}"));
    }

    /// <summary>Says what is connected to nothing.</summary>
    public void WarnLoose()
    {
        foreach (var hub in _hubs.Values)
        {
            var nics = hub.Ports.Count(static p => p.Peer is Nic);
            var hosts = hub.Ports.Count(static p => p.Peer is not (null or Nic));
            if (nics > 0 && hosts == 0)
                Warn($"hub {hub.Id} is not connected to host network");
            else if (nics == 0 && hosts > 0)
                Warn($"hub {hub.Id} with no nics");
        }

        foreach (var backend in _backends.Where(static b => b.Peer == null && b is not HubPort))
            Warn($"netdev {backend.Name} has no peer");
    }

    /// <summary>The text of <c>info network</c>.</summary>
    public string Describe()
    {
        var text = new StringBuilder();
        foreach (var hub in _hubs.Values)
        {
            text.Append($"hub {hub.Id}\n");
            foreach (var port in hub.Ports.Reverse())
                text.Append($" \\ {port.Name}").Append(port.Peer != null ? ": " + Line(port.Peer) : "\n");
        }

        foreach (var nic in _nics.Where(static n => n.Peer is not HubPort))
        {
            text.Append(Line(nic));
            if (nic.Peer is { } peer)
                text.Append(" \\ ").Append(Line(peer));
        }

        foreach (var backend in _backends.Where(static b => b.Peer == null && b is not HubPort))
            text.Append(Line(backend));
        return text.ToString();
    }

    /// <summary>The text of <c>info usernet</c>.</summary>
    public string DescribeUser()
    {
        var text = new StringBuilder();
        foreach (var backend in _backends.OfType<UserBackend>())
        {
            var hub = backend.Peer is HubPort port ? port.Hub.Id : -1;
            text.Append($"Hub {hub} ({backend.Name}):\n").Append(backend.WithStack(UserListing.Describe));
        }

        return text.ToString();
    }

    /// <summary>Takes the cables out. Adapters may hear of it, and no frame comes afterwards: to be done while there is guest memory.</summary>
    public void Dispose()
    {
        lock (MachineLock)
        {
            foreach (var id in _filters.Keys.ToArray())
                RemoveFilter(id);
            foreach (var backend in _backends)
                backend.Dispose();
            _backends.Clear();
        }
    }

    private string Line(NetEndpoint end)
    {
        var line = $"{end.Name}: index=0,type={end.Kind},{end.Description}\n";
        var filters = _filters.Where(f => f.Value.Endpoint == end).ToList();
        return filters.Count == 0 ? line : line + "filters:\n" + string.Concat(filters.Select(static f => $"  - {f.Key}: {f.Value.Description}\n"));
    }
}

/// <summary>A recorder at a backend, and how listings describe it.</summary>
public sealed record FrameFilter(NetEndpoint Endpoint, FrameDump Dump, string Description);
