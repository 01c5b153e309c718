using Dromaius.Consoles;

namespace Dromaius.Devices.Display;

/// <summary>What the screen shows.</summary>
public partial class Vga : IDisplaySource
{
    private readonly DirtyPages _dirty;

    /// <summary>The palette as colours: all entries, and the sixteen that the attribute controller chooses.</summary>
    private readonly uint[] _dacColours = new uint[256];
    private readonly uint[] _colours = new uint[16];

    private bool _redraw = true;
    private bool _paletteChanged = true;

    /// <summary>A mode whose lines are runs of pixels in memory.</summary>
    /// <param name="Layout">How the pixels lie.</param>
    /// <param name="Width">Pixels shown.</param>
    /// <param name="Height">Lines shown.</param>
    /// <param name="Start">Byte offset of the first pixel.</param>
    /// <param name="Pitch">Bytes from line to line.</param>
    protected readonly record struct LinearMode(PixelLayout Layout, int Width, int Height, ulong Start, int Pitch)
    {
        /// <summary>Lines on the screen for one in memory.</summary>
        public int Repeat { get; init; } = 1;

        /// <summary>The last line of the upper part; below it the picture begins again at the start of memory.</summary>
        public int Split { get; init; } = int.MaxValue;

        /// <summary>Where the pixels of a line are.</summary>
        public ulong Offset(int y) => y <= Split ? Start + ((ulong)(y / Repeat) * (ulong)Pitch) : (ulong)((y - Split - 1) / Repeat) * (ulong)Pitch;
    }

    /// <summary>The attribute controller shows its palette.</summary>
    public bool IsDisplayOn => IsVbeEnabled || (_attributeIndex & 0x20) != 0;

    protected int VerticalEnd => (_crtc[0x12] | (_crtc[7] & 2) << 7 | (_crtc[7] & 0x40) << 3) + 1;

    protected virtual int StartAddress => _crtc[0x0C] << 8 | _crtc[0x0D];

    protected virtual int LineOffset => _crtc[0x13] * 8;

    protected int LineCompare => _crtc[0x18] | (_crtc[7] & 0x10) << 4 | (_crtc[9] & 0x40) << 3;

    /// <summary>Lines on the screen for a row of pixels.</summary>
    protected int RowRepeat => CellHeight << (_crtc[9] >> 7);

    /// <summary>Bytes after which planar and chained modes wrap round.</summary>
    protected virtual uint WrapSize => PlanarSize;

    /// <summary>The colours of palette entries 0 to 255.</summary>
    protected ReadOnlySpan<uint> DacColours => _dacColours;

    /// <summary>Lines that must be drawn although their memory did not change: those of a moved hardware cursor.</summary>
    protected (int First, int Last) ChangedLines { get; set; } = (int.MaxValue, -1);

    /// <summary>The next drawing draws all: some register changed what is shown.</summary>
    protected void Redraw() => _redraw = true;

    protected void ChangePalette() => _redraw = _paletteChanged = true;

    public virtual void Draw(DisplayConsole console, bool everything)
    {
        everything |= _redraw;
        _redraw = false;
        if (_paletteChanged)
            UpdateColours();
        if (TryGetLinearMode(out var mode))
            DrawLinear(console, mode, everything);
        else if (!IsDisplayOn)
            DrawBlank(console, everything);
        else if (IsTextMode)
            DrawText(console, everything);
        else
            DrawGraphics(console, everything);
    }

    /// <summary>The linear mode that is on, if one is.</summary>
    protected virtual bool TryGetLinearMode(out LinearMode mode)
    {
        mode = default;
        if (!IsVbeEnabled)
            return false;
        var depth = _vbe[VbeDepth];
        var layout = depth switch
        {
            4 => PixelLayout.Planar,
            8 => PixelLayout.Indexed,
            15 => PixelLayout.Rgb555,
            16 => PixelLayout.Rgb565,
            24 => PixelLayout.Rgb888,
            _ => PixelLayout.Xrgb8888,
        };
        var start = ((ulong)_vbe[VbeY] * (ulong)VbeBytesPerLine) + (ulong)VbeBytes(_vbe[VbeX]);
        mode = new LinearMode(layout, _vbe[VbeWidth], _vbe[VbeHeight], depth == 4 ? start & ~3UL : start, VbeBytesPerLine);
        return true;
    }

    /// <summary>Draws over a line that was just drawn: a hardware cursor.</summary>
    protected virtual void DrawCursor(Span<uint> line, int y)
    {
    }

    private void UpdateColours()
    {
        _paletteChanged = false;
        for (var i = 0; i < 256; i++)
        {
            var from = (i & _dacMask) * 3;
            _dacColours[i] = Component(_palette[from]) << 16 | Component(_palette[from + 1]) << 8 | Component(_palette[from + 2]);
        }

        for (var i = 0; i < 16; i++)
            _colours[i] = _dacColours[AttributeEntry(i)];
    }

    /// <summary>Six bits become eight by repeating the lowest one.</summary>
    private uint Component(byte value) => Is8BitDac ? value : (uint)(value << 2 | (value & 1) * 3);

    /// <summary>The DAC entry of one of sixteen colours.</summary>
    private int AttributeEntry(int colour)
    {
        var entry = _attribute[colour];
        return (_attribute[0x10] & 0x80) != 0
            ? (entry & 0x0F) | (_attribute[0x14] & 0x0F) << 4
            : (entry & 0x3F) | (_attribute[0x14] & 0x0C) << 4;
    }

