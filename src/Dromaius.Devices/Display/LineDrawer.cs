using System.Buffers.Binary;

namespace Dromaius.Devices.Display;

/// <summary>How pixels lie in video memory.</summary>
public enum PixelLayout
{
    /// <summary>A bit of every plane.</summary>
    Planar,

    /// <summary>CGA: two bits a pixel, even groups of four in planes 0 and 2, odd ones in 1 and 3.</summary>
    Pairs,

    /// <summary>A palette index a byte.</summary>
    Indexed,
    Rgb555,
    Rgb565,
    Rgb888,
    Xrgb8888,
}

/// <summary>Turns a line of video memory into colours.</summary>
internal static class LineDrawer
{
    /// <summary>The bits of a byte as bytes of 0 or 1, leftmost pixel lowest.</summary>
    private static readonly ulong[] Expanded = Expand();

    /// <summary>Bytes that a number of pixels takes.</summary>
    public static int BytesFor(PixelLayout layout, int pixels) => layout switch
    {
        PixelLayout.Planar or PixelLayout.Pairs => (pixels + 7) / 8 * 4,
        PixelLayout.Indexed => pixels,
        PixelLayout.Rgb555 or PixelLayout.Rgb565 => pixels * 2,
        PixelLayout.Rgb888 => pixels * 3,
        _ => pixels * 4,
    };

    /// <param name="layout">How the pixels lie.</param>
    /// <param name="from">Memory of the line.</param>
    /// <param name="to">A colour for each pixel.</param>
    /// <param name="palette">256 colours for indexed pixels, else 16.</param>
    /// <param name="planes">Which planes count.</param>
    public static void Draw(PixelLayout layout, ReadOnlySpan<byte> from, Span<uint> to, ReadOnlySpan<uint> palette, int planes)
    {
        switch (layout)
        {
            case PixelLayout.Planar:
                DrawPlanar(from, to, palette, planes);
                break;
            case PixelLayout.Pairs:
                DrawPairs(from, to, palette, planes);
                break;
            case PixelLayout.Indexed:
                for (var x = 0; x < to.Length; x++)
                    to[x] = palette[from[x]];
                break;
            case PixelLayout.Rgb555:
                for (var x = 0; x < to.Length; x++)
                {
                    uint v = BinaryPrimitives.ReadUInt16LittleEndian(from[(2 * x)..]);
                    to[x] = (v & 0x7C00) << 9 | (v & 0x3E0) << 6 | (v & 0x1F) << 3;
                }

                break;
            case PixelLayout.Rgb565:
                for (var x = 0; x < to.Length; x++)
                {
                    uint v = BinaryPrimitives.ReadUInt16LittleEndian(from[(2 * x)..]);
                    to[x] = Wide5(v >> 11) << 16 | Wide6(v >> 5) << 8 | Wide5(v);
                }

                break;
            case PixelLayout.Rgb888:
                for (var x = 0; x < to.Length; x++)
                    to[x] = (uint)(from[3 * x] | from[(3 * x) + 1] << 8 | from[(3 * x) + 2] << 16);
                break;
            default:
                for (var x = 0; x < to.Length; x++)
                    to[x] = BinaryPrimitives.ReadUInt32LittleEndian(from[(4 * x)..]) & 0xFFFFFF;
                break;
        }
    }

    private static void DrawPlanar(ReadOnlySpan<byte> from, Span<uint> to, ReadOnlySpan<uint> palette, int planes)
    {
        var mask = (ulong)(planes & 15) * 0x0101010101010101;
        for (var x = 0; x < to.Length; x += 8)
        {
            var at = x / 2;
            var pixels = (Expanded[from[at]] | Expanded[from[at + 1]] << 1 | Expanded[from[at + 2]] << 2 | Expanded[from[at + 3]] << 3) & mask;
            var n = Math.Min(8, to.Length - x);
            for (var i = 0; i < n; i++)
                to[x + i] = palette[(int)(pixels >> (8 * i)) & 15];
        }
    }

    private static void DrawPairs(ReadOnlySpan<byte> from, Span<uint> to, ReadOnlySpan<uint> palette, int planes)
    {
        for (var x = 0; x < to.Length; x++)
        {
            var plane = (x >> 3 << 2) + ((x >> 2) & 1);
            var shift = 6 - (2 * (x & 3));
            to[x] = palette[((from[plane] >> shift & 3) | (from[plane + 2] >> shift & 3) << 2) & planes];
        }
    }

    private static uint Wide5(uint v) => (v & 31) << 3 | (v & 31) >> 2;

    private static uint Wide6(uint v) => (v & 63) << 2 | (v & 63) >> 4;

    private static ulong[] Expand()
    {
        var table = new ulong[256];
        for (var i = 0; i < 256; i++)
        {
            for (var bit = 0; bit < 8; bit++)
                table[i] |= (ulong)(i >> (7 - bit) & 1) << (8 * bit);
        }

        return table;
    }
}
