using Dromaius.Core.Memory;

namespace Dromaius.Devices.Storage.Scsi;

/// <content>The SCSI bus as the initiator sees it: selection, phases, messages, and data on its way.</content>
public sealed partial class Lsi53c895a
{
    private const int BufferSize = 256 << 10, MaxCommand = 16;

    /// <summary>Message, command/data and input/output lines.</summary>
    private enum Phase : byte
    {
        DataOut = 0,
        DataIn = 1,
        Command = 2,
        Status = 3,
        MessageOut = 6,
        MessageIn = 7,
    }

    private const byte MessageComplete = 0x00, MessageExtended = 0x01, MessageAbort = 0x06, MessageReject = 0x07, MessageAbortTag = 0x0D;
    private const byte MessageReset = 0x0C, MessageClearQueue = 0x0E, MessageNoOperation = 0x08, MessageIdentify = 0x80;

    private readonly ScsiTask _task = new();
    private readonly byte[] _buffer = new byte[BufferSize];
    private readonly byte[] _command = new byte[MaxCommand];
    private readonly List<byte> _messageIn = [];

    /// <summary>The target that holds the bus.</summary>
    private ScsiTarget? _unit;
    private Phase _phase;

    /// <summary>The target asks for the transfer that the phase says; otherwise it is busy.</summary>
    private bool _requesting;

    /// <summary>Nobody answered the last selection: the time runs out when the script needs the bus.</summary>
    private bool _selectionFailed;
    private bool _attention;
    private int _lun;
    private int _buffered, _bufferAt;
    private int _commandLength;
    private bool _freeAfterMessages;

    /// <summary>Counts connections, so that late completions find that theirs is over.</summary>
    private int _connection;

    private byte ControlLines => (byte)((_unit == null ? 0 : 0x20) | (_requesting ? 0x80 : 0) | (_attention ? 8 : 0) | (int)_phase);

    /// <summary>Everything on the bus is forgotten.</summary>
    private void Abandon()
    {
        if (_unit is { } unit && _taskActive)
            unit.Cancel(_task);
        BusFree();
        _selectionFailed = false;
    }

    private bool _taskActive;

    private void BusFree()
    {
        _connection++;
        _unit = null;
        _taskActive = _requesting = _attention = _freeAfterMessages = false;
        _buffered = _bufferAt = _commandLength = 0;
        _messageIn.Clear();
        _phase = Phase.DataOut;
    }

    private void OnUnplugging(ScsiTarget unit)
    {
        if (_unit != unit)
            return;
        Abandon();
        Raise(ScsiInterrupt.UnexpectedDisconnect);
    }

    private void Select(int id, bool attention)
    {
        At(Reg.Sdid) = (byte)id;
        if (id == (At(Reg.Scid) & 0x0F) || ScsiBus.Answering(0, id, 0) is not { } unit)
        {
            _selectionFailed = true;
            return;
        }

        BusFree();
        _unit = unit;
        _lun = 0;
        _attention = attention;
        // Firmware sends its identification without raising attention: messages are taken either way.
        Enter(Phase.MessageOut);
    }

    private void Enter(Phase phase)
    {
        _phase = phase;
        _requesting = true;
    }

    /// <summary>What comes after the messages to the target.</summary>
    private void AfterMessageOut()
    {
        if (_freeAfterMessages)
            BusFree();
        else if (_messageIn.Count > 0)
            Enter(Phase.MessageIn);
        else
            Enter(Phase.Command);
    }

    private void TakeMessages(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var message = bytes[0];
            bytes = bytes[1..];
            switch (message)
            {
                case >= MessageIdentify:
                    _lun = message & 7;
                    break;
                case MessageExtended:
                    // Negotiations of speed and width are turned down: transfers are asynchronous and narrow.
                    var length = bytes.IsEmpty ? 0 : Math.Min(1 + bytes[0], bytes.Length);
                    bytes = bytes[length..];
                    _messageIn.Add(MessageReject);
                    break;
                case >= 0x20 and <= 0x2F:
                    // Queue tags: one command at a time is all there is.
                    bytes = bytes[Math.Min(1, bytes.Length)..];
                    break;
                case MessageAbort or MessageAbortTag or MessageClearQueue:
                    _freeAfterMessages = true;
                    break;
                case MessageReset:
                    _unit!.Reset(ScsiSense.UnitReset);
                    _freeAfterMessages = true;
                    break;
                case MessageNoOperation or MessageReject or 0x05 or 0x09:
                    break;
                default:
                    Log($"unknown message {message:x2}");
                    _messageIn.Add(MessageReject);
                    break;
            }
        }

