using Dromaius.Control.Qmp;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Control.Hmp;

/// <summary>Character devices that come, go and change.</summary>
internal sealed class HmpCharacters(IMachineControl machine)
{
    public IEnumerable<HmpCommand> Commands =>
    [
        new("chardev-add", "", "args:s", "args", "add chardev", a =>
        {
            var options = OptionList.Parse(a.Text("args"), "backend");
            var type = options.TakeRequired("backend");
            _ = Factory.Add(options.Take("id") ?? throw new UserErrorException("chardev: no id specified"), type, options);
            return "";
        }),
        new("chardev-change", "", "id:s,args:s", "id args", "change chardev", a =>
        {
            var options = OptionList.Parse(a.Text("args"), "backend");
            if (options.Take("id") != null)
                throw new UserErrorException("Unexpected 'id' parameter");
            _ = Factory.Change(a.Text("id"), options.TakeRequired("backend"), options);
            return "";
        }),
        new("chardev-remove", "", "id:s", "id", "remove chardev", a =>
        {
            Factory.Remove(a.Text("id"));
            return "";
        }),
        new("chardev-send-break", "", "id:s", "id", "send a break on chardev", a =>
        {
            CharacterCommands.SendBreak(machine, a.Text("id"));
            return "";
        }),
    ];

    private CharBackendFactory Factory => machine.ChardevFactory ?? throw new UserErrorException("the machine takes no character devices");
}
