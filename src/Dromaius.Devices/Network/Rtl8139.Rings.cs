using System.Buffers.Binary;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <content>The receive ring and transmit buffers, and the descriptors of C+ mode.</content>
public sealed partial class Rtl8139
{
    private const uint DescriptorOwn = 1u << 31, DescriptorEnd = 1u << 30, DescriptorFirst = 1u << 29, DescriptorLast = 1u << 28;
    private const uint CplusLargeSend = 1u << 27, CplusIp = 1u << 18, CplusUdp = 1u << 17, CplusTcp = 1u << 16, CplusTag = 1u << 17;
    private const long RetryNanoseconds = 200_000;
    private const int CplusDescriptor = 16, MaxDescriptors = 64;

    private int _ringIndex, _txIndex, _rxIndex, _cplusIndex, _cplusLength;
    private uint _cplusFlags;
    private bool _isTransmitting;

    private int RingSize => 8192 << (int)((Dword(Rcr) >> 11) & 3);

    private bool IsCplusReceive => (Word(CplusCommand) & CplusReceive) != 0;

    /// <summary>Where the driver reads next: its register is 16 behind the place it means.</summary>
    private int ReadPointer => (Word(Capr) + 16) % RingSize;

    private bool IsRingEmpty => ReadPointer == _ringIndex % RingSize;

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (!IsReceiving || !IsBusMaster || frame.Length < 14 || frame.Length > 16384 || !Passes(frame))
            return true;
        return IsCplusReceive ? ReceiveCplus(frame, offload) : ReceiveRing(frame);
    }

    private bool ReceiveRing(ReadOnlySpan<byte> frame)
    {
        const int Head = 4;
        var size = RingSize;
        var length = Math.Max(frame.Length, LeastFrame) + CrcLength;
        var used = (_ringIndex - ReadPointer + size) % size;
        // One byte stays free: full and empty would be the same.
        if (used + length + Head + 4 >= size)
            return false;

        Span<byte> head = stackalloc byte[Head];
        var to = MacAddress.Read(frame);
        var status = 1 | (to == MacAddress.Broadcast ? 0x2000 : to.IsGroup ? 0x8000 : 0x4000);
        BinaryPrimitives.WriteUInt16LittleEndian(head, (ushort)status);
        BinaryPrimitives.WriteUInt16LittleEndian(head[2..], (ushort)length);
        var start = _ringIndex;
        Put(head, size, wraps: true);
        // With the wrap bit the packet may run beyond the ring's end, into room that the driver keeps there.
        var wraps = (Dword(Rcr) & RcrWrap) == 0 || size == 65536;
        Put(frame, size, wraps);
        Span<byte> rest = stackalloc byte[LeastFrame + CrcLength];
        rest.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(rest[(length - CrcLength - frame.Length)..], EthernetCrc.Little(frame));
        Put(rest[..(length - frame.Length)], size, wraps);
        _ringIndex = (start + Head + length + 3) & ~3;
        if (_ringIndex >= size)
            _ringIndex %= size;
        SetStatus(IsrRxOk);
        return true;
    }

    private void Put(ReadOnlySpan<byte> bytes, int size, bool wraps)
    {
        var first = wraps ? Math.Min(bytes.Length, Math.Max(size - _ringIndex, 0)) : bytes.Length;
        _ = DmaSpace.Write(Dword(RbStart) + (uint)_ringIndex, bytes[..first]);
        if (first < bytes.Length)
            _ = DmaSpace.Write(Dword(RbStart), bytes[first..]);
        _ringIndex += bytes.Length;
        if (wraps && _ringIndex >= size)
            _ringIndex -= size;
    }

    private bool ReceiveCplus(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        var at = Qword(RdsarLow) + (ulong)(_rxIndex * CplusDescriptor);
        Span<byte> descriptor = stackalloc byte[CplusDescriptor];
        _ = DmaSpace.Read(at, descriptor);
        var control = BinaryPrimitives.ReadUInt32LittleEndian(descriptor);
        if ((control & DescriptorOwn) == 0)
        {
            // C+ drivers say nothing when they add buffers: they have to be told to look.
            SetStatus(IsrRxUnavailable);
            _timerRetry.Arm(_clock.Now + RetryNanoseconds);
            return false;
        }

        var tag = 0u;
        if ((Word(CplusCommand) & CplusVlan) != 0 && frame.Length >= 18 && frame[12] == 0x81 && frame[13] == 0)
        {
            tag = 1u << 16 | (uint)((frame[15] << 8) | frame[14]);
            frame[..12].CopyTo(_receive);
            frame[16..].CopyTo(_receive.AsSpan(12));
            frame = _receive.AsSpan(0, frame.Length - 4);
        }

        var length = Math.Max(frame.Length, LeastFrame);
        var room = (int)(control & 0x1FFF);
        if (length + CrcLength > room)
        {
            // A frame that no buffer takes whole is lost.
            SetStatus(IsrRxUnavailable);
            return true;
        }

        var checks = CheckSums(frame, offload);
        var buffer = BinaryPrimitives.ReadUInt64LittleEndian(descriptor[8..]);
        _ = DmaSpace.Write(buffer, frame);
        Span<byte> rest = stackalloc byte[LeastFrame + CrcLength];
        rest.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(rest[(length - frame.Length)..], EthernetCrc.Little(frame));
        _ = DmaSpace.Write(buffer + (uint)frame.Length, rest[..(length - frame.Length + CrcLength)]);
        var to = MacAddress.Read(frame);
        var status = (control & DescriptorEnd) | DescriptorFirst | DescriptorLast | (uint)(length + CrcLength)
            | checks | (to == MacAddress.Broadcast ? 1u << 25 : to.IsGroup ? 1u << 27 : 1u << 26);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[4..], tag);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor, status);
        _ = DmaSpace.Write(at + 4, descriptor[4..8]);
        _ = DmaSpace.Write(at, descriptor[..4]);
        _rxIndex = (control & DescriptorEnd) != 0 || _rxIndex + 1 >= MaxDescriptors ? 0 : _rxIndex + 1;
        SetStatus(IsrRxOk);
        return true;
    }

    /// <summary>Which protocol's checksums were looked at, and which were wrong.</summary>
    private uint CheckSums(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        const uint Tcp = 1u << 16, Udp = 2u << 16, Ip = 3u << 16, IpFailed = 1u << 15, UdpFailed = 1u << 14, TcpFailed = 1u << 13;
        if ((Word(CplusCommand) & CplusChecksum) == 0 || FrameHeaders.Parse(frame) is not { IsIpv4: true } headers)
            return 0;
        var status = headers.IsIpv4Good(frame) ? 0 : IpFailed;
        if (!headers.HasTransportChecksum(frame))
            return status | Ip;
        var good = offload.DataValid || headers.IsTransportGood(frame);
        return status | (headers.HasTcp ? Tcp | (good ? 0 : TcpFailed) : Udp | (good ? 0 : UdpFailed));
    }

    private readonly byte[] _receive = new byte[16384];

    private void WriteTransmitStatus(int index, uint value)
    {
        // Ownership comes back to the driver with the status.
        Set32(Tsd0 + (4 * index), (value & 0x003F_1FFF) | (value & TsdOwn));
        if ((Reg(Cr) & CmdTransmit) != 0 && (value & TsdOwn) == 0)
            TransmitAll();
    }

    private void TransmitAll()
    {
        // Not again from within: a looped frame may be received into our own registers.
        if (_isTransmitting)
            return;
        _isTransmitting = true;
        for (var i = 0; i < 4 && !_isStalled; i++)
        {
            var status = Dword(Tsd0 + (4 * _txIndex));
            if ((status & (TsdOwn | TsdOk)) != 0)
                break;
            var length = (int)(status & 0x1FFF);
            if (IsBusMaster)
                _ = DmaSpace.Read(Dword(Tsad0 + (4 * _txIndex)), _frame.AsSpan(0, length));
            if (!TrySend(_frame.AsSpan(0, length), default))
                break;
            Set32(Tsd0 + (4 * _txIndex), status | TsdOwn | TsdOk);
            _txIndex = (_txIndex + 1) & 3;
            SetStatus(IsrTxOk);
        }

        _isTransmitting = false;
        if (!_isStalled && (Word(CplusCommand) & CplusTransmit) != 0)
            TransmitCplus();
    }

    private bool TrySend(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if ((Dword(Tcr) & TcrLoopback) == TcrLoopback)
        {
            _ = Receive(frame, default);
            return true;
        }

        if (Nic == null || frame.Length < 14 || Nic.Send(frame, offload))
            return true;
        _isStalled = true;
        return false;
    }

    private void TransmitCplus()
    {
        if (_isTransmitting || (Reg(Cr) & CmdTransmit) == 0 || (Word(CplusCommand) & CplusTransmit) == 0 || !IsBusMaster)
            return;
        _isTransmitting = true;
        Span<byte> descriptor = stackalloc byte[CplusDescriptor];
        var sent = false;
        // Bounded: a ring whose descriptors come back as fast as they are taken must not hold the machine.
        for (var n = 0; n < 4 * MaxDescriptors; n++)
        {
            var at = Qword(TnpdsLow) + (ulong)(_cplusIndex * CplusDescriptor);
            _ = DmaSpace.Read(at, descriptor);
            var control = BinaryPrimitives.ReadUInt32LittleEndian(descriptor);
            if ((control & DescriptorOwn) == 0)
                break;
            if ((control & DescriptorFirst) != 0)
                (_cplusLength, _cplusFlags) = (0, control);
            var length = (int)Math.Min(control & 0xFFFF, (uint)(_frame.Length - _cplusLength));
            _ = DmaSpace.Read(BinaryPrimitives.ReadUInt64LittleEndian(descriptor[8..]), _frame.AsSpan(_cplusLength, length));
            if ((control & DescriptorLast) != 0)
            {
                var frame = _frame.AsSpan(0, _cplusLength + length);
                var offload = Prepare(frame);
                if (!TrySend(Tag(frame, BinaryPrimitives.ReadUInt32LittleEndian(descriptor[4..]), ref offload), offload))
                {
                    // The last piece is read again when there is room.
                    break;
                }

                _cplusLength = 0;
            }
            else
                _cplusLength += length;
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor, control & ~DescriptorOwn);
            _ = DmaSpace.Write(at, descriptor[..4]);
            _cplusIndex = (control & DescriptorEnd) != 0 || _cplusIndex + 1 >= MaxDescriptors ? 0 : _cplusIndex + 1;
            sent = true;
        }

        _isTransmitting = false;
        if (sent)
            SetStatus(IsrTxOk | IsrDescriptors);
    }

    /// <summary>The frame with the tag that the descriptor holds behind its addresses.</summary>
    private ReadOnlySpan<byte> Tag(ReadOnlySpan<byte> frame, uint tag, ref FrameOffload offload)
    {
        const int TagLength = 4;
        if ((tag & CplusTag) == 0 || frame.Length is < 14 or > NetEndpoint.MaxFrame - TagLength)
            return frame;
        var tagged = _tagged.AsSpan(0, frame.Length + TagLength);
        frame[..12].CopyTo(tagged);
        frame[12..].CopyTo(tagged[(12 + TagLength)..]);
        (tagged[12], tagged[13], tagged[14], tagged[15]) = (0x81, 0, (byte)tag, (byte)(tag >> 8));
        if (offload.NeedsChecksum)
        {
            offload = offload with
            {
                ChecksumStart = (ushort)(offload.ChecksumStart + TagLength),
                HeaderLength = (ushort)(offload.HeaderLength > 0 ? offload.HeaderLength + TagLength : 0),
            };
        }

        return tagged;
    }

    private readonly byte[] _tagged = new byte[NetEndpoint.MaxFrame];

    /// <summary>Checksums that the first descriptor asks for, and segments.</summary>
    private FrameOffload Prepare(Span<byte> frame)
    {
        var length = frame.Length;
        if (length < 34 || frame[12] != 8 || frame[13] != 0)
            return default;
        var header = (frame[14] & 15) * 4;
        var transport = 14 + header;
        if (header < 20 || transport + 20 > length)
            return default;
        var segment = (int)(_cplusFlags >> 16) & 0x7FF;
        var isLarge = (_cplusFlags & CplusLargeSend) != 0 && frame[23] == 6 && segment > 0;
        if (isLarge || (_cplusFlags & CplusIp) != 0)
        {
            if (isLarge)
                BinaryPrimitives.WriteUInt16BigEndian(frame[16..], (ushort)(length - 14));
            frame.Slice(24, 2).Clear();
            BinaryPrimitives.WriteUInt16BigEndian(frame[24..], Checksum.Of(frame.Slice(14, header)));
        }

        var isTcp = frame[23] == 6 && (isLarge || (_cplusFlags & CplusTcp) != 0);
        var isUdp = frame[23] == 17 && !isLarge && (_cplusFlags & CplusUdp) != 0;
        if (!isTcp && !isUdp)
            return default;
        var offset = isTcp ? 16 : 6;
        var total = Math.Min(BinaryPrimitives.ReadUInt16BigEndian(frame[16..]) - header, length - transport);
        if (total < offset + 2)
            return default;
        BinaryPrimitives.WriteUInt16BigEndian(frame[(transport + offset)..], Checksum.Fold(Checksum.PseudoHeader(frame.Slice(26, 8), frame[23], total)));
        return new FrameOffload
        {
            NeedsChecksum = true,
            ChecksumStart = (ushort)transport,
            ChecksumOffset = (ushort)offset,
            Kind = isLarge ? SegmentKind.Tcp4 : SegmentKind.None,
            SegmentSize = (ushort)(isLarge ? segment : 0),
            HeaderLength = (ushort)(isLarge ? transport + ((frame[transport + 12] >> 4) * 4) : 0),
        };
    }
}
