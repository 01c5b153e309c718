using System.Text;
using Dromaius.Consoles;

namespace Dromaius.Devices.Display;

/// <summary>Text modes: character and attribute in planes 0 and 1, fonts in plane 2.</summary>
public partial class Vga
{
    /// <summary>Code page 437, in which text memory is.</summary>
    private const string CodePage437 =
        " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼ !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmno" +
        "pqrstuvwxyz{|}~⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀" +
        "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

    private const uint CursorCell = 1 << 16;

    /// <summary>The cursor is shown for 16 frames and hidden for 16.</summary>
    private const long CursorPhase = 16 * FrameTime;

    /// <summary>What each cell showed when it was drawn: character, attribute, cursor.</summary>
    private uint[] _cells = [];
    private bool _fontsChanged;

    public bool IsTextMode => !IsVbeEnabled && (_graphics[6] & 1) == 0;

    public int TextColumns => _crtc[1] + 1;

    public int TextRows => Math.Clamp(VerticalEnd / CellHeight, 1, 512);

    private int CellHeight => (_crtc[9] & 0x1F) + 1;

    /// <summary>Eight or nine dots; sixteen with the dot clock halved.</summary>
    private int CellWidth => (_sequencer[1] & 8) != 0 ? 16 : (_sequencer[1] & 1) != 0 ? 8 : 9;

    private bool IsCursorShown => (_crtc[0x0A] & 0x20) == 0 && _clock.Now / CursorPhase % 2 == 0;

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
                line.Append(CodePage437[Cell((StartAddress * 4) + (row * LineOffset), column)[0]]);
            text.Append(line.ToString().TrimEnd()).Append('\n');
        }

        return text.ToString();
    }

    /// <summary>Character, attribute, font row bytes of other planes: the four bytes of a text cell.</summary>
    private ReadOnlySpan<byte> Cell(int address, int column) =>
        VideoMemory.Span((ulong)(uint)(address + (column * 4)) % PlanarSize & ~3UL, 4);

    private void DrawText(DisplayConsole console, bool everything)
    {
        var (columns, rows, width, height) = (TextColumns, TextRows, CellWidth, CellHeight);
        everything |= console.SetSize(columns * width, rows * height) | _fontsChanged;
        if (_cells.Length != columns * rows)
        {
            _cells = new uint[columns * rows];
            everything = true;
        }

        _fontsChanged = false;
        var pan = TextPan(width);
        var preset = Math.Min(_crtc[8] & 0x1F, height - 1);
        if (pan != 0 || preset != 0 || LineCompare < console.Surface.Height - 1)
        {
            DrawScrolledText(console, pan, preset);
            // Cells do not say what is where: draw all when the scrolling ends.
            Array.Fill(_cells, uint.MaxValue);
            return;
        }

        var cursor = IsCursorShown ? CursorAddress : -1;
        for (var row = 0; row < rows; row++)
        {
            var address = (StartAddress * 4) + (row * LineOffset);
            int first = columns, last = -1;
            for (var column = 0; column < columns; column++)
            {
                var cell = Cell(address, column);
                var value = (uint)(cell[0] | cell[1] << 8) | (address + (column * 4) == cursor ? CursorCell : 0);
                ref var drawn = ref _cells[(row * columns) + column];
                if (drawn == value && !everything)
                    continue;
                drawn = value;
                for (var line = 0; line < height; line++)
                    DrawCellLine(console.Surface.Row((row * height) + line).Slice(column * width, width), value, line);
                first = Math.Min(first, column);
                last = column;
            }

            if (last >= 0)
                console.Update(first * width, row * height, (last + 1 - first) * width, height);
        }
    }

    /// <summary>Smooth scrolling and the split screen, which shift cells by dots: line by line.</summary>
    private void DrawScrolledText(DisplayConsole console, int pan, int preset)
    {
        var (surface, columns, width, height) = (console.Surface, TextColumns, CellWidth, CellHeight);
        var cursor = IsCursorShown ? CursorAddress : -1;
        var address = (StartAddress + ((_crtc[8] >> 5) & 3)) * 4;
        var line = preset;
        var buffer = new uint[(columns + 1) * width];
        for (var y = 0; y < surface.Height; y++)
        {
            for (var column = 0; column <= columns; column++)
            {
                var cell = Cell(address, column);
                var value = (uint)(cell[0] | cell[1] << 8) | (address + (column * 4) == cursor ? CursorCell : 0);
                DrawCellLine(buffer.AsSpan(column * width, width), value, line);
            }

            buffer.AsSpan(pan, surface.Width).CopyTo(surface.Row(y));
            if (++line == height)
            {
                line = 0;
                address += LineOffset;
            }

            if (y == LineCompare)
            {
                address = line = 0;
                if ((_attribute[0x10] & 0x20) != 0)
                    pan = 0;
            }
        }

        console.UpdateAll();
    }

    private int CursorAddress => (_crtc[0x0E] << 8 | _crtc[0x0F]) * 4;

    /// <summary>Dots to shift the picture to the left; with nine dots a cell 8 means none.</summary>
    private int TextPan(int width)
    {
        var pan = _attribute[0x13] & 15;
        return width switch
        {
            9 => pan >= 8 ? 0 : pan + 1,
            16 => (pan & 7) * 2,
            _ => pan & 7,
        };
    }

    private void DrawCellLine(Span<uint> to, uint cell, int line)
    {
        int character = (byte)cell, attribute = (byte)(cell >> 8);
        var foreground = _colours[attribute & 15];
        var background = _colours[attribute >> 4];
        var font = FontOffset((attribute & 8) != 0) + (character * 32);
        int bits = VideoMemory.Span((ulong)(((font + line) * 4) + 2) % PlanarSize, 1)[0] << 1;
        // The ninth dot repeats the eighth for line graphics.
        if ((_attribute[0x10] & 4) != 0 && character is >= 0xB0 and <= 0xDF)
            bits |= (bits >> 1) & 1;
        if ((cell & CursorCell) != 0 && line >= (_crtc[0x0A] & 0x1F) && line <= (_crtc[0x0B] & 0x1F))
            bits = 0x1FF;
        if (to.Length == 16)
        {
            for (var dot = 0; dot < 8; dot++)
                to[2 * dot] = to[(2 * dot) + 1] = (bits >> (8 - dot) & 1) != 0 ? foreground : background;
            return;
        }

        for (var dot = 0; dot < to.Length; dot++)
            to[dot] = (bits >> (8 - dot) & 1) != 0 ? foreground : background;
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
}
