using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>
/// Panic notifier: one port by which a guest says that it panicked or loaded a crash kernel. Source: "PVPANIC DEVICE"
/// specification.
/// </summary>
public sealed class PvPanic : Device
{
    public const byte Panicked = 1, CrashLoaded = 2;

    private readonly byte _events;
    private readonly Action _panicked;
    private readonly Action _crashLoaded;

    /// <param name="events">Which events it supports.</param>
    /// <param name="panicked">The guest panicked.</param>
    /// <param name="crashLoaded">The guest panicked and a crash kernel runs.</param>
    public PvPanic(byte events, Action panicked, Action crashLoaded)
    {
        _events = events;
        _panicked = panicked;
        _crashLoaded = crashLoaded;
        Port = MemoryRegion.Device("pvpanic", 1, (_, _) => _events, Write, 1, 1);
    }

    public override string TypeName => "pvpanic";

    public MemoryRegion Port { get; }

    private void Write(ulong offset, int size, ulong value)
    {
        if ((value & _events & Panicked) != 0)
            _panicked();
        else if ((value & _events & CrashLoaded) != 0)
            _crashLoaded();
    }
}
