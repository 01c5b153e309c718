using System.Buffers.Binary;
using Dromaius.Core.Memory;
using Dromaius.Devices.Storage.Scsi;

namespace Dromaius.Devices.Virtio;

/// <summary>
/// A SCSI host adapter with a control queue, an event queue and one or more request queues. Source: OASIS Virtio 1.1, section 5.6.
/// </summary>
public sealed class VirtioScsi : VirtioDevice
{
    public const int MaxChannel = 0, MaxTarget = 255, MaxLun = 16383;
    private const ulong InOut = 1 << 0, Hotplug = 1 << 1, Change = 1 << 2;
    private const int ControlQueue = 0, EventQueue = 1, FirstRequestQueue = 2;
    private const int DefaultCdbSize = 32, DefaultSenseSize = 96, MaxCdbSize = 256, EventSize = 16;
    private const int RequestHeader = 19, ResponseHeader = 12, LunSize = 8;
    private const uint EventsMissed = 0x8000_0000, EventNone = 0, EventTransportReset = 1, EventParameterChange = 3;
    private const uint ReasonRescan = 1, ReasonRemoved = 2;

    private readonly HashSet<Request> _active = [];
    private readonly Stack<Request> _pool = new();
    private readonly int _queueSize;
    private int _cdbSize = DefaultCdbSize, _senseSize = DefaultSenseSize;
    private bool _eventsDropped;

    private enum Response : byte
    {
        Ok = 0,
        Overrun = 1,
        Aborted = 2,
        BadTarget = 3,
        Reset = 4,
        Busy = 5,
        TransportFailure = 6,
        TargetFailure = 7,
        NexusFailure = 8,
        Failure = 9,
        FunctionSucceeded = 10,
        FunctionRejected = 11,
        IncorrectLun = 12,
    }

    private enum TaskFunction : uint
    {
        AbortTask,
        AbortTaskSet,
        ClearAca,
        ClearTaskSet,
        NexusReset,
        UnitReset,
        QueryTask,
        QueryTaskSet,
    }

    /// <param name="memory">What the device sees.</param>
    /// <param name="bus">The units behind it.</param>
    /// <param name="queues">How many request queues.</param>
    /// <param name="queueSize">Descriptors of each queue.</param>
    public VirtioScsi(AddressSpace memory, ScsiBus bus, int queues, int queueSize)
        : base(memory)
    {
        Bus = bus;
        _queueSize = queueSize;
        for (var i = 0; i < FirstRequestQueue + queues; i++)
            _ = AddQueue(queueSize);
        bus.Plugged = unit => SendEvent(Hotplug, EventTransportReset, unit, ReasonRescan);
        bus.Unplugging = unit =>
        {
            EndTasks(r => r.Unit == unit, Response.BadTarget);
            SendEvent(Hotplug, EventTransportReset, unit, ReasonRemoved);
        };
        bus.Changed = (unit, sense) => SendEvent(Change, EventParameterChange, unit, sense.Code | (uint)sense.Qualifier << 8);
    }

    public ScsiBus Bus { get; }
    public override string TypeName => "virtio-scsi-device";
    public override int DeviceId => 8;
    public override int ClassCode => 0x010000;
    public override int ConfigLength => 36;
    public uint MaxSectors { get; init; } = 0xFFFF;
    public uint CommandsPerLun { get; init; } = 128;

    /// <summary>Units that come and go are told.</summary>
    public bool HasHotplug { get; init; } = true;

    /// <summary>Changes of size and medium are told.</summary>
    public bool HasChange { get; init; } = true;

    protected override ulong DeviceFeatures => (HasHotplug ? Hotplug : 0) | (HasChange ? Change : 0);

