namespace Dromaius.Devices.Display;

/// <summary>The Bochs display extension: high resolutions by a few 16-bit registers.</summary>
public partial class Vga
{
    private const int VbeId = 0, VbeWidth = 1, VbeHeight = 2, VbeDepth = 3, VbeEnable = 4, VbeBank = 5, VbeVirtualWidth = 6,
        VbeVirtualHeight = 7, VbeX = 8, VbeY = 9, VbeMemory = 10;

    private const ushort EnableOn = 1, EnableCapabilities = 2, Enable8BitDac = 0x20, EnableKeepMemory = 0x80;
    private const ushort IdFirst = 0xB0C0, IdLast = 0xB0C5;
    private const int EdidEnd = 0x400, PortsAt = 0x400, VbeAt = 0x500, ExtendedAt = 0x600;
    private const uint LittleEndian = 0x1E1E1E1E;
    private const ushort MinWidth = 8, MaxWidth = 16000, MaxHeight = 12000, MaxDepth = 32;

    private readonly ushort[] _vbe = new ushort[10];
    private int _vbeIndex;

    private bool IsVbeEnabled => (_vbe[VbeEnable] & EnableOn) != 0;

    private bool Is8BitDac => (_vbe[VbeEnable] & Enable8BitDac) != 0;

    private uint BankOffset => (uint)_vbe[VbeBank] << 16;

    private int VbeBytesPerLine => VbeBytes(_vbe[VbeVirtualWidth]);

    private int VbeBytes(int pixels) => _vbe[VbeDepth] == 4 ? pixels / 2 : pixels * ((_vbe[VbeDepth] + 7) / 8);

    private void ResetVbe()
    {
        Array.Clear(_vbe);
        _vbe[VbeId] = IdLast;
        _vbeIndex = 0;
    }

    private ulong ReadVbePort(ulong offset, int size) => offset == 0 ? (ushort)_vbeIndex : ReadVbe(_vbeIndex);

    private void WriteVbePort(ulong offset, int size, ulong value)
    {
        if (offset == 0)
            _vbeIndex = (ushort)value;
        else
            WriteVbe(_vbeIndex, (ushort)value);
    }

    private ushort ReadVbe(int index)
    {
        if ((_vbe[VbeEnable] & EnableCapabilities) != 0)
        {
            switch (index)
            {
                case VbeWidth:
                    return MaxWidth;
                case VbeHeight:
                    return MaxHeight;
                case VbeDepth:
                    return MaxDepth;
            }
        }

        if (index == VbeMemory)
            return (ushort)(VideoMemory.Size >> 16);
        return (uint)index < (uint)_vbe.Length ? _vbe[index] : (ushort)0;
    }

    private void WriteVbe(int index, ushort value)
    {
        if (index == VbeBank)
        {
            _vbe[VbeBank] = (ushort)(value % (VideoMemory.Size >> 16));
            UpdateWindow();
            return;
        }

        switch (index)
        {
            case VbeId:
                if (value is >= IdFirst and <= IdLast)
                    _vbe[VbeId] = value;
                break;
            // While the extension is off these are only kept.
            case VbeWidth or VbeHeight or VbeDepth or VbeVirtualWidth or VbeX or VbeY:
                _vbe[index] = value;
                FitVbe();
                break;
            case VbeEnable:
                EnableVbe(value);
                break;
        }

        Redraw();
    }

    private void EnableVbe(ushort value)
    {
        var turnedOn = (value & EnableOn) != 0 && !IsVbeEnabled;
        var was8Bit = Is8BitDac;
        _vbe[VbeEnable] = value;
        if (was8Bit != Is8BitDac)
        {
            // The DAC's values keep their meaning.
            for (var i = 0; i < _palette.Length; i++)
                _palette[i] = (byte)(Is8BitDac ? _palette[i] << 2 : _palette[i] >> 2);
            ChangePalette();
        }

        if (!turnedOn)
        {
            UpdateWindow();
            return;
        }

        _vbe[VbeVirtualWidth] = _vbe[VbeX] = _vbe[VbeY] = 0;
        FitVbe();
        if ((value & EnableKeepMemory) == 0)
        {
            var length = (ulong)VbeBytesPerLine * _vbe[VbeHeight];
            length = Math.Min(length, VideoMemory.Size);
            VideoMemory.NoteWrite(0, length);
            VideoMemory.Span(0, (int)length).Clear();
        }

        UpdateWindow();
    }

