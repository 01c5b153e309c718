using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Dromaius.Consoles;

/// <summary>Writes surfaces as picture files.</summary>
public static class PictureWriter
{
    /// <summary>Portable pixmap, binary (P6), 8 bits a component.</summary>
    public static void WritePpm(PixelSurface surface, Stream to)
    {
        to.Write(Encoding.ASCII.GetBytes($"P6\n{surface.Width} {surface.Height}\n255\n"));
        var row = new byte[surface.Width * 3];
        for (var y = 0; y < surface.Height; y++)
        {
            Components(surface.Row(y), row);
            to.Write(row);
        }
    }

    /// <summary>PNG (ISO/IEC 15948): truecolour, 8 bits a component, no filter.</summary>
    public static void WritePng(PixelSurface surface, Stream to)
    {
        to.Write([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]);
        Span<byte> header = stackalloc byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, surface.Width);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], surface.Height);
        header[8] = 8; // bits a component
        header[9] = 2; // truecolour
        header[10] = header[11] = header[12] = 0;
        WriteChunk(to, "IHDR"u8, header);

        using var data = new MemoryStream();
        using (var zlib = new ZLibStream(data, CompressionLevel.Fastest, leaveOpen: true))
        {
            var row = new byte[1 + (surface.Width * 3)];
            for (var y = 0; y < surface.Height; y++)
            {
                Components(surface.Row(y), row.AsSpan(1));
                zlib.Write(row);
            }
        }

        WriteChunk(to, "IDAT"u8, data.GetBuffer().AsSpan(0, (int)data.Length));
        WriteChunk(to, "IEND"u8, []);
    }

    private static void Components(ReadOnlySpan<uint> pixels, Span<byte> to)
    {
        for (var x = 0; x < pixels.Length; x++)
        {
            to[3 * x] = (byte)(pixels[x] >> 16);
            to[(3 * x) + 1] = (byte)(pixels[x] >> 8);
            to[(3 * x) + 2] = (byte)pixels[x];
        }
    }

    private static void WriteChunk(Stream to, ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        Span<byte> word = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(word, data.Length);
        to.Write(word);
        to.Write(type);
        to.Write(data);
        BinaryPrimitives.WriteUInt32BigEndian(word, Crc32(Crc32(uint.MaxValue, type), data) ^ uint.MaxValue);
        to.Write(word);
    }

    /// <summary>CRC-32 of ISO 3309.</summary>
    private static uint Crc32(uint crc, ReadOnlySpan<byte> data)
    {
        foreach (var b in data)
            crc = Table[(byte)crc ^ b] ^ (crc >> 8);
        return crc;
    }

    private static readonly uint[] Table = BuildTable();

    private static uint[] BuildTable()
    {
        var table = new uint[256];
        for (var i = 0u; i < 256; i++)
        {
            var c = i;
            for (var bit = 0; bit < 8; bit++)
                c = (c & 1) != 0 ? 0xEDB88320 ^ (c >> 1) : c >> 1;
            table[i] = c;
        }

        return table;
    }
}
