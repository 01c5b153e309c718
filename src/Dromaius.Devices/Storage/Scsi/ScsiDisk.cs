using System.Buffers.Binary;
using Dromaius.Block;

namespace Dromaius.Devices.Storage.Scsi;

/// <summary>A SCSI disk. Source: T10 SBC-3 (T10/1799-D) and SPC-4.</summary>
public sealed partial class ScsiDisk : ScsiTarget
{
    private const byte Read6 = 0x08, Write6 = 0x0A, Read10 = 0x28, Write10 = 0x2A, Read12 = 0xA8, Write12 = 0xAA, Read16 = 0x88, Write16 = 0x8A;
    private const byte WriteVerify10 = 0x2E, WriteVerify12 = 0xAE, WriteVerify16 = 0x8E, Verify10 = 0x2F, Verify12 = 0xAF, Verify16 = 0x8F;
    private const byte ReadCapacity10 = 0x25, ServiceActionIn = 0x9E, SynchronizeCache10 = 0x35, SynchronizeCache16 = 0x91, FormatUnit = 0x04;
    private const byte Rezero = 0x01, Seek6 = 0x0B, Seek10 = 0x2B, Unmap = 0x42, WriteSame10 = 0x41, WriteSame16 = 0x93;
    private const byte ForceUnitAccess = 0x08;
    private const int WriteSameChunk = 512 << 10;

    private readonly DiskGeometry _geometry;

    /// <param name="backend">The drive.</param>
    /// <param name="geometry">For initiators that still ask.</param>
    /// <param name="blockSize">Bytes of a logical block, a power of two from 512 on.</param>
    public ScsiDisk(BlockBackend backend, DiskGeometry geometry, int blockSize = 512)
        : base(backend)
    {
        _geometry = geometry;
        BlockSize = blockSize;
        PhysicalBlockSize = blockSize;
        Product = "DROMAIUS DISK";
    }

    public override string TypeName => "scsi-hd";
    public override string Product { get; init; }
    public override int BlockSize { get; }
    public int PhysicalBlockSize { get; init; }
    public int MinIoSize { get; init; }
    public int OptIoSize { get; init; }

    /// <summary>Bytes of the unit of discards; 0 for a disk without them.</summary>
    public long DiscardGranularity { get; init; } = 4096;
    public long MaxUnmapSize { get; init; } = 1 << 30;
    public long MaxIoSize { get; init; } = int.MaxValue;

    /// <summary>Turns a minute, 1 for none that turns (SSD), 0 for not told.</summary>
    public ushort RotationRate { get; init; }

    /// <summary>The medium can be taken out.</summary>
    public bool HasRemovableMedium { get; init; }

    /// <summary>Mode pages say that writes can be forced to the medium.</summary>
    public bool AnnouncesFua { get; init; }

    protected override byte PeripheralType => 0;
    protected override bool IsRemovable => HasRemovableMedium;
    protected override ReadOnlySpan<byte> VitalPages => Serial is { Length: > 0 } ? [0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2] : [0x00, 0x83, 0xB0, 0xB1, 0xB2];

    private long Blocks => Backend.Length / BlockSize;

    public override void Reset(ScsiSense cause)
    {
        base.Reset(cause);
        Backend.IsTrayLocked = false;
    }

    protected override void OnMediumChanged()
    {
        var sense = HasRemovableMedium ? ScsiSense.MediumChanged : ScsiSense.CapacityChanged;
        Attention(sense);
        ReportChange(sense);
    }

