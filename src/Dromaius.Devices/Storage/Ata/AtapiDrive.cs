using System.Buffers.Binary;
using Dromaius.Core.Memory;
using Dromaius.Devices.Storage.Scsi;

namespace Dromaius.Devices.Storage.Ata;

/// <summary>
/// A packet device: carries SCSI commands of a CD-ROM over ATA. Source: T13 ATA/ATAPI-7 volume 1 (T13/1532D), sections 4.3
/// and 6.24 (PACKET).
/// </summary>
public sealed class AtapiDrive : AtaDevice
{
    // Interrupt reason, in the sector count register.
    private const byte CommandNotData = 1, ToHost = 2;
    private const int PacketSize = 12;
    private const AtaStatus Ready = AtaStatus.Drdy | AtaStatus.Dsc;

    private readonly ScsiTask _task = new();
    private readonly Action<ScsiTask> _transferred;
    private readonly Action<ScsiTask> _finished;
    private DmaBuffer? _memory;
    private bool _packet;       // the data block is the command
    private bool _active;       // a packet command is under way
    private bool _dma;
    private int _limit;         // byte count limit of a data block
    private int _loaded;        // bytes in the buffer
    private int _moved;         // of these, how many the host has moved
    private byte _dmaMode;

    public AtapiDrive(ScsiCdrom target)
        : base(target.Backend)
    {
        Target = target;
        _transferred = OnTransferred;
        _finished = OnFinished;
    }

    public override string TypeName => "ide-cd";
    public ScsiCdrom Target { get; }
    public string Model { get; init; } = "DROMAIUS DVD-ROM";
    public string Serial { get; init; } = "DM00003";
    public string Version { get; init; } = "2.5+";
    public bool IsSerial { get; init; }

    public override void Reset()
    {
        // Programs without a retry expect that a drive on this interface is ready at once.
        Target.Reset(ScsiSense.None);
        _dmaMode = 0x45;
        base.Reset();
    }

    public override void Abandon()
    {
        if (_active)
            Target.Cancel(_task);
        _active = _packet = false;
        _memory = null;
        base.Abandon();
    }

    protected override void SetSignature()
    {
        SectorCount = LbaLow = 1;
        LbaMid = 0x14;
        LbaHigh = 0xEB;
        DeviceHead = 0xA0;
        // Not ready in the sense of a disk: DRDY stays clear until a first command.
        Status = AtaStatus.None;
    }

    public override void RunDma(DmaBuffer memory)
    {
        if (!IsDma || _memory != null || memory.Length == 0)
            return;
        _memory = memory;
        DmaBusy();
        Target.Transfer(_task, memory.Segments, _transferred);
    }

    protected override void ExecuteCommand(byte command)
    {
        switch (command)
        {
            case 0x08: // DEVICE RESET
                Abandon();
                EndPio();
                SetSignature();
                Error = (AtaError)1;
                Transport?.CommandDone(this);
                break;
            case 0x90: // EXECUTE DEVICE DIAGNOSTIC
                SoftReset();
                Transport?.CommandDone(this);
                Transport?.Interrupt(this);
                break;
            case 0xA0:
                StartPacket();
                break;
            case 0xA1:
                Identify();
                break;
            case 0xE0 or 0xE1 or 0xE2 or 0xE3 or 0xE6 or 0x94 or 0x95 or 0x96 or 0x97 or 0x99:
                Complete(Ready);
                break;
            case 0xE5 or 0x98: // CHECK POWER MODE
                SectorCount = 0xFF;
                Complete(Ready);
                break;
            case 0xEF: // SET FEATURES
                SetFeatures();
                break;
            case 0xEC or 0x20 or 0x21 or 0x24: // IDENTIFY DEVICE, READ SECTOR(S): refused with the signature
                SetSignature();
                Fail(AtaError.Abrt);
                break;
            default:
                Fail(AtaError.Abrt);
                break;
        }
    }

    protected override void PioBlockDone(bool toHost)
    {
        if (_packet)
        {
            _packet = false;
            RunPacket();
            return;
        }

        if (!_active)
        {
            Complete(Ready, interrupt: false);
            return;
        }

        _moved += Math.Min(_limit, _loaded - _moved);
        if (_moved < _loaded)
            OfferBlock();
        else if (toHost)
            Load();
        else
            Target.Transfer(_task, [Buffer.AsMemory(0, _loaded)], _transferred);
    }

    private void StartPacket()
    {
        _dma = (Feature & 1) != 0;
        _limit = LbaMid | LbaHigh << 8;
        if (_limit is 0 or 0xFFFF)
            _limit = 0xFFFE;
        _packet = true;
        SectorCount = CommandNotData;
        OfferPio(false, 0, PacketSize, interrupt: false);
    }

