using System.Buffers.Binary;
using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Virtio;

/// <summary>Which interfaces of the PCI transport a function offers.</summary>
public enum VirtioPciMode
{
    Transitional,
    Modern,
    Legacy,
}

/// <summary>
/// A virtio device as a PCI function: legacy registers in base address register 0, MSI-X in 1, the modern structures in 4.
/// Source: OASIS Virtio 1.2, section 4.1.
/// </summary>
public sealed class VirtioPci : PciFunction, IVirtioTransport
{
    private const ushort Vendor = 0x1AF4;
    private const int MsiXBar = 1, ModernBar = 4;
    private const uint CommonAt = 0, IsrAt = 0x1000, DeviceAt = 0x2000, NotifyAt = 0x3000, AreaSize = 0x1000;
    private const int NotifyMultiplier = 4;
    private const byte IsrQueue = 1, IsrConfig = 2;
    private const int LegacyHeader = 20, LegacyHeaderMsiX = 24;

    private readonly VirtioPciMode _mode;
    private readonly byte[] _config;
    private readonly int _windowAt;
    private byte _isr;
    private ushort _configVector = Virtqueue.NoVector;
    private ushort _selected;
    private uint _deviceFeatureSelect, _driverFeatureSelect;
    private ulong _driverFeatures;

    /// <param name="device">What it carries.</param>
    /// <param name="typeName">As <c>-device</c> spells it.</param>
    /// <param name="mode">Which interfaces it offers.</param>
    /// <param name="vectors">MSI-X vectors; 0 for none.</param>
    /// <param name="isExpress">It sits behind a PCI Express port.</param>
    public VirtioPci(VirtioDevice device, string typeName, VirtioPciMode mode = VirtioPciMode.Transitional, int vectors = 2, bool isExpress = false)
        : base(Vendor, PciDeviceId(device, mode), (byte)(device.ClassCode >> 16), (byte)(device.ClassCode >> 8), (byte)device.ClassCode,
            (byte)(mode == VirtioPciMode.Modern ? 1 : 0))
    {
        Device = device;
        TypeName = typeName;
        _mode = mode;
        _config = new byte[device.ConfigLength];
        device.Transport = this;
        if (mode == VirtioPciMode.Legacy)
            device.DisabledFeatures |= ~0xFFFF_FFFFUL;
        SetWord(PciConfig.SubsystemVendorId, Vendor);
        // A transitional device names its type in the subsystem id.
        SetWord(PciConfig.SubsystemId, (ushort)(mode == VirtioPciMode.Modern ? 0x1100 : device.DeviceId));
        UseInterruptPin(1);
        if (isExpress && mode != VirtioPciMode.Legacy)
        {
            _ = AddExpress(PciExpressType.Endpoint);
            AddPowerManagement();
        }

        if (vectors > 0)
        {
            var msix = MemoryRegion.Container("virtio-msix", BarSizeFor(vectors));
            var table = new MsiX(this, vectors, MsiXBar, 0, PendingOffset(vectors));
            msix.Add(0, table.Table);
            msix.Add(PendingOffset(vectors), table.Pending);
            AddMemoryBar(MsiXBar, msix);
        }

        if (mode != VirtioPciMode.Modern)
        {
            var size = (ulong)(LegacyHeaderMsiX + device.ConfigLength);
            AddIoBar(0, MemoryRegion.Device("virtio-pci-legacy", System.Numerics.BitOperations.RoundUpToPowerOf2(size), ReadLegacy, WriteLegacy));
        }

        if (mode != VirtioPciMode.Legacy)
        {
            var bar = MemoryRegion.Container("virtio-pci", 4 * AreaSize);
            bar.Add(CommonAt, MemoryRegion.Device("virtio-pci-common", AreaSize, ReadCommon, WriteCommon));
            bar.Add(IsrAt, MemoryRegion.Device("virtio-pci-isr", AreaSize, (_, _) => TakeIsr(), static (_, _, _) => { }));
            bar.Add(DeviceAt, MemoryRegion.Device("virtio-pci-device", AreaSize, ReadDevice, WriteDevice, 1, 8));
            bar.Add(NotifyAt, MemoryRegion.Device("virtio-pci-notify", AreaSize, static (_, _) => 0,
                (offset, _, _) => Device.Kick((int)(offset / NotifyMultiplier))));
            AddMemoryBar(ModernBar, bar, prefetch: true, wide: true);
            AddStructure(1, CommonAt, 16);
            AddStructure(3, IsrAt, 16);
            AddStructure(4, DeviceAt, 16);
            var notify = AddStructure(2, NotifyAt, 20);
            SetDword(notify + 16, NotifyMultiplier);
            // The window through which configuration cycles reach the structures.
            _windowAt = AddCapability(9, 20);
            SetByte(_windowAt + 2, 20);
            SetByte(_windowAt + 3, 5);
            SetWritable(_windowAt + 4, 1, 0xFF);
            SetWritable(_windowAt + 8, 4, uint.MaxValue);
            SetWritable(_windowAt + 12, 4, uint.MaxValue);
            SetWritable(_windowAt + 16, 4, uint.MaxValue);
        }
    }