    protected override void StartCommand(ScsiTask task)
    {
        var cdb = task.Cdb.AsSpan();
        switch (cdb[0])
        {
            case TestUnitReady or Rezero or Seek6 or FormatUnit:
                _ = CheckReady(task);
                break;
            case Reserve6 or Release6 or Reserve10 or Release10:
                // One initiator: it holds what it reserves.
                if (!CheckReady(task) || (cdb[1] & 1) == 0)
                    break;
                task.Fail(ScsiSense.InvalidField);
                break;
            case StartStop:
                StartStopUnit(task);
                break;
            case PreventAllow:
                Backend.IsTrayLocked = (cdb[4] & 1) != 0;
                break;
            case Seek10:
                if (CheckReady(task) && BinaryPrimitives.ReadUInt32BigEndian(cdb[2..]) >= Blocks)
                    task.Fail(ScsiSense.OutOfRange);
                break;
            case ReadCapacity10:
                if (CheckReady(task))
                    StartReadCapacity10(task);
                break;
            case ServiceActionIn:
                if ((cdb[1] & 0x1F) != 0x10)
                    task.Fail(ScsiSense.InvalidField);
                else if (CheckReady(task))
                    StartReadCapacity16(task);
                break;
            case ModeSense6 or ModeSense10:
                StartModeSense(task, cdb[0] == ModeSense6);
                break;
            case ModeSelect6 or ModeSelect10:
                StartModeSelect(task);
                break;
            case SynchronizeCache10 or SynchronizeCache16:
                _ = CheckReady(task);
                break;
            case Unmap:
                if (CheckWritable(task))
                    task.Expect(BinaryPrimitives.ReadUInt16BigEndian(cdb[7..]));
                break;
            case WriteSame10 or WriteSame16:
                StartWriteSame(task);
                break;
            case Verify10 or Verify12 or Verify16:
                StartVerify(task);
                break;
            case Read6 or Read10 or Read12 or Read16:
                StartTransfer(task, ScsiDirection.In);
                break;
            case Write6 or Write10 or Write12 or Write16 or WriteVerify10 or WriteVerify12 or WriteVerify16:
                if (CheckWritable(task))
                    StartTransfer(task, ScsiDirection.Out);
                break;
            default:
                task.Fail(ScsiSense.InvalidOperation);
                break;
        }
    }

    /// <summary>Compares what the initiator sends with the medium.</summary>
    protected override void TransferSpecial(ScsiTask task, IReadOnlyList<Memory<byte>> segments, long length, Action<ScsiTask> done)
    {
        const int Chunk = 1 << 20;
        var buffer = new byte[(int)Math.Min(length, Chunk)];
        var end = task.Position + length;
        var (index, at) = (0, 0);
        Next();

        void Next()
        {
            var n = (int)Math.Min(buffer.Length, end - task.Position);
            var request = new BlockRequest
            {
                Operation = BlockOperation.Read, Offset = task.MediumOffset + task.Position, Length = n, Segments = [buffer.AsMemory(0, n)],
                Completed = r =>
                {
                    task.InFlight = null;
                    if (r.Error != BlockError.None)
                        task.Fail(SenseOf(r));
                    else if (!Matches(buffer.AsSpan(0, n)))
                        task.Fail(ScsiSense.Miscompare);
                    else
                        task.Position += n;
                    if (task.Status == ScsiStatus.Good && task.Position < end)
                        Next();
                    else
                        done(task);
                },
            };
            task.InFlight = request;
            Backend.Submit(request);
        }

        bool Matches(ReadOnlySpan<byte> medium)
        {
            while (!medium.IsEmpty)
            {
                var part = segments[index].Span[at..];
                part = part[..Math.Min(part.Length, medium.Length)];
                if (!part.SequenceEqual(medium[..part.Length]))
                    return false;
                medium = medium[part.Length..];
                at += part.Length;
                if (at == segments[index].Length)
                    (index, at) = (index + 1, 0);
            }

            return true;
        }
    }

    protected override bool FinishCommand(ScsiTask task, Action<ScsiTask> done)
    {
        switch (task.Cdb[0])
        {
            case SynchronizeCache10 or SynchronizeCache16:
                Submit(task, BlockOperation.Flush, 0, 0, false, done);
                return true;
            case ModeSelect6 or ModeSelect10:
                FinishModeSelect(task);
                return false;
            case Unmap:
                FinishUnmap(task, 0, done);
                return true;
            case WriteSame10 or WriteSame16:
                FinishWriteSame(task, done);
                return true;
            default:
                return false;
        }
    }

