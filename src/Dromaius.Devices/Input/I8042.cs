using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Input;

/// <summary>
/// The PC's keyboard controller with a keyboard and an auxiliary (mouse) port. Sources: IBM PS/2 hardware interface technical
/// reference, "Keyboard and auxiliary device controller"; Intel 8042 UPI user's manual; the ports' use on the PC AT.
/// </summary>
public sealed class I8042 : Device
{
    private const byte StatusOutputFull = 0x01, StatusSystem = 0x04, StatusCommand = 0x08, StatusUnlocked = 0x10,
        StatusAuxiliary = 0x20;

    // Command byte (RAM location 0).
    private const byte ModeKeyboardIrq = 0x01, ModeAuxIrq = 0x02, ModeKeyboardOff = 0x10, ModeAuxOff = 0x20,
        ModeTranslate = 0x40;

    // Output port.
    private const byte OutNoReset = 0x01, OutA20 = 0x02, OutKeyboardFull = 0x10, OutAuxFull = 0x20, OutIdle = 0xCC;

    private enum Source
    {
        None, Controller, Keyboard, Auxiliary,
    }

    private readonly Ps2Keyboard _keyboard;
    private readonly Ps2Mouse _mouse;
    private readonly byte[] _ram = new byte[32];
    private (Source As, byte Value) _answer; // of the controller itself; the last one only
    private Source _full;      // whose byte is in the output buffer
    private bool _fromAnswer;  // it is the controller's answer, whoever it passes for
    private byte _output;      // the byte that was read last
    private bool _lastWasCommand;
    private bool _selfTested;
    private byte _command;     // waits for its data byte
    private byte _outputPort;

    public I8042(Ps2Keyboard keyboard, Ps2Mouse mouse)
    {
        _keyboard = keyboard;
        _mouse = mouse;
        keyboard.DataReady = Fetch;
        mouse.DataReady = Fetch;
        DataPort = MemoryRegion.Device("i8042-data", 1, (_, _) => ReadData(), (_, _, value) => WriteData((byte)value), 1, 1);
        CommandPort = MemoryRegion.Device("i8042-cmd", 1, (_, _) => Status, (_, _, value) => WriteCommand((byte)value), 1, 1);
        Reset();
    }

    public override string TypeName => "i8042";

    /// <summary>Port 60h.</summary>
    public MemoryRegion DataPort { get; }

    /// <summary>Port 64h.</summary>
    public MemoryRegion CommandPort { get; }

    /// <summary>IRQ 1.</summary>
    public IrqLine KeyboardIrq { get; } = new();

    /// <summary>IRQ 12.</summary>
    public IrqLine AuxIrq { get; } = new();

    /// <summary>Bit 1 of the output port: address line 20 is let through.</summary>
    public IrqLine A20 { get; } = new();

    /// <summary>The reset line was pulsed.</summary>
    public Action? ResetRequested { get; set; }

    private byte Mode => _ram[0];

    private byte Status => (byte)(StatusUnlocked
        | (_full != Source.None ? StatusOutputFull : 0)
        | (_full == Source.Auxiliary ? StatusAuxiliary : 0)
        | (_lastWasCommand ? StatusCommand : 0)
        | (_selfTested ? StatusSystem : 0));

    private byte OutputPort => (byte)(_outputPort
        | (_full is Source.Keyboard or Source.Controller ? OutKeyboardFull : 0)
        | (_full == Source.Auxiliary ? OutAuxFull : 0));

    public override void Reset()
    {
        _keyboard.Reset();
        _mouse.Reset();
        Array.Clear(_ram);
        _ram[0] = ModeKeyboardIrq | ModeAuxIrq;
        _answer = default;
        _full = Source.None;
        _output = 0;
        _lastWasCommand = false;
        _selfTested = false;
        _command = 0;
        _outputPort = OutIdle | OutNoReset | OutA20;
        A20.Level = true;
        Sync();
    }

    /// <summary>Address line 20 was changed elsewhere (port 92h): the output port shows the same.</summary>
    public void SetA20(bool level)
    {
        _outputPort = (byte)(level ? _outputPort | OutA20 : _outputPort & ~OutA20);
        A20.Level = level;
    }

    /// <summary>
    /// What is in the output buffer is settled only when it is read: an answer that nobody read gives way to the next one.
    /// </summary>
    private byte ReadData()
    {
        if (_full == Source.None)
            return _output;
        if (_fromAnswer)
        {
            _output = _answer.Value;
            _answer = default;
        }
        else
            _output = _full == Source.Keyboard ? TakeKeyboard() : _mouse.Take();
        var value = _output;
        _full = Source.None;
        // The line falls between two bytes, so that each makes an edge.
        Sync();
        Fetch();
        _mouse.Report();
        return value;
    }

