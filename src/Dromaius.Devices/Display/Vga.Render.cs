using System.Text;

namespace Dromaius.Devices.Display;

/// <summary>A picture: rows from the top, three bytes (red, green, blue) a pixel.</summary>
public sealed record RgbImage(int Width, int Height, byte[] Pixels);

/// <summary>What the screen shows, as text or as a picture.</summary>
public sealed partial class Vga
{
    private const int LargestSide = 4096;

    /// <summary>Code page 437, in which text memory is.</summary>
    private const string CodePage437 =
        " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼ !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmno" +
        "pqrstuvwxyz{|}~⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀" +
        "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

    /// <summary>The screen is on: the attribute controller has its palette and the sequencer does not blank.</summary>
    public bool IsDisplayOn => IsVbeEnabled || ((_attributeIndex & 0x20) != 0 && (_sequencer[1] & 0x20) == 0);

    public bool IsTextMode => !IsVbeEnabled && (_graphics[6] & 1) == 0;

    public int TextColumns => _crtc[1] + 1;

    public int TextRows => Math.Max(1, VerticalEnd / CellHeight);

    private int CellHeight => (_crtc[9] & 0x1F) + 1;

    private int VerticalEnd => (_crtc[0x12] | (_crtc[7] & 2) << 7 | (_crtc[7] & 0x40) << 3) + 1;

    private int StartAddress => _crtc[0x0C] << 8 | _crtc[0x0D];

    private int LineOffset => _crtc[0x13] * 8;

    private int LineCompare => _crtc[0x18] | (_crtc[7] & 0x10) << 4 | (_crtc[9] & 0x40) << 3;

    /// <summary>The text on the screen, a line a row, without blanks at the ends; empty in graphics modes.</summary>
    public string GetText()
    {
        if (!IsTextMode)
            return "";
        var text = new StringBuilder();
        var line = new StringBuilder();
        for (var row = 0; row < TextRows; row++)
        {
            line.Clear();
            for (var column = 0; column < TextColumns; column++)
                line.Append(CodePage437[Cell(row, column)[0]]);
            text.Append(line.ToString().TrimEnd()).Append('\n');
        }

        return text.ToString();
    }

    /// <summary>Character, attribute, font row bytes of other planes: the four bytes of a text cell.</summary>
    private ReadOnlySpan<byte> Cell(int row, int column) =>
        VideoMemory.Span((ulong)((StartAddress * 4) + (row * LineOffset) + (column * 4)) % PlanarSize & ~3UL, 4);

    /// <summary>Draws the screen.</summary>
    public RgbImage Render()
    {
        if (IsVbeEnabled)
            return RenderVbe();
        return IsTextMode ? RenderText() : RenderGraphics();
    }

    private static RgbImage Blank(int width, int height)
    {
        width = Math.Clamp(width, 1, LargestSide);
        height = Math.Clamp(height, 1, LargestSide);
        return new RgbImage(width, height, new byte[width * height * 3]);
    }

    /// <summary>A DAC entry in the picture.</summary>
    private void Put(RgbImage image, int x, int y, int entry)
    {
        var from = (entry & _dacMask) * 3;
        var to = ((y * image.Width) + x) * 3;
        for (var i = 0; i < 3; i++)
        {
            var c = _palette[from + i];
            image.Pixels[to + i] = Is8BitDac ? c : (byte)(c << 2 | c >> 4);
        }
    }

    /// <summary>The DAC entry of one of sixteen colours.</summary>
    private int Attribute(int colour)
    {
        colour &= _attribute[0x12] & 15;
        var entry = _attribute[colour];
        return (_attribute[0x10] & 0x80) != 0
            ? (entry & 0x0F) | (_attribute[0x14] & 0x0F) << 4
            : (entry & 0x3F) | (_attribute[0x14] & 0x0C) << 4;
    }

    private RgbImage RenderText()
    {
        var cellWidth = (_sequencer[1] & 1) != 0 ? 8 : 9;
        var image = Blank(TextColumns * cellWidth, TextRows * CellHeight);
        if (!IsDisplayOn)
            return image;
        var cursor = (_crtc[0x0E] << 8 | _crtc[0x0F]) - StartAddress;
        var cursorOn = (_crtc[0x0A] & 0x20) == 0;
        for (var row = 0; row < TextRows; row++)
        {
            for (var column = 0; column < TextColumns; column++)
            {
                var cell = Cell(row, column);
                var here = cursorOn && LineOffset != 0 && (row * (LineOffset / 4)) + column == cursor;
                DrawCell(image, column * cellWidth, row * CellHeight, cellWidth, cell[0], cell[1], here);
            }
        }

        return image;
    }

    private void DrawCell(RgbImage image, int x, int y, int width, byte character, byte attribute, bool cursor)
    {
        var foreground = Attribute(attribute & 15);
        // With blinking enabled the top bit is no colour.
        var background = Attribute((attribute >> 4) & ((_attribute[0x10] & 8) != 0 ? 7 : 15));
        var font = FontOffset((attribute & 8) != 0) + (character * 32);
        for (var line = 0; line < CellHeight && y + line < image.Height; line++)
        {
            int bits = VideoMemory.Span((ulong)(((font + line) * 4) + 2) % PlanarSize, 1)[0] << 1;
            // The ninth dot repeats the eighth for line graphics.
            if ((_attribute[0x10] & 4) != 0 && character is >= 0xC0 and <= 0xDF)
                bits |= (bits >> 1) & 1;
            if (cursor && line >= (_crtc[0x0A] & 0x1F) && line <= (_crtc[0x0B] & 0x1F))
                bits = 0x1FF;
            for (var dot = 0; dot < width && x + dot < image.Width; dot++)
                Put(image, x + dot, y + line, (bits >> (8 - dot) & 1) != 0 ? foreground : background);
        }
    }

