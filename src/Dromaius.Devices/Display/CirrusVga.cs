using Dromaius.Core.Memory;
using Dromaius.Core.Time;

namespace Dromaius.Devices.Display;

/// <summary>
/// Cirrus Logic CL-GD5446: the VGA with extended registers, banked and linear windows, a hidden DAC register, a hardware cursor and a
/// BitBLT engine. Source: CL-GD5446 Technical Reference Manual, chapters 4 to 9 and appendix D. Parts: registers and windows here,
/// <c>CirrusVga.Blt</c> the engine. On the ISA bus it is a CL-GD5430 with half the memory; identities and strapping as QEMU's has them.
/// </summary>
public sealed partial class CirrusVga : Vga
{
    private const uint LinearSize = 0x100_0000, BarSize = 2 * LinearSize, MmioSize = 0x1000, BltRegisters = 0x100, Half = 0x8000;
    private const uint VgaWindowSize = 0x1_0000, LegacyMmio = 0x1_8000;
    private const byte Gd5430 = 0xA0, Gd5446 = 0xB8, Unlocked = 0x12, Locked = 0x0F;

    // Sequencer.
    private const int Key = 0x06, ExtendedMode = 0x07, DramControl = 0x0F, CursorX = 0x10, CursorY = 0x11, CursorAttributes = 0x12, CursorPattern = 0x13;
    private const int MemorySize = 0x15, Configuration = 0x17, MemoryClock = 0x1F, SequencerRegisters = 0x20;
    private const byte HighResolution = 1, CursorOn = 1, CursorColours = 2, CursorLarge = 4;
    private const byte MmioMask = 0x44, MmioInWindow = 0x04, MmioInLinear = 0x44;

    // Graphics controller.
    private const int Offset0 = 0x09, Extensions = 0x0B, GraphicsRegisters = 0x40;
    private const byte TwoBanks = 1, By8 = 2, ExtendedWrites = 4, By16 = 0x10, LargeGranularity = 0x20;

    // CRT controller.
    private const int InterlaceControl = 0x1A, ExtendedDisplay = 0x1B, OverlayControl = 0x1D, CrtcRegisters = 0x28, StandardCrtc = 0x19;

    private readonly byte[] _seq = new byte[SequencerRegisters];
    private readonly byte[] _gr = new byte[GraphicsRegisters];
    private readonly byte[] _cr = new byte[CrtcRegisters];
    private readonly byte[] _cursorPalette = new byte[16 * 3];
    private readonly MemoryRegion _direct;
    private readonly MemoryRegion _linearMmio;
    private readonly bool _hasBlitter;
    private readonly bool _isIsa;
    private byte _hiddenDac;
    private int _dacMaskReads;
    private int _cursorX, _cursorY;

    /// <param name="clock">Times the retrace status.</param>
    /// <param name="memorySize">Bytes of video memory: a power of two from 2 to 16 MiB.</param>
    /// <param name="hasBlitter">The engine works; drivers fail without it.</param>
    /// <param name="isIsa">The adapter of the ISA bus, which has no linear window.</param>
    public CirrusVga(Clock clock, ulong memorySize = 4 << 20, bool hasBlitter = true, bool isIsa = false)
        : base(clock, memorySize)
    {
        _hasBlitter = hasBlitter;
        _isIsa = isIsa;
        LinearBar = MemoryRegion.Container("cirrus-pci-bar0", BarSize);
        LinearBar.Add(0, MemoryRegion.Device("cirrus-linear-io", LinearSize, (offset, _) => ReadLinear((uint)offset),
            (offset, _, value) => WriteLinear((uint)offset, (byte)value), 1, 1));
        _direct = MemoryRegion.Alias("cirrus-linear", Framebuffer, 0, memorySize);
        LinearBar.Add(0, _direct, 1);
        _linearMmio = MemoryRegion.Device("cirrus-linear-mmio", BltRegisters, (offset, _) => ReadBltRegister((int)offset),
            (offset, _, value) => WriteBltRegister((int)offset, (byte)value), 1, 1);
        LinearBar.Add(memorySize - BltRegisters, _linearMmio, 2);
        LinearBar.Add(LinearSize, MemoryRegion.Device("cirrus-bitblt", (uint)memorySize, static (_, _) => 0xFF, (_, _, value) => FeedBlt((byte)value), 1, 1));
        RegisterBar = MemoryRegion.Device("cirrus-mmio", MmioSize, (offset, _) => ReadRegisterBar((int)offset),
            (offset, _, value) => WriteRegisterBar((int)offset, (byte)value), 1, 1);
        Reset();
    }

