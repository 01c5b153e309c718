using Dromaius.Block;

namespace Dromaius.Devices.Storage;

/// <content>Commands that move data: one request to the medium for all sectors of a command.</content>
public sealed partial class Fdc82078
{
    private const int SectorSize = 512;

    /// <summary>More than any cylinder holds.</summary>
    private const int BufferSize = 128 * SectorSize;
    private const byte AbnormalEnd = 0x40;
    private const byte St1MissingAddress = 0x01, St1NotWritable = 0x02, St1NoData = 0x04, St1DataError = 0x20;
    private const byte St2MissingAddress = 0x01, St2ScanNotSatisfied = 0x04, St2ScanEqual = 0x08;

    private enum TransferKind : byte
    {
        None,
        Read,
        Write,
        Verify,
        Scan,
        Format,
    }

    private readonly byte[] _buffer = new byte[BufferSize];
    private readonly byte[] _host = new byte[BufferSize];
    private TransferKind _transfer;
    private BlockRequest? _request;
    private long _offset;       // on the medium
    private int _length;        // bytes that the command could move
    private int _at;            // bytes moved to or from the host
    private bool _onMedium;     // the medium's part of it is done

    private void AbandonTransfer()
    {
        _retry.Cancel();
        if (_request is { } request)
            Selected?.Backend.Cancel(request);
        _request = null;
        _transfer = TransferKind.None;
    }

    private int HeadOf => (_command[1] >> 2) & 1;

    private void StartTransfer(TransferKind kind)
    {
        SelectDrive();
        if (Selected is not { HasMedium: true } drive)
        {
            Fail(St1MissingAddress | St1NoData, St2MissingAddress);
            return;
        }

        var format = kind == TransferKind.Format;
        // A real controller goes to the track by itself only with implied seek; drivers that know emulators alone rely on it.
        if (!format && !drive.IsAt(_command[2]))
            drive.Seek(_command[2]);
        if ((_dsr & 3) != (byte)drive.Format.Rate)
        {
            Fail(St1MissingAddress, 0);
            return;
        }

        if (kind is TransferKind.Write or TransferKind.Format && drive.Backend.IsReadOnly)
        {
            Fail(St1NotWritable, 0);
            return;
        }

        if (format)
        {
            _offset = drive.Offset(drive.Track, HeadOf, 1);
            _length = 4 * Math.Min((int)_command[3], drive.Format.Sectors);
        }
        else
        {
            _eot = _command[6];
            var sector = (_command[0] & 0x1F) == 0x02 ? 1 : _command[4];
            _offset = drive.Offset(_command[2], _command[3], sector);
            // Sectors up to the last one, and those of the other side too for multi-track.
            var sectors = Math.Max(_eot - sector + 1, 1);
            if ((_command[0] & 0x80) != 0 && _command[3] == 0)
                sectors += _eot;
            _length = Math.Min(sectors * (_command[5] == 0 ? _command[8] : 128 << Math.Min((int)_command[5], 7)), BufferSize);
        }

        if (_offset < 0 || _length == 0)
        {
            Fail(St1NoData, 0);
            return;
        }

        _length = (int)Math.Min(_length, format ? _length : drive.Backend.Length - _offset);
        _transfer = kind;
        _at = 0;
        _onMedium = false;
        if (kind is TransferKind.Read or TransferKind.Verify or TransferKind.Scan)
            SubmitMedium(BlockOperation.Read, _length);
        else
            ContinueTransfer();
    }

    private void SubmitMedium(BlockOperation operation, int length)
    {
        _request = new BlockRequest
        {
            Operation = operation,
            Offset = _offset,
            Length = length,
            Segments = [_buffer.AsMemory(0, length)],
            Completed = OnMedium,
        };
        Selected!.Backend.Submit(_request);
    }

    private void OnMedium(BlockRequest request)
    {
        _request = null;
        if (request.Error != BlockError.None)
        {
            _transfer = TransferKind.None;
            Fail(request.Error == BlockError.ReadOnly ? St1NotWritable : St1DataError, 0);
            return;
        }

        _onMedium = true;
        if (_transfer is TransferKind.Write or TransferKind.Format)
            Succeed();
        else if (_transfer == TransferKind.Verify)
        {
            _at = _length;
            Succeed();
        }
        else
            ContinueTransfer();
    }

    /// <summary>Moves bytes between the host and the buffer: by DMA at once, else a byte at a time.</summary>
    private void ContinueTransfer()
    {
        if (_transfer == TransferKind.None)
            return;
        var toHost = _transfer == TransferKind.Read;
        if (!UsesDma)
        {
            _phase = toHost ? Phase.DataIn : Phase.DataOut;
            Irq.Raise();
            return;
        }

        _dma!.SetRequest(DmaChannel, true);
        if (!_dma.IsReady(DmaChannel))
        {
            _retry.Arm(Clock.Now + RetryTime);
            return;
        }

        bool terminal;
        _at += toHost
            ? _dma.Write(DmaChannel, _buffer.AsSpan(_at, _length - _at), out terminal)
            : _dma.Read(DmaChannel, HostBuffer.AsSpan(_at, _length - _at), out terminal);
        if (!terminal && _at < _length)
        {
            _retry.Arm(Clock.Now + RetryTime);
            return;
        }

        _dma.SetRequest(DmaChannel, false);
        HostDone();
    }

