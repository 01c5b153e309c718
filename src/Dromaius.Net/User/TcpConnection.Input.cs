namespace Dromaius.Net.User;

/// <content>Segments from the guest (RFC 9293, section 3.10.7).</content>
internal sealed partial class TcpConnection
{
    private const int MaxEarly = 64;

    public void Input(in TcpSegment segment)
    {
        switch (_phase)
        {
            case Phase.Connecting:
                if (segment.Has(TcpFlags.Rst) && segment.Sequence == _receiveNext)
                    Close(abort: true);
                return;
            case Phase.SynSent:
                InputSynSent(segment);
                return;
            case Phase.Closed:
                return;
        }

        var data = segment.Data;
        var sequence = segment.Sequence;
        if (segment.Has(TcpFlags.Rst))
        {
            // A reset counts only at the very place; nearby the guest is asked to say it again (RFC 5961).
            if (sequence == _receiveNext)
                Close(abort: true);
            else if (!Less(sequence, _receiveNext) && Less(sequence, _advertised))
                SendAck();
            return;
        }

        if (segment.Has(TcpFlags.Syn))
        {
            if (_phase == Phase.SynReceived && sequence + 1 == _receiveNext)
                SendSyn();
            else
                SendAck();
            return;
        }

        if (!segment.Has(TcpFlags.Ack))
            return;
        var fin = segment.Has(TcpFlags.Fin);
        if (Less(sequence, _receiveNext))
        {
            // Sent before: what is new may follow.
            var old = _receiveNext - sequence;
            if (old > data.Length || (old == data.Length && !fin))
            {
                _ackNow |= data.Length > 0 || fin || sequence + 1 == _receiveNext;
                data = default;
                fin = false;
            }
            else
                data = data[(int)old..];
            sequence = _receiveNext;
        }

        if (!TakeAck(segment))
            return;
        if (_guestEnded)
        {
            if (data.Length > 0 || segment.Has(TcpFlags.Fin))
                _ackNow = true;
        }
        else if (data.Length > 0 || fin)
            TakeData(sequence, data, fin);
        _layer.MarkDirty(this);
    }

    private void InputSynSent(in TcpSegment segment)
    {
        if (segment.Has(TcpFlags.Ack) && segment.Acknowledged != _sendMax)
        {
            if (!segment.Has(TcpFlags.Rst))
                _layer.SendReset(Key, segment);
            return;
        }

        if (segment.Has(TcpFlags.Rst))
        {
            if (segment.Has(TcpFlags.Ack))
                Close(abort: true);
            return;
        }

        if ((segment.Flags & (TcpFlags.Syn | TcpFlags.Ack)) != (TcpFlags.Syn | TcpFlags.Ack))
            return;
        _receiveNext = segment.Sequence + 1;
        TakeOptions(segment);
        _sendUnacked = _sendNext = segment.Acknowledged;
        _sendWindow = segment.Window;
        Establish(segment);
        _ackNow = true;
        _layer.MarkDirty(this);
    }

    private void Establish(in TcpSegment segment)
    {
        _phase = Phase.Established;
        _retries = 0;
        _timeout = FirstTimeout;
        Deadline = long.MaxValue;
        (_windowSequence, _windowAck) = (segment.Sequence, segment.Acknowledged);
        _advertised = _receiveNext + (uint)(_receiveScale == 0 ? Math.Min(65535, _toHost.Limit) : _toHost.Limit);
    }

    /// <summary>Takes the acknowledgement and the window; false if the segment is to be dropped.</summary>
    private bool TakeAck(in TcpSegment segment)
    {
        var ack = segment.Acknowledged;
        if (_phase == Phase.SynReceived)
        {
            if (ack != _sendMax)
            {
                _layer.SendReset(Key, segment);
                return false;
            }

            _sendUnacked = _sendNext = ack;
            _sendWindow = (uint)segment.Window << _sendScale;
            Establish(segment);
            return true;
        }

        if (Less(_sendMax, ack))
        {
            SendAck();
            return false;
        }

        var window = (uint)segment.Window << _sendScale;
        if (Less(_sendUnacked, ack))
            Advance(ack);
        else if (ack == _sendUnacked && segment.Data.IsEmpty && window == _sendWindow && _sendMax != _sendUnacked && !segment.Has(TcpFlags.Fin))
            OnDuplicateAck();
        if (Less(_windowSequence, segment.Sequence) || (_windowSequence == segment.Sequence && !Less(ack, _windowAck)))
        {
            // An answer to a probe shows that the guest lives.
            if (window == 0)
                _retries = 0;
            (_sendWindow, _windowSequence, _windowAck) = (window, segment.Sequence, ack);
        }

        return true;
    }

