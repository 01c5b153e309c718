using System.Text;
using Dromaius.Block;

namespace Dromaius.Control.Hmp;

/// <summary>Drives and images as <c>info block</c> shows them.</summary>
internal static class HmpBlock
{
    public static string Show(IMachineControl machine, string? device, bool nodes, bool verbose)
    {
        var text = new StringBuilder();
        if (nodes)
        {
            foreach (var node in machine.Blocks?.Nodes.Values ?? [])
            {
                if (device != null && device != node.NodeName)
                    continue;
                if (text.Length > 0)
                    text.Append('\n');
                text.Append($"{node.NodeName}: {node.FileName} ({node.Driver}{(node.IsReadOnly ? ", read-only" : "")})\n");
                AppendImage(text, node, true, verbose);
            }

            return text.ToString();
        }

        foreach (var backend in machine.Blocks?.Backends.Values ?? [])
        {
            if (device != null && device != backend.Id)
                continue;
            if (text.Length > 0)
                text.Append('\n');
            Append(text, backend, verbose);
        }

        return text.Length == 0 && device != null ? $"Error: Device '{device}' not found\n" : text.ToString();
    }

    private static void Append(StringBuilder text, BlockBackend backend, bool verbose)
    {
        text.Append(backend.Id);
        if (backend.Node is { } node)
        {
            text.Append(node.NodeName is { } name ? $" ({name})" : "");
            text.Append($": {node.FileName} ({node.Driver}{(backend.IsReadOnly ? ", read-only" : "")})\n");
        }
        else
            text.Append(": [not inserted]\n");
        if (backend.DeviceName is { Length: > 0 } deviceName)
            text.Append($"    Attached to:      {deviceName}\n");
        if (backend.IsRemovable)
        {
            text.Append($"    Removable device: {(backend.IsTrayLocked ? "" : "not ")}locked");
            text.Append(backend.HasTray ? $", tray {(backend.IsTrayOpen ? "open" : "closed")}\n" : "\n");
        }

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
        text.Append($"\nImages:\nimage: {node.FileName}\nfile format: {node.Driver}\nvirtual size: {node.Length} bytes\n");
        if (node.ClusterSize > 0)
            text.Append($"cluster_size: {node.ClusterSize}\n");
    }

    public static string ShowJobs(IMachineControl machine)
    {
        _ = machine;
        return "No active jobs\n";
    }

    public static string ShowStatistics(IMachineControl machine)
    {
        var text = new StringBuilder();
        foreach (var backend in machine.Blocks?.Backends.Values ?? [])
        {
            var s = backend.Statistics;
            text.Append($"{backend.Id}: rd_bytes={s.ReadBytes} wr_bytes={s.WriteBytes} rd_operations={s.ReadOperations} wr_operations={s.WriteOperations} ")
                .Append($"flush_operations={s.FlushOperations} wr_total_time_ns=0 rd_total_time_ns=0 flush_total_time_ns=0 rd_merged=0 wr_merged=0\n");
        }

        return text.ToString();
    }
}
