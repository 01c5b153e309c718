using System.Buffers.Binary;
using System.Text;
using Dromaius.Block;
using Dromaius.Core.Memory;
using Dromaius.Devices.Storage;

namespace Dromaius.Devices.Virtio;

/// <summary>A block device with one or more queues. Source: OASIS Virtio 1.2, section 5.2.</summary>
public sealed class VirtioBlock : VirtioDevice
{
    public const int MaxDiscardSectors = 0x3F_FFFF;
    private const ulong SegMax = 1 << 2, GeometryFeature = 1 << 4, ReadOnly = 1 << 5, BlockSizeFeature = 1 << 6, FlushFeature = 1 << 9;
    private const ulong Topology = 1 << 10, ConfigWce = 1 << 11, MultiQueue = 1 << 12, DiscardFeature = 1 << 13, ZeroesFeature = 1 << 14;
    private const int HeaderSize = 16, RangeSize = 16, Sector = 512, WceAt = 32;
    private const uint TypeIn = 0, TypeOut = 1, TypeFlush = 4, TypeGetId = 8, TypeDiscard = 11, TypeZeroes = 13;
    private const byte StatusOk = 0, StatusError = 1, StatusUnsupported = 2;

    private readonly BlockBackend _backend;
    private readonly bool _writeCache;
    private readonly DiskGeometry _geometry;
    private readonly Stack<Request> _pool = new();
    private readonly HashSet<Request> _active = [];
    private readonly int _queueSize;

    /// <param name="memory">What the device sees.</param>
    /// <param name="backend">The drive.</param>
    /// <param name="queues">How many queues.</param>
    /// <param name="queueSize">Descriptors of each.</param>
    /// <param name="geometry">For drivers that still ask.</param>
    public VirtioBlock(AddressSpace memory, BlockBackend backend, int queues, int queueSize, DiskGeometry geometry)
        : base(memory)
    {
        _backend = backend;
        _writeCache = backend.WriteCache;
        _geometry = geometry;
        _queueSize = queueSize;
        for (var i = 0; i < queues; i++)
            _ = AddQueue(queueSize);
        backend.MediumChanged += ConfigChanged;
    }

    /// <summary>The drive.</summary>
    public BlockBackend Backend => _backend;

    public override string TypeName => "virtio-blk-device";
    public override int DeviceId => 2;
    public override int ClassCode => 0x010000;
    public override int ConfigLength => 60;
    public string Serial { get; init; } = "";
    public int LogicalBlockSize { get; init; } = Sector;
    public int PhysicalBlockSize { get; init; } = Sector;
    public int MinIoSize { get; init; }
    public int OptIoSize { get; init; }
    public bool HasDiscard { get; init; } = true;
    public bool HasWriteZeroes { get; init; } = true;

    protected override ulong DeviceFeatures => SegMax | GeometryFeature | BlockSizeFeature | Topology | FlushFeature | ConfigWce
        | (_backend.IsReadOnly ? ReadOnly : 0) | (Queues.Count > 1 ? MultiQueue : 0) | (HasDiscard ? DiscardFeature : 0)
        | (HasWriteZeroes ? ZeroesFeature : 0);

    public override void ReadConfig(Span<byte> config)
    {
        config.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(config, _backend.Length / Sector);
        BinaryPrimitives.WriteInt32LittleEndian(config[12..], Math.Max(_queueSize - 2, 1));
        BinaryPrimitives.WriteUInt16LittleEndian(config[16..], (ushort)_geometry.Cylinders);
        config[18] = (byte)_geometry.Heads;
        config[19] = (byte)_geometry.Sectors;
        BinaryPrimitives.WriteInt32LittleEndian(config[20..], LogicalBlockSize);
        config[24] = (byte)Math.Max(0, int.Log2(PhysicalBlockSize / LogicalBlockSize));
        BinaryPrimitives.WriteUInt16LittleEndian(config[26..], (ushort)(MinIoSize / LogicalBlockSize));
        BinaryPrimitives.WriteInt32LittleEndian(config[28..], OptIoSize / LogicalBlockSize);
        config[WceAt] = (byte)(_backend.WriteCache ? 1 : 0);
        BinaryPrimitives.WriteUInt16LittleEndian(config[34..], (ushort)Queues.Count);
        BinaryPrimitives.WriteInt32LittleEndian(config[36..], MaxDiscardSectors);
        BinaryPrimitives.WriteInt32LittleEndian(config[40..], 1);
        BinaryPrimitives.WriteInt32LittleEndian(config[44..], LogicalBlockSize / Sector);
        BinaryPrimitives.WriteInt32LittleEndian(config[48..], MaxDiscardSectors);
        BinaryPrimitives.WriteInt32LittleEndian(config[52..], 1);
        config[56] = 1;
    }

    public override void WriteConfig(int offset, ReadOnlySpan<byte> value)
    {
        if (offset == WceAt && Has(ConfigWce))
            _backend.WriteCache = (value[0] & 1) != 0;
    }

    protected override void OnStarted()
    {
        // A driver that knows neither flushes nor the switch relies on every write being durable.
        if (!Has(ConfigWce) && !Has(FlushFeature))
            _backend.WriteCache = false;
    }

    protected override void OnReset()
    {
        foreach (var request in _active)
        {
            _backend.Cancel(request.Block);
            request.Owner = null;
        }

        _active.Clear();
        // What a driver that knows no flushes asked for ends with it: firmware is one, the system after it is not.
        _backend.WriteCache = _writeCache;
    }

