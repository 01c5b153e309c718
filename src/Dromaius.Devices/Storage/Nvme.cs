using System.Buffers.Binary;
using Dromaius.Block;
using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Storage;

/// <summary>
/// NVM Express controller with one namespace: registers, queues and the I/O command set. Source: NVM Express Base
/// Specification 1.4, sections 3 (registers), 4 (queues), 5 (admin commands), 6 (NVM commands).
/// </summary>
public sealed partial class Nvme : PciFunction
{
    private const int MaxQueues = 64, MaxEntries = 2048, Vectors = MaxQueues + 1, MaxTransferShift = 7;
    private const uint TableAt = 0x2000, PendingAt = 0x3000, WindowSize = 0x4000, DoorbellsAt = 0x1000;
    private const uint Version = 0x0001_0400, ConfigEnable = 1, StatusReady = 1, StatusFatal = 2, StatusShutdownDone = 8;
    private const int CommandSize = 64, CompletionSize = 16, Sector = 512;

    // Status codes, with the type above the low byte; do-not-retry is added for errors of the command.
    private const ushort Success = 0, InvalidOpcode = 0x4001, InvalidField = 0x4002, InternalError = 0x0006, InvalidNamespace = 0x400B;
    private const ushort OutOfRange = 0x4080, InvalidCompletionQueue = 0x4100, InvalidQueue = 0x4101, InvalidQueueSize = 0x4102;
    private const ushort InvalidVector = 0x4108, InvalidDeletion = 0x410C, WriteFault = 0x0280, ReadError = 0x0281, WriteProtected = 0x4020;

    // 2048 entries, contiguous queues, a second to get ready, NVM commands, pages of 4 to 64 KiB.
    private const ulong Capabilities = (MaxEntries - 1) | 1UL << 16 | 2UL << 24 | 1UL << 37 | 4UL << 52;

    private readonly BlockBackend _backend;
    private readonly MsiX _msix;
    private readonly NvmeSubmissionQueue?[] _submission = new NvmeSubmissionQueue?[MaxQueues + 1];
    private readonly NvmeCompletionQueue?[] _completion = new NvmeCompletionQueue?[MaxQueues + 1];
    private readonly HashSet<BlockRequest> _active = [];
    private uint _config, _status, _masked, _adminSizes;
    private ulong _adminSubmission, _adminCompletion;

    /// <param name="backend">The drive.</param>
    public Nvme(BlockBackend backend)
        : base(PciConfig.VendorRedHat, 0x0010, 0x01, 0x08, 0x02, 2)
    {
        _backend = backend;
        UseInterruptPin(1);
        _msix = new MsiX(this, Vectors, 0, TableAt, PendingAt);
        var window = MemoryRegion.Container("nvme", WindowSize);
        window.Add(0, MemoryRegion.Device("nvme-registers", TableAt, Read, Write, 4, 4));
        window.Add(TableAt, _msix.Table);
        window.Add(PendingAt, _msix.Pending);
        AddMemoryBar(0, window, wide: true);
    }

    /// <summary>The drive.</summary>
    public BlockBackend Backend => _backend;

    public override string TypeName => "nvme";
    public required string Serial { get; init; }
    public int BlockSize { get; init; } = Sector;

    private int PageSize => 4096 << (int)((_config >> 7) & 0xF);

    private long Blocks => _backend.Length / BlockSize;

    private AddressSpace Memory => DmaSpace;

    protected internal override void OnPlugged()
    {
        AddPowerManagement(0x60);
        _ = AddExpress(Bus is { IsExpress: true, Parent: null } ? PciExpressType.IntegratedEndpoint : PciExpressType.Endpoint, at: 0x80);
    }

    public override void Reset()
    {
        base.Reset();
        Disable();
        _config = _masked = _adminSizes = 0;
        _adminSubmission = _adminCompletion = 0;
    }

    private void Disable()
    {
        foreach (var request in _active)
            _backend.Cancel(request);
        _active.Clear();
        Array.Clear(_submission);
        Array.Clear(_completion);
        _status = 0;
        ResetAdmin();
        UpdatePin();
    }

