namespace Dromaius.Devices.Timers;

/// <summary>One counter of the 8254. Times are input clock ticks.</summary>
internal sealed class PitChannel
{
    private int _mode;
    private int _access;      // RW1-RW0: 1 least, 2 most significant byte, 3 both
    private bool _bcd;
    private bool _gate;
    private int _count;       // counting element's reload value, 1 to 65536
    private long _start;      // tick at which the count was loaded
    private bool _loaded;     // a count was written since the control word
    private bool _triggered;  // modes 1 and 5: a gate edge started it
    private bool _paused;     // modes 0 and 4: gate low or half-written count
    private long _elapsed;    // ticks counted before the pause
    private int _pending;     // modes 2 and 3: count to use from _switchAt on; 0 for none
    private long _switchAt;
    private bool _writeHigh;
    private byte _writeLow;
    private bool _readHigh;
    private int _latched;     // count latch, or -1
    private int _latchedBytes;
    private int _status;      // status latch, or -1

    public bool Gate => _gate;

    /// <summary>The output repeats by itself (modes 2 and 3).</summary>
    public bool IsPeriodic => _mode is 2 or 3;

    /// <summary>Frequency of a square wave in Hz; 0 when there is none.</summary>
    public double Tone => _loaded && IsPeriodic && _gate && _count > 1 ? (double)I8254.Frequency / _count : 0;

    private bool CountsFreely => _mode is 0 or 4;

    public void Reset(bool gate)
    {
        // The datasheet leaves the state after power-up open; this one is silent until programmed.
        _mode = 0;
        _access = 3;
        _bcd = _loaded = _triggered = _paused = _writeHigh = _readHigh = false;
        _gate = gate;
        _count = 0x10000;
        _start = _elapsed = 0;
        _pending = 0;
        _latched = _status = -1;
    }

    public void Control(byte value, long tick)
    {
        var access = (value >> 4) & 3;
        if (access == 0)
        {
            Latch(tick);
            return;
        }

        _access = access;
        _mode = (value >> 1) & 7;
        if (_mode > 5)
            _mode &= 3; // the top bit is "don't care" in modes 2 and 3
        _bcd = (value & 1) != 0;
        _loaded = _triggered = _paused = false;
        _pending = 0;
        _elapsed = 0;
        _writeHigh = _readHigh = false;
        _latched = _status = -1;
    }

    public void ReadBack(bool count, bool status, long tick)
    {
        if (count)
            Latch(tick);
        if (status && _status < 0)
        {
            Update(tick);
            _status = (Output(tick) ? 0x80 : 0) | (!_loaded || _pending != 0 ? 0x40 : 0) | _access << 4 | _mode << 1
                      | (_bcd ? 1 : 0);
        }
    }

    public byte Read(long tick)
    {
        if (_status >= 0)
        {
            var status = (byte)_status;
            _status = -1;
            return status;
        }

        int value;
        if (_latched >= 0)
        {
            value = _latched;
            if (--_latchedBytes == 0)
                _latched = -1;
        }
        else
            value = Value(tick);

        var high = _access == 2 || (_access == 3 && _readHigh);
        if (_access == 3)
            _readHigh = !_readHigh;
        return (byte)(high ? value >> 8 : value);
    }

    public void Write(byte value, long tick)
    {
        switch (_access)
        {
            case 1:
                Load(value, tick);
                break;
            case 2:
                Load(value << 8, tick);
                break;
            default:
                if (_writeHigh)
                    Load(value << 8 | _writeLow, tick);
                else
                {
                    _writeLow = value;
                    // In mode 0 the first byte stops the count and drops the output at once.
                    if (_mode == 0)
                    {
                        _loaded = false;
                        _paused = false;
                    }
                }

                _writeHigh = !_writeHigh;
                break;
        }
    }

    public void SetGate(bool level, long tick)
    {
        Update(tick);
        if (_gate == level)
            return;
        _gate = level;
        switch (_mode)
        {
            case 0:
            case 4:
                if (!_loaded)
                    break;
                if (level && _paused)
                {
                    _start = tick - _elapsed;
                    _paused = false;
                }
                else if (!level && !_paused)
                {
                    _elapsed = tick - _start;
                    _paused = true;
                }

                break;
            case 1:
            case 5:
                if (level && _loaded)
                {
                    UsePending();
                    _start = tick;
                    _triggered = true;
                }

                break;
            default:
                if (level)
                {
                    UsePending();
                    _start = tick;
                }
                else
                    _elapsed = tick - _start;
                break;
        }
    }

