using System.Buffers.Binary;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Pci;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// VMware's paravirtual network adapter, revisions 1 and 2: queues in memory that the driver describes in a shared area, commands and
/// doorbells in registers. Source: the interface that VMware published with its open drivers (vmxnet3_defs.h, upt1_defs.h).
/// </summary>
public sealed partial class Vmxnet3 : PciFunction, IPciNic
{
    private const int RegisterSpace = 0x1000, PendingOffset = 0x800, MaxVectors = 25, MaxTxQueues = 8, MaxRxQueues = 16;

    // Base address register 0: interrupt masks and doorbells, 8 bytes apart. 1: the rest.
    private const int Imr = 0, TxProd = 0x600, RxProd = 0x800, DoorbellEnd = 0xC00, RegisterStep = 8;
    private const int Vrrs = 0, Uvrs = 8, Dsal = 0x10, Dsah = 0x18, Cmd = 0x20, Macl = 0x28, Mach = 0x30, Icr = 0x38, Ecr = 0x40;
    private const uint Revisions = 3, EventLink = 4, FirstRead = 0xF00D_0000;
    private const uint LinkUp = 1, LinkSpeed = 1000 << 16;

    // The shared area.
    private const uint Magic = 0xBABE_FEE1;
    private const int FeaturesAt = 24, QueuesAt = 40, QueuesLengthAt = 52, TxQueuesAt = 62, RxQueuesAt = 63, AutoMaskAt = 80, EventVectorAt = 82,
        RxModeAt = 120, McastLengthAt = 124, McastAt = 128, VlansAt = 136, RssLengthAt = 652, RssAt = 656, EventsAt = 696, SharedSize = 720;
    private const int VlanTableSize = 512, MaxMulticast = 64;

    private enum DeviceCommand : uint
    {
        Activate = 0xCAFE_0000,
        Quiesce,
        Reset,
        UpdateRxMode,
        UpdateMacFilters,
        UpdateVlanFilters,
        UpdateRss,
        UpdateFeatures = 0xCAFE_0009,
        GetQueueStatus = FirstRead,
        GetStats,
        GetLink,
        GetPermanentMacLow,
        GetPermanentMacHigh,
        GetDeviceIdLow,
        GetDeviceIdHigh,
    }

    [Flags]
    private enum Features : ulong
    {
        None = 0,
        RxChecksum = 1,
        Rss = 2,
        RxVlan = 4,
        Lro = 8,
    }

    [Flags]
    private enum RxModes : uint
    {
        None = 0,
        Unicast = 1,
        Multicast = 2,
        Broadcast = 4,
        AllMulticast = 8,
        Promiscuous = 0x10,
    }

    private readonly Clock _clock;
    private readonly Core.Time.Timer _retry;
    private readonly MsiX _msix;
    private readonly Msi _msi;
    private readonly bool[] _masked = new bool[MaxVectors], _pending = new bool[MaxVectors];
    private readonly byte[] _vlans = new byte[VlanTableSize];
    private readonly List<MacAddress> _multicast = [];
    private TxQueue[] _txQueues = [];
    private RxQueue[] _rxQueues = [];
    private MacAddress _mac;
    private uint _sharedLow, _revision = 1, _result;
    private ulong _shared;
    private Features _features;
    private RxModes _rxMode;
    private bool _active, _intx, _autoMask;
    private int _eventVector;

    /// <summary>Registers that the device's own transfers hit are not heard.</summary>
    private bool _busy;

