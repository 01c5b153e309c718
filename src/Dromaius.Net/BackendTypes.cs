using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Net.Host;
using Dromaius.Net.User;

namespace Dromaius.Net;

/// <summary>The kinds of backends that <c>-netdev</c> makes.</summary>
public static class BackendTypes
{
    private static readonly Dictionary<string, Func<NetworkSet, string, OptionList, NetEndpoint>> Makers = new()
    {
        ["socket"] = SocketOptions.Socket,
        ["stream"] = SocketOptions.Stream,
        ["dgram"] = SocketOptions.Datagram,
        ["hubport"] = HubPortOf,
        ["tap"] = TapBackend.Create,
        ["user"] = UserNetOptions.Create,
        ["bridge"] = TapBackend.CreateBridge,
    };

    /// <summary>The text of <c>-netdev help</c>.</summary>
    public static string Help => "Available netdev backend types:\n" + string.Concat(Makers.Keys.Select(static n => n + "\n"));

    public static IEnumerable<string> Names => Makers.Keys;

    public static bool Exists(string type) => Makers.ContainsKey(type);

    internal static NetEndpoint Create(NetworkSet networks, string type, string id, OptionList options)
    {
        if (!Makers.TryGetValue(type, out var make))
            throw new UserErrorException($"Parameter 'type' does not accept value '{type}'{NearestNames.Hint(type, Makers.Keys)}");
        return make(networks, id, options);
    }

    private static HubPort HubPortOf(NetworkSet networks, string id, OptionList options)
    {
        var number = (int)OptionValue.Number("hubid", options.TakeRequired("hubid"), 0, int.MaxValue);
        var netdev = options.Take("netdev");
        options.RejectUntaken();
        var peer = netdev == null ? null : networks.FindBackend(netdev) ?? throw new UserErrorException($"netdev '{netdev}' not found");
        if (peer?.Peer != null)
            throw new UserErrorException($"netdev '{netdev}' is already in use");
        var port = networks.Hub(number).AddPort(id);
        if (peer != null)
            NetEndpoint.Connect(port, peer);
        return port;
    }
}
