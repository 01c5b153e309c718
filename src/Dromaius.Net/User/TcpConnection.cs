using System.Buffers.Binary;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>
/// A TCP connection: the guest at one side, spoken to in segments, and a stream socket of the host at the other. Each direction ends
/// by itself. Sources: RFC 9293, 7323 (window scale), 6298 (time-outs), 6582 (fast recovery).
/// </summary>
internal sealed partial class TcpConnection : ISocketOwner
{
    private const int WindowScale = 5;
    private const int FirstTimeout = 1000, LeastTimeout = 300, MostTimeout = 20_000, MaxRetries = 12, MaxOpeningRetries = 6;

    private enum Phase
    {
        /// <summary>The guest asked; the host's connection is under way.</summary>
        Connecting,

        /// <summary>The guest was told; its acknowledgement is awaited.</summary>
        SynReceived,

        /// <summary>The guest is asked.</summary>
        SynSent,
        Established,
        Closed,
    }

    private readonly TcpLayer _layer;
    private readonly UserStack _stack;
    private readonly int _fd, _slot;
    private readonly ByteRing _toGuest, _toHost;
    private Phase _phase;
    private bool _readable = true, _writable = true;

    // Towards the guest: RFC 9293's SND variables. The ring begins at _sendUnacked.
    private uint _sendUnacked, _sendNext, _sendMax;
    private uint _sendWindow;
    private uint _windowSequence, _windowAck;
    private int _sendScale, _mss;
    private bool _hostEnded;
    private int _duplicates, _retries, _timeout = FirstTimeout;
    private bool _recovering;
    private uint _recover;
    private long _smoothed = -1, _variation, _timedSince = -1;
    private uint _timedSequence;

    // From the guest: RCV variables. The ring ends at _receiveNext; pieces that came early lie beyond.
    private uint _receiveNext, _advertised;
    private int _receiveScale;
    private bool _guestEnded, _shutDone, _ackNow;
    private readonly List<(uint Start, uint End)> _early = [];

    public TcpConnection(TcpLayer layer, UserStack stack, TcpLayer.FlowKey key, int fd)
    {
        _layer = layer;
        _stack = stack;
        Key = key;
        _fd = fd;
        var limit = layer.BufferLimit;
        _toGuest = new ByteRing(limit);
        _toHost = new ByteRing(limit);
        _slot = stack.Watch(fd, this);
        _sendUnacked = _sendNext = _sendMax = layer.NextSequence();
        IsIpv6 = key.Guest >> 32 != 0xFFFF;
    }

    public TcpLayer.FlowKey Key { get; }
    public bool IsIpv6 { get; }

    /// <summary>It came in through <c>hostfwd</c>.</summary>
    public bool IsForwarded { get; init; }

    /// <summary>It is on the layer's list of those with something to send.</summary>
    public bool IsDirty { get; set; }

    /// <summary>When <see cref="OnTimeout"/> is due.</summary>
    public long Deadline { get; private set; } = long.MaxValue;
    public bool IsOpening => _phase is Phase.SynSent;
    public int Fd => _fd;
    public int Queued => _toGuest.Count;
    public int QueuedToHost => _toHost.Count;

    public string StateName => _phase switch
    {
        Phase.Connecting or Phase.SynSent => "SYN_SENT",
        Phase.SynReceived => "SYN_RCVD",
        Phase.Closed => "CLOSED",
        _ => (_hostEnded, _guestEnded) switch
        {
            (false, false) => "ESTABLISHED",
            (false, true) => "CLOSE_WAIT",
            (true, false) => "FIN_WAIT_1",
            _ => "LAST_ACK",
        },
    };

    /// <summary>The guest's first segment.</summary>
    public void StartFromGuest(in TcpSegment segment, bool connecting)
    {
        _receiveNext = segment.Sequence + 1;
        TakeOptions(segment);
        _sendWindow = segment.Window;
        if (connecting)
            _phase = Phase.Connecting;
        else
            AnswerGuest();
    }

    /// <summary>A connection of the host's: the guest is asked.</summary>
    public void StartToGuest()
    {
        _phase = Phase.SynSent;
        _mss = DefaultMss;
        _receiveScale = WindowScale;
        _layer.MarkDirty(this);
        ArmTimer();
        SendSyn();
    }

    public void OnEvents(PollEvents events)
    {
        if (_phase == Phase.Connecting)
        {
            var error = HostSocket.TakeError(_fd);
            if (error != 0)
            {
                RefuseGuest();
                return;
            }

            if ((events & (PollEvents.Writable | PollEvents.HangUp | PollEvents.Error)) == 0)
                return;
            AnswerGuest();
            return;
        }

        _readable |= (events & (PollEvents.Readable | PollEvents.HangUp | PollEvents.Error)) != 0;
        _writable |= (events & (PollEvents.Writable | PollEvents.HangUp | PollEvents.Error)) != 0;
        _layer.MarkDirty(this);
    }

