using Dromaius.Core.Devices;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;

namespace Dromaius.Devices.Display;

/// <summary>
/// VGA with the Bochs display extension. Sources: IBM PS/2 hardware interface technical reference, "Video subsystem"; FreeVGA
/// project documentation; Bochs "VBE DISPI" interface, version B0C5. Parts: registers here, <c>Vga.Memory</c> the planes,
/// <c>Vga.Vbe</c> the extension, <c>Vga.Text</c> and <c>Vga.Render</c> the picture.
/// </summary>
public partial class Vga : Device
{
    // Ports from 3B0h on.
    private const int MonoIndex = 0x04, MonoData = 0x05, MonoStatus = 0x0A, AttributeIndex = 0x10, AttributeData = 0x11,
        MiscWrite = 0x12, Enable = 0x13, SequencerIndex = 0x14, SequencerData = 0x15, DacMask = 0x16, DacReadIndex = 0x17,
        DacWriteIndex = 0x18, DacData = 0x19, FeatureRead = 0x1A, MiscRead = 0x1C, GraphicsIndex = 0x1E, GraphicsData = 0x1F,
        ColourIndex = 0x24, ColourData = 0x25, ColourStatus = 0x2A;

    private const byte MiscColour = 1;
    private const byte StatusBlank = 1, StatusRetrace = 8;

    /// <summary>60 frames a second of 525 lines, 480 of them shown.</summary>
    private const long FrameTime = 16_683_000, LineTime = FrameTime / 525, ShownTime = LineTime * 480;

    private static ReadOnlySpan<byte> SequencerMask => [0x03, 0x3D, 0x0F, 0x3F, 0x0E];

    private static ReadOnlySpan<byte> GraphicsMask => [0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF];

    private readonly Clock _clock;
    private readonly byte[] _crtc = new byte[0x19];
    private readonly byte[] _sequencer = new byte[5];
    private readonly byte[] _graphics = new byte[9];
    private readonly byte[] _attribute = new byte[0x15];
    private readonly byte[] _palette = new byte[768];
    private byte _misc;
    private byte _feature;
    private byte _crtcIndex;
    private byte _sequencerIndex;
    private byte _graphicsIndex;
    private byte _attributeIndex;
    private bool _attributeData; // flip-flop: the next write at 3C0h is data
    private byte _dacMask;
    private byte _dacState;
    private byte _dacIndex;      // entry of the next access
    private int _dacComponent;
    private readonly byte[] _dacWritten = new byte[3];
    private bool _enabled;

    /// <param name="clock">Times the retrace status.</param>
    /// <param name="memorySize">Bytes of video memory.</param>
    public Vga(Clock clock, ulong memorySize = 16 << 20)
    {
        _clock = clock;
        VideoMemory = new RamBlock("vga.vram", memorySize) { IsDisplay = true };
        _dirty = new DirtyPages(VideoMemory);
        Framebuffer = MemoryRegion.RamRegion("vga.vram", VideoMemory);
        DirectWindow = MemoryRegion.Alias("vga.chain4", Framebuffer, 0, BankSize);
        DirectWindow.Enabled = false;
        LegacyWindow = MemoryRegion.Device("vga-lowmem", WindowSize, ReadWindow, WriteWindow);
        Ports = MemoryRegion.Device("vga", 0x30, (offset, _) => ReadPort((int)offset),
            (offset, _, value) => WritePort((int)offset, (byte)value), 1, 1);
        VbePorts = MemoryRegion.Device("vbe", 4, ReadVbePort, WriteVbePort, 1, 2);
        Mmio = MemoryRegion.Device("vga.mmio", 0x1000, ReadMmio, WriteMmio, 1, 2);
        Reset();
    }

    public override string TypeName => "VGA";

    /// <summary>Video memory: the four planes byte by byte, so that chained modes are linear.</summary>
    public RamBlock VideoMemory { get; }

    /// <summary>The linear framebuffer (PCI BAR 0).</summary>
    public MemoryRegion Framebuffer { get; }

    /// <summary>A0000h to BFFFFh.</summary>
    public MemoryRegion LegacyWindow { get; }

    /// <summary>A0000h to AFFFFh in modes that need no logic between processor and memory; lies over <see cref="LegacyWindow"/>.</summary>
    public MemoryRegion DirectWindow { get; }

    /// <summary>Ports 3B0h to 3DFh.</summary>
    public MemoryRegion Ports { get; }

    /// <summary>Ports 1CEh (index) to 1D1h; data at 1CFh and 1D0h.</summary>
    public MemoryRegion VbePorts { get; }

