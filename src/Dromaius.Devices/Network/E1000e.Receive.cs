using System.Buffers.Binary;

namespace Dromaius.Devices.Network;

/// <content>Receive-side scaling over two queues; extended and packet split descriptors (sections 7.1.4 to 7.1.11).</content>
public sealed partial class E1000e
{
    private const int Psrctl = 0x2170, Mrqc = 0x5818, Reta = 0x5C00, Rssrk = 0x5C80, QueueStep = 0x100;
    private const int SplitDescriptor = 32, SplitBuffers = 4, IndirectionEntries = 128;
    private const uint RctlSplit = 0x400, RctlType = 0xC00, RxCsumHash = 0x2000, RfctlNoSplitFragments = 0x4000;
    private const ushort HeaderSplit = 0x8000;

    private readonly byte[] _hashKey = new byte[ReceiveHash.KeyLength];

    private bool IsExtended => (Register(Rfctl) & RfctlExtended) != 0;

    protected override bool Store(ReadOnlySpan<byte> frame, int crc, in ReceiveResult result)
    {
        if (!IsExtended)
            return base.Store(frame, crc, result);
        var headers = FrameHeaders.Parse(frame);
        var (queue, type, hash) = Spread(frame, headers);
        return (Register(Rctl) & RctlType) == RctlSplit
            ? StoreSplit(frame, crc, result, headers, queue, type, hash)
            : StoreExtended(frame, crc, result, queue, type, hash);
    }

    /// <summary>The second receive queue's registers behave as the first one's.</summary>
    private void WriteSecondQueue(int offset, uint value)
    {
        Register(offset) = (offset - QueueStep) switch
        {
            Rdlen => value & 0xF_FF80,
            Rdbal => value & ~15u,
            _ => value & 0xFFFF,
        };
        if (offset == Rdt + QueueStep)
            Nic?.ReadyForMore();
    }

    /// <summary>Which queue a frame goes to, and what its descriptor says of the hash.</summary>
    private (int Queue, uint Type, uint Hash) Spread(ReadOnlySpan<byte> frame, in FrameHeaders headers)
    {
        const uint Enabled = 1;
        var control = Register(Mrqc);
        if ((control & 3) != Enabled || (Register(RxCsum) & RxCsumHash) == 0)
            return default;
        var allowed = ((control & 0x1_0000) != 0 ? HashTypes.TcpIpv4 : 0) | ((control & 0x2_0000) != 0 ? HashTypes.Ipv4 : 0)
            | ((control & 0x24_0000) != 0 ? HashTypes.TcpIpv6 : 0) | ((control & 0x18_0000) != 0 ? HashTypes.Ipv6 : 0);
        for (var i = 0; i < ReceiveHash.KeyLength; i += 4)
            BinaryPrimitives.WriteUInt32LittleEndian(_hashKey.AsSpan(i), Register(Rssrk + i));
        var type = ReceiveHash.Of(frame, headers, allowed, _hashKey, out var hash) switch
        {
            HashTypes.TcpIpv4 => 1u,
            HashTypes.Ipv4 => 2u,
            HashTypes.TcpIpv6 => 3u,
            HashTypes.Ipv6 => 5u,
            _ => 0u,
        };
        var entry = (int)(hash % IndirectionEntries);
        var queue = type != 0 ? (int)(Register(Reta + (entry & ~3)) >> ((8 * (entry & 3)) + 7)) & 1 : 0;
        return (queue, type | (uint)queue << 8, hash);
    }

    private bool StoreExtended(ReadOnlySpan<byte> frame, int crc, in ReceiveResult result, int queue, uint type, uint hash)
    {
        var at = queue * QueueStep;
        if (!FindRoom(Rdlen + at, Rdh + at, Rdt + at, frame.Length + crc, BufferSize, out var count))
            return false;
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        for (var left = frame.Length + crc; left > 0;)
        {
            var place = RingAddress(at);
            _ = DmaSpace.Read(place, descriptor[..8]);
            var part = Math.Min(BufferSize, left);
            WriteBuffer(BinaryPrimitives.ReadUInt64LittleEndian(descriptor), ref frame, part);
            left -= part;
            WriteHead(descriptor, result, type, hash, left == 0);
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[12..], (ushort)part);
            _ = DmaSpace.Write(place, descriptor);
            Advance(at, count);
        }

