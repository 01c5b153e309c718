namespace Dromaius.Devices.Display;

/// <content>
/// The BitBLT engine. It works at once when it is started, except where the processor feeds the source: then line by line. Addresses
/// wrap at the end of video memory, so that no register value reaches beyond it.
/// </content>
public sealed partial class CirrusVga
{
    private const int FirstBltRegister = 0x20, LastBltRegister = 0x3F;
    private const int BltWidth = 0x20, BltHeight = 0x22, BltDestinationPitch = 0x24, BltSourcePitch = 0x26, BltDestination = 0x28, BltSource = 0x2C;
    private const int BltSkip = 0x2F, BltMode = 0x30, BltStatus = 0x31, BltRop = 0x32, BltModeExtensions = 0x33, BltTransparent = 0x34;
    private const byte ModeBackwards = 1, ModeToSystem = 2, ModeFromSystem = 4, ModeTransparent = 8, ModePattern = 0x40, ModeExpand = 0x80;
    private const byte ExtensionDwords = 1, ExtensionInvert = 2, ExtensionSolid = 4;
    private const byte StatusBusy = 1, StatusStart = 2, StatusReset = 4, StatusFifo = 0x10, StatusAutoStart = 0x80;
    private const int LongestLine = 8192;

    // Registers as the engine took them when it started.
    private int _width, _height, _destinationPitch, _sourcePitch, _pixel;
    private uint _destination, _source;
    private byte _mode, _extensions, _rop;

    /// <summary>A line, or a pattern, from the processor.</summary>
    private readonly byte[] _fed = new byte[LongestLine + 8];
    private int _fedCount, _fedWanted, _fedLines;

    /// <summary>The engine waits for data from the processor.</summary>
    private bool IsFeeding => _fedLines > 0;

    private int Word(int register) => _gr[register] | _gr[register + 1] << 8;

    private uint Address(int register) => (uint)(Word(register) | _gr[register + 2] << 16) & AddressMask;

    private void WriteBlt(int index, byte value)
    {
        switch (index)
        {
            case BltWidth + 1 or BltDestinationPitch + 1 or BltSourcePitch + 1:
                _gr[index] = (byte)(value & 0x1F);
                break;
            case BltHeight + 1:
                _gr[index] = (byte)(value & 0x07);
                break;
            case BltDestination + 2:
                _gr[index] = (byte)(value & 0x3F);
                if ((_gr[BltStatus] & StatusAutoStart) != 0)
                    StartBlt();
                break;
            case BltSource + 2:
                _gr[index] = (byte)(value & 0x3F);
                break;
            case BltStatus:
                var before = _gr[BltStatus];
                _gr[BltStatus] = value;
                if ((before & StatusReset) != 0 && (value & StatusReset) == 0)
                    StopBlt();
                else if ((before & StatusStart) == 0 && (value & StatusStart) != 0)
                    StartBlt();
                break;
            default:
                _gr[index] = value;
                break;
        }
    }

    /// <summary>The engine's registers as memory: offset to register, 0 where there is none.</summary>
    private static ReadOnlySpan<byte> BltMap =>
    [
        0x00, 0x10, 0x12, 0x14, 0x01, 0x11, 0x13, 0x15, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
        0x28, 0x29, 0x2A, 0xFF, 0x2C, 0x2D, 0x2E, 0x2F, 0x30, 0xFF, 0x32, 0x33, 0x34, 0x35, 0xFF, 0xFF,
        0x38, 0x39,
    ];

    private const int MappedStatus = 0x40;

    private static int MappedRegister(int offset) => offset == MappedStatus ? BltStatus : offset < BltMap.Length ? BltMap[offset] : 0xFF;

    private byte ReadBltRegister(int offset) => MappedRegister(offset) is var register && register < GraphicsRegisters ? _gr[register] : (byte)0xFF;

    private void WriteBltRegister(int offset, byte value)
    {
        if (MappedRegister(offset) is var register && register < GraphicsRegisters)
            WriteGraphics(register, value);
    }

