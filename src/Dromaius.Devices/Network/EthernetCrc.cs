namespace Dromaius.Devices.Network;

/// <summary>The frame check sequence, and the hashes that receive filters make of addresses (IEEE 802.3, section 3.2.9).</summary>
public static class EthernetCrc
{
    private const uint Reflected = 0xEDB8_8320, Normal = 0x04C1_1DB7;

    /// <summary>As it stands at the end of a frame.</summary>
    public static uint Little(ReadOnlySpan<byte> bytes) => ~Raw(bytes);

    /// <summary>Not complemented, lowest bit first.</summary>
    public static uint Raw(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
            crc = Table[(byte)(crc ^ b)] ^ (crc >> 8);
        return crc;
    }

    /// <summary>Not complemented, highest bit first: its top bits choose a filter's bit.</summary>
    public static uint Big(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            for (var bit = 0; bit < 8; bit++)
                crc = (crc << 1) ^ (((crc >> 31) ^ (uint)(b >> bit & 1)) != 0 ? Normal : 0);
        }

        return crc;
    }

    private static readonly uint[] Table = MakeTable();

    private static uint[] MakeTable()
    {
        var table = new uint[256];
        for (var i = 0u; i < 256; i++)
        {
            var value = i;
            for (var bit = 0; bit < 8; bit++)
                value = (value >> 1) ^ ((value & 1) != 0 ? Reflected : 0);
            table[i] = value;
        }

        return table;
    }
}
