using System.Text;
using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Control.Qmp;

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
    private bool _outOfBand;
    private bool _open;
    private JsonObject? _lastReply;

    public QmpMonitor(ICharBackend backend, IMachineControl machine, bool pretty)
    {
        _backend = backend;
        _machine = machine;
        _commands = new QmpCommands(machine, backend.TakeDescriptor);
        _pretty = pretty;
        machine.Happened += OnMachineEvent;
        machine.EventRaised += OnEvent;
        backend.Sink = this;
    }

    public int CanReceive => 4096;

    public void Receive(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var used = _framer.Take(bytes, out var message, out var error);
            bytes = bytes[used..];
            if (error != null)
                Send(Error("GenericError", error, null));
            else if (message != null)
                Handle(message);
        }
    }

    public void OnEvent(CharEvent e)
    {
        switch (e)
        {
            case CharEvent.Opened or CharEvent.FocusIn when !_open:
                _open = true;
                _negotiated = _outOfBand = false;
                _framer.Reset();
                Send(new JsonObject
                {
                    ["QMP"] = new JsonObject { ["version"] = RunCommands.Version(), ["capabilities"] = new JsonArray("oob") },
                });
                break;
            case CharEvent.Closed:
                _open = _negotiated = false;
                break;
        }
    }

    private void Handle(ReadOnlySpan<byte> message)
    {
        JsonNode? id = null;
        try
        {
            if (JsonReader.Parse(message) is not JsonObject request)
                throw QmpErrorException.Generic("QMP input must be a JSON object");
            id = request["id"]?.DeepClone();
            var hasId = request.ContainsKey("id");
            var result = Dispatch(request);
            var reply = new JsonObject { ["return"] = result ?? new JsonObject() };
            if (hasId)
                reply["id"] = id;
            // The reply to what ends the machine follows the event of its end.
            if ((string?)request["execute"] == "quit")
                _lastReply = reply;
            else
                Send(reply);
        }
        catch (JsonTextException e)
        {
            Send(Error("GenericError", e.Message, null));
        }
        catch (QmpErrorException e)
        {
            Send(Error(e.ErrorClass, e.Message, id));
        }
        catch (UserErrorException e)
        {
            // Hints for people on further lines are for the human monitor.
            Send(Error("GenericError", e.Message.Split('\n')[0], id));
        }
    }

    private JsonNode? Dispatch(JsonObject request)
    {
        var word = CheckEnvelope(request);
        var name = (string)request[word]!;
        var arguments = request["arguments"] as JsonObject ?? [];
        var command = _commands.Schema.FindCommand(name);
        if (!_negotiated)
        {
            if (name != "qmp_capabilities")
                throw QmpErrorException.CommandNotFound("Expecting capabilities negotiation with 'qmp_capabilities'");
            _commands.Schema.Check(command!, arguments);
            _outOfBand = arguments["enable"] is JsonArray { Count: > 0 };
            _negotiated = true;
            return null;
        }

        if (command == null)
            throw QmpErrorException.CommandNotFound($"The command {name} has not been found");
        if (name == "qmp_capabilities")
            throw QmpErrorException.CommandNotFound("Capabilities negotiation is already complete, command ignored");
        // Commands are done as they come, so that one out of band has nothing to overtake.
        if (word == "exec-oob" && !command.AllowsOutOfBand)
            throw QmpErrorException.Generic($"The command {name} does not support OOB");
        _commands.Schema.Check(command, arguments);
        return _commands.Execute(command, arguments);
    }

    /// <summary>Checks what surrounds the arguments; gives the member that names the command.</summary>
    private string CheckEnvelope(JsonObject request)
    {
        string? word = null;
        foreach (var (key, value) in request)
        {
            switch (key)
            {
                case "execute" or "exec-oob" when key == "execute" || _outOfBand:
                    if (value is not JsonValue text || !text.TryGetValue<string>(out _))
                        throw QmpErrorException.Generic($"QMP input member '{key}' must be a string");
                    if (word != null)
                        throw QmpErrorException.Generic("QMP input member 'execute' clashes with 'exec-oob'");
                    word = key;
                    break;
                case "arguments":
                    if (value is not JsonObject)
                        throw QmpErrorException.Generic("QMP input member 'arguments' must be an object");
                    break;
                case "id":
                    break;
                default:
                    throw QmpErrorException.Generic($"QMP input member '{key}' is unexpected");
            }
        }

        return word ?? throw QmpErrorException.Generic("QMP input lacks member 'execute'");
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
        switch (e.Kind)
        {
            case MachineEventKind.Started:
                OnEvent("RESUME", null);
                break;
            case MachineEventKind.Stopped:
                OnEvent("STOP", null);
                break;
            case MachineEventKind.Reset:
                OnEvent("RESET", Cause(e.Reason));
                break;
            case MachineEventKind.PowerDown:
                OnEvent("POWERDOWN", null);
                break;
            case MachineEventKind.Shutdown:
                OnEvent("SHUTDOWN", Cause(e.Reason));
                if (_lastReply is { } last)
                    Send(last);
                _lastReply = null;
                break;
            case MachineEventKind.GuestPanicked:
                OnEvent("GUEST_PANICKED", new JsonObject { ["action"] = _machine.OnPanic == PanicAction.None ? "run" : "pause" });
                break;
            case MachineEventKind.GuestCrashLoaded:
                OnEvent("GUEST_CRASHLOADED", new JsonObject { ["action"] = "run" });
                break;
        }
    }

    private void OnEvent(string name, JsonObject? data)
    {
        if (!_negotiated)
            return;
        var now = DateTime.UtcNow - DateTime.UnixEpoch;
        var message = new JsonObject
        {
            ["timestamp"] = new JsonObject
            {
                ["seconds"] = (long)now.TotalSeconds, ["microseconds"] = (long)(now.TotalMicroseconds % 1_000_000),
            },
            ["event"] = name,
        };
        if (data != null)
            message["data"] = data.DeepClone();
        Send(message);
    }

    private static JsonObject Cause(EventReason reason) => new()
    {
        ["guest"] = reason is EventReason.GuestShutdown or EventReason.GuestReset or EventReason.GuestPanic,
        ["reason"] = reason switch
        {
            EventReason.HostRequest => "host-qmp-quit",
            EventReason.HostReset => "host-qmp-system-reset",
            EventReason.HostSignal => "host-signal",
            EventReason.GuestShutdown => "guest-shutdown",
            EventReason.GuestReset => "guest-reset",
            EventReason.GuestPanic => "guest-panic",
            EventReason.HostError => "host-error",
            _ => "none",
        },
    };

    private void Send(JsonObject message) => _backend.Write(Encoding.ASCII.GetBytes(JsonText.Write(message, _pretty) + "\r\n"));
}
