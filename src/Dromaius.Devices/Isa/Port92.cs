using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>
/// System control port A: address line 20 and a fast processor reset. Source: IBM PS/2 hardware interface technical reference,
/// "System control port A (hex 0092)".
/// </summary>
public sealed class Port92 : Device
{
    private const byte FastReset = 1, GateA20 = 2;

    private byte _value;

    public Port92() => Port = MemoryRegion.Device("port92", 1, (_, _) => _value, (_, _, value) => Write((byte)value), 1, 1);

    public override string TypeName => "port92";

    /// <summary>Port 92h.</summary>
    public MemoryRegion Port { get; }

    /// <summary>Address line 20 is let through.</summary>
    public IrqLine A20 { get; } = new();

    /// <summary>The reset bit went from 0 to 1. It stays set over a processor reset and is cleared by a system reset.</summary>
    public Action? ResetRequested { get; set; }

    public override void Reset()
    {
        _value = 0;
        A20.Level = false;
    }

    /// <summary>Address line 20 was changed elsewhere (keyboard controller): the port shows the same.</summary>
    public void SetA20(bool level)
    {
        _value = (byte)(level ? _value | GateA20 : _value & ~GateA20);
        A20.Level = level;
    }

    private void Write(byte value)
    {
        var old = _value;
        _value = value;
        A20.Level = (value & GateA20) != 0;
        if ((value & ~old & FastReset) != 0)
            ResetRequested?.Invoke();
    }
}