    public override string TypeName { get; }
    public VirtioDevice Device { get; }

    public bool CanAccessMemory => IsBusMaster;

    public override void Reset()
    {
        base.Reset();
        Device.Reset();
        ResetTransport();
    }

    public override uint ReadConfig(int offset, int size)
    {
        if (_windowAt != 0 && Overlaps(offset, size, _windowAt + 16, 4))
            MoveWindow(write: false);
        return base.ReadConfig(offset, size);
    }

    public override void WriteConfig(int offset, int size, uint value)
    {
        var couldAccess = CanAccessMemory;
        base.WriteConfig(offset, size, value);
        if (_windowAt != 0 && Overlaps(offset, size, _windowAt + 16, 4))
            MoveWindow(write: true);
        if (!couldAccess && CanAccessMemory)
            Device.KickAll();
    }

    public void NotifyQueue(Virtqueue queue) => Interrupt(queue.Vector, IsrQueue);

    // Some drivers look for bit 0 alone, so it comes along, as with other implementations.
    public void NotifyConfiguration() => Interrupt(_configVector, IsrConfig | IsrQueue);

    private static ushort PciDeviceId(VirtioDevice device, VirtioPciMode mode)
    {
        if (mode == VirtioPciMode.Modern)
            return (ushort)(0x1040 + device.DeviceId);
        return device.DeviceId switch
        {
            1 => 0x1000,
            2 => 0x1001,
            3 => 0x1003,
            4 => 0x1005,
            5 => 0x1002,
            8 => 0x1004,
            9 => 0x1009,
            _ => (ushort)(0x1040 + device.DeviceId),
        };
    }

    private static uint PendingOffset(int vectors) => vectors * 16 <= 0x800 ? 0x800u : (uint)((vectors * 16) + 0xFFF) & ~0xFFFu;

    private static ulong BarSizeFor(int vectors) =>
        vectors * 16 <= 0x800 ? 0x1000u : System.Numerics.BitOperations.RoundUpToPowerOf2(PendingOffset(vectors) + 0x1000);

    private int AddStructure(byte type, uint at, int length)
    {
        var offset = AddCapability(9, length);
        SetByte(offset + 2, (byte)length);
        SetByte(offset + 3, type);
        SetByte(offset + 4, ModernBar);
        SetDword(offset + 8, at);
        SetDword(offset + 12, AreaSize);
        return offset;
    }

    private void Interrupt(ushort vector, byte cause)
    {
        if (MsiX is { IsEnabled: true } msix)
        {
            if (vector != Virtqueue.NoVector)
                msix.Notify(vector);
            return;
        }

        _isr |= cause;
        SetIntx(true);
    }

    private ulong TakeIsr()
    {
        var isr = _isr;
        _isr = 0;
        SetIntx(false);
        return isr;
    }

    private void ResetTransport()
    {
        _isr = 0;
        SetIntx(false);
        _configVector = Virtqueue.NoVector;
        _selected = 0;
        _deviceFeatureSelect = _driverFeatureSelect = 0;
        _driverFeatures = 0;
    }

