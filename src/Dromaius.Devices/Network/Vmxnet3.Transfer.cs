using System.Buffers.Binary;
using Dromaius.Core.Errors;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <content>Frames through the rings, each way.</content>
public sealed partial class Vmxnet3
{
    private const uint LengthMask = 0x3FFF, TxGeneration = 1 << 14, TxEnd = 1 << 12, TxInsertTag = 1 << 15;
    private const int ModeChecksum = 2, ModeSegments = 3, VlanTag = 4, EthernetHeader = 14;
    private const uint RxBody = 1 << 14, RxGeneration = 1u << 31, CompletionGeneration = 1u << 31;
    private const uint CompletionEnd = 1 << 14, CompletionStart = 1 << 15, CompletionTagged = 1 << 15;
    private const uint TypeTx = 0, TypeRx = 3u << 24, TypeRxLarge = 4u << 24;
    private const uint RxTransportGood = 1 << 16, RxUdp = 1 << 17, RxTcp = 1 << 18, RxIpGood = 1 << 19, RxIpv6 = 1 << 20, RxIpv4 = 1 << 21, RxFragment = 1 << 22,
        RxNotChecked = 1 << 30;
    private const int MaxParts = 64, IndirectionSize = 128;
    private const long RetryNanoseconds = 1_000_000;

    /// <summary>A frame behind room for a VLAN tag.</summary>
    private readonly byte[] _frame = new byte[VlanTag + NetEndpoint.MaxFrame];
    private readonly byte[] _copy = new byte[NetEndpoint.MaxFrame];
    private readonly Part[] _parts = new Part[MaxParts];
    private readonly byte[] _hashKey = new byte[ReceiveHash.KeyLength], _indirection = new byte[IndirectionSize];
    private HashTypes _hashTypes;
    private int _indirectionCount;

    /// <summary>A buffer of the driver's for a part of a frame.</summary>
    private readonly record struct Part(ulong Address, int Length, uint Index, bool IsSecondRing);

    /// <summary>What the first descriptor of a packet says of all of it.</summary>
    private readonly record struct TxOptions(int HeaderLength, int Mode, int SizeOrOffset, int Vlan);

    /// <summary>Sends the packets that are complete. What the far end has no room for stays in the ring.</summary>
    private void Transmit(TxQueue queue)
    {
        if (_busy || !_active || !IsBusMaster)
            return;
        _busy = true;
        var completed = false;
        // Once round: the driver rings again for what comes meanwhile.
        for (var taken = 0u; taken < queue.Descriptors.Size;)
        {
            var ring = queue.Descriptors;
            if (!Collect(ref ring, out var length, out var options, out var last, out var count) || !TrySend(queue, length, options))
                break;
            queue.Descriptors = ring;
            taken += count;
            Complete(ref queue.Completions, last, 0, 0, TypeTx);
            completed = true;
        }

        _busy = false;
        if (completed)
            Raise(queue.Vector);
    }

    /// <summary>Puts a packet together from its descriptors; false if the last is not there yet.</summary>
    private bool Collect(ref Ring ring, out int length, out TxOptions options, out uint last, out uint count)
    {
        length = 0;
        options = default;
        last = 0;
        Span<byte> high = stackalloc byte[8];
        for (count = 1; count <= ring.Size; count++)
        {
            // The word that makes it valid first, then the rest.
            _ = DmaSpace.Read(ring.NextAddress + 8, high);
            var (word, flags) = (BinaryPrimitives.ReadUInt32LittleEndian(high), BinaryPrimitives.ReadUInt32LittleEndian(high[4..]));
            if ((word & TxGeneration) != 0 != ring.Generation)
                return false;
            if (count == 1)
                options = new TxOptions((int)(flags & 0x3FF), (int)(flags >> 10) & 3, (int)(word >> 18), (flags & TxInsertTag) != 0 ? (int)(flags >> 16) : -1);
            // A length of zero is the longest.
            var part = (int)((word & LengthMask) is 0 ? LengthMask + 1 : word & LengthMask);
            if (length + part <= NetEndpoint.MaxFrame - VlanTag)
                _ = DmaSpace.Read(DmaSpace.Load(ring.NextAddress, 8), _frame.AsSpan(VlanTag + length, part));
            // Beyond the longest frame only the length grows, which says that it is none.
            length = Math.Min(length + part, NetEndpoint.MaxFrame);
            last = ring.Next;
            ring.Advance();
            if ((flags & TxEnd) != 0)
                return true;
        }

        return false;
    }

