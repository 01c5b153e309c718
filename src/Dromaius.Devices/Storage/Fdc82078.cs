using Dromaius.Block;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Isa;

namespace Dromaius.Devices.Storage;

/// <summary>
/// Floppy disk controller with up to two drives: registers, command parsing and the small commands. Source: Intel 82078
/// datasheet (290468) and 82077AA datasheet (290166), chapters 2 to 6.
/// </summary>
public sealed partial class Fdc82078 : Device
{
    private const int DmaChannel = 2, MaxDrives = 4;
    private const byte DorReset = 0x04, DorDma = 0x08;
    private const byte MsrBusy = 0x10, MsrNonDma = 0x20, MsrDio = 0x40, MsrRqm = 0x80;
    private const byte Version = 0x90;
    private const byte DriveSpecification = 0x8E, SpecificationDone = 0x80, NoResults = 0x40;
    private const long RetryTime = 1_000_000;

    private enum Phase : byte
    {
        Command,
        Execution,

        /// <summary>Data bytes through the FIFO register, not by DMA.</summary>
        DataIn,
        DataOut,
        Result,
    }

    private readonly FloppyDrive?[] _drives = new FloppyDrive?[MaxDrives];
    private readonly I8237? _dma;
    private readonly Core.Time.Timer _retry;
    private readonly byte[] _command = new byte[17];
    private readonly byte[] _result = new byte[16];
    private Phase _phase;
    private int _commandLength, _commandAt;
    private int _resultLength, _resultAt;
    private byte _dor, _tdr, _dsr;
    private byte _config = 0x20, _preTrack;
    private byte _specify0, _specify1;
    private readonly byte[] _specifications = new byte[MaxDrives];
    private byte _perpendicular;
    private byte _lock;
    private byte _eot;
    private int _resetSense;        // drives that still report the reset
    private bool _interrupt;        // a seek's result waits for SENSE INTERRUPT STATUS
    private byte _seekStatus;

    /// <param name="dma">The DMA controller; null for a board without one.</param>
    /// <param name="clock">For trying again when the DMA channel is not ready.</param>
    public Fdc82078(I8237? dma, Clock clock)
    {
        _dma = dma;
        Clock = clock;
        _retry = clock.CreateTimer(ContinueTransfer);
        Ports = MemoryRegion.Device("fdc", 6, (offset, _) => Read((int)offset), (offset, _, value) => Write((int)offset, (byte)value), 1, 1);
        InputPort = MemoryRegion.Device("fdc-dir", 1, (_, _) => Read(7), (_, _, value) => Write(7, (byte)value), 1, 1);
    }

    public override string TypeName => "isa-fdc";

    /// <summary>Ports 3F0h to 3F5h.</summary>
    public MemoryRegion Ports { get; }

    /// <summary>Port 3F7h; 3F6h in between is the hard disk's.</summary>
    public MemoryRegion InputPort { get; }
    public IrqLine Irq { get; } = new();
    private Clock Clock { get; }

    public FloppyDrive? this[int number] => (uint)number < MaxDrives ? _drives[number] : null;

    public void Attach(int number, FloppyDrive drive) => _drives[number] = drive;

    public override void Reset()
    {
        foreach (var drive in _drives)
            drive?.Reset();
        _dor = DorReset | DorDma;
        _tdr = 0;
        _dsr = 0;
        _lock = 0;
        Array.Clear(_specifications);
        ResetController(raise: false);
    }

    private FloppyDrive? Selected => _drives[_dor & 3];

    private bool UsesDma => (_dor & DorDma) != 0 && (_specify1 & 1) == 0 && _dma != null;

    private void ResetController(bool raise)
    {
        AbandonTransfer();
        _phase = Phase.Command;
        _commandAt = _commandLength = 0;
        _resultAt = _resultLength = 0;
        _interrupt = false;
        if (_lock == 0)
        {
            _config = 0x20;
            _preTrack = 0;
        }

        _perpendicular &= 0x3C;
        _dma?.SetRequest(DmaChannel, false);
        Irq.Lower();
        _resetSense = raise ? MaxDrives : 0;
        if (raise)
            Irq.Raise();
    }

