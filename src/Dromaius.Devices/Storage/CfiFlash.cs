using Dromaius.Block;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Storage;

/// <summary>
/// Parallel NOR flash with the Intel command set, on a drive. While it shows its array it is ROM at full speed; commands put
/// registers in its place. Sources: Intel "Common Flash Interface (CFI) and Command Sets" (application note 646); Intel
/// 28F640J5 datasheet, section 4.
/// </summary>
public sealed class CfiFlash : Device, IDisposable
{
    public const int EraseBlock = 4096;
    private const int BufferSize = 2048, SaveUnit = 512, SaveAtOnce = 64 << 10;
    private const byte StatusReady = 0x80, StatusEraseError = 0x20, StatusProgramError = 0x10, StatusLocked = 0x02;
    private const byte Manufacturer = 0x89, DeviceCode = 0x18;

    private enum Mode : byte
    {
        Array,
        Status,
        Identifier,
        Query,

        /// <summary>The next write is data.</summary>
        Program,

        /// <summary>The next write confirms an erase.</summary>
        Erase,

        /// <summary>The next write says what to do with locks.</summary>
        Lock,

        /// <summary>The next write is the count of a buffer.</summary>
        BufferCount,
        BufferData,
        BufferConfirm,
    }

    private readonly BlockBackend _backend;
    private readonly MemoryRegion _array;
    private readonly MemoryRegion _registers;
    private readonly RamBlock _ram;
    private readonly byte[] _buffer = new byte[BufferSize];
    private readonly byte[] _query;
    private Mode _mode;
    private byte _status = StatusReady;
    private int _bufferLength, _bufferLeft;
    private long _bufferStart;
    private long _dirtyStart = long.MaxValue, _dirtyEnd;

    /// <param name="backend">Keeps the contents; its length is the size of the flash.</param>
    /// <param name="name">Of the memory region.</param>
    public CfiFlash(BlockBackend backend, string name)
    {
        _backend = backend;
        var size = backend.Length;
        _ram = new RamBlock(name, (ulong)size);
        backend.Node!.Read(0, _ram.Span(0, (int)size));
        _query = Query(size);
        Region = MemoryRegion.Container(name, (ulong)size);
        _array = MemoryRegion.Rom(name, _ram, Write);
        _registers = MemoryRegion.Device($"{name}-registers", (ulong)size, Read, Write);
        _registers.Enabled = false;
        Region.Add(0, _array);
        Region.Add(0, _registers, 1);
    }

    public override string TypeName => "cfi.pflash01";

    /// <summary>The flash's place in memory.</summary>
    public MemoryRegion Region { get; }

    /// <summary>The contents in memory.</summary>
    public RamBlock Ram => _ram;

    public override void Reset()
    {
        _status = StatusReady;
        SetMode(Mode.Array);
    }

    public void Dispose() => _ram.Dispose();

    private bool IsReadOnly => _backend.IsReadOnly;

    private void SetMode(Mode mode)
    {
        _mode = mode;
        _registers.Enabled = mode != Mode.Array;
        if (mode == Mode.Array)
            Save();
    }

    private ulong Read(ulong offset, int size)
    {
        var value = 0UL;
        for (var i = 0; i < size; i++)
            value |= (ulong)ReadByte((long)offset + i) << (8 * i);
        return value;
    }

    private byte ReadByte(long offset) => _mode switch
    {
        Mode.Array => offset < (long)_ram.Size ? _ram.Span((ulong)offset, 1)[0] : (byte)0xFF,
        Mode.Identifier => (offset & 0xFF) switch
        {
            0 => Manufacturer,
            1 => DeviceCode,
            _ => 0,
        },
        Mode.Query => (offset & 0xFF) < _query.Length ? _query[offset & 0xFF] : (byte)0,
        _ => _status,
    };

    private void Write(ulong offset, int size, ulong value)
    {
        // A byte-wide part: wider stores are so many commands or data bytes, low byte first.
        if (_mode is Mode.Program or Mode.BufferData)
        {
            for (var i = 0; i < size; i++)
                WriteData((long)offset + i, (byte)(value >> (8 * i)));
            return;
        }

        switch (_mode)
        {
            case Mode.Erase:
                FinishErase((long)offset, (byte)value);
                break;
            case Mode.Lock:
                _status |= StatusReady;
                SetMode(Mode.Status);
                break;
            case Mode.BufferCount:
                _bufferLength = _bufferLeft = (int)(value & 0xFFFF) + 1;
                if (_bufferLength > BufferSize)
                    FailBuffer();
                else
                {
                    _bufferStart = -1;
                    _mode = Mode.BufferData;
                }

                break;
            case Mode.BufferConfirm:
                if ((byte)value == 0xD0 && Program(_bufferStart, _buffer.AsSpan(0, _bufferLength)))
                    _status |= StatusReady;
                else
                    _status |= StatusReady | StatusProgramError;
                SetMode(Mode.Status);
                break;
            default:
                Command((byte)value);
                break;
        }
    }

