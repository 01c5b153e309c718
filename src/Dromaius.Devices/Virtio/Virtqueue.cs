using System.Buffers.Binary;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Virtio;

/// <summary>
/// A split or packed virtqueue, the device's side. Used under the machine lock; the driver runs at the same time. Source:
/// OASIS Virtio 1.2, sections 2.7 (split) and 2.8 (packed).
/// </summary>
public sealed class Virtqueue
{
    public const ushort NoVector = 0xFFFF;
    private const int DescriptorSize = 16;
    private const ushort FlagNext = 1, FlagWrite = 2, FlagIndirect = 4, FlagAvailable = 0x80, FlagUsed = 0x8000;
    private const ushort AvailableNoInterrupt = 1;
    private const ushort PackedEnable = 0, PackedDisable = 1, PackedDescriptor = 2;

    private readonly VirtioDevice _device;
    private readonly GuestRing _descriptors, _available, _used;
    private readonly Stack<VirtqueueElement> _pool = new();
    private ushort _nextAvailable, _nextUsed;
    private bool _availableWrap = true, _usedWrap = true;
    private ushort _signalled;
    private bool _signalledValid;
    private int _unpublished, _firstFlagsAt;
    private ushort _firstFlags;

    internal Virtqueue(VirtioDevice device, int index, int maxSize)
    {
        _device = device;
        Index = index;
        MaxSize = Size = maxSize;
        _descriptors = new GuestRing(device.Memory);
        _available = new GuestRing(device.Memory);
        _used = new GuestRing(device.Memory);
    }

    public int Index { get; }
    public int MaxSize { get; }

    /// <summary>Descriptors, as negotiated.</summary>
    public int Size { get; internal set; }
    public bool IsEnabled { get; private set; }

    /// <summary>The interrupt vector of the queue; <see cref="NoVector"/> for none.</summary>
    public ushort Vector { get; set; } = NoVector;

    // Where the driver put the three areas.
    public ulong DescriptorArea { get; set; }
    public ulong DriverArea { get; set; }
    public ulong DeviceArea { get; set; }

    private bool IsPacked => _device.Has(VirtioFeature.RingPacked);

    private bool HasEvents => _device.Has(VirtioFeature.RingEventIndex);

    internal void Reset()
    {
        IsEnabled = false;
        Size = MaxSize;
        Vector = NoVector;
        DescriptorArea = DriverArea = DeviceArea = 0;
        _nextAvailable = _nextUsed = _signalled = 0;
        _unpublished = 0;
        _signalledValid = false;
        _availableWrap = _usedWrap = true;
    }

    /// <summary>The driver has set it up.</summary>
    public void Enable()
    {
        if (Size is < 1 or > 32768)
            return;
        _descriptors.Set(DescriptorArea, Size * DescriptorSize);
        _available.Set(DriverArea, IsPacked ? 4 : 6 + (2 * Size));
        _used.Set(DeviceArea, IsPacked ? 4 : 6 + (8 * Size));
        IsEnabled = true;
    }

    /// <summary>Puts a legacy queue where its page number says: descriptors, available ring, used ring on the next page.</summary>
    public void EnableLegacy(uint page)
    {
        if (page == 0)
            Reset();
        else
            EnableLegacy((ulong)page << 12, 4096);
    }

    /// <summary>Puts a legacy queue at an address, with the used ring at the next multiple of a power of two.</summary>
    public void EnableLegacy(ulong address, ulong alignment)
    {
        DescriptorArea = address;
        DriverArea = DescriptorArea + (ulong)(Size * DescriptorSize);
        DeviceArea = (DriverArea + (ulong)(6 + (2 * Size)) + alignment - 1) & ~(alignment - 1);
        Enable();
    }

