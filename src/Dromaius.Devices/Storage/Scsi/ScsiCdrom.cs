using System.Buffers.Binary;
using Dromaius.Block;

namespace Dromaius.Devices.Storage.Scsi;

/// <summary>
/// A CD and DVD-ROM drive. Source: T10 MMC-6 (T10/1836-D) and SFF-8090; sector layout from ECMA-130.
/// </summary>
public sealed partial class ScsiCdrom : ScsiTarget
{
    private const int Sector = 2048, RawSector = 2352;

    /// <summary>More sectors than the longest CD (80 minutes): a DVD.</summary>
    private const long CdSectors = 80 * 60 * 75;
    private const int MsfOffset = 150;

    private bool _newMedium;
    private bool _removed;
    private bool _ejectRequested;

    public ScsiCdrom(BlockBackend backend)
        : base(backend)
    {
        Product = "DROMAIUS DVD-ROM";
        backend.IsRemovable = backend.HasTray = true;
    }

    public override string TypeName => "scsi-cd";
    public override string Product { get; init; }
    public override int BlockSize => Sector;

    public bool IsTrayOpen
    {
        get => Backend.IsTrayOpen;
        private set => Backend.IsTrayOpen = value;
    }

    private long Sectors => Backend.Length / Sector;

    private bool IsDvd => Sectors > CdSectors;

    protected override byte PeripheralType => 5;
    protected override bool IsRemovable => true;
    protected override ReadOnlySpan<byte> VitalPages => [0x00, 0x80, 0x83];

    private bool HasMedium => Backend.HasMedium && !IsTrayOpen && Sectors > 0;

    public override void Reset(ScsiSense cause)
    {
        base.Reset(cause);
        _newMedium = _removed = _ejectRequested = false;
        Backend.IsTrayLocked = false;
    }

    protected override bool IgnoresAttention(byte code) => code is 0x46 or 0x4A;

    protected override void OnEjectRequested() => _ejectRequested = true;

    protected override void OnMediumChanged()
    {
        if (Backend.HasMedium)
        {
            _newMedium = true;
            Attention(ScsiSense.MediumChanged);
        }
        else
            _removed = true;
        ReportChange(ScsiSense.MediumChanged);
    }

