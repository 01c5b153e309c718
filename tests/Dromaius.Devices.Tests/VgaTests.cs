using Dromaius.Core.Time;
using Dromaius.Devices.Display;

namespace Dromaius.Devices.Tests;

public sealed class VgaTests : IDisposable
{
    private readonly ManualClock _clock = new();
    private readonly Vga _vga;

    public VgaTests() => _vga = new Vga(_clock, 1 << 20);

    public void Dispose() => _vga.VideoMemory.Dispose();

    private void Indexed(int port, params ReadOnlySpan<(int Index, int Value)> registers)
    {
        foreach (var (index, value) in registers)
        {
            _vga.Ports.Out(port - 0x3B0, index);
            _vga.Ports.Out(port - 0x3B0 + 1, value);
        }
    }

    private int Read(int port, int index)
    {
        _vga.Ports.Out(port - 0x3B0, index);
        return _vga.Ports.In(port - 0x3B0 + 1);
    }

    private void Attribute(int index, int value)
    {
        _vga.Ports.In(0x2A);
        _vga.Ports.Out(0x10, index);
        _vga.Ports.Out(0x10, value);
    }

    private void Dac(int index, int r, int g, int b)
    {
        _vga.Ports.Out(0x18, index);
        _vga.Ports.Out(0x19, r);
        _vga.Ports.Out(0x19, g);
        _vga.Ports.Out(0x19, b);
    }

    private void Vbe(int index, int value)
    {
        _vga.VbePorts.Write!(0, 2, (ulong)index);
        _vga.VbePorts.Write!(1, 2, (ulong)value);
    }

    private ulong Vbe(int index)
    {
        _vga.VbePorts.Write!(0, 2, (ulong)index);
        return _vga.VbePorts.Read!(1, 2);
    }

    private void On() => _vga.Ports.Out(0x10, 0x20);

    private void TextMode()
    {
        _vga.Ports.Out(0x12, 0x67);
        Indexed(0x3C4, (1, 0), (2, 3), (4, 2));
        Indexed(0x3CE, (5, 0x10), (6, 0x0E), (8, 0xFF));
        Indexed(0x3D4, (1, 79), (7, 2), (9, 15), (0x0A, 0x20), (0x12, 0x8F), (0x13, 40), (0x17, 0xA3), (0x18, 0xFF));
        for (var i = 0; i < 16; i++)
            Attribute(i, i);
        Attribute(0x12, 15);
        Dac(1, 0, 0, 63);
        Dac(7, 42, 42, 42);
        On();
    }

    [Fact]
    public void TextIsReadBack()
    {
        TextMode();
        for (var i = 0; i < 5; i++)
            _vga.LegacyWindow.Write!((ulong)(0x18000 + 160 + (i * 2)), 2, (ulong)(0x1700 | "Hello"[i]));
        var lines = _vga.GetText().Split('\n');
        Assert.Equal(26, lines.Length);
        Assert.Equal("", lines[0]);
        Assert.Equal("Hello", lines[1]);
        Assert.Equal('H', (char)_vga.LegacyWindow.In(0x18000 + 160));
        Assert.Equal(0x17, _vga.LegacyWindow.In(0x18000 + 161));
    }

    [Fact]
    public void TextIsDrawnWithItsFont()
    {
        TextMode();
        // A font whose letter A is a single row of dots, loaded into plane 2.
        Indexed(0x3C4, (2, 4), (4, 6));
        Indexed(0x3CE, (5, 0), (6, 4));
        _vga.LegacyWindow.Out(('A' * 32) + 3, 0xFF);
        Indexed(0x3C4, (2, 3), (4, 2));
        Indexed(0x3CE, (5, 0x10), (6, 0x0E));
        _vga.LegacyWindow.Write!(0x18000, 2, 0x1741);
        var image = Picture.Of(_vga);
        Assert.Equal(720, image.Width);
        Assert.Equal(400, image.Height);
        Assert.Equal([0, 0, 255], image.Pixels[..3]);
        Assert.Equal(168, image.Pixels[3 * 720 * 3]);
    }

