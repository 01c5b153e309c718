using Dromaius.Consoles;
using Dromaius.Core.Time;
using Dromaius.Devices.Input;

namespace Dromaius.Devices.Tests;

public class InputTests
{
    private readonly ManualClock _clock = new();
    private readonly Ps2Keyboard _keyboard;
    private readonly Ps2Mouse _mouse = new();
    private readonly I8042 _controller;

    public InputTests()
    {
        _keyboard = new Ps2Keyboard(_clock);
        _controller = new I8042(_keyboard, _mouse);
    }

    private List<int> Drain()
    {
        var bytes = new List<int>();
        while ((_controller.CommandPort.In(0) & 1) != 0)
            bytes.Add(_controller.DataPort.In(0));
        return bytes;
    }

    private void Command(int command, int? data = null)
    {
        _controller.CommandPort.Out(0, command);
        if (data is { } value)
            _controller.DataPort.Out(0, value);
    }

    private void Mode(int mode) => Command(0x60, mode);

    private List<int> Keyboard(params int[] bytes)
    {
        foreach (var b in bytes)
            _controller.DataPort.Out(0, b);
        return Drain();
    }

    private List<int> Mouse(params int[] bytes)
    {
        foreach (var b in bytes)
            Command(0xD4, b);
        return Drain();
    }

    [Fact]
    public void SelfTestsAndCommandByte()
    {
        Command(0xAA);
        Assert.Equal([0x55], Drain());
        Assert.Equal(4, _controller.CommandPort.In(0) & 4);
        Command(0xAB);
        Assert.Equal([0], Drain());
        Command(0xA9);
        Assert.Equal([0], Drain());
        Mode(0x47);
        Command(0x20);
        Assert.Equal([0x47], Drain());
        Mode(0x43);
        Command(0xAA);
        Assert.Equal([0x55], Drain());
        Command(0x20);
        Assert.Equal([0x43], Drain());
        Assert.Equal(4, _controller.CommandPort.In(0) & 4);
        Command(0xD0);
        Assert.Equal([0xCF], Drain());
        Command(0xD3, 0x5A);
        Assert.Equal(0x21, _controller.CommandPort.In(0) & 0x21);
        Assert.Equal([0x5A], Drain());
    }

    [Fact]
    public void ResetLineAndA20()
    {
        var resets = 0;
        _controller.ResetRequested = () => resets++;
        Command(0xD1, 0xDD);
        Assert.False(_controller.A20.Level);
        Command(0xD0);
        Assert.Equal(0, Drain()[0] & 2);
        Command(0xDF);
        Assert.True(_controller.A20.Level);
        Command(0xFE);
        Assert.Equal(1, resets);
        Command(0xFF);
        Assert.Equal(1, resets);
        Command(0xD1, 0xDE);
        Assert.Equal(2, resets);
    }

    [Fact]
    public void KeyboardCommands()
    {
        Mode(0);
        Assert.Equal([0xFA, 0xAA], Keyboard(0xFF));
        Assert.Equal([0xFA, 0xAB, 0x83], Keyboard(0xF2));
        Assert.Equal([0xEE], Keyboard(0xEE));
        Assert.Equal([0xFA], Keyboard(0xED));
        Assert.Equal([0xFA], Keyboard(0x07));
        Assert.Equal(7, _keyboard.Leds);
        Assert.Equal([0xFA], Keyboard(0xF0));
        Assert.Equal([0xFA, 0x02], Keyboard(0));
        Assert.Equal([0xFE], Keyboard(0x10));
        Assert.Equal([0xFE], Keyboard(0xFE));
        Mode(0x40);
        Assert.Equal([0xFA, 0xAB, 0x41], Keyboard(0xF2));
    }

