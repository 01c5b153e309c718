using System.Text.Json.Nodes;

namespace Dromaius.Control.Qmp;

/// <summary>
/// Questions about what this version does not have, with the answer that there is none of it: management tools ask them of every
/// machine.
/// </summary>
internal static class AbsentCommands
{
    public const string Schema = """
        struct ACPIOSTInfo = device?: str, slot: str, slot-type: str, source: int, status: int
        struct BalloonInfo = actual: int
        struct VncInfo = host?: str, enabled: bool, service?: str, auth?: str
        struct VncInfo2 = id: str
        enum SpiceQueryMouseMode = client server unknown
        struct SpiceInfo = enabled: bool, migrated: bool, mouse-mode: SpiceQueryMouseMode
        struct TPMInfo = id: str
        enum TpmModel = tpm-tis tpm-crb tpm-spapr
        enum TpmType = passthrough emulator
        struct MigrationInfo = status?: str
        enum MigrationCapability = xbzrle rdma-pin-all auto-converge zero-blocks compress events postcopy-ram x-colo release-ram block return-path pause-before-switchover multifd dirty-bitmaps postcopy-blocktime late-block-activate x-ignore-shared validate-uuid background-snapshot zero-copy-send postcopy-preempt
        struct MigrationCapabilityStatus = capability: MigrationCapability, state: bool
        struct MigrationParameters = downtime-limit?: int, max-bandwidth?: size
        struct MemoryDeviceInfo = type: str
        struct ReplayInfo = mode: str, icount: int
        struct SevInfo = enabled: bool
        struct GICCapability = version: int
        struct PRManagerInfo = id: str, connected: bool
        struct StatsSchema = provider: str
        enum DisplayProtocol = vnc spice
        enum SetPasswordAction = keep fail disconnect
        enum DisplayReloadType = vnc
        enum StatsTarget = vm vcpu
        enum StatsProvider = kvm
        struct StatsRequest = provider: StatsProvider, names?: [str]
        struct StatsResult = provider: StatsProvider
        enum COLOMode = none primary secondary
        enum COLOExitReason = none request error processing
        struct COLOStatus = mode: COLOMode, last-mode: COLOMode, reason: COLOExitReason
        enum TraceEventState = unavailable disabled enabled
        struct TraceEventInfo = name: str, state: TraceEventState
        enum DirtyRateStatus = unstarted measuring measured
        struct DirtyRateInfo = status: DirtyRateStatus, start-time: int, calc-time: int, sample-pages: uint64
        struct VirtioInfo = path: str, name: str
        struct DirtyLimitInfo = cpu-index: int, limit-rate: uint64, current-rate: uint64
        command query-acpi-ospm-status -> [ACPIOSTInfo]
        command query-balloon -> BalloonInfo
        command balloon(value: int)
        command query-vnc -> VncInfo
        command query-vnc-servers -> [VncInfo2]
        command query-spice -> SpiceInfo
        command query-tpm -> [TPMInfo]
        command query-tpm-models -> [TpmModel]
        command query-tpm-types -> [TpmType]
        command query-migrate -> MigrationInfo
        command query-migrate-capabilities -> [MigrationCapabilityStatus]
        command migrate-set-capabilities(capabilities: [MigrationCapabilityStatus])
        command query-migrate-parameters -> MigrationParameters
        command query-memory-devices -> [MemoryDeviceInfo]
        command query-replay -> ReplayInfo
        command query-sev -> SevInfo
        command query-pr-managers -> [PRManagerInfo]
        command query-stats-schemas(provider?: StatsProvider) -> [StatsSchema]
        command query-vm-generation-id -> any
        command set_password(protocol: DisplayProtocol, password: str, connected?: SetPasswordAction)
        command expire_password(protocol: DisplayProtocol, time: str)
        command change-vnc-password(password: str)
        command add_client(protocol: str, fdname: str, skipauth?: bool, tls?: bool)
        command display-reload(type: DisplayReloadType)
        command display-update(type: DisplayReloadType)
        command client_migrate_info(protocol: str, hostname: str, port?: int, tls-port?: int, cert-subject?: str)
        command dumpdtb(filename: str)
        command migrate(uri: str, blk?: bool, inc?: bool, detach?: bool, resume?: bool)
        command migrate-incoming(uri: str)
        command migrate-continue(state: str)
        command migrate-pause
        command migrate-recover(uri: str)
        command migrate-start-postcopy
        command migrate_cancel
        open command migrate-set-parameters
        command query-colo-status -> COLOStatus
        command x-colo-lost-heartbeat
        command query-dirty-rate -> DirtyRateInfo
        command calc-dirty-rate(calc-time: int, sample-pages?: int, mode?: str)
        command query-vcpu-dirty-limit -> [DirtyLimitInfo]
        command set-vcpu-dirty-limit(cpu-index?: int, dirty-rate: uint64)
        command cancel-vcpu-dirty-limit(cpu-index?: int)
        command query-rocker(name: str) -> any
        command query-rocker-ports(name: str) -> any
        command query-rocker-of-dpa-flows(name: str, tbl-id?: uint32) -> any
        command query-rocker-of-dpa-groups(name: str, type?: uint8) -> any
        command query-sev-attestation-report(mnonce: str) -> any
        command query-sev-capabilities -> any
        command query-sev-launch-measure -> any
        command sev-inject-launch-secret(packet-header: str, secret: str, gpa?: uint64)
        command query-sgx -> any
        command query-sgx-capabilities -> any
        command query-stats(target: StatsTarget, providers?: [StatsRequest]) -> [StatsResult]
        command replay-break(icount: int)
        command replay-delete-break
        command replay-seek(icount: int)
        command set-numa-node(type: str)
        command snapshot-save(job-id: str, tag: str, vmstate: str, devices: [str])
        command snapshot-load(job-id: str, tag: str, vmstate: str, devices: [str])
        command snapshot-delete(job-id: str, tag: str, devices: [str])
        command trace-event-get-state(name: str, vcpu?: int) -> [TraceEventInfo]
        command trace-event-set-state(name: str, enable: bool, ignore-unavailable?: bool, vcpu?: int)
        command x-exit-preconfig
        command x-query-opcount -> HumanReadableText
        command x-query-profile -> HumanReadableText
        command x-query-rdma -> HumanReadableText
        command x-query-virtio -> [VirtioInfo]
        command x-query-virtio-status(path: str) -> any
        command x-query-virtio-queue-status(path: str, queue: uint16) -> any
        """;

