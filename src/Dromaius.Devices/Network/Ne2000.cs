using System.Buffers.Binary;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// The NE2000: a DP8390 network interface controller with 16 KiB of buffer memory behind a data port. ISA and PCI cards carry it.
/// Source: National DP8390D/NS32490D datasheet, sections 7 to 10.
/// </summary>
public sealed class Ne2000 : Device, INetworkAdapter
{
    private const int PromSize = 32, MemoryStart = 0x4000, MemorySize = 0xC000, PageSize = 256;
    private const int DataPort = 0x10, ResetPort = 0x18, PortsSize = 0x20;
    private const byte CrStop = 1, CrStart = 2, CrTransmit = 4;
    private const byte IsrReceived = 1, IsrTransmitted = 2, IsrRemoteDone = 0x40, IsrReset = 0x80;
    private const byte RcrBroadcast = 4, RcrMulticast = 8, RcrPromiscuous = 0x10, RcrMonitor = 0x20, TcrLoopback = 6;
    private const int LeastFrame = 60, CrcLength = 4, HeadLength = 4;

    private readonly byte[] _memory = new byte[MemorySize];
    private readonly byte[] _physical = new byte[MacAddress.Length];
    private readonly byte[] _multicast = new byte[8];
    private readonly MacAddress _mac;
    private byte _command, _interruptStatus, _interruptMask, _dataConfig, _receiveConfig, _transmitConfig, _receiveStatus, _transmitStatus;
    private int _start, _stop, _boundary, _current, _transmitPage, _transmitLength, _remoteAddress, _remoteCount;
    private bool _isStalled;

    // A frame waits with the sender for room in the ring.
    private bool _isRefusing;

    /// <param name="typeName">The type of the card.</param>
    /// <param name="mac">The address in its PROM.</param>
    public Ne2000(string typeName, MacAddress mac)
    {
        TypeName = typeName;
        _mac = mac;
        Ports = MemoryRegion.Device("ne2000", PortsSize, Read, Write);
        Reset();
    }

    public override string TypeName { get; }
    public MemoryRegion Ports { get; }
    public IrqLine Irq { get; } = new();

    /// <summary>The adapter's end of the cable; set before it is used.</summary>
    public Nic? Nic { get; set; }

    public override void Reset()
    {
        Array.Clear(_memory);
        // Each byte of the PROM stands twice; the end says that the bus is 16 bits wide.
        for (var i = 0; i < MacAddress.Length; i++)
            _memory[2 * i] = _memory[(2 * i) + 1] = _mac[i];
        for (var i = 14; i < 16; i++)
            _memory[2 * i] = _memory[(2 * i) + 1] = 0x57;
        ResetChip();
        if (Nic != null)
            Nic.Mac = _mac;
    }

    public void OnPeerReady()
    {
        if (!_isStalled)
            return;
        _isStalled = false;
        Transmit();
    }

    private void ResetChip()
    {
        _command = CrStop;
        _interruptStatus = IsrReset;
        _interruptMask = 0;
        _isStalled = _isRefusing = false;
        UpdateInterrupt();
    }

    private void UpdateInterrupt() => Irq.Level = (_interruptStatus & _interruptMask & 0x7F) != 0;

    private void SetStatus(byte bits)
    {
        _interruptStatus |= bits;
        UpdateInterrupt();
    }

    private ulong Read(ulong offset, int size)
    {
        var at = (int)offset;
        if (at is >= DataPort and < ResetPort)
            return ReadData(size);
        if (at >= ResetPort)
        {
            ResetChip();
            return 0;
        }

        var value = 0UL;
        for (var i = 0; i < size && at + i < DataPort; i++)
            value |= (ulong)ReadRegister(at + i) << (8 * i);
        return value;
    }

    private byte ReadRegister(int at)
    {
        if (at == 0)
            return _command;
        switch (_command >> 6)
        {
            case 0:
                return at switch
                {
                    3 => (byte)_boundary,
                    4 => _transmitStatus,
                    7 => _interruptStatus,
                    8 => (byte)_remoteAddress,
                    9 => (byte)(_remoteAddress >> 8),
                    // The RTL8029 says what it is.
                    0xA => 0x50,
                    0xB => 0x43,
                    0xC => _receiveStatus,
                    _ => 0,
                };
            case 1:
                return at switch
                {
                    >= 1 and <= 6 => _physical[at - 1],
                    7 => (byte)_current,
                    _ => _multicast[at - 8],
                };
            case 2:
                return at switch
                {
                    1 => (byte)_start,
                    2 => (byte)_stop,
                    0xC => _receiveConfig,
                    0xD => _transmitConfig,
                    0xE => _dataConfig,
                    0xF => _interruptMask,
                    _ => 0,
                };
            default:
                // Full duplex, for the RTL8029's driver.
                return at switch
                {
                    3 => 0,
                    5 or 6 => 0x40,
                    _ => 0,
                };
        }
    }