    private void SetStatus(byte status, bool modern)
    {
        Device.SetStatus(status, modern);
        if (status == 0)
            ResetTransport();
    }

    private ushort CheckVector(ulong value) => MsiX is { } msix && value < (ulong)msix.Vectors ? (ushort)value : Virtqueue.NoVector;

    private Virtqueue? Selected => _selected < Device.Queues.Count ? Device.Queues[_selected] : null;

    private int LegacyConfigAt => MsiX is { IsEnabled: true } ? LegacyHeaderMsiX : LegacyHeader;

    private ulong ReadLegacy(ulong offset, int size)
    {
        if ((int)offset >= LegacyConfigAt)
            return ReadDevice(offset - (ulong)LegacyConfigAt, size);
        return offset switch
        {
            0 => (uint)Device.HostFeatures,
            4 => (uint)Device.GuestFeatures,
            8 => Selected is { IsEnabled: true } queue ? (uint)(queue.DescriptorArea >> 12) : 0,
            12 => (ulong)(Selected?.MaxSize ?? 0),
            14 => _selected,
            18 => Device.Status,
            19 => TakeIsr(),
            20 => _configVector,
            22 => Selected?.Vector ?? Virtqueue.NoVector,
            _ => 0,
        };
    }

    private void WriteLegacy(ulong offset, int size, ulong value)
    {
        if ((int)offset >= LegacyConfigAt)
        {
            WriteDevice(offset - (ulong)LegacyConfigAt, size, value);
            return;
        }

        switch (offset)
        {
            case 4:
                Device.SetFeatures(value & 0xFFFF_FFFF & ~VirtioFeature.Version1);
                break;
            case 8:
                if (value == 0)
                {
                    Device.Reset();
                    ResetTransport();
                }
                else
                    Selected?.EnableLegacy((uint)value);
                break;
            case 14:
                _selected = (ushort)value;
                break;
            case 16:
                Device.Kick((int)value & 0xFFFF);
                break;
            case 18:
                SetStatus((byte)value, false);
                break;
            case 20:
                _configVector = CheckVector(value);
                break;
            case 22 when Selected is { } queue:
                queue.Vector = CheckVector(value);
                break;
        }
    }

    private ulong ReadCommon(ulong offset, int size)
    {
        // Fields are naturally aligned; a narrower read takes its part.
        var start = offset & ~3UL;
        return (CommonDword((int)start) >> (int)(8 * (offset - start))) & (size == 4 ? uint.MaxValue : size == 2 ? 0xFFFF : 0xFFu);
    }

    private uint CommonDword(int offset)
    {
        var queue = Selected;
        return offset switch
        {
            0 => _deviceFeatureSelect,
            4 => _deviceFeatureSelect < 2 ? (uint)(Device.HostFeatures >> (int)(32 * _deviceFeatureSelect)) : 0,
            8 => _driverFeatureSelect,
            12 => _driverFeatureSelect < 2 ? (uint)(Device.GuestFeatures >> (int)(32 * _driverFeatureSelect)) : 0,
            16 => (uint)(_configVector | Device.Queues.Count << 16),
            20 => (uint)(Device.Status | Device.Generation << 8 | _selected << 16),
            24 => queue == null ? 0 : (uint)(queue.Size | queue.Vector << 16),
            28 => queue == null ? 0 : (queue.IsEnabled ? 1u : 0) | (uint)queue.Index << 16,
            32 => (uint)(queue?.DescriptorArea ?? 0),
            36 => (uint)((queue?.DescriptorArea ?? 0) >> 32),
            40 => (uint)(queue?.DriverArea ?? 0),
            44 => (uint)((queue?.DriverArea ?? 0) >> 32),
            48 => (uint)(queue?.DeviceArea ?? 0),
            52 => (uint)((queue?.DeviceArea ?? 0) >> 32),
            _ => 0,
        };
    }

