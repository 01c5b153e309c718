using System.Numerics;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Interrupts;

/// <summary>
/// The PC's pair of 8259A interrupt controllers, the second one on input 2 of the first, with the edge/level control
/// registers of the PIIX. Sources: Intel 8259A datasheet (231468); Intel 82371AB datasheet, section 4.2.5 for ELCR.
/// </summary>
public sealed class I8259 : Device, IInterruptInputs
{
    private const int CascadeInput = 2;

    private readonly Chip _master = new() { IsMaster = true, LevelMask = 0xF8 };
    private readonly Chip _slave = new() { LevelMask = 0xDE };
    private readonly long[] _counts = new long[16];

    public I8259()
    {
        MasterPorts = Ports("pic-master", _master);
        SlavePorts = Ports("pic-slave", _slave);
        EdgeLevelPorts = MemoryRegion.Device("pic-elcr", 2,
            (offset, _) => (offset == 0 ? _master : _slave).LevelTriggered,
            (offset, _, value) =>
            {
                var chip = offset == 0 ? _master : _slave;
                chip.LevelTriggered = (byte)(value & chip.LevelMask);
                Sync();
            }, 1, 1);
    }

    public override string TypeName => "isa-i8259";

    public event Action<int, bool>? InputChanged;

    /// <summary>Ports 20h and 21h.</summary>
    public MemoryRegion MasterPorts { get; }

    /// <summary>Ports A0h and A1h.</summary>
    public MemoryRegion SlavePorts { get; }

    /// <summary>Ports 4D0h and 4D1h.</summary>
    public MemoryRegion EdgeLevelPorts { get; }

    /// <summary>INTR, to the processor or to LINT0.</summary>
    public IrqLine Intr { get; } = new();

    public override void Reset()
    {
        _master.Reset();
        _slave.Reset();
        Sync();
    }

    /// <summary>An interrupt request input, IRQ 0 to 15; 2 is the cascade and ignored.</summary>
    public void SetIrq(int n, bool level)
    {
        if ((uint)n > 15 || n == CascadeInput)
            return;
        InputChanged?.Invoke(n, level);
        if (level)
            _counts[n]++;
        (n < 8 ? _master : _slave).SetInput(n & 7, level);
        Sync();
    }

    /// <summary>How often each input was raised.</summary>
    public IReadOnlyList<long> Counts => _counts;

    /// <summary>The state as <c>info pic</c> shows it.</summary>
    public string Describe() => $"pic1: {_slave.Describe()}\npic0: {_master.Describe()}\n";

    /// <summary>The processor's acknowledge cycle: the vector.</summary>
    public int Acknowledge()
    {
        var input = _master.Pending;
        int vector;
        if (input < 0)
            vector = _master.VectorBase | 7; // the request went away: the default interrupt
        else
        {
            _master.Acknowledge(input);
            vector = _master.VectorBase | input;
            if (input == CascadeInput)
            {
                var second = _slave.Pending;
                if (second < 0)
                    vector = _slave.VectorBase | 7;
                else
                {
                    _slave.Acknowledge(second);
                    vector = _slave.VectorBase | second;
                }
            }
        }

        Sync();
        return vector;
    }

    private MemoryRegion Ports(string name, Chip chip) => MemoryRegion.Device(name, 2,
        (offset, _) =>
        {
            var value = chip.Read((int)offset);
            Sync();
            return value;
        },
        (offset, _, value) =>
        {
            chip.Write((int)offset, (byte)value);
            Sync();
        }, 1, 1);

    private void Sync()
    {
        _master.SetInput(CascadeInput, _slave.Pending >= 0);
        Intr.Level = _master.Pending >= 0;
    }

    /// <summary>One 8259A.</summary>
    private sealed class Chip
    {
        private byte _lines;    // inputs now
        private byte _requests; // IRR; edges are latched, levels follow the input
        private byte _service;  // ISR
        private byte _mask;     // IMR
        private byte _lowest;   // input of lowest priority
        private int _expected;  // which ICW comes next at the odd port; 0 for none
        private bool _needsIcw4;
        private bool _single;
        private bool _allLevel; // ICW1 LTIM
        private bool _readService;
        private bool _poll;
        private bool _specialMask;
        private bool _autoEoi;
        private bool _rotateOnAutoEoi;
        private bool _fullyNested;

        public bool IsMaster { get; init; }

        /// <summary>Inputs that the ELCR may make level-triggered.</summary>
        public byte LevelMask { get; init; }

        /// <summary>ELCR.</summary>
        public byte LevelTriggered { get; set; }

        public byte VectorBase { get; private set; }

        /// <summary>The request that would be acknowledged now, or -1.</summary>
        public int Pending
        {
            get
            {
                var requests = Requests & ~_mask;
                if (requests == 0)
                    return -1;
                var service = _service;
                // In special mask mode what is masked inhibits nothing below it.
                if (_specialMask)
                    service &= (byte)~_mask;
                // In special fully nested mode the slave in service may interrupt again.
                if (_fullyNested && IsMaster)
                    service &= unchecked((byte)~(1 << CascadeInput));
                var rank = Rank((byte)requests);
                return rank < Rank(service) ? Input(rank) : -1;
            }
        }