    /// <param name="clock">For looking again at rings that were full.</param>
    /// <param name="mac">The permanent address.</param>
    /// <param name="express">The bus it goes on is PCI Express.</param>
    public Vmxnet3(Clock clock, MacAddress mac, bool express)
        : base(0x15AD, 0x07B0, 0x02, 0x00, 0, 1)
    {
        _clock = clock;
        _retry = clock.CreateTimer(() => Nic?.ReadyForMore());
        PermanentMac = mac;
        SetWord(PciConfig.SubsystemVendorId, 0x15AD);
        SetWord(PciConfig.SubsystemId, 0x07B0);
        UseInterruptPin(1);
        AddMemoryBar(0, MemoryRegion.Device("vmxnet3-b0", RegisterSpace, ReadDoorbells, WriteDoorbells, 4, 4));
        AddMemoryBar(1, MemoryRegion.Device("vmxnet3-b1", RegisterSpace, ReadRegister, WriteRegister, 4, 4));
        if (express)
            _ = AddExpress(PciExpressType.Endpoint);
        _msi = new Msi(this, 1);
        var bar = MemoryRegion.Container("vmxnet3-msix", RegisterSpace);
        _msix = new MsiX(this, MaxVectors, 2, 0, PendingOffset);
        bar.Add(0, _msix.Table);
        bar.Add(PendingOffset, _msix.Pending);
        AddMemoryBar(2, bar);
        ResetDevice();
    }

    public override string TypeName => "vmxnet3";
    public MacAddress PermanentMac { get; }
    public Nic? Nic { get; set; }
    public OffloadFeatures Accepts { get; private set; }

    public override void Reset()
    {
        base.Reset();
        ResetDevice();
        _sharedLow = 0;
        _shared = 0;
        _revision = 1;
    }

    public void OnPeerReady()
    {
        foreach (var queue in _txQueues)
            Transmit(queue);
    }

    public void OnLinkChanged()
    {
        if (!_active)
            return;
        ChangeEvents(EventLink, 0);
        Raise(_eventVector);
    }

    private void ResetDevice()
    {
        Deactivate();
        Array.Clear(_masked);
        _mac = PermanentMac;
        _result = 0;
        if (Nic != null)
            Nic.Mac = _mac;
    }

    private void Deactivate()
    {
        _active = false;
        _txQueues = [];
        _rxQueues = [];
        _multicast.Clear();
        _retry.Cancel();
        Array.Clear(_pending);
        SetFeatures(Features.None);
        SetInterrupt(false);
    }

    private ulong ReadDoorbells(ulong offset, int size)
    {
        var vector = (int)(offset - Imr) / RegisterStep;
        return vector < MaxVectors && offset % RegisterStep == 0 && _masked[vector] ? 1u : 0;
    }

    private void WriteDoorbells(ulong offset, int size, ulong value)
    {
        if (_busy || offset % RegisterStep != 0)
            return;
        var index = (int)offset;
        switch (index)
        {
            case < TxProd:
                var vector = (index - Imr) / RegisterStep;
                if (vector >= MaxVectors)
                    break;
                _masked[vector] = (value & 1) != 0;
                DeliverPending(vector);
                break;
            case < RxProd:
                var tx = (index - TxProd) / RegisterStep;
                if (tx < _txQueues.Length)
                    Transmit(_txQueues[tx]);
                break;
            case < DoorbellEnd:
                // Both rings of a queue, one bank of registers each.
                var rx = (index - RxProd) % 0x200 / RegisterStep;
                if (rx < _rxQueues.Length)
                    ReceiveAgain(_rxQueues[rx]);
                break;
        }
    }

    private ulong ReadRegister(ulong offset, int size)
    {
        switch ((int)offset)
        {
            case Vrrs:
                return Revisions;
            case Uvrs:
                return 1;
            case Dsal:
                return (uint)_shared;
            case Dsah:
                return _shared >> 32;
            case Cmd:
                return _result;
            case Macl:
                return (uint)(_mac[0] | (_mac[1] << 8) | (_mac[2] << 16) | (_mac[3] << 24));
            case Mach:
                return (uint)(_mac[4] | (_mac[5] << 8));
            case Icr:
                var interrupting = _intx;
                SetInterrupt(false);
                return interrupting ? 1u : 0;
            default:
                return 0;
        }
    }