    /// <summary>Where the chosen font starts in plane 2; attribute bit 3 chooses the second.</summary>
    private int FontOffset(bool second)
    {
        var select = _sequencer[3];
        var map = second
            ? (select >> 2 & 3) | (select >> 3 & 4)
            : (select & 3) | (select >> 2 & 4);
        return ((map & 3) * 0x4000) + ((map & 4) != 0 ? 0x2000 : 0);
    }

    private RgbImage RenderGraphics()
    {
        var width = (_crtc[1] + 1) * 8;
        var shift = (_graphics[5] >> 5) & 3;
        var halved = shift < 2 && (_sequencer[1] & 8) != 0; // dot clock halved: each pixel twice
        if (halved)
            width *= 2;
        var image = Blank(width, VerticalEnd);
        if (!IsDisplayOn)
            return image;
        var scale = halved || shift >= 2 ? 2 : 1;
        var repeat = (shift == 1 ? 1 : CellHeight) << (_crtc[9] >> 7);
        var wrapMask = (_crtc[0x17] & 3) ^ 3;
        var address = StartAddress * 4;
        var line = 0;
        var repeated = 0;
        for (var y = 0; y < image.Height; y++)
        {
            DrawLine(image, y, LineAddress(address, line), shift, scale);
            if (++repeated >= repeat)
            {
                repeated = 0;
                if ((line & wrapMask) == wrapMask)
                    address += LineOffset;
                line++;
            }

            if (y == LineCompare)
                address = line = repeated = 0;
        }

        return image;
    }

    /// <summary>CGA and Hercules modes: low bits of the line replace address bits.</summary>
    private int LineAddress(int address, int line)
    {
        if ((_crtc[0x17] & 1) == 0)
        {
            var bit = 14 + ((_crtc[0x17] >> 6) & 1);
            address = (address & ~(1 << bit)) | (line & 1) << bit;
        }

        if ((_crtc[0x17] & 2) == 0)
            address = (address & ~0x8000) | (line & 2) << 14;
        return address;
    }

    private void DrawLine(RgbImage image, int y, int address, int shift, int scale)
    {
        for (var x = 0; x < image.Width; x++)
        {
            var pixel = x / scale;
            int entry;
            switch (shift)
            {
                case 0:
                {
                    // A bit of every plane.
                    var planes = VideoMemory.Span((ulong)(address + (pixel / 8 * 4)) % PlanarSize & ~3UL, 4);
                    var bit = 7 - (pixel & 7);
                    entry = Attribute((planes[0] >> bit & 1) | (planes[1] >> bit & 1) << 1 | (planes[2] >> bit & 1) << 2
                                      | (planes[3] >> bit & 1) << 3);
                    break;
                }

                case 1:
                {
                    // Two bits a pixel: four pixels from plane 0, then four from plane 1; planes 2 and 3 give the high bits.
                    var planes = VideoMemory.Span((ulong)(address + (pixel / 8 * 4)) % PlanarSize & ~3UL, 4);
                    var at = (pixel >> 2) & 1;
                    var bit = 6 - (2 * (pixel & 3));
                    entry = Attribute((planes[at] >> bit & 3) | (planes[at + 2] >> bit & 3) << 2);
                    break;
                }

                default:
                    entry = VideoMemory.Span((ulong)(address + pixel) % PlanarSize, 1)[0];
                    break;
            }

            Put(image, x, y, entry);
        }
    }

    private RgbImage RenderVbe()
    {
        var image = Blank(_vbe[VbeWidth], _vbe[VbeHeight]);
        var depth = _vbe[VbeDepth];
        var bytes = Math.Max(1, (depth + 7) / 8);
        for (var y = 0; y < image.Height; y++)
        {
            var line = ((ulong)(y + _vbe[VbeY]) * (ulong)VbeBytesPerLine) + (ulong)VbeBytes(_vbe[VbeX]);
            for (var x = 0; x < image.Width; x++)
            {
                var offset = depth == 4 ? line + ((ulong)x / 8 * 4) : line + (ulong)(x * bytes);
                if (offset + 4 > VideoMemory.Size)
                    return image;
                DrawVbePixel(image, x, y, depth, VideoMemory.Span(offset, 4));
            }
        }

        return image;
    }

    private void DrawVbePixel(RgbImage image, int x, int y, int depth, ReadOnlySpan<byte> from)
    {
        var to = image.Pixels.AsSpan(((y * image.Width) + x) * 3, 3);
        switch (depth)
        {
            case 4:
                var bit = 7 - (x & 7);
                Put(image, x, y, Attribute((from[0] >> bit & 1) | (from[1] >> bit & 1) << 1 | (from[2] >> bit & 1) << 2
                                           | (from[3] >> bit & 1) << 3));
                break;
            case 8:
                Put(image, x, y, from[0]);
                break;
            case 15:
            case 16:
                var value = from[0] | from[1] << 8;
                var red = depth == 15 ? value >> 10 & 31 : value >> 11;
                to[0] = (byte)(red << 3 | red >> 2);
                to[1] = depth == 15
                    ? (byte)((value >> 5 & 31) << 3 | (value >> 5 & 31) >> 2)
                    : (byte)((value >> 5 & 63) << 2 | (value >> 5 & 63) >> 4);
                to[2] = (byte)((value & 31) << 3 | (value & 31) >> 2);
                break;
            default:
                to[0] = from[2];
                to[1] = from[1];
                to[2] = from[0];
                break;
        }
    }
}
