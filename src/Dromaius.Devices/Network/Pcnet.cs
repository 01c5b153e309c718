using System.Buffers.Binary;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Pci;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// PCnet-PCI II Ethernet controller (Am79C970A): LANCE descriptors in 16 and 32 bit software styles. Source: Am79C970A datasheet (19436),
/// sections "Software Access", "Control and Status Registers", "Initialization Block".
/// </summary>
public sealed class Pcnet : PciFunction, IPciNic
{
    private const int PortsSize = 32, CsrCount = 128, BcrCount = 32;
    private const ushort Init = 1, Start = 2, Stop = 4, TransmitDemand = 8, TransmitOn = 0x10, ReceiveOn = 0x20, InterruptEnable = 0x40, InterruptFlag = 0x80;
    private const ushort InitDone = 0x100, TransmitDone = 0x200, ReceiveDone = 0x400, Causes = 0x7F00, MemoryError = 0x0800;
    private const ushort ModePromiscuous = 0x8000, ModeNoBroadcast = 0x4000, ModeLoopback = 4, ModeNoTransmit = 2, ModeNoReceive = 1;
    private const uint Own = 0x8000_0000, Failed = 0x4000_0000, First = 0x0200_0000, Last = 0x0100_0000, BufferError = 0x0400_0000;
    private const long RetryNanoseconds = 200_000;
    private const int LeastFrame = 60, CrcLength = 4, MaxFrame = 4096;

    private readonly ushort[] _csr = new ushort[CsrCount];
    private readonly ushort[] _bcr = new ushort[BcrCount];
    private readonly byte[] _prom = new byte[16];
    private readonly byte[] _frame = new byte[MaxFrame];
    private readonly MacAddress _mac;
    private int _address, _transmitLength;
    private uint _receiveRing, _transmitRing, _initBlock;
    private int _receiveCount = 1, _transmitCount = 1, _receiveIndex, _transmitIndex;
    private readonly Clock _clock;
    private readonly Core.Time.Timer _retry;
    private bool _isStalled, _isTransmitting;

    /// <param name="clock">For looking again at a ring that was full: drivers do not say when they give buffers back.</param>
    /// <param name="mac">The address in the PROM.</param>
    public Pcnet(Clock clock, MacAddress mac)
        : base(0x1022, 0x2000, 0x02, 0x00, 0, 0x10)
    {
        _mac = mac;
        _clock = clock;
        _retry = clock.CreateTimer(() => Nic?.ReadyForMore());
        UseInterruptPin(1);
        SetByte(PciConfig.MinGrant, 6);
        SetByte(PciConfig.MaxLatency, 0xFF);
        AddIoBar(0, MemoryRegion.Device("pcnet-io", PortsSize, Read, Write));
        AddMemoryBar(1, MemoryRegion.Device("pcnet-mem", PortsSize, Read, Write));
        for (var i = 0; i < MacAddress.Length; i++)
            _prom[i] = mac[i];
        _prom[14] = _prom[15] = 0x57;
        var sum = 0;
        foreach (var b in _prom)
            sum += b;
        BinaryPrimitives.WriteUInt16LittleEndian(_prom.AsSpan(12), (ushort)sum);
        ResetChip(hard: true);
    }

    public override string TypeName => "pcnet";
    public Nic? Nic { get; set; }

    public override void Reset()
    {
        base.Reset();
        ResetChip(hard: true);
    }

    public void OnPeerReady()
    {
        if (!_isStalled)
            return;
        _isStalled = false;
        Transmit();
    }

    private bool IsDwordMode => (_bcr[18] & 0x80) != 0;

    /// <summary>Descriptors of 16 bytes with 32-bit addresses.</summary>
    private bool IsWide => (_bcr[20] & 0xFF) is 1 or 2 or 3;

    private void ResetChip(bool hard)
    {
        if (hard)
        {
            Array.Clear(_bcr);
            _bcr[0] = _bcr[1] = 5;
            _bcr[2] = 2;
            _bcr[4] = 0xC0;
            _bcr[5] = 0x84;
            _bcr[9] = 0;
            _bcr[18] = 0x9001 & ~0x80;
            _bcr[19] = 2;
            _bcr[20] = 0x0200;
            if (Nic != null)
                Nic.Mac = _mac;
        }

        _bcr[18] &= 0xFF7F;
        Array.Clear(_csr);
        _csr[0] = Stop;
        _csr[4] = 0x0115;
        _csr[88] = 0x1003;
        _csr[89] = 0x0262;
        _csr[94] = 0;
        for (var i = 0; i < 3; i++)
            _csr[12 + i] = (ushort)(_mac[2 * i] | (_mac[(2 * i) + 1] << 8));
        _csr[15] = ReadMode;
        _csr[76] = _csr[78] = 0xFFFF;
        _csr[80] = 0x1410;
        _address = 0;
        _transmitLength = 0;
        _isStalled = false;
        UpdateInterrupt();
    }