    private void WriteRegister(ulong offset, int size, ulong value)
    {
        if (_busy)
            return;
        switch ((int)offset)
        {
            case Vrrs:
                // One bit, that of the revision chosen.
                _revision = (value & 2) != 0 ? 2u : 1;
                break;
            case Dsal:
                // The driver takes the area away by an address of zero; the high half makes it known.
                if (value == 0)
                    Deactivate();
                _sharedLow = (uint)value;
                _shared = 0;
                break;
            case Dsah:
                _shared = _sharedLow | (value << 32);
                break;
            case Cmd:
                _busy = true;
                _result = Execute((DeviceCommand)value);
                _busy = false;
                if (_active)
                    Nic?.ReadyForMore();
                break;
            case Macl:
                SetMac((uint)value, (ushort)(_mac[4] | (_mac[5] << 8)));
                break;
            case Mach:
                SetMac((uint)ReadRegister(Macl, 4), (ushort)value);
                break;
            case Ecr:
                // The driver has seen these events.
                if (_active)
                    ChangeEvents(0, (uint)value);
                break;
        }
    }

    /// <summary>Sets and clears events in the shared area.</summary>
    private void ChangeEvents(uint set, uint clear)
    {
        var was = _busy;
        _busy = true;
        DmaSpace.StoreU32(_shared + EventsAt, (DmaSpace.LoadU32(_shared + EventsAt) | set) & ~clear);
        _busy = was;
    }

    private void SetMac(uint low, ushort high)
    {
        Span<byte> mac = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(mac, low);
        BinaryPrimitives.WriteUInt16LittleEndian(mac[4..], high);
        _mac = MacAddress.Read(mac);
        if (Nic == null)
            return;
        Nic.Mac = _mac;
        Nic.NoteFilterChange();
    }

    /// <summary>Runs a command; the result is for the driver's next read of the register.</summary>
    private uint Execute(DeviceCommand command)
    {
        switch (command)
        {
            case DeviceCommand.Activate:
                Deactivate();
                return Activate() ? 0u : 1;
            case DeviceCommand.Quiesce:
                Deactivate();
                return 0;
            case DeviceCommand.Reset:
                ResetDevice();
                return 0;
            case DeviceCommand.UpdateRxMode or DeviceCommand.UpdateMacFilters or DeviceCommand.UpdateVlanFilters or DeviceCommand.UpdateRss or DeviceCommand.UpdateFeatures:
                return _active && LoadSettings() ? 0u : 1;
            case DeviceCommand.GetQueueStatus:
                foreach (var queue in _txQueues)
                    queue.StoreStatus(DmaSpace);
                foreach (var queue in _rxQueues)
                    queue.StoreStatus(DmaSpace);
                return 0;
            case DeviceCommand.GetStats:
                foreach (var queue in _txQueues)
                    queue.StoreStatistics(DmaSpace);
                foreach (var queue in _rxQueues)
                    queue.StoreStatistics(DmaSpace);
                return 0;
            case DeviceCommand.GetLink:
                return Nic is not { HasCarrier: false } ? LinkUp | LinkSpeed : 0;
            case DeviceCommand.GetPermanentMacLow:
                return (uint)(PermanentMac[0] | (PermanentMac[1] << 8) | (PermanentMac[2] << 16) | (PermanentMac[3] << 24));
            case DeviceCommand.GetPermanentMacHigh:
                return (uint)(PermanentMac[4] | (PermanentMac[5] << 8));
            case DeviceCommand.GetDeviceIdLow:
                return DeviceId;
            case DeviceCommand.GetDeviceIdHigh:
                return 1;
            default:
                // The configuration of interrupts among them: any type, masked by the device itself.
                return 0;
        }
    }