    /// <summary>Level of OUT.</summary>
    public bool Output(long tick)
    {
        Update(tick);
        var elapsed = Elapsed(tick);
        switch (_mode)
        {
            case 0:
                return _loaded && elapsed >= _count;
            case 1:
                return !_triggered || elapsed >= _count;
            case 2:
                return !_loaded || !_gate || elapsed % _count != _count - 1;
            case 3:
                return !_loaded || !_gate || elapsed % _count < (_count + 1) / 2;
            default:
                return !_loaded || (_mode == 5 && !_triggered) || elapsed != _count;
        }
    }

    /// <summary>When OUT next matters: for mode 2 only its rising edge. Null for never.</summary>
    public long? NextChange(long tick)
    {
        Update(tick);
        if (!_loaded || _paused)
            return null;
        var elapsed = Elapsed(tick);
        switch (_mode)
        {
            case 0:
                return elapsed < _count ? _start + _count : null;
            case 1:
                return _triggered && elapsed < _count ? _start + _count : null;
            case 2:
                return _gate ? tick - (elapsed % _count) + _count : null;
            case 3:
                if (!_gate)
                    return null;
                var phase = elapsed % _count;
                var half = (_count + 1) / 2;
                return tick - phase + (phase < half && half < _count ? half : _count);
            default:
                // The end of the strobe: its rising edge interrupts.
                return (_mode == 4 || _triggered) && elapsed <= _count ? _start + _count + 1 : null;
        }
    }

    /// <summary>A strobe (modes 4 and 5) began and ended before anybody looked.</summary>
    public bool StrobePassed(long tick) => _mode is 4 or 5 && _loaded && Elapsed(tick) > _count;

    private long Elapsed(long tick) => _paused || (IsPeriodic && !_gate) ? _elapsed : Math.Max(0, tick - _start);

    private void Load(int value, long tick)
    {
        var count = _bcd ? FromBcd(value) : value;
        if (count == 0)
            count = _bcd ? 10000 : 0x10000;
        Update(tick);
        if (IsPeriodic && _loaded && _gate)
        {
            // The present cycle is finished first.
            var elapsed = Elapsed(tick);
            _pending = count;
            _switchAt = tick - (elapsed % _count) + _count;
            return;
        }

        if (_mode is 1 or 5 && _loaded)
        {
            // The present pulse is not affected.
            _pending = count;
            _switchAt = long.MaxValue;
            return;
        }

        _count = count;
        _loaded = true;
        _start = tick;
        _elapsed = 0;
        _paused = CountsFreely && !_gate;
    }

    private void Update(long tick)
    {
        if (_pending != 0 && tick >= _switchAt)
        {
            _start = _switchAt;
            UsePending();
        }
    }

    private void UsePending()
    {
        if (_pending == 0)
            return;
        _count = _pending;
        _pending = 0;
    }

    private void Latch(long tick)
    {
        // A latch that was not read yet holds.
        if (_latched >= 0)
            return;
        _latched = Value(tick);
        _latchedBytes = _access == 3 ? 2 : 1;
        _readHigh = false;
    }

    /// <summary>The counting element, as 16 bits in the counter's number system.</summary>
    private int Value(long tick)
    {
        Update(tick);
        var elapsed = Elapsed(tick);
        var modulus = _bcd ? 10000 : 0x10000;
        long value;
        if (!_loaded || (_mode is 1 or 5 && !_triggered))
            value = _count;
        else if (_mode == 2)
            value = _count - (elapsed % _count);
        else if (_mode == 3)
        {
            // Counts by twos, once through for either half.
            var even = _count & ~1;
            var phase = elapsed % _count;
            var half = (_count + 1) / 2;
            var step = phase < half ? phase : phase - half;
            value = Math.Max(even - (2 * step), even == 0 ? 0 : 2);
        }
        else
            value = _count - elapsed;

        value %= modulus;
        if (value < 0)
            value += modulus;
        return _bcd ? ToBcd((int)value) : (int)value;
    }

    private static int FromBcd(int value) =>
        ((value >> 12) & 15) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);

    private static int ToBcd(int value) => value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}
