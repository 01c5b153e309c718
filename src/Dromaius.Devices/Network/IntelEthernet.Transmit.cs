using System.Buffers.Binary;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <content>Transmit descriptors: legacy, context and data (section 3.3).</content>
public abstract partial class IntelEthernet
{
    private const uint TctlEnable = 2;
    private const byte CmdEnd = 1, CmdChecksum = 4, CmdSegment = 4, CmdReport = 8, CmdReportPacket = 0x10, CmdExtended = 0x20, CmdVlan = 0x40;
    private const byte OptionIp = 1, OptionTransport = 2, StatusDone = 1;
    private const int VlanTag = 4;

    private readonly byte[] _frame = new byte[NetEndpoint.MaxFrame + 64];
    private TransmitContext _context, _segmentContext;
    private int _frameLength;
    private bool _tooLong, _first = true, _segmenting, _isStalled, _isTransmitting;
    private byte _options;
    private byte _legacyStart, _legacyOffset;
    private bool _legacyChecksum;
    private int _vlan;

    /// <summary>What a context descriptor sets for the packets after it.</summary>
    private readonly record struct TransmitContext(byte IpStart, byte IpOffset, ushort IpEnd, byte Start, byte Offset, ushort End, int Payload, byte HeaderLength,
        ushort SegmentSize, bool IsIpv4, bool IsTcp);

    private void ResetTransmit()
    {
        _context = _segmentContext = default;
        StartFrame();
        _isStalled = false;
    }

    private void StartFrame()
    {
        _frameLength = 0;
        _tooLong = _segmenting = _legacyChecksum = false;
        _first = true;
        _options = 0;
        _vlan = -1;
    }

    /// <summary>Sends what the driver has put into the ring.</summary>
    protected void Transmit()
    {
        if (_isTransmitting || (Register(Tctl) & TctlEnable) == 0 || !IsBusMaster)
            return;
        _isTransmitting = true;
        var ring = Register(Tdbal) | ((ulong)Register(Tdbah) << 32);
        var count = Register(Tdlen) / DescriptorSize;
        var causes = 0u;
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        // Once round at most: a tail beyond the ring is never reached.
        for (var done = 0u; done < count && Register(Tdh) != Register(Tdt); done++)
        {
            if (Register(Tdh) >= count)
            {
                Register(Tdh) = 0;
                break;
            }

            var at = ring + (ulong)(Register(Tdh) * DescriptorSize);
            _ = DmaSpace.Read(at, descriptor);
            if (!_isStalled)
                Take(descriptor);
            var end = (descriptor[11] & CmdEnd) != 0 && !IsContext(descriptor);
            if (end && !TrySendFrame())
            {
                _isStalled = true;
                break;
            }

            if (end)
                StartFrame();
            _isStalled = false;
            if ((descriptor[11] & (CmdReport | CmdReportPacket)) != 0)
            {
                _ = DmaSpace.Write(at + 12, [(byte)(descriptor[12] | StatusDone)]);
                causes |= CauseTxWritten;
            }

            Register(Tdh) = Register(Tdh) + 1 >= count ? 0 : Register(Tdh) + 1;
            causes |= CauseTxEmpty;
        }

        _isTransmitting = false;
        if (causes != 0)
            OnTransmitted(Register(Tdh) == Register(Tdt) ? causes : causes & ~CauseTxEmpty);
    }

    /// <summary>Descriptors were worked off.</summary>
    protected virtual void OnTransmitted(uint causes) => SetCause(causes);

    private static bool IsContext(ReadOnlySpan<byte> descriptor) => (descriptor[11] & CmdExtended) != 0 && (descriptor[10] & 0xF0) == 0;

    private void Take(ReadOnlySpan<byte> d)
    {
        var command = d[11];
        if (IsContext(d))
        {
            var context = new TransmitContext(d[0], d[1], BinaryPrimitives.ReadUInt16LittleEndian(d[2..]), d[4], d[5], BinaryPrimitives.ReadUInt16LittleEndian(d[6..]),
                (int)(BinaryPrimitives.ReadUInt32LittleEndian(d[8..]) & 0xF_FFFF), d[13], BinaryPrimitives.ReadUInt16LittleEndian(d[14..]), (command & 2) != 0, (command & 1) != 0);
            // Contexts for segmenting and for checksums are kept apart.
            if ((command & CmdSegment) != 0)
                _segmentContext = context;
            else
                _context = context;
            return;
        }

        var extended = (command & CmdExtended) != 0;
        if (_first)
        {
            _segmenting = extended && (command & CmdSegment) != 0;
            _options = extended ? d[13] : (byte)0;
            _first = false;
        }

        if (!extended && (command & CmdChecksum) != 0)
        {
            _legacyChecksum = true;
            (_legacyOffset, _legacyStart) = (d[10], d[13]);
        }

        var address = BinaryPrimitives.ReadUInt64LittleEndian(d);
        var length = (int)(BinaryPrimitives.ReadUInt32LittleEndian(d[8..]) & (extended ? 0xF_FFFFu : 0xFFFF));
        if (_frameLength + length > _frame.Length - VlanTag)
        {
            _tooLong = true;
            length = 0;
        }

        _ = DmaSpace.Read(address, _frame.AsSpan(_frameLength, length));
        _frameLength += length;
        if ((command & (CmdEnd | CmdVlan)) == (CmdEnd | CmdVlan) && (Register(Ctrl) & CtrlVlan) != 0)
            _vlan = BinaryPrimitives.ReadUInt16LittleEndian(d[14..]);
    }