    public override string TypeName => _isIsa ? "isa-cirrus-vga" : "cirrus-vga";

    /// <summary>Video memory, then the window for data of the engine (PCI BAR 0).</summary>
    public MemoryRegion LinearBar { get; }

    /// <summary>VGA registers and those of the engine as memory (PCI BAR 1).</summary>
    public MemoryRegion RegisterBar { get; }

    private bool IsHighResolution => (_seq[ExtendedMode] & HighResolution) != 0;

    private uint AddressMask => (uint)VideoMemory.Size - 1;

    public override void Reset()
    {
        // The base class resets itself before there is anything of ours.
        if (_seq == null || RegisterBar == null)
        {
            base.Reset();
            return;
        }

        Array.Clear(_seq);
        Array.Clear(_gr);
        Array.Clear(_cr);
        Array.Clear(_cursorPalette);
        _seq[Key] = Locked;
        _seq[DramControl] = (byte)(_isIsa ? 0x18 : 0x98);
        _seq[MemorySize] = (byte)(_isIsa ? 0x03 : 0x04);
        _seq[Configuration] = (byte)(_isIsa ? 0x38 : 0x20);
        _seq[MemoryClock] = (byte)(_isIsa ? 0x22 : 0x2D);
        _gr[0x18] = (byte)(_isIsa ? 0 : 0x0F);
        _cr[0x27] = _isIsa ? Gd5430 : Gd5446;
        _hiddenDac = 0;
        _dacMaskReads = 0;
        _cursorX = _cursorY = 0;
        StopBlt();
        base.Reset();
    }

    protected override byte SequencerIndexMask => 0xFF;

    protected override byte GraphicsIndexMask => 0xFF;

    protected override byte ReadSequencer(int index) => (index & 0x1F) switch
    {
        <= 4 when index <= 4 => base.ReadSequencer(index),
        CursorX or CursorY => _seq[index & 0x1F],
        _ => index < SequencerRegisters ? _seq[index] : (byte)0xFF,
    };

    protected override void WriteSequencer(int index, byte value)
    {
        switch (index & 0x1F)
        {
            case <= 4 when index <= 4:
                base.WriteSequencer(index, value);
                return;
            case CursorX:
                // The three low bits come with the index.
                _seq[CursorX] = value;
                MoveCursor(value << 3 | index >> 5, _cursorY);
                return;
            case CursorY:
                _seq[CursorY] = value;
                MoveCursor(_cursorX, value << 3 | index >> 5);
                return;
        }

        if (index >= SequencerRegisters)
            return;
        switch (index)
        {
            case Key:
                _seq[Key] = (value & 0x17) == Unlocked ? Unlocked : Locked;
                return;
            case Configuration:
                _seq[Configuration] = (byte)((_seq[Configuration] & 0x38) | (value & 0xC7));
                UpdateWindows();
                return;
            case CursorAttributes or CursorPattern:
                _seq[index] = value;
                MoveCursor(_cursorX, _cursorY);
                return;
            default:
                if (_seq[index] == value)
                    return;
                _seq[index] = value;
                if (index == ExtendedMode)
                {
                    RegistersChanged();
                    UpdateWindows();
                }

                return;
        }
    }

    protected override byte ReadGraphics(int index) => index switch
    {
        0 or 1 or 5 => _gr[index],
        < 9 => base.ReadGraphics(index),
        < GraphicsRegisters => _gr[index],
        _ => 0xFF,
    };

    protected override void WriteGraphics(int index, byte value)
    {
        if (index >= GraphicsRegisters)
            return;
        if (index < Offset0)
        {
            // The colours of the extended write modes have eight bits, and the write mode three.
            _gr[index] = index == 5 ? (byte)(value & 0x7F) : value;
            base.WriteGraphics(index, value);
            if (index == 5)
                UpdateWindows();
            return;
        }

        if (index is >= FirstBltRegister and <= LastBltRegister)
        {
            WriteBlt(index, value);
            return;
        }

        _gr[index] = value;
        if (index <= Extensions)
        {
            UpdateWindow();
            UpdateWindows();
        }
    }

    protected override byte ReadCrtc(int index)
    {
        const int AttributeToggle = 0x24, AttributeIndexAgain = 0x26;
        if (index < StandardCrtc)
            return base.ReadCrtc(index);
        return index switch
        {
            AttributeToggle => (byte)(AttributeState.IsData ? 0x80 : 0),
            AttributeIndexAgain => AttributeState.Index,
            < CrtcRegisters => _cr[index],
            _ => 0xFF,
        };
    }

