using Dromaius.Consoles;
using Dromaius.Core.Chardev;
using Dromaius.Core.Time;
using Dromaius.Devices.Input;

namespace Dromaius.Devices.Tests;

/// <summary>The mouse on a serial line, by the bytes that a UART gets from it.</summary>
public sealed class SerialMouseTests : IDisposable
{
    private readonly InputRouter _router = new();
    private readonly SerialMouse _mouse;
    private readonly Line _line = new();

    public SerialMouseTests()
    {
        _mouse = new SerialMouse(new EventLoop(new Lock()), "mouse", _router) { Sink = _line };
    }

    public void Dispose() => _mouse.Dispose();

    [Fact]
    public void SaysWhoItIsWhenItGetsPower()
    {
        Move(5, 5);
        Assert.Empty(_line.Take());
        _mouse.SetModemLines(dtr: true, rts: false);
        Move(5, 5);
        Assert.Empty(_line.Take());
        Power();
        _mouse.SetModemLines(dtr: true, rts: true);
        Move(0, 0);
        Assert.Empty(_line.Take());
        _mouse.SetModemLines(dtr: false, rts: true);
        Power();
    }

    [Fact]
    public void SendsMovementsAndButtons()
    {
        Power();
        Move(5, -3);
        Assert.Equal([0x4C, 5, 0x3D, 0], _line.Take());
        Press(PointerButton.Left, true);
        Assert.Equal([0x60, 0, 0, 0], _line.Take());
        Press(PointerButton.Right, true);
        Press(PointerButton.Left, false);
        Press(PointerButton.Middle, true);
        Assert.Equal([0x70, 0, 0, 0, 0x50, 0, 0, 0, 0x50, 0, 0, 0x20], _line.Take());
        Press(PointerButton.WheelUp, true);
        Assert.Empty(_line.Take());
        Move(-200, 100);
        Assert.Equal([0x56, 1, 0x24, 0x20, 0x52, 0x37, 0, 0x20], _line.Take());
    }

    [Fact]
    public void ClicksOutlastABusyLineAndMovementsBecomeOne()
    {
        Power();
        _line.Room = 0;
        Press(PointerButton.Left, true);
        Press(PointerButton.Left, false);
        for (var i = 0; i < 10; i++)
            Move(3, 1);
        _line.Room = int.MaxValue;
        Move(0, 0);
        Assert.Equal([0x60, 0, 0, 0, 0x40, 0, 0, 0, 0x40, 30, 10, 0], _line.Take());
        _mouse.Dispose();
        Assert.Empty(_router.Pointers);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void RandomEventsArriveWhole(int seed)
    {
        var random = new Random(seed);
        Power();
        var (x, y, seenX, seenY) = (0, 0, 0, 0);
        for (var i = 0; i < 2000; i++)
        {
            _line.Room = random.Next(6);
            var (dx, dy) = (random.Next(-300, 300), random.Next(-300, 300));
            (x, y) = (x + dx, y + dy);
            Press((PointerButton)random.Next(9), random.Next(2) == 0);
            Move(dx, dy);
        }

        _line.Room = int.MaxValue;
        Move(0, 0);
        var bytes = _line.Take();
        Assert.Equal(0, bytes.Length % 4);
        for (var i = 0; i < bytes.Length; i += 4)
        {
            Assert.True((bytes[i] & 0xC0) == 0x40 && (bytes[i + 1] | bytes[i + 2] | bytes[i + 3]) < 0x40, $"seed {seed}, byte {i}");
            seenX += (sbyte)((bytes[i] << 6) | bytes[i + 1]);
            seenY += (sbyte)(((bytes[i] & 0xC) << 4) | bytes[i + 2]);
        }

        Assert.Equal((x, y), (seenX, seenY));
    }

    private void Power()
    {
        _mouse.SetModemLines(dtr: true, rts: true);
        Move(0, 0);
        Assert.Equal("M3"u8.ToArray(), _line.Take());
    }

    private void Move(int x, int y)
    {
        IInputHandler handler = _mouse;
        handler.Move(PointerAxis.X, x);
        handler.Move(PointerAxis.Y, y);
        handler.Sync();
    }

    private void Press(PointerButton button, bool down)
    {
        IInputHandler handler = _mouse;
        handler.Button(button, down);
        handler.Sync();
    }

    private sealed class Line : ICharSink
    {
        private readonly List<byte> _bytes = [];

        public int Room { get; set; } = int.MaxValue;

        public int CanReceive => Room;

        public void Receive(ReadOnlySpan<byte> bytes)
        {
            _bytes.AddRange(bytes);
            Room -= bytes.Length;
        }

        public void OnEvent(CharEvent e)
        {
        }

        public byte[] Take()
        {
            byte[] all = [.. _bytes];
            _bytes.Clear();
            return all;
        }
    }
}
