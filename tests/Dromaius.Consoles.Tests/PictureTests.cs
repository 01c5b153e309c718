using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Dromaius.Consoles.Tests;

public sealed class PictureTests
{
    private static PixelSurface Noise(int width, int height)
    {
        var surface = new PixelSurface(width, height);
        var random = new Random(1);
        for (var i = 0; i < surface.Pixels.Length; i++)
            surface.Pixels[i] = (uint)random.Next(1 << 24);
        return surface;
    }

    [Fact]
    public void PpmHasHeaderAndComponents()
    {
        var surface = Noise(5, 3);
        using var stream = new MemoryStream();
        PictureWriter.WritePpm(surface, stream);
        var bytes = stream.ToArray();
        var header = "P6\n5 3\n255\n";
        Assert.Equal(header, Encoding.ASCII.GetString(bytes, 0, header.Length));
        Assert.Equal(header.Length + 45, bytes.Length);
        var last = surface[4, 2];
        Assert.Equal([(byte)(last >> 16), (byte)(last >> 8), (byte)last], bytes[^3..]);
    }

    [Fact]
    public void PngDecodesToTheSamePixels()
    {
        var surface = Noise(33, 17);
        using var stream = new MemoryStream();
        PictureWriter.WritePng(surface, stream);
        var bytes = stream.ToArray();
        Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'], bytes[..4]);
        var at = 8;
        byte[]? data = null;
        while (at < bytes.Length)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(at));
            if (Encoding.ASCII.GetString(bytes, at + 4, 4) == "IDAT")
                data = bytes[(at + 8)..(at + 8 + length)];
            at += 12 + length;
        }

        using var zlib = new ZLibStream(new MemoryStream(data!), CompressionMode.Decompress);
        using var raw = new MemoryStream();
        zlib.CopyTo(raw);
        var rows = raw.ToArray();
        Assert.Equal(17 * (1 + (33 * 3)), rows.Length);
        for (var y = 0; y < 17; y++)
        {
            for (var x = 0; x < 33; x++)
            {
                var p = (y * 100) + 1 + (x * 3);
                Assert.Equal(surface[x, y], (uint)(rows[p] << 16 | rows[p + 1] << 8 | rows[p + 2]));
            }
        }
    }
}
