using System.Buffers.Binary;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Display;

/// <summary>
/// How the processor sees the planes through A0000h to BFFFFh. Plane p of address a is byte 4a + p of video memory. Chained and
/// linear modes are plain memory: there a window lies over the registers and no access comes here.
/// </summary>
public partial class Vga
{
    private const uint WindowSize = 0x20000, BankSize = 0x10000;

    /// <summary>Four planes of 64 KiB; the rest is the extension's.</summary>
    private const uint PlanarSize = 0x40000;

    private uint _latches; // a byte a plane

    // The graphics controller's registers as masks, a byte a plane; kept by UpdateMasks.
    private uint _writePlanes, _setReset, _enableSetReset, _bitMask;
    private bool _plainWrites;

    private bool IsChain4 => (_sequencer[4] & 8) != 0;

    private bool IsOddEven => (_graphics[5] & 0x10) != 0;

    /// <summary>The extension's modes are linear, but for the sixteen-colour ones, which have planes as the VGA.</summary>
    private bool IsVbeLinear => IsVbeEnabled && _vbe[VbeDepth] != 4;

    private uint PlanesEnd => IsVbeEnabled ? (uint)VideoMemory.Size : PlanarSize;

    /// <summary>Where the window shows video memory as it is; false while accesses need the planes' logic.</summary>
    protected virtual bool TryGetDirectWindow(out ulong offset)
    {
        offset = 0;
        if (IsVbeLinear)
        {
            offset = BankOffset;
            return offset + BankSize <= VideoMemory.Size;
        }

        return !IsVbeEnabled && IsChain4 && (_sequencer[2] & 15) == 15 && (_graphics[6] & 8) == 0;
    }

    /// <summary>Puts the direct window where the registers say.</summary>
    protected void UpdateWindow()
    {
        using var transaction = MemoryTransaction.Begin();
        var direct = TryGetDirectWindow(out var offset);
        if (direct)
            DirectWindow.AliasOffset = offset;
        DirectWindow.Enabled = direct;
    }

    private void UpdateMasks()
    {
        _writePlanes = Spread(_sequencer[2]);
        _setReset = Spread(_graphics[0]);
        _enableSetReset = Spread(_graphics[1]);
        _bitMask = _graphics[8] * 0x01010101u;
        _plainWrites = (_graphics[3] & 0x1F) == 0 && (_graphics[5] & 3) == 0 && (_graphics[1] & 15) == 0 && _graphics[8] == 0xFF;
    }

    private ulong ReadWindow(ulong offset, int size)
    {
        var value = 0UL;
        for (var i = 0; i < size; i++)
            value |= (ulong)ReadByte((uint)offset + (uint)i) << (8 * i);
        return value;
    }

    private void WriteWindow(ulong offset, int size, ulong value)
    {
        for (var i = 0; i < size; i++)
            WriteByte((uint)offset + (uint)i, (byte)(value >> (8 * i)));
    }

    /// <summary>The address inside the window that the memory map select chooses.</summary>
    private bool TryMap(ref uint address)
    {
        if (IsVbeEnabled)
        {
            if (address >= BankSize)
                return false;
            address += BankOffset;
            return address < (IsVbeLinear ? VideoMemory.Size : VideoMemory.Size / 4);
        }

        switch ((_graphics[6] >> 2) & 3)
        {
            case 0:
                return address < WindowSize;
            case 1:
                return address < BankSize;
            case 2:
                address -= 0x10000;
                return address < 0x8000;
            default:
                address -= 0x18000;
                return address < 0x8000;
        }
    }

    /// <summary>A byte as the processor reads it, at an offset from A0000h.</summary>
    protected virtual byte ReadByte(uint address)
    {
        if (!TryMap(ref address))
            return 0xFF;
        if (IsVbeLinear)
            return VideoMemory.Span(address, 1)[0];
        return ReadPlanes(address);
    }

