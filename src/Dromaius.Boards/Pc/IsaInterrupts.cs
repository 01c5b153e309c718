using Dromaius.Core.Interrupts;
using Dromaius.Devices.Interrupts;

namespace Dromaius.Boards.Pc;

/// <summary>
/// The interrupt wires of a PC: each goes to the 8259 pair and to an I/O APIC, number 0 to pin 2 there. Drivers of one wire are
/// ORed.
/// </summary>
/// <param name="pic">The 8259 pair, if there is one.</param>
/// <param name="ioApics">The I/O APICs, 24 wires each.</param>
internal sealed class IsaInterrupts(I8259? pic, IReadOnlyList<IoApic> ioApics)
{
    private const int TimerPin = 2;

    private readonly int[] _asserted = new int[Math.Max(IoApic.PinCount, IoApic.PinCount * ioApics.Count)];

    public int PinCount => _asserted.Length;

    /// <summary>A new driver of a wire: 0 to 15 reach both controllers, the others the I/O APIC.</summary>
    public IrqLine Driver(int number)
    {
        if ((uint)number >= (uint)_asserted.Length)
            throw new ArgumentOutOfRangeException(nameof(number));
        return new IrqLine(level => Set(number, level));
    }

    private void Set(int number, bool level)
    {
        var before = _asserted[number];
        _asserted[number] = before + (level ? 1 : -1);
        if (before > 0 == _asserted[number] > 0)
            return;
        if (number < 16)
            pic?.SetIrq(number, level);
        if (ioApics.Count == 0)
            return;
        if (number is 0 or TimerPin)
            ioApics[0].SetIrq(TimerPin, _asserted[0] > 0 || _asserted[TimerPin] > 0);
        else
            ioApics[number / IoApic.PinCount].SetIrq(number % IoApic.PinCount, level);
    }
}