    private void Command(byte command)
    {
        switch (command)
        {
            case 0x10 or 0x40:
                SetMode(Mode.Program);
                break;
            case 0x20 or 0x28:
                SetMode(Mode.Erase);
                break;
            case 0x50: // clear status
                _status = 0;
                SetMode(Mode.Array);
                break;
            case 0x60:
                SetMode(Mode.Lock);
                break;
            case 0x70:
                SetMode(Mode.Status);
                break;
            case 0x90:
                SetMode(Mode.Identifier);
                break;
            case 0x98:
                SetMode(Mode.Query);
                break;
            case 0xE8:
                _status |= StatusReady;
                SetMode(Mode.BufferCount);
                break;
            case 0x00 or 0xF0 or 0xFF:
                SetMode(Mode.Array);
                break;
            default:
                GuestLog.GuestError(TypeName, $"unknown command {command:x2}");
                SetMode(Mode.Array);
                break;
        }
    }

    private void WriteData(long offset, byte value)
    {
        if (_mode == Mode.Program)
        {
            _status |= Program(offset, [value]) ? StatusReady : (byte)(StatusReady | StatusProgramError | StatusLocked);
            _mode = Mode.Status;
            return;
        }

        if (_mode != Mode.BufferData)
            return;
        if (_bufferStart < 0)
        {
            _bufferStart = offset;
            _buffer.AsSpan(0, _bufferLength).Fill(0xFF);
        }

        var at = offset - _bufferStart;
        if (at < 0 || at >= _bufferLength)
        {
            FailBuffer();
            return;
        }

        _buffer[at] = value;
        if (--_bufferLeft == 0)
            _mode = Mode.BufferConfirm;
    }

    private void FailBuffer()
    {
        _status |= StatusReady | StatusProgramError;
        SetMode(Mode.Status);
    }

    private void FinishErase(long offset, byte confirmation)
    {
        if (confirmation == 0xD0 && !IsReadOnly)
        {
            var start = offset & ~(EraseBlock - 1L);
            if (start + EraseBlock <= (long)_ram.Size)
            {
                _ram.NoteWrite((ulong)start, EraseBlock);
                _ram.Span((ulong)start, EraseBlock).Fill(0xFF);
                NoteDirty(start, EraseBlock);
            }

            _status |= StatusReady;
        }
        else if (confirmation == 0xFF)
        {
            SetMode(Mode.Array);
            return;
        }
        else
            _status |= StatusReady | StatusEraseError;

        SetMode(Mode.Status);
    }

    private bool Program(long offset, ReadOnlySpan<byte> bytes)
    {
        if (IsReadOnly || offset < 0 || offset > (long)_ram.Size - bytes.Length)
            return false;
        _ram.NoteWrite((ulong)offset, (ulong)bytes.Length);
        bytes.CopyTo(_ram.Span((ulong)offset, bytes.Length));
        NoteDirty(offset, bytes.Length);
        return true;
    }

    private void NoteDirty(long offset, int length)
    {
        _dirtyStart = Math.Min(_dirtyStart, offset);
        _dirtyEnd = Math.Max(_dirtyEnd, offset + length);
        if (_dirtyEnd - _dirtyStart > SaveAtOnce)
            Save();
    }

    /// <summary>Writes what changed to the drive.</summary>
    private void Save()
    {
        if (_dirtyStart >= _dirtyEnd)
            return;
        var start = _dirtyStart & ~(SaveUnit - 1L);
        var end = Math.Min((_dirtyEnd + SaveUnit - 1) & ~(SaveUnit - 1L), _backend.Length);
        (_dirtyStart, _dirtyEnd) = (long.MaxValue, 0);
        // A copy: the guest goes on writing meanwhile.
        var bytes = _ram.Span((ulong)start, (int)(end - start)).ToArray();
        _backend.Submit(new BlockRequest
        {
            Operation = BlockOperation.Write,
            Offset = start,
            Length = bytes.Length,
            Segments = [bytes],
            Completed = static r =>
            {
                if (r.Error != BlockError.None)
                    GuestLog.GuestError("cfi.pflash01", $"saving failed: {r.Error}");
            },
        });
    }

    /// <summary>The query structure: command set 1, timings, size and one region of equal erase blocks.</summary>
    private static byte[] Query(long size)
    {
        var q = new byte[0x52];
        "QRY"u8.CopyTo(q.AsSpan(0x10));
        q[0x13] = 1;                    // Intel extended command set
        q[0x15] = 0x31;                 // address of the extended table
        q[0x1B] = 0x45;                 // supply voltages
        q[0x1C] = 0x55;
        q[0x1F] = 7;                    // typical times
        q[0x20] = 7;
        q[0x21] = 0x0A;
        q[0x23] = 4;                    // maximum times
        q[0x24] = 4;
        q[0x25] = 4;
        q[0x27] = (byte)long.Log2(size);
        q[0x28] = 2;                    // 8 and 16 bits wide
        q[0x2A] = (byte)int.Log2(BufferSize);
        q[0x2C] = 1;                    // erase regions
        var blocks = (size / EraseBlock) - 1;
        (q[0x2D], q[0x2E]) = ((byte)blocks, (byte)(blocks >> 8));
        (q[0x2F], q[0x30]) = ((EraseBlock >> 8) & 0xFF, EraseBlock >> 16);
        "PRI"u8.CopyTo(q.AsSpan(0x31));
        q[0x34] = (byte)'1';
        q[0x35] = (byte)'0';
        return q;
    }
}