    private const ushort ReadMode = 0x0080;

    private ulong Read(ulong offset, int size)
    {
        if (offset < 16)
        {
            var value = 0UL;
            for (var i = 0; i < size && (int)offset + i < 16; i++)
                value |= (ulong)_prom[(int)offset + i] << (8 * i);
            return value;
        }

        // A double-word access chooses double-word mode; so did a write of one to the first register.
        var wide = IsDwordMode;
        switch (((int)offset & 15) >> (wide ? 2 : 1))
        {
            case 0:
                return ReadCsr(_address);
            case 1:
                return (ulong)_address;
            case 2:
                ResetChip(hard: false);
                return 0;
            case 3:
                return ReadBcr(_address);
            default:
                return 0xFFFF;
        }
    }

    private void Write(ulong offset, int size, ulong value)
    {
        if (offset < 16)
            return;
        if (offset == 0x10 && size == 4 && !IsDwordMode)
        {
            _bcr[18] |= 0x80;
            return;
        }

        switch (((int)offset & 15) >> (IsDwordMode ? 2 : 1))
        {
            case 0:
                WriteCsr(_address, (ushort)value);
                break;
            case 1:
                _address = (int)value & 0x7F;
                break;
            case 3:
                WriteBcr(_address, (ushort)value);
                break;
        }
    }

    private ushort ReadCsr(int index) => index switch
    {
        0 => (ushort)(_csr[0] | ((_csr[0] & Causes) != 0 ? InterruptFlag : 0) | ((_csr[0] & MemoryError) != 0 ? 0x8000 : 0)),
        1 => (ushort)_initBlock,
        2 => (ushort)(_initBlock >> 16),
        58 => _bcr[20],
        _ => _csr[index],
    };

    private void WriteCsr(int index, ushort value)
    {
        switch (index)
        {
            case 0:
                WriteControl(value);
                break;
            case 1:
                _initBlock = (_initBlock & 0xFFFF_0000) | value;
                break;
            case 2:
                _initBlock = (_initBlock & 0xFFFF) | (uint)value << 16;
                break;
            case 3:
                _csr[3] = value;
                UpdateInterrupt();
                break;
            case 4:
                // Status bits are cleared by ones.
                _csr[4] = (ushort)((value & ~0x026A) | (_csr[4] & 0x026A & ~value));
                break;
            case 5:
                _csr[5] = (ushort)((value & ~0x0A90) | (_csr[5] & 0x0A90 & ~value));
                break;
            case 58:
                WriteBcr(20, value);
                break;
            case 88 or 89:
                break;
            default:
                if ((_csr[0] & Stop) != 0 || index is 47 or 49 or 112 or 114)
                    _csr[index] = value;
                break;
        }
    }

    private void WriteControl(ushort value)
    {
        _csr[0] &= (ushort)~(value & Causes);
        _csr[0] = (ushort)((_csr[0] & ~InterruptEnable) | (value & InterruptEnable));
        if ((value & Stop) != 0)
        {
            _csr[0] = Stop;
            _transmitLength = 0;
            UpdateInterrupt();
            return;
        }

        if ((value & Init) != 0 && (_csr[0] & Init) == 0)
            Initialize();
        if ((value & Start) != 0 && (_csr[0] & Start) == 0)
        {
            _csr[0] &= unchecked((ushort)~Stop);
            _csr[0] |= Start;
            if ((_csr[15] & ModeNoTransmit) == 0)
                _csr[0] |= TransmitOn;
            if ((_csr[15] & ModeNoReceive) == 0)
                _csr[0] |= ReceiveOn;
            Nic?.ReadyForMore();
        }

        if ((value & (TransmitDemand | Start)) != 0)
            Transmit();
        // The driver has looked at its ring.
        if ((value & ReceiveDone) != 0)
            Nic?.ReadyForMore();
        UpdateInterrupt();
    }

    private ushort ReadBcr(int index) => index switch
    {
        // Link LEDs follow the link.
        >= 4 and <= 7 => (ushort)(_bcr[index] | ((_bcr[index] & 0x40) != 0 && Nic is not { HasCarrier: false } ? 0x8000 : 0)),
        34 => 0,
        _ => index < BcrCount ? _bcr[index] : (ushort)0,
    };

