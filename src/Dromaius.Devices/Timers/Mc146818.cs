using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Devices.Timers;

/// <summary>
/// Real-time clock and 128 bytes of CMOS memory. Source: Motorola MC146818A data sheet; the memory above 64 bytes, the index
/// port and the century byte are those of the PC AT and PS/2.
/// </summary>
public sealed class Mc146818 : Device
{
    private const int Seconds = 0, SecondsAlarm = 1, Minutes = 2, MinutesAlarm = 3, Hours = 4, HoursAlarm = 5, DayOfWeek = 6,
        Day = 7, Month = 8, Year = 9, RegA = 10, RegB = 11, RegC = 12, RegD = 13;

    /// <summary>Where PCs keep the century: of the PC AT, and of the PS/2.</summary>
    private const int Century = 0x32, CenturyPs2 = 0x37;

    private const byte AUpdating = 0x80;
    private const byte BSet = 0x80, BPeriodic = 0x40, BAlarm = 0x20, BUpdate = 0x10, BBinary = 0x04, B24Hours = 0x02;
    private const byte CRequest = 0x80, CPeriodic = 0x40, CAlarm = 0x20, CUpdate = 0x10;
    private const byte DValid = 0x80;

    private const long Second = Clock.NanosecondsPerSecond;

    /// <summary>The update flag rises 8 periods of the 32768 Hz crystal before an update, which takes no time here.</summary>
    private const long UpdateTime = 8 * Second / 32768;

    private readonly Clock _clock;
    private readonly Timer _timer;
    private readonly long _firstEpoch, _firstZero;
    private readonly byte[] _cmos = new byte[128];
    private byte _index;

    // The calendar: seconds since 1970 at clock time _zero; what runs is derived from the clock.
    private long _epoch;
    private long _zero;
    private long _periodicZero;
    private long _synced;
    private long? _alarmSecond;

    // While SET holds the calendar, the divider's phase is kept.
    private long _stoppedFraction;

