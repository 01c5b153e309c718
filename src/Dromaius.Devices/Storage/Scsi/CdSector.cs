using System.Buffers.Binary;

namespace Dromaius.Devices.Storage.Scsi;

/// <summary>
/// The 2352 bytes of a mode 1 CD sector around 2048 bytes of data: sync, header, error detection code and the two parities of
/// the Reed-Solomon product code. Source: ECMA-130, sections 14 and annexes A and B.
/// </summary>
internal static class CdSector
{
    private static readonly uint[] EdcTable = MakeEdc();
    private static readonly byte[] Double = MakeDouble();
    private static readonly byte[] Divide = MakeDivide();

    public static void BuildMode1(Span<byte> raw, ReadOnlySpan<byte> data, long lba)
    {
        raw.Clear();
        raw[1..11].Fill(0xFF);
        var frames = lba + 150;
        raw[12] = Bcd(frames / 75 / 60);
        raw[13] = Bcd(frames / 75 % 60);
        raw[14] = Bcd(frames % 75);
        raw[15] = 1;
        data.CopyTo(raw[16..]);
        var edc = 0u;
        foreach (var b in raw[..2064])
            edc = (edc >> 8) ^ EdcTable[(edc ^ b) & 0xFF];
        BinaryPrimitives.WriteUInt32LittleEndian(raw[2064..], edc);
        Parity(raw[12..], 86, 24, 2, 86, raw.Slice(2076, 172));
        Parity(raw[12..], 52, 43, 86, 88, raw.Slice(2248, 104));
    }

    /// <summary>One parity: vectors of bytes through the header, data and earlier parity, two check bytes each.</summary>
    private static void Parity(ReadOnlySpan<byte> source, int major, int minor, int majorMultiple, int minorStep, Span<byte> to)
    {
        var size = major * minor;
        for (var i = 0; i < major; i++)
        {
            var index = ((i >> 1) * majorMultiple) + (i & 1);
            byte a = 0, b = 0;
            for (var j = 0; j < minor; j++)
            {
                var value = source[index];
                index += minorStep;
                if (index >= size)
                    index -= size;
                a ^= value;
                b ^= value;
                a = Double[a];
            }

            a = Divide[Double[a] ^ b];
            to[i] = a;
            to[i + major] = (byte)(a ^ b);
        }
    }

    private static byte Bcd(long value) => (byte)(((value / 10 % 10) << 4) | (value % 10));

    private static uint[] MakeEdc()
    {
        var table = new uint[256];
        for (var i = 0u; i < 256; i++)
        {
            var value = i;
            for (var bit = 0; bit < 8; bit++)
                value = (value >> 1) ^ ((value & 1) != 0 ? 0xD801_8001 : 0);
            table[i] = value;
        }

        return table;
    }

    /// <summary>Multiplication by two in GF(256) with the polynomial 11Dh.</summary>
    private static byte[] MakeDouble()
    {
        var table = new byte[256];
        for (var i = 0; i < 256; i++)
            table[i] = (byte)((i << 1) ^ ((i & 0x80) != 0 ? 0x11D : 0));
        return table;
    }

    /// <summary>Division by three there.</summary>
    private static byte[] MakeDivide()
    {
        var table = new byte[256];
        for (var i = 0; i < 256; i++)
            table[i ^ Double[i]] = (byte)i;
        return table;
    }
}