    private void WriteBcr(int index, ushort value)
    {
        switch (index)
        {
            case 20:
                _bcr[20] = (ushort)((value & 0xFF) | ((value & 0xFF) is 1 or 2 or 3 ? 0x0300 : 0x0200));
                break;
            case < BcrCount and not (0 or 1 or 18 or 19 or 21 or 22):
                _bcr[index] = value;
                break;
            case 18:
                _bcr[18] = (ushort)((value & ~0x80) | (_bcr[18] & 0x80));
                break;
        }
    }

    private void UpdateInterrupt() =>
        SetIntx((_csr[0] & InterruptEnable) != 0 && (_csr[0] & Causes & ~(_csr[3] & 0x5F00)) != 0);

    private void SetCause(ushort cause)
    {
        _csr[0] |= cause;
        UpdateInterrupt();
    }

    /// <summary>Reads the initialization block: mode, addresses, rings.</summary>
    private void Initialize()
    {
        Span<byte> block = stackalloc byte[28];
        if (IsWide)
        {
            _ = DmaSpace.Read(_initBlock, block);
            _csr[15] = BinaryPrimitives.ReadUInt16LittleEndian(block);
            _receiveCount = 1 << Math.Min(block[2] >> 4, 9);
            _transmitCount = 1 << Math.Min(block[3] >> 4, 9);
            SetAddresses(block[4..]);
            _receiveRing = BinaryPrimitives.ReadUInt32LittleEndian(block[20..]);
            _transmitRing = BinaryPrimitives.ReadUInt32LittleEndian(block[24..]);
        }
        else
        {
            var at = _initBlock & 0xFF_FFFF;
            _ = DmaSpace.Read(at, block[..24]);
            _csr[15] = BinaryPrimitives.ReadUInt16LittleEndian(block);
            SetAddresses(block[2..]);
            var receive = BinaryPrimitives.ReadUInt32LittleEndian(block[16..]);
            var transmit = BinaryPrimitives.ReadUInt32LittleEndian(block[20..]);
            (_receiveRing, _receiveCount) = (receive & 0xFF_FFF8, 1 << (int)(receive >> 29));
            (_transmitRing, _transmitCount) = (transmit & 0xFF_FFF8, 1 << (int)(transmit >> 29));
        }

        _csr[76] = (ushort)-_receiveCount;
        _csr[78] = (ushort)-_transmitCount;
        _receiveIndex = _transmitIndex = 0;
        _transmitLength = 0;
        _csr[0] |= Init | InitDone;
        _csr[0] &= unchecked((ushort)~Stop);
    }

    private void SetAddresses(ReadOnlySpan<byte> block)
    {
        for (var i = 0; i < 3; i++)
            _csr[12 + i] = BinaryPrimitives.ReadUInt16LittleEndian(block[(2 * i)..]);
        var filter = IsWide ? block[8..] : block[6..];
        for (var i = 0; i < 4; i++)
            _csr[8 + i] = BinaryPrimitives.ReadUInt16LittleEndian(filter[(2 * i)..]);
        if (Nic == null)
            return;
        Nic.Mac = MacAddress.Read(block);
        Nic.NoteFilterChange();
    }

    /// <summary>A descriptor whatever its style: address, bytes, status with the owner's bit on top.</summary>
    private (ulong At, uint Buffer, int Length, uint Status) ReadDescriptor(uint ring, int index)
    {
        Span<byte> d = stackalloc byte[16];
        if (!IsWide)
        {
            var at = ring + (uint)(8 * index);
            _ = DmaSpace.Read(at, d[..8]);
            var low = BinaryPrimitives.ReadUInt32LittleEndian(d);
            return (at, low & 0xFF_FFFF, 4096 - (BinaryPrimitives.ReadUInt16LittleEndian(d[4..]) & 0xFFF), low & 0xFF00_0000);
        }

        var place = ring + (uint)(16 * index);
        _ = DmaSpace.Read(place, d);
        var status = BinaryPrimitives.ReadUInt32LittleEndian(d[4..]);
        // Style 3 has the address behind the status and the count.
        var buffer = BinaryPrimitives.ReadUInt32LittleEndian(d[((_bcr[20] & 0xFF) == 3 ? 8 : 0)..]);
        return (place, buffer, 4096 - (int)(status & 0xFFF), status & 0xFFFF_0000);
    }

