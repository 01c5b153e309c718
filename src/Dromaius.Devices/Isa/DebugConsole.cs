using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>
/// Debug console port, as Bochs introduced it at E9h: what is written goes to a character device, what is read is a constant
/// by which firmware knows it is there. SeaBIOS writes to port 402h.
/// </summary>
public sealed class DebugConsole : Device
{
    private readonly ICharBackend? _backend;

    /// <param name="backend">Where the text goes.</param>
    /// <param name="readback">What a read gives.</param>
    public DebugConsole(ICharBackend? backend, byte readback = 0xE9)
    {
        _backend = backend;
        Port = MemoryRegion.Device("isa-debugcon", 1, (_, _) => readback, (_, _, value) => _backend?.Write([(byte)value]), 1, 1);
    }

    public override string TypeName => "isa-debugcon";

    /// <summary>One port; E9h by default.</summary>
    public MemoryRegion Port { get; }
}