    private void StopBlt()
    {
        _gr[BltStatus] &= unchecked((byte)~(StatusStart | StatusBusy | StatusFifo));
        var fed = IsFeeding;
        _fedCount = _fedWanted = _fedLines = 0;
        if (fed)
            UpdateWindows();
    }

    private void StartBlt()
    {
        if (!_hasBlitter)
        {
            StopBlt();
            return;
        }

        _gr[BltStatus] |= StatusBusy;
        _width = Word(BltWidth) + 1;
        _height = Word(BltHeight) + 1;
        _destinationPitch = Word(BltDestinationPitch);
        _sourcePitch = Word(BltSourcePitch);
        _destination = Address(BltDestination);
        _source = Address(BltSource);
        _mode = _gr[BltMode];
        _extensions = _gr[BltModeExtensions];
        _rop = _gr[BltRop];
        _pixel = ((_mode >> 4) & 3) + 1;
        const byte Direction = ModeFromSystem | ModeToSystem;
        if ((_mode & Direction) is ModeToSystem or Direction)
        {
            GuestLogUnimplemented();
            StopBlt();
            return;
        }

        if ((_mode & ModeFromSystem) != 0 && !IsSolid)
        {
            StartFeeding();
            return;
        }

        if ((_mode & ModePattern) != 0)
            FillPattern([]);
        else if ((_mode & ModeExpand) != 0)
            Expand();
        else
            Copy();
        StopBlt();
    }

    private static void GuestLogUnimplemented() => Core.Errors.GuestLog.Unimplemented("cirrus-vga", "BitBLT to system memory");

    private void StartFeeding()
    {
        if ((_mode & ModePattern) != 0)
            (_fedWanted, _fedLines) = ((_mode & ModeExpand) != 0 ? 8 : 64 * _pixel, 1);
        else if ((_mode & ModeExpand) != 0)
        {
            var pixels = _width / _pixel;
            _fedWanted = (_extensions & ExtensionDwords) != 0 ? (pixels + 31) / 32 * 4 : (pixels + 7) / 8;
            _fedLines = _height;
        }
        else
            (_fedWanted, _fedLines) = ((_width + 3) & ~3, _height);
        // A line narrower than a pixel takes no data.
        if (_fedWanted == 0)
        {
            _fedLines = 0;
            StopBlt();
            return;
        }

        _fedCount = 0;
        UpdateWindows();
    }

    /// <summary>A byte of the source from the processor.</summary>
    private void FeedBlt(byte value)
    {
        if (!IsFeeding)
            return;
        _fed[_fedCount++] = value;
        if (_fedCount < _fedWanted)
            return;
        _fedCount = 0;
        var line = _fed.AsSpan(0, _fedWanted);
        if ((_mode & ModePattern) != 0)
            FillPattern(line);
        else if ((_mode & ModeExpand) != 0)
            _ = ExpandLine(_destination, line, 0);
        else
            CopyLine(_destination, line);
        _destination = (uint)((int)_destination + _destinationPitch);
        if (--_fedLines == 0)
        {
            _fedLines = 1;
            StopBlt();
        }
    }

    /// <summary>One of the sixteen raster operations on all bits of source and destination.</summary>
    private uint Operate(uint source, uint destination) => _rop switch
    {
        0x00 => 0,
        0x05 => source & destination,
        0x06 => destination,
        0x09 => source & ~destination,
        0x0B => ~destination,
        0x0D => source,
        0x0E => uint.MaxValue,
        0x50 => ~source & destination,
        0x59 => source ^ destination,
        0x6D => source | destination,
        0x90 => ~(source & destination),
        0x95 => ~(source ^ destination),
        0xAD => source | ~destination,
        0xD0 => ~source,
        0xD6 => ~source | destination,
        0xDA => ~(source | destination),
        _ => destination,
    };

    private byte Load(uint address) => VideoMemory.Span(address & AddressMask, 1)[0];

