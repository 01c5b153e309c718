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
        command query-stats-schemas -> [StatsSchema]
        command query-vm-generation-id -> any
        command set_password(protocol: str, password: str)
        command expire_password(protocol: str, time: str)
        """;

    private static readonly string[] Capabilities =
    [
        "xbzrle", "rdma-pin-all", "auto-converge", "zero-blocks", "compress", "events", "postcopy-ram", "x-colo", "release-ram", "block",
        "return-path", "pause-before-switchover", "multifd", "dirty-bitmaps", "postcopy-blocktime", "late-block-activate", "x-ignore-shared",
        "validate-uuid", "background-snapshot", "zero-copy-send", "postcopy-preempt",
    ];

    public static Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; } = Build();

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
                ? throw QmpErrorException.Generic("Migration is not available")
                : null,
            ["query-migrate-parameters"] = static _ => new JsonObject { ["downtime-limit"] = 300, ["max-bandwidth"] = 134217728 },
            ["query-replay"] = static _ => new JsonObject { ["icount"] = 0, ["mode"] = "none" },
            ["query-sev"] = static _ => new JsonObject { ["enabled"] = false },
            ["query-vm-generation-id"] = static _ => throw QmpErrorException.Generic("VM Generation ID device not found"),
            ["set_password"] = static _ => throw QmpErrorException.Generic("Could not set password"),
            ["expire_password"] = static _ => throw QmpErrorException.Generic("Could not set password expire time"),
        };
        foreach (var name in (ReadOnlySpan<string>)["query-acpi-ospm-status", "query-vnc-servers", "query-tpm", "query-tpm-models",
            "query-tpm-types", "query-memory-devices", "query-pr-managers", "query-stats-schemas"])
            table[name] = static _ => new JsonArray();
        return table;
    }

    private static QmpErrorException NoBalloon => QmpErrorException.NotActive("No balloon device has been activated");
}
