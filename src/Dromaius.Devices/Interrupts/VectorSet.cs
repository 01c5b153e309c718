using System.Numerics;

namespace Dromaius.Devices.Interrupts;

/// <summary>256 bits, one a vector: the APIC's IRR, ISR and TMR.</summary>
internal struct VectorSet
{
    private ulong _w0, _w1, _w2, _w3;

    /// <summary>The highest set vector, or -1.</summary>
    public readonly int Highest =>
        _w3 != 0 ? 255 - BitOperations.LeadingZeroCount(_w3)
        : _w2 != 0 ? 191 - BitOperations.LeadingZeroCount(_w2)
        : _w1 != 0 ? 127 - BitOperations.LeadingZeroCount(_w1)
        : _w0 != 0 ? 63 - BitOperations.LeadingZeroCount(_w0)
        : -1;

    public bool this[int vector]
    {
        readonly get => (Word(vector >> 6) >> (vector & 63) & 1) != 0;
        set
        {
            var bit = 1UL << (vector & 63);
            switch (vector >> 6)
            {
                case 0:
                    _w0 = value ? _w0 | bit : _w0 & ~bit;
                    break;
                case 1:
                    _w1 = value ? _w1 | bit : _w1 & ~bit;
                    break;
                case 2:
                    _w2 = value ? _w2 | bit : _w2 & ~bit;
                    break;
                default:
                    _w3 = value ? _w3 | bit : _w3 & ~bit;
                    break;
            }
        }
    }

    /// <summary>One of the eight 32-bit registers that show the set.</summary>
    public readonly uint Register(int index) => (uint)(Word((index >> 1) & 3) >> (32 * (index & 1)));

    private readonly ulong Word(int index) => index switch { 0 => _w0, 1 => _w1, 2 => _w2, _ => _w3 };
}