    /// <summary>A byte from the processor, at an offset from A0000h.</summary>
    protected virtual void WriteByte(uint address, byte value)
    {
        if (!TryMap(ref address))
            return;
        if (IsVbeLinear)
            Store(address, value);
        else
            WritePlanes(address, value);
    }

    /// <summary>Reads at an address of the planes, as the map mode and the read mode say.</summary>
    protected byte ReadPlanes(uint address)
    {
        if (IsChain4)
        {
            LoadLatches(address >> 2);
            return Plane((int)address & 3);
        }

        if (IsOddEven)
        {
            // The lowest address bit chooses the plane of a pair.
            var plane = (_graphics[4] & 2) | ((int)address & 1);
            LoadLatches(address >> 1);
            return Plane(plane);
        }

        LoadLatches(address);
        if ((_graphics[5] & 8) == 0)
            return Plane(_graphics[4] & 3);

        // Read mode 1: which pixels have the compared colour in the planes that count.
        var difference = (_latches ^ Spread(_graphics[2])) & Spread(_graphics[7]);
        difference |= difference >> 16;
        difference |= difference >> 8;
        return (byte)~difference;
    }

    /// <summary>Writes at an address of the planes, through the map mode and the logic unit.</summary>
    protected void WritePlanes(uint address, byte value)
    {
        if (IsChain4)
        {
            if ((_sequencer[2] >> (int)(address & 3) & 1) != 0)
                Store(address % PlanesEnd, value);
        }
        else if (IsOddEven || (_sequencer[4] & 4) == 0)
            WriteMode(address >> 1, value, _writePlanes & ((address & 1) != 0 ? 0xFF00FF00u : 0x00FF00FFu));
        else
            WriteMode(address, value, _writePlanes);
    }

    /// <summary>Write modes 0 to 3 and the logic unit.</summary>
    private void WriteMode(uint address, byte value, uint planes)
    {
        if (_plainWrites)
        {
            StorePlanes(address, value * 0x01010101u, planes);
            return;
        }

        var bits = _bitMask;
        uint data;
        switch (_graphics[5] & 3)
        {
            case 1:
                StorePlanes(address, _latches, planes);
                return;
            case 2:
                data = Spread(value);
                break;
            case 3:
                bits &= Rotate(value) * 0x01010101u;
                data = _setReset;
                break;
            default:
                data = (Rotate(value) * 0x01010101u & ~_enableSetReset) | (_setReset & _enableSetReset);
                break;
        }

        data = ((_graphics[3] >> 3) & 3) switch
        {
            1 => data & _latches,
            2 => data | _latches,
            3 => data ^ _latches,
            _ => data,
        };
        StorePlanes(address, (data & bits) | (_latches & ~bits), planes);
    }

    private uint Rotate(byte value)
    {
        var by = _graphics[3] & 7;
        return (uint)(value >> by | value << (8 - by)) & 0xFF;
    }

    private byte Plane(int plane) => (byte)(_latches >> (8 * plane));

    private void LoadLatches(uint address) =>
        _latches = BinaryPrimitives.ReadUInt32LittleEndian(VideoMemory.Span(address * 4 % PlanesEnd, 4));

    private void StorePlanes(uint address, uint data, uint planes)
    {
        var offset = address * 4 % PlanesEnd;
        VideoMemory.NoteWrite(offset, 4);
        var span = VideoMemory.Span(offset, 4);
        var old = BinaryPrimitives.ReadUInt32LittleEndian(span);
        BinaryPrimitives.WriteUInt32LittleEndian(span, (old & ~planes) | (data & planes));
        // Fonts are in plane 2.
        if ((planes & 0xFF0000) != 0)
            _fontsChanged = true;
    }

    protected void Store(uint offset, byte value)
    {
        VideoMemory.NoteWrite(offset, 1);
        VideoMemory.Span(offset, 1)[0] = value;
    }

    /// <summary>Bits 0 to 3 as bytes of all ones or zeros.</summary>
    private static uint Spread(byte bits) =>
        ((bits & 1u) | (bits & 2u) << 7 | (bits & 4u) << 14 | (bits & 8u) << 21) * 0xFF;
}
