using Dromaius.Core.Devices;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;

namespace Dromaius.Devices.Display;

/// <summary>
/// VGA with the Bochs display extension. Sources: IBM PS/2 hardware interface technical reference, "Video subsystem"; FreeVGA
/// project documentation; Bochs "VBE DISPI" interface, version B0C5. Parts: registers here, <c>Vga.Memory</c> the planes,
/// <c>Vga.Vbe</c> the extension, <c>Vga.Render</c> the picture.
/// </summary>
public sealed partial class Vga : Device
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
        VideoMemory = new RamBlock("vga.vram", memorySize);
        Framebuffer = MemoryRegion.RamRegion("vga.vram", VideoMemory);
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

    /// <summary>Ports 3B0h to 3DFh.</summary>
    public MemoryRegion Ports { get; }

    /// <summary>Ports 1CEh (index) to 1D1h; data at 1CFh and 1D0h.</summary>
    public MemoryRegion VbePorts { get; }

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
    }

    private byte ReadPort(int port)
    {
        switch (port)
        {
            case AttributeIndex:
                return _attributeData ? (byte)0 : _attributeIndex;
            case AttributeData:
                var index = _attributeIndex & 0x1F;
                return index < _attribute.Length ? _attribute[index] : (byte)0;
            case Enable:
                return (byte)(_enabled ? 1 : 0);
            case SequencerIndex:
                return _sequencerIndex;
            case SequencerData:
                return _sequencerIndex < _sequencer.Length ? _sequencer[_sequencerIndex] : (byte)0;
            case DacMask:
                return _dacMask;
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
                return _graphicsIndex < _graphics.Length ? _graphics[_graphicsIndex] : (byte)0;
            default:
                return IsCrtc(port) ? ReadCrtcPort(port & 0x0F) : (byte)0xFF;
        }
    }

    private void WritePort(int port, byte value)
    {
        switch (port)
        {
            case AttributeIndex:
                if (_attributeData)
                    WriteAttribute(value);
                else
                    _attributeIndex = (byte)(value & 0x3F);
                _attributeData = !_attributeData;
                break;
            case MiscWrite:
                _misc = (byte)(value & 0xEF);
                break;
            case Enable:
                _enabled = (value & 1) != 0;
                break;
            case SequencerIndex:
                _sequencerIndex = (byte)(value & 7);
                break;
            case SequencerData:
                if (_sequencerIndex < _sequencer.Length)
                    _sequencer[_sequencerIndex] = (byte)(value & SequencerMask[_sequencerIndex]);
                break;
            case DacMask:
                _dacMask = value;
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
                _graphicsIndex = (byte)(value & 0x0F);
                break;
            case GraphicsData:
                if (_graphicsIndex < _graphics.Length)
                    _graphics[_graphicsIndex] = (byte)(value & GraphicsMask[_graphicsIndex]);
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
                return _crtcIndex < _crtc.Length ? _crtc[_crtcIndex] : (byte)0;
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
                if (_crtcIndex >= _crtc.Length)
                    break;
                // Registers 0 to 7 can be protected, but for the line compare bit.
                if (_crtcIndex <= 7 && (_crtc[0x11] & 0x80) != 0)
                {
                    if (_crtcIndex == 7)
                        _crtc[7] = (byte)((_crtc[7] & ~0x10) | (value & 0x10));
                    break;
                }

                _crtc[_crtcIndex] = value;
                break;
            default:
                _feature = (byte)(value & 0x0B);
                break;
        }
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
        _attribute[index] = index switch
        {
            < 0x10 => (byte)(value & 0x3F),
            0x10 => (byte)(value & 0xEF),
            0x11 => value,
            0x12 => (byte)(value & 0x3F),
            _ => (byte)(value & 0x0F),
        };
    }

    private byte ReadDac()
    {
        var value = _palette[(_dacIndex * 3) + _dacComponent];
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
        _dacWritten.CopyTo(_palette, _dacIndex * 3);
        _dacComponent = 0;
        _dacIndex++;
    }
}
