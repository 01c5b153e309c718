using System.Buffers.Binary;
using Dromaius.Devices.Network;
using Dromaius.Devices.Virtio;
using Dromaius.Net;

namespace Dromaius.Devices.Tests.Network;

/// <summary>virtio-net through the PCI transport's modern registers: frames each way, offloads, the control queue.</summary>
public sealed class VirtioNetTests : IDisposable
{
    private const uint Table = NetworkBench.Registers, Bar = Table + 0x10_0000, Rings = 0x10000, RingStep = 0x4000, Used = 0x2000, Available = 0x1000;
    private const uint Buffers = 0x40000, Config = 0x2000, Doorbell = 0x3000;
    private const ushort Next = 1, Writable = 2;
    private const int Size = 16, Receive = 0, Transmit = 1;
    private readonly NetworkBench _bench = new();
    private readonly VirtioNet _net;
    private readonly ushort[] _offered = new ushort[5];

    public VirtioNetTests()
    {
        _net = new VirtioNet(_bench.Memory, _bench.Clock, NetworkBench.Mac, pairs: 2);
        _net.Nic = new Nic("nic", "virtio-net-pci", NetworkBench.Mac, _net);
        NetEndpoint.Connect(_net.Nic, _bench.Far);
        _bench.Plug(new VirtioPci(_net, "virtio-net-pci", vectors: 6));
    }

    public void Dispose() => _bench.Dispose();

    private uint Read(uint at, int size) => (uint)_bench.Memory.Load(Bar + at, size);

    private void Write(uint at, int size, ulong value) => _bench.Memory.Store(Bar + at, size, value);

    private static uint Ring(int queue) => Rings + (RingStep * (uint)queue);

    private ushort UsedIndex(int queue) => BinaryPrimitives.ReadUInt16LittleEndian(_bench.Ram.Span(Ring(queue) + Used + 2, 2));

    private void Start(ulong features = 0)
    {
        Write(20, 1, 3);
        for (var i = 0u; i < 2; i++)
        {
            Write(8, 4, i);
            Write(12, 4, (uint)((features | VirtioFeature.Version1) >> (int)(32 * i)));
        }

        Write(20, 1, 11);
        for (var queue = 0; queue < 5; queue++)
        {
            Write(22, 2, (uint)queue);
            Write(24, 2, Size);
            Write(32, 4, Ring(queue));
            Write(40, 4, Ring(queue) + Available);
            Write(48, 4, Ring(queue) + Used);
            Write(28, 2, 1);
        }

        Write(20, 1, 15);
    }

    private void Descriptor(int queue, int index, uint address, int length, ushort flags)
    {
        var d = _bench.Ram.Span(Ring(queue) + (16 * (uint)index), 16);
        BinaryPrimitives.WriteUInt64LittleEndian(d, address);
        BinaryPrimitives.WriteInt32LittleEndian(d[8..], length);
        BinaryPrimitives.WriteUInt16LittleEndian(d[12..], flags);
        BinaryPrimitives.WriteUInt16LittleEndian(d[14..], (ushort)(index + 1));
    }