    /// <param name="clock">The clock it runs on.</param>
    /// <param name="now">The date and time it shows at first.</param>
    public Mc146818(Clock clock, DateTime now)
    {
        _clock = clock;
        _timer = clock.CreateTimer(Sync);
        Ports = MemoryRegion.Device("rtc", 2, Read, Write, 1, 1);
        _epoch = (now.Ticks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerSecond;
        _zero = clock.Now;
        (_firstEpoch, _firstZero) = (_epoch, _zero);
        _synced = _zero;
        _periodicZero = _zero;
        _cmos[RegA] = 0x26; // 32.768 kHz crystal, 1.024 kHz rate: as firmware sets it
        _cmos[RegB] = B24Hours;
        FindAlarm();
    }

    public override string TypeName => "mc146818rtc";

    /// <summary>Ports 70h (index) and 71h (data).</summary>
    public MemoryRegion Ports { get; }

    /// <summary>IRQ 8; raised until register C is read.</summary>
    public IrqLine Irq { get; } = new();

    /// <summary>Bit 7 of the index port: the AT's gate for non-maskable interrupts.</summary>
    public bool NmiDisabled { get; private set; }

    /// <summary>An alarm came while its interrupt is enabled (wakes the machine).</summary>
    public Action? AlarmFired { get; set; }

    /// <summary>The guest set it: by how many seconds it now is before what it would show otherwise.</summary>
    public Action<long>? TimeSet { get; set; }

    /// <summary>The date and time it shows.</summary>
    public DateTime Now => DateTime.UnixEpoch.AddSeconds(Math.Clamp(SecondAt(_clock.Now), -60_000_000_000, 250_000_000_000));

    private bool IsRunning => (_cmos[RegB] & BSet) == 0 && (_cmos[RegA] & 0x60) != 0x60;

    private long PeriodNanosecondsTimes32768
    {
        get
        {
            var rate = _cmos[RegA] & 15;
            if (rate == 0 || (_cmos[RegA] & 0x60) == 0x60)
                return 0;
            // The two shortest settings of the 32 kHz divider repeat 256 and 128 Hz.
            return 1L << (rate <= 2 ? rate + 6 : rate - 1);
        }
    }

    /// <summary>A system reset: interrupts off; time and memory are kept by the battery.</summary>
    public override void Reset()
    {
        Update();
        _cmos[RegB] &= unchecked((byte)~(BPeriodic | BAlarm | BUpdate | 0x08));
        _cmos[RegC] = 0;
        _index = 0;
        NmiDisabled = false;
        Sync();
    }

    /// <summary>A byte of CMOS memory, as the board's firmware expects it there.</summary>
    public byte this[int index]
    {
        get => _cmos[index & 0x7F];
        set => _cmos[index & 0x7F] = value;
    }

    /// <summary>Sets date and time.</summary>
    public void SetTime(DateTime now)
    {
        Update();
        _epoch = (now.Ticks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerSecond;
        _zero = _clock.Now;
        FindAlarm();
        Sync();
    }

    private long SecondAt(long now) => IsRunning ? _epoch + FloorDiv(now - _zero, Second) : _epoch;

    private ulong Read(ulong offset, int size)
    {
        if (offset == 0)
            return 0xFF; // the index port is write-only
        switch (_index)
        {
            case <= Year and not (SecondsAlarm or MinutesAlarm or HoursAlarm):
            case Century or CenturyPs2:
                if (IsRunning)
                    StoreCalendar(SecondAt(_clock.Now));
                return _cmos[_index];
            case RegA:
                return (ulong)((_cmos[RegA] & 0x7F) | (IsUpdating ? AUpdating : 0));
            case RegC:
                Update();
                var flags = _cmos[RegC];
                _cmos[RegC] = 0;
                Irq.Level = false; // for what comes before Sync looks again is an edge of its own
                Sync();
                return flags;
            case RegD:
                return DValid;
            default:
                return _cmos[_index];
        }
    }

    private bool IsUpdating => IsRunning && Modulo(_clock.Now - _zero, Second) >= Second - UpdateTime;

    private void Write(ulong offset, int size, ulong value)
    {
        var b = (byte)value;
        if (offset == 0)
        {
            _index = (byte)(b & 0x7F);
            NmiDisabled = (b & 0x80) != 0;
            return;
        }

        switch (_index)
        {
            case RegC or RegD:
                return;
            case RegA:
                WriteA((byte)(b & 0x7F));
                break;
            case RegB:
                WriteB(b);
                break;
            case SecondsAlarm or MinutesAlarm or HoursAlarm:
                Update();
                _cmos[_index] = b;
                FindAlarm();
                break;
            case <= Year or Century or CenturyPs2:
                Update();
                if (IsRunning)
                    StoreCalendar(SecondAt(_clock.Now));
                _cmos[_index] = b;
                if (_index == Century)
                    _cmos[CenturyPs2] = b;
                else if (_index == CenturyPs2)
                    _cmos[Century] = b;
                if (IsRunning)
                {
                    var fraction = Modulo(_clock.Now - _zero, Second);
                    LoadCalendar();
                    _zero = _clock.Now - fraction;
                    FindAlarm();
                    NoteSet();
                }

                break;
            default:
                _cmos[_index] = b;
                return;
        }

        Sync();
    }

    private void WriteA(byte value)
    {
        Update();
        var wasRunning = IsRunning;
        if (wasRunning)
            StoreCalendar(SecondAt(_clock.Now));
        if (((value ^ _cmos[RegA]) & 0x7F) != 0)
            _periodicZero = _clock.Now;
        var wasReset = (_cmos[RegA] & 0x60) == 0x60;
        _cmos[RegA] = value;
        if (wasRunning && !IsRunning)
            LoadCalendar();
        else if (!wasRunning && IsRunning)
        {
            LoadCalendar();
            // The first update follows half a second after the divider is released.
            _zero = _clock.Now - (wasReset ? Second / 2 : 0);
            NoteSet();
        }

        FindAlarm();
    }

    private void WriteB(byte value)
    {
        Update();
        // Setting SET ends the update interrupt's enable.
        if ((value & BSet) != 0)
            value &= unchecked((byte)~BUpdate);
        var wasRunning = IsRunning;
        var fraction = Modulo(_clock.Now - _zero, Second);
        if (wasRunning)
            StoreCalendar(SecondAt(_clock.Now));
        var second = SecondAt(_clock.Now);
        var format = (value ^ _cmos[RegB]) & (BBinary | B24Hours);
        _cmos[RegB] = value;
        if (wasRunning && IsRunning)
        {
            if (format != 0)
                StoreCalendar(second); // the calendar goes on; it is only shown in another way
        }
        else if (wasRunning || IsRunning)
        {
            LoadCalendar();
            _zero = _clock.Now - (IsRunning ? _stoppedFraction : 0);
            if (wasRunning)
                _stoppedFraction = fraction;
            else
                NoteSet();
        }

        FindAlarm();
    }

    private void NoteSet() =>
        TimeSet?.Invoke(SecondAt(_clock.Now) - _firstEpoch - FloorDiv(_clock.Now - _firstZero, Second));

    /// <summary>Raises the flags for what happened since it was last looked at.</summary>
    private void Update()
    {
        var now = _clock.Now;
        if (now <= _synced)
            return;
        var flags = 0;
        var period = PeriodNanosecondsTimes32768;
        if (period != 0 && PeriodIndex(now, period) != PeriodIndex(_synced, period))
            flags |= CPeriodic;
        if (IsRunning)
        {
            if (SecondAt(now) != SecondAt(_synced))
                flags |= CUpdate;
            if (_alarmSecond is { } alarm && SecondAt(now) >= alarm)
            {
                flags |= CAlarm;
                FindAlarm();
                if ((_cmos[RegB] & BAlarm) != 0 && (_cmos[RegC] & CAlarm) == 0)
                    AlarmFired?.Invoke();
            }
        }

        _cmos[RegC] |= (byte)flags;
        _synced = now;
    }

    private long PeriodIndex(long now, long period) =>
        (long)((Int128)(now - _periodicZero) * 32768 / ((Int128)period * Second));

    /// <summary>Brings flags and line up to date and arms the timer for the next event that interrupts.</summary>
    private void Sync()
    {
        Update();
        var pending = _cmos[RegC] & _cmos[RegB] & (CPeriodic | CAlarm | CUpdate);
        _cmos[RegC] = (byte)((_cmos[RegC] & ~CRequest) | (pending != 0 ? CRequest : 0));
        Irq.Level = pending != 0;
        if (pending != 0)
        {
            // Nothing more to tell until register C is read.
            _timer.Cancel();
            return;
        }

        var now = _clock.Now;
        var next = long.MaxValue;
        var period = PeriodNanosecondsTimes32768;
        if ((_cmos[RegB] & BPeriodic) != 0 && period != 0)
        {
            var at = ((Int128)(PeriodIndex(now, period) + 1) * period * Second + 32767) / 32768;
            next = Math.Min(next, _periodicZero + (long)at);
        }

        if (IsRunning)
        {
            if ((_cmos[RegB] & BUpdate) != 0)
                next = Math.Min(next, TimeOf(SecondAt(now) + 1));
            if ((_cmos[RegB] & BAlarm) != 0 && _alarmSecond is { } alarm)
                next = Math.Min(next, TimeOf(alarm));
        }

        if (next == long.MaxValue)
            _timer.Cancel();
        else
            _timer.Arm(next);
    }

    private long TimeOf(long second) => _zero + ((second - _epoch) * Second);

    // ---- Calendar --------------------------------------------------------------------------------------------------

    /// <summary>Writes a time into the registers, in the format that register B asks for.</summary>
    private void StoreCalendar(long epoch)
    {
        var days = FloorDiv(epoch, 86400);
        var second = (int)Modulo(epoch, 86400);
        CivilFromDays(days, out var year, out var month, out var day);
        _cmos[Seconds] = Encode(second % 60);
        _cmos[Minutes] = Encode(second / 60 % 60);
        _cmos[Hours] = EncodeHour(second / 3600);
        _cmos[DayOfWeek] = Encode((int)Modulo(days + 4, 7) + 1); // 1 January 1970 was a Thursday; Sunday is 1
        _cmos[Day] = Encode(day);
        _cmos[Month] = Encode(month);
        _cmos[Year] = Encode((int)Modulo(year, 100));
        _cmos[Century] = _cmos[CenturyPs2] = ToBcd((int)Modulo(FloorDiv(year, 100), 100));
    }

    /// <summary>Reads the registers back; values out of range count on as the calendar would.</summary>
    private void LoadCalendar()
    {
        var year = Decode(_cmos[Year]) + (FromBcd(_cmos[Century]) * 100);
        var month = Math.Clamp(Decode(_cmos[Month]), 1, 12);
        var days = DaysFromCivil(year, month, 1) + Decode(_cmos[Day]) - 1;
        _epoch = (days * 86400) + (DecodeHour(_cmos[Hours]) * 3600L) + (Decode(_cmos[Minutes]) * 60L) + Decode(_cmos[Seconds]);
        _zero = _clock.Now;
        _synced = Math.Max(_synced, _zero);
    }

    /// <summary>Finds the next second that matches the alarm registers; a register of C0h or more matches any.</summary>
    private void FindAlarm()
    {
        _alarmSecond = null;
        var after = SecondAt(_clock.Now);
        var midnight = FloorDiv(after, 86400) * 86400;
        for (var day = 0; day < 2; day++)
        {
            for (var hour = 0; hour < 24; hour++)
            {
                if (!Matches(_cmos[HoursAlarm], EncodeHour(hour)))
                    continue;
                for (var minute = 0; minute < 60; minute++)
                {
                    var start = midnight + (day * 86400) + (hour * 3600) + (minute * 60);
                    if (start + 59 <= after || !Matches(_cmos[MinutesAlarm], Encode(minute)))
                        continue;
                    for (var second = 0; second < 60; second++)
                    {
                        if (start + second > after && Matches(_cmos[SecondsAlarm], Encode(second)))
                        {
                            _alarmSecond = start + second;
                            return;
                        }
                    }
                }
            }
        }
    }

    private static bool Matches(byte alarm, byte value) => alarm >= 0xC0 || alarm == value;

    private byte Encode(int value) => (_cmos[RegB] & BBinary) != 0 ? (byte)value : ToBcd(value);

    private int Decode(byte value) => (_cmos[RegB] & BBinary) != 0 ? value : FromBcd(value);

    private byte EncodeHour(int hour)
    {
        if ((_cmos[RegB] & B24Hours) != 0)
            return Encode(hour);
        var of12 = hour % 12 == 0 ? 12 : hour % 12;
        return (byte)(Encode(of12) | (hour >= 12 ? 0x80 : 0));
    }

    private int DecodeHour(byte value)
    {
        if ((_cmos[RegB] & B24Hours) != 0)
            return Decode(value);
        return (Decode((byte)(value & 0x7F)) % 12) + ((value & 0x80) != 0 ? 12 : 0);
    }

    private static byte ToBcd(int value) => (byte)(value / 10 % 10 << 4 | value % 10);

    private static int FromBcd(byte value) => ((value >> 4) * 10) + (value & 15);

    private static long FloorDiv(long a, long b) => (a / b) - (a % b < 0 ? 1 : 0);

    private static long Modulo(long a, long b) => a - (FloorDiv(a, b) * b);

    /// <summary>Days since 1 January 1970 in the proleptic Gregorian calendar; years begin in March, eras are 400 years.</summary>
    private static long DaysFromCivil(long year, int month, int day)
    {
        if (month <= 2)
            year--;
        var era = FloorDiv(year, 400);
        var ofEra = Modulo(year, 400);
        var ofYear = (((153 * (month + (month > 2 ? -3 : 9))) + 2) / 5) + day - 1;
        return (era * 146097) + (ofEra * 365) + (ofEra / 4) - (ofEra / 100) + ofYear - 719468;
    }

    private static void CivilFromDays(long days, out long year, out int month, out int day)
    {
        days += 719468;
        var era = FloorDiv(days, 146097);
        var ofEra = Modulo(days, 146097);
        var yearOfEra = (ofEra - (ofEra / 1460) + (ofEra / 36524) - (ofEra / 146096)) / 365;
        var ofYear = ofEra - ((365 * yearOfEra) + (yearOfEra / 4) - (yearOfEra / 100));
        var index = ((5 * ofYear) + 2) / 153;
        day = (int)(ofYear - (((153 * index) + 2) / 5) + 1);
        month = (int)(index < 10 ? index + 3 : index - 9);
        year = yearOfEra + (era * 400) + (month <= 2 ? 1 : 0);
    }
}