    private void WriteData(byte value)
    {
        var command = _command;
        _command = 0;
        _lastWasCommand = false;
        switch (command)
        {
            case 0:
                // Talking to the keyboard turns its interface on.
                _ram[0] &= unchecked((byte)~ModeKeyboardOff);
                _keyboard.Write(value);
                break;
            case >= 0x60 and <= 0x7F:
                _ram[command & 0x1F] = value;
                break;
            case 0xD1:
                WriteOutputPort(value);
                break;
            case 0xD2:
                Answer(value, Source.Keyboard);
                break;
            case 0xD3:
                Answer(value, Source.Auxiliary);
                break;
            case 0xD4:
                _ram[0] &= unchecked((byte)~ModeAuxOff);
                _mouse.Write(value);
                break;
        }

        Sync();
        Fetch();
    }

    private void WriteCommand(byte value)
    {
        _lastWasCommand = true;
        _command = 0;
        switch (value)
        {
            case >= 0x20 and <= 0x3F:
                Answer(_ram[value & 0x1F]);
                break;
            case >= 0x60 and <= 0x7F or 0xD1 or 0xD2 or 0xD3 or 0xD4:
                _command = value;
                break;
            case 0xA4: // is a password installed? no
                Answer(0xF1);
                break;
            case 0xA7:
                _ram[0] |= ModeAuxOff;
                break;
            case 0xA8:
                _ram[0] &= unchecked((byte)~ModeAuxOff);
                break;
            case 0xA9: // auxiliary interface test: no error
            case 0xAB: // keyboard interface test: no error
                Answer(0);
                break;
            case 0xAA:
                SelfTest();
                break;
            case 0xAD:
                _ram[0] |= ModeKeyboardOff;
                break;
            case 0xAE:
                _ram[0] &= unchecked((byte)~ModeKeyboardOff);
                break;
            case 0xC0: // input port: keyboard not locked, colour display, no jumper
                Answer(0x80);
                break;
            case 0xD0:
                Answer(OutputPort);
                break;
            case 0xDD:
                SetA20(false);
                break;
            case 0xDF:
                SetA20(true);
                break;
            case 0xE0: // test inputs: clock and data lines
                Answer(0);
                break;
            case >= 0xF0:
                // Pulses the bits of the output port that are 0 here; only the reset line notices.
                if ((value & 1) == 0)
                    ResetRequested?.Invoke();
                break;
        }

        Sync();
        Fetch();
    }

    /// <summary>Leaves the command byte, as QEMU's does: systems that test it take for granted that both ports go on.</summary>
    private void SelfTest()
    {
        _selfTested = true;
        Answer(0x55);
    }

    private void WriteOutputPort(byte value)
    {
        _outputPort = (byte)((value & (OutA20 | OutIdle)) | OutNoReset);
        A20.Level = (value & OutA20) != 0;
        if ((value & OutNoReset) == 0)
            ResetRequested?.Invoke();
    }

    private void Answer(byte value, Source from = Source.Controller)
    {
        _answer = (from, value);
        if (_fromAnswer && _full != Source.None)
            _full = from;
    }

    /// <summary>Gives the output buffer, when it is free, to who has something to say.</summary>
    private void Fetch()
    {
        if (_full != Source.None)
            return;
        _fromAnswer = _answer.As != Source.None;
        if (_fromAnswer)
            _full = _answer.As;
        else if ((Mode & ModeKeyboardOff) == 0 && _keyboard.HasData)
            _full = Source.Keyboard;
        else if ((Mode & ModeAuxOff) == 0 && _mouse.HasData)
            _full = Source.Auxiliary;
        Sync();
    }

    /// <summary>The keyboard's next byte, as set 1 has it if the controller translates.</summary>
    private byte TakeKeyboard()
    {
        var value = _keyboard.Take();
        if ((Mode & ModeTranslate) == 0)
            return value;
        // A release is a prefix and the code.
        return value == 0xF0 ? (byte)(ScanCodes.Translate(_keyboard.Take()) | 0x80) : ScanCodes.Translate(value);
    }

    private void Sync()
    {
        KeyboardIrq.Level = _full is Source.Keyboard or Source.Controller && (Mode & ModeKeyboardIrq) != 0;
        AuxIrq.Level = _full == Source.Auxiliary && (Mode & ModeAuxIrq) != 0;
    }
}
