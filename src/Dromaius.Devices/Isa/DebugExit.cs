using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>Ports through which a test ends the emulator: the exit status is the value written times two, plus one.</summary>
public sealed class DebugExit : Device
{
    /// <param name="exit">Called with the exit status.</param>
    /// <param name="size">Number of ports.</param>
    public DebugExit(Action<int> exit, int size = 2) => Ports = MemoryRegion.Device("isa-debug-exit", (ulong)size,
        static (_, _) => 0, (_, _, value) => exit((int)((value << 1) | 1)));

    public override string TypeName => "isa-debug-exit";

    /// <summary>The ports; from 501h by default.</summary>
    public MemoryRegion Ports { get; }
}
