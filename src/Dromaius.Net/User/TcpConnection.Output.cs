using System.Buffers.Binary;

namespace Dromaius.Net.User;

/// <content>Segments to the guest.</content>
internal sealed partial class TcpConnection
{
    private const int MaxBurst = 65000;

    /// <summary>Sends what the guest's window allows, then the end of the stream, then an acknowledgement if one is owed.</summary>
    private void Output()
    {
        var most = MaxPayload();
        while (true)
        {
            var offset = (int)(_sendNext - _sendUnacked);
            var left = _toGuest.Count - offset;
            var room = (int)Math.Min((long)_sendWindow - offset, int.MaxValue);
            var length = Math.Min(left, Math.Min(room, most));
            if (length <= 0)
                break;
            // A sliver of a window is not worth a segment while others are on their way.
            if (length < _mss && length < left && offset > 0)
                break;
            if (!SendData(offset, length))
                return;
            if (_timedSince < 0 && _sendNext == _sendMax)
                (_timedSince, _timedSequence) = (_stack.Now, _sendNext + (uint)length);
            _sendNext += (uint)length;
            NoteSent();
        }

        if (_hostEnded && _sendNext == EndOfStream)
        {
            if (!SendControl(_sendNext, TcpFlags.Fin | TcpFlags.Ack))
                return;
            _sendNext++;
            NoteSent();
        }

        // A closed window is probed.
        if (_sendUnacked == _sendMax && _toGuest.Count > 0 && Deadline == long.MaxValue)
            ArmTimer();
        if (_ackNow)
            SendAck();
    }

    private void NoteSent()
    {
        if (Less(_sendMax, _sendNext))
            _sendMax = _sendNext;
        if (Deadline == long.MaxValue)
            ArmTimer();
    }

    /// <summary>Bytes of one frame: a segment, or many of them that the guest's side takes as one.</summary>
    private int MaxPayload()
    {
        var wanted = OffloadFeatures.Checksum | (IsIpv6 ? OffloadFeatures.Tcp6 : OffloadFeatures.Tcp4);
        return (_stack.Accepts & wanted) == wanted ? MaxBurst / _mss * _mss : _mss;
    }

    private void SendSyn()
    {
        var flags = _phase == Phase.SynSent ? TcpFlags.Syn : TcpFlags.Syn | TcpFlags.Ack;
        Span<byte> options = stackalloc byte[8];
        options[0] = 2;
        options[1] = 4;
        BinaryPrimitives.WriteUInt16BigEndian(options[2..], (ushort)DefaultMss);
        options[4] = 1;
        options[5] = 3;
        options[6] = 3;
        options[7] = WindowScale;
        var first = _sendUnacked;
        _sendNext = _sendMax = first + 1;
        _ = Send(first, flags, _receiveScale > 0 ? options : options[..4], 0, 0);
    }

    private bool SendControl(uint sequence, TcpFlags flags) => Send(sequence, flags, default, 0, 0);

    private void SendAck()
    {
        if (_phase == Phase.Established)
            _ = SendControl(_sendNext, TcpFlags.Ack);
    }

    private void SendReset() => _ = SendControl(_sendNext, _phase == Phase.SynSent ? TcpFlags.Rst : TcpFlags.Rst | TcpFlags.Ack);

    private bool SendData(int offset, int length)
    {
        var last = offset + length == _toGuest.Count;
        return Send(_sendUnacked + (uint)offset, last ? TcpFlags.Ack | TcpFlags.Psh : TcpFlags.Ack, default, offset, length);
    }

    /// <summary>The window to advertise; what was promised stays promised.</summary>
    private ushort TakeWindow(bool opening)
    {
        if (opening)
            return (ushort)Math.Min(65535, _toHost.Limit);
        var most = Math.Min((uint)_toHost.Limit, 65535u << _receiveScale);
        var window = Math.Min((uint)_toHost.Free, most);
        var promised = _advertised - _receiveNext;
        if ((int)promised > 0 && window < promised)
            window = promised;
        window = window >> _receiveScale << _receiveScale;
        if (Less(_advertised, _receiveNext + window))
            _advertised = _receiveNext + window;
        return (ushort)(window >> _receiveScale);
    }

    /// <summary>Writes one frame; false when there is no room for it.</summary>
    private bool Send(uint sequence, TcpFlags flags, ReadOnlySpan<byte> options, int offset, int length)
    {
        // Nobody knows yet where the guest is: the time-out tries again.
        if (_stack.FindMac(Key.Guest) is not { } mac)
            return true;
        var header = Protocol.TcpHeader + options.Length;
        if (_stack.Rent(Protocol.EthernetHeader + Protocol.Ipv6Header + header + length) is not { } buffer)
        {
            _layer.MarkDirty(this);
            return false;
        }

        var frame = buffer.AsSpan();
        var at = _stack.WriteHeaders(frame, Key.Remote, Key.Guest, mac, Protocol.Tcp, header + length);
        var tcp = frame.Slice(at, header + length);
        BinaryPrimitives.WriteUInt16BigEndian(tcp, Key.RemotePort);
        BinaryPrimitives.WriteUInt16BigEndian(tcp[2..], Key.GuestPort);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], sequence);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[8..], (flags & TcpFlags.Ack) != 0 ? _receiveNext : 0);
        tcp[12] = (byte)(header / 4 << 4);
        tcp[13] = (byte)flags;
        BinaryPrimitives.WriteUInt16BigEndian(tcp[14..], TakeWindow((flags & TcpFlags.Syn) != 0));
        BinaryPrimitives.WriteUInt32BigEndian(tcp[16..], 0);
        options.CopyTo(tcp[Protocol.TcpHeader..]);
        if (length > 0)
            _toGuest.CopyTo(offset, tcp[header..]);
        if ((flags & TcpFlags.Ack) != 0)
            _ackNow = false;

        var pseudo = Checksum.PseudoHeader(UserStack.AddressesOf(frame, at), Protocol.Tcp, tcp.Length);
        if ((_stack.Accepts & OffloadFeatures.Checksum) == 0)
        {
            BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], (ushort)~Checksum.Fold(Checksum.Add(pseudo, tcp)));
            _stack.AddPadded(buffer, at + tcp.Length);
            return true;
        }

        // The rest of the sum is the guest's, if it ever cares.
        BinaryPrimitives.WriteUInt16BigEndian(tcp[16..], Checksum.Fold(pseudo));
        _stack.Out.Add(buffer, at + tcp.Length, new FrameOffload
        {
            NeedsChecksum = true,
            ChecksumStart = (ushort)at,
            ChecksumOffset = 16,
            Kind = length <= _mss ? SegmentKind.None : IsIpv6 ? SegmentKind.Tcp6 : SegmentKind.Tcp4,
            SegmentSize = (ushort)(length <= _mss ? 0 : _mss),
            HeaderLength = (ushort)(length <= _mss ? 0 : at + header),
        });
        return true;
    }
}
