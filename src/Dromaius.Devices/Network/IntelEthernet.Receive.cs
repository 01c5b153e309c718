using System.Buffers.Binary;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <content>Receive filter and descriptors (section 3.2).</content>
public abstract partial class IntelEthernet
{
    private const uint RctlEnable = 2, RctlUnicastAll = 8, RctlMulticastAll = 0x10, RctlLong = 0x20, RctlBroadcast = 0x8000, RctlVlanFilter = 0x4_0000,
        RctlSizeExtended = 1 << 25, RctlStripCrc = 1 << 26;
    private const int CrcLength = 4, LeastFrame = 60, LongestShort = 1518;
    private readonly byte[] _copy = new byte[NetEndpoint.MaxFrame];
    private static readonly int[] HashShift = [4, 3, 2, 0];

    protected const byte RxDone = 1, RxEnd = 2, RxIgnoreChecksum = 4, RxVlan = 8, RxTransportChecked = 0x20, RxIpChecked = 0x40;
    protected const byte RxTransportError = 0x20, RxIpError = 0x40;

    /// <summary>What the controller says of a frame beside its bytes.</summary>
    protected readonly record struct ReceiveResult(byte Status, byte Errors, ushort Vlan);

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        var control = Register(Rctl);
        if (frame.Length > _copy.Length || (control & RctlEnable) == 0 || !IsLinkUp || !IsBusMaster || frame.Length < 14 || !Passes(frame)
            || (frame.Length > LongestShort + VlanTag && (control & RctlLong) == 0))
            return true;

        var result = Check(frame, offload);
        var copy = _copy.AsSpan();
        if ((Register(Ctrl) & CtrlVlan) != 0 && IsTagged(frame) && frame.Length >= 18)
        {
            // The tag is taken out and goes into the descriptor.
            result = result with { Status = (byte)(result.Status | RxVlan), Vlan = BinaryPrimitives.ReadUInt16BigEndian(frame[14..]) };
            frame[..12].CopyTo(copy);
            frame[16..].CopyTo(copy[12..]);
            frame = copy[..(frame.Length - VlanTag)];
        }

        if (frame.Length < LeastFrame)
        {
            frame.CopyTo(copy);
            copy[frame.Length..LeastFrame].Clear();
            frame = copy[..LeastFrame];
        }

        var crc = (control & RctlStripCrc) != 0 ? 0 : CrcLength;
        if (!Store(frame, crc, result))
        {
            SetCause(CauseRxOverrun);
            return false;
        }

