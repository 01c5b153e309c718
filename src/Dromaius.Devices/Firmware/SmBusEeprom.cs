using Dromaius.Core.Devices;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// A 256-byte serial EEPROM as memory modules carry it, with an address that counts up. Source: JEDEC Standard 21-C, section 4.1.2
/// (serial presence detect EEPROM); Atmel AT24C02 datasheet.
/// </summary>
public sealed class SmBusEeprom : Device
{
    private readonly byte[] _data = new byte[256];
    private byte _address;

    public override string TypeName => "smbus-eeprom";

    /// <summary>Sets the address of the next byte.</summary>
    public void Select(byte address) => _address = address;

    public byte ReadNext() => _data[_address++];

    public void WriteNext(byte value) => _data[_address++] = value;

    public override void Reset() => _address = 0;
}