    /// <summary>Maps what every VGA has and does not move: the window below 1 MiB and the ports.</summary>
    public void MapLegacy(MemoryRegion memory, MemoryRegion io)
    {
        memory.Add(0xA0000, LegacyWindow, 1);
        memory.Add(0xA0000, DirectWindow, 2);
        io.Add(0x3B0, Ports);
    }

    /// <summary>Registers as memory (PCI BAR 2): 3C0h to 3DFh at 400h, the extension's at 500h.</summary>
    public MemoryRegion Mmio { get; }

    public override void Reset()
    {
        Array.Clear(_crtc);
        Array.Clear(_sequencer);
        Array.Clear(_graphics);
        Array.Clear(_attribute);
        Array.Clear(_palette);
        _misc = _feature = 0;
        _crtcIndex = _sequencerIndex = _graphicsIndex = _attributeIndex = 0;
        _attributeData = false;
        _dacMask = 0xFF;
        _dacState = _dacIndex = 0;
        _dacComponent = 0;
        _enabled = true;
        _latches = 0;
        ResetVbe();
        RegistersChanged();
        ChangePalette();
    }

    /// <summary>What the registers say of memory and screen is worked out again.</summary>
    protected void RegistersChanged()
    {
        UpdateMasks();
        UpdateWindow();
        Redraw();
    }

    /// <summary>The attribute controller's index, and whether its next write is data.</summary>
    protected (byte Index, bool IsData) AttributeState => (_attributeIndex, _attributeData);

    /// <summary>Ports from 3B0h on, for adapters that show them in memory too.</summary>
    protected byte ReadPort(int port)
    {
        switch (port)
        {
            case AttributeIndex:
                return _attributeData ? (byte)0 : _attributeIndex;
            case AttributeData:
                var index = _attributeIndex & 0x1F;
                return index < _attribute.Length ? _attribute[index] : (byte)0;
            case MiscWrite: // input status 0: no switch sensed, no interrupt
                return 0;
            case Enable:
                return (byte)(_enabled ? 1 : 0);
            case SequencerIndex:
                return _sequencerIndex;
            case SequencerData:
                return ReadSequencer(_sequencerIndex);
            case DacMask:
                return ReadDacMask();
            case DacReadIndex:
                return _dacState;
            case DacWriteIndex:
                return _dacIndex;
            case DacData:
                return ReadDac();
            case FeatureRead:
                return _feature;
            case MiscRead:
                return _misc;
            case GraphicsIndex:
                return _graphicsIndex;
            case GraphicsData:
                return ReadGraphics(_graphicsIndex);
            default:
                return IsCrtc(port) ? ReadCrtcPort(port & 0x0F) : (byte)0xFF;
        }
    }

    protected void WritePort(int port, byte value)
    {
        switch (port)
        {
            case AttributeIndex:
                if (_attributeData)
                    WriteAttribute(value);
                else
                {
                    if (((_attributeIndex ^ value) & 0x20) != 0)
                        Redraw();
                    _attributeIndex = (byte)(value & 0x3F);
                }

                _attributeData = !_attributeData;
                break;
            case MiscWrite:
                _misc = (byte)(value & 0xEF);
                break;
            case Enable:
                _enabled = (value & 1) != 0;
                break;
            case SequencerIndex:
                _sequencerIndex = (byte)(value & SequencerIndexMask);
                break;
            case SequencerData:
                WriteSequencer(_sequencerIndex, value);
                break;
            case DacMask:
                WriteDacMask(value);
                break;
            case DacReadIndex:
                _dacIndex = value;
                _dacComponent = 0;
                _dacState = 3;
                break;
            case DacWriteIndex:
                _dacIndex = value;
                _dacComponent = 0;
                _dacState = 0;
                break;
            case DacData:
                WriteDac(value);
                break;
            case GraphicsIndex:
                _graphicsIndex = (byte)(value & GraphicsIndexMask);
                break;
            case GraphicsData:
                WriteGraphics(_graphicsIndex, value);
                break;
            default:
                if (IsCrtc(port))
                    WriteCrtcPort(port & 0x0F, value);
                break;
        }
    }

    /// <summary>The CRT controller answers at 3Bxh or 3Dxh, as the miscellaneous output register says.</summary>
    private bool IsCrtc(int port) => (_misc & MiscColour) != 0
        ? port is ColourIndex or ColourData or ColourStatus
        : port is MonoIndex or MonoData or MonoStatus;

