namespace Dromaius.Devices.Network;

/// <summary>A serial EEPROM of 64 words on three wires (Microwire). Source: 93C46 datasheet.</summary>
public sealed class Eeprom93C46(ushort[] words)
{
    private const int AddressBits = 6;
    private int _shift, _bits, _read = -1;
    private bool _clock;

    /// <summary>The data output; high while nothing is read.</summary>
    public bool Output { get; private set; } = true;

    /// <summary>Sets the wires; data moves on the rising edge of the clock.</summary>
    public void Drive(bool select, bool clock, bool data)
    {
        var rising = clock && !_clock;
        _clock = clock;
        if (!select)
        {
            (_shift, _bits, _read) = (0, 0, -1);
            Output = true;
            return;
        }

        if (!rising)
            return;
        if (_read >= 0)
        {
            // Words follow each other, highest bit first.
            Output = ((words[(_read >> 4) % words.Length] >> (15 - (_read & 15))) & 1) != 0;
            _read++;
            return;
        }

        // A start bit, two of operation code, then the address.
        if (_bits == 0 && !data)
            return;
        _shift = (_shift << 1) | (data ? 1 : 0);
        if (++_bits < 3 + AddressBits)
            return;
        const int OperationRead = 2;
        if (((_shift >> AddressBits) & 3) == OperationRead)
        {
            _read = (_shift & ((1 << AddressBits) - 1)) << 4;
            Output = false;
        }

        (_shift, _bits) = (0, 0);
    }
}