    [Fact]
    public void PlanarWriteModes()
    {
        Indexed(0x3C4, (2, 15), (4, 6));
        Indexed(0x3CE, (0, 0), (1, 0), (3, 0), (5, 0), (6, 5), (8, 0xFF));
        _vga.LegacyWindow.Out(0x10, 0x5A);
        for (var plane = 0; plane < 4; plane++)
        {
            Indexed(0x3CE, (4, plane));
            Assert.Equal(0x5A, _vga.LegacyWindow.In(0x10));
        }

        // Set/reset with a bit mask.
        Indexed(0x3CE, (0, 5), (1, 15), (8, 0x0F), (4, 0));
        _vga.LegacyWindow.Out(0x10, 0);
        Assert.Equal(0x5F, _vga.LegacyWindow.In(0x10));
        Indexed(0x3CE, (4, 1));
        Assert.Equal(0x50, _vga.LegacyWindow.In(0x10));

        // Write mode 2 colours, read mode 1 compares.
        Indexed(0x3CE, (1, 0), (5, 2), (8, 0xFF));
        _vga.LegacyWindow.Out(0x20, 9);
        Indexed(0x3CE, (2, 9), (5, 8), (7, 15));
        Assert.Equal(0xFF, _vga.LegacyWindow.In(0x20));
        Indexed(0x3CE, (2, 8));
        Assert.Equal(0, _vga.LegacyWindow.In(0x20));

        // Write mode 1 copies the latches.
        Indexed(0x3CE, (5, 1), (4, 0));
        _vga.LegacyWindow.In(0x20);
        _vga.LegacyWindow.Out(0x30, 0);
        Indexed(0x3CE, (5, 0));
        Assert.Equal(0xFF, _vga.LegacyWindow.In(0x30));

        // XOR with rotation.
        Indexed(0x3CE, (3, 0x19));
        _vga.LegacyWindow.In(0x30);
        _vga.LegacyWindow.Out(0x30, 1);
        Assert.Equal(0x7F, _vga.LegacyWindow.In(0x30));

        // Write mode 3: the data is a mask for the set/reset colour.
        Indexed(0x3CE, (0, 0), (3, 0), (5, 3));
        _vga.LegacyWindow.In(0x30);
        _vga.LegacyWindow.Out(0x30, 0x0F);
        Assert.Equal(0x70, _vga.LegacyWindow.In(0x30));
    }

    [Fact]
    public void Mode13IsLinear()
    {
        _vga.Ports.Out(0x12, 0x63);
        Indexed(0x3C4, (1, 1), (2, 15), (4, 0x0E));
        Indexed(0x3CE, (5, 0x40), (6, 5), (8, 0xFF));
        Indexed(0x3D4, (1, 79), (7, 0x1F), (9, 0x41), (0x12, 0x8F), (0x13, 40), (0x17, 0xA3), (0x18, 0xFF));
        On();
        Dac(0x33, 63, 0, 0);
        _vga.LegacyWindow.Out(321, 0x33);
        var image = Picture.Of(_vga);
        Assert.Equal(640, image.Width);
        Assert.Equal(400, image.Height);
        var at = ((2 * 640) + 2) * 3;
        Assert.Equal([255, 0, 0], image.Pixels[at..(at + 3)]);
        Assert.Equal(0, image.Pixels[at - 3]);
    }

    [Fact]
    public void ExtensionModes()
    {
        Assert.Equal(0xB0C5u, Vbe(0));
        Assert.Equal(16u, Vbe(10));
        Vbe(1, 320);
        Vbe(2, 200);
        Vbe(3, 32);
        Vbe(4, 0x41);
        Assert.Equal(320u, Vbe(6));
        Assert.Equal((1u << 20) / 1280, Vbe(7));
        _vga.VideoMemory.Span(1280, 4)[1] = 0x80;
        var image = Picture.Of(_vga);
        Assert.Equal((320, 200), (image.Width, image.Height));
        Assert.Equal([0, 0x80, 0], image.Pixels[960..963]);
        // The banked window.
        Vbe(5, 1);
        _vga.LegacyWindow.Out(4, 0x77);
        Assert.Equal(0x77, _vga.VideoMemory.Span(0x10004, 1)[0]);
        // Enabling clears unless told not to.
        Vbe(4, 0);
        Vbe(4, 0xC1);
        Assert.Equal(0x80, _vga.VideoMemory.Span(1281, 1)[0]);
        Vbe(4, 0);
        Vbe(4, 0x41);
        Assert.Equal(0, _vga.VideoMemory.Span(1281, 1)[0]);
        Assert.Equal(0xB0C5u, _vga.Mmio.Read!(0x500, 2));
    }