    protected override void WriteCrtc(int index, byte value)
    {
        if (index < StandardCrtc)
            base.WriteCrtc(index, value);
        else if (index <= OverlayControl && _cr[index] != value)
        {
            _cr[index] = value;
            Redraw();
        }
    }

    /// <summary>The fifth access in a row to the mask finds the hidden register.</summary>
    protected override byte ReadDacMask()
    {
        if (++_dacMaskReads < 5)
            return base.ReadDacMask();
        _dacMaskReads = 0;
        return _hiddenDac;
    }

    protected override void WriteDacMask(byte value)
    {
        if (_dacMaskReads == 4)
        {
            _hiddenDac = value;
            Redraw();
        }
        else
            base.WriteDacMask(value);
        _dacMaskReads = 0;
    }

    protected override Span<byte> DacEntry(int index) =>
        _seq != null && (_seq[CursorAttributes] & CursorColours) != 0 ? _cursorPalette.AsSpan((index & 15) * 3, 3) : base.DacEntry(index);

    protected override int StartAddress =>
        base.StartAddress | (_cr[ExtendedDisplay] & 1) << 16 | (_cr[ExtendedDisplay] & 0x0C) << 15 | (_cr[OverlayControl] & 0x80) << 12;

    protected override int LineOffset => base.LineOffset + ((_cr[ExtendedDisplay] & 0x10) << 7);

    protected override bool TryGetLinearMode(out LinearMode mode)
    {
        mode = default;
        if (!IsHighResolution)
            return false;
        var layout = (_seq[ExtendedMode] & 0x0E) switch
        {
            0x02 or 0x06 => (_hiddenDac & 0x0F) == 1 ? PixelLayout.Rgb565 : PixelLayout.Rgb555,
            0x04 => PixelLayout.Rgb888,
            0x08 => PixelLayout.Xrgb8888,
            _ => PixelLayout.Indexed,
        };
        var height = (_cr[InterlaceControl] & 1) != 0 ? VerticalEnd * 2 : VerticalEnd;
        mode = new LinearMode(layout, (base.ReadCrtc(1) + 1) * 8, height, (ulong)StartAddress * 4, LineOffset)
        {
            Repeat = RowRepeat, Split = LineCompare,
        };
        return true;
    }

    /// <summary>Where one 32 KiB half of the window shows video memory, and how much of it.</summary>
    private (uint Base, uint Limit) Bank(int half)
    {
        var two = (_gr[Extensions] & TwoBanks) != 0;
        var offset = (uint)_gr[two ? Offset0 + half : Offset0] << ((_gr[Extensions] & LargeGranularity) != 0 ? 14 : 12);
        if (!two)
            offset += Half * (uint)half;
        return offset >= VideoMemory.Size ? (0, 0) : (offset, (uint)VideoMemory.Size - offset);
    }

    /// <summary>No access needs the logic between processor and memory.</summary>
    private bool IsPlain => !IsFeeding && (_gr[Extensions] & (By8 | By16)) == 0 && !IsExtendedWrite;

    private bool IsExtendedWrite => (_gr[Extensions] & ExtendedWrites) != 0 && (_gr[5] & 7) is 4 or 5;

    protected override bool TryGetDirectWindow(out ulong offset)
    {
        offset = 0;
        if (_seq == null || RegisterBar == null || !IsHighResolution)
            return !IsFeedingWindow && base.TryGetDirectWindow(out offset);
        if (!IsPlain || (_gr[Extensions] & TwoBanks) != 0)
            return false;
        (var start, var limit) = Bank(0);
        offset = start;
        return limit >= VgaWindowSize;
    }

    private bool IsFeedingWindow => RegisterBar != null && IsFeeding;

    /// <summary>The windows of the PCI function follow the registers.</summary>
    private void UpdateWindows()
    {
        using var transaction = MemoryTransaction.Begin();
        _direct.Enabled = IsPlain;
        _linearMmio.Enabled = (_seq[Configuration] & MmioMask) == MmioInLinear;
        UpdateWindow();
    }

    private bool IsWindowMmio(uint address) => address - LegacyMmio < BltRegisters && (_seq[Configuration] & MmioMask) == MmioInWindow;

    protected override byte ReadByte(uint address)
    {
        if (!IsHighResolution && !IsWindowMmio(address))
            return base.ReadByte(address);
        if (address >= VgaWindowSize)
            return IsWindowMmio(address) ? ReadBltRegister((int)(address - LegacyMmio)) : (byte)0xFF;
        var (start, limit) = Bank((int)(address / Half));
        var at = address % Half;
        return at < limit ? ReadMemory(start + at) : (byte)0xFF;
    }

