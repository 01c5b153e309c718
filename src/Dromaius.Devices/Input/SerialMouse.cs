using Dromaius.Consoles;
using Dromaius.Core.Chardev;
using Dromaius.Core.Time;

namespace Dromaius.Devices.Input;

/// <summary>
/// A mouse with three buttons at the other end of a serial line, which feeds it through RTS and DTR: it says who it is when both
/// rise, then sends movements and buttons. Packets of 7-bit bytes: 1 L R Y7 Y6 X7 X6, X5-X0, Y5-Y0, and the middle button in bit 5 of
/// a fourth as Logitech's have it. Source: Microsoft, "Serial Mouse Protocol" (Microsoft Mouse Programmer's Reference).
/// </summary>
public sealed class SerialMouse : CharBackend, IInputHandler
{
    private const byte First = 0x40, Left = 0x20, Right = 0x10, Middle = 0x20;
    private const int MostPackets = 64, PacketSize = 4, Furthest = 127, Limit = 1 << 16;

    private readonly EventLoop _loop;
    private readonly InputRouter _router;
    private readonly Action _deliver;
    private readonly Queue<byte> _queue = new();
    private bool _powered;
    private bool _left, _right, _middle;
    private bool _pressed;      // a button changed since the last packet
    private int _x, _y;

    /// <param name="loop">Runs the input.</param>
    /// <param name="id">The chardev's name.</param>
    /// <param name="router">Whose events it takes.</param>
    public SerialMouse(EventLoop loop, string id, InputRouter router)
        : base(loop, id)
    {
        _loop = loop;
        _router = router;
        _deliver = Deliver;
        router.Register(this);
    }

    public override string Description => "msmouse";

    string IInputHandler.Name => "QEMU Microsoft Mouse";

    InputKinds IInputHandler.Kinds => InputKinds.Button | InputKinds.Relative;

    public override void AcceptInput() => _loop.Post(_deliver);

    public override void SetModemLines(bool dtr, bool rts)
    {
        var powered = dtr && rts;
        if (powered == _powered)
            return;
        _powered = powered;
        _queue.Clear();
        _x = _y = 0;
        _pressed = false;
        if (!powered)
            return;
        _queue.Enqueue((byte)'M');
        _queue.Enqueue((byte)'3');
        _loop.Post(_deliver);
    }

    void IInputHandler.Button(PointerButton button, bool down)
    {
        switch (button)
        {
            case PointerButton.Left:
                _left = down;
                break;
            case PointerButton.Right:
                _right = down;
                break;
            case PointerButton.Middle:
                _middle = down;
                break;
            default:
                return;
        }

        _pressed = true;
    }

    void IInputHandler.Move(PointerAxis axis, int delta)
    {
        delta = Math.Clamp(delta, -Limit, Limit);
        if (axis == PointerAxis.X)
            _x = Math.Clamp(_x + delta, -Limit, Limit);
        else
            _y = Math.Clamp(_y + delta, -Limit, Limit);
    }

    void IInputHandler.Sync()
    {
        if (!_powered)
        {
            _x = _y = 0;
            return;
        }

        // A press is not to be lost in its release; movements may wait and be one.
        if (_pressed && _queue.Count <= (MostPackets - 1) * PacketSize)
            AddPacket();
        Deliver();
    }

    protected override void Send(ReadOnlySpan<byte> bytes)
    {
    }

    protected override void Close() => _router.Unregister(this);

    private void AddPacket()
    {
        var (x, y) = (Math.Clamp(_x, -Furthest, Furthest), Math.Clamp(_y, -Furthest, Furthest));
        _x -= x;
        _y -= y;
        _pressed = false;
        _queue.Enqueue((byte)(First | (_left ? Left : 0) | (_right ? Right : 0) | ((y >> 6) & 3) << 2 | ((x >> 6) & 3)));
        _queue.Enqueue((byte)(x & 0x3F));
        _queue.Enqueue((byte)(y & 0x3F));
        _queue.Enqueue(_middle ? Middle : (byte)0);
    }

    private void Deliver()
    {
        while (Sink is { CanReceive: > 0 } sink)
        {
            if (_queue.Count == 0)
            {
                if (!_pressed && _x == 0 && _y == 0)
                    return;
                AddPacket();
            }

            sink.Receive([_queue.Dequeue()]);
        }
    }
}
