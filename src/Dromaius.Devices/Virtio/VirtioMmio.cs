using System.Buffers.Binary;
using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Virtio;

/// <summary>
/// A virtio device behind memory-mapped registers and one interrupt line; with no device its id reads as 0. Source: OASIS Virtio 1.1,
/// section 4.2: the register layout 4.2.2, the legacy one 4.2.4.
/// </summary>
public sealed class VirtioMmio : Device, IVirtioTransport
{
    public const ulong Size = 0x200;
    private const uint Magic = 0x7472_6976, Vendor = 0x554D_4551;
    private const int ConfigAt = 0x100;
    private const uint QueueUsed = 1, ConfigChange = 2;

    private readonly bool _legacy;
    private byte[] _config = [];
    private uint _deviceFeatureSelect, _driverFeatureSelect, _interrupt, _selected;
    private ulong _driverFeatures;
    private int _pageShift;
    private readonly Dictionary<int, uint> _alignments = [];

    /// <param name="legacy">The register layout from before version 1.0.</param>
    public VirtioMmio(bool legacy)
    {
        _legacy = legacy;
        Registers = MemoryRegion.Device("virtio-mmio", Size, Read, Write);
    }

    public override string TypeName => "virtio-mmio";

    public MemoryRegion Registers { get; }
    public IrqLine Irq { get; } = new();

    /// <summary>What it carries, or null.</summary>
    public VirtioDevice? Device { get; private set; }

    public bool CanAccessMemory => true;

    /// <summary>Puts a device behind the registers.</summary>
    public void Attach(VirtioDevice device)
    {
        Device = device;
        device.Transport = this;
        _config = new byte[device.ConfigLength];
        if (_legacy)
            device.DisabledFeatures |= ~0xFFFF_FFFFUL;
    }

    public void NotifyQueue(Virtqueue queue) => Interrupt(QueueUsed);

    public void NotifyConfiguration() => Interrupt(ConfigChange);

    public override void Reset()
    {
        Device?.Reset();
        ResetTransport();
        // Drivers set the page size once, before they reset the device.
        _pageShift = 0;
    }

    private void ResetTransport()
    {
        _deviceFeatureSelect = _driverFeatureSelect = _selected = 0;
        _driverFeatures = 0;
        _alignments.Clear();
        _interrupt = 0;
        Irq.Level = false;
    }

    private void Interrupt(uint cause)
    {
        _interrupt |= cause;
        Irq.Level = true;
    }

    private Virtqueue? Selected => Device is { } device && _selected < (uint)device.Queues.Count ? device.Queues[(int)_selected] : null;

    private ulong Read(ulong offset, int size)
    {
        if (offset >= ConfigAt)
            return ReadConfig((int)offset - ConfigAt, size);
        if (size != 4)
            return 0;
        if (Device is not { } device)
        {
            return offset switch
            {
                0x000 => Magic,
                0x004 => _legacy ? 1u : 2u,
                0x00C => Vendor,
                _ => 0u,
            };
        }

        var queue = Selected;
        return offset switch
        {
            0x000 => Magic,
            0x004 => _legacy ? 1u : 2u,
            0x008 => (uint)device.DeviceId,
            0x00C => Vendor,
            0x010 => _deviceFeatureSelect < 2 ? (uint)(device.HostFeatures >> (int)(32 * _deviceFeatureSelect)) : 0,
            0x034 => (uint)(queue?.MaxSize ?? 0),
            0x040 when _legacy => queue is { IsEnabled: true } ? (uint)(queue.DescriptorArea >> _pageShift) : 0,
            0x044 when !_legacy => queue is { IsEnabled: true } ? 1u : 0,
            0x060 => _interrupt,
            0x070 => device.Status,
            // No shared memory regions: their length reads as all ones.
            0x0B0 or 0x0B4 or 0x0B8 or 0x0BC => uint.MaxValue,
            0x0FC when !_legacy => device.Generation,
            _ => 0u,
        };
    }