    private ulong Read(ulong offset, int size) => offset switch
    {
        0x00 => (uint)(Capabilities & uint.MaxValue),
        0x04 => (uint)(Capabilities >> 32),
        0x08 => Version,
        0x0C or 0x10 => _masked,
        0x14 => _config,
        0x1C => _status,
        0x24 => _adminSizes,
        0x28 => (uint)_adminSubmission,
        0x2C => (uint)(_adminSubmission >> 32),
        0x30 => (uint)_adminCompletion,
        0x34 => (uint)(_adminCompletion >> 32),
        _ => 0,
    };

    private void Write(ulong offset, int size, ulong value)
    {
        var word = (uint)value;
        switch (offset)
        {
            case 0x0C:
                _masked |= word;
                UpdatePin();
                break;
            case 0x10:
                _masked &= ~word;
                UpdatePin();
                break;
            case 0x14:
                WriteConfiguration(word);
                break;
            case 0x24:
                _adminSizes = word & 0x0FFF_0FFF;
                break;
            case 0x28:
                _adminSubmission = (_adminSubmission & ~0xFFFF_FFFFUL) | (word & ~0xFFFu);
                break;
            case 0x2C:
                _adminSubmission = (uint)_adminSubmission | (ulong)word << 32;
                break;
            case 0x30:
                _adminCompletion = (_adminCompletion & ~0xFFFF_FFFFUL) | (word & ~0xFFFu);
                break;
            case 0x34:
                _adminCompletion = (uint)_adminCompletion | (ulong)word << 32;
                break;
            case >= DoorbellsAt when (offset - DoorbellsAt) / 8 <= MaxQueues:
                Ring((int)(offset - DoorbellsAt) / 8, (offset & 4) != 0, (int)(word & 0xFFFF));
                break;
        }
    }

    private void WriteConfiguration(uint value)
    {
        var before = _config;
        _config = value & 0x00FF_FFF1;
        if ((before & ConfigEnable) == 0 && (value & ConfigEnable) != 0)
            Enable();
        else if ((before & ConfigEnable) != 0 && (value & ConfigEnable) == 0)
            Disable();
        if (((value >> 14) & 3) == 0)
            _status &= ~StatusShutdownDone;
        else if (((before >> 14) & 3) == 0)
            _status |= StatusShutdownDone;
    }

    private void Enable()
    {
        if (((_config >> 7) & 0xF) > 4 || ((_config >> 4) & 7) != 0 || _adminSubmission == 0 || _adminCompletion == 0)
        {
            _status = StatusFatal;
            return;
        }

        var completion = new NvmeCompletionQueue(0, _adminCompletion, (int)(_adminSizes >> 16) + 1, 0, true) { Users = 1 };
        _completion[0] = completion;
        _submission[0] = new NvmeSubmissionQueue(0, _adminSubmission, (int)(_adminSizes & 0xFFF) + 1, completion);
        _status = StatusReady;
    }

    private void Ring(int id, bool isCompletion, int index)
    {
        if ((_status & StatusReady) == 0)
            return;
        if (isCompletion)
        {
            if (_completion[id] is not { } queue || index >= queue.Size)
                return;
            queue.Head = index;
            while (queue.Waiting.Count > 0 && !queue.IsFull)
            {
                var (from, command, status, result) = queue.Waiting.Dequeue();
                Post(from, command, status, result);
            }

            UpdatePin();
            return;
        }

        if (_submission[id] is not { } submission || index >= submission.Size)
            return;
        submission.Tail = index;
        Fetch(submission);
    }

    private void Fetch(NvmeSubmissionQueue queue)
    {
        Span<byte> command = stackalloc byte[CommandSize];
        while (IsBusMaster && queue.Head != queue.Tail && _submission[queue.Id] == queue)
        {
            _ = Memory.Read(queue.Address + (ulong)(queue.Head * CommandSize), command);
            queue.Head = (queue.Head + 1) % queue.Size;
            if (queue.Id == 0)
                RunAdmin(queue, command);
            else
                RunIo(queue, command);
        }
    }

    private static ushort IdOf(ReadOnlySpan<byte> command) => BinaryPrimitives.ReadUInt16LittleEndian(command[2..]);

    private static uint Dword(ReadOnlySpan<byte> command, int index) => BinaryPrimitives.ReadUInt32LittleEndian(command[(4 * index)..]);