    private static readonly string[] Capabilities =
    [
        "xbzrle", "rdma-pin-all", "auto-converge", "zero-blocks", "compress", "events", "postcopy-ram", "x-colo", "release-ram", "block",
        "return-path", "pause-before-switchover", "multifd", "dirty-bitmaps", "postcopy-blocktime", "late-block-activate", "x-ignore-shared",
        "validate-uuid", "background-snapshot", "zero-copy-send", "postcopy-preempt",
    ];

    private const string NoSnapshots = "saving and loading the state of the machine is not available in this version";

    /// <summary>What is refused, and why.</summary>
    private static readonly (string Name, string Reason)[] Refusals =
    [
        ("set_password", "Could not set password"), ("expire_password", "Could not set password expire time"), ("change-vnc-password", "Could not set password"),
        ("display-update", "Can not find vnc display"), ("client_migrate_info", "Parameter 'protocol' expects 'spice'"),
        ("dumpdtb", "This machine doesn't have a FDT"), ("query-vm-generation-id", "VM Generation ID device not found"),
        ("migrate", "migration is not available in this version"), ("migrate-incoming", "'-incoming' was not specified on the command line"),
        ("migrate-continue", "Migration not in expected state: none"),
        ("migrate-pause", "migrate-pause is currently only supported during postcopy-active state"),
        ("migrate-recover", "Migrate recover can only be run when postcopy is paused."),
        ("migrate-start-postcopy", "Enable postcopy with migrate_set_capability before the start of migration"),
        ("x-colo-lost-heartbeat", "The feature 'colo' is not enabled"), ("calc-dirty-rate", "dirty rates are not available in this version"),
        ("set-vcpu-dirty-limit", "dirty page limit feature requires KVM with accelerator property 'dirty-ring-size' set'"),
        ("query-sev-attestation-report", "SEV is not enabled"), ("query-sev-capabilities", "KVM not enabled"),
        ("query-sev-launch-measure", "SEV launch measurement is not available"), ("sev-inject-launch-secret", "SEV not enabled for guest"),
        ("query-sgx", "No EPC regions defined, SGX not available"), ("query-sgx-capabilities", "SGX is not enabled in KVM"),
        ("query-rocker", "there is no rocker"), ("query-rocker-ports", "there is no rocker"), ("query-rocker-of-dpa-flows", "there is no rocker"),
        ("query-rocker-of-dpa-groups", "there is no rocker"), ("replay-break", "setting the breakpoint is allowed only in play mode"),
        ("replay-delete-break", "replay breakpoints are allowed only in play mode"), ("replay-seek", "replay must be enabled to seek"),
        ("set-numa-node", "The command is permitted only before the machine has been created"),
        ("x-exit-preconfig", "The command is permitted only before machine initialization"), ("x-query-profile", "Internal profiler not compiled"),
        ("x-query-virtio-status", "details of virtio devices are not available in this version"),
        ("x-query-virtio-queue-status", "details of virtio devices are not available in this version"),
        ("snapshot-save", NoSnapshots), ("snapshot-load", NoSnapshots), ("snapshot-delete", NoSnapshots),
    ];

