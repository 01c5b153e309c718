using System.Text.Json.Nodes;
using Dromaius.Control.Qmp;

namespace Dromaius.Control.Hmp;

/// <summary>Images served by the network block device protocol.</summary>
internal sealed class HmpExports
{
    private readonly IMachineControl _machine;
    private readonly Dictionary<string, Func<QmpArguments, JsonNode?>> _exports;

    public HmpExports(IMachineControl machine)
    {
        _machine = machine;
        _exports = new ExportCommands(machine).Table;
    }

    public IEnumerable<HmpCommand> Commands =>
    [
        new("nbd_server_add", "", "writable:-w,device:B,name:s?", "nbd_server_add [-w] device [name]", "export a block device via NBD",
            a => Add(a.Text("device"), a.OptionalText("name"), a.Has("writable"))),
        new("nbd_server_remove", "", "force:-f,name:s", "nbd_server_remove [-f] name", "remove an export previously exposed via NBD",
            a => Do("nbd-server-remove", new() { ["name"] = a.Text("name"), ["mode"] = a.Has("force") ? "hard" : "safe" })),
        new("nbd_server_start", "", "all:-a,writable:-w,uri:s", "nbd_server_start [-a] [-w] host:port", "serve block devices on the given host and port", Start),
        new("nbd_server_stop", "", "", "nbd_server_stop", "stop serving block devices using the NBD protocol", _ => Do("nbd-server-stop", [])),
    ];

    private string Do(string command, JsonObject arguments)
    {
        _ = _exports[command](new QmpArguments(arguments));
        return "";
    }

    private string Add(string device, string? name, bool writable)
    {
        var arguments = new JsonObject { ["device"] = device, ["writable"] = writable };
        if (name != null)
            arguments["name"] = name;
        return Do("nbd-server-add", arguments);
    }

    private string Start(HmpArguments a)
    {
        if (a.Has("writable") && !a.Has("all"))
            return "Error: -w only valid together with -a\n";
        var uri = a.Text("uri");
        JsonObject address;
        if (uri.StartsWith("unix:", StringComparison.Ordinal))
            address = new JsonObject { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = uri[5..] } };
        else
        {
            var text = uri.StartsWith("tcp:", StringComparison.Ordinal) ? uri[4..] : uri;
            var colon = text.LastIndexOf(':');
            if (colon < 0)
                return $"Error: error parsing address '{uri}'\n";
            address = new JsonObject { ["type"] = "inet", ["data"] = new JsonObject { ["host"] = text[..colon].Trim('[', ']'), ["port"] = text[(colon + 1)..] } };
        }

        _ = Do("nbd-server-start", new() { ["addr"] = address });
        if (!a.Has("all"))
            return "";
        foreach (var backend in _machine.Blocks?.Backends.Values.Where(static b => b.HasMedium).ToList() ?? [])
            _ = Add(backend.Id, null, a.Has("writable"));
        return "";
    }
}
