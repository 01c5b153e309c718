using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// SMBus host controller of the PIIX4 with no device on the bus: every transaction ends at once, unanswered. Source: Intel
/// 82371AB datasheet, section 7.3.
/// </summary>
public sealed class SmBus : Device
{
    private const int HostStatus = 0, HostControl = 2, HostCommand = 3, HostAddress = 4, HostData0 = 5, HostData1 = 6,
        BlockData = 7;

    private const byte StatusDeviceError = 4, StatusFailed = 16;
    private const byte ControlKill = 2, ControlStart = 0x40;

    private readonly byte[] _registers = new byte[16];

    public SmBus() => Registers = MemoryRegion.Device("smbus", 16, (offset, _) => _registers[offset & 15], Write, 1, 1);

    public override string TypeName => "piix4-smbus";

    /// <summary>The 16 bytes at SMBBASE.</summary>
    public MemoryRegion Registers { get; }

    public override void Reset() => Array.Clear(_registers);

    private void Write(ulong offset, int size, ulong value)
    {
        var b = (byte)value;
        switch (offset)
        {
            case HostStatus:
                _registers[HostStatus] &= (byte)~b;
                break;
            case HostControl:
                _registers[HostControl] = (byte)(b & ~(ControlKill | ControlStart));
                if ((b & ControlKill) != 0)
                    _registers[HostStatus] |= StatusFailed;
                else if ((b & ControlStart) != 0)
                    _registers[HostStatus] |= StatusDeviceError;
                break;
            case HostCommand or HostAddress or HostData0 or HostData1 or BlockData:
                _registers[offset] = b;
                break;
        }
    }
}