    private void Write(ulong offset, int size, ulong value)
    {
        var at = (int)offset;
        if (at is >= DataPort and < ResetPort)
        {
            WriteData(size, value);
            return;
        }

        for (var i = 0; i < size && at + i < DataPort; i++)
            WriteRegister(at + i, (byte)(value >> (8 * i)));
    }

    private void WriteRegister(int at, byte value)
    {
        if (at == 0)
        {
            WriteCommand(value);
            return;
        }

        switch (_command >> 6)
        {
            case 0:
                WritePage0(at, value);
                break;
            case 1 when at <= 6:
                _physical[at - 1] = value;
                if (Nic != null)
                    Nic.Mac = MacAddress.Read(_physical);
                break;
            case 1 when at == 7:
                _current = value;
                break;
            case 1:
                _multicast[at - 8] = value;
                break;
        }
    }

    private void WritePage0(int at, byte value)
    {
        switch (at)
        {
            case 1:
                _start = value;
                break;
            case 2:
                _stop = value;
                break;
            case 3:
                _boundary = value;
                _isRefusing = false;
                Nic?.ReadyForMore();
                break;
            case 4:
                _transmitPage = value;
                break;
            case 5:
                _transmitLength = (_transmitLength & 0xFF00) | value;
                break;
            case 6:
                _transmitLength = (_transmitLength & 0xFF) | (value << 8);
                break;
            case 7:
                _interruptStatus &= (byte)~(value & 0x7F);
                // A driver may acknowledge a frame that came after its last look; no other follows while the sender waits for room.
                if (_isRefusing && HasUnread)
                    _interruptStatus |= IsrReceived;
                UpdateInterrupt();
                break;
            case 8:
                _remoteAddress = (_remoteAddress & 0xFF00) | value;
                break;
            case 9:
                _remoteAddress = (_remoteAddress & 0xFF) | (value << 8);
                break;
            case 0xA:
                _remoteCount = (_remoteCount & 0xFF00) | value;
                break;
            case 0xB:
                _remoteCount = (_remoteCount & 0xFF) | (value << 8);
                break;
            case 0xC:
                _receiveConfig = value;
                break;
            case 0xD:
                _transmitConfig = value;
                break;
            case 0xE:
                _dataConfig = value;
                break;
            case 0xF:
                _interruptMask = value;
                UpdateInterrupt();
                break;
        }
    }

    /// <summary>Frames lie between the boundary, which drivers leave at the last page read or the next to read, and the current page.</summary>
    private bool HasUnread => (_command & CrStart) != 0 && _stop > _start && _current != _boundary
        && _current != (_boundary + 1 >= _stop ? _start : _boundary + 1);

    private void WriteCommand(byte value)
    {
        // Neither start nor stop leaves the chip as it is: drivers that only turn a page write neither.
        if ((value & (CrStart | CrStop)) == 0)
            value |= (byte)(_command & (CrStart | CrStop));
        _command = value;
        if ((value & CrStop) != 0)
        {
            _interruptStatus |= IsrReset;
            return;
        }

        _interruptStatus &= unchecked((byte)~IsrReset);
        // A remote operation of no bytes is done at once.
        if ((value & 0x18) != 0 && _remoteCount == 0)
            SetStatus(IsrRemoteDone);
        if ((value & CrTransmit) != 0)
            Transmit();
        if ((value & CrStart) != 0)
            Nic?.ReadyForMore();
    }

    private bool IsMemory(int address) => address is >= 0 and < PromSize or >= MemoryStart and < MemorySize;

    private ulong ReadData(int size)
    {
        var width = (_dataConfig & 1) != 0 && size == 1 ? 2 : size;
        var value = 0UL;
        for (var i = 0; i < width; i++)
        {
            var address = _remoteAddress + i;
            value |= (ulong)(IsMemory(address) ? _memory[address] : 0xFF) << (8 * i);
        }

        AdvanceRemote(width);
        return value;
    }