    private static void DrawBlank(DisplayConsole console, bool everything)
    {
        if (!everything)
            return;
        Array.Clear(console.Surface.Pixels);
        console.UpdateAll();
    }

    private void DrawLinear(DisplayConsole console, LinearMode mode, bool everything)
    {
        everything |= console.SetSize(mode.Width, mode.Height);
        var surface = console.Surface;
        var bytes = LineDrawer.BytesFor(mode.Layout, surface.Width);
        if (mode.Split < surface.Height - 1)
            _dirty.Collect(0, VideoMemory.Size);
        else
            _dirty.Collect(mode.Start, mode.Offset(surface.Height - 1) - mode.Start + (ulong)bytes);
        var (first, last) = ChangedLines;
        ChangedLines = (int.MaxValue, -1);
        var runStart = -1;
        for (var y = 0; y < surface.Height; y++)
        {
            var offset = mode.Offset(y);
            if (everything || (y >= first && y <= last) || _dirty.IsDirty(offset, (ulong)bytes))
            {
                var line = surface.Row(y);
                if (offset + (ulong)bytes <= VideoMemory.Size)
                {
                    LineDrawer.Draw(mode.Layout, VideoMemory.Span(offset, bytes), line,
                        mode.Layout == PixelLayout.Planar ? _colours : _dacColours, 15);
                }
                else
                    line.Clear();
                DrawCursor(line, y);
                if (runStart < 0)
                    runStart = y;
            }
            else if (runStart >= 0)
            {
                console.Update(0, runStart, surface.Width, y - runStart);
                runStart = -1;
            }
        }

        if (runStart >= 0)
            console.Update(0, runStart, surface.Width, surface.Height - runStart);
    }

    private void DrawGraphics(DisplayConsole console, bool everything)
    {
        var shift = (_graphics[5] >> 5) & 3;
        var layout = shift switch
        {
            0 => PixelLayout.Planar,
            1 => PixelLayout.Pairs,
            _ => PixelLayout.Indexed,
        };
        var width = (_crtc[1] + 1) * 8;
        // 256 colours take two dot clocks a pixel, and a halved dot clock makes every pixel twice as wide.
        var doubled = shift >= 2 || (_sequencer[1] & 8) != 0;
        if (shift < 2 && doubled)
            width *= 2;
        everything |= console.SetSize(width, VerticalEnd);
        _dirty.Collect(0, WrapSize);

        var surface = console.Surface;
        var pixels = doubled ? surface.Width / 2 : surface.Width;
        var pan = _attribute[0x13] & 7;
        if (shift >= 2)
            pan >>= 1;
        Span<uint> buffer = new uint[pixels + 8];
        var palette = layout == PixelLayout.Indexed ? _dacColours : _colours;
        // Where row scans replace address bits, each shows other memory.
        var wrapMask = (_crtc[0x17] & 3) ^ 3;
        var repeat = wrapMask != 0 ? 1 << (_crtc[9] >> 7) : RowRepeat;
        var address = (StartAddress + ((_crtc[8] >> 5) & 3)) * 4;
        var line = 0;
        var repeated = Math.Min(_crtc[8] & 0x1F, repeat - 1);
        for (var y = 0; y < surface.Height; y++)
        {
            var from = LineAddress(address, line);
            if (everything || IsPlanarDirty(from, LineDrawer.BytesFor(layout, pixels + pan)))
            {
                DrawPlanarLine(layout, from, buffer[..(pixels + pan)], palette);
                var row = surface.Row(y);
                if (doubled)
                {
                    for (var x = 0; x < pixels; x++)
                        row[2 * x] = row[(2 * x) + 1] = buffer[x + pan];
                }
                else
                    buffer.Slice(pan, pixels).CopyTo(row);
                console.Update(0, y, surface.Width, 1);
            }

            if (++repeated >= repeat)
            {
                repeated = 0;
                if ((line & wrapMask) == wrapMask)
                    address += LineOffset;
                line++;
            }

            if (y == LineCompare)
            {
                address = 0;
                if ((_attribute[0x10] & 0x20) != 0)
                    pan = 0;
            }
        }
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

    private bool IsPlanarDirty(int address, int bytes)
    {
        var offset = (uint)address % WrapSize;
        return offset + (uint)bytes > WrapSize || _dirty.IsDirty(offset, (ulong)bytes);
    }

    private void DrawPlanarLine(PixelLayout layout, int address, Span<uint> to, ReadOnlySpan<uint> palette)
    {
        var bytes = LineDrawer.BytesFor(layout, to.Length);
        var offset = (uint)address % WrapSize & ~3u;
        var planes = _attribute[0x12] & 15;
        if (offset + (uint)bytes <= WrapSize)
        {
            LineDrawer.Draw(layout, VideoMemory.Span(offset, bytes), to, palette, planes);
            return;
        }

        // The line goes on at the start of memory.
        Span<byte> joined = new byte[bytes];
        for (var i = 0; i < bytes; i++)
            joined[i] = VideoMemory.Span((offset + (uint)i) % WrapSize, 1)[0];
        LineDrawer.Draw(layout, joined, to, palette, planes);
    }
}
