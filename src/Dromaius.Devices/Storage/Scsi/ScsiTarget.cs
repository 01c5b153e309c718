using System.Buffers.Binary;
using System.Text;
using Dromaius.Block;
using Dromaius.Core.Devices;

namespace Dromaius.Devices.Storage.Scsi;

/// <summary>
/// A SCSI logical unit on a drive: what all of them share, and the movement of data. Alone it is a target with one unit; on a
/// <see cref="ScsiBus"/> several make up a target. Source: T10 SPC-4.
/// </summary>
public abstract class ScsiTarget : Device
{
    protected const byte TestUnitReady = 0x00, RequestSense = 0x03, Inquiry = 0x12, ModeSelect6 = 0x15, ModeSense6 = 0x1A;
    protected const byte Reserve6 = 0x16, Release6 = 0x17, StartStop = 0x1B, PreventAllow = 0x1E, Reserve10 = 0x56, Release10 = 0x57, ModeSelect10 = 0x55, ModeSense10 = 0x5A, ReportLuns = 0xA0;

    private readonly Queue<ScsiSense> _attention = new();

    protected ScsiTarget(BlockBackend backend)
    {
        Backend = backend;
        backend.MediumChanged += OnMediumChanged;
        backend.EjectRequested += OnEjectRequested;
    }

    public BlockBackend Backend { get; }

    /// <summary>Vendor of INQUIRY, up to 8 characters.</summary>
    public string Vendor { get; init; } = "DROMAIUS";

    /// <summary>Product of INQUIRY, up to 16 characters.</summary>
    public abstract string Product { get; init; }
    public string Revision { get; init; } = "2.5+";
    public string? Serial { get; init; }

    /// <summary>World wide name, or 0 for none.</summary>
    public ulong Wwn { get; init; }

    /// <summary>The target sits behind a packet interface (ATAPI): sense is kept for REQUEST SENSE.</summary>
    public bool IsPacket { get; init; }
    public abstract int BlockSize { get; }

    /// <summary>What the identification page calls the unit when it has no serial number; the drive's id if null.</summary>
    public string? DeviceName { get; init; }

    /// <summary>World wide name and relative number of the target's port, or 0 for none.</summary>
    public ulong PortWwn { get; init; }
    public ushort PortIndex { get; init; }

    /// <summary>Version of INQUIRY; 5 is SPC-3.</summary>
    public byte Version { get; init; } = 5;

    /// <summary>Sense of the last command that failed, until it is fetched or another command comes.</summary>
    public ScsiSense LastSense { get; private set; }

    // Where it is on its bus.
    public int Channel { get; internal set; }
    public int TargetId { get; internal set; }
    public int Lun { get; internal set; }

    /// <summary>The bus; null behind a packet interface.</summary>
    public ScsiBus? Bus { get; internal set; }

    /// <summary>Hears nothing of the drive any more: another unit may have it.</summary>
    public void LetGo()
    {
        Backend.MediumChanged -= OnMediumChanged;
        Backend.EjectRequested -= OnEjectRequested;
    }

    public override void Reset() => Reset(ScsiSense.PowerOn);

    /// <summary>A reset of the unit, its bus or everything; the next command hears which, unless it is none.</summary>
    public virtual void Reset(ScsiSense cause)
    {
        _attention.Clear();
        LastSense = ScsiSense.None;
        if (cause != ScsiSense.None)
            Attention(cause);
    }

    /// <summary>The initiator got the sense with the status.</summary>
    public void SenseDelivered() => LastSense = ScsiSense.None;

    /// <summary>Understands a command: sets direction and length, or fails it.</summary>
    public void Start(ScsiTask task)
    {
        task.Clear();
        var code = task.Cdb[0];
        if (code != RequestSense)
            LastSense = ScsiSense.None;
        if (task.Lun != Lun && code is not (Inquiry or RequestSense or ReportLuns))
        {
            task.Fail(ScsiSense.InvalidUnit);
            return;
        }

        if (code is not (Inquiry or RequestSense or ReportLuns) && !IgnoresAttention(code) && _attention.TryDequeue(out var sense))
        {
            task.Fail(sense);
            return;
        }

        switch (code)
        {
            case Inquiry:
                StartInquiry(task);
                break;
            case RequestSense:
                StartRequestSense(task);
                break;
            case ReportLuns:
                StartReportLuns(task);
                break;
            default:
                StartCommand(task);
                break;
        }
    }