    private void WriteData(int size, ulong value)
    {
        if (_remoteCount == 0)
            return;
        var width = (_dataConfig & 1) != 0 && size == 1 ? 2 : size;
        for (var i = 0; i < width; i++)
        {
            var address = _remoteAddress + i;
            if (address >= PromSize && IsMemory(address))
                _memory[address] = (byte)(value >> (8 * i));
        }

        AdvanceRemote(width);
    }

    private void AdvanceRemote(int width)
    {
        _remoteAddress += width;
        // The remote pointer turns round in the receive ring.
        if (_stop > _start && _remoteAddress >= _stop * PageSize)
            _remoteAddress += (_start - _stop) * PageSize;
        _remoteAddress &= 0xFFFF;
        if (_remoteCount > width)
        {
            _remoteCount -= width;
            return;
        }

        _remoteCount = 0;
        SetStatus(IsrRemoteDone);
    }

    private void Transmit()
    {
        var at = _transmitPage * PageSize;
        // Addresses beyond the card's memory turn up in it again.
        if (at >= MemorySize)
            at -= 0x8000;
        if (at >= MemoryStart && at + _transmitLength <= MemorySize && _transmitLength >= 14)
        {
            var frame = _memory.AsSpan(at, _transmitLength);
            if ((_transmitConfig & TcrLoopback) != 0)
                _ = Receive(frame, default);
            else if (Nic != null && !Nic.Send(frame, default))
            {
                _isStalled = true;
                return;
            }
        }

        _transmitStatus = 1;
        _command &= unchecked((byte)~CrTransmit);
        SetStatus(IsrTransmitted);
    }

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if ((_command & (CrStop | CrStart)) != CrStart || frame.Length < 14 || frame.Length > 1600 || (_receiveConfig & RcrMonitor) != 0 || !Passes(frame))
            return true;
        if (_stop <= _start || _stop * PageSize > MemorySize || _start * PageSize < MemoryStart || _current < _start || _current >= _stop)
            return true;
        var total = Math.Max(frame.Length, LeastFrame) + CrcLength + HeadLength;
        var pages = (total + PageSize - 1) / PageSize;
        var ring = _stop - _start;
        // The page of the boundary stays the driver's.
        var free = _current < _boundary ? _boundary - _current : ring - (_current - _boundary);
        // No overrun: what does not fit waits with the sender.
        if (pages >= free || pages >= ring)
        {
            _isRefusing = true;
            return false;
        }

        var next = _current + pages;
        if (next >= _stop)
            next -= ring;
        _receiveStatus = (byte)(1 | ((frame[0] & 1) != 0 ? 0x20 : 0));
        Span<byte> head = stackalloc byte[HeadLength];
        head[0] = _receiveStatus;
        head[1] = (byte)next;
        BinaryPrimitives.WriteUInt16LittleEndian(head[2..], (ushort)total);
        var at = _current * PageSize;
        Put(head, ref at);
        Put(frame, ref at);
        Span<byte> padding = stackalloc byte[LeastFrame];
        padding.Clear();
        if (frame.Length < LeastFrame)
            Put(padding[..(LeastFrame - frame.Length)], ref at);
        _current = next;
        SetStatus(IsrReceived);
        return true;
    }

    private void Put(ReadOnlySpan<byte> bytes, ref int at)
    {
        while (!bytes.IsEmpty)
        {
            var n = Math.Min(bytes.Length, (_stop * PageSize) - at);
            bytes[..n].CopyTo(_memory.AsSpan(at));
            bytes = bytes[n..];
            at += n;
            if (at >= _stop * PageSize)
                at = _start * PageSize;
        }
    }

    private bool Passes(ReadOnlySpan<byte> frame)
    {
        var to = MacAddress.Read(frame);
        if ((_receiveConfig & RcrPromiscuous) != 0)
            return true;
        if (to == MacAddress.Broadcast)
            return (_receiveConfig & RcrBroadcast) != 0;
        if (!to.IsGroup)
            return frame[..MacAddress.Length].SequenceEqual(_physical);
        var hash = (int)(EthernetCrc.Big(frame[..MacAddress.Length]) >> 26);
        return (_receiveConfig & RcrMulticast) != 0 && (_multicast[hash >> 3] & (1 << (hash & 7))) != 0;
    }
}