    public static Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; } = Build();

    /// <summary>Nothing can be traced: a pattern finds nothing, and a name is unknown.</summary>
    private static JsonArray Event(string name) => name.Contains('*', StringComparison.Ordinal) ? [] : throw QmpErrorException.Generic($"unknown event \"{name}\"");

    private static Dictionary<string, Func<QmpArguments, JsonNode?>> Build()
    {
        var table = new Dictionary<string, Func<QmpArguments, JsonNode?>>
        {
            ["query-balloon"] = static _ => throw NoBalloon,
            ["balloon"] = static _ => throw NoBalloon,
            ["query-vnc"] = static _ => new JsonObject { ["enabled"] = false },
            ["query-spice"] = static _ => new JsonObject { ["migrated"] = false, ["enabled"] = false, ["mouse-mode"] = "client" },
            ["query-migrate"] = static _ => null,
            ["query-migrate-capabilities"] = static _ => new JsonArray([.. Capabilities.Select(static c => (JsonNode)new JsonObject { ["state"] = false, ["capability"] = c })]),
            ["migrate-set-capabilities"] = static a => a.Array("capabilities").Any(static c => (bool)c!["state"]! && (string)c["capability"]! != "events")
                ? throw QmpErrorException.Generic("migration is not available in this version")
                : null,
            ["query-migrate-parameters"] = static _ => new JsonObject { ["downtime-limit"] = 300, ["max-bandwidth"] = 134217728 },
            ["query-replay"] = static _ => new JsonObject { ["icount"] = 0, ["mode"] = "none" },
            ["query-sev"] = static _ => new JsonObject { ["enabled"] = false },
            ["query-colo-status"] = static _ => new JsonObject { ["last-mode"] = "none", ["mode"] = "none", ["reason"] = "none" },
            ["query-dirty-rate"] = static _ => new JsonObject { ["status"] = "unstarted", ["sample-pages"] = 512, ["start-time"] = 0, ["calc-time"] = 0 },
            ["trace-event-get-state"] = static a => Event(a.Text("name")),
            ["trace-event-set-state"] = static a => QmpCommands.Do(() => Event(a.Text("name"))),
            ["x-query-opcount"] = static _ => new JsonObject { ["human-readable-text"] = "[TCG profiler not compiled]\n" },
            ["x-query-rdma"] = static _ => new JsonObject { ["human-readable-text"] = "" },
            ["add_client"] = static a => throw QmpErrorException.Generic($"protocol '{a.Text("protocol")}' is invalid"),
        };
        foreach (var name in (ReadOnlySpan<string>)["query-acpi-ospm-status", "query-vnc-servers", "query-tpm", "query-tpm-models",
            "query-tpm-types", "query-memory-devices", "query-pr-managers", "query-stats-schemas", "query-stats", "query-vcpu-dirty-limit", "x-query-virtio"])
            table[name] = static _ => new JsonArray();
        foreach (var name in (ReadOnlySpan<string>)["migrate_cancel", "migrate-set-parameters", "cancel-vcpu-dirty-limit", "display-reload"])
            table[name] = static _ => null;
        foreach (var (name, reason) in Refusals)
            table[name] = _ => throw QmpErrorException.Generic(reason);
        return table;
    }

    private static QmpErrorException NoBalloon => QmpErrorException.NotActive("No balloon device has been activated");
}