    private void Write(ulong offset, int size, ulong value)
    {
        if (Device is not { } device)
            return;
        if (offset >= ConfigAt)
        {
            WriteConfig((int)offset - ConfigAt, size, value);
            return;
        }

        if (size != 4)
            return;
        var word = (uint)value;
        switch (offset)
        {
            case 0x014:
                _deviceFeatureSelect = word;
                break;
            case 0x020 when _driverFeatureSelect < 2:
                var shift = (int)(32 * _driverFeatureSelect);
                _driverFeatures = (_driverFeatures & ~(0xFFFF_FFFFUL << shift)) | (ulong)word << shift;
                device.SetFeatures(_legacy ? _driverFeatures & 0xFFFF_FFFF : _driverFeatures);
                break;
            case 0x024:
                _driverFeatureSelect = word;
                break;
            case 0x030:
                _selected = word;
                break;
            case 0x050:
                device.Kick((int)Math.Min(word, int.MaxValue));
                break;
            case 0x064:
                _interrupt &= ~word;
                Irq.Level = _interrupt != 0;
                break;
            case 0x070:
                device.SetStatus((byte)word, !_legacy);
                if ((byte)word == 0)
                    ResetTransport();
                break;
            default:
                WriteQueue(device, (int)offset, word);
                break;
        }
    }

    private void WriteQueue(VirtioDevice device, int offset, uint value)
    {
        if (offset == 0x028 && _legacy)
        {
            // The page size is a power of two.
            _pageShift = value == 0 ? 0 : Math.Min((int)uint.Log2(value), 31);
            return;
        }

        if (Selected is not { } queue)
            return;
        switch (offset)
        {
            case 0x038 when !queue.IsEnabled:
                if (value > 0 && value <= (uint)queue.MaxSize && (uint.IsPow2(value) || device.Has(VirtioFeature.RingPacked)))
                    queue.Size = (int)value;
                break;
            case 0x03C when _legacy:
                _alignments[queue.Index] = value;
                break;
            case 0x040 when _legacy && value == 0:
                queue.Reset();
                break;
            case 0x040 when _legacy:
                var alignment = _alignments.GetValueOrDefault(queue.Index, 4096u);
                queue.EnableLegacy((ulong)value << _pageShift, uint.IsPow2(alignment) ? alignment : 4096u);
                break;
            case 0x044 when !_legacy:
                if ((value & 1) != 0)
                    queue.Enable();
                else
                    queue.Reset();
                break;
            case >= 0x080 and < 0x0A8 when !_legacy && !queue.IsEnabled:
                SetArea(queue, offset, value);
                break;
        }
    }

    private static void SetArea(Virtqueue queue, int offset, uint value)
    {
        switch (offset)
        {
            case 0x080 or 0x084:
                queue.DescriptorArea = Merge(queue.DescriptorArea);
                break;
            case 0x090 or 0x094:
                queue.DriverArea = Merge(queue.DriverArea);
                break;
            case 0x0A0 or 0x0A4:
                queue.DeviceArea = Merge(queue.DeviceArea);
                break;
        }

        ulong Merge(ulong old) => (offset & 4) != 0 ? (uint)old | (ulong)value << 32 : (old & ~0xFFFF_FFFFUL) | value;
    }

    private ulong ReadConfig(int offset, int size)
    {
        if (Device == null || offset + size > _config.Length)
            return 0;
        Device.ReadConfig(_config);
        Span<byte> word = stackalloc byte[8];
        word.Clear();
        _config.AsSpan(offset, size).CopyTo(word);
        return BinaryPrimitives.ReadUInt64LittleEndian(word);
    }

    private void WriteConfig(int offset, int size, ulong value)
    {
        if (offset + size > _config.Length)
            return;
        Span<byte> word = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(word, value);
        Device!.WriteConfig(offset, word[..size]);
    }
}