    private byte Read(int register)
    {
        switch (register)
        {
            case 0: // status register A
                return (byte)((Irq.Level ? 0x80 : 0) | (_drives[1] == null ? 0x40 : 0) | (Selected is { Cylinder: 0 } ? 0 : 0x10));
            case 1: // status register B: the motors and the select line
                return (byte)(0xC0 | ((_dor & 0x30) >> 4) | ((_dor & 1) << 5));
            case 2:
                return _dor;
            case 3:
                return (byte)(_tdr & 3);
            case 4:
                // Polling the controller takes it out of power down.
                _dsr &= unchecked((byte)~0x40);
                return MainStatus;
            case 5:
                return ReadFifo();
            case 7:
                return Selected is not { IsChanged: false, HasMedium: true } ? (byte)0x80 : (byte)0;
            default:
                return 0xFF;
        }
    }

    private byte MainStatus
    {
        get
        {
            if ((_dor & DorReset) == 0)
                return 0;
            return _phase switch
            {
                Phase.Command => (byte)(MsrRqm | (_commandAt > 0 ? MsrBusy : 0)),
                Phase.Result => MsrRqm | MsrDio | MsrBusy,
                Phase.DataIn => MsrRqm | MsrDio | MsrNonDma | MsrBusy,
                Phase.DataOut => MsrRqm | MsrNonDma | MsrBusy,
                _ => (byte)(MsrBusy | (UsesDma ? 0 : MsrNonDma)),
            };
        }
    }

    private void Write(int register, byte value)
    {
        switch (register)
        {
            case 2:
                var before = _dor;
                _dor = value;
                if ((value & DorReset) == 0)
                {
                    if ((before & DorReset) != 0)
                        ResetController(raise: false);
                }
                else if ((before & DorReset) == 0)
                    ResetController(raise: true);
                break;
            case 3:
                _tdr = (byte)(value & 3);
                break;
            case 4:
                _dsr = (byte)(value & 0x7F);
                if ((value & 0x80) != 0 && (_dor & DorReset) != 0)
                    ResetController(raise: true);
                break;
            case 5:
                if ((_dor & DorReset) != 0)
                    WriteFifo(value);
                break;
            case 7:
                _dsr = (byte)((_dsr & ~3) | (value & 3));
                break;
        }
    }

    private byte ReadFifo()
    {
        switch (_phase)
        {
            case Phase.DataIn:
                return ReadDataByte();
            case Phase.Result:
                Irq.Lower();
                var b = _result[_resultAt++];
                if (_resultAt >= _resultLength)
                    ToCommandPhase();
                return b;
            default:
                return 0;
        }
    }

    private void WriteFifo(byte value)
    {
        if (_phase == Phase.DataOut)
        {
            WriteDataByte(value);
            return;
        }

        if (_phase != Phase.Command)
            return;
        if (_commandAt == 0)
            _commandLength = LengthOf(value);
        _command[_commandAt++] = value;
        // DRIVE SPECIFICATION has as many parameters as it likes: the last says so.
        var isSpecified = _command[0] == DriveSpecification && _commandAt > 1 && (value & SpecificationDone) != 0;
        if (_commandAt < _commandLength && !isSpecified)
            return;
        _phase = Phase.Execution;
        Execute();
    }

    /// <summary>
    /// Keeps what is told of each drive: its number in bits 6 and 5, its tables of rates and densities below; there is one table here.
    /// The byte that ends the list also says whether all four are to be told back.
    /// </summary>
    private void SpecifyDrives(ReadOnlySpan<byte> parameters)
    {
        foreach (var parameter in parameters)
        {
            if ((parameter & SpecificationDone) == 0)
                _specifications[(parameter >> 5) & 3] = (byte)(parameter & 0x1F);
        }

        if ((parameters[^1] & (SpecificationDone | NoResults)) == SpecificationDone)
            ToResult(false, _specifications);
        else
            ToCommandPhase();
    }

    /// <summary>Bytes of a command, opcode included, at most.</summary>
    private static int LengthOf(byte code) => code switch
    {
        0x03 or 0x0F or 0x8F or 0xCF => 3,
        0x04 or 0x07 or 0x12 or 0x33 or 0x17 => 2,
        0x13 => 4,
        0x4E => 17,
        DriveSpecification => 6,
        _ => (code & 0x1F) switch
        {
            0x02 or 0x05 or 0x06 or 0x09 or 0x0C or 0x11 or 0x16 or 0x19 or 0x1D => 9,
            0x0A => 2,
            0x0D => 6,
            _ => 1,
        },
    };