        public string Describe() =>
            $"irr={Requests:x2} imr={_mask:x2} isr={_service:x2} hprio={(_lowest + 1) & 7} irq_base={VectorBase:x2} "
            + $"rr_sel={(_readService ? 1 : 0)} elcr={LevelTriggered:x2} fnm={(_fullyNested ? 1 : 0)}";

        private byte Levels => _allLevel ? (byte)0xFF : LevelTriggered;

        private byte Requests => (byte)((_requests & ~Levels) | (_lines & Levels));

        public void Reset()
        {
            _requests = _service = _mask = 0;
            _lowest = 7;
            _expected = 0;
            _needsIcw4 = _single = _allLevel = _readService = _poll = false;
            _specialMask = _autoEoi = _rotateOnAutoEoi = _fullyNested = false;
            VectorBase = 0;
            LevelTriggered = 0;
        }

        public void SetInput(int n, bool level)
        {
            var bit = (byte)(1 << n);
            if (level)
            {
                if ((_lines & bit) == 0)
                    _requests |= bit;
                _lines |= bit;
            }
            else
            {
                _lines &= (byte)~bit;
                // The cascade is no edge source of its own: it follows the slave.
                if (IsMaster && n == CascadeInput)
                    _requests &= (byte)~bit;
            }
        }

        public void Acknowledge(int n)
        {
            var bit = (byte)(1 << n);
            _requests &= (byte)~bit;
            if (!_autoEoi)
                _service |= bit;
            else if (_rotateOnAutoEoi)
                _lowest = (byte)n;
            // A cascade that is still requesting after this acknowledge is a new request.
            if (IsMaster && n == CascadeInput)
                _lines &= (byte)~bit;
        }

        public byte Read(int port)
        {
            if (_poll)
            {
                _poll = false;
                var n = Pending;
                if (n < 0)
                    return 0;
                Acknowledge(n);
                return (byte)(0x80 | n);
            }

            return port != 0 ? _mask : _readService ? _service : Requests;
        }

        public void Write(int port, byte value)
        {
            if (port == 0)
            {
                if ((value & 0x10) != 0)
                    InitialiseIcw1(value);
                else if ((value & 0x08) != 0)
                    WriteOcw3(value);
                else
                    WriteOcw2(value);
                return;
            }

            switch (_expected)
            {
                case 2:
                    VectorBase = (byte)(value & 0xF8);
                    _expected = !_single ? 3 : _needsIcw4 ? 4 : 0;
                    break;
                case 3: // the PC's cascade is wired; what it says changes nothing
                    _expected = _needsIcw4 ? 4 : 0;
                    break;
                case 4:
                    _fullyNested = (value & 0x10) != 0;
                    _autoEoi = (value & 0x02) != 0;
                    _expected = 0;
                    break;
                default:
                    _mask = value;
                    break;
            }
        }

        private void InitialiseIcw1(byte value)
        {
            _requests = _service = _mask = 0;
            // The edge sense is reset: a line that is high must fall first. The cascade is not sensed.
            _lowest = 7;
            _readService = _poll = _specialMask = false;
            _autoEoi = _rotateOnAutoEoi = _fullyNested = false;
            _needsIcw4 = (value & 1) != 0;
            _single = (value & 2) != 0;
            _allLevel = (value & 8) != 0;
            _expected = 2;
            if (IsMaster)
                _lines &= unchecked((byte)~(1 << CascadeInput));
        }

        private void WriteOcw3(byte value)
        {
            if ((value & 0x40) != 0)
                _specialMask = (value & 0x20) != 0;
            if ((value & 0x04) != 0)
                _poll = true;
            else if ((value & 0x02) != 0)
                _readService = (value & 1) != 0;
        }

        private void WriteOcw2(byte value)
        {
            var level = (byte)(value & 7);
            switch (value >> 5)
            {
                case 0:
                    _rotateOnAutoEoi = false;
                    break;
                case 4:
                    _rotateOnAutoEoi = true;
                    break;
                case 1: // non-specific EOI
                case 5: // the same, and rotate
                    var ending = _specialMask ? (byte)(_service & ~_mask) : _service;
                    if (ending == 0)
                        break;
                    var n = Input(Rank(ending));
                    _service &= (byte)~(1 << n);
                    if (value >> 5 == 5)
                        _lowest = (byte)n;
                    break;
                case 3: // specific EOI
                    _service &= (byte)~(1 << level);
                    break;
                case 7: // the same, and rotate
                    _service &= (byte)~(1 << level);
                    _lowest = level;
                    break;
                case 6:
                    _lowest = level;
                    break;
            }
        }

        /// <summary>Rank of the highest-priority set input, 0 the highest; 8 for none.</summary>
        private int Rank(byte inputs)
        {
            var first = (_lowest + 1) & 7;
            var rotated = (byte)(inputs >> first | inputs << (8 - first));
            return rotated == 0 ? 8 : BitOperations.TrailingZeroCount(rotated);
        }

        private int Input(int rank) => (_lowest + 1 + rank) & 7;
    }
}