    protected override void HandleQueue(Virtqueue queue)
    {
        do
        {
            queue.EnableDoorbell(false);
            while (queue.Pop() is { } element)
                Start(queue, element);
            queue.EnableDoorbell(true);
        }
        while (queue.HasAvailable);
    }

    private void Start(Virtqueue queue, VirtqueueElement element)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        if (element.Read(Memory, 0, header) < HeaderSize || element.WritableLength < 1)
        {
            Break("request without header or status");
            queue.Detach(element);
            return;
        }

        var request = _pool.Count > 0 ? _pool.Pop() : new Request();
        request.Owner = this;
        request.Queue = queue;
        request.Element = element;
        request.Dma = null;
        var type = BinaryPrimitives.ReadUInt32LittleEndian(header);
        var sector = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
        var dataIn = element.WritableLength - 1;
        var dataOut = element.ReadableLength - HeaderSize;
        switch (type)
        {
            case TypeIn:
                Transfer(request, BlockOperation.Read, sector, dataIn);
                break;
            case TypeOut:
                Transfer(request, BlockOperation.Write, sector, dataOut);
                break;
            case TypeFlush:
                Submit(request, BlockOperation.Flush, 0, 0);
                break;
            case TypeGetId:
                Span<byte> id = stackalloc byte[20];
                id.Clear();
                _ = Encoding.ASCII.GetBytes(Serial.AsSpan(0, Math.Min(Serial.Length, id.Length)), id);
                Finish(request, StatusOk, (uint)element.Write(Memory, 0, id[..(int)Math.Min(id.Length, dataIn)]));
                break;
            case TypeDiscard or TypeZeroes:
                StartRange(request, type, dataOut);
                break;
            default:
                Finish(request, StatusUnsupported, 0);
                break;
        }
    }

    private void Transfer(Request request, BlockOperation operation, ulong sector, long length)
    {
        var capacity = (ulong)_backend.Length / Sector;
        if (length % LogicalBlockSize != 0 || sector > capacity || (ulong)length / Sector > capacity - sector
            || sector % (ulong)(LogicalBlockSize / Sector) != 0)
        {
            Finish(request, StatusError, 0);
            return;
        }

        var dma = new DmaBuffer(Memory, operation == BlockOperation.Read);
        if (operation == BlockOperation.Read)
            request.Element!.MapWritable(dma, 0, length);
        else
            request.Element!.MapReadable(dma, HeaderSize, length);
        request.Dma = dma;
        request.Block.Segments = dma.Segments;
        Submit(request, operation, (long)sector * Sector, length);
    }

    /// <summary>Discard and write zeroes name one range after the header.</summary>
    private void StartRange(Request request, uint type, long length)
    {
        Span<byte> range = stackalloc byte[RangeSize];
        if (length != RangeSize || request.Element!.Read(Memory, HeaderSize, range) < RangeSize)
        {
            Finish(request, length > RangeSize ? StatusUnsupported : StatusError, 0);
            return;
        }

        var sector = BinaryPrimitives.ReadUInt64LittleEndian(range);
        var count = BinaryPrimitives.ReadUInt32LittleEndian(range[8..]);
        var flags = BinaryPrimitives.ReadUInt32LittleEndian(range[12..]);
        var zeroes = type == TypeZeroes;
        if ((flags & ~(zeroes ? 1u : 0)) != 0 || !(zeroes ? HasWriteZeroes : HasDiscard))
        {
            Finish(request, StatusUnsupported, 0);
            return;
        }

        var capacity = (ulong)_backend.Length / Sector;
        if (count > MaxDiscardSectors || sector > capacity || count > capacity - sector)
        {
            Finish(request, StatusError, 0);
            return;
        }

        request.Block.MayUnmap = (flags & 1) != 0;
        Submit(request, zeroes ? BlockOperation.WriteZeroes : BlockOperation.Discard, (long)sector * Sector, (long)count * Sector);
    }

    private void Submit(Request request, BlockOperation operation, long offset, long length)
    {
        request.Block.Operation = operation;
        request.Block.Offset = offset;
        request.Block.Length = length;
        _ = _active.Add(request);
        _backend.Submit(request.Block);
    }

    private void OnCompleted(Request request)
    {
        _ = _active.Remove(request);
        var block = request.Block;
        if (block.Error == BlockError.None)
            request.Dma?.Complete();
        var written = block.Operation == BlockOperation.Read && block.Error == BlockError.None ? (uint)block.Length : 0;
        Finish(request, block.Error switch
        {
            BlockError.None => StatusOk,
            BlockError.NotSupported => StatusUnsupported,
            _ => StatusError,
        }, written);
    }

    private void Finish(Request request, byte status, uint written)
    {
        var element = request.Element!;
        _ = element.Write(Memory, element.WritableLength - 1, [status]);
        var queue = request.Queue!;
        queue.Push(element, written + 1);
        queue.Notify();
        request.Element = null;
        request.Dma = null;
        request.Block.Segments = [];
        _pool.Push(request);
    }

    /// <summary>A request in flight, kept for the next one.</summary>
    private sealed class Request
    {
        public Request() => Block = new BlockRequest { Completed = _ => Owner?.OnCompleted(this) };

        public BlockRequest Block { get; }

        /// <summary>Null after the device was reset under it.</summary>
        public VirtioBlock? Owner { get; set; }
        public Virtqueue? Queue { get; set; }
        public VirtqueueElement? Element { get; set; }
        public DmaBuffer? Dma { get; set; }
    }
}