    /// <summary>
    /// Moves the next bytes to or from memory, as many as the segments hold but no more than are left. The callback comes on
    /// the event loop or at once; afterwards the task may have failed.
    /// </summary>
    public void Transfer(ScsiTask task, IReadOnlyList<Memory<byte>> segments, Action<ScsiTask> done)
    {
        var length = 0L;
        foreach (var segment in segments)
            length += segment.Length;
        length = Math.Min(length, task.Length - task.Position);
        segments = Cut(segments, length);
        if (length <= 0)
        {
            done(task);
            return;
        }

        switch (task.Kind)
        {
            case ScsiTransferKind.Medium:
                var request = new BlockRequest
                {
                    Operation = task.Direction == ScsiDirection.In ? BlockOperation.Read : BlockOperation.Write,
                    Offset = task.MediumOffset + task.Position,
                    Length = length,
                    Segments = segments,
                    ForceUnitAccess = task.ForceUnitAccess,
                    Completed = r =>
                    {
                        task.InFlight = null;
                        if (r.Error == BlockError.None)
                            task.Position += length;
                        else
                            task.Fail(SenseOf(r));
                        done(task);
                    },
                };
                task.InFlight = request;
                Backend.Submit(request);
                break;
            case ScsiTransferKind.Buffer:
                foreach (var segment in segments)
                {
                    var part = task.Buffer.AsSpan((int)task.Position, segment.Length);
                    if (task.Direction == ScsiDirection.In)
                        part.CopyTo(segment.Span);
                    else
                        segment.Span.CopyTo(part);
                    task.Position += segment.Length;
                }

                done(task);
                break;
            default:
                TransferSpecial(task, segments, length, done);
                break;
        }
    }

    /// <summary>Does what is left to do (parameter lists, flushes) and reports the end.</summary>
    public void Finish(ScsiTask task, Action<ScsiTask> done)
    {
        if (task.Status == ScsiStatus.Good && FinishCommand(task, End))
            return;
        End(task);

        void End(ScsiTask ended)
        {
            if (ended.Cdb[0] != RequestSense || ended.Status != ScsiStatus.Good)
                LastSense = ended.Sense;
            done(ended);
        }
    }

    /// <summary>Drops a task: no callback comes any more.</summary>
    public void Cancel(ScsiTask task)
    {
        if (task.InFlight is { } request)
            Backend.Cancel(request);
        task.InFlight = null;
    }

    /// <summary>Commands of the device type.</summary>
    protected abstract void StartCommand(ScsiTask task);

    /// <summary>Transfers that are neither a buffer nor plain blocks.</summary>
    protected virtual void TransferSpecial(ScsiTask task, IReadOnlyList<Memory<byte>> segments, long length, Action<ScsiTask> done)
    {
        task.Position += length;
        done(task);
    }

    /// <summary>Work after the data; true if <paramref name="done"/> is called by it, now or later.</summary>
    protected virtual bool FinishCommand(ScsiTask task, Action<ScsiTask> done) => false;

    protected virtual bool IgnoresAttention(byte code) => false;

    protected abstract byte PeripheralType { get; }

    protected virtual bool IsRemovable => false;

    protected abstract void OnMediumChanged();

    /// <summary>Somebody asks for the medium.</summary>
    protected virtual void OnEjectRequested()
    {
    }

    /// <summary>The guest or the host changed the medium or its size: tells the controller, if it reports such things.</summary>
    protected void ReportChange(ScsiSense sense) => Bus?.ReportChange(this, sense);

    /// <summary>Extra pages of INQUIRY vital product data; null for none of that number.</summary>
    protected virtual byte[]? VitalPage(byte page) => null;

    protected abstract ReadOnlySpan<byte> VitalPages { get; }

    /// <summary>The next command, or REQUEST SENSE, tells this first.</summary>
    internal void Attention(ScsiSense sense)
    {
        if (_attention.Count < 4)
            _attention.Enqueue(sense);
    }

    protected static ScsiSense SenseOf(BlockRequest request) => request.Error switch
    {
        BlockError.NoMedium => ScsiSense.NoMedium,
        BlockError.ReadOnly or BlockError.NotPermitted => ScsiSense.WriteProtected,
        BlockError.NoSpace => ScsiSense.SpaceExhausted,
        BlockError.Invalid => ScsiSense.OutOfRange,
        _ => request.Operation == BlockOperation.Read ? ScsiSense.ReadError : ScsiSense.WriteError,
    };

    /// <summary>Submits a request without data and reports the task's end when it is through.</summary>
    protected void Submit(ScsiTask task, BlockOperation operation, long offset, long length, bool mayUnmap, Action<ScsiTask> done)
    {
        var request = new BlockRequest
        {
            Operation = operation,
            Offset = offset,
            Length = length,
            MayUnmap = mayUnmap,
            Completed = r =>
            {
                task.InFlight = null;
                if (r.Error != BlockError.None)
                    task.Fail(SenseOf(r));
                done(task);
            },
        };
        task.InFlight = request;
        Backend.Submit(request);
    }

