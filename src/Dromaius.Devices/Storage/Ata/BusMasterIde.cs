using System.Buffers.Binary;
using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Storage.Ata;

/// <summary>
/// The bus master of one IDE channel: walks a table of physical regions for the device's DMA. Source: "Programming Interface
/// for Bus Master IDE Controller", revision 1.0.
/// </summary>
public sealed class BusMasterIde
{
    private const byte CommandStart = 0x01, CommandToMemory = 0x08;
    private const byte StatusActive = 0x01, StatusError = 0x02, StatusInterrupt = 0x04, StatusCapable = 0x60;
    private const int TableSize = 0x10000, EntrySize = 8;
    private const uint EndOfTable = 0x8000_0000;

    private readonly PciFunction _function;
    private byte _command;
    private byte _status;
    private uint _table;
    private AtaDevice? _device;     // who wishes to transfer
    private bool _toHost;
    private long _length;
    private bool _running;          // the device has the memory
    private int _next;              // offset of the next table entry
    private uint _entryAddress;     // rest of the current entry
    private int _entryLeft;
    private bool _entryLast;

    public BusMasterIde(PciFunction function)
    {
        _function = function;
        Registers = MemoryRegion.Device("bmdma", 8, Read, Write);
    }

    /// <summary>Eight ports of the controller's base address register 4.</summary>
    public MemoryRegion Registers { get; }

    public void Reset()
    {
        Abandon();
        _command = _status = 0;
        _table = 0;
    }

    /// <summary>Forgets the transfer of a device that was reset.</summary>
    public void Abandon()
    {
        _device = null;
        _running = false;
    }

    public void NoteInterrupt() => _status |= StatusInterrupt;

    public void Request(AtaDevice device, bool toHost, long length)
    {
        _device = device;
        _toHost = toHost;
        _length = length;
        _running = false;
        TryRun();
    }

    /// <summary>The device has all it wanted; a table with regions left stays active.</summary>
    public void Done(AtaDevice device)
    {
        if (_device != device)
            return;
        _device = null;
        _running = false;
        if (_entryLeft == 0 && _entryLast)
            _status &= unchecked((byte)~StatusActive);
    }

    private void TryRun()
    {
        if (_device is not { } device || _running || (_status & StatusActive) == 0 || !_function.IsBusMaster)
            return;
        if (_toHost != ((_command & CommandToMemory) != 0))
        {
            // The wrong direction can move nothing.
            _status = (byte)((_status & ~StatusActive) | StatusError);
            return;
        }

        var memory = new DmaBuffer(_function.DmaSpace, _toHost);
        Collect(memory, _length);
        if (memory.Length == 0)
        {
            // The table is used up while the device has more: neither active nor interrupting tells so.
            _status &= unchecked((byte)~StatusActive);
            return;
        }

        _running = true;
        device.RunDma(memory);
    }

    private void Collect(DmaBuffer memory, long length)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        while (memory.Length < length)
        {
            if (_entryLeft == 0)
            {
                if (_entryLast || _next >= TableSize)
                    return;
                _ = _function.DmaSpace.Read(_table + (uint)_next, entry);
                _next += EntrySize;
                _entryAddress = BinaryPrimitives.ReadUInt32LittleEndian(entry) & ~1u;
                var word = BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]);
                _entryLeft = (int)(word & 0xFFFE);
                if (_entryLeft == 0)
                    _entryLeft = 0x10000;
                _entryLast = (word & EndOfTable) != 0;
            }

            var n = (int)Math.Min(length - memory.Length, _entryLeft);
            memory.Add(_entryAddress, n);
            _entryAddress += (uint)n;
            _entryLeft -= n;
        }
    }

    private ulong Read(ulong offset, int size)
    {
        if (size == 4 && offset == 4)
            return _table;
        var value = 0UL;
        for (var i = 0; i < size; i++)
            value |= (ulong)ReadByte((int)offset + i) << (8 * i);
        return value;
    }

    private byte ReadByte(int offset) => offset switch
    {
        0 => _command,
        2 => _status,
        >= 4 and < 8 => (byte)(_table >> (8 * (offset - 4))),
        _ => 0xFF,
    };

    private void Write(ulong offset, int size, ulong value)
    {
        if (size == 4 && offset == 4)
        {
            _table = (uint)value & ~3u;
            return;
        }

        for (var i = 0; i < size; i++)
            WriteByte((int)offset + i, (byte)(value >> (8 * i)));
    }

    private void WriteByte(int offset, byte value)
    {
        switch (offset)
        {
            case 0:
                WriteCommand(value);
                break;
            case 2:
                _status = (byte)((_status & StatusActive) | (value & StatusCapable)
                    | (_status & ~value & (StatusError | StatusInterrupt)));
                break;
            case >= 4 and < 8:
                var shift = 8 * (offset - 4);
                _table = ((_table & ~(0xFFu << shift)) | (uint)value << shift) & ~3u;
                break;
        }
    }

    private void WriteCommand(byte value)
    {
        var before = _command;
        _command = (byte)(value & (CommandStart | CommandToMemory));
        if ((before & CommandStart) == 0 && (_command & CommandStart) != 0)
        {
            _next = _entryLeft = 0;
            _entryLast = false;
            _status |= StatusActive;
            TryRun();
        }
        else if ((_command & CommandStart) == 0)
        {
            // What the device is in the middle of runs to its end, as if it had ended just before.
            _status &= unchecked((byte)~StatusActive);
        }
    }
}
