using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// The 128 bytes of power management I/O registers of the ICH9: the ACPI blocks, SMI enable and status, and the TCO timer. Source:
/// Intel ICH9 datasheet (316972), sections 13.8.3 (power management) and 13.9 (TCO).
/// </summary>
public sealed class Ich9Pm : Device
{
    private const uint GlobalSmi = 1, ApmSmi = 1 << 5;
    private const uint ApmStatus = 1 << 5;

    private readonly AcpiPm _acpi;
    private uint _smiEnable, _smiStatus;
    private IrqLine? _sci;
    private int _sciPin = -1;
    private readonly Func<int, IrqLine> _gsi;

    /// <param name="acpi">The ACPI registers, with 16 bytes of general purpose events.</param>
    /// <param name="tco">The watchdog timer.</param>
    /// <param name="gsi">Gives a driver of an interrupt for the system control interrupt.</param>
    public Ich9Pm(AcpiPm acpi, TcoTimer tco, Func<int, IrqLine> gsi)
    {
        _acpi = acpi;
        _gsi = gsi;
        Registers = MemoryRegion.Container("ich9-pm", 128);
        Registers.Add(0x00, MemoryRegion.Alias("acpi-pm", acpi.PmRegisters, 0, 0x0C));
        Registers.Add(0x20, acpi.GpeRegisters);
        Registers.Add(0x30, MemoryRegion.Device("acpi-smi", 8, ReadSmi, WriteSmi));
        Registers.Add(0x60, tco.Registers);
        acpi.Sci.Connect(level =>
        {
            if (_sci != null)
                _sci.Level = level;
        });
    }

    public override string TypeName => "ich9-pm";

    /// <summary>Goes to PMBASE.</summary>
    public MemoryRegion Registers { get; }

    /// <summary>GEN_PMCON_1.SMI_LOCK: the global SMI enable stays as it is.</summary>
    public bool IsGlobalSmiLocked { get; set; }

    /// <summary>The interrupt that the system control interrupt is on; -1 for none.</summary>
    public int SciPin
    {
        get => _sciPin;
        set
        {
            if (_sciPin == value)
                return;
            _sciPin = value;
            _sci?.Lower();
            _sci = value < 0 ? null : _gsi(value);
            if (_sci != null)
                _sci.Level = _acpi.Sci.Level;
        }
    }

    /// <summary>False: firmware is told that SMIs are set up already, so that it leaves them alone.</summary>
    public bool HasSystemManagement { get; init; } = true;

    public override void Reset()
    {
        _smiEnable = HasSystemManagement ? 0 : ApmSmi;
        _smiStatus = 0;
        Update();
    }

    /// <summary>A command port write raises an SMI.</summary>
    public void NoteApmSmi() => _smiStatus |= ApmStatus;

    private void Update() =>
        _acpi.ApmSmiEnabled = HasSystemManagement && (_smiEnable & (GlobalSmi | ApmSmi)) == (GlobalSmi | ApmSmi);

    private ulong ReadSmi(ulong offset, int size) => (offset < 4 ? _smiEnable : _smiStatus) >> (int)(8 * (offset & 3));

    private void WriteSmi(ulong offset, int size, ulong value)
    {
        var shift = (int)(8 * (offset & 3));
        var mask = (size >= 4 ? uint.MaxValue : (1u << (8 * size)) - 1) << shift;
        var moved = (uint)value << shift;
        if (offset >= 4)
        {
            _smiStatus &= ~(moved & mask);
            return;
        }

        var kept = IsGlobalSmiLocked ? _smiEnable & GlobalSmi : 0;
        _smiEnable = (_smiEnable & ~mask) | (moved & mask);
        if (IsGlobalSmiLocked)
            _smiEnable = (_smiEnable & ~GlobalSmi) | kept;
        Update();
    }
}