    /// <summary>Moves what can be moved in both directions.</summary>
    public void Flush()
    {
        if (_phase is Phase.SynSent or Phase.SynReceived or Phase.Connecting or Phase.Closed)
            return;
        DrainToHost();
        if (_phase == Phase.Closed)
            return;
        FillFromHost();
        if (_phase == Phase.Closed)
            return;
        Output();
        if (IsFinished)
            Close(abort: false);
        else if (_stack.Out.IsFull)
            _layer.MarkDirty(this);
    }

    /// <summary>Nothing was heard for too long.</summary>
    public void OnTimeout()
    {
        Deadline = long.MaxValue;
        _timedSince = -1;
        if (++_retries > (_phase == Phase.Established ? MaxRetries : MaxOpeningRetries))
        {
            SendReset();
            Close(abort: true);
            return;
        }

        _timeout = Math.Min(_timeout * 2, MostTimeout);
        switch (_phase)
        {
            case Phase.SynSent or Phase.SynReceived:
                SendSyn();
                ArmTimer();
                break;
            case Phase.Established:
                // Everything that is not acknowledged goes again; into a closed window one byte, to hear of its opening.
                _sendNext = _sendUnacked;
                _recovering = false;
                _duplicates = 0;
                if (_sendWindow == 0 && _toGuest.Count > 0)
                {
                    _ = SendData(0, 1);
                    if (_sendMax == _sendUnacked)
                        _sendMax++;
                    ArmTimer();
                }

                _layer.MarkDirty(this);
                break;
        }
    }

    /// <summary>Ends it without a word to the guest.</summary>
    public void Close(bool abort)
    {
        if (_phase == Phase.Closed)
            return;
        _phase = Phase.Closed;
        Deadline = long.MaxValue;
        _stack.Unwatch(_slot);
        if (abort)
            HostSocket.Abort(_fd);
        else
            HostSocket.Close(_fd);
        _toGuest.Dispose();
        _toHost.Dispose();
        _layer.Remove(this);
    }

    private int DefaultMss => Protocol.Mtu - (IsIpv6 ? Protocol.Ipv6Header : Protocol.Ipv4Header) - Protocol.TcpHeader;

    /// <summary>Both directions have ended and all is delivered.</summary>
    private bool IsFinished => _hostEnded && _guestEnded && _toHost.Count == 0 && _toGuest.Count == 0 && _sendUnacked == EndOfStream + 1;

    /// <summary>Sequence number behind the last byte for the guest, that of the FIN.</summary>
    private uint EndOfStream => _streamEnd ?? (_sendUnacked + (uint)_toGuest.Count);

    // Known once the host's side has ended.
    private uint? _streamEnd;

    private static bool Less(uint a, uint b) => (int)(a - b) < 0;

    private void TakeOptions(in TcpSegment segment)
    {
        var (mss, scale) = segment.ReadOptions();
        _mss = Math.Min(mss, DefaultMss);
        _receiveScale = scale >= 0 ? WindowScale : 0;
        _sendScale = Math.Max(scale, 0);
    }

    private void AnswerGuest()
    {
        _phase = Phase.SynReceived;
        SendSyn();
        ArmTimer();
    }

    private void RefuseGuest()
    {
        SendReset();
        Close(abort: false);
    }

    private void ArmTimer()
    {
        Deadline = _stack.Now + _timeout;
        _layer.WantDeadline(Deadline);
    }

    /// <summary>Passes bytes of the guest's on to the host, then its end.</summary>
    private void DrainToHost()
    {
        var before = _toHost.Count;
        while (_toHost.Count > 0 && _writable)
        {
            var sent = HostSocket.Send(_fd, _toHost.ReadSpan());
            if (sent > 0)
                _toHost.Consume(sent);
            else if (sent == -HostSocket.Eagain)
                _writable = false;
            else
            {
                // The host's peer is gone.
                SendReset();
                Close(abort: true);
                return;
            }
        }

        if (_guestEnded && _toHost.Count == 0 && !_shutDone)
        {
            _shutDone = true;
            HostSocket.ShutdownSend(_fd);
        }

        // A window that was nearly shut and has opened is worth a segment of its own.
        if (before > _toHost.Count && (int)(_receiveNext + (uint)_toHost.Free - _advertised) >= _toHost.Limit / 2)
            _ackNow = true;
    }

    /// <summary>Fetches bytes for the guest from the host.</summary>
    private void FillFromHost()
    {
        while (_readable && !_hostEnded && _toGuest.Free > 0 && !_stack.Out.IsFull)
        {
            // What exceeds the guest's window by far can wait in the host's buffers.
            if (_toGuest.Count > 64 << 10 && (uint)_toGuest.Count > 2 * _sendWindow)
                return;
            var room = _toGuest.WriteSpan();
            var n = HostSocket.Receive(_fd, room);
            if (n > 0)
                _toGuest.Commit(n);
            else if (n == 0)
            {
                _hostEnded = true;
                _streamEnd = _sendUnacked + (uint)_toGuest.Count;
            }
            else if (n == -HostSocket.Eagain)
                _readable = false;
            else
            {
                SendReset();
                Close(abort: true);
                return;
            }
        }
    }
}