    public override void ReadConfig(Span<byte> config)
    {
        config.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(config, Queues.Count - FirstRequestQueue);
        BinaryPrimitives.WriteInt32LittleEndian(config[4..], Math.Max(_queueSize - 2, 1));
        BinaryPrimitives.WriteUInt32LittleEndian(config[8..], MaxSectors);
        BinaryPrimitives.WriteUInt32LittleEndian(config[12..], CommandsPerLun);
        BinaryPrimitives.WriteInt32LittleEndian(config[16..], EventSize);
        BinaryPrimitives.WriteInt32LittleEndian(config[20..], _senseSize);
        BinaryPrimitives.WriteInt32LittleEndian(config[24..], _cdbSize);
        BinaryPrimitives.WriteUInt16LittleEndian(config[28..], MaxChannel);
        BinaryPrimitives.WriteUInt16LittleEndian(config[30..], MaxTarget);
        BinaryPrimitives.WriteInt32LittleEndian(config[32..], MaxLun);
    }

    public override void WriteConfig(int offset, ReadOnlySpan<byte> value)
    {
        const int SenseAt = 20, CdbAt = 24, LargestSense = 65536;
        if (offset is not (SenseAt or CdbAt) || value.Length != 4)
            return;
        var size = BinaryPrimitives.ReadUInt32LittleEndian(value);
        if (offset == SenseAt && size < LargestSense)
            _senseSize = (int)size;
        else if (offset == CdbAt && size < MaxCdbSize)
            _cdbSize = (int)size;
        else
            Break("bad data written to virtio-scsi configuration space");
    }

    protected override void HandleQueue(Virtqueue queue)
    {
        if (queue.Index == EventQueue)
        {
            if (_eventsDropped && SendEvent(EventNone, 0, 0))
                _eventsDropped = false;
            return;
        }

        do
        {
            queue.EnableDoorbell(false);
            while (queue.Pop() is { } element)
            {
                if (queue.Index == ControlQueue)
                    Control(queue, element);
                else
                    Start(queue, element);
            }

            queue.EnableDoorbell(true);
        }
        while (queue.HasAvailable);
    }

    protected override void OnReset()
    {
        foreach (var request in _active)
        {
            request.Unit!.Cancel(request.Task);
            request.Dropped = true;
        }

        _active.Clear();
        // A reset of the adapter is one of its bus.
        foreach (var unit in Bus.Units)
            unit.Reset();
        _eventsDropped = false;
        (_cdbSize, _senseSize) = (DefaultCdbSize, DefaultSenseSize);
    }

    /// <summary>A unit's address: 1, the target, and the number in flat space addressing. Null for other forms.</summary>
    private static (int Target, int Lun)? Address(ReadOnlySpan<byte> lun)
    {
        if (lun[0] != 1 || (lun[2] != 0 && (lun[2] & 0xC0) != 0x40))
            return null;
        return (lun[1], (lun[2] & 0x3F) << 8 | lun[3]);
    }

    private void Start(Virtqueue queue, VirtqueueElement element)
    {
        Span<byte> header = stackalloc byte[RequestHeader + MaxCdbSize];
        header = header[..(RequestHeader + _cdbSize)];
        var responseSize = ResponseHeader + _senseSize;
        if (element.Read(Memory, 0, header) < header.Length || element.WritableLength < responseSize)
        {
            Break("request without header or response");
            queue.Detach(element);
            return;
        }

        var request = _pool.Count > 0 ? _pool.Pop() : new Request(this);
        request.Queue = queue;
        request.Element = element;
        request.Dma = null;
        request.Dropped = false;
        request.Tag = BinaryPrimitives.ReadUInt64LittleEndian(header[LunSize..]);
        var dataIn = element.WritableLength - responseSize;
        var dataOut = element.ReadableLength - header.Length;
        request.Available = dataIn + dataOut;
        if (dataIn > 0 && dataOut > 0 && !Has(InOut))
        {
            Respond(request, Response.Failure);
            return;
        }

        request.Unit = Address(header) is { } at ? Bus.Answering(0, at.Target, at.Lun) : null;
        if (request.Unit is not { } unit)
        {
            Respond(request, Response.BadTarget);
            return;
        }

        var task = request.Task;
        task.Lun = Address(header)!.Value.Lun;
        Array.Clear(task.Cdb);
        header[RequestHeader..][..Math.Min(_cdbSize, ScsiTask.MaxCommand)].CopyTo(task.Cdb);
        unit.Start(task);
        if (task.Length > (task.Direction == ScsiDirection.In ? dataIn : dataOut))
        {
            Respond(request, Response.Overrun);
            return;
        }

        _ = _active.Add(request);
        if (task.Length == 0)
        {
            unit.Finish(task, request.Finished);
            return;
        }

        var dma = new DmaBuffer(Memory, task.Direction == ScsiDirection.In);
        if (task.Direction == ScsiDirection.In)
            element.MapWritable(dma, responseSize, task.Length);
        else
            element.MapReadable(dma, header.Length, task.Length);
        request.Dma = dma;
        unit.Transfer(task, dma.Segments, request.Transferred);
    }

