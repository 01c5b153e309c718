using System.Buffers.Binary;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Storage.Scsi;

/// <summary>
/// SCSI host adapter with a SCRIPTS processor. Targets keep the bus until their command is done, so nothing reselects. Source: LSI
/// Logic LSI53C895A PCI to Ultra2 SCSI Controller Technical Manual, chapters 4 (registers) and 5 (SCRIPTS).
/// </summary>
public sealed partial class Lsi53c895a : PciFunction
{
    public const int MaxTarget = 7, MaxLun = 0;
    private const int Registers = 0x100, MemorySize = 0x400, ScriptRamSize = 0x2000;
    private const int TimerUnit = 125_000; // nanoseconds of the shortest general purpose time

    /// <summary>Operating registers by offset.</summary>
    private enum Reg
    {
        Scntl0 = 0x00, Scntl1 = 0x01, Scntl2 = 0x02, Scntl3 = 0x03, Scid = 0x04, Sxfer = 0x05, Sdid = 0x06, Gpreg = 0x07,
        Sfbr = 0x08, Socl = 0x09, Ssid = 0x0A, Sbcl = 0x0B, Dstat = 0x0C, Sstat0 = 0x0D, Sstat1 = 0x0E, Sstat2 = 0x0F,
        Dsa = 0x10, Istat0 = 0x14, Istat1 = 0x15, Ctest0 = 0x18, Ctest2 = 0x1A, Ctest3 = 0x1B, Temp = 0x1C,
        Dfifo = 0x20, Ctest4 = 0x21, Ctest5 = 0x22, Dbc = 0x24, Dcmd = 0x27, Dnad = 0x28, Dsp = 0x2C, Dsps = 0x30,
        Dmode = 0x38, Dien = 0x39, Dcntl = 0x3B, Adder = 0x3C, Sien0 = 0x40, Sien1 = 0x41, Sist0 = 0x42, Sist1 = 0x43,
        Macntl = 0x46, Gpcntl = 0x47, Stime0 = 0x48, Stime1 = 0x49, Respid0 = 0x4A, Stest0 = 0x4C, Stest1 = 0x4D, Stest2 = 0x4E,
        Stest3 = 0x4F, Stest4 = 0x52, Ccntl0 = 0x56, Ccntl1 = 0x57, Sbdl = 0x58, ScratchC = 0x60, Mmrs = 0xA0, Mmws = 0xA4, Sfs = 0xA8,
        Drs = 0xAC, Sbms = 0xB0, Dbms = 0xB4, Dnad64 = 0xB8, Pmjad1 = 0xC0, Pmjad2 = 0xC4, Rbc = 0xC8, Ua = 0xCC, Esa = 0xD0,
        Ia = 0xD4, Sbc = 0xD8, Csbc = 0xDC,
    }

    [Flags]
    private enum DmaInterrupt : byte
    {
        IllegalInstruction = 0x01,
        Script = 0x04,
        SingleStep = 0x08,
        Aborted = 0x10,
        BusFault = 0x20,
        FifoEmpty = 0x80,
    }

    /// <summary>SIST0 in the low byte, SIST1 in the high one.</summary>
    [Flags]
    private enum ScsiInterrupt : ushort
    {
        None = 0,
        Reset = 0x02,
        UnexpectedDisconnect = 0x04,
        GrossError = 0x08,
        Reselected = 0x10,
        Selected = 0x20,
        Complete = 0x40,
        PhaseMismatch = 0x80,
        HandshakeTimer = 0x100,
        GeneralTimer = 0x200,
        SelectionTimeout = 0x400,
    }

    private const byte Istat0DmaPending = 1, Istat0ScsiPending = 2, Istat0OnTheFly = 4, Istat0Connected = 8, Istat0Semaphore = 0x10;
    private const byte Istat0SignalProcess = 0x20, Istat0SoftReset = 0x40, Istat0Abort = 0x80;
    private const byte Scntl1Connected = 0x10, Scntl1Reset = 8, Istat1Running = 2, DcntlSingleStep = 0x10, DcntlStart = 4, DmodeManual = 1;

    private readonly byte[] _regs = new byte[Registers];
    private readonly Core.Time.Timer _continue;
    private readonly Core.Time.Timer _general;
    private readonly Clock _clock;
    private readonly RamBlock _scriptRam = new("lsi-ram", ScriptRamSize);