    private byte ReadCrtcPort(int port)
    {
        switch (port)
        {
            case MonoIndex:
                return _crtcIndex;
            case MonoData:
                return ReadCrtc(_crtcIndex);
            default:
                _attributeData = false;
                return RetraceStatus;
        }
    }

    private void WriteCrtcPort(int port, byte value)
    {
        switch (port)
        {
            case MonoIndex:
                _crtcIndex = value;
                break;
            case MonoData:
                WriteCrtc(_crtcIndex, value);
                break;
            default:
                _feature = (byte)(value & 0x0B);
                break;
        }
    }

    protected virtual byte SequencerIndexMask => 7;

    protected virtual byte GraphicsIndexMask => 0x0F;

    protected virtual byte ReadSequencer(int index) => index < _sequencer.Length ? _sequencer[index] : (byte)0;

    protected virtual void WriteSequencer(int index, byte value)
    {
        if (index >= _sequencer.Length)
            return;
        value &= SequencerMask[index];
        if (_sequencer[index] == value)
            return;
        var before = _sequencer[index];
        _sequencer[index] = value;
        // The plane mask changes all the time and shows nothing by itself.
        if (index != 2)
            RegistersChanged();
        else
        {
            UpdateMasks();
            if (IsChain4 && (before == 15 || value == 15))
                UpdateWindow();
        }
    }

    protected virtual byte ReadGraphics(int index) => index < _graphics.Length ? _graphics[index] : (byte)0;

    protected virtual void WriteGraphics(int index, byte value)
    {
        if (index >= _graphics.Length)
            return;
        value &= GraphicsMask[index];
        if (_graphics[index] == value)
            return;
        var changed = _graphics[index] ^ value;
        _graphics[index] = value;
        FollowVbe();
        UpdateMasks();
        // Only the shift and map registers have to do with what is shown; the modes of writing and reading do not.
        if (index == 6 || (index == 5 && (changed & 0x60) != 0))
        {
            UpdateWindow();
            Redraw();
        }
    }

    protected virtual byte ReadCrtc(int index) => index < _crtc.Length ? _crtc[index] : (byte)0;

    protected virtual void WriteCrtc(int index, byte value)
    {
        if (index >= _crtc.Length)
            return;
        // Registers 0 to 7 can be protected, but for the line compare bit.
        if (index <= 7 && (_crtc[0x11] & 0x80) != 0)
        {
            if (index != 7)
                return;
            value = (byte)((_crtc[7] & ~0x10) | (value & 0x10));
        }

        if (_crtc[index] == value)
            return;
        _crtc[index] = value;
        FollowVbe();
        // The text cursor is compared cell by cell, but for its shape.
        if (index is not (0x0E or 0x0F))
            Redraw();
    }

    protected virtual byte ReadDacMask() => _dacMask;

    protected virtual void WriteDacMask(byte value)
    {
        if (_dacMask == value)
            return;
        _dacMask = value;
        ChangePalette();
    }

    private byte RetraceStatus
    {
        get
        {
            var inFrame = _clock.Now % FrameTime;
            if (inFrame >= ShownTime)
                return StatusBlank | StatusRetrace;
            return inFrame % LineTime >= LineTime * 4 / 5 ? StatusBlank : (byte)0;
        }
    }

    private void WriteAttribute(byte value)
    {
        var index = _attributeIndex & 0x1F;
        if (index >= _attribute.Length)
            return;
        // The sixteen palette registers are locked while the screen uses them.
        if (index < 0x10 && (_attributeIndex & 0x20) != 0)
            return;
        value = index switch
        {
            < 0x10 => (byte)(value & 0x3F),
            0x10 => (byte)(value & 0xEF),
            0x11 => value,
            0x12 => (byte)(value & 0x3F),
            _ => (byte)(value & 0x0F),
        };
        if (_attribute[index] == value)
            return;
        _attribute[index] = value;
        ChangePalette();
    }

    /// <summary>The three components of a DAC entry.</summary>
    protected virtual Span<byte> DacEntry(int index) => _palette.AsSpan(index * 3, 3);

    private byte ReadDac()
    {
        var value = DacEntry(_dacIndex)[_dacComponent];
        if (++_dacComponent == 3)
        {
            _dacComponent = 0;
            _dacIndex++;
        }

        return value;
    }

    private void WriteDac(byte value)
    {
        _dacWritten[_dacComponent] = Is8BitDac ? value : (byte)(value & 0x3F);
        if (++_dacComponent < 3)
            return;
        // An entry changes when all of it was written.
        _dacWritten.CopyTo(DacEntry(_dacIndex));
        ChangePalette();
        _dacComponent = 0;
        _dacIndex++;
    }
}
