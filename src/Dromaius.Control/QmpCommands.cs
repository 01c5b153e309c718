using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;

namespace Dromaius.Control;

/// <summary>The commands of QMP. Used under the machine lock.</summary>
public sealed class QmpCommands
{
    private readonly IMachineControl _machine;
    private readonly HmpCommands _human;
    private readonly SortedDictionary<string, Func<JsonObject, JsonNode>> _commands;

    public QmpCommands(IMachineControl machine)
    {
        _machine = machine;
        _human = new HmpCommands(machine);
        _commands = new(StringComparer.Ordinal)
        {
            ["cont"] = _ => Do(machine.Continue),
            ["human-monitor-command"] = a => _human.Execute(Text(a, "command-line")).Replace("\n", "\r\n"),
            ["input-send-event"] = SendEvents,
            ["inject-nmi"] = _ => Do(machine.Nmi),
            ["qmp_capabilities"] = _ => throw new UserErrorException("Capabilities negotiation is already complete, command ignored"),
            ["query-chardev"] = _ => QueryChardev(),
            ["query-commands"] = _ => QueryCommands(),
            ["query-cpus-fast"] = _ => QueryCpus(),
            ["query-kvm"] = _ => new JsonObject { ["enabled"] = false, ["present"] = false },
            ["query-memory-size-summary"] = _ => new JsonObject { ["base-memory"] = machine.RamSize },
            ["query-mice"] = _ => QueryMice(),
            ["query-name"] = _ => machine.Name is { } name ? new JsonObject { ["name"] = name } : [],
            ["query-status"] = _ => QueryStatus(),
            ["query-target"] = _ => new JsonObject { ["arch"] = machine.Target },
            ["query-uuid"] = _ => new JsonObject { ["UUID"] = machine.Uuid.ToString() },
            ["query-version"] = _ => Version(),
            ["quit"] = _ => Do(machine.Quit),
            ["ringbuf-read"] = ReadRingBuffer,
            ["screendump"] = Screendump,
            ["send-key"] = SendKey,
            ["stop"] = _ => Do(machine.Stop),
            ["system_powerdown"] = _ => Do(machine.PowerDown),
            ["system_reset"] = _ => Do(machine.Reset),
        };
    }

    /// <summary>Runs a command; null when there is none of that name.</summary>
    public JsonNode? Execute(string name, JsonObject arguments) =>
        _commands.TryGetValue(name, out var command) ? command(arguments) : null;

    internal static JsonObject Version() => new()
    {
        ["qemu"] = new JsonObject
        {
            ["micro"] = Product.QemuMicro,
            ["minor"] = Product.QemuMinor,
            ["major"] = Product.QemuMajor,
        },
        ["package"] = $"Dromaius {Product.Version}",
    };

    private static JsonObject Do(Action action)
    {
        action();
        return [];
    }

    private static string Text(JsonObject arguments, string key) =>
        arguments[key] is JsonValue value && value.TryGetValue<string>(out var text)
            ? text
            : throw new UserErrorException($"Parameter '{key}' is missing");

    private JsonObject QueryStatus() => new()
    {
        ["status"] = _machine.State switch
        {
            RunState.Running => "running",
            RunState.PreLaunch => "prelaunch",
            RunState.Shutdown => "shutdown",
            RunState.GuestPanicked => "guest-panicked",
            RunState.InternalError => "internal-error",
            _ => "paused",
        },
        ["singlestep"] = false,
        ["running"] = _machine.State == RunState.Running,
    };

    private JsonArray QueryCpus()
    {
        var list = new JsonArray();
        foreach (var cpu in _machine.Cpus)
        {
            list.Add((JsonNode)new JsonObject
            {
                ["thread-id"] = cpu.ThreadId,
                ["cpu-index"] = cpu.Index,
                ["target"] = _machine.Target,
                ["qom-path"] = $"/machine/unattached/device[{cpu.Index}]",
            });
        }

        return list;
    }

    private JsonArray QueryCommands()
    {
        var list = new JsonArray();
        foreach (var name in _commands.Keys)
            list.Add((JsonNode)new JsonObject { ["name"] = name });
        return list;
    }

    private JsonArray QueryChardev()
    {
        var list = new JsonArray();
        foreach (var (id, backend) in _machine.Chardevs)
        {
            list.Add((JsonNode)new JsonObject
            {
                ["frontend-open"] = backend.Sink != null,
                ["label"] = id,
                ["filename"] = (backend as CharBackend)?.Description ?? "mux",
            });
        }

        return list;
    }

    private JsonNode ReadRingBuffer(JsonObject arguments)
    {
        var id = Text(arguments, "device");
        if (!_machine.Chardevs.TryGetValue(id, out var backend))
            throw new UserErrorException($"Device '{id}' not found");
        if (backend is not RingBufferBackend ring)
            throw new UserErrorException($"{id} is not a ringbuf device");
        var bytes = ring.Snapshot();
        var size = Math.Clamp(arguments["size"]?.GetValue<int>() ?? bytes.Length, 0, bytes.Length);
        return System.Text.Encoding.UTF8.GetString(bytes.AsSpan(0, size));
    }

    private JsonObject SendKey(JsonObject arguments)
    {
        if (arguments["keys"] is not JsonArray array)
            throw new UserErrorException("Parameter 'keys' is missing");
        var codes = new List<int>();
        foreach (var item in array)
            codes.Add(InputCommands.KeyCode(item));
        _machine.PressKeys([.. codes], arguments["hold-time"]?.GetValue<int>() ?? 100);
        return [];
    }

    private JsonObject SendEvents(JsonObject arguments)
    {
        if (arguments["events"] is not JsonArray array)
            throw new UserErrorException("Parameter 'events' is missing");
        InputCommands.SendEvents(_machine.Input, array);
        return [];
    }

    private JsonObject Screendump(JsonObject arguments)
    {
        var format = arguments["format"]?.ToString() ?? "ppm";
        if (format is not ("ppm" or "png"))
            throw new UserErrorException($"Parameter 'format' does not accept value '{format}'");
        InputCommands.Screendump(_machine.Displays, Text(arguments, "filename"), arguments["device"]?.ToString(),
            arguments["head"]?.GetValue<int>() ?? 0, format);
        return [];
    }

    private JsonArray QueryMice()
    {
        var list = new JsonArray();
        foreach (var mouse in _machine.Input.Pointers)
        {
            list.Add((JsonNode)new JsonObject
            {
                ["name"] = mouse.Name, ["absolute"] = mouse.IsAbsolute, ["current"] = mouse.IsCurrent, ["index"] = mouse.Index,
            });
        }

        return list;
    }
}