    /// <summary>The guest has everything before a place.</summary>
    private void Advance(uint ack)
    {
        var acked = ack - _sendUnacked;
        var bytes = (int)Math.Min(acked, (uint)_toGuest.Count);
        _toGuest.Consume(bytes);
        _sendUnacked = ack;
        if (Less(_sendNext, ack))
            _sendNext = ack;
        _retries = 0;
        _duplicates = 0;
        if (_timedSince >= 0 && !Less(ack, _timedSequence))
        {
            Measure(_stack.Now - _timedSince);
            _timedSince = -1;
        }
        else if (_smoothed >= 0)
            SetTimeout();
        if (_recovering)
        {
            if (Less(ack, _recover))
                Resend();
            else
                _recovering = false;
        }

        if (_sendUnacked == _sendMax)
            Deadline = long.MaxValue;
        else
            ArmTimer();
    }

    private void OnDuplicateAck()
    {
        const int Threshold = 3;
        if (++_duplicates != Threshold || _recovering)
            return;
        _recovering = true;
        _recover = _sendMax;
        _timedSince = -1;
        Resend();
    }

    /// <summary>Sends the first segment that is not acknowledged again.</summary>
    private void Resend()
    {
        if (_toGuest.Count > 0)
            _ = SendData(0, Math.Min(_mss, _toGuest.Count));
        else if (_hostEnded)
            SendControl(EndOfStream, TcpFlags.Fin | TcpFlags.Ack);
        ArmTimer();
    }

    private void Measure(long sample)
    {
        if (_smoothed < 0)
            (_smoothed, _variation) = (sample, sample / 2);
        else
        {
            _variation = ((3 * _variation) + Math.Abs(_smoothed - sample)) / 4;
            _smoothed = ((7 * _smoothed) + sample) / 8;
        }

        SetTimeout();
    }

    private void SetTimeout() => _timeout = (int)Math.Clamp(_smoothed + (4 * _variation), LeastTimeout, MostTimeout);

    /// <summary>Stores data that lies in the window.</summary>
    private void TakeData(uint sequence, ReadOnlySpan<byte> data, bool fin)
    {
        // Beyond the window nothing is taken, not even the end.
        var room = (int)(_advertised - sequence);
        if (room <= 0)
        {
            SendAck();
            return;
        }

        if (data.Length > room)
        {
            data = data[..room];
            fin = false;
        }

        var offset = (int)(sequence - _receiveNext);
        if (_toHost.Count + offset + data.Length > _toHost.Limit)
        {
            SendAck();
            return;
        }

        if (offset != 0)
        {
            // Too early: kept if it can be, and the guest is told what is missing.
            if (data.Length > 0 && NoteEarly(sequence, sequence + (uint)data.Length))
                _toHost.WriteAt(_toHost.Count + offset, data);
            SendAck();
            return;
        }

        _toHost.WriteAt(_toHost.Count, data);
        _toHost.Commit(data.Length);
        _receiveNext += (uint)data.Length;
        _ackNow = true;
        while (_early.Count > 0 && !Less(_receiveNext, _early[0].Start))
        {
            var end = _early[0].End;
            _early.RemoveAt(0);
            if (!Less(_receiveNext, end))
                continue;
            _toHost.Commit((int)(end - _receiveNext));
            _receiveNext = end;
            fin = false;
        }

        if (fin)
        {
            _receiveNext++;
            _guestEnded = true;
        }
    }

    /// <summary>Remembers a piece beyond a gap; false when there are too many pieces.</summary>
    private bool NoteEarly(uint start, uint end)
    {
        var at = 0;
        while (at < _early.Count && Less(_early[at].End, start))
            at++;
        while (at < _early.Count && !Less(end, _early[at].Start))
        {
            if (Less(_early[at].Start, start))
                start = _early[at].Start;
            if (Less(end, _early[at].End))
                end = _early[at].End;
            _early.RemoveAt(at);
        }

        if (_early.Count >= MaxEarly)
            return false;
        _early.Insert(at, (start, end));
        return true;
    }
}