    /// <summary>Takes the next available chain, or null. Give it back with <see cref="Push"/>.</summary>
    public VirtqueueElement? Pop()
    {
        if (!_device.IsRunning || !IsEnabled)
            return null;
        var element = _pool.Count > 0 ? _pool.Pop() : new VirtqueueElement();
        element.Clear();
        if (IsPacked ? PopPacked(element) : PopSplit(element))
            return element;
        _pool.Push(element);
        return null;
    }

    /// <summary>Gives a chain back unprocessed and unused.</summary>
    public void Detach(VirtqueueElement element) => _pool.Push(element);

    /// <summary>Puts back the chain taken last; the next <see cref="Pop"/> gives it again.</summary>
    public void Unpop(VirtqueueElement element)
    {
        if (IsPacked)
        {
            if (_nextAvailable < element.Descriptors)
            {
                _nextAvailable = (ushort)(_nextAvailable + Size - element.Descriptors);
                _availableWrap = !_availableWrap;
            }
            else
                _nextAvailable -= (ushort)element.Descriptors;
        }
        else
            _nextAvailable--;
        _pool.Push(element);
    }

    /// <summary>True if chains wait.</summary>
    public bool HasAvailable
    {
        get
        {
            if (!_device.IsRunning || !IsEnabled)
                return false;
            return IsPacked ? IsPackedAvailable(_descriptors.Read16((_nextAvailable * DescriptorSize) + 14)) : AvailableIndex() != _nextAvailable;
        }
    }

    /// <summary>Returns a chain with so many bytes written; call <see cref="Notify"/> after the last of a batch.</summary>
    public void Push(VirtqueueElement element, uint written)
    {
        PushLater(element, written);
        Publish();
    }

    /// <summary>Returns a chain that the driver does not see before <see cref="Publish"/>: several that belong together.</summary>
    public void PushLater(VirtqueueElement element, uint written)
    {
        if (IsEnabled)
        {
            if (IsPacked)
                PushPacked(element, written);
            else
                PushSplit(element, written);
            _unpublished++;
        }

        _pool.Push(element);
    }

    /// <summary>Lets the driver see what was returned.</summary>
    public void Publish()
    {
        if (_unpublished == 0 || !IsEnabled)
            return;
        Interlocked.MemoryBarrier();
        if (IsPacked)
            _descriptors.Write16(_firstFlagsAt, _firstFlags);
        else
        {
            _used.Write16(2, _nextUsed);
            // Once round the ring since the last interrupt, its comparison says nothing any more.
            if ((short)(_nextUsed - _signalled) < 0)
                _signalledValid = false;
        }

        _unpublished = 0;
    }

    /// <summary>Interrupts the driver unless it asked not to be.</summary>
    public void Notify()
    {
        if (!IsEnabled || !_device.IsRunning)
            return;
        Interlocked.MemoryBarrier();
        if (IsPacked ? ShouldNotifyPacked() : ShouldNotifySplit())
            _device.Transport?.NotifyQueue(this);
    }

    /// <summary>With false, asks the driver not to ring the doorbell while the device works on the queue anyhow.</summary>
    public void EnableDoorbell(bool enabled)
    {
        if (!IsEnabled)
            return;
        if (IsPacked)
        {
            _used.Write16(2, enabled ? PackedEnable : PackedDisable);
        }
        else if (HasEvents)
        {
            if (enabled)
                _used.Write16(4 + (8 * Size), AvailableIndex());
        }
        else
            _used.Write16(0, (ushort)(enabled ? 0 : 1));
        if (enabled)
            Interlocked.MemoryBarrier();
    }

    private ushort AvailableIndex() => _available.Read16(2);

    private bool PopSplit(VirtqueueElement element)
    {
        var available = AvailableIndex();
        if (available == _nextAvailable)
        {
            // Ask to hear of the next one, and look again: it may just have come.
            if (!HasEvents)
                return false;
            _used.Write16(4 + (8 * Size), _nextAvailable);
            Interlocked.MemoryBarrier();
            available = AvailableIndex();
            if (available == _nextAvailable)
                return false;
        }

        if ((ushort)(available - _nextAvailable) > Size)
        {
            _device.Break($"queue {Index}: available index {available:x} is beyond the ring");
            return false;
        }

        Interlocked.MemoryBarrier();
        var head = _available.Read16(4 + (2 * (_nextAvailable % Size)));
        _nextAvailable++;
        element.Head = head;
        return Collect(element, head);
    }