    private void Execute()
    {
        var code = _command[0];
        switch (code)
        {
            case 0x03: // SPECIFY
                _specify0 = _command[1];
                _specify1 = _command[2];
                ToCommandPhase();
                return;
            case 0x04: // SENSE DRIVE STATUS
                SelectDrive();
                var drive = Selected;
                ToResult(false, (byte)((drive is { Backend.IsReadOnly: true } ? 0x40 : 0) | (drive is { Cylinder: 0 } ? 0x10 : 0)
                    | 0x28 | (_command[1] & 7)));
                return;
            case 0x07: // RECALIBRATE
                SelectDrive();
                SeekTo(0);
                return;
            case 0x08:
                SenseInterrupt();
                return;
            case 0x0E:
                DumpRegisters();
                return;
            case 0x0F: // SEEK
                SelectDrive();
                SeekTo(_command[2]);
                return;
            case 0x8F or 0xCF: // RELATIVE SEEK, outward and inward
                SelectDrive();
                SeekTo((Selected?.Cylinder ?? 0) + (code == 0xCF ? _command[2] : -_command[2]));
                return;
            case 0x10: // VERSION
                ToResult(false, Version);
                return;
            case 0x12: // PERPENDICULAR MODE
                if ((_command[1] & 0x80) != 0)
                    _perpendicular = (byte)(_command[1] & 0x7F);
                else
                    _perpendicular = (byte)((_perpendicular & 0x3C) | (_command[1] & 3));
                ToCommandPhase();
                return;
            case 0x13: // CONFIGURE
                _config = _command[2];
                _preTrack = _command[3];
                ToCommandPhase();
                return;
            case 0x14 or 0x94: // LOCK
                _lock = (byte)(code >> 7);
                ToResult(false, (byte)(_lock << 4));
                return;
            case 0x17: // POWERDOWN MODE
                ToResult(false, _command[1]);
                return;
            case 0x18: // PART ID
                ToResult(false, 0x41);
                return;
            case 0x2E: // SAVE
                ToResult(false, 0, 0, Cylinder(0), Cylinder(1), 0, 0, _specify0, _specify1, _eot,
                    (byte)(_lock << 7 | _perpendicular), _config, _preTrack, 0, _dsr, 0, 0);
                return;
            case 0x33: // OPTION
            case 0x4E: // RESTORE
                ToCommandPhase();
                return;
            case DriveSpecification:
                SpecifyDrives(_command.AsSpan(1, _commandAt - 1));
                return;
        }

        switch (code & 0x1F)
        {
            case 0x06 or 0x0C or 0x02:
                StartTransfer(TransferKind.Read);
                break;
            case 0x05 or 0x09:
                StartTransfer(TransferKind.Write);
                break;
            case 0x16:
                StartTransfer(TransferKind.Verify);
                break;
            case 0x11 or 0x19 or 0x1D:
                StartTransfer(TransferKind.Scan);
                break;
            case 0x0D:
                StartTransfer(TransferKind.Format);
                break;
            case 0x0A:
                ReadId();
                break;
            default:
                ToResult(false, 0x80); // invalid command
                break;
        }
    }

    private byte Cylinder(int drive) => (byte)(_drives[drive]?.Cylinder ?? 0);

    private void SelectDrive() => _dor = (byte)((_dor & ~3) | (_command[1] & 3));

    private void SeekTo(int cylinder)
    {
        Selected?.Seek(cylinder);
        // Seek end; equipment check if there is no drive to find track 0.
        _seekStatus = (byte)(0x20 | (_command[1] & 7) | (Selected == null && _command[0] == 0x07 ? 0x50 : 0));
        _interrupt = true;
        _resetSense = 0; // its own end takes the place of what the drives still report of a reset
        ToCommandPhase();
        Irq.Raise();
    }

    private void SenseInterrupt()
    {
        if (_resetSense > 0)
        {
            var drive = MaxDrives - _resetSense--;
            Irq.Lower();
            ToResult(false, (byte)(0xC0 | drive), Cylinder(drive));
        }
        else if (_interrupt)
        {
            _interrupt = false;
            Irq.Lower();
            ToResult(false, _seekStatus, (byte)(Selected?.Cylinder ?? 0));
        }
        else
            ToResult(false, 0x80);
    }

    private void DumpRegisters() => ToResult(false, Cylinder(0), Cylinder(1), Cylinder(2), Cylinder(3), _specify0, _specify1, _eot,
        (byte)(_lock << 7 | _perpendicular), _config, _preTrack);

    private void ToCommandPhase()
    {
        _phase = Phase.Command;
        _commandAt = _commandLength = 0;
    }

    private void ToResult(bool interrupt, params ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_result);
        _resultAt = 0;
        _resultLength = bytes.Length;
        _phase = Phase.Result;
        _commandAt = 0;
        if (interrupt)
            Irq.Raise();
    }
}
