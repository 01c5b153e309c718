using Dromaius.Block.Qcow2;

namespace Dromaius.Control.Hmp;

/// <summary>Commands about what this version does not have, with the answer that says so.</summary>
internal static class HmpAbsent
{
    private const string NoState = "Error: saving and loading the state of the machine is not available in this version\n";
    private const string NoMigration = "Error: migration is not available in this version\n";

    public static IEnumerable<HmpCommand> Infos =>
    [
        Info("capture", "show capture information", ""),
        Info("dirty_rate", "show dirty rate information", "Status: unstarted\nSample Pages: 512 (per GB)\nPeriod: 0 (sec)\nMode: page-sampling\nDirty rate: (not ready)\n"),
        Info("migrate", "show migration status", "globals:\nstore-global-state: on\nonly-migratable: off\nsend-configuration: on\nsend-section-footer: on\ndecompress-error-check: on\nclear-bitmap-shift: 18\n"),
        Info("migrate_capabilities", "show current migration capabilities", ""),
        Info("migrate_parameters", "show current migration parameters", ""),
        Info("opcount", "show dynamic compiler opcode counters", "[TCG profiler not compiled]\n"),
        Info("profile", "show profiling information", "Error: Internal profiler not compiled\n"),
        Info("rdma", "show RDMA state", ""),
        Info("sev", "show SEV information", "SEV is not enabled\n"),
        Info("sgx", "show intel SGX information", "No EPC regions defined, SGX not available\n"),
        Info("sync-profile", "show synchronization profiling info, up to max entries (default: 10), sorted by total wait time. (-m: sort by mean wait time; -n: do not coalesce objects with the same call site)",
            "Type               Object  Call site  Wait Time (s)         Count  Average (us)\n"
            + "-------------------------------------------------------------------------------\n"
            + "-------------------------------------------------------------------------------\n", "mean:-m,no_coalesce:-n,max:i?", "[-m] [-n] [max]"),
        Info("stats", "show statistics for the given target (vm or vcpu); optionally filter byname (comma-separated list, or * for all) and provider", "",
            "target:s,names:s?,provider:s?", "target [names] [provider]"),
        Info("trace-events", "show available trace-events & their state (name: event name pattern; vcpu: vCPU to query, default is any)", "", "name:s?,vcpu:i?", "[name] [vcpu]"),
        Info("vcpu_dirty_limit", "show dirty page limit information of all vCPU", "Dirty page limit not enabled!\n"),
        Info("virtio", "List all available virtio devices", "No VirtIO devices\n"),
        Info("vm-generation-id", "Show Virtual Machine Generation ID", "Error: VM Generation ID device not found\n"),
    ];