    private bool CheckReady(ScsiTask task)
    {
        if (Backend.HasMedium && !Backend.IsTrayOpen)
            return true;
        task.Fail(Backend.IsTrayOpen ? ScsiSense.TrayOpen : ScsiSense.NoMedium);
        return false;
    }

    private bool CheckWritable(ScsiTask task)
    {
        if (!CheckReady(task))
            return false;
        if (!Backend.IsReadOnly)
            return true;
        task.Fail(ScsiSense.WriteProtected);
        return false;
    }

    /// <summary>The range of blocks that a command names, by its length group.</summary>
    private static (ulong First, ulong Count) RangeOf(ReadOnlySpan<byte> cdb) => (cdb[0] >> 5) switch
    {
        0 => ((ulong)(BinaryPrimitives.ReadUInt32BigEndian(cdb) & 0x1F_FFFF), cdb[4] == 0 ? 256u : cdb[4]),
        1 or 2 => (BinaryPrimitives.ReadUInt32BigEndian(cdb[2..]), BinaryPrimitives.ReadUInt16BigEndian(cdb[7..])),
        4 => (BinaryPrimitives.ReadUInt64BigEndian(cdb[2..]), BinaryPrimitives.ReadUInt32BigEndian(cdb[10..])),
        _ => (BinaryPrimitives.ReadUInt32BigEndian(cdb[2..]), BinaryPrimitives.ReadUInt32BigEndian(cdb[6..])),
    };

    private bool IsInside(ulong first, ulong count) => first <= (ulong)Blocks && count <= (ulong)Blocks - first;

    private void StartTransfer(ScsiTask task, ScsiDirection direction, ScsiTransferKind kind = ScsiTransferKind.Medium)
    {
        if (!CheckReady(task))
            return;
        var (first, count) = RangeOf(task.Cdb);
        // Protection information is not stored: RDPROTECT and WRPROTECT must be zero.
        if (task.Cdb[0] is not (Read6 or Write6) && (task.Cdb[1] & 0xE0) != 0)
            task.Fail(ScsiSense.InvalidField);
        else if (!IsInside(first, count))
            task.Fail(ScsiSense.OutOfRange);
        else
        {
            task.Medium(direction, (long)first * BlockSize, (long)count * BlockSize, kind);
            // Writes with verification and forced ones are durable when they are done.
            task.ForceUnitAccess = direction == ScsiDirection.Out && task.Cdb[0] != Write6
                && ((task.Cdb[1] & ForceUnitAccess) != 0 || task.Cdb[0] is WriteVerify10 or WriteVerify12 or WriteVerify16);
        }
    }

    private void StartVerify(ScsiTask task)
    {
        const int ByteCheck = 6;
        switch (task.Cdb[1] & ByteCheck)
        {
            case 0:
                if (!CheckReady(task))
                    return;
                var (first, count) = RangeOf(task.Cdb);
                if (!IsInside(first, count))
                    task.Fail(ScsiSense.OutOfRange);
                break;
            case 2:
                StartTransfer(task, ScsiDirection.Out, ScsiTransferKind.Verify);
                break;
            default:
                task.Fail(ScsiSense.InvalidField);
                break;
        }
    }

    private void StartWriteSame(ScsiTask task)
    {
        // ANCHOR, PBDATA and LBDATA are obsolete or not offered; 0 blocks do not mean "to the end" here (WSNZ).
        const int Refused = 0x16;
        if (!CheckWritable(task))
            return;
        var (first, count) = RangeOf(task.Cdb);
        if (count == 0 || (task.Cdb[1] & Refused) != 0)
            task.Fail(ScsiSense.InvalidField);
        else if (!IsInside(first, count))
            task.Fail(ScsiSense.OutOfRange);
        else if (IsWithoutData(task))
            task.Buffer = new byte[BlockSize];
        else
            task.Expect(BlockSize);
    }

    private static bool IsWithoutData(ScsiTask task) => task.Cdb[0] == WriteSame16 && (task.Cdb[1] & 1) != 0;

