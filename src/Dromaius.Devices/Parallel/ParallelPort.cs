using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Parallel;

/// <summary>
/// Parallel port in standard and bidirectional mode, with a printer that takes every byte at once. Source: IBM PS/2 hardware
/// interface technical reference, "Parallel port controller".
/// </summary>
public sealed class ParallelPort : Device
{
    private const byte StatusNotBusy = 0x80, StatusAck = 0x40, StatusPaperOut = 0x20, StatusSelected = 0x10,
        StatusNoError = 0x08, StatusUnused = 0x07;

    private const byte ControlStrobe = 0x01, ControlInit = 0x04, ControlSelect = 0x08, ControlIrq = 0x10, ControlInput = 0x20,
        ControlUnused = 0xC0;

    private readonly ICharBackend? _backend;
    private byte _data;
    private byte _control;

    public ParallelPort(ICharBackend? backend)
    {
        _backend = backend;
        Ports = MemoryRegion.Device("parallel", 8, Read, Write, 1, 1);
        Reset();
    }

    public override string TypeName => "isa-parallel";

    /// <summary>Data, status and control; the other five are not decoded.</summary>
    public MemoryRegion Ports { get; }

    public IrqLine Irq { get; } = new();

    public override void Reset()
    {
        _data = 0;
        _control = ControlInit | ControlSelect;
        Irq.Lower();
    }

    private ulong Read(ulong offset, int size) => offset switch
    {
        // As an input nothing drives the lines.
        0 => (_control & ControlInput) != 0 ? (byte)0xFF : _data,
        1 => (byte)(StatusNotBusy | StatusAck | StatusNoError | StatusUnused
            | (_backend != null ? StatusSelected : StatusPaperOut)),
        2 => (byte)(_control | ControlUnused),
        _ => 0xFF,
    };

    private void Write(ulong offset, int size, ulong value)
    {
        var b = (byte)value;
        switch (offset)
        {
            case 0:
                _data = b;
                break;
            case 2:
                var strobed = (b & ~_control & ControlStrobe) != 0;
                _control = (byte)(b & ~ControlUnused);
                // The printer reads the data at the strobe's leading edge, unless it is being initialised.
                if (!strobed || (b & ControlInit) == 0)
                    break;
                _backend?.Write([_data]);
                // The acknowledge pulse.
                if ((b & ControlIrq) != 0)
                    Irq.Pulse();
                break;
        }
    }
}