    public static IEnumerable<HmpCommand> Commands(IMachineControl machine) =>
    [
        new("delvm", "", "name:s", "tag", "delete a VM snapshot from its tag", a => DeleteState(machine, a.Text("name"))),
        new("loadvm", "", "name:s", "tag", "restore a VM snapshot from its tag", _ => Unsupported(machine) ?? NoState),
        new("savevm", "", "name:s?", "tag", "save a VM snapshot. If no tag is provided, a new snapshot is created", _ => Unsupported(machine) ?? NoState),
        Fixed("migrate", "detach:-d,blk:-b,inc:-i,resume:-r,uri:s", "[-d] [-b] [-i] [-r] uri", "migrate to URI (using -d to not wait for completion)", NoMigration),
        Fixed("migrate_cancel", "", "", "cancel the current VM migration", ""),
        Fixed("migrate_continue", "state:s", "state", "Continue migration from the given paused state", "Error: Migration not in expected state: none\n"),
        Fixed("migrate_incoming", "uri:s", "uri", "Continue an incoming migration from an -incoming defer", "Error: '-incoming' was not specified on the command line\n"),
        Fixed("migrate_pause", "", "", "Pause an ongoing migration (postcopy-only)", "Error: migrate-pause is currently only supported during postcopy-active state\n"),
        Fixed("migrate_recover", "uri:s", "uri", "Continue a paused incoming postcopy migration", "Error: Migrate recover can only be run when postcopy is paused.\n"),
        Fixed("migrate_set_capability", "capability:s,state:b", "capability state", "Enable/Disable the usage of a capability for migration", NoMigration),
        Fixed("migrate_set_parameter", "parameter:s,value:s", "parameter value", "Set the parameter for migration", NoMigration),
        Fixed("migrate_start_postcopy", "", "", "Followup to a migration command to switch the migration to postcopy mode.",
            "Error: Enable postcopy with migrate_set_capability before the start of migration\n"),
        Fixed("client_migrate_info", "protocol:s,hostname:s,port:i?,tls-port:i?,cert-subject:s?", "protocol hostname port tls-port cert-subject",
            "set migration information for remote display", "Error: Parameter 'protocol' expects 'spice'\n"),
        Fixed("set_password", "protocol:s,password:s,display:-ds,connected:s?", "protocol password [-d display] [action-if-connected]", "set spice/vnc password", "Error: Could not set password\n"),
        Fixed("expire_password", "protocol:s,time:s,display:-ds", "protocol time [-d display]", "set spice/vnc password expire-time", "Error: Could not set password expire time\n"),
        Fixed("getfd", "fdname:s", "getfd name", "receive a file descriptor via SCM rights and assign it a name", "Error: No file descriptor supplied via SCM_RIGHTS\n"),
        new("closefd", "", "fdname:s", "closefd name", "close a file descriptor previously passed via SCM rights",
            static a => $"Error: File descriptor named '{a.Text("fdname")}' not found\n"),
        new("gdbserver", "", "device:s?", "[device]", "start gdbserver on given device (default 'tcp::1234'), stop with 'none'",
            static a => a.OptionalText("device") is "none" ? "Disabled gdbserver\n" : $"Could not open gdbserver on device '{a.OptionalText("device") ?? "tcp::1234"}'\n"),
        Fixed("dumpdtb", "filename:F", "filename", "dump the FDT in dtb format to 'filename'", "Error: This machine doesn't have a FDT\n"),
        Fixed("sync-profile", "op:s?", "[on|off|reset]", "enable, disable or reset synchronization profiling. With no arguments, prints whether profiling is on or off.", "sync-profile is off\n"),
        new("trace-event", "", "name:s,option:b,vcpu:i?", "name on|off [vcpu]", "changes status of a specific trace event (vcpu: vCPU to set, default is all)",
            static a => $"unknown event \"{a.Text("name")}\"\n"),
        Fixed("gpa2hpa", "addr:l", "addr", "print the host physical address corresponding to a guest physical address", "Error: host addresses are not shown\n"),
        Fixed("mce", "broadcast:-b,cpu_index:i,bank:i,status:l,mcg_status:l,addr:l,misc:l", "[-b] cpu bank status mcgstatus addr misc",
            "inject a MCE on the given CPU [and broadcast to other CPUs with -b option]", "Error: machine checks cannot be injected in this version\n"),
        Fixed("replay_break", "icount:l", "icount", "set breakpoint at the specified instruction count", "setting the breakpoint is allowed only in play mode\n"),
        Fixed("replay_delete_break", "", "", "remove replay breakpoint", "replay breakpoints are allowed only in play mode\n"),
        Fixed("replay_seek", "icount:l", "icount", "replay execution to the specified instruction count", "replay must be enabled to seek\n"),
        Fixed("exit_preconfig", "", "", "exit the preconfig state", "Error: The command is permitted only before machine initialization\n"),
        Fixed("wavcapture", "path:F,audiodev:s,freq:i?,bits:i?,nchannels:i?", "path audiodev [frequency [bits [channels]]]",
            "capture audio to a wave file (default frequency=44100 bits=16 channels=2)", "Error: audio is not available in this version\n"),
        Fixed("stopcapture", "n:i", "capture index", "stop capture", ""),
    ];

    private static HmpCommand Info(string name, string help, string text, string declaration = "", string arguments = "") => Fixed(name, declaration, arguments, help, text);

    private static HmpCommand Fixed(string name, string declaration, string arguments, string help, string text) => new(name, "", declaration, arguments, help, _ => text);

    /// <summary>What keeps the disks from holding a state, or null.</summary>
    private static string? Unsupported(IMachineControl machine)
    {
        var keepers = 0;
        foreach (var backend in machine.Blocks?.AllBackends ?? [])
        {
            if (backend is { Node: null } or { IsReadOnly: true })
                continue;
            if (backend.Node is not Qcow2Node)
                return $"Error: Device '{backend.Id}' is writable but does not support snapshots\n";
            keepers++;
        }

        return keepers == 0 ? "Error: no block device can store vmstate for snapshot\n" : null;
    }

    /// <summary>Snapshots inside the images can be deleted all the same.</summary>
    private static string DeleteState(IMachineControl machine, string name)
    {
        foreach (var image in (machine.Blocks?.AllBackends ?? []).Where(static b => !b.IsReadOnly).Select(static b => b.Node).OfType<Qcow2Node>())
        {
            if (image.FindSnapshot(name) is { } snapshot)
                image.DeleteSnapshot(snapshot);
        }

        return "";
    }
}
