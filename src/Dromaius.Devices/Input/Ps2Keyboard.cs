using Dromaius.Consoles;
using Dromaius.Core.Time;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Input;

/// <summary>
/// PS/2 keyboard with 102 keys. Source: IBM PS/2 hardware interface technical reference, "101- and 102-key keyboards".
/// </summary>
public sealed class Ps2Keyboard : Ps2Device, IInputHandler
{
    private const byte Ack = 0xFA, Resend = 0xFE, SelfTestPassed = 0xAA, EchoReply = 0xEE;
    private const byte Break = 0xF0, Extended = 0xE0;

    private readonly Clock _clock;
    private readonly Timer _repeat;
    private readonly HashSet<int> _down = [];

    // Set 3 lets software choose, by key, what is sent.
    private readonly bool[] _noRepeat = new bool[256];
    private readonly bool[] _noBreak = new bool[256];

    private byte _command; // waits for its argument
    private byte _last;    // for resend
    private bool _scanning;
    private int _set;
    private byte _rate;
    private int _repeating;

    public Ps2Keyboard(Clock clock)
    {
        _clock = clock;
        _repeat = clock.CreateTimer(OnRepeat);
        Reset();
    }

    public override string TypeName => "ps2-kbd";

    /// <summary>Scroll lock, num lock, caps lock in bits 0 to 2.</summary>
    public byte Leds { get; private set; }

    /// <summary>The lamps changed.</summary>
    public Action<byte>? LedsChanged { get; set; }

    public override void Reset()
    {
        Clear();
        _down.Clear();
        _command = 0;
        _last = 0;
        SetLeds(0);
        Defaults();
        _scanning = true;
    }

    /// <summary>
    /// A key goes down or up. Keys are named by set 1 make codes, those with a prefix as E0nn (see <see cref="ScanCodes"/>).
    /// The keyboard repeats by itself: a key that is already down is ignored.
    /// </summary>
    public void Key(int key, bool down)
    {
        if ((key & ~0xFF7F) != 0 || (key & 0x7F) == 0)
            return;
        if (down ? !_down.Add(key) : !_down.Remove(key))
            return;
        if (down)
        {
            _repeating = key;
            if (key != ScanCodes.Pause)
                _repeat.Arm(_clock.Now + Delay);
        }
        else if (_repeating == key)
            _repeat.Cancel();
        if (_scanning)
            SendKey(key, down);
    }

    string IInputHandler.Name => "QEMU PS/2 Keyboard";

    InputKinds IInputHandler.Kinds => InputKinds.Key;

    internal override void Write(byte value)
    {
        var command = _command;
        _command = 0;
        // A byte of 80h or more in place of an argument is a new command.
        if (command != 0 && (value < 0x80 || command is 0xFB or 0xFC or 0xFD))
        {
            Argument(command, value);
            return;
        }

        switch (value)
        {
            case 0xED: // lamps
            case 0xF0: // scan code set
            case 0xF3: // typematic rate
            case 0xFB: // a key: repeats only
            case 0xFC: // a key: make and break
            case 0xFD: // a key: make only
                _command = value;
                Say(Ack);
                break;
            case 0xEE:
                Say(EchoReply);
                break;
            case 0xF2:
                Say(Ack, 0xAB, 0x83);
                break;
            case 0xF4:
                _scanning = true;
                Say(Ack);
                break;
            case 0xF5:
                Clear();
                Defaults();
                _scanning = false;
                Say(Ack);
                break;
            case 0xF6: // scans afterwards, whatever was before: what QEMU's keyboard does is taken for granted
                Clear();
                Defaults();
                _scanning = true;
                Say(Ack);
                break;
            case >= 0xF7 and <= 0xFA: // all keys: repeat / make-break / make only / all
                Array.Fill(_noRepeat, value is 0xF8 or 0xF9);
                Array.Fill(_noBreak, value is 0xF7 or 0xF9);
                Say(Ack);
                break;
            case 0xFE:
                Respond(_last);
                break;
            case 0xFF:
                Reset();
                Say(Ack, SelfTestPassed);
                break;
            default:
                Say(Resend);
                break;
        }
    }