    private void FinishWriteSame(ScsiTask task, Action<ScsiTask> done)
    {
        const byte MayUnmap = 8;
        var (first, count) = RangeOf(task.Cdb);
        var block = task.Buffer!;
        var (offset, left) = ((long)first * BlockSize, (long)count * BlockSize);
        if (task.Position == task.Length && !block.AsSpan().ContainsAnyExcept((byte)0))
        {
            Submit(task, BlockOperation.WriteZeroes, offset, left, (task.Cdb[1] & MayUnmap) != 0, done);
            return;
        }

        var chunk = new byte[(int)Math.Min(left, Math.Max(WriteSameChunk, BlockSize))];
        for (var at = 0; at < chunk.Length; at += BlockSize)
            block.CopyTo(chunk, at);
        Next();

        void Next()
        {
            var n = (int)Math.Min(chunk.Length, left);
            var request = new BlockRequest
            {
                Operation = BlockOperation.Write, Offset = offset, Length = n, Segments = [chunk.AsMemory(0, n)],
                Completed = r =>
                {
                    task.InFlight = null;
                    if (r.Error != BlockError.None)
                        task.Fail(SenseOf(r));
                    (offset, left) = (offset + n, left - n);
                    if (task.Status == ScsiStatus.Good && left > 0)
                        Next();
                    else
                        done(task);
                },
            };
            task.InFlight = request;
            Backend.Submit(request);
        }
    }

    /// <summary>Discards the ranges of the parameter list one after the other.</summary>
    private void FinishUnmap(ScsiTask task, int index, Action<ScsiTask> done)
    {
        const int HeaderSize = 8, DescriptorSize = 16, Anchor = 1;
        var list = task.Buffer.AsSpan(0, (int)task.Position);
        if (index == 0)
        {
            if ((task.Cdb[1] & Anchor) != 0)
                task.Fail(ScsiSense.InvalidField);
            else if (list.Length is > 0 and < HeaderSize)
                task.Fail(ScsiSense.ParameterLength);
            else if (list.Length > 0 && (BinaryPrimitives.ReadUInt16BigEndian(list) + 2 > list.Length
                || BinaryPrimitives.ReadUInt16BigEndian(list[2..]) + HeaderSize > list.Length
                || BinaryPrimitives.ReadUInt16BigEndian(list[2..]) % DescriptorSize != 0))
                task.Fail(ScsiSense.ParameterLength);
        }

        var count = list.Length == 0 || task.Status != ScsiStatus.Good ? 0 : BinaryPrimitives.ReadUInt16BigEndian(list[2..]) / DescriptorSize;
        if (task.Status != ScsiStatus.Good || index >= count)
        {
            done(task);
            return;
        }

        var descriptor = list.Slice(HeaderSize + (index * DescriptorSize), DescriptorSize);
        var first = BinaryPrimitives.ReadUInt64BigEndian(descriptor);
        var blocks = BinaryPrimitives.ReadUInt32BigEndian(descriptor[8..]);
        if (!IsInside(first, blocks))
        {
            task.Fail(ScsiSense.OutOfRange);
            done(task);
            return;
        }

        Submit(task, BlockOperation.Discard, (long)first * BlockSize, (long)blocks * BlockSize, true, t =>
        {
            if (t.Status == ScsiStatus.Good)
                FinishUnmap(t, index + 1, done);
            else
                done(t);
        });
    }

    private void StartStopUnit(ScsiTask task)
    {
        const int PowerCondition = 0xF0, LoadEject = 2, Start = 1;
        var flags = task.Cdb[4];
        if ((flags & PowerCondition) != 0 || (flags & LoadEject) == 0 || !HasRemovableMedium)
            return;
        var load = (flags & Start) != 0;
        if (!load && Backend.IsTrayLocked && !Backend.IsTrayOpen)
        {
            task.Fail(ScsiSense.RemovalPrevented);
            return;
        }

        if (Backend.IsTrayOpen == load)
        {
            Backend.IsTrayOpen = !load;
            ReportChange(ScsiSense.MediumChanged);
        }
    }
}