    protected override void StartCommand(ScsiTask task)
    {
        var cdb = task.Cdb;
        var span = cdb.AsSpan();
        switch (cdb[0])
        {
            case TestUnitReady:
                _ = CheckReady(task);
                break;
            case StartStop:
                StartStopUnit(task);
                break;
            case PreventAllow:
                Backend.IsTrayLocked = (cdb[4] & 1) != 0;
                break;
            case 0x25: // READ CAPACITY
                if (CheckReady(task))
                    ReadCapacity(task);
                break;
            case 0x08: // READ (6)
                Read(task, (uint)(cdb[1] & 0x1F) << 16 | BinaryPrimitives.ReadUInt16BigEndian(span[2..]), cdb[4] == 0 ? 256u : cdb[4]);
                break;
            case 0x28: // READ (10)
                Read(task, BinaryPrimitives.ReadUInt32BigEndian(span[2..]), BinaryPrimitives.ReadUInt16BigEndian(span[7..]));
                break;
            case 0xA8: // READ (12)
                Read(task, BinaryPrimitives.ReadUInt32BigEndian(span[2..]), BinaryPrimitives.ReadUInt32BigEndian(span[6..]));
                break;
            case 0xBE: // READ CD
                ReadCd(task, BinaryPrimitives.ReadUInt32BigEndian(span[2..]), BinaryPrimitives.ReadUInt32BigEndian(span[5..]) & 0xFF_FFFF);
                break;
            case 0xB9: // READ CD MSF
                var start = Lba(cdb.AsSpan(3));
                var end = Lba(cdb.AsSpan(6));
                if (start < 0 || end < start)
                    task.Fail(ScsiSense.InvalidField);
                else
                    ReadCd(task, (uint)start, (uint)(end - start));
                break;
            case 0x2B: // SEEK (10)
                if (CheckReady(task) && BinaryPrimitives.ReadUInt32BigEndian(span[2..]) >= Sectors)
                    task.Fail(ScsiSense.OutOfRange);
                break;
            case 0x2F: // VERIFY (10)
            case 0x35: // SYNCHRONIZE CACHE
            case 0x4E: // STOP PLAY/SCAN
                _ = CheckReady(task);
                break;
            case 0x42:
                if (CheckReady(task))
                    ReadSubChannel(task);
                break;
            case 0x43:
                if (CheckReady(task))
                    ReadToc(task);
                break;
            case 0x44:
                if (CheckReady(task))
                    task.Reply([0, 0, 0, 0, 0, 0, 0, 0], BinaryPrimitives.ReadUInt16BigEndian(span[7..]));
                if (task.Buffer is { } header)
                    ReadHeader(task, header);
                break;
            case 0x46:
                GetConfiguration(task);
                break;
            case 0x4A:
                GetEventStatus(task);
                break;
            case 0x51:
                if (CheckReady(task))
                    ReadDiscInformation(task);
                break;
            case 0x52:
                if (CheckReady(task))
                    ReadTrackInformation(task);
                break;
            case 0x5C: // READ BUFFER CAPACITY
                task.Reply([0, 10, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0], BinaryPrimitives.ReadUInt16BigEndian(span[7..]));
                break;
            case 0xAC:
                GetPerformance(task);
                break;
            case 0xAD:
                ReadDvdStructure(task);
                break;
            case 0xB6: // SET STREAMING
                task.Expect(BinaryPrimitives.ReadUInt16BigEndian(span[9..]));
                break;
            case 0xBB: // SET CD SPEED
            case 0xA7: // SET READ AHEAD
                break;
            case 0xBD:
                MechanismStatus(task);
                break;
            case ModeSense6:
                ModeSense(task, true);
                break;
            case ModeSense10:
                ModeSense(task, false);
                break;
            case ModeSelect6:
                task.Expect(cdb[4]);
                break;
            case ModeSelect10:
                task.Expect(BinaryPrimitives.ReadUInt16BigEndian(span[7..]));
                break;
            default:
                task.Fail(ScsiSense.InvalidOperation);
                break;
        }
    }

    /// <summary>Raw sectors: the blocks are read aside, some at a time, and wrapped in sync, header, EDC and ECC.</summary>
    protected override void TransferSpecial(ScsiTask task, IReadOnlyList<Memory<byte>> segments, long length, Action<ScsiTask> done)
    {
        const int SectorsAtOnce = 256;
        var end = task.Position + length;
        var blocks = new byte[(int)Math.Min((length / RawSector) + 2, SectorsAtOnce) * Sector];
        var raw = new byte[RawSector];
        var (index, at) = (0, 0);
        Next();

        void Next()
        {
            var first = task.Position / RawSector;
            var count = Math.Min(((end - 1) / RawSector) - first + 1, blocks.Length / Sector);
            var lba = (task.MediumOffset / Sector) + first;
            var request = new BlockRequest
            {
                Operation = BlockOperation.Read, Offset = lba * Sector, Length = count * Sector, Segments = [blocks.AsMemory(0, (int)count * Sector)],
                Completed = r =>
                {
                    task.InFlight = null;
                    if (r.Error != BlockError.None)
                        task.Fail(SenseOf(r));
                    for (var i = 0; i < count && task.Status == ScsiStatus.Good; i++)
                    {
                        CdSector.BuildMode1(raw, blocks.AsSpan(i * Sector, Sector), lba + i);
                        CopyOut((int)(task.Position - ((first + i) * RawSector)));
                    }

                    if (task.Status == ScsiStatus.Good && task.Position < end)
                        Next();
                    else
                        done(task);
                },
            };
            task.InFlight = request;
            Backend.Submit(request);
        }

        // The rest of the wrapped sector, as far as it is wanted.
        void CopyOut(int from)
        {
            var part = raw.AsSpan(from, (int)Math.Min(RawSector - from, end - task.Position));
            task.Position += part.Length;
            while (!part.IsEmpty)
            {
                var to = segments[index].Span[at..];
                var n = Math.Min(part.Length, to.Length);
                part[..n].CopyTo(to);
                part = part[n..];
                at += n;
                if (at == segments[index].Length)
                    (index, at) = (index + 1, 0);
            }
        }
    }

