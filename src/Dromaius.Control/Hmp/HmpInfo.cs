using System.Globalization;
using System.Text;
using Dromaius.Boards;
using Dromaius.Control.Qmp;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;

namespace Dromaius.Control.Hmp;

/// <summary>The <c>info</c> family.</summary>
internal sealed class HmpInfo(IMachineControl machine, HmpCommands monitor)
{
    public IEnumerable<HmpCommand> Commands =>
    [
        .. HmpAbsent.Infos,
        new("dump", "", "", "", "Display the latest dump status", _ => machine.Dump.Status == "active"
            ? $"Status: active\nFinished: {100.0 * machine.Dump.Completed / Math.Max(1, machine.Dump.Total):F2} %\n" : $"Status: {machine.Dump.Status}\n"),
        new("balloon", "", "", "", "show balloon information", static _ => "Error: No balloon device has been activated\n"),
        new("block", "", "nodes:-n,verbose:-v,device:B?", "[-n] [-v] [device]", "show info of one block device or all block devices (-n: show named nodes; -v: show details)",
            a => HmpBlock.Show(machine, a.OptionalText("device"), a.Has("nodes"), a.Has("verbose"))),
        new("block-jobs", "", "", "", "show progress of ongoing block device operations", _ => HmpBlock.ShowJobs(machine)),
        new("blockstats", "", "", "", "show block device statistics", _ => HmpBlock.ShowStatistics(machine)),
        new("chardev", "", "", "", "show the character devices", _ => Chardevs()),
        new("cpus", "", "", "", "show infos for each CPU", _ => Cpus()),
        new("history", "", "", "", "show the command line history", _ =>
            string.Concat(monitor.History().Select(static (line, i) => $"{i}: '{line}'\n"))),
        new("hotpluggable-cpus", "", "", "", "Show information about hotpluggable CPUs", _ => HotpluggableCpus()),
        new("iothreads", "", "", "", "show iothreads", _ => string.Concat(IoThreads(machine).Select(static t =>
            $"{t.Id}:\n  thread_id={Environment.ProcessId}\n  poll-max-ns={t.Property("poll-max-ns") ?? "32768"}\n  poll-grow={t.Property("poll-grow") ?? "0"}\n"
            + $"  poll-shrink={t.Property("poll-shrink") ?? "0"}\n  aio-max-batch={t.Property("aio-max-batch") ?? "0"}\n"))),
        new("irq", "", "", "", "show the interrupts statistics (if available)", _ => Interrupts()),
        new("jit", "", "", "", "show dynamic compiler info", _ => machine.TranslatorStatistics),
        new("kvm", "", "", "", "show KVM information", static _ => "kvm support: disabled\n"),
        new("lapic", "", "apic-id:i?", "[apic-id]", "show local apic state (apic-id: local apic to read, default is which of current CPU)",
            a => machine.LocalApic(a.Integer("apic-id", monitor.CurrentCpu))),
        new("mem", "", "", "", "show the active virtual memory mappings", _ => new PageTables(machine, monitor.CurrentCpu).ShowRanges()),
        new("memdev", "", "", "", "show memory backends", _ =>
            $"memory backend: pc.ram\n  size:  {machine.RamSize}\n  merge: true\n  dump: true\n  prealloc: false\n  share: false\n  reserve: true\n  policy: default\n  host nodes: \n\n"),
        new("memory-devices", "", "", "", "show memory devices", static _ => ""),
        new("memory_size_summary", "", "", "", "show the amount of initially allocated and present hotpluggable (if enabled) memory in bytes.",
            _ => $"base memory: {machine.RamSize}\nplugged memory: 0\n"),
        new("mice", "", "", "", "show which guest mouse is receiving events", _ => Mice()),
        new("mtree", "", "flatview:-f,dispatch_tree:-d,owner:-o,disabled:-D", "[-f][-d][-o][-D]",
            "show memory tree (-f: dump flat view for address spaces;-d: dump dispatch tree, valid with -f only);-o: dump region owners/parents;-D: dump disabled regions",
            a => MemoryTree.Show(machine, a.Has("flatview"))),
        new("name", "", "", "", "show the current VM name", _ => machine.Name is { } name ? name + "\n" : ""),
        new("network", "", "", "", "show the network state", _ => machine.Networks?.Describe() ?? ""),
        new("numa", "", "", "", "show NUMA information", static _ => "0 nodes\n"),
        new("pci", "", "", "", "show PCI info", _ => Pci()),
        new("pic", "", "", "", "show PIC state", _ => machine.Description?.InterruptControllers() ?? ""),
        new("qdm", "", "", "", "show qdev device model list", _ => machine.Description?.DeviceTypes.HelpText() ?? ""),
        new("qom-tree", "", "path:s?", "[path]", "show QOM composition tree", a => QomTree(a.OptionalText("path") ?? "/machine")),
        new("qtree", "", "", "", "show device tree", _ => DeviceTree.Show(machine)),
        new("ramblock", "", "", "", "Display system ramblock information", _ => RamBlocks()),
        new("registers", "", "cpustate_all:-a,vcpu:i?", "[-a|vcpu]",
            "show the cpu registers (-a: show register info for all cpus; vcpu: specific vCPU to query; show the current CPU's registers if no argument is specified)", Registers),
        new("replay", "", "", "", "show record/replay information", static _ => "Record/replay is not active\n"),
        new("roms", "", "", "", "show roms", _ => string.Concat((machine.Description?.Roms ?? []).Select(static r =>
            $"addr={r.Address:x16} size=0x{r.Size:x6} mem={(r.IsRom ? "rom" : "ram")} name=\"{r.Name}\"\n"))),
        new("snapshots", "", "", "", "show the currently saved VM snapshots", _ => HmpBlock.ShowSnapshots(machine)),
        new("spice", "", "", "", "show the spice server status", static _ => "Server: disabled\n"),
        new("status", "", "", "", "show the current VM status (running|paused)", _ => Status()),
        new("tlb", "", "", "", "show virtual to physical memory mappings", _ => new PageTables(machine, monitor.CurrentCpu).ShowPages()),
        new("tpm", "", "", "", "show the TPM device", static _ => ""),
        new("usb", "", "", "", "show guest USB devices", static _ => "Error: USB support not enabled\n"),
        new("usernet", "", "", "", "show user network stack connection states", _ => machine.Networks?.DescribeUser() ?? ""),
        new("uuid", "", "", "", "show the current VM UUID", _ => $"{machine.Uuid}\n"),
        new("version", "", "", "", "show the version of QEMU", static _ => $"{Product.QemuMajor}.{Product.QemuMinor}.{Product.QemuMicro} (Dromaius {Product.Version})\n"),
        new("vnc", "", "", "", "show the vnc server status", static _ => "None\n"),
    ];