    /// <summary>Sends the packet put together; false while the far end has no room.</summary>
    private bool TrySend(TxQueue queue, int length, in TxOptions options)
    {
        if (length is < EthernetHeader or > NetEndpoint.MaxFrame - VlanTag)
        {
            GuestLog.GuestError(TypeName, $"frame of {length} bytes");
            queue.Counters.Errors++;
            return true;
        }

        var frame = _frame.AsSpan(VlanTag, length);
        var offload = default(FrameOffload);
        if (options.Mode == ModeSegments && Segmenter.FindTcp(frame, out var network, out var transport) && options.HeaderLength >= transport + 20
            && options.HeaderLength <= length)
            offload = Segmenter.Prepare(frame, network, transport, options.HeaderLength, options.SizeOrOffset);
        else if (options.Mode == ModeChecksum && options.SizeOrOffset > options.HeaderLength)
        {
            offload = new FrameOffload
            {
                NeedsChecksum = true, ChecksumStart = (ushort)options.HeaderLength, ChecksumOffset = (ushort)(options.SizeOrOffset - options.HeaderLength),
            };
        }

        var large = offload.Kind != SegmentKind.None;
        if (options.Vlan >= 0)
        {
            // The tag goes behind the addresses, which move into the room before them.
            _frame.AsSpan(VlanTag, 12).CopyTo(_frame);
            BinaryPrimitives.WriteUInt16BigEndian(_frame.AsSpan(12), 0x8100);
            BinaryPrimitives.WriteUInt16BigEndian(_frame.AsSpan(14), (ushort)options.Vlan);
            frame = _frame.AsSpan(0, length + VlanTag);
            offload = offload with
            {
                ChecksumStart = (ushort)(offload.NeedsChecksum ? offload.ChecksumStart + VlanTag : 0),
                HeaderLength = (ushort)(large ? offload.HeaderLength + VlanTag : 0),
            };
        }

        if (Nic != null && !Nic.Send(frame, offload))
            return false;
        queue.Counters.Count(frame, large);
        return true;
    }

    private void Complete(ref Ring ring, uint first, uint second, uint third, uint last)
    {
        Span<byte> completion = stackalloc byte[DescriptorSize];
        BinaryPrimitives.WriteUInt32LittleEndian(completion, first);
        BinaryPrimitives.WriteUInt32LittleEndian(completion[4..], second);
        BinaryPrimitives.WriteUInt32LittleEndian(completion[8..], third);
        _ = DmaSpace.Write(ring.NextAddress, completion[..12]);
        // The generation tells the driver that the rest is there.
        Interlocked.MemoryBarrier();
        DmaSpace.StoreU32(ring.NextAddress + 12, last | (ring.Generation ? CompletionGeneration : 0));
        ring.Advance();
    }

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (_busy || !_active || !IsBusMaster || frame.Length < EthernetHeader || frame.Length > _copy.Length || !Passes(frame))
            return true;
        var headers = FrameHeaders.Parse(frame);
        var hashed = HashTypes.None;
        var hash = 0u;
        if (_hashTypes != HashTypes.None && (_features & Features.Rss) != 0)
            hashed = ReceiveHash.Of(frame, headers, _hashTypes, _hashKey, out hash);
        var queue = _rxQueues[0];
        if (hashed != HashTypes.None && _indirectionCount > 0 && _indirection[hash % (uint)_indirectionCount] is var chosen && chosen < _rxQueues.Length)
            queue = _rxQueues[chosen];

