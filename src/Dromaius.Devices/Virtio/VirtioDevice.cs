using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Virtio;

/// <summary>Feature bits that do not belong to a device type (Virtio 1.2, chapter 6).</summary>
public static class VirtioFeature
{
    public const ulong NotifyOnEmpty = 1UL << 24;
    public const ulong AnyLayout = 1UL << 27;
    public const ulong RingIndirect = 1UL << 28;
    public const ulong RingEventIndex = 1UL << 29;
    public const ulong Version1 = 1UL << 32;
    public const ulong RingPacked = 1UL << 34;
    public const ulong RingReset = 1UL << 40;
}

/// <summary>What carries a virtio device: PCI, or memory mapped registers.</summary>
public interface IVirtioTransport
{
    /// <summary>Interrupts for used buffers.</summary>
    void NotifyQueue(Virtqueue queue);

    /// <summary>Interrupts for a changed configuration.</summary>
    void NotifyConfiguration();

    /// <summary>The device may read and write memory.</summary>
    bool CanAccessMemory { get; }
}

/// <summary>
/// A virtio device apart from its transport: features, status, queues and configuration space. A device type adds its queues
/// in the constructor, serves them in <see cref="HandleQueue"/> and answers configuration reads. Source: OASIS Virtio 1.2,
/// chapter 2.
/// </summary>
public abstract class VirtioDevice : Device
{
    public const byte StatusAcknowledge = 1, StatusDriver = 2, StatusDriverOk = 4, StatusFeaturesOk = 8, StatusNeedsReset = 0x40, StatusFailed = 0x80;

    private readonly List<Virtqueue> _queues = [];

    /// <param name="memory">What the device sees.</param>
    protected VirtioDevice(AddressSpace memory) => Memory = memory;

    public AddressSpace Memory { get; }
    public IVirtioTransport? Transport { get; set; }

    /// <summary>The device type's number: 1 network, 2 block, 8 SCSI...</summary>
    public abstract int DeviceId { get; }

    /// <summary>PCI class code, subclass and programming interface as one number, such as 010000h.</summary>
    public virtual int ClassCode => 0x00FF00;

    /// <summary>Features of the device type; transports add theirs.</summary>
    protected abstract ulong DeviceFeatures { get; }

    /// <summary>Bits that <c>-device</c> properties switch off.</summary>
    public ulong DisabledFeatures { get; set; } = VirtioFeature.RingPacked;

    /// <summary>Everything offered.</summary>
    public ulong HostFeatures => (DeviceFeatures | VirtioFeature.RingIndirect | VirtioFeature.RingEventIndex | VirtioFeature.AnyLayout
        | VirtioFeature.NotifyOnEmpty | VirtioFeature.Version1 | VirtioFeature.RingPacked) & ~DisabledFeatures;

    /// <summary>What the driver accepted.</summary>
    public ulong GuestFeatures { get; private set; }
    public byte Status { get; private set; }

    /// <summary>Counts changes of the configuration space.</summary>
    public byte Generation { get; private set; }
    public IReadOnlyList<Virtqueue> Queues => _queues;

    /// <summary>Bytes of configuration space.</summary>
    public abstract int ConfigLength { get; }

    /// <summary>The driver works and the rings are sound.</summary>
    public bool IsRunning => (Status & (StatusDriverOk | StatusNeedsReset)) == StatusDriverOk && Transport is { CanAccessMemory: true };

    public bool Has(ulong feature) => (GuestFeatures & feature) != 0;

    /// <summary>Fills in configuration space as it is now.</summary>
    public abstract void ReadConfig(Span<byte> config);

    public virtual void WriteConfig(int offset, ReadOnlySpan<byte> value)
    {
    }

    private bool _handling;

    /// <summary>The driver rang a queue's doorbell.</summary>
    public void Kick(int queue)
    {
        // A doorbell that the device's own writes ring (buffers or interrupts aimed at it) is not heard: the stack has an end.
        if (_handling || (uint)queue >= (uint)_queues.Count || !IsRunning || !_queues[queue].IsEnabled)
            return;
        _handling = true;
        try
        {
            HandleQueue(_queues[queue]);
        }
        finally
        {
            _handling = false;
        }
    }

    /// <summary>Looks at all queues: the driver may have filled them before it could be heard.</summary>
    public void KickAll()
    {
        foreach (var queue in _queues)
            Kick(queue.Index);
    }

    /// <summary>Accepts the driver's choice of features, before it says that they are final.</summary>
    public void SetFeatures(ulong features)
    {
        if ((Status & (StatusFeaturesOk | StatusDriverOk)) == 0)
            GuestFeatures = features & HostFeatures;
    }

    /// <summary>The driver writes the status register; zero resets.</summary>
    public void SetStatus(byte status, bool modern)
    {
        if (status == 0)
        {
            Reset();
            return;
        }

        if (modern && (status & StatusFeaturesOk) != 0 && (Status & StatusFeaturesOk) == 0 && !AreFeaturesGood())
            status &= unchecked((byte)~StatusFeaturesOk);
        var started = (status & ~Status & StatusDriverOk) != 0;
        Status = (byte)(status | (Status & StatusNeedsReset));
        if (started)
        {
            // The lengths of a queue's areas depend on the features, which are final now.
            foreach (var queue in _queues)
            {
                if (queue.IsEnabled)
                    queue.Enable();
            }

            OnStarted();
            KickAll();
        }
    }

    public override void Reset()
    {
        OnReset();
        Status = 0;
        GuestFeatures = 0;
        foreach (var queue in _queues)
            queue.Reset();
    }

    /// <summary>The driver broke the rules: nothing more is done until it resets the device.</summary>
    public void Break(string why)
    {
        GuestLog.GuestError(TypeName, why);
        if ((Status & StatusNeedsReset) != 0)
            return;
        Status |= StatusNeedsReset;
        if (Has(VirtioFeature.Version1))
            Transport?.NotifyConfiguration();
    }

    protected Virtqueue AddQueue(int size)
    {
        var queue = new Virtqueue(this, _queues.Count, size);
        _queues.Add(queue);
        return queue;
    }

    protected abstract void HandleQueue(Virtqueue queue);

    /// <summary>Drops what is in flight.</summary>
    protected virtual void OnReset()
    {
    }

    /// <summary>The driver is ready.</summary>
    protected virtual void OnStarted()
    {
    }

    /// <summary>A last word on the features that the driver chose.</summary>
    protected virtual bool AreFeaturesGood() => Has(VirtioFeature.Version1);

    /// <summary>Configuration space changed by the device's own doing.</summary>
    protected void ConfigChanged()
    {
        Generation++;
        if ((Status & StatusDriverOk) != 0)
            Transport?.NotifyConfiguration();
    }
}