    private void OnTransferred(Request request)
    {
        if (request.Dropped)
            return;
        if (request.Task.Status == ScsiStatus.Good)
            request.Dma?.Complete();
        request.Unit!.Finish(request.Task, request.Finished);
    }

    private void OnFinished(Request request)
    {
        if (!request.Dropped)
            Respond(request, Response.Ok);
    }

    private void Respond(Request request, Response response)
    {
        _ = _active.Remove(request);
        Span<byte> reply = stackalloc byte[ResponseHeader + ScsiSense.FixedLength];
        reply.Clear();
        var task = request.Task;
        var moved = 0L;
        if (response == Response.Ok)
        {
            moved = task.Position;
            BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], (uint)(request.Available - moved));
            reply[10] = (byte)task.Status;
            if (task.Status == ScsiStatus.CheckCondition)
            {
                BinaryPrimitives.WriteInt32LittleEndian(reply, Math.Min(ScsiSense.FixedLength, _senseSize));
                task.Sense.Write(reply[ResponseHeader..]);
                request.Unit!.SenseDelivered();
            }
        }

        reply[11] = (byte)response;
        var element = request.Element!;
        _ = element.Write(Memory, 0, reply[..Math.Min(reply.Length, ResponseHeader + _senseSize)]);
        var readIn = request.Dma != null && task.Direction == ScsiDirection.In ? moved : 0;
        var queue = request.Queue!;
        queue.Push(element, (uint)(ResponseHeader + _senseSize + readIn));
        queue.Notify();
        request.Element = null;
        request.Dma = null;
        request.Unit = null;
        _pool.Push(request);
    }

    /// <summary>Ends tasks before their time; the unit no longer touches their memory.</summary>
    /// <returns>How many there were.</returns>
    private int EndTasks(Predicate<Request> which, Response response)
    {
        var ended = _active.Where(r => which(r)).ToList();
        foreach (var request in ended)
        {
            request.Unit!.Cancel(request.Task);
            // Its callbacks may still come if the unit was between two steps: they must find another request.
            request.Dropped = true;
            var copy = new Request(this) { Queue = request.Queue, Element = request.Element, Available = request.Available };
            _ = _active.Remove(request);
            Respond(copy, response);
        }

        return ended.Count;
    }

    private void Control(Virtqueue queue, VirtqueueElement element)
    {
        const int TaskManagement = 0, AsynchronousQuery = 1, AsynchronousSubscribe = 2, TaskRequest = 24, NotificationRequest = 16;
        Span<byte> data = stackalloc byte[TaskRequest];
        data.Clear();
        var read = element.Read(Memory, 0, data);
        var type = BinaryPrimitives.ReadUInt32LittleEndian(data);
        Span<byte> reply = stackalloc byte[5];
        reply.Clear();
        int size;
        switch (type)
        {
            case TaskManagement when read >= TaskRequest && element.WritableLength >= 1:
                var function = (TaskFunction)BinaryPrimitives.ReadUInt32LittleEndian(data[4..]);
                reply[0] = (byte)Manage(function, data.Slice(8, LunSize), BinaryPrimitives.ReadUInt64LittleEndian(data[16..]));
                size = 1;
                break;
            case AsynchronousQuery or AsynchronousSubscribe when read >= NotificationRequest && element.WritableLength >= reply.Length:
                // No asynchronous notification is offered: actual event mask 0, response OK.
                size = reply.Length;
                break;
            case TaskManagement or AsynchronousQuery or AsynchronousSubscribe:
                Break("control request without header or response");
                queue.Detach(element);
                return;
            default:
                size = 0;
                break;
        }

        _ = element.Write(Memory, 0, reply[..size]);
        queue.Push(element, (uint)size);
        queue.Notify();
    }

    private Response Manage(TaskFunction function, ReadOnlySpan<byte> lun, ulong tag)
    {
        if (Address(lun) is not { } at || Bus.Answering(0, at.Target, at.Lun) is not { } unit)
            return Response.BadTarget;
        if (function != TaskFunction.NexusReset && unit.Lun != at.Lun)
            return Response.IncorrectLun;
        switch (function)
        {
            case TaskFunction.AbortTask:
                _ = EndTasks(r => r.Unit == unit && r.Tag == tag, Response.Aborted);
                return Response.Ok;
            case TaskFunction.AbortTaskSet or TaskFunction.ClearTaskSet:
                _ = EndTasks(r => r.Unit == unit, Response.Aborted);
                return Response.Ok;
            case TaskFunction.UnitReset:
                _ = EndTasks(r => r.Unit == unit, Response.Reset);
                unit.Reset(ScsiSense.UnitReset);
                return Response.Ok;
            case TaskFunction.NexusReset:
                foreach (var each in Bus.UnitsOf(0, at.Target).ToList())
                {
                    _ = EndTasks(r => r.Unit == each, Response.Reset);
                    each.Reset(ScsiSense.BusReset);
                }

                return Response.Ok;
            case TaskFunction.QueryTask:
                return _active.Any(r => r.Unit == unit && r.Tag == tag) ? Response.FunctionSucceeded : Response.Ok;
            case TaskFunction.QueryTaskSet:
                return _active.Any(r => r.Unit == unit) ? Response.FunctionSucceeded : Response.Ok;
            default:
                return Response.FunctionRejected;
        }
    }

    private void SendEvent(ulong feature, uint type, ScsiTarget unit, uint reason)
    {
        if (!Has(feature) || !IsRunning)
            return;
        // Small numbers as REPORT LUNS has them: drivers compare the two.
        var high = unit.Lun < 256 ? 0u : (uint)(unit.Lun >> 8) | 0x40;
        _ = SendEvent(type, 1u | (uint)unit.TargetId << 8 | high << 16 | (uint)(unit.Lun & 0xFF) << 24, reason);
    }

    /// <summary>Puts an event in the next buffer of the driver; without one it is lost and the next one says so.</summary>
    private bool SendEvent(uint type, uint lun, uint reason)
    {
        var queue = Queues[EventQueue];
        if (queue.Pop() is not { } element)
        {
            _eventsDropped = true;
            return false;
        }

        if (element.WritableLength < EventSize)
        {
            Break("event buffer is too small");
            queue.Detach(element);
            return false;
        }

        Span<byte> data = stackalloc byte[EventSize];
        data.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(data, type | (_eventsDropped ? EventsMissed : 0));
        _eventsDropped = false;
        BinaryPrimitives.WriteUInt32LittleEndian(data[4..], lun);
        BinaryPrimitives.WriteUInt32LittleEndian(data[12..], reason);
        _ = element.Write(Memory, 0, data);
        queue.Push(element, EventSize);
        queue.Notify();
        return true;
    }

    /// <summary>A command on its way, kept for the next one.</summary>
    private sealed class Request
    {
        public Request(VirtioScsi owner)
        {
            Transferred = _ => owner.OnTransferred(this);
            Finished = _ => owner.OnFinished(this);
        }

        public ScsiTask Task { get; } = new();
        public Action<ScsiTask> Transferred { get; }
        public Action<ScsiTask> Finished { get; }

        /// <summary>The driver's name for it.</summary>
        public ulong Tag { get; set; }
        public ScsiTarget? Unit { get; set; }
        public Virtqueue? Queue { get; set; }
        public VirtqueueElement? Element { get; set; }
        public DmaBuffer? Dma { get; set; }

        /// <summary>Bytes of data buffers the driver gave.</summary>
        public long Available { get; set; }

        /// <summary>Ended already: late callbacks do nothing.</summary>
        public bool Dropped { get; set; }
    }
}