    private bool CheckReady(ScsiTask task)
    {
        if (HasMedium)
            return true;
        task.Fail(IsTrayOpen ? ScsiSense.TrayOpen : ScsiSense.NoMedium);
        return false;
    }

    private void Read(ScsiTask task, long lba, long count)
    {
        if (!CheckReady(task))
            return;
        if (lba > Sectors || count > Sectors - lba)
            task.Fail(ScsiSense.OutOfRange);
        else
            task.Medium(ScsiDirection.In, lba * Sector, count * Sector);
    }

    private void ReadCd(ScsiTask task, long lba, long count)
    {
        if (!CheckReady(task))
            return;
        var wanted = task.Cdb[9] & 0xF8;
        if (count == 0 || wanted == 0)
            return;
        if (lba > Sectors || count > Sectors - lba)
            task.Fail(ScsiSense.OutOfRange);
        else if (wanted == 0x10)
            task.Medium(ScsiDirection.In, lba * Sector, count * Sector);
        else if (wanted == 0xF8)
            task.Medium(ScsiDirection.In, lba * Sector, count * RawSector, ScsiTransferKind.RawCd);
        else
            task.Fail(ScsiSense.InvalidField);
    }

    private void ReadCapacity(ScsiTask task)
    {
        var data = new byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)Math.Min(Sectors - 1, uint.MaxValue));
        BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(4), Sector);
        task.Reply(data, data.Length);
    }

    private void StartStopUnit(ScsiTask task)
    {
        // Power conditions change nothing here; without LoEj the motor starts or stops.
        if ((task.Cdb[4] & 0xF0) != 0 || (task.Cdb[4] & 2) == 0)
            return;
        var load = (task.Cdb[4] & 1) != 0;
        if (!load && Backend.IsTrayLocked)
        {
            task.Fail(!IsTrayOpen ? ScsiSense.RemovalPrevented : ScsiSense.None);
            if (IsTrayOpen)
                task.Clear();
            return;
        }

        if (IsTrayOpen == !load)
            return;
        IsTrayOpen = !load;
        if (load && Backend.HasMedium)
        {
            _newMedium = true;
            Attention(ScsiSense.MediumChanged);
        }
        else if (!load)
            _removed = true;
        ReportChange(ScsiSense.MediumChanged);
    }

    private void GetEventStatus(ScsiTask task)
    {
        const byte MediaClass = 4;
        var cdb = task.Cdb;
        // Only polled operation exists.
        if ((cdb[1] & 1) == 0)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        var allocation = BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(7));
        byte[] data;
        if ((cdb[4] & (1 << MediaClass)) != 0)
        {
            byte code = 0;
            if (_newMedium)
                (code, _newMedium, _removed) = (2, false, false);
            else if (_removed)
                (code, _removed) = (3, false);
            else if (_ejectRequested)
                (code, _ejectRequested) = (1, false);
            var state = (byte)((IsTrayOpen ? 1 : 0) | (HasMedium ? 2 : 0));
            data = [0, 6, MediaClass, 1 << MediaClass, code, state, 0, 0];
            data[1] = 6;
        }
        else
            data = [0, 2, 0x80, 1 << MediaClass];
        task.Reply(data, allocation);
    }

    private void MechanismStatus(ScsiTask task) =>
        task.Reply([0, (byte)(IsTrayOpen ? 0x10 : 0), 0, 0, 0, 1, 0, 0], BinaryPrimitives.ReadUInt16BigEndian(task.Cdb.AsSpan(8)));

    /// <summary>Minute, second and frame as three bytes to a block address; below zero for none.</summary>
    private static int Lba(ReadOnlySpan<byte> msf) => (((msf[0] * 60) + msf[1]) * 75) + msf[2] - MsfOffset;

    private static void WriteAddress(Span<byte> to, long lba, bool msf)
    {
        if (!msf)
        {
            BinaryPrimitives.WriteUInt32BigEndian(to, (uint)lba);
            return;
        }

        lba += MsfOffset;
        to[0] = 0;
        to[1] = (byte)(lba / 75 / 60);
        to[2] = (byte)(lba / 75 % 60);
        to[3] = (byte)(lba % 75);
    }
}