    public static string GetProperty(IMachineControl machine, string path, string name)
    {
        var node = Find(machine, path);
        var property = node.Properties.Find(p => p.Name == name) ?? throw QmpErrorException.Generic($"Property '{node.Type}.{name}' not found");
        return JsonText.Write(property.Get(), pretty: true) + "\n";
    }

    public static string ListProperties(IMachineControl machine, string path)
    {
        var node = Find(machine, path);
        return string.Concat(node.Properties.Select(static p => $"{p.Name} ({p.Type})\n"))
            + string.Concat(node.Children.Select(static c => $"{c.Key} (child<{c.Value.Type}>)\n"));
    }

    private static ObjectNode Find(IMachineControl machine, string path) =>
        ObjectTree.Find(ObjectTree.Build(machine), path, out _) ?? throw QmpErrorException.DeviceNotFound(path);

    private static IEnumerable<UserObject> IoThreads(IMachineControl machine) =>
        (machine.Objects?.All.Values ?? []).Where(static o => o.Type == "iothread");

    private string Status() => "VM status: " + machine.State switch
    {
        RunState.Running => "running",
        RunState.PreLaunch => "paused (prelaunch)",
        RunState.Shutdown => "paused (shutdown)",
        RunState.GuestPanicked => "paused (guest-panicked)",
        RunState.IoError => "paused (io-error)",
        RunState.InternalError => "paused (internal-error)",
        _ => "paused",
    } + "\n";

    private string Cpus()
    {
        var text = new StringBuilder();
        foreach (var cpu in machine.Cpus)
            text.Append($"{(cpu.Index == monitor.CurrentCpu ? '*' : ' ')} CPU #{cpu.Index}: thread_id={cpu.ThreadId}\n");
        return text.ToString();
    }

    private string HotpluggableCpus()
    {
        if (machine.Description is not { } d)
            return "";
        var text = new StringBuilder("Hotpluggable CPUs:\n");
        for (var i = d.Topology.MaxCpus - 1; i >= 0; i--)
        {
            text.Append($"  type: \"{d.CpuModel}-{machine.Target}-cpu\"\n  vcpus_count: \"1\"\n");
            if (i < d.Topology.Cpus)
                text.Append($"  qom_path: \"/machine/unattached/device[{i}]\"\n");
            text.Append($"  CPUInstance Properties:\n    socket-id: \"{d.Topology.SocketOf(i)}\"\n    core-id: \"{i / d.Topology.Threads % d.Topology.Cores}\"\n    thread-id: \"{i % d.Topology.Threads}\"\n");
        }

        return text.ToString();
    }

    private string Registers(HmpArguments a)
    {
        var text = new StringBuilder();
        if (a.Has("vcpu") && a.Number("vcpu") >= (ulong)machine.Cpus.Count)
            return $"CPU#{a.Integer("vcpu")} not available\n";
        var (first, last) = a.Has("cpustate_all") ? (0, machine.Cpus.Count - 1)
            : a.Has("vcpu") ? (a.Integer("vcpu"), a.Integer("vcpu")) : (monitor.CurrentCpu, monitor.CurrentCpu);
        if (machine.Cpus.Count == 0)
            return "No CPU\n";
        for (var i = first; i <= last; i++)
            text.Append($"\nCPU#{i}\n").Append(machine.Registers(i));
        return text.ToString();
    }

