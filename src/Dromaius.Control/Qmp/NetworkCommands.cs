using System.Text.Json;
using System.Text.Json.Nodes;
using Dromaius.Core.Devices;
using Dromaius.Core.Options;
using Dromaius.Net;
using Dromaius.Net.User;

namespace Dromaius.Control.Qmp;

/// <summary>Networks: links, backends that come and go, receive filters.</summary>
public sealed class NetworkCommands
{
    internal const string Schema = """
        enum RxState = normal none all
        struct RxFilterInfo = name: str, promiscuous: bool, multicast: RxState, unicast: RxState, vlan: RxState, broadcast-allowed: bool, multicast-overflow: bool, unicast-overflow: bool, main-mac: str, vlan-table: [int], unicast-table: [str], multicast-table: [str]
        command query-rx-filter(name?: str) -> [RxFilterInfo]
        command announce-self(initial: int, max: int, rounds: int, step: int, interfaces?: [str], id?: str)
        command set_link(name: str, up: bool)
        open command netdev_add(type: str, id: str)
        command netdev_del(id: str)
        event NIC_RX_FILTER_CHANGED(name?: str, path: str)
        """;

    private readonly IMachineControl _machine;

    internal NetworkCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["query-rx-filter"] = a => Filters(a.OptionalText("name")),
            ["announce-self"] = a => QmpCommands.Do(() => Announce(machine, a)),
            ["set_link"] = a => QmpCommands.Do(() => SetLink(machine, a.Text("name"), a.Flag("up"))),
            ["netdev_add"] = a => QmpCommands.Do(() => Add(machine, a.Values)),
            ["netdev_del"] = a => QmpCommands.Do(() => Remove(machine, a.Text("id"))),
        };
    }

    internal Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private static void Announce(IMachineControl machine, QmpArguments a) => machine.Networks?.Announcer.Start(a.OptionalText("id") ?? "", new AnnounceSchedule
    {
        Initial = a.Integer("initial"), Max = a.Integer("max"), Rounds = a.Integer("rounds"), Step = a.Integer("step"),
        Interfaces = a.Has("interfaces") ? [.. a.Array("interfaces").Select(static name => (string)name!)] : null,
    });

    /// <summary>Plugs a cable in or out at an adapter or backend.</summary>
    internal static void SetLink(IMachineControl machine, string name, bool up)
    {
        var networks = machine.Networks;
        var end = networks?.FindBackend(name) ?? networks?.Nics.FirstOrDefault(n => n.Name == name) ?? throw QmpErrorException.DeviceNotFound(name);
        end.LinkUp = up;
    }

    /// <summary>Makes a backend of a request's arguments.</summary>
    internal static void Add(IMachineControl machine, JsonObject arguments)
    {
        var list = OptionList.Parse("");
        Flatten(list, "", arguments);
        Add(machine, list);
    }

    internal static void Add(IMachineControl machine, OptionList list)
    {
        var networks = machine.Networks ?? throw QmpErrorException.Generic("the machine has no networks");
        var type = list.TakeRequired("type");
        var id = list.TakeRequired("id");
        DeviceRegistry.CheckId(id);
        _ = networks.AddBackend(type, id, list);
    }

    internal static void Remove(IMachineControl machine, string id)
    {
        var networks = machine.Networks;
        networks!.RemoveBackend(networks?.FindBackend(id) ?? throw QmpErrorException.DeviceNotFound(id));
    }

    /// <summary>The user-mode network of an id, or the first one.</summary>
    internal static UserBackend? FindUser(IMachineControl machine, string? id) =>
        machine.Networks?.Backends.OfType<UserBackend>().FirstOrDefault(b => id == null || b.Name == id);

    /// <summary>Members become parameters: those of objects behind a dot, those of lists each for itself.</summary>
    private static void Flatten(OptionList list, string prefix, JsonObject members)
    {
        foreach (var (name, value) in members)
        {
            CheckType(prefix + name, name, value);
            switch (value)
            {
                case JsonObject inner:
                    Flatten(list, $"{prefix}{name}.", inner);
                    break;
                case JsonArray items:
                    foreach (var item in items)
                        list.Add(prefix + name, Text(item!["str"]));
                    break;
                default:
                    list.Add(prefix + name, Text(value));
                    break;
            }
        }
    }

    /// <summary>Which JSON values a member takes: a text, unless its name is one of those that all backends use for another type.</summary>
    private static void CheckType(string path, string name, JsonNode? value)
    {
        var (expected, fits) = name switch
        {
            "restrict" or "ipv4" or "ipv6" or "server" or "vhost" or "vhostforce" or "vnet_hdr" or "abstract" or "tight" or "keep-alive" or "numeric" =>
                ("boolean", value?.GetValueKind() is JsonValueKind.True or JsonValueKind.False),
            "ipv6-prefixlen" or "hubid" or "queues" or "sndbuf" or "poll-us" or "reconnect" or "to" => ("integer", value?.GetValueKind() is JsonValueKind.Number),
            "hostfwd" or "guestfwd" or "dnssearch" => ("array", value is JsonArray),
            "addr" or "local" or "remote" => ("object", value is JsonObject),
            _ => ("string", value?.GetValueKind() is JsonValueKind.String),
        };
        if (!fits)
            throw QmpErrorException.Generic($"Invalid parameter type for '{path}', expected: {expected}");
        if (value is not JsonArray items)
            return;
        for (var i = 0; i < items.Count; i++)
        {
            if (items[i] is not JsonObject item)
                throw QmpErrorException.Generic($"Invalid parameter type for '{path}[{i}]', expected: object");
            CheckType($"{path}[{i}].str", "str", item["str"]);
        }
    }

    private static string Text(JsonNode? node) => node?.GetValueKind() switch
    {
        JsonValueKind.True => "on",
        JsonValueKind.False => "off",
        null or JsonValueKind.Null => "",
        _ => node.ToString(),
    };

    private JsonArray Filters(string? name)
    {
        var result = new JsonArray();
        var nics = _machine.Networks?.Nics ?? [];
        foreach (var nic in nics.Where(n => name == null || n.Name == name))
        {
            if (nic.QueryFilter() is { } filter)
                result.Add((JsonNode)Describe(nic.Name, filter));
            else if (name != null)
                throw QmpErrorException.Generic($"net client({name}) doesn't support rx-filter querying");
        }

        if (name != null && _machine.Networks?.FindBackend(name) != null)
            throw QmpErrorException.Generic($"net client({name}) isn't a NIC");

        if (name != null && result.Count == 0)
            throw QmpErrorException.Generic($"invalid net client name: {name}");
        return result;
    }

    private static JsonObject Describe(string name, RxFilter f) => new()
    {
        ["name"] = name, ["promiscuous"] = f.Promiscuous, ["multicast"] = f.Multicast, ["unicast"] = f.Unicast, ["vlan"] = f.Vlan,
        ["broadcast-allowed"] = f.BroadcastAllowed, ["multicast-overflow"] = f.MulticastOverflow, ["unicast-overflow"] = f.UnicastOverflow,
        ["main-mac"] = f.MainMac.ToString(), ["vlan-table"] = new JsonArray([.. f.VlanTable.Select(static v => (JsonNode)v)]),
        ["unicast-table"] = Macs(f.UnicastTable), ["multicast-table"] = Macs(f.MulticastTable),
    };

    private static JsonArray Macs(IEnumerable<MacAddress> table) => new([.. table.Select(static m => (JsonNode)m.ToString())]);

    /// <summary>Tells clients that a driver changed a receive filter.</summary>
    public static void RaiseFilterChanged(IMachineControl machine, Nic nic)
    {
        var id = machine.Devices.FirstOrDefault(d => d.Id == nic.Name)?.Id;
        var data = new JsonObject { ["path"] = id != null ? $"/machine/peripheral/{id}" : "/machine/unattached" };
        if (id != null)
            data["name"] = id;
        machine.RaiseEvent("NIC_RX_FILTER_CHANGED", data);
    }
}
