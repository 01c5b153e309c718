using Dromaius.Consoles;

namespace Dromaius.Devices.Input;

/// <summary>
/// PS/2 mouse: the standard one and, after its knock, the IntelliMouse with wheel (id 3) and the five-button one (id 4).
/// Sources: IBM PS/2 hardware interface technical reference, "Mouse"; Microsoft, "Intellipoint PS/2 protocol".
/// </summary>
public sealed class Ps2Mouse : Ps2Device, IInputHandler
{
    private const byte Ack = 0xFA, Nack = 0xFC, Resend = 0xFE, SelfTestPassed = 0xAA;

    /// <summary>Movements can wait and become one; a click whose release came meanwhile would be lost.</summary>
    private const int ButtonLimit = 128;

    private byte _command;
    private byte _id;
    private byte _resolution;
    private byte _rate;
    private int _knock; // the last three sample rates, one a byte
    private bool _reporting;
    private bool _remote;
    private bool _wrap;
    private bool _scale21;
    private int _dx;
    private int _dy;
    private int _dz;
    private byte _buttons;
    private byte _reported;

    public Ps2Mouse() => Reset();

    public override string TypeName => "ps2-mouse";

    /// <summary>The guest's driver asked for movements.</summary>
    public bool IsReporting => _reporting && !_remote;

    public override void Reset()
    {
        Clear();
        _command = 0;
        _id = 0;
        _knock = 0;
        _dx = _dy = _dz = 0;
        _wrap = false;
        Defaults();
    }

    /// <summary>A movement (y grows downwards, as on a screen) and turn of the wheel (positive towards the user).</summary>
    public void Move(int dx, int dy, int dz)
    {
        Gather(dx, dy, dz);
        Report();
    }

    private void Gather(int dx, int dy, int dz)
    {
        if (!_reporting && !_remote)
            return; // what was moved before the driver came is of no use to it
        const int Limit = 1 << 16;
        _dx = Math.Clamp(_dx + Math.Clamp(dx, -Limit, Limit), -Limit, Limit);
        _dy = Math.Clamp(_dy - Math.Clamp(dy, -Limit, Limit), -Limit, Limit);
        _dz = Math.Clamp(_dz + Math.Clamp(dz, -Limit, Limit), -Limit, Limit);
    }

    /// <summary>All buttons: left, right, middle, side, extra in bits 0 to 4.</summary>
    public void SetButtons(int buttons)
    {
        _buttons = (byte)(buttons & 0x1F);
        Report();
    }

    string IInputHandler.Name => "QEMU PS/2 Mouse";

    InputKinds IInputHandler.Kinds => InputKinds.Button | InputKinds.Relative;

    void IInputHandler.Move(PointerAxis axis, int delta)
    {
        if (axis == PointerAxis.X)
            Gather(delta, 0, 0);
        else
            Gather(0, delta, 0);
    }

    void IInputHandler.Button(PointerButton button, bool down)
    {
        var bit = button switch
        {
            PointerButton.Left => 1,
            PointerButton.Right => 2,
            PointerButton.Middle => 4,
            PointerButton.Side => 8,
            PointerButton.Extra => 16,
            _ => 0,
        };
        if (bit != 0)
            _buttons = (byte)(down ? _buttons | bit : _buttons & ~bit);
        else if (down && button is PointerButton.WheelUp or PointerButton.WheelDown)
            Gather(0, 0, button == PointerButton.WheelUp ? -1 : 1);
    }

    void IInputHandler.Sync() => Report();

    internal override void Write(byte value)
    {
        if (_wrap && value is not (0xEC or 0xFF))
        {
            Reply(value);
            return;
        }

        var command = _command;
        _command = 0;
        if (command == 0xE8)
        {
            _resolution = (byte)(value & 3);
            Reply(value <= 3 ? Ack : Nack);
            return;
        }

        if (command == 0xF3)
        {
            SetRate(value);
            Reply(Ack);
            return;
        }

        switch (value)
        {
            case 0xE6:
                _scale21 = false;
                Reply(Ack);
                break;
            case 0xE7:
                _scale21 = true;
                Reply(Ack);
                break;
            case 0xE8: // resolution
            case 0xF3: // sample rate
                _command = value;
                Reply(Ack);
                break;
            case 0xE9:
                Reply(Ack);
                Reply((byte)((_remote ? 0x40 : 0) | (_reporting ? 0x20 : 0) | (_scale21 ? 0x10 : 0)
                    | (_buttons & 1) << 2 | (_buttons & 4) >> 1 | (_buttons & 2) >> 1));
                Reply(_resolution);
                Reply(_rate);
                break;
            case 0xEA:
                _remote = false;
                Reply(Ack);
                break;
            case 0xEB:
                Reply(Ack);
                SendPacket(true);
                break;
            case 0xEC:
                _wrap = false;
                Reply(Ack);
                break;
            case 0xEE:
                _wrap = true;
                Reply(Ack);
                break;
            case 0xF0:
                _remote = true;
                Reply(Ack);
                break;
            case 0xF2:
                Reply(Ack);
                Reply(_id);
                break;
            case 0xF4:
                _reporting = true;
                Reply(Ack);
                break;
            case 0xF5:
                _reporting = false;
                Reply(Ack);
                break;
            case 0xF6:
                Defaults();
                Reply(Ack);
                break;
            case 0xFF:
                Reset();
                Reply(Ack);
                Reply(SelfTestPassed);
                Reply(_id);
                break;
            default:
                Reply(Resend);
                break;
        }
    }

    private void Defaults()
    {
        _rate = 100;
        _resolution = 2;
        _scale21 = _reporting = _remote = false;
    }

    private void SetRate(byte rate)
    {
        _rate = rate;
        _knock = (_knock << 8 | rate) & 0xFFFFFF;
        if (_knock == (200 << 16 | 100 << 8 | 80))
            _id = 3;
        else if (_knock == (200 << 16 | 200 << 8 | 80))
            _id = 4;
    }

    /// <summary>Tells what is not told yet: the controller asks again whenever there may be room for it.</summary>
    internal void Report()
    {
        if (!IsReporting || _command != 0)
            return;
        // A large movement takes several packets; what does not fit into the queue stays for later.
        while (_dx != 0 || _dy != 0 || (_dz != 0 && _id != 0) || _buttons != _reported)
        {
            if (!SendPacket(false))
                break;
        }
    }

    private bool SendPacket(bool asked)
    {
        // The counters have nine bits, but small drivers take the low eight for a signed byte, and mice hardly ever count so far.
        var dx = Math.Clamp(_dx, -127, 127);
        var dy = Math.Clamp(_dy, -127, 127);
        // The plain wheel byte is signed; with five buttons it has four bits.
        var dz = _id == 4 ? Math.Clamp(_dz, -8, 7) : Math.Clamp(_dz, -127, 127);
        Span<byte> packet = stackalloc byte[4];
        packet[0] = (byte)(8 | (_buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0));
        packet[1] = (byte)dx;
        packet[2] = (byte)dy;
        packet[3] = _id == 4 ? (byte)((dz & 15) | (_buttons & 0x18) << 1) : (byte)dz;
        var length = _id == 0 ? 3 : 4;
        if (asked)
        {
            foreach (var b in packet[..length])
                Reply(b);
        }
        else if (!Send(packet[..length], _buttons != _reported ? ButtonLimit : EventLimit))
            return false;

        _dx -= dx;
        _dy -= dy;
        _dz = _id == 0 ? 0 : _dz - dz;
        _reported = _buttons;
        return true;
    }
}
