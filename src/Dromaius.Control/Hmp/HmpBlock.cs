using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;
using Dromaius.Control.Qmp;
using Dromaius.Core.Errors;

namespace Dromaius.Control.Hmp;

/// <summary>Drives and images as <c>info block</c> shows them.</summary>
internal static class HmpBlock
{
    public static string Show(IMachineControl machine, string? device, bool nodes, bool verbose)
    {
        var text = new StringBuilder();
        foreach (var backend in nodes ? [] : machine.Blocks?.AllBackends ?? [])
        {
            if (device != null && device != backend.Name)
                continue;
            if (text.Length > 0)
                text.Append('\n');
            Append(text, machine, backend, verbose);
        }

        if (text.Length > 0 || (device == null && !nodes))
            return text.ToString();
        foreach (var node in machine.Blocks?.Nodes.Values ?? [])
        {
            if (device != null && device != node.NodeName)
                continue;
            if (text.Length > 0)
                text.Append('\n');
            text.Append($"{node.NodeName}: {node.FileName} ({node.Driver}{(node.IsReadOnly ? ", read-only" : "")})\n");
            AppendImage(text, node, true, verbose);
        }

        return text.Length == 0 && device != null ? $"Error: Device '{device}' not found\n" : text.ToString();
    }

    /// <summary>A drive by its name; what only its device has, by the image in it, or the device when there is none.</summary>
    private static void Append(StringBuilder text, IMachineControl machine, BlockBackend backend, bool verbose)
    {
        text.Append(backend.Name);
        if (backend.Name.Length == 0)
            text.Append(backend.Node?.NodeName ?? BlockCommands.QdevOf(machine, backend) ?? backend.Id);
        if (backend.Node is { } node)
        {
            text.Append(backend.Name.Length > 0 && node.NodeName is { } name ? $" ({name})" : "");
            text.Append($": {node.FileName} ({node.Driver}{(backend.IsReadOnly ? ", read-only" : "")})\n");
        }
        else
            text.Append(": [not inserted]\n");
        if (BlockCommands.QdevOf(machine, backend) is { } device)
            text.Append($"    Attached to:      {device}\n");
        if (backend.IsRemovable)
            text.Append($"    Removable device: {(backend.IsTrayLocked ? "" : "not ")}locked, tray {(backend.IsTrayOpen ? "open" : "closed")}\n");

        if (backend.Node != null)
            AppendImage(text, backend.Node, backend.WriteCache, verbose);
    }

    private static void AppendImage(StringBuilder text, BlockNode node, bool writeback, bool verbose)
    {
        text.Append($"    Cache mode:       {(writeback ? "writeback" : "writethrough")}\n");
        if (node.Backing is { } backing)
        {
            var depth = 0;
            for (var b = node.Backing; b != null && depth < 1000; b = b.Backing)
                depth++;
            text.Append($"    Backing file:     {backing.FileName} (chain depth: {depth})\n");
        }

        if (node.DetectZeroes != DetectZeroes.Off)
            text.Append($"    Detect zeroes:    {node.DetectZeroes.ToString().ToLowerInvariant()}\n");
        if (!verbose)
            return;
        text.Append("\nImages:\n");
        var shown = 0;
        for (var image = node; image != null && shown < 1000; image = image.Backing, shown++)
            text.Append(ImageInfo.Of(image).ToText());
    }

    public static string ShowJobs(IMachineControl machine)
    {
        var text = new StringBuilder();
        foreach (var job in machine.Blocks?.Jobs.All ?? [])
        {
            text.Append(job.Type == "stream"
                ? $"Streaming device {job.Id}: Completed {job.Done} of {job.Total} bytes, speed limit {job.Speed} bytes/s\n"
                : $"Type {job.Type}, device {job.Id}: Completed {job.Done} of {job.Total} bytes, speed limit {job.Speed} bytes/s\n");
        }

        return text.Length == 0 ? "No active jobs\n" : text.ToString();
    }

    /// <summary>Snapshots that every writable image has, one of them with the machine's state.</summary>
    public static string ShowSnapshots(IMachineControl machine)
    {
        var disks = (machine.Blocks?.AllBackends ?? []).Where(static b => b is { Node: not null, IsReadOnly: false }).Select(static b => b.Node!).ToList();
        if (disks.OfType<Qcow2Node>().FirstOrDefault() is not { } keeper)
            return "No available block device supports snapshots\n";
        var common = keeper.Snapshots.Where(s => s.VmStateSize > 0 && disks.TrueForAll(d => d is Qcow2Node q && q.FindSnapshot(s.Name) != null)).ToList();
        return common.Count == 0 ? "There is no snapshot available.\n" : "List of snapshots present on all disks:\n" + ImageInfo.SnapshotList(common);
    }

    /// <summary>Where <c>if=</c> can put a drive, in the order of the numbers that messages give them.</summary>
    private static readonly string[] Places = ["none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen"];

    /// <summary><c>drive_add</c>: its first argument, once a PCI address, says nothing.</summary>
    public static string AddDrive(IMachineControl machine, string options)
    {
        var place = options.Split(',').LastOrDefault(static o => o.StartsWith("if=", StringComparison.Ordinal))?[3..] ?? "ide";
        if (place != "none")
        {
            var type = Array.IndexOf(Places, place);
            return type < 0 ? $"unsupported bus type '{place}'\n" : $"Can't hot-add drive to type {type}\n";
        }

        try
        {
            machine.AddDrive(options);
        }
        catch (UserErrorException e)
        {
            return e.Message + "\n";
        }

        return "OK\n";
    }

    public static string SetThrottle(IMachineControl machine, HmpArguments a)
    {
        var backend = Qmp.BlockCommands.FindBackend(machine, a.Text("device"));
        ThrottleLimit Limit(string name) => new(a.Integer(name), 0, 1);
        try
        {
            machine.Blocks!.SetThrottle(backend, new ThrottleConfig
            {
                BytesTotal = Limit("bps"), BytesRead = Limit("bps_rd"), BytesWrite = Limit("bps_wr"), OperationsTotal = Limit("iops"),
                OperationsRead = Limit("iops_rd"), OperationsWrite = Limit("iops_wr"),
            }, null);
        }
        catch (BlockException e)
        {
            return $"Error: {e.Message}\n";
        }

        return "";
    }

    public static string ShowStatistics(IMachineControl machine)
    {
        var text = new StringBuilder();
        foreach (var backend in machine.Blocks?.AllBackends ?? [])
        {
            var s = backend.Statistics;
            text.Append($"{backend.Name}: rd_bytes={s.ReadBytes} wr_bytes={s.WriteBytes} rd_operations={s.ReadOperations} wr_operations={s.WriteOperations} ")
                .Append($"flush_operations={s.FlushOperations} wr_total_time_ns={s.WriteTime} rd_total_time_ns={s.ReadTime} ")
                .Append($"flush_total_time_ns={s.FlushTime} rd_merged=0 wr_merged=0 idle_time_ns={s.IdleTime ?? 0}\n");
        }

        return text.ToString();
    }
}