    /// <summary>Expected values are what QEMU 7.2 reads back after the same writes, with this size of memory.</summary>
    [Theory]
    [InlineData(8, 700, 0, 0, 696, 1506, 0, 0)]      // steps of eight pixels
    [InlineData(8, 100, 0, 0, 640, 1638, 0, 0)]      // not shorter than the screen is wide
    [InlineData(8, 1000, 5, 40, 1000, 1048, 5, 40)]
    [InlineData(16, 1000, 5, 500, 1000, 524, 5, 0)]  // no room below: from the top
    [InlineData(8, 60000, 3000, 9, 16000, 65, 3000, 0)]
    public void ExtensionRegistersFitMemory(int depth, int width, int x, int y, int virtualWidth, int lines, int left, int top)
    {
        Vbe(1, 643);
        Vbe(2, 480);
        Vbe(3, depth);
        Assert.Equal(643u, Vbe(1)); // kept as it is while the extension is off
        Vbe(4, 0x41);
        Assert.Equal(640u, Vbe(1));
        Vbe(6, width);
        Vbe(8, x);
        Vbe(9, y);
        Assert.Equal([(ulong)virtualWidth, (ulong)lines, (ulong)left, (ulong)top], (ulong[])[Vbe(6), Vbe(7), Vbe(8), Vbe(9)]);
    }

    [Fact]
    public void ExtensionTakesAnyDepthAndBankStays()
    {
        Vbe(5, 3);
        Vbe(3, 7);
        Vbe(4, 1);
        Assert.Equal([8, 1, 8, 3], (ulong[])[Vbe(1), Vbe(2), Vbe(3), Vbe(5)]);
    }

    [Fact]
    public void RegistersFollowTheExtension()
    {
        TextMode();
        Indexed(0x3D4, (7, 0x0D));
        Vbe(1, 1024);
        Vbe(2, 600);
        Vbe(3, 8);
        Vbe(4, 1);
        Assert.Equal([0x7F, 0x5D, 0x40, 0x57, 0x80, 0xA3, 0xFF],
            new[] { 1, 7, 9, 0x12, 0x13, 0x17, 0x18 }.Select(i => Read(0x3D4, i)));
        Assert.Equal([0x50, 0x07], new[] { 5, 6 }.Select(i => Read(0x3CE, i)));
        // Writes do not change that.
        Indexed(0x3D4, (9, 5));
        Indexed(0x3CE, (6, 0));
        Assert.Equal([0x40, 5], (int[])[Read(0x3D4, 9), Read(0x3CE, 6)]);
        Vbe(4, 0);
        Assert.False(_vga.IsTextMode);
        Assert.Equal(0x7F, Read(0x3D4, 1));
    }

    [Fact]
    public void RowsOfPairsAreRepeated()
    {
        // Four colours as in mode 4, but with linear addresses: two rows a line of memory, each twice.
        _vga.Ports.Out(0x12, 0x63);
        Indexed(0x3C4, (1, 9), (2, 3), (4, 2));
        Indexed(0x3CE, (5, 0x30), (6, 0x0F), (8, 0xFF));
        Indexed(0x3D4, (1, 39), (7, 2), (9, 0xC1), (0x12, 0x8F), (0x13, 40), (0x17, 0xE3), (0x18, 0xFF), (7, 0x1F));
        Attribute(3, 3);
        Attribute(0x12, 15);
        Dac(3, 63, 0, 0);
        On();
        _vga.LegacyWindow.Out(0x18000 + 160, 0xC0); // the second line of memory
        var image = Picture.Of(_vga);
        Assert.Equal((640, 400), (image.Width, image.Height));
        Assert.Equal([0, 0, 0, 0, 255, 255, 255, 255, 0], Enumerable.Range(0, 9).Select(y => (int)image.Pixels[y * 640 * 3]));
    }

    [Fact]
    public void ProtectionPaletteAndRetrace()
    {
        _vga.Ports.Out(0x12, 1);
        Indexed(0x3D4, (0x11, 0x80), (1, 79), (7, 0xFF));
        _vga.Ports.Out(0x24, 1);
        Assert.Equal(0, _vga.Ports.In(0x25));
        _vga.Ports.Out(0x24, 7);
        Assert.Equal(0x10, _vga.Ports.In(0x25));
        Assert.Equal(0xFF, _vga.Ports.In(0x05)); // not at the monochrome address

        Dac(9, 1, 2, 0xFF);
        _vga.Ports.Out(0x17, 9);
        Assert.Equal(3, _vga.Ports.In(0x17));
        Assert.Equal([1, 2, 0x3F], (byte[])[_vga.Ports.In(0x19), _vga.Ports.In(0x19), _vga.Ports.In(0x19)]);

        var retraces = 0;
        var was = false;
        for (var i = 0; i < 10000; i++)
        {
            _clock.Advance(100_000);
            var now = (_vga.Ports.In(0x2A) & 8) != 0;
            retraces += now && !was ? 1 : 0;
            was = now;
        }

        Assert.InRange(retraces, 59, 61);
    }
}
