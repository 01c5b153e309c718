using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Devices.Display;

/// <summary>
/// The 128 bytes in which a monitor describes itself. Source: VESA Enhanced Extended Display Identification Data Standard
/// (E-EDID) release A revision 2, EDID structure version 1.4.
/// </summary>
public static class Edid
{
    private const int EstablishedAt = 35, StandardAt = 38, DescriptorsAt = 54, DescriptorSize = 18;

    /// <summary>Modes with a bit of their own, best first within a byte.</summary>
    private static readonly (int Width, int Height, int Byte, byte Bit)[] Established =
    [
        (640, 480, 0, 0x20), (800, 600, 0, 0x01), (1024, 768, 1, 0x08), (1280, 1024, 1, 0x01),
    ];

    /// <summary>Modes told in the eight standard timings (60 Hz).</summary>
    private static readonly (int Width, int Height)[] Standard =
    [
        (1920, 1200), (1920, 1080), (1680, 1050), (1600, 1200), (1440, 900), (1280, 960), (1280, 800), (1152, 864),
    ];

    /// <summary>A monitor that prefers a resolution.</summary>
    public static byte[] Build(int width, int height, string name = "QEMU Monitor")
    {
        var edid = new byte[128];
        ReadOnlySpan<byte> header = [0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00];
        header.CopyTo(edid);
        BinaryPrimitives.WriteUInt16BigEndian(edid.AsSpan(8), Manufacturer("RHT"));
        BinaryPrimitives.WriteUInt16LittleEndian(edid.AsSpan(10), 0x1234);
        edid[16] = 42;        // week
        edid[17] = 2014 - 1990;
        edid[18] = 1;
        edid[19] = 4;
        edid[20] = 0xA5;      // digital, 8 bits a colour, DisplayPort
        var (widthMm, heightMm) = (width * 254 / 1000, height * 254 / 1000);
        edid[21] = (byte)Math.Min(widthMm / 10, 255);
        edid[22] = (byte)Math.Min(heightMm / 10, 255);
        edid[23] = 120;       // gamma 2.2
        edid[24] = 0x06;      // sRGB, the first timing is preferred
        // Chromaticity of sRGB.
        ReadOnlySpan<byte> colours = [0xEE, 0x91, 0xA3, 0x54, 0x4C, 0x99, 0x26, 0x0F, 0x50, 0x54];
        colours.CopyTo(edid.AsSpan(25));
        foreach (var mode in Established)
            edid[EstablishedAt + mode.Byte] |= mode.Bit;
        for (var i = 0; i < Standard.Length; i++)
            StandardTiming(edid.AsSpan(StandardAt + (2 * i)), Standard[i].Width, Standard[i].Height);
        DetailedTiming(edid.AsSpan(DescriptorsAt), width, height, widthMm, heightMm);
        var ranges = Descriptor(edid, 1, 0xFD);
        ranges[0] = 50;       // vertical Hz
        ranges[1] = 125;
        ranges[2] = 30;       // horizontal kHz
        ranges[3] = 160;
        ranges[4] = 0xF0;     // 2400 MHz
        ranges[5] = 0x01;     // no more timing information
        ranges[6] = 0x0A;
        ranges[7..].Fill(0x20);
        Text(Descriptor(edid, 2, 0xFC), name);
        _ = Descriptor(edid, 3, 0x10);
        var sum = 0;
        foreach (var b in edid)
            sum += b;
        edid[127] = (byte)-sum;
        return edid;
    }

    private static ushort Manufacturer(string letters) =>
        (ushort)((letters[0] - '@') << 10 | (letters[1] - '@') << 5 | (letters[2] - '@'));

    private static void StandardTiming(Span<byte> to, int width, int height)
    {
        var ratio = (width * 10 / height) switch
        {
            16 => 0, // 16:10
            13 => 1,
            12 => 2,
            _ => 3,
        };
        to[0] = (byte)((width / 8) - 31);
        to[1] = (byte)(ratio << 6);
    }

    /// <summary>Blanking of a quarter of the width and 1/28 of the height, 75 Hz.</summary>
    private static void DetailedTiming(Span<byte> to, int width, int height, int widthMm, int heightMm)
    {
        var (front, sync, blank) = (width * 25 / 100, width * 3 / 100, width * 35 / 100);
        var (frontLines, syncLines, blankLines) = (height * 5 / 1000, height * 5 / 1000, height * 35 / 1000);
        var clock = (long)(width + blank) * (height + blankLines) * 75 / 10_000;
        BinaryPrimitives.WriteUInt16LittleEndian(to, (ushort)Math.Min(clock, ushort.MaxValue));
        to[2] = (byte)width;
        to[3] = (byte)blank;
        to[4] = (byte)((width >> 8) << 4 | blank >> 8);
        to[5] = (byte)height;
        to[6] = (byte)blankLines;
        to[7] = (byte)((height >> 8) << 4 | blankLines >> 8);
        to[8] = (byte)front;
        to[9] = (byte)sync;
        to[10] = (byte)((frontLines & 15) << 4 | (syncLines & 15));
        to[11] = (byte)((front >> 8 & 3) << 6 | (sync >> 8 & 3) << 4 | (frontLines >> 4 & 3) << 2 | (syncLines >> 4 & 3));
        to[12] = (byte)widthMm;
        to[13] = (byte)heightMm;
        to[14] = (byte)((widthMm >> 8) << 4 | heightMm >> 8);
        to[17] = 0x18; // digital separate sync
    }

    private static Span<byte> Descriptor(byte[] edid, int index, byte tag)
    {
        var descriptor = edid.AsSpan(DescriptorsAt + (index * DescriptorSize), DescriptorSize);
        descriptor[3] = tag;
        return descriptor[5..];
    }

    private static void Text(Span<byte> to, string text)
    {
        to.Fill(0x20);
        var bytes = Encoding.ASCII.GetBytes(text);
        bytes.AsSpan(0, Math.Min(bytes.Length, to.Length - 1)).CopyTo(to);
        to[Math.Min(bytes.Length, to.Length - 1)] = 0x0A;
    }
}
