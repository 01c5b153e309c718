namespace Dromaius.Consoles;

/// <summary>A picture in host memory: rows from the top, one 00RRGGBB word a pixel.</summary>
public sealed class PixelSurface
{
    public PixelSurface(int width, int height)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        Width = width;
        Height = height;
        Pixels = new uint[width * height];
    }

    public int Width { get; }
    public int Height { get; }
    public uint[] Pixels { get; }

    public Span<uint> Row(int y) => Pixels.AsSpan(y * Width, Width);

    public uint this[int x, int y] => Pixels[(y * Width) + x];
}