    /// <summary>As QEMU 7.2 has it; systems that leave acknowledgements unread (Visopsys) live on it.</summary>
    [Fact]
    public void UnreadAnswersGiveWayToTheNext()
    {
        Mode(0x03);
        Assert.Equal([0xFA], Keyboard(0xED, 0));
        Assert.Equal([0xFA], Keyboard(0xF2, 0xED));
        Assert.Equal([0xFA], Keyboard(0));
        _controller.DataPort.Out(0, 0xF2);
        Assert.Equal(0xFA, _controller.DataPort.In(0));
        Assert.Equal([0xEE], Keyboard(0xEE));
        // Before keys, even in the middle of what they send.
        _keyboard.Key(0x1E, true);
        Assert.Equal([0xFA, 0x1C], Keyboard(0xED, 2));
        _keyboard.Key(0x1E, false);
        Assert.Equal(0xF0, _controller.DataPort.In(0));
        Assert.Equal([0xFA, 0xAB, 0x83, 0x1C], Keyboard(0xF2));
        // The controller's own.
        Command(0xAA);
        Command(0xAB);
        Assert.Equal([0], Drain());
        Command(0xD3, 0x66);
        Command(0x20);
        Assert.Equal([3], Drain());
        // A self test keeps what the devices have to say.
        _keyboard.Key(0x30, true);
        Command(0xAA);
        Assert.Equal([0x32, 0x55], Drain());
        // The mouse's come in turn.
        Assert.Equal([0xFA, 0, 0xFA, 0xFA], Mouse(0xF2, 0xE8, 3));
    }

    [Fact]
    public void DefaultsScanAndKeepNothing()
    {
        Mode(0x03);
        _keyboard.Key(0x1E, true);
        Assert.Equal([0xFA, 0x1C], Keyboard(0xF4));
        _keyboard.Key(0x30, true);
        Assert.Equal([0xFA], Keyboard(0xF5));
        _keyboard.Key(0x2E, true);
        Assert.Equal([0xFA], Keyboard(0xF6));
        _keyboard.Key(0x20, true);
        Assert.Equal([0x23], Drain());
    }

    [Fact]
    public void KeysInEverySet()
    {
        Mode(0x41);
        _keyboard.Key(0x1E, true);
        Assert.True(_controller.KeyboardIrq.Level);
        Assert.Equal([0x1E], Drain());
        _keyboard.Key(0x1E, false);
        Assert.Equal([0x9E], Drain());
        _keyboard.Key(0xE048, true);
        _keyboard.Key(0xE048, false);
        Assert.Equal([0xE0, 0x48, 0xE0, 0xC8], Drain());
        _keyboard.Key(ScanCodes.Pause, true);
        Assert.Equal([0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5], Drain());
        _keyboard.Key(0x41, true); // F7
        _keyboard.Key(0x41, false);
        Assert.Equal([0x41, 0xC1], Drain());
        Mode(0x01);
        _keyboard.Key(0x1E, true);
        _keyboard.Key(0x1E, false);
        Assert.Equal([0x1C, 0xF0, 0x1C], Drain());
        Keyboard(0xF0, 3);
        _keyboard.Key(0x3B, true);
        Assert.Equal([0x07], Drain());
        Keyboard(0xF0, 1);
        _keyboard.Key(0x1E, true);
        Assert.Equal([0x1E], Drain());
    }

    [Fact]
    public void EveryKeyTranslatesBackToItsSet1Code()
    {
        Mode(0x41);
        for (var key = 1; key <= 0x58; key++)
        {
            if (key is 0x54 or 0x55)
                continue;
            _keyboard.Key(key, true);
            Assert.Equal([key], Drain());
            _keyboard.Key(key, false);
            Assert.Equal([key | 0x80], Drain());
        }
    }

    [Fact]
    public void HeldKeyRepeats()
    {
        Mode(0x41);
        _keyboard.Key(0x1E, true);
        Drain();
        _clock.Advance(499_000_000);
        Assert.Empty(Drain());
        _clock.Advance(2_000_000);
        Assert.Equal([0x1E], Drain());
        _clock.Advance(1_000_000_000);
        Assert.InRange(Drain().Count, 9, 12);
        _keyboard.Key(0x1E, false);
        Drain();
        _clock.Advance(2_000_000_000);
        Assert.Empty(Drain());
    }