    /// <summary>
    /// Brings the registers of a mode that is on to what can be shown: widths in steps of eight pixels, lines at least as long as the
    /// screen is wide, not more lines than memory holds, and a picture that would end behind memory from the top or the left.
    /// </summary>
    private void FitVbe()
    {
        if (!IsVbeEnabled)
            return;
        if (_vbe[VbeDepth] is not (4 or 8 or 15 or 16 or 24 or 32))
            _vbe[VbeDepth] = 8;
        _vbe[VbeWidth] = (ushort)Math.Clamp(_vbe[VbeWidth] & ~7, MinWidth, MaxWidth);
        _vbe[VbeVirtualWidth] = (ushort)Math.Clamp(_vbe[VbeVirtualWidth] & ~7, _vbe[VbeWidth], MaxWidth);
        var lines = VideoMemory.Size / (ulong)VbeBytesPerLine;
        _vbe[VbeHeight] = (ushort)Math.Clamp(_vbe[VbeHeight], 1UL, Math.Clamp(lines, 1, MaxHeight));
        _vbe[VbeVirtualHeight] = (ushort)lines;

        _vbe[VbeX] = Math.Min(_vbe[VbeX], MaxWidth);
        _vbe[VbeY] = Math.Min(_vbe[VbeY], MaxHeight);
        if (VbeEnd > VideoMemory.Size)
            _vbe[VbeY] = 0;
        if (VbeEnd > VideoMemory.Size)
            _vbe[VbeX] = 0;
        FollowVbe();
    }

    /// <summary>The byte behind the picture.</summary>
    private ulong VbeEnd => ((ulong)VbeBytesPerLine * (ulong)(_vbe[VbeY] + _vbe[VbeHeight])) + (ulong)VbeBytes(_vbe[VbeX]);

    /// <summary>
    /// The VGA's registers describe the extension's mode while it is on, whatever is written to them: who reads them, or turns the
    /// extension off, finds a graphics mode of that size.
    /// </summary>
    private void FollowVbe()
    {
        if (!IsVbeEnabled)
            return;
        var end = _vbe[VbeHeight] - 1;
        _graphics[5] = (byte)((_graphics[5] & ~0x60) | (_vbe[VbeDepth] == 4 ? 0 : 0x40));
        _graphics[6] = (byte)((_graphics[6] & ~0x0C) | 0x05); // graphics, 64 KiB at A0000h
        _crtc[1] = (byte)((_vbe[VbeWidth] / 8) - 1);
        _crtc[7] = (byte)((_crtc[7] & ~0x42) | (end >> 7 & 2) | (end >> 3 & 0x40) | 0x10);
        _crtc[9] = (byte)((_crtc[9] & ~0x9F) | 0x40);         // rows of one line; with 7 and 18h: no split screen
        _crtc[0x12] = (byte)end;
        _crtc[0x13] = (byte)(VbeBytesPerLine / 8);
        _crtc[0x17] |= 3;
        _crtc[0x18] = 0xFF;
        UpdateMasks();
    }

    /// <summary>What the monitor says of itself, at the start of the register BAR; empty for none.</summary>
    public byte[] Edid { get; init; } = [];

    private ulong ReadMmio(ulong offset, int size)
    {
        switch (offset)
        {
            case < EdidEnd when Edid.Length > 0:
                var data = 0UL;
                for (var i = 0; i < size; i++)
                    data |= (ulong)(offset + (ulong)i < (ulong)Edid.Length ? Edid[(int)offset + i] : 0) << (8 * i);
                return data;
            case >= PortsAt and < PortsAt + 0x20:
                var value = (ulong)ReadPort((int)offset - PortsAt + AttributeIndex);
                return size == 2 && offset < PortsAt + 0x1F
                    ? value | (ulong)ReadPort((int)offset + 1 - PortsAt + AttributeIndex) << 8
                    : value;
            case >= VbeAt and < VbeAt + 0x16:
                return (ulong)ReadVbe((int)(offset - VbeAt) >> 1) >> (int)(8 * (offset & 1));
            case ExtendedAt:
                return 8; // bytes of registers from here on
            case ExtendedAt + 4 or ExtendedAt + 6:
                return LittleEndian & 0xFFFF;
            default:
                return ulong.MaxValue;
        }
    }

    private void WriteMmio(ulong offset, int size, ulong value)
    {
        switch (offset)
        {
            case >= PortsAt and < PortsAt + 0x20:
                WritePort((int)offset - PortsAt + AttributeIndex, (byte)value);
                if (size == 2 && offset < PortsAt + 0x1F)
                    WritePort((int)offset + 1 - PortsAt + AttributeIndex, (byte)(value >> 8));
                break;
            case >= VbeAt and < VbeAt + 0x16 when size == 2 && (offset & 1) == 0:
                WriteVbe((int)(offset - VbeAt) >> 1, (ushort)value);
                break;
        }
    }
}