        _busy = true;
        var taken = Store(queue, frame, offload, headers, hashed, hash);
        _busy = false;
        if (taken)
            Raise(queue.Vector);
        return taken;
    }

    /// <summary>The driver has added buffers.</summary>
    private void ReceiveAgain(RxQueue queue)
    {
        _busy = true;
        queue.WantDoorbell(DmaSpace, false);
        _busy = false;
        Nic?.ReadyForMore();
    }

    private bool Store(RxQueue queue, ReadOnlySpan<byte> frame, in FrameOffload offload, in FrameHeaders headers, HashTypes hashed, uint hash)
    {
        var (tag, tags) = (0u, 0);
        if ((_features & Features.RxVlan) != 0 && frame.Length >= EthernetHeader + VlanTag && BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) == 0x8100)
        {
            tag = CompletionTagged | (uint)BinaryPrimitives.ReadUInt16BigEndian(frame[14..]) << 16;
            tags = VlanTag;
        }

        var count = FindRoom(queue, frame.Length - tags, out var heads, out var bodies);
        if (count == 0)
        {
            // Ask to hear of new buffers, and look again: some may just have come.
            queue.WantDoorbell(DmaSpace, true);
            Interlocked.MemoryBarrier();
            count = FindRoom(queue, frame.Length - tags, out heads, out bodies);
            if (count == 0)
            {
                queue.Counters.Dropped++;
                if (!_retry.IsArmed)
                    _retry.Arm(_clock.Now + RetryNanoseconds);
                return false;
            }
        }

        if (count < 0)
        {
            // All the rings hold would not do.
            queue.Counters.Errors++;
            return true;
        }

        var large = offload.Kind != SegmentKind.None;
        var result = Describe(frame, offload, headers);
        var body = Prepare(frame, offload, tags);
        var type = TypeRx;
        if (large && _revision >= 2)
        {
            var segments = (uint)Math.Clamp((body.Length + offload.SegmentSize - 1) / Math.Max((int)offload.SegmentSize, 1), 1, 255);
            (type, hash, hashed) = (TypeRxLarge, segments, HashTypes.None);
            result |= offload.SegmentSize;
        }

        // 1 to 4 in the order of the types' bits.
        var hashType = hashed == HashTypes.None ? 0 : (uint)int.Log2((int)hashed) + 1;
        for (var i = 0; i < count; i++)
        {
            var part = _parts[i];
            var length = Math.Min(part.Length, body.Length);
            _ = DmaSpace.Write(part.Address, body[..length]);
            body = body[length..];
            var source = (uint)(queue.Index + (part.IsSecondRing ? _rxQueues.Length : 0));
            Complete(ref queue.Completions,
                part.Index | (i == 0 ? CompletionStart : 0) | (body.IsEmpty ? CompletionEnd : 0) | source << 16 | hashType << 26 | (result & RxNotChecked), hash,
                (uint)length & LengthMask | tag, type | (result & ~RxNotChecked));
        }

        (queue.Heads, queue.Bodies) = (heads, bodies);
        queue.Counters.Count(frame, large);
        return true;
    }

    /// <summary>Finds buffers for a frame: a head and as many bodies as it takes, of the first ring while it has some, else of the second.</summary>
    /// <returns>How many; 0 if there are not enough yet, negative if there never will be.</returns>
    private int FindRoom(RxQueue queue, int length, out Ring heads, out Ring bodies)
    {
        (heads, bodies) = (queue.Heads, queue.Bodies);
        var (firstSeen, secondSeen) = (0u, 0u);
        var ended = false;
        for (var count = 0; length > 0;)
        {
            if (count >= MaxParts)
                return -1;
            var part = default(Part);
            if (firstSeen < heads.Size && TryPeek(heads, out var isBody, out part))
            {
                if (isBody != (count > 0))
                {
                    // A frame begins with a head: bodies before it are passed over. A head ends the bodies.
                    if (isBody)
                    {
                        heads.Advance();
                        firstSeen++;
                        continue;
                    }

                    part = default;
                    ended = true;
                }
                else
                {
                    heads.Advance();
                    firstSeen++;
                }
            }
            else if (count == 0)
                return firstSeen < heads.Size ? 0 : -1;

            if (part.Length == 0)
            {
                if (secondSeen >= bodies.Size)
                    return ended || firstSeen >= heads.Size ? -1 : 0;
                if (!TryPeek(bodies, out _, out part))
                    return 0;
                part = part with { IsSecondRing = true };
                bodies.Advance();
                secondSeen++;
            }

            _parts[count++] = part;
            length -= part.Length;
            if (length <= 0)
                return count;
        }

        return -1;
    }

    private bool TryPeek(in Ring ring, out bool isBody, out Part part)
    {
        Span<byte> high = stackalloc byte[4];
        _ = DmaSpace.Read(ring.NextAddress + 8, high);
        var word = BinaryPrimitives.ReadUInt32LittleEndian(high);
        isBody = (word & RxBody) != 0;
        part = default;
        if ((word & RxGeneration) != 0 != ring.Generation)
            return false;
        // Completions cannot tell the length of a buffer that is used to its 16384th byte.
        var length = (int)((word & LengthMask) is 0 ? LengthMask : word & LengthMask);
        part = new Part(DmaSpace.Load(ring.NextAddress, 8), length, ring.Next, false);
        return true;
    }

    /// <summary>The frame without its tag, with the checksum that is still to be filled in. Segments still to be cut keep theirs open.</summary>
    private ReadOnlySpan<byte> Prepare(ReadOnlySpan<byte> frame, in FrameOffload offload, int tag)
    {
        var fill = offload.NeedsChecksum && offload.Kind == SegmentKind.None;
        if (tag == 0 && !fill)
            return frame;
        var copy = _copy.AsSpan(0, frame.Length);
        frame.CopyTo(copy);
        if (fill)
            _ = Checksum.Fill(copy, offload.ChecksumStart, offload.ChecksumOffset);
        if (tag == 0)
            return copy;
        frame[..12].CopyTo(copy[tag..]);
        return copy[tag..];
    }

    /// <summary>What a completion says of the packet and its checksums.</summary>
    private uint Describe(ReadOnlySpan<byte> frame, in FrameOffload offload, in FrameHeaders headers)
    {
        if (!headers.IsIp)
            return RxNotChecked;
        var result = headers.IsIpv4 ? RxIpv4 : RxIpv6;
        if (headers.IsFragment)
            return result | RxFragment | RxNotChecked;
        result |= headers.HasTcp ? RxTcp : headers.HasUdp ? RxUdp : 0;
        if ((_features & Features.RxChecksum) == 0)
            return result | RxNotChecked;
        var trusted = offload.DataValid || offload.NeedsChecksum;
        if (headers.IsIpv4 && (trusted || headers.IsIpv4Good(frame)))
            result |= RxIpGood;
        if (!headers.HasTransportChecksum(frame))
            return result | RxNotChecked;
        // What is wrong the driver checks by itself, and sees.
        return trusted || headers.IsTransportGood(frame) ? result | RxTransportGood : result | RxNotChecked;
    }

    private bool Passes(ReadOnlySpan<byte> frame)
    {
        if ((_rxMode & RxModes.Promiscuous) != 0)
            return true;
        if (frame.Length >= EthernetHeader + 2 && BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) == 0x8100)
        {
            var id = BinaryPrimitives.ReadUInt16BigEndian(frame[14..]) & 0xFFF;
            if (id != 0 && (_vlans[id >> 3] & (1 << (id & 7))) == 0)
                return false;
        }

        var to = MacAddress.Read(frame);
        if (to == MacAddress.Broadcast)
            return (_rxMode & RxModes.Broadcast) != 0;
        if (!to.IsGroup)
            return (_rxMode & RxModes.Unicast) != 0 && to == _mac;
        return (_rxMode & RxModes.AllMulticast) != 0 || ((_rxMode & RxModes.Multicast) != 0 && _multicast.Contains(to));
    }

    /// <summary>The hash and the table that spread flows over queues.</summary>
    private void LoadSpreading(ulong address, uint length)
    {
        const int HashKeyAt = 8;
        Span<byte> config = stackalloc byte[HashKeyAt + ReceiveHash.KeyLength + IndirectionSize];
        _hashTypes = HashTypes.None;
        if (length < (uint)config.Length || !DmaSpace.Read(address, config))
            return;
        _hashTypes = (HashTypes)(BinaryPrimitives.ReadUInt16LittleEndian(config) & 15);
        _indirectionCount = Math.Min((int)BinaryPrimitives.ReadUInt16LittleEndian(config[6..]), IndirectionSize);
        config.Slice(HashKeyAt, ReceiveHash.KeyLength).CopyTo(_hashKey);
        config[(HashKeyAt + ReceiveHash.KeyLength)..].CopyTo(_indirection);
    }
}