    /// <param name="bus">The targets.</param>
    /// <param name="clock">Paces scripts that do not end.</param>
    public Lsi53c895a(ScsiBus bus, Clock clock)
        : base(0x1000, 0x0012, 0x01, 0x00, 0x00, 0)
    {
        ScsiBus = bus;
        _clock = clock;
        _continue = clock.CreateTimer(Run);
        _general = clock.CreateTimer(() => Raise(ScsiInterrupt.GeneralTimer));
        SetWord(PciConfig.SubsystemId, 0x1000);
        SetByte(PciConfig.LatencyTimer, 0xFF);
        UseInterruptPin(1);
        AddIoBar(0, MemoryRegion.Device("lsi-io", Registers, (offset, _) => ReadByte((int)offset), (offset, _, value) => WriteByte((int)offset, (byte)value), 1, 1));
        AddMemoryBar(1, MemoryRegion.Device("lsi-mmio", MemorySize, (offset, _) => ReadByte((int)offset & 0xFF),
            (offset, _, value) => WriteByte((int)offset & 0xFF, (byte)value), 1, 1));
        AddMemoryBar(2, MemoryRegion.RamRegion("lsi-ram", _scriptRam));
        bus.Unplugging = OnUnplugging;
    }

    public override string TypeName => "lsi53c895a";
    public ScsiBus ScsiBus { get; }

    private AddressSpace Memory => DmaSpace;

    public override void Reset()
    {
        base.Reset();
        SoftReset();
        foreach (var unit in ScsiBus.Units)
            unit.Reset();
    }

    private uint Get32(Reg at) => BinaryPrimitives.ReadUInt32LittleEndian(_regs.AsSpan((int)at));

    private void Set32(Reg at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_regs.AsSpan((int)at), value);

    /// <summary>The 24-bit DMA byte counter.</summary>
    private uint Dbc
    {
        get => Get32(Reg.Dbc) & 0xFF_FFFF;
        set => Set32(Reg.Dbc, (Get32(Reg.Dbc) & 0xFF00_0000) | (value & 0xFF_FFFF));
    }

    private ref byte At(Reg register) => ref _regs[(int)register];

    private void SoftReset()
    {
        Abandon();
        StopScript();
        _general.Cancel();
        Array.Clear(_regs);
        At(Reg.Scntl0) = 0xC0;
        At(Reg.Scid) = 7;
        At(Reg.Gpreg) = 0x7F;
        At(Reg.Dcntl) = 0;
        At(Reg.Ctest2) = 0x01;
        At(Reg.Macntl) = 0x0F;
        At(Reg.Gpcntl) = 0x0F;
        At(Reg.Respid0) = 0x80;
        _carry = _waitingForSignal = false;
        _dmaPending = 0;
        _scsiPending = 0;
        UpdateInterrupt();
    }

    private byte ReadByte(int offset)
    {
        var value = _regs[offset];
        switch ((Reg)offset)
        {
            case Reg.Sbcl:
                return ControlLines;
            case Reg.Dstat:
                value = (byte)(_dmaPending | DmaInterrupt.FifoEmpty);
                _dmaPending = 0;
                UpdateInterrupt();
                return value;
            case Reg.Sstat1:
                return (byte)((value & 0xF8) | (int)_phase);
            case Reg.Istat0:
                return (byte)(value | (_unit != null ? Istat0Connected : 0));
            case Reg.Istat1:
                return (byte)(_running ? Istat1Running : 0);
            case Reg.Ctest2:
                value |= (byte)((At(Reg.Istat0) & Istat0SignalProcess) << 1);
                At(Reg.Istat0) &= unchecked((byte)~Istat0SignalProcess);
                return value;
            case Reg.Sist0:
                value = (byte)_scsiPending;
                _scsiPending &= (ScsiInterrupt)0xFF00;
                UpdateInterrupt();
                return value;
            case Reg.Sist1:
                value = (byte)((int)_scsiPending >> 8);
                _scsiPending &= (ScsiInterrupt)0x00FF;
                UpdateInterrupt();
                return value;
            case Reg.Scntl1:
                return (byte)(value | (_unit != null ? Scntl1Connected : 0));
            case Reg.Stest0:
                return At(Reg.Ssid);
            case Reg.Stest4:
                return 0xE0; // low-voltage differential, clock locked
            default:
                return value;
        }
    }

