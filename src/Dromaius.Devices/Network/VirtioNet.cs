using System.Buffers.Binary;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Virtio;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// A network device with one or more pairs of queues, a control queue, and checksums and segmentation left to the far end. Source:
/// OASIS Virtio 1.2, section 5.1.
/// </summary>
public sealed partial class VirtioNet : VirtioDevice, INetworkAdapter
{
    public const ulong ChecksumFeature = 1, GuestChecksum = 1 << 1, ControlGuestOffloads = 1 << 2, MtuFeature = 1 << 3, MacFeature = 1 << 5,
        GuestTso4 = 1 << 7, GuestTso6 = 1 << 8, GuestEcn = 1 << 9, GuestUfo = 1 << 10, HostTso4 = 1 << 11, HostTso6 = 1 << 12, HostEcn = 1 << 13,
        HostUfo = 1 << 14, MergeableBuffers = 1 << 15, StatusFeature = 1 << 16, ControlQueue = 1 << 17, ControlRx = 1 << 18, ControlVlan = 1 << 19,
        ControlRxExtra = 1 << 20, GuestAnnounce = 1 << 21, MultiQueue = 1 << 22, ControlMac = 1 << 23, SpeedDuplex = 1UL << 63;

    private const int MaxMerged = 64;
    private const ushort StatusLinkUp = 1, StatusAnnounce = 2;

    private readonly byte[] _frame = new byte[NetEndpoint.MaxFrame + 64];
    private readonly VirtqueueElement[] _merged = new VirtqueueElement[MaxMerged];
    private readonly int _pairs;
    private readonly bool[] _blocked;

    // The driver is to announce itself and has not said yet that it did.
    private bool _isAnnouncing;
    private readonly Clock _clock;
    private readonly Core.Time.Timer _continue;
    private int _currentPairs = 1;

    /// <param name="memory">What the device sees.</param>
    /// <param name="clock">For going on later with queues that the driver fills without end.</param>
    /// <param name="mac">Its address.</param>
    /// <param name="pairs">Pairs of queues, at least one.</param>
    /// <param name="receiveSize">Descriptors of a receive queue.</param>
    /// <param name="transmitSize">Descriptors of a transmit queue.</param>
    public VirtioNet(AddressSpace memory, Clock clock, MacAddress mac, int pairs = 1, int receiveSize = 256, int transmitSize = 256)
        : base(memory)
    {
        PermanentMac = mac;
        _clock = clock;
        _continue = clock.CreateTimer(OnPeerReady);
        _filter = new ReceiveFilter(mac);
        _pairs = pairs;
        _blocked = new bool[pairs];
        for (var i = 0; i < pairs; i++)
        {
            _ = AddQueue(receiveSize);
            _ = AddQueue(transmitSize);
        }

        _ = AddQueue(64);
    }

    public override string TypeName => "virtio-net-device";
    public override int DeviceId => 1;
    public override int ClassCode => 0x020000;
    public override int ConfigLength => Speed != null ? 17 : Mtu != 0 ? 12 : _pairs > 1 ? 10 : 8;
    public MacAddress PermanentMac { get; }

    /// <summary>The adapter's end of the cable; set before it is used.</summary>
    public Nic? Nic { get; set; }

    /// <summary>What the driver shall not exceed; 0 to say nothing.</summary>
    public int Mtu { get; init; }

    /// <summary>Megabits a second to report, or null.</summary>
    public uint? Speed { get; init; }
    public bool FullDuplex { get; init; } = true;

    protected override ulong DeviceFeatures => ChecksumFeature | GuestChecksum | ControlGuestOffloads | MacFeature | GuestTso4 | GuestTso6 | GuestEcn
        | HostTso4 | HostTso6 | HostEcn | MergeableBuffers | StatusFeature | ControlQueue | ControlRx | ControlVlan | ControlRxExtra | GuestAnnounce
        | ControlMac | (_pairs > 1 ? MultiQueue : 0) | (Mtu != 0 ? MtuFeature : 0) | (Speed != null ? SpeedDuplex : 0);