        NoteReceived(queue, count);
        return true;
    }

    /// <summary>The headers go to the first buffer, the data to the others; what has no headers fills one after the other.</summary>
    private bool StoreSplit(ReadOnlySpan<byte> frame, int crc, in ReceiveResult result, in FrameHeaders headers, int queue, uint type, uint hash)
    {
        var at = queue * QueueStep;
        var control = Register(Psrctl);
        Span<int> sizes = [(int)(control & 0x7F) * 128, (int)(control >> 8 & 0x3F) * 1024, (int)(control >> 16 & 0x3F) * 1024, (int)(control >> 24 & 0x3F) * 1024];
        var rest = sizes[1] + sizes[2] + sizes[3];
        var total = frame.Length + crc;
        var header = headers.IsIp && !(headers.IsFragment && (Register(Rfctl) & RfctlNoSplitFragments) != 0) ? headers.Payload(frame) : 0;
        if (header > sizes[0])
            header = 0;
        // The first buffer is used once in a frame.
        var first = header != 0 ? header : Math.Min(sizes[0], total);
        var needed = total <= first ? 1 : rest == 0 ? int.MaxValue : Math.Max(1, (total - first + rest - 1) / rest);
        if (needed == int.MaxValue)
            return true;
        // Head and tail count in 16 bytes here too.
        const int Step = SplitDescriptor / DescriptorSize;
        if (!FindRoom(Rdlen + at, Rdh + at, Rdt + at, needed * Step, 1, out var count))
            return false;
        Span<byte> descriptor = stackalloc byte[SplitDescriptor];
        Span<int> written = stackalloc int[SplitBuffers];
        for (var (n, left) = (0, total); left > 0; n++)
        {
            var place = RingAddress(at);
            _ = DmaSpace.Read(place, descriptor);
            for (var i = 0; i < SplitBuffers; i++)
            {
                written[i] = Math.Min(i > 0 ? sizes[i] : n == 0 ? first : 0, left);
                WriteBuffer(BinaryPrimitives.ReadUInt64LittleEndian(descriptor[(8 * i)..]), ref frame, written[i]);
                left -= written[i];
            }

            WriteHead(descriptor, result, type, hash, left == 0);
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[12..], (ushort)written[0]);
            if (n == 0 && header != 0)
                BinaryPrimitives.WriteUInt16LittleEndian(descriptor[16..], (ushort)(HeaderSplit | header));
            for (var i = 1; i < SplitBuffers; i++)
                BinaryPrimitives.WriteUInt16LittleEndian(descriptor[(16 + (2 * i))..], (ushort)written[i]);
            // The part with the done bit goes last.
            _ = DmaSpace.Write(place + 16, descriptor[16..]);
            _ = DmaSpace.Write(place, descriptor[..16]);
            Advance(at, count, Step);
        }

        NoteReceived(queue, count);
        return true;
    }

    private ulong RingAddress(int at) => (Register(Rdbal + at) | ((ulong)Register(Rdbah + at) << 32)) + (ulong)(Register(Rdh + at) * DescriptorSize);

    /// <summary>A part of the frame; what goes beyond it stands for the check sequence.</summary>
    private void WriteBuffer(ulong address, ref ReadOnlySpan<byte> frame, int length)
    {
        var bytes = Math.Min(length, frame.Length);
        if (address != 0 && bytes > 0)
            _ = DmaSpace.Write(address, frame[..bytes]);
        frame = frame[bytes..];
    }

    /// <summary>What extended and split descriptors begin with: hash, status, VLAN.</summary>
    private static void WriteHead(Span<byte> descriptor, in ReceiveResult result, uint type, uint hash, bool last)
    {
        descriptor.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor, type);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[4..], hash);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], RxDone | (last ? (uint)(RxEnd | result.Status) | ((uint)result.Errors << 24) : RxIgnoreChecksum));
        BinaryPrimitives.WriteUInt16LittleEndian(descriptor[14..], last ? result.Vlan : (ushort)0);
    }

    private void Advance(int at, uint count, uint step = 1) => Register(Rdh + at) = Register(Rdh + at) + step >= count ? 0 : Register(Rdh + at) + step;

    private void NoteReceived(int queue, uint count)
    {
        var at = queue * QueueStep;
        SetCause(CauseRx | (IsLow(Rdh + at, Rdt + at, count) ? CauseRxLow : 0) | (!_msix.IsEnabled ? 0 : queue == 0 ? CauseRxQueue0 : CauseRxQueue1));
    }
}