    private string Chardevs()
    {
        var text = new StringBuilder();
        foreach (var (id, backend) in machine.Chardevs)
            text.Append($"{id}: filename={(backend as CharBackend)?.Description ?? "mux"}\n");
        return text.ToString();
    }

    private string Mice()
    {
        var text = new StringBuilder();
        foreach (var mouse in machine.Input.Pointers)
            text.Append($"{(mouse.IsCurrent ? '*' : ' ')} Mouse #{mouse.Index}: {mouse.Name}{(mouse.IsAbsolute ? " (absolute)" : "")}\n");
        return text.Length > 0 ? text.ToString() : "No mouse devices connected\n";
    }

    private string Interrupts()
    {
        var text = new StringBuilder();
        foreach (var (name, counts) in machine.Description?.InterruptCounts() ?? [])
        {
            text.Append($"IRQ statistics for {name}:\n");
            for (var i = 0; i < counts.Count; i++)
            {
                if (counts[i] > 0)
                    text.Append(CultureInfo.InvariantCulture, $"{i,2}: {counts[i]}\n");
            }
        }

        return text.ToString();
    }

    private string Pci()
    {
        var text = new StringBuilder();
        var devices = machine.Description?.Pci() ?? [];
        if (devices.Count == 0)
            return "PCI devices not supported\n";
        foreach (var d in devices)
        {
            text.Append($"  Bus {d.Bus,2}, device {d.Slot,3}, function {d.Function}:\n");
            text.Append($"    {PciClasses.Describe(d.ClassCode) ?? $"Class {d.ClassCode:x4}"}: PCI device {d.VendorId:x4}:{d.DeviceId:x4}\n");
            if (d.SubsystemVendorId != 0 || d.SubsystemId != 0)
                text.Append($"      PCI subsystem {d.SubsystemVendorId:x4}:{d.SubsystemId:x4}\n");
            if (d.InterruptPin != 0)
                text.Append($"      IRQ {d.InterruptLine}, pin {(char)('A' + d.InterruptPin - 1)}\n");
            if (d.Bridge is { } bridge)
            {
                text.Append($"      BUS {d.Bus}.\n      secondary bus {bridge.Secondary}.\n      subordinate bus {bridge.Subordinate}.\n")
                    .Append($"      IO range [0x{d.Windows[0].Base:x4}, 0x{d.Windows[0].Limit:x4}]\n")
                    .Append($"      memory range [0x{d.Windows[1].Base:x8}, 0x{d.Windows[1].Limit:x8}]\n")
                    .Append($"      prefetchable memory range [0x{d.Windows[2].Base:x8}, 0x{d.Windows[2].Limit:x8}]\n");
            }

            foreach (var r in d.Regions)
            {
                var address = r.Address ?? ulong.MaxValue;
                text.Append(r.IsIo
                    ? $"      BAR{r.Bar}: I/O at 0x{address:x4} [0x{unchecked(address + r.Size - 1):x4}].\n"
                    : $"      BAR{r.Bar}: {(r.Is64Bit ? 64 : 32)} bit{(r.IsPrefetchable ? " prefetchable" : "")} memory at 0x{address:x8} [0x{address + r.Size - 1:x8}].\n");
            }

            text.Append($"      id \"{d.Id}\"\n");
        }

        return text.ToString();
    }

    private string QomTree(string path)
    {
        var node = ObjectTree.Find(ObjectTree.Build(machine), path, out var ambiguous);
        if (ambiguous)
            return $"Warning: Path '{path}' is ambiguous.\n";
        if (node == null)
            return $"Error: Device '{path}' not found\n";
        var text = new StringBuilder();
        void Show(string name, ObjectNode n, int depth)
        {
            text.Append(' ', 2 * depth).Append($"/{name} ({n.Type})\n");
            foreach (var (childName, child) in n.Children)
                Show(childName, child, depth + 1);
        }

        Show(path.TrimEnd('/').Split('/')[^1], node, 0);
        return text.ToString();
    }

    private string RamBlocks()
    {
        var text = new StringBuilder("              Block Name    PSize              Offset               Used              Total\n");
        var offset = 0UL;
        var seen = new HashSet<object>();
        foreach (ref readonly var range in machine.Memory.View.Ranges)
        {
            if (range.Region.Ram is not { } ram || !seen.Add(ram))
                continue;
            text.Append(CultureInfo.InvariantCulture, $"{ram.Name,24} {"4 KiB",8}  0x{offset:x16} 0x{ram.Size:x16} 0x{ram.Size:x16}\n");
            offset += ram.Size;
        }

        return text.ToString();
    }
}
