using System.Text.Json.Nodes;
using Dromaius.Consoles;
using Dromaius.Control.Qmp;
using Dromaius.Core.Errors;

namespace Dromaius.Control;

/// <summary>Keys, pointers and pictures: what both monitors do with <c>Dromaius.Consoles</c>. Used under the machine lock.</summary>
internal static class InputCommands
{
    private static readonly (string Name, PointerButton Button)[] Buttons =
    [
        ("left", PointerButton.Left), ("middle", PointerButton.Middle), ("right", PointerButton.Right),
        ("wheel-up", PointerButton.WheelUp), ("wheel-down", PointerButton.WheelDown), ("side", PointerButton.Side),
        ("extra", PointerButton.Extra), ("wheel-left", PointerButton.WheelLeft), ("wheel-right", PointerButton.WheelRight),
    ];

    /// <summary>A key of QMP: <c>{"type": "qcode", "data": "ret"}</c> or <c>{"type": "number", "data": 28}</c>.</summary>
    public static int KeyCode(JsonNode? key)
    {
        if (key?["data"] is not JsonValue data)
            throw new UserErrorException("Parameter 'data' is missing");
        if ((string?)key["type"] == "number")
            return data.TryGetValue<int>(out var number) ? KeyNames.FromNumber(number) : 0;
        var name = data.ToString();
        return KeyNames.TryGetCode(name, out var code)
            ? code
            : throw new UserErrorException($"Parameter 'data' does not accept value '{name}'");
    }

    /// <summary><c>input-send-event</c>: all or none of the events.</summary>
    public static void SendEvents(InputRouter router, JsonArray events)
    {
        foreach (var e in events)
        {
            var (kind, name) = (string?)e!["type"] switch
            {
                "key" => (InputKinds.Key, "key"),
                "btn" => (InputKinds.Button, "btn"),
                "rel" => (InputKinds.Relative, "rel"),
                "abs" => (InputKinds.Absolute, "abs"),
                _ => throw new UserErrorException("Parameter 'type' is missing"),
            };
            if (!router.Takes(kind))
                throw new UserErrorException($"Input handler not found for event type {name}");
            Check(e["data"]);
        }

        foreach (var e in events)
            Send(router, (string)e!["type"]!, e["data"]!);
        router.Sync();
    }

    private static void Check(JsonNode? data)
    {
        if (data?["key"] is { } key)
            _ = KeyCode(key);
        if (data?["button"] is { } button)
            _ = Button(button.ToString());
    }

    private static void Send(InputRouter router, string type, JsonNode data)
    {
        switch (type)
        {
            case "key":
                router.Key(KeyCode(data["key"]), (bool)data["down"]!);
                break;
            case "btn":
                router.Button(Button((string)data["button"]!), (bool)data["down"]!);
                break;
            case "rel":
                router.Move(Axis(data), Value(data));
                break;
            default:
                router.MoveTo(Axis(data), Value(data));
                break;
        }
    }

    private static PointerAxis Axis(JsonNode data) => (string?)data["axis"] == "y" ? PointerAxis.Y : PointerAxis.X;

    private static int Value(JsonNode data) => (int)Math.Clamp((long)data["value"]!, int.MinValue, int.MaxValue);

    private static PointerButton Button(string name)
    {
        foreach (var (known, button) in Buttons)
        {
            if (known == name)
                return button;
        }

        throw new UserErrorException($"Parameter 'button' does not accept value '{name}'");
    }

    /// <summary>The codes of names joined by dashes, as in <c>ctrl-alt-delete</c>.</summary>
    public static int[] ParseKeys(string keys)
    {
        var codes = new List<int>();
        // A key that is a dash itself comes as a single one.
        foreach (var name in keys == "-" ? ["minus"] : keys.Split('-'))
        {
            var known = name == "<" ? "less" : name;
            if (!KeyNames.TryParse(known, out var code))
                throw new InvalidKeyException(name);
            codes.Add(code);
        }

        return [.. codes];
    }

    /// <summary>A name that is no key's.</summary>
    public sealed class InvalidKeyException(string key) : Exception
    {
        public string Key => key;
    }

    /// <summary><c>mouse_move</c>: relative, or absolute when the pointer is.</summary>
    public static void MoveMouse(InputRouter router, int dx, int dy, int dz)
    {
        if (router.IsAbsolute)
        {
            router.MoveTo(PointerAxis.X, dx);
            router.MoveTo(PointerAxis.Y, dy);
        }
        else
        {
            router.Move(PointerAxis.X, dx);
            router.Move(PointerAxis.Y, dy);
        }

        if (dz != 0)
        {
            var wheel = dz > 0 ? PointerButton.WheelUp : PointerButton.WheelDown;
            router.Button(wheel, true);
            router.Button(wheel, false);
        }

        router.Sync();
    }

    /// <summary><c>mouse_button</c>: the state of all three.</summary>
    /// <returns>The new state.</returns>
    public static int SetButtons(InputRouter router, int before, int now)
    {
        // The command's bits: 1 left, 2 middle, 4 right.
        (int Bit, PointerButton Button)[] bits = [(1, PointerButton.Left), (2, PointerButton.Middle), (4, PointerButton.Right)];
        foreach (var (bit, button) in bits)
        {
            if (((before ^ now) & bit) != 0)
                router.Button(button, (now & bit) != 0);
        }

        router.Sync();
        return now;
    }

    /// <summary><c>screendump</c>: the picture of a screen into a file.</summary>
    public static void Screendump(DisplayList displays, string file, string? device, int head, string format)
    {
        var console = Find(displays, device, head);
        console.Refresh();
        try
        {
            using var output = new BufferedStream(new FileStream(file, FileMode.Create, FileAccess.Write), 1 << 16);
            if (format == "png")
                PictureWriter.WritePng(console.Surface, output);
            else
                PictureWriter.WritePpm(console.Surface, output);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new UserErrorException($"failed to open file '{file}': {HostErrors.Explain(e)}");
        }
    }

    private static DisplayConsole Find(DisplayList displays, string? device, int head)
    {
        if (device == null)
        {
            if (head != 0)
                throw new UserErrorException("'head' must be specified together with 'device'");
            return displays.Consoles.Count > 0
                ? displays.Consoles[0]
                : throw new UserErrorException("There is no console to take a screendump from");
        }

        var console = displays.Consoles.FirstOrDefault(c => c.DeviceId == device)
            ?? throw new UserErrorException($"Device '{device}' not found");
        return head == 0 ? console : throw new UserErrorException($"Device {device} (head {head}) is not bound to a QemuConsole");
    }
}