    /// <summary>Follows a chain of split descriptors.</summary>
    private bool Collect(VirtqueueElement element, int index)
    {
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        if (index >= Size)
        {
            _device.Break($"queue {Index}: descriptor {index} is beyond the table");
            return false;
        }

        _descriptors.Read(index * DescriptorSize, descriptor);
        var (address, length, flags, next) = Split(descriptor);
        var indirect = 0UL;
        var isIndirect = (flags & FlagIndirect) != 0;
        var limit = Size;
        if (isIndirect)
        {
            if (length == 0 || length % DescriptorSize != 0 || (flags & FlagNext) != 0)
            {
                _device.Break($"queue {Index}: bad indirect table of {length} bytes");
                return false;
            }

            indirect = address;
            limit = (int)(length / DescriptorSize);
            (address, length, flags, next) = Indirect(indirect, 0, descriptor);
        }

        for (var count = 0; ; count++)
        {
            if (count >= limit || count >= MaxParts || (flags & FlagIndirect) != 0 || !AddPart(element, address, length, flags))
            {
                _device.Break($"queue {Index}: bad chain of descriptors");
                return false;
            }

            if ((flags & FlagNext) == 0)
                return true;
            if (next >= limit)
            {
                _device.Break($"queue {Index}: descriptor {next} is beyond the table");
                return false;
            }

            if (isIndirect)
                (address, length, flags, next) = Indirect(indirect, next, descriptor);
            else
            {
                _descriptors.Read(next * DescriptorSize, descriptor);
                (address, length, flags, next) = Split(descriptor);
            }
        }
    }

    private (ulong Address, uint Length, ushort Flags, ushort Next) Indirect(ulong table, int index, Span<byte> scratch)
    {
        _ = _device.Memory.Read(table + (ulong)(index * DescriptorSize), scratch);
        return Split(scratch);
    }

    private static (ulong Address, uint Length, ushort Flags, ushort Next) Split(ReadOnlySpan<byte> d) =>
        (BinaryPrimitives.ReadUInt64LittleEndian(d), BinaryPrimitives.ReadUInt32LittleEndian(d[8..]),
            BinaryPrimitives.ReadUInt16LittleEndian(d[12..]), BinaryPrimitives.ReadUInt16LittleEndian(d[14..]));

    /// <summary>Buffers of one request.</summary>
    private const int MaxParts = 1024;

    /// <summary>Adds one buffer; readable ones come first, and lengths and counts are bounded.</summary>
    private static bool AddPart(VirtqueueElement element, ulong address, uint length, ushort flags)
    {
        const long MaxBytes = 1L << 30;
        var writable = (flags & FlagWrite) != 0;
        if ((!writable && element.HasWritable) || length > int.MaxValue || element.Count >= MaxParts
            || element.ReadableLength + element.WritableLength + length > MaxBytes)
            return false;
        if (length != 0)
            element.Add(address, (int)length, writable);
        return true;
    }