    protected static byte[] VitalHeader(byte type, byte page, ReadOnlySpan<byte> body)
    {
        var data = new byte[4 + body.Length];
        data[0] = type;
        data[1] = page;
        BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(2), (ushort)body.Length);
        body.CopyTo(data.AsSpan(4));
        return data;
    }

    protected static void Pad(Span<byte> to, string text)
    {
        to.Fill((byte)' ');
        for (var i = 0; i < Math.Min(to.Length, text.Length); i++)
            to[i] = text[i] < 0x80 ? (byte)text[i] : (byte)'?';
    }

    private static IReadOnlyList<Memory<byte>> Cut(IReadOnlyList<Memory<byte>> segments, long length)
    {
        var total = 0L;
        foreach (var segment in segments)
            total += segment.Length;
        if (total <= length)
            return segments;
        var cut = new List<Memory<byte>>();
        foreach (var segment in segments)
        {
            if (length <= 0)
                break;
            cut.Add(segment.Length <= length ? segment : segment[..(int)length]);
            length -= segment.Length;
        }

        return cut;
    }

    private void StartRequestSense(ScsiTask task)
    {
        var sense = LastSense != ScsiSense.None ? LastSense : _attention.TryDequeue(out var pending) ? pending : ScsiSense.None;
        if (task.Lun != Lun)
            sense = ScsiSense.InvalidUnit;
        LastSense = ScsiSense.None;
        byte[] data;
        if (!IsPacket && (task.Cdb[1] & 1) != 0)
        {
            data = new byte[ScsiSense.DescriptorLength];
            sense.WriteDescriptor(data);
        }
        else
        {
            data = new byte[ScsiSense.FixedLength];
            sense.Write(data);
        }

        task.Reply(data, task.Cdb[4]);
    }

    private void StartReportLuns(ScsiTask task)
    {
        var allocation = BinaryPrimitives.ReadUInt32BigEndian(task.Cdb.AsSpan(6));
        if (allocation < 16 || task.Cdb[2] > 2)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        // Unit 0 is always listed: it answers this command even if it is not there.
        var units = Bus?.UnitsOf(Channel, TargetId).Select(static u => u.Lun).Append(0).Distinct().Order().ToArray() ?? [0];
        var data = new byte[8 + (8 * units.Length)];
        BinaryPrimitives.WriteInt32BigEndian(data, 8 * units.Length);
        for (var i = 0; i < units.Length; i++)
            BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(8 + (8 * i)), (ushort)(units[i] < 256 ? units[i] : 0x4000 | units[i]));
        task.Reply(data, allocation);
    }

    private void StartInquiry(ScsiTask task)
    {
        var allocation = BinaryPrimitives.ReadUInt16BigEndian(task.Cdb.AsSpan(3));
        // Another unit than this one: none can be there, but unit 0 might be one day.
        var type = task.Lun == Lun ? PeripheralType : task.Lun == 0 ? (byte)0x3F : (byte)0x7F;
        if ((task.Cdb[1] & 1) != 0)
        {
            StartVitalPage(task, type, allocation);
            return;
        }

        if (task.Cdb[2] != 0)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        var data = new byte[36];
        data[0] = type;
        data[1] = (byte)(IsRemovable ? 0x80 : 0);
        // Behind a packet interface the version is that of the interface: byte 3 says ATAPI, format 1.
        data[2] = (byte)(IsPacket ? 0 : Version);
        data[3] = (byte)(IsPacket ? 0x21 : 0x12);
        data[4] = (byte)(data.Length - 5);
        data[7] = (byte)(IsPacket ? 0 : 0x12); // synchronous transfers, tagged queuing
        Pad(data.AsSpan(8, 8), Vendor);
        Pad(data.AsSpan(16, 16), Product);
        Pad(data.AsSpan(32, 4), Revision);
        task.Reply(data, allocation);
    }

    private void StartVitalPage(ScsiTask task, byte type, int allocation)
    {
        var page = task.Cdb[2];
        byte[]? body = page switch
        {
            0x00 => VitalPages.ToArray(),
            0x80 when Serial is { Length: > 0 } serial => Encoding.ASCII.GetBytes(serial[..Math.Min(serial.Length, 36)]),
            0x83 => Designators(),
            _ => VitalPage(page),
        };
        if (body == null)
            task.Fail(ScsiSense.InvalidField);
        else
            task.Reply(VitalHeader(type, page, body), allocation);
    }

    private byte[] Designators()
    {
        const int BinaryCode = 1, AsciiCode = 2, Naa = 3, PortNaa = 0x93, PortNumber = 0x94;
        var body = new List<byte>();
        var name = Encoding.ASCII.GetBytes(Serial is { Length: > 0 } serial ? serial[..Math.Min(serial.Length, 36)] : DeviceName ?? Backend.Id);
        var n = Math.Min(name.Length, 247);
        body.AddRange([AsciiCode, 0, 0, (byte)n]);
        body.AddRange(name.AsSpan(0, n));
        Span<byte> number = stackalloc byte[8];
        if (Wwn != 0)
        {
            BinaryPrimitives.WriteUInt64BigEndian(number, Wwn);
            body.AddRange([BinaryCode, Naa, 0, 8]);
            body.AddRange(number);
        }

        if (PortWwn != 0)
        {
            // The protocol is serial attached SCSI (6).
            BinaryPrimitives.WriteUInt64BigEndian(number, PortWwn);
            body.AddRange([0x60 | BinaryCode, PortNaa, 0, 8]);
            body.AddRange(number);
        }

        if (PortIndex != 0)
            body.AddRange([0x60 | BinaryCode, PortNumber, 0, 4, 0, 0, (byte)(PortIndex >> 8), (byte)PortIndex]);
        return [.. body];
    }
}