        Count(Gprc, Tpr, Gorcl, Torl, frame.Length + CrcLength);
        return true;
    }

    /// <summary>Puts a frame into the driver's buffers; false if there are not enough.</summary>
    protected virtual bool Store(ReadOnlySpan<byte> frame, int crc, in ReceiveResult result)
    {
        if (!FindRoom(Rdlen, Rdh, Rdt, frame.Length + crc, BufferSize, out var count))
            return false;
        var ring = Register(Rdbal) | ((ulong)Register(Rdbah) << 32);
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        var (done, left) = (0, frame.Length + crc);
        while (left > 0)
        {
            var at = ring + (ulong)(Register(Rdh) * DescriptorSize);
            _ = DmaSpace.Read(at, descriptor);
            var part = Math.Min(BufferSize, left);
            var bytes = Math.Min(part, frame.Length - done);
            var buffer = BinaryPrimitives.ReadUInt64LittleEndian(descriptor);
            if (buffer != 0)
                _ = DmaSpace.Write(buffer, frame.Slice(done, bytes));
            (done, left) = (done + bytes, left - part);
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[8..], (ushort)part);
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[10..], 0);
            descriptor[12] = (byte)(RxDone | (left == 0 ? RxEnd | result.Status : RxIgnoreChecksum));
            descriptor[13] = left == 0 ? result.Errors : (byte)0;
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[14..], left == 0 ? result.Vlan : (ushort)0);
            _ = DmaSpace.Write(at + 8, descriptor[8..]);
            Register(Rdh) = Register(Rdh) + 1 >= count ? 0 : Register(Rdh) + 1;
        }

        SetCause(CauseRx | (IsLow(Rdh, Rdt, count) ? CauseRxLow : 0));
        return true;
    }

    /// <summary>The ring has buffers for so many bytes.</summary>
    protected bool FindRoom(int lengthRegister, int head, int tail, int needed, int size, out uint count)
    {
        count = Register(lengthRegister) / DescriptorSize;
        if (count == 0 || Register(head) >= count || Register(tail) > count)
            return false;
        var free = (Register(tail) + count - Register(head)) % count;
        return (long)free * size >= needed;
    }

    /// <summary>Free descriptors are down to the threshold.</summary>
    protected bool IsLow(int head, int tail, uint count)
    {
        var free = (Register(tail) + count - Register(head)) % count;
        return free <= count >> (int)(((Register(Rctl) >> 8) & 3) + 1);
    }

    protected int BufferSize
    {
        get
        {
            var size = 2048 >> (int)((Register(Rctl) >> 16) & 3);
            return (Register(Rctl) & RctlSizeExtended) != 0 && size != 2048 ? size * 16 : size;
        }
    }

    /// <summary>What a VLAN tag begins with.</summary>
    private int VlanType => Register(Vet) is 0 ? 0x8100 : (int)(Register(Vet) & 0xFFFF);

    private bool IsTagged(ReadOnlySpan<byte> frame) => BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) == VlanType;

    /// <summary>Perfect and hash filters, and VLANs.</summary>
    private bool Passes(ReadOnlySpan<byte> frame)
    {
        var control = Register(Rctl);
        if ((control & RctlVlanFilter) != 0 && IsTagged(frame) && frame.Length >= 16)
        {
            var id = BinaryPrimitives.ReadUInt16BigEndian(frame[14..]) & 0xFFF;
            if ((Register(Vfta + (id >> 5 << 2)) & (1u << (id & 31))) == 0)
                return false;
        }

        var to = MacAddress.Read(frame);
        if (to == MacAddress.Broadcast)
            return (control & RctlBroadcast) != 0 || (control & RctlUnicastAll) != 0;
        if ((control & (to.IsGroup ? RctlMulticastAll : RctlUnicastAll)) != 0)
            return true;
        var low = BinaryPrimitives.ReadUInt32LittleEndian(frame);
        uint high = BinaryPrimitives.ReadUInt16LittleEndian(frame[4..]);
        for (var at = Ral0; at < Ral0 + 0x80; at += 8)
        {
            if (Register(at) == low && (Register(at + 4) & 0x8000_FFFF) == (high | 1u << 31))
                return true;
        }

        var hash = (int)(high >> HashShift[(control >> 12) & 3]) & 0xFFF;
        return to.IsGroup && (Register(Mta + (hash >> 5 << 2)) & (1u << (hash & 31))) != 0;
    }

    /// <summary>Checks the checksums, as far as the driver wants to know.</summary>
    private ReceiveResult Check(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        const uint IpOffload = 0x100, TransportOffload = 0x200;
        var wanted = Register(RxCsum);
        if ((wanted & (IpOffload | TransportOffload)) == 0)
            return new ReceiveResult(RxIgnoreChecksum, 0, 0);
        var headers = FrameHeaders.Parse(frame, VlanType);
        if (!headers.IsIp)
            return new ReceiveResult(RxIgnoreChecksum, 0, 0);
        byte status = 0, errors = 0;
        if (headers.IsIpv4 && (wanted & IpOffload) != 0)
        {
            status |= RxIpChecked;
            if (!headers.IsIpv4Good(frame))
                errors |= RxIpError;
        }

        if ((wanted & TransportOffload) != 0 && headers.HasTransportChecksum(frame))
        {
            status |= RxTransportChecked;
            if (!offload.DataValid && !headers.IsTransportGood(frame))
                errors |= RxTransportError;
        }

        return new ReceiveResult(status == 0 ? RxIgnoreChecksum : status, errors, 0);
    }
}
