using System.Buffers.Binary;

namespace Dromaius.Devices.Display;

/// <summary>
/// How the processor sees the planes through A0000h to BFFFFh. Plane p of address a is byte 4a + p of video memory.
/// </summary>
public sealed partial class Vga
{
    private const uint WindowSize = 0x20000;

    /// <summary>Four planes of 64 KiB; the rest is the extension's.</summary>
    private const uint PlanarSize = 0x40000;

    private uint _latches; // a byte a plane

    private bool IsChain4 => (_sequencer[4] & 8) != 0;

    /// <summary>The extension's modes are linear, but for the sixteen-colour ones, which have planes as the VGA.</summary>
    private bool IsVbeLinear => IsVbeEnabled && _vbe[VbeDepth] != 4;

    private uint PlanesEnd => IsVbeEnabled ? (uint)VideoMemory.Size : PlanarSize;

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
            if (address >= 0x10000)
                return false;
            address += BankOffset;
            return address < (IsVbeLinear ? VideoMemory.Size : VideoMemory.Size / 4);
        }

        switch ((_graphics[6] >> 2) & 3)
        {
            case 0:
                return address < WindowSize;
            case 1:
                return address < 0x10000;
            case 2:
                address -= 0x10000;
                return address < 0x8000;
            default:
                address -= 0x18000;
                return address < 0x8000;
        }
    }

    private byte ReadByte(uint address)
    {
        if (!TryMap(ref address))
            return 0xFF;
        if (IsVbeLinear)
            return VideoMemory.Span(address, 1)[0];
        if (IsChain4)
        {
            LoadLatches(address >> 2);
            return Plane((int)address & 3);
        }

        if ((_graphics[5] & 0x10) != 0)
        {
            // Odd/even: the lowest address bit chooses the plane of a pair.
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

    private void WriteByte(uint address, byte value)
    {
        if (!TryMap(ref address))
            return;
        if (IsVbeLinear)
        {
            Store(address, value);
            return;
        }

        var mask = _sequencer[2];
        if (IsChain4)
        {
            if ((mask >> (int)(address & 3) & 1) != 0)
                Store(address % PlanesEnd, value);
            return;
        }

        if ((_graphics[5] & 0x10) != 0 || (_sequencer[4] & 4) == 0)
        {
            var plane = (int)address & 1;
            WritePlanes(address >> 1, value, mask & (5 << plane));
            return;
        }

        WritePlanes(address, value, mask);
    }

    /// <summary>Write modes 0 to 3 and the logic unit.</summary>
    private void WritePlanes(uint address, byte value, int planes)
    {
        var bits = _graphics[8];
        uint data;
        var mode = _graphics[5] & 3;
        switch (mode)
        {
            case 1:
                StorePlanes(address, _latches, planes);
                return;
            case 2:
                data = Spread(value);
                break;
            default:
                value = (byte)(value >> (_graphics[3] & 7) | value << (8 - (_graphics[3] & 7)));
                if (mode == 3)
                {
                    bits &= value;
                    data = Spread(_graphics[0]);
                }
                else
                {
                    var enable = Spread(_graphics[1]);
                    data = (value * 0x01010101u & ~enable) | (Spread(_graphics[0]) & enable);
                }

                break;
        }

        data = ((_graphics[3] >> 3) & 3) switch
        {
            1 => data & _latches,
            2 => data | _latches,
            3 => data ^ _latches,
            _ => data,
        };
        var mask = bits * 0x01010101u;
        StorePlanes(address, (data & mask) | (_latches & ~mask), planes);
    }

    private byte Plane(int plane) => (byte)(_latches >> (8 * plane));

    private void LoadLatches(uint address) =>
        _latches = BinaryPrimitives.ReadUInt32LittleEndian(VideoMemory.Span(address * 4 % PlanesEnd, 4));

    private void StorePlanes(uint address, uint data, int planes)
    {
        var offset = address * 4 % PlanesEnd;
        VideoMemory.NoteWrite(offset, 4);
        var span = VideoMemory.Span(offset, 4);
        var mask = Spread((byte)planes);
        var old = BinaryPrimitives.ReadUInt32LittleEndian(span);
        BinaryPrimitives.WriteUInt32LittleEndian(span, (old & ~mask) | (data & mask));
    }

    private void Store(uint offset, byte value)
    {
        VideoMemory.NoteWrite(offset, 1);
        VideoMemory.Span(offset, 1)[0] = value;
    }

    /// <summary>Bits 0 to 3 as bytes of all ones or zeros.</summary>
    private static uint Spread(byte bits) =>
        ((bits & 1u) | (bits & 2u) << 7 | (bits & 4u) << 14 | (bits & 8u) << 21) * 0xFF;
}