        _attention = false;
        AfterMessageOut();
    }

    private static int CommandLength(byte code) => (code >> 5) switch
    {
        0 => 6,
        1 or 2 => 10,
        4 => 16,
        5 => 12,
        _ => 6,
    };

    private void TakeCommand(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
        {
            if (_commandLength < MaxCommand)
                _command[_commandLength++] = b;
        }

        if (_commandLength < CommandLength(_command[0]))
            return;
        Array.Clear(_task.Cdb);
        _command.AsSpan(0, _commandLength).CopyTo(_task.Cdb);
        _task.Lun = _lun;
        // The unit of this number, if there is one, takes over from the one that answered the selection.
        _unit = ScsiBus.Answering(0, _unit!.TargetId, _lun) ?? _unit;
        _taskActive = true;
        _unit.Start(_task);
        NextData();
    }

    /// <summary>Asks for the next data, loads them first, or ends the command.</summary>
    private void NextData()
    {
        if (_task.Status != ScsiStatus.Good || _task.Position >= _task.Length)
        {
            EndCommand();
            return;
        }

        _bufferAt = 0;
        _buffered = (int)Math.Min(BufferSize, _task.Length - _task.Position);
        if (_task.Direction == ScsiDirection.Out)
        {
            Enter(Phase.DataOut);
            return;
        }

        _phase = Phase.DataIn;
        MoveBuffer(() => Enter(Phase.DataIn));
    }

    /// <summary>Fills or empties the buffer; the target is busy meanwhile.</summary>
    private void MoveBuffer(Action then)
    {
        _requesting = false;
        var connection = _connection;
        _unit!.Transfer(_task, [_buffer.AsMemory(0, _buffered)], task =>
        {
            if (connection != _connection)
                return;
            if (task.Status == ScsiStatus.Good)
                then();
            else
                EndCommand();
            Resume();
        });
    }

    private void EndCommand()
    {
        _requesting = false;
        var connection = _connection;
        _unit!.Finish(_task, _ =>
        {
            if (connection != _connection)
                return;
            _taskActive = false;
            _messageIn.Add(MessageComplete);
            Enter(Phase.Status);
            Resume();
        });
    }

    /// <summary>Moves bytes of the phase between the target and memory.</summary>
    /// <returns>How many, at least 1 unless the target is at its end or a store led back here and changed everything.</returns>
    private uint MovePhase(ulong address, uint count)
    {
        var connection = _connection;
        var n = (int)Math.Min(count, BufferSize);
        switch (_phase)
        {
            case Phase.DataIn:
                n = Math.Min(n, _buffered - _bufferAt);
                At(Reg.Sfbr) = _buffer[_bufferAt];
                _ = Memory.Write(address, _buffer.AsSpan(_bufferAt, n));
                if (connection != _connection)
                    return 0;
                _bufferAt += n;
                if (_bufferAt == _buffered)
                    NextData();
                break;
            case Phase.DataOut:
                n = Math.Min(n, _buffered - _bufferAt);
                _ = Memory.Read(address, _buffer.AsSpan(_bufferAt, n));
                if (connection != _connection)
                    return 0;
                _bufferAt += n;
                if (_bufferAt == _buffered)
                    MoveBuffer(NextData);
                break;
            case Phase.MessageOut or Phase.Command:
                Span<byte> sent = stackalloc byte[64];
                sent = sent[..Math.Min(n, sent.Length)];
                if (_phase == Phase.Command)
                    sent = sent[..Math.Min(sent.Length, MaxCommand - _commandLength)];
                _ = Memory.Read(address, sent);
                if (connection != _connection || sent.IsEmpty)
                    return 0;
                At(Reg.Sfbr) = sent[0];
                if (_phase == Phase.Command)
                    TakeCommand(sent);
                else
                    TakeMessages(sent);
                return (uint)sent.Length;
            case Phase.Status:
                At(Reg.Sfbr) = (byte)_task.Status;
                _ = Memory.Write(address, [(byte)_task.Status]);
                if (connection == _connection)
                    Enter(Phase.MessageIn);
                return 1;
            default:
                return MoveMessageIn(address, n);
        }

        return (uint)n;
    }

    private uint MoveMessageIn(ulong address, int count)
    {
        var connection = _connection;
        var n = Math.Min(count, _messageIn.Count);
        Span<byte> message = stackalloc byte[n];
        for (var i = 0; i < n; i++)
            message[i] = _messageIn[i];
        _messageIn.RemoveRange(0, n);
        if (n > 0)
            At(Reg.Sfbr) = message[0];
        var complete = n > 0 && message[^1] == MessageComplete;
        _ = Memory.Write(address, message);
        if (connection != _connection)
            return 0;
        if (_messageIn.Count > 0)
            return (uint)n;
        if (complete || n == 0)
            BusFree();
        else
            Enter(Phase.Command);
        return (uint)n;
    }
}