    /// <summary>Combines a byte with one of the destination.</summary>
    private void Combine(uint address, byte source)
    {
        address &= AddressMask;
        ref var to = ref VideoMemory.Span(address, 1)[0];
        to = (byte)Operate(source, to);
    }

    private void PutPixel(uint address, uint colour)
    {
        for (var i = 0; i < _pixel; i++)
            Combine(address + (uint)i, (byte)(colour >> (8 * i)));
    }

    /// <summary>Tells the screen and translated code of a line that changes.</summary>
    private void Touch(uint address, int length)
    {
        address &= AddressMask;
        var first = (int)Math.Min((ulong)length, VideoMemory.Size - address);
        VideoMemory.NoteWrite(address, (ulong)first);
        if (first < length)
            VideoMemory.NoteWrite(0, Math.Min((ulong)(length - first), VideoMemory.Size));
    }

    private void Copy()
    {
        var backwards = (_mode & ModeBackwards) != 0;
        var (to, from) = (_destination, _source);
        var line = _fed.AsSpan(0, _width);
        for (var y = 0; y < _height; y++)
        {
            // Backwards the addresses name the last byte.
            var (toFirst, fromFirst) = backwards ? (to - (uint)(_width - 1), from - (uint)(_width - 1)) : (to, from);
            if (IsOverlap(toFirst, fromFirst, backwards))
                Smear(to, from, backwards ? -1 : 1);
            else
            {
                for (var x = 0; x < _width;)
                {
                    var at = (fromFirst + (uint)x) & AddressMask;
                    var n = (int)Math.Min((ulong)(_width - x), VideoMemory.Size - at);
                    VideoMemory.Span(at, n).CopyTo(line[x..]);
                    x += n;
                }

                CopyLine(toFirst, line);
            }

            to = (uint)((int)to + (backwards ? -_destinationPitch : _destinationPitch));
            from = (uint)((int)from + (backwards ? -_sourcePitch : _sourcePitch));
        }
    }

    /// <summary>Bytes of the line are written before they are read.</summary>
    private bool IsOverlap(uint to, uint from, bool backwards)
    {
        var distance = (backwards ? from - to : to - from) & AddressMask;
        return distance != 0 && distance < _width;
    }

    private void Smear(uint to, uint from, int step)
    {
        Touch(step > 0 ? to : to - (uint)(_width - 1), _width);
        for (var x = 0; x < _width; x++)
        {
            Combine(to, Load(from));
            to = (uint)((int)to + step);
            from = (uint)((int)from + step);
        }
    }

    /// <summary>A line of pixels, all of them or those that do not become the transparent colour.</summary>
    private void CopyLine(uint to, ReadOnlySpan<byte> line)
    {
        const byte SourceCopy = 0x0D;
        line = line[..Math.Min(line.Length, _width)];
        Touch(to, line.Length);
        var address = to & AddressMask;
        if ((_mode & ModeTransparent) == 0)
        {
            if (_rop == SourceCopy && address + (uint)line.Length <= VideoMemory.Size)
            {
                line.CopyTo(VideoMemory.Span(address, line.Length));
                return;
            }

            for (var x = 0; x < line.Length; x++)
                Combine(to + (uint)x, line[x]);
            return;
        }

        // Only pixels of one and two bytes can be compared.
        var size = Math.Min(_pixel, 2);
        Span<byte> result = stackalloc byte[2];
        for (var x = 0; x + size <= line.Length; x += size)
        {
            var same = true;
            for (var i = 0; i < size; i++)
            {
                result[i] = (byte)Operate(line[x + i], Load(to + (uint)(x + i)));
                same &= result[i] == _gr[BltTransparent + i];
            }

            for (var i = 0; i < size && !same; i++)
                VideoMemory.Span((to + (uint)(x + i)) & AddressMask, 1)[0] = result[i];
        }
    }

    private uint Foreground => (uint)(_gr[1] | _gr[0x11] << 8 | _gr[0x13] << 16 | _gr[0x15] << 24);

