using Dromaius.Consoles;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Display;

namespace Dromaius.Devices.Tests;

/// <summary>The CL-GD5446 by its ports and windows.</summary>
public sealed class CirrusTests
{
    private const uint Linear = 0xE000_0000, Window = Linear + 0x100_0000, Registers = 0xF000_0000;
    private readonly CirrusVga _vga = new(new ManualClock());
    private readonly AddressSpace _memory;
    private readonly AddressSpace _io;

    public CirrusTests()
    {
        var gate = new Lock();
        var root = MemoryRegion.Container("system", 0);
        root.Add(0xA0000, _vga.LegacyWindow);
        root.Add(0xA0000, _vga.DirectWindow, 1);
        root.Add(Linear, _vga.LinearBar);
        root.Add(Registers, _vga.RegisterBar);
        var io = MemoryRegion.Container("io", 0x10000);
        io.Add(0x3B0, _vga.Ports);
        _memory = new AddressSpace("memory", root, gate);
        _io = new AddressSpace("io", io, gate);
        Out(0x3C2, 0x67);
    }

    private void Out(uint port, int value) => _io.Store(port, 1, (byte)value);

    private byte In(uint port) => (byte)_io.Load(port, 1);

    private void Seq(int index, int value) => (_, _) = (Set(0x3C4, index), Set(0x3C5, value));

    private void Gr(int index, int value) => (_, _) = (Set(0x3CE, index), Set(0x3CF, value));

    private void Cr(int index, int value) => (_, _) = (Set(0x3D4, index), Set(0x3D5, value));

    private bool Set(uint port, int value)
    {
        Out(port, value);
        return true;
    }

    private byte Peek(uint at) => _vga.VideoMemory.Span(at, 1)[0];

    /// <summary>Lines of pixels of one byte: sizes, pitches of 64, addresses, mode and operation.</summary>
    private void Blt(int width, int height, int to, int from, int mode, int rop, int extensions = 0)
    {
        (int Register, int Value)[] set =
        [
            (0x20, width - 1), (0x21, (width - 1) >> 8), (0x22, height - 1), (0x23, (height - 1) >> 8), (0x24, 64), (0x25, 0), (0x26, 64), (0x27, 0),
            (0x28, to), (0x29, to >> 8), (0x2A, to >> 16), (0x2C, from), (0x2D, from >> 8), (0x2E, from >> 16), (0x2F, 0), (0x30, mode), (0x32, rop),
            (0x33, extensions), (0x31, 0), (0x31, 2),
        ];
        foreach (var (register, value) in set)
            Gr(register, value);
    }

    private void Linear8()
    {
        Seq(6, 0x12);
        Seq(7, 0xF1);
        _vga.VideoMemory.Span(0, 0x10000).Clear();
    }

    [Fact]
    public void TheKeyAndTheHiddenRegister()
    {
        Out(0x3C4, 6);
        Assert.Equal(0x0F, In(0x3C5));
        Out(0x3C5, 0x12);
        Assert.Equal(0x12, In(0x3C5));
        Out(0x3D4, 0x27);
        Assert.Equal(0xB8, In(0x3D5));
        for (var i = 0; i < 4; i++)
            _ = In(0x3C6);
        Out(0x3C6, 0xC1);
        for (var i = 0; i < 4; i++)
            Assert.Equal(0xFF, In(0x3C6));
        Assert.Equal(0xC1, In(0x3C6));
    }

    [Fact]
    public void BanksShowVideoMemory()
    {
        Linear8();
        Gr(9, 0x10);
        _memory.Store(0xA0005, 1, 0x77);
        Assert.Equal(0x77, Peek(0x10005));
        Gr(0x0B, 0x21);
        Gr(9, 2);
        Gr(10, 5);
        _memory.Store(0xA0001, 1, 1);
        _memory.Store(0xA8001, 1, 2);
        Assert.Equal((1, 2), (Peek(0x8001), Peek(0x14001)));
        Assert.Equal(2u, _memory.Load(0xA8001, 1));
        // Behind the end of memory there is nothing.
        Gr(10, 0xFF);
        _memory.Store(0xAFFFF, 1, 9);
        Assert.Equal(0xFFu, _memory.Load(0xAFFFF, 1));
    }

