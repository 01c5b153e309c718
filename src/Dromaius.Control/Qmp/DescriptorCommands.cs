using System.Text.Json.Nodes;
using Dromaius.Core.Storage;

namespace Dromaius.Control.Qmp;

/// <summary>Descriptors of the host that clients hand over.</summary>
internal sealed class DescriptorCommands
{
    public const string Schema = """
        struct AddfdInfo = fdset-id: int, fd: int
        struct FdsetFdInfo = fd: int, opaque?: str
        struct FdsetInfo = fdset-id: int, fds: [FdsetFdInfo]
        command getfd(fdname: str)
        command closefd(fdname: str)
        command add-fd(fdset-id?: int, opaque?: str) -> AddfdInfo
        command remove-fd(fdset-id: int, fd?: int)
        command query-fdsets -> [FdsetInfo]
        """;

    public DescriptorCommands(DescriptorTable table) => Table = new()
    {
        ["getfd"] = a => QmpCommands.Do(() => table.Name(a.Text("fdname"))),
        ["closefd"] = a => QmpCommands.Do(() => table.Close(a.Text("fdname"))),
        ["add-fd"] = a =>
        {
            var fd = table.Received();
            long? set = a.Has("fdset-id") ? a.Integer("fdset-id") : null;
            if (set < 0)
            {
                DescriptorSets.Close(fd);
                throw QmpErrorException.Generic("Parameter 'fdset-id' expects a non-negative value");
            }

            return new JsonObject { ["fd"] = fd, ["fdset-id"] = DescriptorSets.Add(set, fd, a.OptionalText("opaque")) };
        },
        ["remove-fd"] = static a =>
        {
            var set = a.Integer("fdset-id");
            long? fd = a.Has("fd") ? a.Integer("fd") : null;
            var name = $"fdset-id:{set}" + (fd is { } n ? $", fd:{n}" : "");
            return DescriptorSets.Remove(set, fd) ? null : throw QmpErrorException.Generic($"File descriptor named '{name}' not found");
        },
        ["query-fdsets"] = static _ => new JsonArray([.. DescriptorSets.All.Select(static s => (JsonNode)new JsonObject
        {
            ["fds"] = new JsonArray([.. s.Entries.Select(static e =>
            {
                var item = new JsonObject { ["fd"] = e.Fd };
                if (e.Opaque != null)
                    item["opaque"] = e.Opaque;
                return (JsonNode)item;
            })]),
            ["fdset-id"] = s.Id,
        })]),
    };

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }
}