    protected override void WriteByte(uint address, byte value)
    {
        if (IsWindowMmio(address))
            WriteBltRegister((int)(address - LegacyMmio), value);
        else if (IsFeeding && address < VgaWindowSize)
            FeedBlt(value);
        else if (!IsHighResolution)
            base.WriteByte(address, value);
        else if (address < VgaWindowSize)
        {
            var (start, limit) = Bank((int)(address / Half));
            var at = address % Half;
            if (at < limit)
                WriteMemory(start + at, value);
        }
    }

    private byte ReadLinear(uint address) => ReadMemory(address);

    private void WriteLinear(uint address, byte value)
    {
        if (IsFeeding)
            FeedBlt(value);
        else
            WriteMemory(address, value);
    }

    /// <summary>Addresses count pixels of 8 or 16 bytes in the modes that write as many at once.</summary>
    private uint Scale(uint address) => (_gr[Extensions] & (By16 | ExtendedWrites)) == (By16 | ExtendedWrites) ? address << 4
        : (_gr[Extensions] & By8) != 0 ? address << 3 : address;

    private byte ReadMemory(uint address) => VideoMemory.Span(Scale(address) & AddressMask, 1)[0];

    private void WriteMemory(uint address, byte value)
    {
        address = Scale(address);
        if (!IsExtendedWrite)
        {
            Store(address & AddressMask, value);
            return;
        }

        // Modes 4 and 5: a bit a pixel chooses the foreground, or in mode 5 else the background.
        var wide = (_gr[Extensions] & (By16 | ExtendedWrites)) == (By16 | ExtendedWrites);
        for (var bit = 7; bit >= 0; bit--)
        {
            var set = (value >> bit & 1) != 0;
            if (set || (_gr[5] & 7) == 5)
            {
                Store(address & AddressMask, _gr[set ? 1 : 0]);
                if (wide)
                    Store((address + 1) & AddressMask, _gr[set ? 0x11 : 0x10]);
            }

            address += wide ? 2u : 1;
        }
    }

    private byte ReadRegisterBar(int offset) => offset switch
    {
        < 0x20 => ReadPort(offset + 0x10),
        >= (int)BltRegisters and < 2 * (int)BltRegisters => ReadBltRegister(offset - (int)BltRegisters),
        _ => 0xFF,
    };

    private void WriteRegisterBar(int offset, byte value)
    {
        if (offset < 0x20)
            WritePort(offset + 0x10, value);
        else if (offset is >= (int)BltRegisters and < 2 * (int)BltRegisters)
            WriteBltRegister(offset - (int)BltRegisters, value);
    }

    private int CursorSize => (_seq[CursorAttributes] & CursorLarge) != 0 ? 64 : 32;

    /// <summary>Both the lines it leaves and those it comes to are drawn anew.</summary>
    private void MoveCursor(int x, int y)
    {
        var (first, last) = ChangedLines;
        ChangedLines = (Math.Min(first, Math.Min(y, _cursorY)), Math.Max(last, Math.Max(y, _cursorY) + 64));
        (_cursorX, _cursorY) = (x, y);
    }

    protected override void DrawCursor(Span<uint> line, int y)
    {
        const uint PatternArea = 16 << 10, PatternSize = 256, Invert = 0xFFFFFF;
        var size = CursorSize;
        var row = y - _cursorY;
        if ((_seq[CursorAttributes] & CursorOn) == 0 || row < 0 || row >= size)
            return;
        var pattern = VideoMemory.Size - PatternArea + (PatternSize * (uint)(_seq[CursorPattern] & (size == 64 ? 0x3C : 0x3F)));
        var bytes = size / 8;
        // The planes of a large cursor take turns line by line; those of a small one follow each other.
        var planeStep = size == 64 ? 8u : 128;
        pattern += (uint)(row * (size == 64 ? 16 : 4));
        var and = VideoMemory.Span(pattern, bytes);
        var xor = VideoMemory.Span(pattern + planeStep, bytes);
        var background = Colour(0);
        var foreground = Colour(15);
        for (var i = 0; i < size && _cursorX + i < line.Length; i++)
        {
            var shift = 7 - (i & 7);
            ref var pixel = ref line[_cursorX + i];
            pixel = ((and[i >> 3] >> shift & 1) | (xor[i >> 3] >> shift & 1) << 1) switch
            {
                1 => pixel ^ Invert,
                2 => background,
                3 => foreground,
                _ => pixel,
            };
        }
    }

    private uint Colour(int entry)
    {
        var result = 0u;
        foreach (var component in _cursorPalette.AsSpan(entry * 3, 3))
            result = result << 8 | (uint)((component & 0x3F) << 2 | (component & 1) * 3);
        return result;
    }
}