    [Fact]
    public void CopiesAndCombines()
    {
        Linear8();
        for (var i = 0u; i < 8; i++)
            _memory.Store(Linear + i, 1, 0x10 + i);
        Blt(8, 1, 0x1000, 0, 0, 0x0D);
        Assert.Equal((0x10, 0x17), (Peek(0x1000), Peek(0x1007)));
        Blt(8, 1, 0x1000, 0, 0, 0x59);
        Assert.Equal((0, 0), (Peek(0x1000), Peek(0x1007)));
        // Backwards, an overlapping line is moved whole; forwards the start is repeated.
        Blt(8, 1, 9, 7, 1, 0x0D);
        Assert.Equal((0x10, 0x17), (Peek(2), Peek(9)));
        Blt(8, 1, 3, 2, 0, 0x0D);
        Assert.Equal((0x10, 0x10), (Peek(3), Peek(10)));
        Out(0x3CE, 0x31);
        Assert.Equal(0, In(0x3CF) & 3);
    }

    [Fact]
    public void ExpandsBitsFromTheProcessor()
    {
        Linear8();
        Gr(0, 0x0B);
        Gr(1, 0x0F);
        Blt(12, 2, 0x2000, 0, 0x84, 0x0D);
        Out(0x3CE, 0x31);
        Assert.Equal(3, In(0x3CF) & 3);
        foreach (var b in (byte[])[0x80, 0x10, 0x01, 0xF0])
            _memory.Store(Window, 1, b);
        Assert.Equal(0, In(0x3CF) & 3);
        Assert.Equal([0x0F, 0x0B, 0x0B, 0x0B, 0x0B, 0x0B, 0x0B, 0x0B, 0x0B, 0x0B, 0x0B, 0x0F, 0], _vga.VideoMemory.Span(0x2000, 13).ToArray());
        Assert.Equal(0x0F, Peek(0x2040 + 7));
        // The engine is through: the window is memory again.
        _memory.Store(Linear + 0x3000, 1, 0x5A);
        Assert.Equal(0x5A, Peek(0x3000));
    }

    [Fact]
    public void RegistersInMemoryFillSolid()
    {
        Linear8();
        void Mmio(uint at, uint value) => _memory.Store(Registers + 0x100 + at, 1, value);
        Mmio(4, 0x66);
        Blt(4, 2, 0x4000, 0, 0xC0, 0x0D, extensions: 4);
        Assert.Equal((0x66, 0x66, 0), (Peek(0x4000), Peek(0x4043), Peek(0x4044)));
        Mmio(8, 1);
        Mmio(0x40, 0);
        Mmio(0x40, 2);
        Assert.Equal(0x02, (byte)_memory.Load(Registers + 0x140, 1) | 2);
    }

    [Fact]
    public void TheCursorLiesOverThePicture()
    {
        Linear8();
        Cr(1, 79);
        Cr(0x12, 0xDF);
        Cr(7, 2);
        Cr(0x13, 80);
        Out(0x3C0, 0x20);
        var pattern = (uint)_vga.VideoMemory.Size - 0x4000;
        _vga.VideoMemory.Span(pattern, 256).Clear();
        _vga.VideoMemory.Span(pattern, 1)[0] = 0x80;        // inverts
        _vga.VideoMemory.Span(pattern + 128, 1)[0] = 0x40;  // background
        Seq(0x12, 2);
        Out(0x3C8, 0);
        foreach (var component in (byte[])[63, 0, 0])
            Out(0x3C9, component);
        Seq(0x12, 1);
        Seq(0x10 | 3 << 5, 10);
        Seq(0x11, 20);
        var console = new DisplayConsole(_vga, "cirrus-vga", null);
        console.Refresh();
        Assert.Equal((640, 480), (console.Surface.Width, console.Surface.Height));
        Assert.Equal((0xFFFFFFu, 0xFF0000u, 0u), (console.Surface[83, 160], console.Surface[84, 160], console.Surface[85, 160]));
        Seq(0x11, 30);
        console.Refresh();
        Assert.Equal((0u, 0xFFFFFFu), (console.Surface[83, 160], console.Surface[83, 240]));
    }

