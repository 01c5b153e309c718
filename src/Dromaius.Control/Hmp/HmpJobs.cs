using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Jobs;
using Dromaius.Control.Qmp;

namespace Dromaius.Control.Hmp;

/// <summary>The commands about images and the jobs on them: what the machine protocol does, in the words of the human monitor.</summary>
internal sealed class HmpJobs
{
    private readonly IMachineControl _machine;
    private readonly Dictionary<string, Func<QmpArguments, JsonNode?>> _jobs, _images, _nodes;

    public HmpJobs(IMachineControl machine)
    {
        _machine = machine;
        _jobs = new JobCommands(machine).Table;
        _images = new BlockCommands(machine).Table;
        _nodes = new NodeCommands(machine).Table;
    }

    public IEnumerable<HmpCommand> Commands =>
    [
        new("block_job_cancel", "", "force:-f,device:B", "[-f] device", "stop an active background block operation (use -f if you want to abort the operation immediately\n\t\t\t instead of keep running until data is in sync)",
            a => Job("block-job-cancel", a, new() { ["force"] = a.Has("force") })),
        new("block_job_complete", "", "device:B", "device", "stop an active background block operation", a => Job("block-job-complete", a, [])),
        new("block_job_pause", "", "device:B", "device", "pause an active background block operation", a => Job("block-job-pause", a, [])),
        new("block_job_resume", "", "device:B", "device", "resume a paused background block operation", a => Job("block-job-resume", a, [])),
        new("block_job_set_speed", "", "device:B,speed:o", "device speed", "set maximum speed for a background block operation",
            a => Job("block-job-set-speed", a, new() { ["speed"] = (long)a.Number("speed") })),
        new("commit", "", "device:B", "device|all", "commit changes to the disk images (if -snapshot is used) or backing files", a => Commit(a.Text("device"))),
        new("qemu-io", "", "qdev:-d,device:B,command:s", "[-d] [device] \"[command]\"", "run a qemu-io command on a block device", a =>
        {
            var name = a.Text("device");
            var image = (a.Has("qdev") ? BlockCommands.FindBackend(_machine, name).Node : _machine.Blocks?.FindNode(name))
                ?? throw QmpErrorException.Generic($"Cannot find device='' nor node-name='{name}'");
            return _machine.ExerciseImage(image, a.Text("command"));
        }),
        new("snapshot_blkdev_internal", "", "device:B,name:s", "device name",
            "take an internal snapshot of device.\n\t\t\tThe format of the image used by device must\n\t\t\tsupport it, such as qcow2.\n\t\t\t",
            a => Do(_nodes["blockdev-snapshot-internal-sync"], new() { ["device"] = a.Text("device"), ["name"] = a.Text("name") })),
        new("snapshot_delete_blkdev_internal", "", "device:B,name:s,id:s?", "device name [id]",
            "delete an internal snapshot of device.\n\t\t\tIf id is specified, qemu will try delete\n\t\t\tthe snapshot matching both id and name.", a =>
            {
                var arguments = new JsonObject { ["device"] = a.Text("device"), ["name"] = a.Text("name") };
                if (a.OptionalText("id") is { } id)
                    arguments["id"] = id;
                return Do(_nodes["blockdev-snapshot-delete-internal-sync"], arguments);
            }),
        new("block_resize", "", "device:B,size:o", "device size", "resize a block image",
            a => Do(_images["block_resize"], new() { ["device"] = a.Text("device"), ["size"] = (long)a.Number("size") })),
        new("block_stream", "", "device:B,speed:o?,base:s?", "device [speed [base]]", "copy data from a backing file into a block device", a =>
        {
            var arguments = new JsonObject { ["on-error"] = "report", ["speed"] = (long)a.Number("speed") };
            if (a.OptionalText("base") is { } below)
                arguments["base"] = below;
            return Job("block-stream", a, arguments);
        }),
        new("drive_backup", "", "reuse:-n,full:-f,compress:-c,device:B,target:s,format:s?", "[-n] [-f] [-c] device target [format]",
            "initiates a point-in-time\n\t\t\tcopy for a device. The device's contents are\n\t\t\tcopied to the new image file, excluding data that\n\t\t\tis written after the command is started.", a =>
            {
                var arguments = Copy(a);
                arguments["compress"] = a.Has("compress");
                return Job("drive-backup", a, arguments);
            }),
        new("drive_del", "", "id:B", "device", "remove host block device", a => Remove(a.Text("id"))),
        new("drive_mirror", "", "reuse:-n,full:-f,device:B,target:s,format:s?", "[-n] [-f] device target [format]",
            "initiates live storage\n\t\t\tmigration for a device. The device's contents are\n\t\t\tcopied to the new image file, including data that\n\t\t\tis written after the command is started.",
            a => Job("drive-mirror", a, Copy(a))),
        new("snapshot_blkdev", "", "reuse:-n,device:B,snapshot-file:s?,format:s?", "[-n] device [new-image-file] [format]", "initiates a live snapshot of device", a =>
        {
            if (a.OptionalText("snapshot-file") is not { } file)
                return "Error: Parameter 'snapshot-file' is missing\n";
            return Do(_images["blockdev-snapshot-sync"], new()
            {
                ["device"] = a.Text("device"), ["snapshot-file"] = file, ["format"] = a.OptionalText("format") ?? "qcow2",
                ["mode"] = a.Has("reuse") ? "existing" : "absolute-paths",
            });
        }),
    ];

    /// <summary>Brings what the top images hold into their backing files, at once.</summary>
    private string Commit(string device)
    {
        var blocks = _machine.Blocks;
        if (device != "all" && blocks?.FindBackend(device) == null)
            return $"Device '{device}' not found\n";
        foreach (var backend in blocks?.Backends.Values.ToList() ?? [])
        {
            if ((device != "all" && backend.Id != device) || backend.Node == null)
                continue;
            if (backend.Node is not { Backing: { } below } top)
            {
                if (device != "all")
                    return $"'commit' error for '{device}': Operation not supported\n";
                continue;
            }

            try
            {
                backend.Drain();
                ImageCommit.Run(top, below);
            }
            catch (BlockException e)
            {
                return $"'commit' error for '{backend.Id}': {e.Message}\n";
            }
        }

        return "";
    }

    private static JsonObject Copy(HmpArguments a)
    {
        var arguments = new JsonObject
        {
            ["target"] = a.Text("target"), ["sync"] = a.Has("full") ? "full" : "top", ["mode"] = a.Has("reuse") ? "existing" : "absolute-paths",
        };
        if (a.OptionalText("format") is { } format)
            arguments["format"] = format;
        return arguments;
    }

    private string Job(string command, HmpArguments a, JsonObject arguments)
    {
        arguments["device"] = a.Text("device");
        return Do(_jobs[command], arguments);
    }

    private static string Do(Func<QmpArguments, JsonNode?> command, JsonObject arguments)
    {
        _ = command(new QmpArguments(arguments));
        return "";
    }

    /// <summary>The medium goes at once, and the drive out of the lists; a device that has it finds nothing in it any more.</summary>
    private string Remove(string id)
    {
        if (_machine.Blocks?.FindBackend(id) is not { } backend)
            return $"Error: Device '{id}' not found\n";
        if (_machine.Blocks.Jobs.All.Any(j => j.Id == id))
            return $"Error: Node '{backend.Node?.NodeName}' is busy: block device is in use by block job: {id}\n";
        backend.OnReadError = backend.OnWriteError = ErrorPolicy.Report;
        backend.SetMedium(null);
        _machine.Blocks.RemoveBackend(id);
        return "";
    }
}