    private void RunPacket()
    {
        Array.Clear(_task.Cdb);
        Buffer.AsSpan(0, PacketSize).CopyTo(_task.Cdb);
        _active = true;
        Target.Start(_task);
        if (_task.Length == 0)
            Target.Finish(_task, _finished);
        else if (_dma)
        {
            SectorCount = _task.Direction == ScsiDirection.In ? ToHost : (byte)0;
            WantDma(_task.Direction == ScsiDirection.In, _task.Length);
        }
        else
        {
            // Blocks other than the last are even.
            if (_task.Length > _limit)
                _limit = Math.Max(_limit & ~1, 2);
            Load();
        }
    }

    /// <summary>The next run of data: filled from the target, or opened to the host.</summary>
    private void Load()
    {
        var left = _task.Length - _task.Position;
        if (left <= 0)
        {
            Target.Finish(_task, _finished);
            return;
        }

        _loaded = (int)Math.Min(left, BufferSize);
        _moved = 0;
        if (_task.Direction == ScsiDirection.In)
            Target.Transfer(_task, [Buffer.AsMemory(0, _loaded)], _transferred);
        else
            OfferBlock();
    }

    private void OfferBlock()
    {
        var n = Math.Min(_limit, _loaded - _moved);
        var toHost = _task.Direction == ScsiDirection.In;
        SectorCount = toHost ? ToHost : (byte)0;
        LbaMid = (byte)n;
        LbaHigh = (byte)(n >> 8);
        OfferPio(toHost, _moved, n, true);
    }

    private void OnTransferred(ScsiTask task)
    {
        if (!_active)
            return;
        var failed = task.Status != ScsiStatus.Good;
        if (IsDma)
        {
            if (!failed)
                _memory?.Complete();
            _memory = null;
            if (!failed && task.Position < task.Length)
            {
                Status = (Status & ~AtaStatus.Bsy) | AtaStatus.Drq;
                Transport?.DmaRequested(this, task.Direction == ScsiDirection.In, task.Length - task.Position);
                return;
            }

            DmaOver();
            Target.Finish(task, _finished);
        }
        else if (failed)
            Target.Finish(task, _finished);
        else if (task.Direction == ScsiDirection.In)
            OfferBlock();
        else
            Load();
    }

    private void OnFinished(ScsiTask task)
    {
        if (!_active)
            return;
        _active = false;
        SectorCount = ToHost | CommandNotData;
        if (task.Status == ScsiStatus.Good)
            Complete(Ready);
        else
        {
            Error = (AtaError)(task.Sense.Key << 4) | (task.Sense.Key == 5 ? AtaError.Abrt : AtaError.None);
            Complete(Ready | AtaStatus.Err);
        }
    }

    private void SetFeatures()
    {
        if (Feature == 0x03)
        {
            switch (SectorCount >> 3)
            {
                case 0 or 1:
                    break;
                case 4 when (SectorCount & 7) <= 2:
                    _dmaMode = (byte)(0x20 | (SectorCount & 7));
                    break;
                case 8 when (SectorCount & 7) <= 5:
                    _dmaMode = (byte)(0x40 | (SectorCount & 7));
                    break;
                default:
                    Fail(AtaError.Abrt);
                    return;
            }
        }
        else if (Feature is not (0x66 or 0xCC or 0x10 or 0x90 or 0x05 or 0x85))
        {
            Fail(AtaError.Abrt);
            return;
        }

        Complete(Ready);
    }

    private void Fail(AtaError error)
    {
        Error = error;
        Complete(Ready | AtaStatus.Err);
    }

    private void Identify()
    {
        var words = Buffer.AsSpan(0, 512);
        words.Clear();
        Set(words, 0, 0x85C0);                  // CD-ROM, removable, 50 us DRQ, 12-byte packets
        AtaDisk.IdentifyText(words, 10, 10, Serial);
        AtaDisk.IdentifyText(words, 23, 4, Version);
        AtaDisk.IdentifyText(words, 27, 20, Model);
        Set(words, 48, 1);
        Set(words, 49, 0x0F00);
        Set(words, 53, 7);
        Set(words, 62, 7);
        Set(words, 63, 7 | ((_dmaMode & 0x20) != 0 ? 0x100 << (_dmaMode & 7) : 0));
        Set(words, 64, 3);
        for (var i = 65; i <= 68; i++)
            Set(words, i, 0xB4);
        Set(words, 71, 30);
        Set(words, 72, 30);
        if (IsSerial)
            Set(words, 76, 0x0006);
        Set(words, 80, 0x1E);
        Set(words, 82, 0x0210);                 // PACKET, DEVICE RESET
        Set(words, 83, 0x4000);
        Set(words, 84, 0x4000);
        Set(words, 85, 0x0210);
        Set(words, 87, 0x4000);
        Set(words, 88, 0x3F | ((_dmaMode & 0x40) != 0 ? 0x100 << (_dmaMode & 7) : 0));
        if (!IsSerial)
            Set(words, 93, 0x6001);
        OfferPio(true, 0, 512, true);
    }

    private static void Set(Span<byte> words, int index, int value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(words[(2 * index)..], (ushort)value);
}
