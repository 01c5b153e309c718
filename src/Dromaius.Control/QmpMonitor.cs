using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;

namespace Dromaius.Control;

/// <summary>
/// The machine protocol (QMP) on a character device: JSON commands in, replies and events out, after the greeting and
/// <c>qmp_capabilities</c>.
/// </summary>
public sealed class QmpMonitor : ICharSink
{
    private readonly ICharBackend _backend;
    private readonly IMachineControl _machine;
    private readonly QmpCommands _commands;
    private readonly JsonFramer _framer = new();
    private readonly bool _pretty;
    private bool _negotiated;
    private bool _open;

    public QmpMonitor(ICharBackend backend, IMachineControl machine, bool pretty)
    {
        _backend = backend;
        _machine = machine;
        _commands = new QmpCommands(machine);
        _pretty = pretty;
        machine.Happened += OnMachineEvent;
        backend.Sink = this;
    }

    public int CanReceive => 4096;

    public void Receive(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var used = _framer.Take(bytes, out var message, out var junk);
            bytes = bytes[used..];
            if (message == null)
                return;
            if (!junk)
                Handle(message);
            else
            {
                // Text outside of any object: one error, and the rest of the line is dropped.
                Send(Error("GenericError", $"JSON parse error, invalid keyword '{Encoding.UTF8.GetString(message)}'", null));
                var end = bytes.IndexOf((byte)'\n');
                bytes = end < 0 ? [] : bytes[(end + 1)..];
            }
        }
    }

    public void OnEvent(CharEvent e)
    {
        switch (e)
        {
            case CharEvent.Opened or CharEvent.FocusIn when !_open:
                _open = true;
                _negotiated = false;
                _framer.Reset();
                Send(new JsonObject
                {
                    ["QMP"] = new JsonObject
                    {
                        ["version"] = QmpCommands.Version(),
                        ["capabilities"] = new JsonArray("oob"),
                    },
                });
                break;
            case CharEvent.Closed:
                _open = false;
                _negotiated = false;
                break;
        }
    }

    private void Handle(byte[] message)
    {
        JsonObject request;
        try
        {
            if (JsonNode.Parse(message) is not JsonObject parsed)
            {
                Send(Error("GenericError", "QMP input must be a JSON object", null));
                return;
            }

            request = parsed;
        }
        catch (JsonException)
        {
            Send(Error("GenericError", "JSON parse error, invalid input", null));
            return;
        }

        var id = request["id"]?.DeepClone();
        if (request["execute"] is not JsonValue name || !name.TryGetValue<string>(out var command))
        {
            Send(Error("GenericError", "QMP input lacks member 'execute'", id));
            return;
        }

        if (!_negotiated)
        {
            if (command != "qmp_capabilities")
            {
                Send(Error("CommandNotFound", $"Expecting capabilities negotiation with 'qmp_capabilities'", id));
                return;
            }

            _negotiated = true;
            Send(Reply(new JsonObject(), id));
            return;
        }

        try
        {
            var result = _commands.Execute(command, request["arguments"] as JsonObject ?? []);
            Send(result == null
                ? Error("CommandNotFound", $"The command {command} has not been found", id)
                : Reply(result, id));
        }
        catch (UserErrorException e)
        {
            Send(Error("GenericError", e.Message, id));
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException)
        {
            Send(Error("GenericError", $"Invalid parameter type: {e.Message}", id));
        }
    }

    private static JsonObject Reply(JsonNode result, JsonNode? id)
    {
        var reply = new JsonObject { ["return"] = result };
        if (id != null)
            reply["id"] = id;
        return reply;
    }

    private static JsonObject Error(string kind, string description, JsonNode? id)
    {
        var reply = new JsonObject();
        if (id != null)
            reply["id"] = id;
        reply["error"] = new JsonObject { ["class"] = kind, ["desc"] = description };
        return reply;
    }

    private void OnMachineEvent(MachineEvent e)
    {
        if (!_negotiated)
            return;
        var (name, data) = e.Kind switch
        {
            MachineEventKind.Started => ("RESUME", null),
            MachineEventKind.Stopped => ("STOP", null),
            MachineEventKind.Reset => ("RESET", Cause(e.Reason)),
            MachineEventKind.PowerDown => ("POWERDOWN", null),
            MachineEventKind.Shutdown => ("SHUTDOWN", Cause(e.Reason)),
            MachineEventKind.GuestPanicked => ("GUEST_PANICKED", new JsonObject { ["action"] = "pause" }),
            MachineEventKind.GuestCrashLoaded => ("GUEST_CRASHLOADED", new JsonObject { ["action"] = "run" }),
            _ => ("", (JsonObject?)null),
        };
        if (name.Length == 0)
            return;
        var now = DateTime.UtcNow - DateTime.UnixEpoch;
        var message = new JsonObject
        {
            ["timestamp"] = new JsonObject
            {
                ["seconds"] = (long)now.TotalSeconds,
                ["microseconds"] = (long)(now.TotalMicroseconds % 1_000_000),
            },
            ["event"] = name,
        };
        if (data != null)
            message["data"] = data;
        Send(message);
    }

    private static JsonObject Cause(EventReason reason) => new()
    {
        ["guest"] = reason is EventReason.GuestShutdown or EventReason.GuestReset or EventReason.GuestPanic,
        ["reason"] = reason switch
        {
            EventReason.HostRequest => "host-qmp-quit",
            EventReason.HostSignal => "host-signal",
            EventReason.GuestShutdown => "guest-shutdown",
            EventReason.GuestReset => "guest-reset",
            EventReason.GuestPanic => "guest-panic",
            EventReason.HostError => "host-error",
            _ => "none",
        },
    };

    private void Send(JsonObject message)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = _pretty }))
            message.WriteTo(writer);
        buffer.Write("\r\n"u8);
        _backend.Write(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
    }
}
