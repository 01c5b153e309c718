using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>
/// Reset control register at port CF9h. Source: Intel 82371AB datasheet, section 4.1.12 (RC). It lies inside the PCI
/// configuration address port, which takes 32-bit accesses only: there, the configuration mechanism passes byte accesses on by
/// <see cref="Read"/> and <see cref="Write"/>, and <see cref="Port"/> is not mapped.
/// </summary>
public sealed class ResetControl : Device
{
    private const byte SystemReset = 2, ResetCpu = 4;

    private byte _value;

    public ResetControl() => Port = MemoryRegion.Device("reset-control", 1, (_, _) => Read(), (_, _, value) => Write((byte)value), 1, 1);

    public override string TypeName => "piix3-reset-control";

    /// <summary>Port CF9h.</summary>
    public MemoryRegion Port { get; }

    /// <summary>A reset: hard (the whole machine) if true, else of the processors.</summary>
    public Action<bool>? ResetRequested { get; set; }

    public override void Reset() => _value = 0;

    public byte Read() => _value;

    public void Write(byte value)
    {
        // The reset happens when the bit goes from 0 to 1; it does not stay set, so that the next write can do it again.
        _value = (byte)(value & SystemReset);
        if ((value & ResetCpu) != 0)
            ResetRequested?.Invoke((value & SystemReset) != 0);
    }
}
