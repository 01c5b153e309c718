using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// SMBus host controller of the PIIX4 and the ICH9 with memory module EEPROMs on the bus. Transactions end at once; what no device
/// answers ends with an error. Sources: Intel 82371AB datasheet (290562), section 7.3; Intel ICH9 datasheet (316972), section 19.2.
/// </summary>
public sealed class SmBus : Device
{
    private const int HostStatus = 0, HostControl = 2, HostCommand = 3, HostAddress = 4, HostData0 = 5, HostData1 = 6,
        BlockData = 7, PacketError = 8, AuxiliaryControl = 13;

    private const byte StatusInterrupt = 2, StatusDeviceError = 4, StatusFailed = 16;
    private const byte ControlInterruptEnable = 1, ControlKill = 2, ControlStart = 0x40;

    private readonly byte[] _registers = new byte[16];
    private readonly Dictionary<int, SmBusEeprom> _devices = [];

    public SmBus() => Registers = MemoryRegion.Device("pm-smbus", 64, (offset, _) => offset < 16 ? _registers[offset] : 0u, Write, 1, 1);

    public override string TypeName => "smbus";

    /// <summary>The bytes at SMBBASE; beyond the first 16 nothing answers.</summary>
    public MemoryRegion Registers { get; }

    /// <summary>A transaction ended and interrupts are enabled.</summary>
    public IrqLine Irq { get; } = new();

    /// <summary>Puts a device at a 7-bit address.</summary>
    public void Add(int address, SmBusEeprom device) => _devices[address] = device;

    public override void Reset()
    {
        Array.Clear(_registers);
        foreach (var device in _devices.Values)
            device.Reset();
        Irq.Level = false;
    }

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
                    _registers[HostStatus] |= Transact((b >> 2) & 7) ? StatusInterrupt : StatusDeviceError;
                break;
            case HostCommand or HostAddress or HostData0 or HostData1 or BlockData or PacketError or AuxiliaryControl:
                _registers[offset] = b;
                break;
        }

        Irq.Level = (_registers[HostControl] & ControlInterruptEnable) != 0
            && (_registers[HostStatus] & (StatusInterrupt | StatusDeviceError | StatusFailed)) != 0;
    }

    /// <summary>One bus transaction; false when no device answers or it does not know the protocol.</summary>
    private bool Transact(int protocol)
    {
        const int Quick = 0, Byte = 1, ByteData = 2, WordData = 3;
        if (!_devices.TryGetValue(_registers[HostAddress] >> 1, out var device))
            return false;
        var read = (_registers[HostAddress] & 1) != 0;
        var command = _registers[HostCommand];
        switch (protocol)
        {
            case Quick:
                return true;
            case Byte when read:
                _registers[HostData0] = device.ReadNext();
                return true;
            case Byte:
                device.Select(command);
                return true;
            case ByteData or WordData:
                device.Select(command);
                for (var i = 0; i < protocol - 1; i++)
                {
                    if (read)
                        _registers[HostData0 + i] = device.ReadNext();
                    else
                        device.WriteNext(_registers[HostData0 + i]);
                }

                return true;
            default:
                return false;
        }
    }
}