    private int HeaderLength => Has(VirtioFeature.Version1) || Has(MergeableBuffers) ? 12 : FrameOffload.HeaderSize;

    public OffloadFeatures Accepts { get; private set; }

    public RxFilter Filter => _filter.Describe();

    public override void ReadConfig(Span<byte> config)
    {
        config.Clear();
        _filter.Mac.Write(config);
        var status = Nic is not { HasCarrier: false } ? StatusLinkUp : 0;
        BinaryPrimitives.WriteUInt16LittleEndian(config[6..], (ushort)(status | (_isAnnouncing ? StatusAnnounce : 0)));
        if (config.Length >= 10)
            BinaryPrimitives.WriteUInt16LittleEndian(config[8..], (ushort)_pairs);
        if (config.Length >= 12)
            BinaryPrimitives.WriteUInt16LittleEndian(config[10..], (ushort)Mtu);
        if (config.Length >= 17)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(config[12..], Speed!.Value);
            config[16] = FullDuplex ? (byte)1 : (byte)0;
        }
    }

    public override void WriteConfig(int offset, ReadOnlySpan<byte> value)
    {
        // Old drivers set the address here, byte by byte.
        if (Has(VirtioFeature.Version1) || Has(ControlMac) || offset >= MacAddress.Length)
            return;
        Span<byte> mac = stackalloc byte[MacAddress.Length];
        _filter.Mac.Write(mac);
        value[..Math.Min(value.Length, mac.Length - offset)].CopyTo(mac[offset..]);
        SetMac(MacAddress.Read(mac));
    }

    public void OnPeerReady()
    {
        for (var i = 0; i < _pairs; i++)
        {
            if (!_blocked[i])
                continue;
            _blocked[i] = false;
            if (IsRunning)
                Transmit(Queues[(2 * i) + 1], i);
        }
    }

    public void OnLinkChanged() => ConfigChanged();

    public void Announce()
    {
        if (!IsRunning || !Has(GuestAnnounce) || !Has(StatusFeature))
            return;
        _isAnnouncing = true;
        ConfigChanged();
    }

    protected override void OnStarted()
    {
        SetOffloads(GuestFeatures);
        // The far end may have waited since the last driver went.
        Nic?.ReadyForMore();
    }

    protected override void OnReset()
    {
        Accepts = OffloadFeatures.None;
        Nic?.NoteOffloads();
        _currentPairs = 1;
        _isAnnouncing = false;
        Array.Clear(_blocked);
        _continue.Cancel();
        _filter.Reset(PermanentMac);
        if (Nic != null)
            Nic.Mac = PermanentMac;
    }

    protected override void HandleQueue(Virtqueue queue)
    {
        // Without the feature the control queue follows the first pair.
        var control = Has(MultiQueue) ? 2 * _pairs : 2;
        if (queue.Index == control)
            HandleControl(queue);
        else if (queue.Index > control)
            return;
        else if ((queue.Index & 1) == 0)
            Nic?.ReadyForMore();
        else if (!_blocked[queue.Index / 2])
            Transmit(queue, queue.Index / 2);
    }

    private void SetOffloads(ulong offloads)
    {
        var checksum = (offloads & GuestChecksum) != 0;
        Accepts = !checksum ? OffloadFeatures.None
            : OffloadFeatures.Checksum | ((offloads & GuestTso4) != 0 ? OffloadFeatures.Tcp4 : 0) | ((offloads & GuestTso6) != 0 ? OffloadFeatures.Tcp6 : 0)
                | ((offloads & GuestEcn) != 0 ? OffloadFeatures.Ecn : 0);
        Nic?.NoteOffloads();
    }

    private void SetMac(MacAddress mac)
    {
        _filter.Mac = mac;
        if (Nic == null)
            return;
        Nic.Mac = mac;
        Nic.NoteFilterChange();
    }

    private void Transmit(Virtqueue queue, int pair)
    {
        var left = queue.Size;
        do
        {
            queue.EnableDoorbell(false);
            var sent = false;
            while (left > 0 && queue.Pop() is { } element)
            {
                if (!TrySend(element))
                {
                    queue.Unpop(element);
                    _blocked[pair] = true;
                    break;
                }

                queue.Push(element, 0);
                sent = true;
                left--;
            }

            if (sent)
                queue.Notify();
            if (_blocked[pair])
                return;
            queue.EnableDoorbell(true);
        }
        while (left > 0 && queue.HasAvailable);
        if (left > 0)
            return;
        // A second processor may fill the queue as fast as it is emptied: others get the machine lock in between.
        _blocked[pair] = true;
        _continue.Arm(_clock.Now);
    }

    private bool TrySend(VirtqueueElement element)
    {
        var header = HeaderLength;
        var length = (int)Math.Min(element.ReadableLength, _frame.Length + 1);
        if (length < header || length > _frame.Length || element.WritableLength > 0)
        {
            // Nothing that could be sent; the driver gets its buffer back.
            GuestLog.GuestError(TypeName, $"frame of {element.ReadableLength} bytes");
            return true;
        }

        _ = element.Read(Memory, 0, _frame.AsSpan(0, length));
        var offload = FrameOffload.Parse(_frame);
        return Nic == null || Nic.Send(_frame.AsSpan(header, length - header), offload);
    }

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (!IsRunning)
            return true;
        if (!_filter.Passes(frame))
            return true;
        var queue = Queues[2 * (_currentPairs > 1 ? FlowHash(frame) % _currentPairs : 0)];
        if (!queue.IsEnabled)
            return true;
        var header = HeaderLength;
        var needed = header + frame.Length;
        var merge = Has(MergeableBuffers);
        var count = 0;
        for (long room = 0; room < needed;)
        {
            var element = count < (merge ? MaxMerged : 1) ? queue.Pop() : null;
            if (element == null && count < MaxMerged && !(count == 1 && !merge))
            {
                if (!IsRunning)
                    return true;
                // The driver rings when it has added buffers; some may have come meanwhile.
                queue.EnableDoorbell(true);
                element = queue.Pop();
                if (element == null)
                {
                    while (count > 0)
                        queue.Unpop(_merged[--count]);
                    return false;
                }

                queue.EnableDoorbell(false);
            }

            if (element == null || element.WritableLength < header)
            {
                // A buffer that the frame does not fit: it is lost, the buffers go back.
                if (element != null)
                    queue.Unpop(element);
                while (count > 0)
                    queue.Unpop(_merged[--count]);
                if (element != null)
                    Break("receive buffer is shorter than the header");
                return true;
            }

            _merged[count++] = element;
            room += element.WritableLength;
        }

        Span<byte> head = stackalloc byte[12];
        offload.Write(head);
        BinaryPrimitives.WriteUInt16LittleEndian(head[10..], (ushort)count);
        _ = _merged[0].Write(Memory, 0, head[..header]);
        var done = 0;
        for (var i = 0; i < count; i++)
        {
            var skip = i == 0 ? header : 0;
            var part = (int)Math.Min(_merged[i].WritableLength - skip, frame.Length - done);
            _ = _merged[i].Write(Memory, skip, frame.Slice(done, part));
            done += part;
            queue.PushLater(_merged[i], (uint)(skip + part));
        }

        queue.Publish();
        queue.Notify();
        return true;
    }

    /// <summary>The same for both directions of a flow.</summary>
    private static int FlowHash(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 38 || frame[12] != 8 || frame[13] != 0)
            return 0;
        var hash = BinaryPrimitives.ReadUInt32BigEndian(frame[26..]) ^ BinaryPrimitives.ReadUInt32BigEndian(frame[30..])
            ^ BinaryPrimitives.ReadUInt16BigEndian(frame[34..]) ^ BinaryPrimitives.ReadUInt16BigEndian(frame[36..]);
        return (int)((hash * 0x9E37_79B1) >> 16);
    }
}
