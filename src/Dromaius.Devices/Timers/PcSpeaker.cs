using Dromaius.Core.Devices;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;

namespace Dromaius.Devices.Timers;

/// <summary>
/// Port 61h, the AT's "port B": gate and output of timer 2, the speaker, the refresh toggle. Source: IBM PC AT technical
/// reference (1502494), system board; Intel 82371AB datasheet, section 4.2.8 (NMI status and control).
/// </summary>
public sealed class PcSpeaker : Device
{
    private const byte Gate2 = 1, SpeakerData = 2, ParityDisable = 4, IoCheckDisable = 8, Refresh = 0x10, Output2 = 0x20;

    /// <summary>Memory is refreshed every 15.085 microseconds.</summary>
    private const long RefreshPeriod = 15_085;

    private readonly I8254 _pit;
    private readonly Clock _clock;
    private byte _control;

    public PcSpeaker(I8254 pit, Clock clock)
    {
        _pit = pit;
        _clock = clock;
        Port = MemoryRegion.Device("pcspk", 1, Read, Write, 1, 1);
    }

    public override string TypeName => "isa-pcspk";

    /// <summary>Port 61h.</summary>
    public MemoryRegion Port { get; }

    /// <summary>Frequency that sounds now, in Hz; 0 for silence.</summary>
    public double Tone => (_control & SpeakerData) != 0 ? _pit.GetTone(2) : 0;

    public override void Reset()
    {
        _control = 0;
        _pit.SetGate(2, false);
    }

    private ulong Read(ulong offset, int size) =>
        (ulong)(_control | (_clock.Now / RefreshPeriod % 2 != 0 ? Refresh : 0) | (_pit.GetOutput(2) ? Output2 : 0));

    private void Write(ulong offset, int size, ulong value)
    {
        _control = (byte)(value & (Gate2 | SpeakerData | ParityDisable | IoCheckDisable));
        _pit.SetGate(2, (_control & Gate2) != 0);
    }
}