    private void Offer(int queue, int head, bool kick = true)
    {
        var ring = Ring(queue) + Available;
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(ring + 4 + (2 * (uint)(_offered[queue] % Size)), 2), (ushort)head);
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(ring + 2, 2), ++_offered[queue]);
        if (kick)
            Write(Doorbell + (4 * (uint)queue), 2, (uint)queue);
    }

    /// <summary>A command with its data; the acknowledgement.</summary>
    private byte Control(int queue, params ReadOnlySpan<byte> command)
    {
        command.CopyTo(_bench.Ram.Span(Buffers, command.Length));
        _bench.Ram.Span(Buffers + 0x800, 1)[0] = 0xFF;
        Descriptor(queue, 0, Buffers, command.Length, Next);
        Descriptor(queue, 1, Buffers + 0x800, 1, Writable);
        Offer(queue, 0);
        return _bench.Ram.Span(Buffers + 0x800, 1)[0];
    }

    private void OfferBuffers(int queue, int count, int length)
    {
        for (var i = 0; i < count; i++)
        {
            Descriptor(queue, i, Buffers + (0x1000 * (uint)i), length, Writable);
            Offer(queue, i);
        }
    }

    private static byte[] Frame(int length)
    {
        var frame = new byte[length];
        new Random(5).NextBytes(frame);
        NetworkBench.Mac.Write(frame);
        return frame;
    }

    [Fact]
    public void ConfigurationTellsAddressLinkAndQueues()
    {
        Assert.Equal(0x1200_5452u, Read(Config, 4));
        Assert.Equal(0x5634u, Read(Config + 4, 2));
        Assert.Equal(1u, Read(Config + 6, 2));
        Assert.Equal(2u, Read(Config + 8, 2));
        _bench.Far.LinkUp = false;
        Assert.Equal(0u, Read(Config + 6, 2));
    }

    [Fact]
    public void SendsAndWaitsForTheFarEnd()
    {
        Start();
        var frame = Frame(100);
        frame.CopyTo(_bench.Ram.Span(Buffers + 0x100, 100));
        Descriptor(Transmit, 0, Buffers, 12, Next);
        Descriptor(Transmit, 1, Buffers + 0x100, 100, 0);
        Offer(Transmit, 0);
        Assert.Equal(frame, Assert.Single(_bench.Far.Frames).Frame);
        Assert.Equal(1, UsedIndex(Transmit));
        _bench.Far.Refuses = true;
        Offer(Transmit, 0);
        Assert.Equal(1, UsedIndex(Transmit));
        _bench.Far.Refuses = false;
        _bench.Far.ReadyForMore();
        Assert.Equal(2, UsedIndex(Transmit));
        Assert.Equal(2, _bench.Far.Frames.Count);
    }

    /// <summary>A driver that adds frames as fast as they go gets them sent, with others having their turn in between.</summary>
    [Fact]
    public void GoesOnLaterWithAnEndlessQueue()
    {
        Start();
        Descriptor(Transmit, 0, Buffers, 112, 0);
        for (var i = 0; i < Size; i++)
            Offer(Transmit, 0, kick: false);
        _bench.Far.OnFrame = () =>
        {
            if (_offered[Transmit] < 1000)
                Offer(Transmit, 0, kick: false);
        };
        Write(Doorbell + 4, 2, Transmit);
        Assert.InRange(_bench.Far.Frames.Count, Size, 100);
        for (var i = 0; i < 100; i++)
            _bench.Clock.Advance(1);
        Assert.Equal(1000, _bench.Far.Frames.Count);
        Assert.Equal(1000, UsedIndex(Transmit));
    }

    [Fact]
    public void ReceivesIntoMergedBuffers()
    {
        Start(VirtioNet.MergeableBuffers);
        OfferBuffers(Receive, 4, 1024);
        var frame = Frame(2500);
        Assert.True(_bench.Far.Send(frame, default));
        Assert.Equal(3, UsedIndex(Receive));
        Assert.Equal(3, BinaryPrimitives.ReadUInt16LittleEndian(_bench.Ram.Span(Buffers + 10, 2)));
        Assert.Equal(frame.AsSpan(0, 1012).ToArray(), _bench.Ram.Span(Buffers + 12, 1012).ToArray());
        Assert.Equal(frame.AsSpan(1012, 1024).ToArray(), _bench.Ram.Span(Buffers + 0x1000, 1024).ToArray());
        Assert.Equal(frame.AsSpan(2036).ToArray(), _bench.Ram.Span(Buffers + 0x2000, 464).ToArray());
        // One buffer is left, which is not enough for the next: it stays for a smaller one.
        Assert.False(_bench.Far.Send(frame, default));
        Assert.True(_bench.Far.Send(frame.AsSpan(0, 500), default));
        Assert.Equal(4, UsedIndex(Receive));
    }

    [Fact]
    public void LeavesToTheDriverWhatItTakes()
    {
        Start(VirtioNet.MergeableBuffers | VirtioNet.GuestChecksum | VirtioNet.GuestTso4);
        Assert.Equal(OffloadFeatures.Checksum | OffloadFeatures.Tcp4, _net.Accepts);
        OfferBuffers(Receive, 4, 4096);
        var offload = new FrameOffload { NeedsChecksum = true, ChecksumStart = 34, ChecksumOffset = 16, Kind = SegmentKind.Tcp4, SegmentSize = 1460, HeaderLength = 54 };
        Assert.True(_bench.Far.Send(Frame(3000), offload));
        Assert.Equal(offload, FrameOffload.Parse(_bench.Ram.Span(Buffers, 12)));
    }

    [Fact]
    public void ControlQueueSetsFilterAddressAndQueues()
    {
        const int Queue = 4;
        Start(VirtioNet.ControlQueue | VirtioNet.ControlRx | VirtioNet.ControlMac | VirtioNet.MultiQueue | VirtioNet.ControlGuestOffloads | VirtioNet.GuestChecksum);
        OfferBuffers(Receive, 4, 2048);
        var other = Frame(100);
        other[5]++;
        Assert.Equal(0, Control(Queue, 0, 0, 0));
        Assert.True(_bench.Far.Send(other, default));
        Assert.Equal(0, UsedIndex(Receive));
        Assert.Equal(0, Control(Queue, [1, 1, .. other.AsSpan(0, 6)]));
        Assert.True(_bench.Far.Send(other, default));
        Assert.Equal(1, UsedIndex(Receive));
        Assert.Equal(0, Control(Queue, 4, 0, 2, 0));
        Assert.Equal(1, Control(Queue, 4, 0, 3, 0));
        Assert.Equal(1, Control(Queue, 99, 0, 0));
        Assert.Equal(0, Control(Queue, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        Assert.Equal(OffloadFeatures.None, _net.Accepts);
    }

    [Fact]
    public void AsksTheDriverToAnnounceUntilItDid()
    {
        const int Queue = 4;
        ((INetworkAdapter)_net).Announce();
        Assert.Equal(1u, Read(Config + 6, 2));
        Start(VirtioNet.ControlQueue | VirtioNet.MultiQueue | VirtioNet.StatusFeature | VirtioNet.GuestAnnounce);
        ((INetworkAdapter)_net).Announce();
        Assert.Equal(3u, Read(Config + 6, 2));
        Assert.Equal(0, Control(Queue, 3, 0));
        Assert.Equal(1u, Read(Config + 6, 2));
    }

    [Fact]
    public void BreaksOnAChainThatNeverEnds()
    {
        Start();
        Descriptor(Transmit, 0, Buffers, 100, Next);
        BinaryPrimitives.WriteUInt16LittleEndian(_bench.Ram.Span(Ring(Transmit) + 14, 2), 0);
        Offer(Transmit, 0);
        Assert.Equal(0x40u, Read(20, 1) & 0x40);
        Assert.Empty(_bench.Far.Frames);
    }
}