    /// <summary>Scans keep the host's bytes beside the medium's.</summary>
    private byte[] HostBuffer => _transfer == TransferKind.Scan ? _host : _buffer;

    private byte ReadDataByte()
    {
        var b = _buffer[_at++];
        Irq.Lower();
        if (_at >= _length)
            HostDone();
        else
            Irq.Raise();
        return b;
    }

    private void WriteDataByte(byte value)
    {
        HostBuffer[_at++] = value;
        Irq.Lower();
        if (_at >= _length)
        {
            _phase = Phase.Execution;
            HostDone();
        }
        else
            Irq.Raise();
    }

    /// <summary>The host has moved all it wants.</summary>
    private void HostDone()
    {
        switch (_transfer)
        {
            case TransferKind.Write when !_onMedium:
                // A last part of a sector is filled with zeroes, as the controller does.
                var whole = Math.Min((_at + SectorSize - 1) & ~(SectorSize - 1), BufferSize);
                _buffer.AsSpan(_at, whole - _at).Clear();
                SubmitMedium(BlockOperation.Write, (int)Math.Min(whole, Selected!.Backend.Length - _offset));
                break;
            case TransferKind.Format when !_onMedium:
                // The address that the first sector gets says which track it is.
                if (Selected!.IsAt(_buffer[0]) && Selected.Offset(_buffer[0], HeadOf, 1) is >= 0 and var named)
                    _offset = named;
                var sectors = _at / 4;
                _buffer.AsSpan(0, sectors * SectorSize).Fill(_command[5]);
                SubmitMedium(BlockOperation.Write, (int)Math.Min(sectors * SectorSize, Selected!.Backend.Length - _offset));
                break;
            case TransferKind.Scan:
                Scan();
                break;
            default:
                Succeed();
                break;
        }
    }

    /// <summary>Compares whole sectors; bytes of FFh from either side match everything.</summary>
    private void Scan()
    {
        var kind = _command[0] & 0x1F;
        byte st2 = St2ScanNotSatisfied;
        for (var start = 0; start < _at && st2 == St2ScanNotSatisfied; start += SectorSize)
        {
            bool equal = true, low = true, high = true;
            for (var i = start; i < Math.Min(start + SectorSize, _at); i++)
            {
                var (disk, host) = (_buffer[i], _host[i]);
                if (disk == 0xFF || host == 0xFF || disk == host)
                    continue;
                equal = false;
                low &= disk < host;
                high &= disk > host;
            }

            if (equal)
                st2 = St2ScanEqual;
            else if ((kind == 0x19 && low) || (kind == 0x1D && high))
                st2 = 0;
        }

        End(0, 0, st2);
    }

    private void Succeed() => End(0, 0, 0);

    private void Fail(byte st1, byte st2)
    {
        _at = 0;
        End(AbnormalEnd, st1, st2);
    }

    /// <summary>Status and the address after the last sector moved.</summary>
    private void End(byte st0, byte st1, byte st2)
    {
        var format = (_command[0] & 0x1F) == 0x0D;
        _transfer = TransferKind.None;
        var (c, h, r, n) = format
            ? ((byte)(Selected?.Track ?? 0), (byte)HeadOf, (byte)(_command[3] + 1), _command[2])
            : (_command[2], _command[3], _command[4], _command[5]);
        if (!format && st0 == 0)
        {
            var size = n == 0 ? Math.Max((int)_command[8], 1) : 128 << Math.Min((int)n, 7);
            for (var moved = (_at + size - 1) / size; moved > 0; moved--)
            {
                if (r < _eot)
                {
                    r++;
                    continue;
                }

                // Past the last sector: the other side, or the next cylinder.
                r = 1;
                if ((_command[0] & 0x80) != 0 && h == 0)
                    h = 1;
                else
                {
                    c++;
                    if ((_command[0] & 0x80) != 0)
                        h = 0;
                }
            }
        }

        ToResult(true, (byte)(st0 | (h & 1) << 2 | (_dor & 3)), st1, st2, c, h, r, n);
    }

    private void ReadId()
    {
        SelectDrive();
        var drive = Selected;
        var head = HeadOf;
        var found = drive is { HasMedium: true } && (_dsr & 3) == (byte)drive.Format.Rate && drive.Track < drive.Format.Tracks
            && head < drive.Format.Heads;
        if (found)
            ToResult(true, (byte)(_command[1] & 7), 0, 0, (byte)drive!.Track, (byte)head, 1, 2);
        else
            ToResult(true, (byte)(AbnormalEnd | (_command[1] & 7)), St1MissingAddress, 0, (byte)(drive?.Track ?? 0), (byte)head, 1, 2);
    }
}