    private void WriteCommon(ulong offset, int size, ulong value)
    {
        var queue = Selected;
        switch (offset)
        {
            case 0:
                _deviceFeatureSelect = (uint)value;
                break;
            case 8:
                _driverFeatureSelect = (uint)value;
                break;
            case 12 when _driverFeatureSelect < 2:
                var shift = (int)(32 * _driverFeatureSelect);
                _driverFeatures = (_driverFeatures & ~(0xFFFF_FFFFUL << shift)) | (value & 0xFFFF_FFFF) << shift;
                Device.SetFeatures(_driverFeatures);
                break;
            case 16:
                _configVector = CheckVector(value);
                break;
            case 20:
                SetStatus((byte)value, true);
                break;
            case 22:
                _selected = (ushort)value;
                break;
            case 24 when queue is { IsEnabled: false }:
                SetQueueSize(queue, (int)value);
                break;
            case 26 when queue != null:
                queue.Vector = CheckVector(value);
                break;
            case 28 when queue != null && (value & 1) != 0:
                queue.Enable();
                break;
            case >= 32 and < 56 when queue is { IsEnabled: false }:
                SetQueueArea(queue, (int)offset, value);
                break;
        }
    }

    private void SetQueueSize(Virtqueue queue, int size)
    {
        var packed = Device.Has(VirtioFeature.RingPacked);
        if (size > 0 && size <= queue.MaxSize && (packed || (size & (size - 1)) == 0))
            queue.Size = size;
    }

    private static void SetQueueArea(Virtqueue queue, int offset, ulong value)
    {
        var high = (offset & 4) != 0;
        switch (offset & ~7)
        {
            case 32:
                queue.DescriptorArea = Merge(queue.DescriptorArea);
                break;
            case 40:
                queue.DriverArea = Merge(queue.DriverArea);
                break;
            default:
                queue.DeviceArea = Merge(queue.DeviceArea);
                break;
        }

        ulong Merge(ulong old) => high ? (uint)old | value << 32 : (old & ~0xFFFF_FFFFUL) | (uint)value;
    }

    private ulong ReadDevice(ulong offset, int size)
    {
        if (offset + (ulong)size > (ulong)_config.Length)
            return offset >= (ulong)_config.Length ? 0 : ReadDevice(offset, 1);
        Device.ReadConfig(_config);
        Span<byte> word = stackalloc byte[8];
        word.Clear();
        _config.AsSpan((int)offset, size).CopyTo(word);
        return BinaryPrimitives.ReadUInt64LittleEndian(word);
    }

    private void WriteDevice(ulong offset, int size, ulong value)
    {
        if (offset + (ulong)size > (ulong)_config.Length)
            return;
        Span<byte> word = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(word, value);
        Device.WriteConfig((int)offset, word[..size]);
    }

    /// <summary>Moves the window's data register to or from where its address registers say.</summary>
    private void MoveWindow(bool write)
    {
        var bar = ConfigByte(_windowAt + 4);
        var at = ConfigDword(_windowAt + 8);
        var length = ConfigDword(_windowAt + 12);
        if (bar != ModernBar || length is not (1 or 2 or 4) || at > (4 * AreaSize) - length || at % length != 0)
            return;
        var offset = at % AreaSize;
        var size = (int)length;
        if (write)
        {
            var value = ConfigDword(_windowAt + 16) & (size == 4 ? uint.MaxValue : (1u << (8 * size)) - 1);
            switch (at / AreaSize)
            {
                case CommonAt / AreaSize:
                    WriteCommon(offset, size, value);
                    break;
                case DeviceAt / AreaSize:
                    WriteDevice(offset, size, value);
                    break;
                case NotifyAt / AreaSize:
                    Device.Kick((int)(offset / NotifyMultiplier));
                    break;
            }

            return;
        }

        var read = (at / AreaSize) switch
        {
            CommonAt / AreaSize => ReadCommon(offset, size),
            IsrAt / AreaSize => TakeIsr(),
            DeviceAt / AreaSize => ReadDevice(offset, size),
            _ => 0UL,
        };
        for (var i = 0; i < 4; i++)
            PokeConfig(_windowAt + 16 + i, (byte)(read >> (8 * i)));
    }
}
