using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Consoles;

namespace Dromaius.Control.Qmp;

/// <summary>Screens, keyboards and pointers.</summary>
internal sealed class ScreenCommands
{
    public static readonly string Schema = $"""
        enum QKeyCode = {string.Join(' ', KeyNames.All)}
        enum QKeyCodeType = number qcode
        struct IntWrapper = data: int
        struct QKeyCodeWrapper = data: QKeyCode
        union KeyValue(type) = type: QKeyCodeType | number: IntWrapper, qcode: QKeyCodeWrapper
        enum InputButton = left middle right wheel-up wheel-down side extra wheel-left wheel-right
        enum InputAxis = x y
        enum InputEventKind = key btn rel abs
        struct InputKeyEvent = key: KeyValue, down: bool
        struct InputBtnEvent = button: InputButton, down: bool
        struct InputMoveEvent = axis: InputAxis, value: int
        struct InputKeyEventWrapper = data: InputKeyEvent
        struct InputBtnEventWrapper = data: InputBtnEvent
        struct InputMoveEventWrapper = data: InputMoveEvent
        union InputEvent(type) = type: InputEventKind | key: InputKeyEventWrapper, btn: InputBtnEventWrapper, rel: InputMoveEventWrapper, abs: InputMoveEventWrapper
        enum ImageFormat = ppm png
        struct MouseInfo = name: str, index: int, current: bool, absolute: bool
        enum DisplayType = default none gtk sdl egl-headless curses cocoa spice-app dbus
        struct DisplayOptions = type: DisplayType
        command send-key(keys: [KeyValue], hold-time?: int)
        command input-send-event(device?: str, head?: int, events: [InputEvent])
        command query-mice -> [MouseInfo]
        command screendump(filename: str, device?: str, head?: int, format?: ImageFormat)
        command query-display-options -> DisplayOptions
        """;

    private readonly IMachineControl _machine;

    public ScreenCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["send-key"] = SendKey,
            ["input-send-event"] = SendEvents,
            ["query-mice"] = _ => Mice(),
            ["screendump"] = Screendump,
            ["query-display-options"] = static _ => new JsonObject { ["type"] = "none" },
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private JsonNode? SendKey(QmpArguments a)
    {
        _machine.PressKeys([.. a.Array("keys").Select(InputCommands.KeyCode)], (int)Math.Clamp(a.Integer("hold-time", 100), 0, int.MaxValue));
        return null;
    }

    private JsonNode? SendEvents(QmpArguments a)
    {
        if (a.OptionalText("device") is { } device && _machine.Displays.Consoles.All(c => c.DeviceId != device))
            throw QmpErrorException.DeviceNotFound(device);
        if (_machine.State != RunState.Running)
            throw QmpErrorException.Generic("VM not running");
        InputCommands.SendEvents(_machine.Input, a.Array("events"));
        return null;
    }

    private JsonNode? Screendump(QmpArguments a)
    {
        var device = a.OptionalText("device");
        if (device != null && _machine.Displays.Consoles.All(c => c.DeviceId != device))
            throw QmpErrorException.DeviceNotFound(device);
        InputCommands.Screendump(_machine.Displays, a.Text("filename"), device, (int)a.Integer("head"), a.OptionalText("format") ?? "ppm");
        return null;
    }

    private JsonArray Mice() => new([.. _machine.Input.Pointers.Select(static m => (JsonNode)new JsonObject
    {
        ["name"] = m.Name, ["index"] = m.Index, ["current"] = m.IsCurrent, ["absolute"] = m.IsAbsolute,
    })]);
}