    /// <summary>Gives a descriptor back: the owner's bit goes last.</summary>
    private void WriteStatus(ulong at, uint status, int? received)
    {
        Span<byte> word = stackalloc byte[4];
        if (!IsWide)
        {
            if (received is { } n)
            {
                BinaryPrimitives.WriteUInt16LittleEndian(word, (ushort)n);
                _ = DmaSpace.Write(at + 6, word[..2]);
            }

            _ = DmaSpace.Write(at + 3, [(byte)(status >> 24)]);
            return;
        }

        if (received is { } count)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(word, (uint)count);
            _ = DmaSpace.Write(at + ((_bcr[20] & 0xFF) == 3 ? 0u : 8u), word);
        }

        BinaryPrimitives.WriteUInt16LittleEndian(word, (ushort)(status >> 16));
        _ = DmaSpace.Write(at + 6, word[..2]);
    }

    private void Transmit()
    {
        if (_isTransmitting || (_csr[0] & (TransmitOn | Start)) != (TransmitOn | Start) || !IsBusMaster)
            return;
        _isTransmitting = true;
        for (var n = 0; n < _transmitCount; n++)
        {
            var (at, buffer, length, status) = ReadDescriptor(_transmitRing, _transmitIndex);
            if ((status & Own) == 0)
                break;
            if ((status & First) != 0)
                _transmitLength = 0;
            length = Math.Min(length, _frame.Length - _transmitLength);
            _ = DmaSpace.Read(buffer, _frame.AsSpan(_transmitLength, length));
            if ((status & Last) != 0)
            {
                if (!TrySend(_frame.AsSpan(0, _transmitLength + length)))
                    break;
                _transmitLength = 0;
                _csr[0] |= TransmitDone;
            }
            else
                _transmitLength += length;
            WriteStatus(at, status & ~(Own | Failed), null);
            _transmitIndex = (_transmitIndex + 1) % _transmitCount;
        }

        _isTransmitting = false;
        UpdateInterrupt();
    }

    private bool TrySend(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 14)
            return true;
        if ((_csr[15] & ModeLoopback) != 0)
        {
            _ = Receive(frame, default);
            return true;
        }

        if (Nic == null || Nic.Send(frame, default))
            return true;
        _isStalled = true;
        return false;
    }

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if ((_csr[0] & (ReceiveOn | Start)) != (ReceiveOn | Start) || !IsBusMaster || frame.Length < 14 || frame.Length > MaxFrame - CrcLength || !Passes(frame))
            return true;
        var left = Math.Max(frame.Length, LeastFrame) + CrcLength;
        var total = left;
        // All descriptors of the frame have to be there before the first is used.
        var (needed, room) = (0, 0);
        while (room < left)
        {
            var (_, _, size, status) = ReadDescriptor(_receiveRing, (_receiveIndex + needed) % _receiveCount);
            // Nothing is missed: the frame waits with the sender until the driver gives buffers back.
            if ((status & Own) == 0 || ++needed > _receiveCount)
            {
                _retry.Arm(_clock.Now + RetryNanoseconds);
                return false;
            }

            room += size;
        }

        Span<byte> padding = stackalloc byte[LeastFrame + CrcLength];
        padding.Clear();
        var done = 0;
        for (var i = 0; i < needed; i++)
        {
            var (at, buffer, size, status) = ReadDescriptor(_receiveRing, _receiveIndex);
            var part = Math.Min(size, left);
            var bytes = Math.Min(part, Math.Max(frame.Length - done, 0));
            _ = DmaSpace.Write(buffer, frame.Slice(Math.Min(done, frame.Length), bytes));
            if (part > bytes)
                _ = DmaSpace.Write(buffer + (uint)bytes, padding[..(part - bytes)]);
            done += part;
            left -= part;
            status &= ~(Own | Failed | First | Last | BufferError);
            if (i == 0)
                status |= First;
            if (left == 0)
                status |= Last;
            WriteStatus(at, status, left == 0 ? total : 0);
            _receiveIndex = (_receiveIndex + 1) % _receiveCount;
        }

        SetCause(ReceiveDone);
        return true;
    }

    private bool Passes(ReadOnlySpan<byte> frame)
    {
        if ((_csr[15] & ModePromiscuous) != 0)
            return true;
        var to = MacAddress.Read(frame);
        if (to == MacAddress.Broadcast)
            return (_csr[15] & ModeNoBroadcast) == 0;
        if (!to.IsGroup)
        {
            return BinaryPrimitives.ReadUInt16LittleEndian(frame) == _csr[12] && BinaryPrimitives.ReadUInt16LittleEndian(frame[2..]) == _csr[13]
                && BinaryPrimitives.ReadUInt16LittleEndian(frame[4..]) == _csr[14];
        }

        var hash = (int)(EthernetCrc.Raw(frame[..MacAddress.Length]) >> 26);
        return (_csr[8 + (hash >> 4)] & (1 << (hash & 15))) != 0;
    }
}