    /// <summary>Reads what the driver has set up and begins to work.</summary>
    private bool Activate()
    {
        Span<byte> shared = stackalloc byte[SharedSize];
        if (!DmaSpace.Read(_shared, shared) || BinaryPrimitives.ReadUInt32LittleEndian(shared) != Magic)
            return Fail("no shared area");
        int txQueues = shared[TxQueuesAt], rxQueues = shared[RxQueuesAt];
        if (txQueues is < 1 or > MaxTxQueues || rxQueues is < 1 or > MaxRxQueues)
            return Fail($"{txQueues} transmit and {rxQueues} receive queues");
        if (BinaryPrimitives.ReadUInt32LittleEndian(shared[QueuesLengthAt..]) < (uint)((txQueues + rxQueues) * QueueSize))
            return Fail("the area of queues is too short");
        var at = BinaryPrimitives.ReadUInt64LittleEndian(shared[QueuesAt..]);
        var tx = new TxQueue[txQueues];
        var rx = new RxQueue[rxQueues];
        for (var i = 0; i < txQueues; i++, at += QueueSize)
        {
            if (!(tx[i] = new TxQueue(at)).Load(DmaSpace))
                return Fail($"transmit queue {i} is not sound");
        }

        for (var i = 0; i < rxQueues; i++, at += QueueSize)
        {
            if (!(rx[i] = new RxQueue(at, i)).Load(DmaSpace))
                return Fail($"receive queue {i} is not sound");
        }

        (_txQueues, _rxQueues) = (tx, rx);
        _autoMask = shared[AutoMaskAt] != 0;
        _eventVector = shared[EventVectorAt];
        _active = true;
        return LoadSettings();

        bool Fail(string why)
        {
            GuestLog.GuestError(TypeName, why);
            return false;
        }
    }

    /// <summary>Reads the receive filter, the offloads and the spreading over queues.</summary>
    private bool LoadSettings()
    {
        Span<byte> shared = stackalloc byte[SharedSize];
        if (!DmaSpace.Read(_shared, shared))
            return false;
        _rxMode = (RxModes)BinaryPrimitives.ReadUInt32LittleEndian(shared[RxModeAt..]);
        shared.Slice(VlansAt, VlanTableSize).CopyTo(_vlans);
        _multicast.Clear();
        Span<byte> address = stackalloc byte[MacAddress.Length];
        var table = BinaryPrimitives.ReadUInt64LittleEndian(shared[McastAt..]);
        var entries = Math.Min(BinaryPrimitives.ReadUInt16LittleEndian(shared[McastLengthAt..]) / MacAddress.Length, MaxMulticast);
        for (var i = 0; i < entries; i++)
        {
            _ = DmaSpace.Read(table + (ulong)(i * MacAddress.Length), address);
            _multicast.Add(MacAddress.Read(address));
        }

        var features = (Features)BinaryPrimitives.ReadUInt64LittleEndian(shared[FeaturesAt..]);
        if ((features & Features.Rss) != 0)
            LoadSpreading(BinaryPrimitives.ReadUInt64LittleEndian(shared[RssAt..]), BinaryPrimitives.ReadUInt32LittleEndian(shared[RssLengthAt..]));
        SetFeatures(features);
        Nic?.NoteFilterChange();
        return true;
    }

    private void SetFeatures(Features features)
    {
        _features = features;
        const Features Large = Features.RxChecksum | Features.Lro;
        Accepts = (features & Large) == Large ? OffloadFeatures.Checksum | OffloadFeatures.Tcp4 | OffloadFeatures.Tcp6
            : (features & Features.RxChecksum) != 0 ? OffloadFeatures.Checksum : OffloadFeatures.None;
        Nic?.NoteOffloads();
    }

    /// <summary>Something is to be told through a vector.</summary>
    private void Raise(int vector)
    {
        if (vector >= MaxVectors)
            return;
        _pending[vector] = true;
        DeliverPending(vector);
    }

    private void DeliverPending(int vector)
    {
        if (!_pending[vector] || _masked[vector])
            return;
        _pending[vector] = false;
        // The driver unmasks when it has looked at its rings.
        _masked[vector] = _autoMask;
        var was = _busy;
        _busy = true;
        if (_msix.IsEnabled)
            _msix.Notify(vector);
        else if (_msi.IsEnabled)
            _msi.Notify(0);
        else
            SetInterrupt(true);
        _busy = was;
    }

    private void SetInterrupt(bool level)
    {
        _intx = level;
        SetIntx(level);
    }
}
