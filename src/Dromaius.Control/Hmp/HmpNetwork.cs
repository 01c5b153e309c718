using Dromaius.Control.Qmp;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Net;
using Dromaius.Net.User;

namespace Dromaius.Control.Hmp;

/// <summary>The commands about networks.</summary>
internal sealed class HmpNetwork(IMachineControl machine)
{
    public IEnumerable<HmpCommand> Commands =>
    [
        new("hostfwd_add", "", "arg1:s,arg2:s?", "[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport", "redirect TCP or UDP connections from host to guest (requires -net user)",
            a => Forward(a, static (backend, rule) =>
            {
                UserNetOptions.AddForward(backend, rule);
                return "";
            })),
        new("hostfwd_remove", "", "arg1:s,arg2:s?", "[netdev_id] [tcp|udp]:[hostaddr]:hostport", "remove host-to-guest TCP or UDP redirection",
            a => Forward(a, static (backend, rule) => $"host forwarding rule for {rule} {(UserNetOptions.RemoveForward(backend, rule) ? "removed" : "not found")}\n")),
        new("announce_self", "", "interfaces:s?,id:s?", "[interfaces] [id]", "Trigger GARP/RARP announcements", a =>
        {
            machine.Networks?.Announcer.Start(a.OptionalText("id") ?? "", new AnnounceSchedule { Interfaces = a.OptionalText("interfaces")?.Split(',') });
            return "";
        }),
        new("netdev_add", "", "netdev:S", "[user|tap|socket|stream|dgram|hubport|bridge],id=str[,prop=value][,...]", "add host network device", a =>
        {
            NetworkCommands.Add(machine, OptionList.Parse(a.Text("netdev"), "type"));
            return "";
        }),
        new("netdev_del", "", "id:s", "id", "remove host network device", a =>
        {
            NetworkCommands.Remove(machine, a.Text("id"));
            return "";
        }),
        new("set_link", "", "name:s,up:b", "name on|off", "change the link status of a network adapter", a =>
        {
            NetworkCommands.SetLink(machine, a.Text("name"), a.Number("up") != 0);
            return "";
        }),
    ];

    private string Forward(HmpArguments a, Func<UserBackend, string, string> action)
    {
        var rule = a.OptionalText("arg2");
        var id = rule == null ? null : a.Text("arg1");
        rule ??= a.Text("arg1");
        if (NetworkCommands.FindUser(machine, id) is not { } backend)
        {
            if (id == null)
                return "user mode network stack not in use\n";
            return machine.Networks?.FindBackend(id) != null ? "invalid device specified\n" : $"unrecognized netdev id '{id}'\n";
        }

        try
        {
            return action(backend, rule);
        }
        catch (UserErrorException e)
        {
            return e.Message + "\n";
        }
    }
}
