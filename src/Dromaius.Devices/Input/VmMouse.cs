using Dromaius.Consoles;
using Dromaius.Core.Devices;

namespace Dromaius.Devices.Input;

/// <summary>
/// The VMware mouse: a PS/2 mouse whose movements, absolute if the driver likes, are fetched through the backdoor, each four words:
/// buttons, x, y, wheel. The PS/2 mouse only says that there is something. Source: VMware xf86-input-vmmouse, "VMMouse protocol".
/// </summary>
public sealed class VmMouse : Device, IInputHandler
{
    private const int DataCommand = 39, StatusCommand = 40, CommandCommand = 41;
    private const uint ReadId = 0x4541_4552, Disable = 0xF5, RequestRelative = 0x4C45_5252, RequestAbsolute = 0x5342_4152, Version = 0x3442_554A;
    private const int QueueSize = 1024, PacketSize = 4, MostWords = 6;
    private const ushort Error = 0xFFFF;
    private const uint RelativePacket = 0x1_0000, Left = 0x20, Right = 0x10, Middle = 0x08;

    private readonly Queue<uint> _queue = new();
    private readonly Ps2Mouse _mouse;
    private readonly InputRouter _router;
    private ushort _status = Error;
    private bool _absolute;
    private bool _registered;
    private uint _buttons;
    private int _x, _y, _dz;
    private bool _changed;

    public VmMouse(VmPort port, Ps2Mouse mouse, InputRouter router)
    {
        _mouse = mouse;
        _router = router;
        port.Add(StatusCommand, _ => (uint)_status << 16 | (uint)_queue.Count);
        port.Add(CommandCommand, Command);
        port.Add(DataCommand, Data);
    }

    public override string TypeName => "vmmouse";

    string IInputHandler.Name => "vmmouse";

    InputKinds IInputHandler.Kinds => InputKinds.Button | (_absolute ? InputKinds.Absolute : InputKinds.Relative);

    public override void Reset()
    {
        _queue.Clear();
        _status = Error;
        _absolute = _changed = false;
        _buttons = 0;
        _x = _y = _dz = 0;
        Unregister();
    }

    void IInputHandler.Button(PointerButton button, bool down)
    {
        var bit = button switch
        {
            PointerButton.Left => Left,
            PointerButton.Right => Right,
            PointerButton.Middle => Middle,
            _ => 0u,
        };
        _buttons = down ? _buttons | bit : _buttons & ~bit;
        if (down && button is PointerButton.WheelUp or PointerButton.WheelDown)
            _dz += button == PointerButton.WheelUp ? -1 : 1;
        _changed = true;
    }

    void IInputHandler.Move(PointerAxis axis, int delta)
    {
        const int Limit = 1 << 16;
        if (axis == PointerAxis.X)
            _x = Math.Clamp(_x + Math.Clamp(delta, -Limit, Limit), -Limit, Limit);
        else
            _y = Math.Clamp(_y + Math.Clamp(delta, -Limit, Limit), -Limit, Limit);
        _changed = true;
    }

    void IInputHandler.MoveTo(PointerAxis axis, int position)
    {
        if (axis == PointerAxis.X)
            _x = position;
        else
            _y = position;
        _changed = true;
    }

    void IInputHandler.Sync()
    {
        if (!_changed || !_registered)
            return;
        _changed = false;
        if (_queue.Count <= QueueSize - PacketSize)
        {
            // Absolute positions take all sixteen bits.
            var shift = _absolute ? 1 : 0;
            _queue.Enqueue(_buttons | (_absolute ? 0 : RelativePacket));
            _queue.Enqueue((uint)(_x << shift));
            _queue.Enqueue((uint)(_y << shift));
            _queue.Enqueue((uint)_dz);
            _mouse.Move(1, 0, 0);
        }

        _dz = 0;
        if (!_absolute)
            _x = _y = 0;
    }

    private uint Command(IBackdoorRegisters registers)
    {
        switch (registers.Ebx)
        {
            case Disable:
                _status = Error;
                Unregister();
                break;
            case ReadId:
                if (_queue.Count < QueueSize)
                    _queue.Enqueue(Version);
                _status = 0;
                break;
            case RequestRelative or RequestAbsolute:
                Use(registers.Ebx == RequestAbsolute);
                break;
        }

        return registers.Eax;
    }

    private void Use(bool absolute)
    {
        if (_status != 0)
            return;
        if (_absolute != absolute)
        {
            Unregister();
            _absolute = absolute;
        }

        if (_registered)
            return;
        _registered = true;
        _router.Register(this);
        _router.Activate(this);
    }

    private void Unregister()
    {
        if (_registered)
            _router.Unregister(this);
        _registered = false;
    }

    /// <summary>Hands over as many words as EBX asks for, in EAX, EBX, ECX, EDX, ESI and EDI.</summary>
    private uint Data(IBackdoorRegisters registers)
    {
        var count = registers.Ebx;
        if (count is 0 or > MostWords || count > _queue.Count)
        {
            _status = Error;
            Unregister();
            return registers.Eax;
        }

        var first = _queue.Dequeue();
        if (count > 1)
            registers.Ebx = _queue.Dequeue();
        if (count > 2)
            registers.Ecx = _queue.Dequeue();
        if (count > 3)
            registers.Edx = _queue.Dequeue();
        if (count > 4)
            registers.Esi = _queue.Dequeue();
        if (count > 5)
            registers.Edi = _queue.Dequeue();
        return first;
    }
}