    [Fact]
    public void LinearLinesRepeatAndSplit()
    {
        Linear8();
        Cr(1, 79);
        Cr(0x12, 0xDF);
        Cr(7, 2);
        Cr(9, 1);     // each line twice
        Cr(0x13, 80);
        Cr(0x0C, 8);  // from the line 12.8 on
        Cr(0x18, 99); // lines 100 and up start at 0
        Out(0x3C0, 0x20);
        Out(0x3C8, 1);
        foreach (var component in (byte[])[63, 0, 0])
            Out(0x3C9, component);
        _vga.VideoMemory.Span(0x2000 + 640, 1)[0] = 1;
        _vga.VideoMemory.Span(1280, 1)[0] = 1;
        var console = new DisplayConsole(_vga, "cirrus-vga", null);
        console.Refresh();
        var lit = Enumerable.Range(0, 480).Where(y => console.Surface[0, y] == 0xFF0000);
        Assert.Equal([2, 3, 104, 105], lit);
        // Changes below the split are seen too.
        _vga.VideoMemory.NoteWrite(0, 1);
        _vga.VideoMemory.Span(0, 1)[0] = 1;
        console.Refresh();
        Assert.Equal(0xFF0000u, console.Surface[0, 100]);
    }

    /// <summary>Identity, memory and bus as QEMU 7.2's isa-cirrus-vga reads.</summary>
    [Fact]
    public void OnIsaItIsAnotherChip()
    {
        using var memory = new CirrusVga(new ManualClock(), 2 << 20, isIsa: true) is var vga ? vga.VideoMemory : null;
        vga.Ports.Out(0x12, 1);
        byte Read(int port, int index)
        {
            vga.Ports.Out(port - 0x3B0, index);
            return (byte)vga.Ports.In(port - 0x3B0 + 1);
        }

        Assert.Equal("isa-cirrus-vga", new IsaVga(vga).TypeName);
        Assert.Equal([0xA0, 0x18, 0x03, 0x38, 0x22],
            (byte[])[Read(0x3D4, 0x27), Read(0x3C4, 0x0F), Read(0x3C4, 0x15), Read(0x3C4, 0x17), Read(0x3C4, 0x1F)]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        var console = new DisplayConsole(_vga, "cirrus-vga", null);
        for (var i = 0; i < 3000; i++)
        {
            switch (random.Next(6))
            {
                case 0:
                    Out((uint)random.Next(0x3B0, 0x3E0), random.Next(256));
                    break;
                case 1:
                    // Sizes of one register are kept small so that the test is quick.
                    Gr(random.Next(0x22, 0x40), random.Next(256));
                    break;
                case 2:
                    Seq(random.Next(0x20), random.Next(256));
                    break;
                case 3:
                    _memory.Store((random.Next(3) switch { 0 => 0xA0000u, 1 => Linear, _ => Window }) + (uint)random.Next(0x20000), 1 << random.Next(4), (ulong)random.NextInt64());
                    break;
                case 4:
                    _ = _memory.Load((random.Next(3) switch { 0 => 0xA0000u, 1 => Linear + 0x3F_0000, _ => Registers }) + (uint)random.Next(0x1000), 1);
                    break;
                default:
                    _memory.Store(Registers + (uint)random.Next(0x200), 1, (ulong)random.Next(256));
                    break;
            }

            if (i % 100 == 0)
                console.Refresh();
        }
    }
}