    private void PushSplit(VirtqueueElement element, uint written)
    {
        Span<byte> entry = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(entry, element.Head);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], written);
        _used.Write(4 + (8 * (_nextUsed % Size)), entry);
        _nextUsed++;
    }

    private bool ShouldNotifySplit()
    {
        if (_device.Has(VirtioFeature.NotifyOnEmpty) && AvailableIndex() == _nextUsed)
            return true;
        if (!HasEvents)
            return (_available.Read16(0) & AvailableNoInterrupt) == 0;
        var (old, valid) = (_signalled, _signalledValid);
        _signalled = _nextUsed;
        _signalledValid = true;
        return !valid || NeedsEvent(_available.Read16(4 + (2 * Size)), _nextUsed, old);
    }

    /// <summary>The event index lies between the old and the new index.</summary>
    private static bool NeedsEvent(ushort wanted, ushort now, ushort old) => (ushort)(now - wanted - 1) < (ushort)(now - old);

    private bool IsPackedAvailable(ushort flags)
    {
        var available = (flags & FlagAvailable) != 0;
        var used = (flags & FlagUsed) != 0;
        return available != used && available == _availableWrap;
    }

    private bool PopPacked(VirtqueueElement element)
    {
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        var at = _nextAvailable;
        if (!IsPackedAvailable(_descriptors.Read16((at * DescriptorSize) + 14)))
            return false;
        Interlocked.MemoryBarrier();
        var taken = 0;
        while (true)
        {
            _descriptors.Read(at * DescriptorSize, descriptor);
            var (address, length, id, flags) = Split(descriptor);
            if (taken == 0 && (flags & FlagIndirect) != 0)
            {
                if (!CollectPackedTable(element, address, length))
                {
                    _device.Break($"queue {Index}: bad indirect table");
                    return false;
                }
            }
            else if (taken >= Size || (flags & FlagIndirect) != 0 || !AddPart(element, address, length, flags))
            {
                _device.Break($"queue {Index}: bad chain of descriptors");
                return false;
            }

            taken++;
            if (++at >= Size)
                at = 0;
            if ((flags & FlagNext) != 0 && (flags & FlagIndirect) == 0)
                continue;
            // The id stands in the last descriptor of the chain.
            element.Head = id;
            break;
        }

        element.Descriptors = taken;
        if (_nextAvailable + taken >= Size)
            _availableWrap = !_availableWrap;
        _nextAvailable = at;
        return true;
    }

    private bool CollectPackedTable(VirtqueueElement element, ulong table, uint length)
    {
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        if (length == 0 || length % DescriptorSize != 0)
            return false;
        for (var i = 0; i < length / DescriptorSize; i++)
        {
            _ = _device.Memory.Read(table + (ulong)(i * DescriptorSize), descriptor);
            var (address, size, _, flags) = Split(descriptor);
            if (i >= MaxParts || !AddPart(element, address, size, flags))
                return false;
        }

        return true;
    }

    private void PushPacked(VirtqueueElement element, uint written)
    {
        Span<byte> body = stackalloc byte[6];
        BinaryPrimitives.WriteUInt32LittleEndian(body, written);
        BinaryPrimitives.WriteUInt16LittleEndian(body[4..], element.Head);
        var at = _nextUsed * DescriptorSize;
        _descriptors.Write(at + 8, body);
        var flags = (ushort)((element.HasWritable ? FlagWrite : 0) | (_usedWrap ? FlagAvailable | FlagUsed : 0));
        // The first descriptor of a batch lets the driver see all of it.
        if (_unpublished == 0)
            (_firstFlagsAt, _firstFlags) = (at + 14, flags);
        else
            _descriptors.Write16(at + 14, flags);
        var next = _nextUsed + element.Descriptors;
        if (next >= Size)
        {
            next -= Size;
            _usedWrap = !_usedWrap;
        }

        _nextUsed = (ushort)next;
    }

    private bool ShouldNotifyPacked()
    {
        var (old, valid) = (_signalled, _signalledValid);
        _signalled = _nextUsed;
        _signalledValid = true;
        var offset = _available.Read16(0);
        switch (_available.Read16(2) & 3)
        {
            case PackedDisable:
                return false;
            case PackedDescriptor when HasEvents && valid:
                int wanted = offset & 0x7FFF;
                if (((offset & 0x8000) != 0) != _usedWrap)
                    wanted -= Size;
                return NeedsEvent((ushort)wanted, _nextUsed, old);
            default:
                return true;
        }
    }
}