    /// <summary>Sends the collected frame; false while the far end has no room.</summary>
    private bool TrySendFrame()
    {
        if (_tooLong || _frameLength < 14)
        {
            GuestError($"frame of {_frameLength} bytes");
            return true;
        }

        var offload = _isStalled ? _stalledOffload : Prepare();
        var frame = _frame.AsSpan(0, _frameLength);
        if (IsPhyLoopback)
            _ = Receive(frame, default);
        else if (IsLinkUp && Nic is { } nic && !nic.Send(frame, offload))
        {
            _stalledOffload = offload;
            return false;
        }

        Count(Gptc, Tpt, Gotcl, Totl, _frameLength + 4);
        return true;
    }

    private FrameOffload _stalledOffload;

    /// <summary>Works out checksums, or says what is left to do.</summary>
    private FrameOffload Prepare()
    {
        var frame = _frame.AsSpan(0, _frameLength);
        var offload = default(FrameOffload);
        if (_segmenting)
            offload = PrepareSegments(frame);
        else
        {
            if (_legacyChecksum && _legacyOffset + 2 <= frame.Length && _legacyStart < frame.Length)
            {
                frame.Slice(_legacyOffset, 2).Clear();
                BinaryPrimitives.WriteUInt16BigEndian(frame[_legacyOffset..], Checksum.Of(frame[_legacyStart..]));
            }

            if ((_options & OptionIp) != 0)
                FillIn(frame, _context.IpStart, _context.IpOffset, _context.IpEnd);
            if ((_options & OptionTransport) != 0)
            {
                var c = _context;
                if (c.End == 0 && c.Offset > c.Start)
                    offload = new FrameOffload { NeedsChecksum = true, ChecksumStart = c.Start, ChecksumOffset = (ushort)(c.Offset - c.Start) };
                else
                    FillIn(frame, c.Start, c.Offset, c.End);
            }
        }

        if (_vlan < 0)
            return offload;
        // The tag goes behind the addresses.
        frame[12..].CopyTo(_frame.AsSpan(12 + VlanTag));
        BinaryPrimitives.WriteUInt16BigEndian(_frame.AsSpan(12), (ushort)(Register(Vet) is 0 ? 0x8100 : Register(Vet)));
        BinaryPrimitives.WriteUInt16BigEndian(_frame.AsSpan(14), (ushort)_vlan);
        _frameLength += VlanTag;
        return offload with
        {
            ChecksumStart = (ushort)(offload.NeedsChecksum ? offload.ChecksumStart + VlanTag : 0),
            HeaderLength = (ushort)(offload.HeaderLength > 0 ? offload.HeaderLength + VlanTag : 0),
        };
    }

    /// <summary>The checksum from one place on, in another, over what stands there already.</summary>
    private static void FillIn(Span<byte> frame, int start, int offset, int last)
    {
        var end = last == 0 || last >= frame.Length ? frame.Length : last + 1;
        if (start >= end || offset + 2 > frame.Length)
            return;
        // The field itself holds what the driver summed beforehand.
        BinaryPrimitives.WriteUInt16BigEndian(frame[offset..], Checksum.Of(frame[start..end]));
    }

    /// <summary>A large packet: its headers are made to say what it is before it is cut.</summary>
    private FrameOffload PrepareSegments(Span<byte> frame)
    {
        var c = _segmentContext;
        int network = c.IpStart, transport = c.Start;
        if (!c.IsTcp || c.HeaderLength > frame.Length || transport + 20 > frame.Length || network + 20 > transport || c.Offset != transport + 16)
            return default;
        return Segmenter.Prepare(frame, network, transport, c.HeaderLength, c.SegmentSize);
    }
}