    private void Argument(byte command, byte value)
    {
        switch (command)
        {
            case 0xED:
                SetLeds((byte)(value & 7));
                Say(Ack);
                break;
            case 0xF0:
                if (value == 0)
                {
                    Say(Ack, (byte)_set);
                    break;
                }

                Say(Ack);
                if (value <= 3)
                    _set = value;
                break;
            case 0xF3:
                _rate = (byte)(value & 0x7F);
                Say(Ack);
                break;
            default:
                _noRepeat[value] = command != 0xFB;
                _noBreak[value] = command != 0xFC;
                Say(Ack);
                break;
        }
    }

    private void Defaults()
    {
        _set = 2;
        _rate = 0x2B; // 500 ms, 10.9 a second
        Array.Clear(_noRepeat);
        Array.Clear(_noBreak);
        _repeat.Cancel();
    }

    private void SetLeds(byte leds)
    {
        if (Leds == leds)
            return;
        Leds = leds;
        LedsChanged?.Invoke(leds);
    }

    private void Say(params ReadOnlySpan<byte> bytes)
    {
        _last = bytes[^1];
        Respond(bytes);
    }

    private long Delay => (((_rate >> 5) & 3) + 1) * 250_000_000L;

    // Period = (8 + A) * 2^B * 4.17 ms.
    private long Period => (8 + (_rate & 7)) * (1L << ((_rate >> 3) & 3)) * 4_170_000L;

    private void OnRepeat()
    {
        if (!_scanning || !_down.Contains(_repeating))
            return;
        if (_set != 3 || !_noRepeat[ScanCodes.ToSet3(_repeating)])
            SendKey(_repeating, true);
        _repeat.Arm(_clock.Now + Period);
    }

    private void SendKey(int key, bool down)
    {
        Span<byte> bytes = stackalloc byte[8];
        var n = _set switch
        {
            1 => Encode1(key, down, bytes),
            2 => Encode2(key, down, bytes),
            _ => Encode3(key, down, bytes),
        };
        if (n > 0 && Send(bytes[..n]))
            _last = bytes[n - 1];
    }

    private static int Encode1(int key, bool down, Span<byte> to)
    {
        var release = (byte)(down ? 0 : 0x80);
        if (key == ScanCodes.Pause)
            return down ? Put(to, 0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5) : 0;
        if (key == ScanCodes.PrintScreen)
            return down ? Put(to, Extended, 0x2A, Extended, 0x37) : Put(to, Extended, 0xB7, Extended, 0xAA);
        return key >= 0xE000 ? Put(to, Extended, (byte)(key & 0x7F | release)) : Put(to, (byte)(key | release));
    }

    private static int Encode2(int key, bool down, Span<byte> to)
    {
        var code = ScanCodes.ToSet2((byte)key);
        if (key == ScanCodes.Pause)
            return down ? Put(to, 0xE1, 0x14, 0x77, 0xE1, Break, 0x14, Break, 0x77) : 0;
        if (key == ScanCodes.PrintScreen)
        {
            return down
                ? Put(to, Extended, 0x12, Extended, 0x7C)
                : Put(to, Extended, Break, 0x7C, Extended, Break, 0x12);
        }

        if (code == 0)
            return 0;
        if (key >= 0xE000)
            return down ? Put(to, Extended, code) : Put(to, Extended, Break, code);
        return down ? Put(to, code) : Put(to, Break, code);
    }

    private int Encode3(int key, bool down, Span<byte> to)
    {
        var code = ScanCodes.ToSet3(key);
        if (code == 0 || (!down && _noBreak[code]))
            return 0;
        return down ? Put(to, code) : Put(to, Break, code);
    }

    private static int Put(Span<byte> to, params ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(to);
        return bytes.Length;
    }
}