    private uint Background => (uint)(_gr[0] | _gr[0x10] << 8 | _gr[0x12] << 16 | _gr[0x14] << 24);

    /// <summary>Bytes and pixels left out at the start of each line; the register counts bytes of 24-bit pixels in most modes.</summary>
    private (int Bytes, int Pixels) Skip => _pixel == 3 && ((_mode & ModeTransparent) != 0 || (_mode & (ModePattern | ModeExpand)) == ModePattern)
        ? (_gr[BltSkip] & 0x1F, (_gr[BltSkip] & 0x1F) / 3)
        : ((_gr[BltSkip] & 7) * _pixel, _gr[BltSkip] & 7);

    /// <summary>A pattern of bits that counts as all ones.</summary>
    private bool IsSolid => (_extensions & ExtensionSolid) != 0 && (_mode & (ModePattern | ModeExpand | ModeTransparent)) == (ModePattern | ModeExpand);

    private bool IsInverted => (_extensions & ExtensionInvert) != 0;

    /// <summary>Draws the pixel of a bit; with transparency only ones are drawn, or inverted only zeros.</summary>
    private void PutBit(uint to, bool bit)
    {
        if ((_mode & ModeTransparent) == 0 || bit != IsInverted)
            PutPixel(to, bit ? Foreground : Background);
    }

    /// <summary>A bit a pixel from video memory; lines follow each other, each starting with a byte.</summary>
    private void Expand()
    {
        var (to, from) = (_destination, _source);
        for (var y = 0; y < _height; y++)
        {
            from += (uint)ExpandLine(to, [], from);
            to = (uint)((int)to + _destinationPitch);
        }
    }

    /// <returns>Bytes of the source that the line took.</returns>
    private int ExpandLine(uint to, ReadOnlySpan<byte> line, uint from)
    {
        var (skip, bit) = Skip;
        Touch(to, _width);
        var taken = bit / 8;
        bit &= 7;
        for (var x = skip; x < _width; x += _pixel)
        {
            if (bit == 8)
                (bit, taken) = (0, taken + 1);
            var bits = line.IsEmpty ? Load(from + (uint)taken) : taken < line.Length ? line[taken] : (byte)0;
            PutBit(to + (uint)x, (bits & 0x80 >> bit) != 0);
            bit++;
        }

        return taken + 1;
    }

    /// <summary>Fills with a pattern of 8 by 8 pixels, in colours or of bits, or with the foreground alone.</summary>
    private void FillPattern(ReadOnlySpan<byte> fed)
    {
        var expand = (_mode & ModeExpand) != 0;
        var solid = IsSolid;
        // Lines of patterns of 24-bit pixels take 32 bytes in video memory.
        var pitch = expand ? 1 : _pixel == 3 ? 32 : 8 * _pixel;
        var size = (uint)(8 * pitch);
        Span<byte> pattern = stackalloc byte[256];
        pattern.Clear();
        for (var i = 0u; i < size; i++)
            pattern[(int)i] = !fed.IsEmpty ? i < fed.Length ? fed[(int)i] : (byte)0 : Load((_source & ~(size - 1)) + i);
        var (skip, skipped) = solid ? (0, 0) : Skip;
        var to = _destination;
        for (var y = 0; y < _height; y++)
        {
            var row = pattern.Slice((((int)_source + y) & 7) * pitch, pitch);
            Touch(to, _width);
            var column = skipped;
            for (var x = skip; x < _width; x += _pixel)
            {
                var at = to + (uint)x;
                if (solid)
                    PutPixel(at, Foreground);
                else if (expand)
                    PutBit(at, (row[0] & 0x80 >> (column & 7)) != 0);
                else
                {
                    for (var i = 0; i < _pixel; i++)
                        Combine(at + (uint)i, row[((column & 7) * _pixel) + i]);
                }

                column++;
            }

            to = (uint)((int)to + _destinationPitch);
        }
    }
}
