using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Serial;

/// <summary>
/// 16550A UART. Source: National Semiconductor PC16550D data sheet, section 8. Transmission takes no time: the transmitter is
/// always empty again when software looks, and no byte is lost.
/// </summary>
public sealed class Ns16550 : Device, ICharSink
{
    private const int FifoSize = 16;

    private const byte IerReceived = 1, IerTransmitter = 2, IerLine = 4, IerModem = 8;
    private const byte IirNone = 1, IirModem = 0, IirTransmitter = 2, IirReceived = 4, IirLine = 6, IirTimeout = 12, IirFifos = 0xC0;
    private const byte FcrEnable = 1, FcrClearReceiver = 2, FcrClearTransmitter = 4;
    private const byte LcrBreak = 0x40, LcrDivisor = 0x80;
    private const byte McrDtr = 1, McrRts = 2, McrOut1 = 4, McrOut2 = 8, McrLoopback = 16;
    private const byte LsrReady = 1, LsrOverrun = 2, LsrParity = 4, LsrFraming = 8, LsrBreak = 16, LsrHoldingEmpty = 0x20,
        LsrIdle = 0x40, LsrFifoError = 0x80;
    private const byte LsrErrors = LsrParity | LsrFraming | LsrBreak;
    private const byte MsrDeltaCts = 1, MsrDeltaDsr = 2, MsrTrailingRing = 4, MsrDeltaCarrier = 8, MsrCts = 0x10, MsrDsr = 0x20,
        MsrRing = 0x40, MsrCarrier = 0x80;

    private static readonly int[] TriggerLevels = [1, 4, 8, 14];

    private readonly ICharBackend? _backend;
    private readonly Clock _clock;
    private readonly Timer _timeout;

    // Bytes in the low half, their line status in the high half.
    private readonly ushort[] _fifo = new ushort[FifoSize];
    private int _head;
    private int _count;

    private byte _ier;
    private byte _fcr;
    private byte _lcr;
    private byte _mcr;
    private byte _msr;
    private byte _scratch;
    private ushort _divisor;
    private bool _overrun;
    private bool _transmitterPending;
    private bool _timedOut;
    private bool _connected = true;

    public Ns16550(ICharBackend? backend, Clock clock)
    {
        _backend = backend;
        _clock = clock;
        _timeout = clock.CreateTimer(OnTimeout);
        Ports = MemoryRegion.Device("serial", 8, Read, Write, 1, 1);
        Reset();
        if (backend != null)
            backend.Sink = this;
    }

    public override string TypeName => "isa-serial";

    /// <summary>The eight registers.</summary>
    public MemoryRegion Ports { get; }

    public IrqLine Irq { get; } = new();

    private bool Loopback => (_mcr & McrLoopback) != 0;

    private bool FifosEnabled => (_fcr & FcrEnable) != 0;

    private int Capacity => FifosEnabled ? FifoSize : 1;

    private int TriggerLevel => FifosEnabled ? TriggerLevels[_fcr >> 6] : 1;

    public int CanReceive => Loopback ? 0 : Capacity - _count;

    public override void Reset()
    {
        _ier = _fcr = _lcr = _scratch = 0;
        _mcr = McrOut2;
        _divisor = 12; // 9600 baud
        _head = _count = 0;
        _overrun = _transmitterPending = _timedOut = false;
        _timeout.Cancel();
        _msr = ModemInputs;
        _backend?.SetModemLines(dtr: false, rts: false);
        Sync();
    }

    public void Receive(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
            Push(b, 0);
        Received();
    }

    public void OnEvent(CharEvent e)
    {
        switch (e)
        {
            case CharEvent.Break:
                if (!Loopback)
                {
                    Push(0, LsrBreak);
                    Received();
                }

                break;
            case CharEvent.Opened:
            case CharEvent.Closed:
                _connected = e == CharEvent.Opened;
                UpdateModem();
                Sync();
                break;
        }
    }

    private ulong Read(ulong offset, int size)
    {
        switch (offset)
        {
            case 0:
                return (_lcr & LcrDivisor) != 0 ? (byte)_divisor : ReadReceiver();
            case 1:
                return (_lcr & LcrDivisor) != 0 ? (byte)(_divisor >> 8) : _ier;
            case 2:
                var cause = Cause;
                if (cause == IirTransmitter)
                {
                    // Reading it as the cause ends it.
                    _transmitterPending = false;
                    Sync();
                }

                return (byte)(cause | (FifosEnabled ? IirFifos : 0));
            case 3:
                return _lcr;
            case 4:
                return _mcr;
            case 5:
                var line = LineStatus;
                _overrun = false;
                if (_count > 0)
                    _fifo[_head] &= 0xFF; // error bits are shown once
                Sync();
                return line;
            case 6:
                var modem = _msr;
                _msr &= 0xF0;
                Sync();
                return modem;
            default:
                return _scratch;
        }
    }

    private void Write(ulong offset, int size, ulong value)
    {
        var b = (byte)value;
        switch (offset)
        {
            case 0 when (_lcr & LcrDivisor) != 0:
                _divisor = (ushort)((_divisor & 0xFF00) | b);
                break;
            case 1 when (_lcr & LcrDivisor) != 0:
                _divisor = (ushort)((_divisor & 0xFF) | b << 8);
                break;
            case 0:
                Transmit(b);
                break;
            case 1:
                // The transmitter is empty: enabling its interrupt raises it.
                if ((b & IerTransmitter) != 0 && (_ier & IerTransmitter) == 0)
                    _transmitterPending = true;
                _ier = (byte)(b & 0x0F);
                break;
            case 2:
                WriteFifoControl(b);
                break;
            case 3:
                _lcr = b;
                break;
            case 4:
                _mcr = (byte)(b & 0x1F);
                UpdateModem();
                if (!Loopback)
                    _backend?.SetModemLines((_mcr & McrDtr) != 0, (_mcr & McrRts) != 0);
                if (!Loopback)
                    AcceptMore();
                break;
            case 7:
                _scratch = b;
                break;
        }

        Sync();
    }