    /// <summary>After both knocks the fourth byte has the wheel's turn in four bits and the side buttons above it.</summary>
    [Fact]
    public void FiveButtonsAndTheWheel()
    {
        Mode(0x03);
        _ = Mouse(0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF2);
        Assert.Equal([0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 4], Mouse(0xF3, 200, 0xF3, 200, 0xF3, 80, 0xF2));
        _ = Mouse(0xF4);
        IInputHandler handler = _mouse;
        Assert.Equal([8, 0, 0, 0x10], Do(PointerButton.Side, true));
        Assert.Equal([8, 0, 0, 0x30], Do(PointerButton.Extra, true));
        Assert.Equal([8, 0, 0, 0x3F], Do(PointerButton.WheelUp, true));
        Assert.Empty(Do(PointerButton.WheelUp, false));
        Assert.Equal([8, 0, 0, 0x20], Do(PointerButton.Side, false));
        Assert.Equal([9, 0, 0, 0x20], Do(PointerButton.Left, true));

        List<int> Do(PointerButton button, bool down)
        {
            handler.Button(button, down);
            handler.Sync();
            return Drain();
        }
    }

    /// <summary>What came while nobody read is told as soon as there is room, without another event.</summary>
    [Fact]
    public void AFullQueueLosesNeitherMovementNorButtons()
    {
        Mode(0x03);
        _ = Mouse(0xF4);
        IInputHandler handler = _mouse;
        for (var i = 0; i < 20; i++)
        {
            handler.Move(PointerAxis.X, 1);
            handler.Sync();
        }

        foreach (var down in (ReadOnlySpan<bool>)[true, false])
        {
            handler.Button(PointerButton.Right, down);
            handler.Sync();
        }

        var bytes = Drain();
        Assert.Equal(0, bytes.Count % 3);
        var moved = 0;
        for (var i = 1; i < bytes.Count; i += 3)
            moved += bytes[i];
        Assert.Equal(20, moved);
        Assert.Equal([0x0A, 0x08], bytes.Where(static (_, i) => i % 3 == 0).TakeLast(2));
    }

    [Fact]
    public void EveryByteMakesAnEdge()
    {
        Mode(0x41);
        var edges = 0;
        _controller.KeyboardIrq.Connect(level => edges += level ? 1 : 0);
        _keyboard.Key(0xE048, true);
        _controller.DataPort.In(0);
        _controller.DataPort.In(0);
        Assert.Equal(2, edges);
        Assert.False(_controller.KeyboardIrq.Level);
    }

    [Fact]
    public void MouseIdentitiesAndPackets()
    {
        Mode(0x43);
        Assert.Equal([0xFA, 0xAA, 0], Mouse(0xFF));
        Assert.Equal([0xFA, 0], Mouse(0xF2));
        Mouse(0xF4);
        _mouse.Move(5, 3, 0);
        Assert.True(_controller.AuxIrq.Level);
        Assert.Equal([0x28, 5, 0xFD], Drain());
        // Far movements take several packets, none beyond a signed byte.
        _mouse.Move(-130, 127, 0);
        Assert.Equal([0x38, 0x81, 0x81, 0x18, 0xFD, 0], Drain());
        Mouse(0xF3, 200, 0xF3, 100, 0xF3, 80);
        Assert.Equal([0xFA, 3], Mouse(0xF2));
        _mouse.Move(0, 0, 1);
        Assert.Equal([8, 0, 0, 1], Drain());
        Mouse(0xF3, 200, 0xF3, 200, 0xF3, 80);
        Assert.Equal([0xFA, 4], Mouse(0xF2));
        _mouse.SetButtons(0x11);
        Assert.Equal([9, 0, 0, 0x20], Drain());
        Assert.Equal([0xFA, 0x24, 2, 80], Mouse(0xE9));
        Mouse(0xF5);
        _mouse.Move(1, 1, 1);
        Assert.Empty(Drain());
    }
}