    private void Complete(NvmeSubmissionQueue queue, ushort id, ushort status, uint result = 0)
    {
        if (_submission[queue.Id] != queue)
            return; // deleted meanwhile
        var completion = queue.Completion;
        if (completion.IsFull || completion.Waiting.Count > 0)
            completion.Waiting.Enqueue((queue, id, status, result));
        else
            Post(queue, id, status, result);
    }

    private void Post(NvmeSubmissionQueue queue, ushort id, ushort status, uint result)
    {
        var completion = queue.Completion;
        Span<byte> entry = stackalloc byte[CompletionSize];
        BinaryPrimitives.WriteUInt32LittleEndian(entry, result);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], 0);
        BinaryPrimitives.WriteUInt16LittleEndian(entry[8..], (ushort)queue.Head);
        BinaryPrimitives.WriteUInt16LittleEndian(entry[10..], (ushort)queue.Id);
        BinaryPrimitives.WriteUInt16LittleEndian(entry[12..], id);
        var last = (ushort)((status << 1) | (completion.Phase ? 1 : 0));
        var at = completion.Address + (ulong)(completion.Tail * CompletionSize);
        // The phase bit tells the driver that the entry is there: it goes last.
        _ = Memory.Write(at, entry[..14]);
        Interlocked.MemoryBarrier();
        Memory.Store(at + 14, 2, last);
        completion.Tail++;
        if (completion.Tail == completion.Size)
        {
            completion.Tail = 0;
            completion.Phase = !completion.Phase;
        }

        if (completion.Interrupts && _msix.IsEnabled)
            _msix.Notify(completion.Vector);
        UpdatePin();
    }

    private void UpdatePin()
    {
        var level = false;
        if (!_msix.IsEnabled)
        {
            foreach (var queue in _completion)
                level |= queue is { Interrupts: true } && queue.Head != queue.Tail && (queue.Vector > 31 || (_masked & (1u << queue.Vector)) == 0);
        }

        SetIntx(level);
    }

    private void RunIo(NvmeSubmissionQueue queue, ReadOnlySpan<byte> command)
    {
        var id = IdOf(command);
        var space = Dword(command, 1);
        if (space != 1 && !(command[0] == 0 && space == uint.MaxValue))
        {
            Complete(queue, id, InvalidNamespace);
            return;
        }

        switch (command[0])
        {
            case 0x00:
                Submit(queue, id, BlockOperation.Flush, 0, 0, null);
                break;
            case 0x01 or 0x02:
                StartTransfer(queue, command, command[0] == 0x02);
                break;
            case 0x08:
                if (Range(command, out var start, out var bytes))
                    Submit(queue, id, BlockOperation.WriteZeroes, start, bytes, null, (Dword(command, 12) & 0x0200_0000) != 0);
                else
                    Complete(queue, id, OutOfRange);
                break;
            case 0x09:
                ManageDataSet(queue, command);
                break;
            default:
                Complete(queue, id, InvalidOpcode);
                break;
        }
    }

    private bool Range(ReadOnlySpan<byte> command, out long start, out long bytes)
    {
        var lba = BinaryPrimitives.ReadUInt64LittleEndian(command[40..]);
        var count = (Dword(command, 12) & 0xFFFF) + 1;
        (start, bytes) = (0, 0);
        if (lba > (ulong)Blocks || count > (ulong)Blocks - lba)
            return false;
        (start, bytes) = ((long)lba * BlockSize, (long)count * BlockSize);
        return true;
    }

    private void StartTransfer(NvmeSubmissionQueue queue, ReadOnlySpan<byte> command, bool read)
    {
        var id = IdOf(command);
        if (!Range(command, out var start, out var bytes))
        {
            Complete(queue, id, OutOfRange);
            return;
        }

        if (bytes > 4096 << MaxTransferShift || Map(command, bytes, read) is not { } memory)
        {
            Complete(queue, id, InvalidField);
            return;
        }

        Submit(queue, id, read ? BlockOperation.Read : BlockOperation.Write, start, bytes, memory, !read && (Dword(command, 12) & 0x4000_0000) != 0);
    }

    /// <param name="flag">Write zeroes: deallocate; writes: durable on completion.</param>
    private void Submit(NvmeSubmissionQueue queue, ushort id, BlockOperation operation, long start, long bytes, DmaBuffer? memory, bool flag = false,
        Action<BlockRequest>? then = null)
    {
        var request = new BlockRequest
        {
            Operation = operation,
            Offset = start,
            Length = bytes,
            Segments = memory?.Segments ?? [],
            MayUnmap = flag && operation == BlockOperation.WriteZeroes,
            ForceUnitAccess = flag && operation == BlockOperation.Write,
            Completed = r =>
            {
                _ = _active.Remove(r);
                if (r.Error == BlockError.None)
                    memory?.Complete();
                if (then != null && r.Error == BlockError.None)
                    then(r);
                else
                    Complete(queue, id, StatusOf(r));
            },
        };
        _ = _active.Add(request);
        _backend.Submit(request);
    }

    private static ushort StatusOf(BlockRequest request) => request.Error switch
    {
        BlockError.None => Success,
        BlockError.ReadOnly or BlockError.NotPermitted => WriteProtected,
        BlockError.Invalid => OutOfRange,
        _ when request.Operation == BlockOperation.Read => ReadError,
        _ when request.Operation == BlockOperation.Write => WriteFault,
        _ => InternalError,
    };

    /// <summary>Deallocates ranges, one after the other.</summary>
    private void ManageDataSet(NvmeSubmissionQueue queue, ReadOnlySpan<byte> command)
    {
        const uint Deallocate = 4;
        var id = IdOf(command);
        var ranges = new byte[16 * (int)((Dword(command, 10) & 0xFF) + 1)];
        if (Map(command, ranges.Length, false) is not { } memory)
        {
            Complete(queue, id, InvalidField);
            return;
        }

        var at = 0;
        foreach (var segment in memory.Segments)
        {
            segment.Span.CopyTo(ranges.AsSpan(at));
            at += segment.Length;
        }

        if ((Dword(command, 11) & Deallocate) == 0)
            Complete(queue, id, Success);
        else
            Next(0);

        void Next(int index)
        {
            for (; index < ranges.Length / 16; index++)
            {
                var count = (long)BinaryPrimitives.ReadUInt32LittleEndian(ranges.AsSpan((16 * index) + 4));
                var lba = BinaryPrimitives.ReadUInt64LittleEndian(ranges.AsSpan((16 * index) + 8));
                if (lba > (ulong)Blocks || count > Blocks - (long)lba)
                {
                    Complete(queue, id, OutOfRange);
                    return;
                }

                if (count == 0)
                    continue;
                var following = index + 1;
                Submit(queue, id, BlockOperation.Discard, (long)lba * BlockSize, count * BlockSize, null, then: _ => Next(following));
                return;
            }

            Complete(queue, id, Success);
        }
    }

    /// <summary>The memory of a command's physical region pages; null if they are malformed.</summary>
    private DmaBuffer? Map(ReadOnlySpan<byte> command, long length, bool toGuest)
    {
        // Scatter gather lists are not offered.
        if ((command[1] & 0xC0) != 0)
            return null;
        var memory = new DmaBuffer(Memory, toGuest);
        var first = BinaryPrimitives.ReadUInt64LittleEndian(command[24..]);
        var second = BinaryPrimitives.ReadUInt64LittleEndian(command[32..]);
        var page = PageSize;
        var n = (int)Math.Min(length, page - (long)(first & (ulong)(page - 1)));
        memory.Add(first, n);
        length -= n;
        if (length <= 0)
            return memory;
        if (length <= page)
        {
            if ((second & (ulong)(page - 1)) != 0)
                return null;
            memory.Add(second, (int)length);
            return memory;
        }

        var list = second & ~7UL;
        while (length > 0)
        {
            var entry = Memory.Load(list, 8);
            var isLast = (list & (ulong)(page - 1)) == (ulong)(page - 8);
            if (isLast && length > page)
            {
                // The last entry of a list page points to the next one.
                if ((entry & (ulong)(page - 1)) != 0)
                    return null;
                list = entry;
                entry = Memory.Load(list, 8);
            }

            if ((entry & (ulong)(page - 1)) != 0)
                return null;
            n = (int)Math.Min(length, page);
            memory.Add(entry, n);
            length -= n;
            list += 8;
        }

        return memory;
    }
}