    private void WriteByte(int offset, byte value)
    {
        switch ((Reg)offset)
        {
            case Reg.Scntl1:
                WriteControl1(value);
                break;
            case Reg.Istat0:
                WriteIstat0(value);
                break;
            case Reg.Istat1 or Reg.Dstat or Reg.Sstat0 or Reg.Sstat1 or Reg.Sstat2 or Reg.Sist0 or Reg.Sist1 or Reg.Ssid or Reg.Sbcl or Reg.Stest0
                or Reg.Stest4 or Reg.Ctest2 or Reg.Macntl:
                break;
            case Reg.Dsp + 3:
                _regs[offset] = value;
                if ((At(Reg.Dmode) & DmodeManual) == 0)
                    StartScript();
                break;
            case Reg.Dien or Reg.Sien0 or Reg.Sien1:
                _regs[offset] = value;
                UpdateInterrupt();
                break;
            case Reg.Dcntl:
                _regs[offset] = (byte)(value & ~DcntlStart);
                if ((value & DcntlStart) != 0)
                    StartScript();
                break;
            case Reg.Stime1:
                _regs[offset] = value;
                if ((value & 0x0F) != 0)
                    _general.Arm(_clock.Now + ((long)TimerUnit << ((value & 0x0F) - 1)));
                else
                    _general.Cancel();
                break;
            default:
                _regs[offset] = value;
                break;
        }
    }

    private void WriteControl1(byte value)
    {
        var before = At(Reg.Scntl1);
        At(Reg.Scntl1) = (byte)(value & ~Scntl1Connected);
        const byte ResetLine = 2;
        if ((value & Scntl1Reset) == 0)
            At(Reg.Sstat0) &= unchecked((byte)~ResetLine);
        else if ((before & Scntl1Reset) == 0)
        {
            At(Reg.Sstat0) |= ResetLine;
            Abandon();
            ScsiBus.Reset();
            Raise(ScsiInterrupt.Reset);
        }
    }

    private void WriteIstat0(byte value)
    {
        const byte Kept = Istat0Semaphore | Istat0SignalProcess | Istat0SoftReset | Istat0Abort;
        ref var istat = ref At(Reg.Istat0);
        var before = istat;
        istat = (byte)((istat & ~Kept & ~(value & Istat0OnTheFly)) | (value & Kept));
        if ((value & Istat0SoftReset) != 0 && (before & Istat0SoftReset) == 0)
        {
            SoftReset();
            At(Reg.Istat0) = Istat0SoftReset;
            return;
        }

        UpdateInterrupt();
        if ((value & Istat0Abort) != 0)
            Raise(DmaInterrupt.Aborted);
        else if ((value & Istat0SignalProcess) != 0 && _waitingForSignal)
        {
            _waitingForSignal = false;
            Set32(Reg.Dsp, Get32(Reg.Dnad));
            StartScript();
        }
    }

    /// <summary>A DMA interrupt condition: all of them stop the script.</summary>
    private void Raise(DmaInterrupt what)
    {
        _dmaPending |= what;
        StopScript();
        UpdateInterrupt();
    }

    /// <summary>A SCSI interrupt condition: fatal ones stop the script, the others only if they interrupt.</summary>
    private void Raise(ScsiInterrupt what)
    {
        const ScsiInterrupt NotFatal = ScsiInterrupt.Complete | ScsiInterrupt.Selected | ScsiInterrupt.Reselected | ScsiInterrupt.GeneralTimer | ScsiInterrupt.HandshakeTimer;
        _scsiPending |= what;
        if ((what & ~NotFatal) != 0 || (what & EnabledScsi) != 0)
            StopScript();
        UpdateInterrupt();
    }

    private ScsiInterrupt EnabledScsi => (ScsiInterrupt)(At(Reg.Sien0) | At(Reg.Sien1) << 8);

    private void UpdateInterrupt()
    {
        ref var istat = ref At(Reg.Istat0);
        istat = (byte)((istat & ~(Istat0DmaPending | Istat0ScsiPending)) | (_dmaPending != 0 ? Istat0DmaPending : 0)
            | (_scsiPending != 0 ? Istat0ScsiPending : 0));
        SetIntx(((byte)_dmaPending & At(Reg.Dien)) != 0 || (_scsiPending & EnabledScsi) != 0 || (istat & Istat0OnTheFly) != 0);
    }

    private DmaInterrupt _dmaPending;
    private ScsiInterrupt _scsiPending;

    private static void Log(string message) => GuestLog.GuestError("lsi53c895a", message);
}