    private byte ReadReceiver()
    {
        if (_count == 0)
            return 0;
        var b = (byte)_fifo[_head];
        _head = (_head + 1) % FifoSize;
        _count--;
        _timedOut = false;
        ArmTimeout();
        Sync();
        AcceptMore();
        return b;
    }

    private void AcceptMore()
    {
        if (CanReceive > 0)
            _backend?.AcceptInput();
    }

    private void Transmit(byte b)
    {
        _transmitterPending = true;
        if (Loopback)
        {
            Push(b, 0);
            Received();
            return;
        }

        _backend?.Write([b]);
    }

    private void WriteFifoControl(byte value)
    {
        // Turning the FIFOs on or off empties them; other bits only count while they are on.
        var toggled = ((value ^ _fcr) & FcrEnable) != 0;
        if (toggled || (value & FcrClearReceiver) != 0)
        {
            _head = _count = 0;
            _overrun = _timedOut = false;
            _timeout.Cancel();
        }

        if (toggled || (value & FcrClearTransmitter) != 0)
            _transmitterPending = true;
        _fcr = (value & FcrEnable) != 0 ? (byte)(value & 0xC9) : (byte)0;
        AcceptMore();
    }

    private void Push(byte b, byte status)
    {
        if (_count == Capacity)
        {
            _overrun = true;
            // Without FIFOs the new character takes the place of the unread one.
            if (!FifosEnabled)
                _fifo[_head] = (ushort)(b | status << 8);
            return;
        }

        _fifo[(_head + _count) % FifoSize] = (ushort)(b | status << 8);
        _count++;
    }

    private void Received()
    {
        ArmTimeout();
        Sync();
    }

    /// <summary>Characters below the trigger level that nobody reads are reported after four character times.</summary>
    private void ArmTimeout()
    {
        if (!FifosEnabled || _count == 0)
        {
            _timeout.Cancel();
            return;
        }

        var bits = 2 + 5 + (_lcr & 3) + ((_lcr >> 3) & 1);
        var bitTime = Clock.NanosecondsPerSecond * Math.Max(1, (int)_divisor) / 115200;
        _timeout.Arm(_clock.Now + Math.Min(4 * bits * bitTime, 20_000_000));
    }

    private void OnTimeout()
    {
        _timedOut = _count > 0;
        Sync();
    }

    private byte LineStatus
    {
        get
        {
            var status = LsrHoldingEmpty | LsrIdle;
            if (_count > 0)
                status |= LsrReady | (_fifo[_head] >> 8);
            if (_overrun)
                status |= LsrOverrun;
            if (FifosEnabled)
            {
                for (var i = 0; i < _count; i++)
                {
                    if (_fifo[(_head + i) % FifoSize] >> 8 != 0)
                        status |= LsrFifoError;
                }
            }

            return (byte)status;
        }
    }

    /// <summary>Modem lines now: the peer's, or in loopback our own outputs.</summary>
    private byte ModemInputs
    {
        get
        {
            if (!Loopback)
                return _connected ? (byte)(MsrCts | MsrDsr | MsrCarrier) : (byte)0;
            var inputs = 0;
            if ((_mcr & McrRts) != 0)
                inputs |= MsrCts;
            if ((_mcr & McrDtr) != 0)
                inputs |= MsrDsr;
            if ((_mcr & McrOut1) != 0)
                inputs |= MsrRing;
            if ((_mcr & McrOut2) != 0)
                inputs |= MsrCarrier;
            return (byte)inputs;
        }
    }

    private void UpdateModem()
    {
        var inputs = ModemInputs;
        var changed = inputs ^ _msr;
        var deltas = _msr & 0x0F;
        if ((changed & MsrCts) != 0)
            deltas |= MsrDeltaCts;
        if ((changed & MsrDsr) != 0)
            deltas |= MsrDeltaDsr;
        if ((changed & MsrRing) != 0 && (inputs & MsrRing) == 0)
            deltas |= MsrTrailingRing;
        if ((changed & MsrCarrier) != 0)
            deltas |= MsrDeltaCarrier;
        _msr = (byte)(inputs | deltas);
    }

    /// <summary>The pending interrupt of highest priority.</summary>
    private byte Cause
    {
        get
        {
            if ((_ier & IerLine) != 0 && (_overrun || (_count > 0 && (_fifo[_head] >> 8 & LsrErrors) != 0)))
                return IirLine;
            if ((_ier & IerReceived) != 0 && _count > 0)
            {
                if (_count >= TriggerLevel)
                    return IirReceived;
                if (_timedOut)
                    return IirTimeout;
            }

            if ((_ier & IerTransmitter) != 0 && _transmitterPending)
                return IirTransmitter;
            if ((_ier & IerModem) != 0 && (_msr & 0x0F) != 0)
                return IirModem;
            return IirNone;
        }
    }

    private void Sync() => Irq.Level = Cause != IirNone;

    /// <summary>A break condition is being sent.</summary>
    public bool SendsBreak => (_lcr & LcrBreak) != 0;
}
