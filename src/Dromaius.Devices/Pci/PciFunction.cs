using System.Buffers.Binary;
using System.Numerics;
using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// A PCI function: 256 bytes of configuration space (4 KiB for PCI Express), base address registers that map regions, an
/// interrupt pin and a list of capabilities. Source: PCI Local Bus Specification 3.0, chapter 6; PCI Express Base Specification
/// 3.0, section 7.2.2.
/// </summary>
public abstract class PciFunction : Device
{
    private const int Bars = 6;
    private const int RomIndex = 6;
    private const int ConventionalSize = 256, ExtendedSize = 4096;

    private byte[] _config = new byte[ConventionalSize];
    private byte[] _reset = new byte[ConventionalSize];
    private byte[] _writable = new byte[ConventionalSize];
    private byte[] _writeOneClear = new byte[ConventionalSize];
    private readonly PciBar?[] _bars = new PciBar?[Bars + 1];
    private int _nextCapability;
    private int _lastExtended;
    private bool _intx;
    private bool _driven;

    /// <param name="vendor">Vendor id.</param>
    /// <param name="device">Device id.</param>
    /// <param name="classCode">Base class.</param>
    /// <param name="subClass">Sub-class.</param>
    /// <param name="progIf">Programming interface.</param>
    /// <param name="revision">Revision id.</param>
    /// <param name="isBridge">The header is that of a PCI-to-PCI bridge.</param>
    protected PciFunction(ushort vendor, ushort device, byte classCode, byte subClass, byte progIf = 0, byte revision = 0,
        bool isBridge = false)
    {
        IsBridge = isBridge;
        SetWord(PciConfig.VendorId, vendor);
        SetWord(PciConfig.DeviceId, device);
        _reset[PciConfig.Revision] = revision;
        _reset[PciConfig.ProgIf] = progIf;
        _reset[PciConfig.SubClass] = subClass;
        _reset[PciConfig.ClassCode] = classCode;
        if (isBridge)
        {
            _reset[PciConfig.HeaderType] = 1;
        }
        else
        {
            SetWord(PciConfig.SubsystemVendorId, PciConfig.VendorRedHatQumranet);
            SetWord(PciConfig.SubsystemId, PciConfig.SubsystemQemu);
        }

        SetWritable(PciConfig.Command, 2, PciConfig.CommandIo | PciConfig.CommandMemory | PciConfig.CommandMaster
            | PciConfig.CommandParity | PciConfig.CommandSerr | PciConfig.CommandIntxDisable);
        SetWriteOneClear(PciConfig.Status, 2, PciConfig.StatusErrors);
        SetWritable(PciConfig.CacheLineSize, 1, 0xFF);
        SetWritable(PciConfig.InterruptLine, 1, 0xFF);
        _reset.CopyTo(_config, 0);
    }

    /// <summary>The bus it sits on; null until plugged.</summary>
    public PciBus? Bus
    {
        get;
        internal set
        {
            field = value;
            if (value != null)
                DmaSpace = value.Memory;
        }
    }

    /// <summary>Memory as its transfers see it; still there when a transfer of its own took the function off the bus.</summary>
    public AddressSpace DmaSpace { get; private set; } = null!;

    /// <summary>Slot times 8 plus function.</summary>
    public int Devfn { get; internal set; } = -1;
    public int Slot => Devfn >> 3;
    public int Function => Devfn & 7;

    /// <summary>It has a type 1 header and a bus behind it.</summary>
    public bool IsBridge { get; }

    /// <summary>It has the extended configuration space and the PCI Express capability.</summary>
    public bool IsExpress => _config.Length == ExtendedSize;

    /// <summary>The PCI Express capability; null for a conventional function.</summary>
    public PciExpressCapability? Express { get; private set; }

    /// <summary>Can be plugged in and out while the machine runs.</summary>
    public bool IsHotPluggable { get; set; } = true;

    /// <summary>The function declares that its slot holds more of them.</summary>
    public bool IsMultifunction
    {
        get => (_reset[PciConfig.HeaderType] & 0x80) != 0;
        set
        {
            _reset[PciConfig.HeaderType] = (byte)((_reset[PciConfig.HeaderType] & 0x7F) | (value ? 0x80 : 0));
            _config[PciConfig.HeaderType] = _reset[PciConfig.HeaderType];
        }
    }

    /// <summary>The MSI-X or MSI helper that wants to hear of configuration writes; null for none.</summary>
    public Msi? Msi { get; internal set; }
    public MsiX? MsiX { get; internal set; }

    /// <summary>The configuration space as it is now, for listings.</summary>
    public ReadOnlySpan<byte> ConfigBytes => _config;
    public ushort VendorId => BinaryPrimitives.ReadUInt16LittleEndian(_config.AsSpan(PciConfig.VendorId));
    public ushort DeviceId => BinaryPrimitives.ReadUInt16LittleEndian(_config.AsSpan(PciConfig.DeviceId));
    public ushort Command => BinaryPrimitives.ReadUInt16LittleEndian(_config.AsSpan(PciConfig.Command));

    /// <summary>May the function start transactions of its own?</summary>
    public bool IsBusMaster => (Command & PciConfig.CommandMaster) != 0;

    /// <summary>Where a base address register is mapped; null for nowhere. Index 6 is the expansion ROM.</summary>
    public ulong? BarAddress(int index) => _bars[index] is { Mapped: not PciBar.Unmapped } bar ? bar.Mapped : null;

    /// <summary>Size of a base address register; 0 for none. Index 6 is the expansion ROM.</summary>
    public ulong BarSize(int index) => _bars[index]?.Size ?? 0;

    public bool BarIsIo(int index) => _bars[index]?.IsIo ?? false;

    /// <summary>Reads configuration registers; what is beyond the space reads as ones.</summary>
    public virtual uint ReadConfig(int offset, int size)
    {
        var value = 0u;
        for (var i = 0; i < size; i++)
            value |= (uint)(offset + i < _config.Length ? _config[offset + i] : 0xFF) << (8 * i);
        return value;
    }

    /// <summary>Writes configuration registers.</summary>
    public virtual void WriteConfig(int offset, int size, uint value)
    {
        for (var i = 0; i < size && offset + i < _config.Length; i++)
        {
            var b = (byte)(value >> (8 * i));
            ref var at = ref _config[offset + i];
            at = (byte)((at & ~_writable[offset + i]) | (b & _writable[offset + i]));
            at = (byte)(at & ~(b & _writeOneClear[offset + i]));
        }

        if (Overlaps(offset, size, PciConfig.Command, 2) || Overlaps(offset, size, PciConfig.Bar0, 4 * (IsBridge ? 2 : Bars))
            || Overlaps(offset, size, IsBridge ? PciConfig.BridgeExpansionRom : PciConfig.ExpansionRom, 4))
            UpdateMappings();
        if (Overlaps(offset, size, PciConfig.Command, 2))
            DriveIntx();
        Msi?.ConfigWritten();
        MsiX?.ConfigWritten();
    }

    public override void Reset()
    {
        _intx = false;
        _reset.CopyTo(_config, 0);
        UpdateMappings();
        DriveIntx();
        Msi?.Reset();
        MsiX?.Reset();
    }

    /// <summary>The level of the function's interrupt pin.</summary>
    protected internal void SetIntx(bool level)
    {
        _intx = level;
        if (level)
            _config[PciConfig.Status] |= (byte)PciConfig.StatusInterrupt;
        else
            _config[PciConfig.Status] &= unchecked((byte)~PciConfig.StatusInterrupt);
        DriveIntx();
    }

    /// <summary>Uses interrupt pin A (1) to D (4).</summary>
    protected void UseInterruptPin(int pin) => SetByte(PciConfig.InterruptPin, (byte)pin);

    /// <summary>A register's value after reset.</summary>
    protected void SetByte(int offset, byte value) => _config[offset] = _reset[offset] = value;

    protected void SetWord(int offset, ushort value)
    {
        SetByte(offset, (byte)value);
        SetByte(offset + 1, (byte)(value >> 8));
    }

    protected void SetDword(int offset, uint value)
    {
        SetWord(offset, (ushort)value);
        SetWord(offset + 2, (ushort)(value >> 16));
    }

    internal void SetResetWord(int offset, ushort value) => SetWord(offset, value);

    internal void SetResetDword(int offset, uint value) => SetDword(offset, value);

    /// <summary>Writes an interrupt message, if the function may master the bus.</summary>
    internal void SendMessage(ulong address, uint data)
    {
        if (IsBusMaster)
            Bus?.Memory.StoreU32(address, data);
    }

    /// <summary>Which bits software can write.</summary>
    protected internal void SetWritable(int offset, int size, uint mask)
    {
        for (var i = 0; i < size; i++)
            _writable[offset + i] = (byte)(mask >> (8 * i));
    }

    protected internal void SetWriteOneClear(int offset, int size, uint mask)
    {
        for (var i = 0; i < size; i++)
            _writeOneClear[offset + i] = (byte)(mask >> (8 * i));
    }

    /// <summary>A configuration byte as it is now; the device's own side of the register.</summary>
    protected internal byte ConfigByte(int offset) => _config[offset];

    protected internal ushort ConfigWord(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(_config.AsSpan(offset));

    protected internal uint ConfigDword(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_config.AsSpan(offset));

    /// <summary>Changes a configuration byte now, without changing what reset gives.</summary>
    protected internal void PokeConfig(int offset, byte value) => _config[offset] = value;

    /// <summary>Maps a region with a memory base address register; the size must be a power of two of at least 16.</summary>
    protected void AddMemoryBar(int index, MemoryRegion region, bool prefetch = false, bool wide = false)
    {
        var offset = PciConfig.Bar0 + (4 * index);
        AddBar(index, new PciBar(offset, region, BitOperations.RoundUpToPowerOf2(Math.Max(region.Size, 16)), false, wide));
        SetDword(offset, (prefetch ? PciConfig.BarPrefetch : 0) | (wide ? PciConfig.BarMemory64 : 0));
    }

    /// <summary>Maps a region with an I/O base address register; the size must be a power of two of at least 4.</summary>
    protected void AddIoBar(int index, MemoryRegion region)
    {
        var offset = PciConfig.Bar0 + (4 * index);
        AddBar(index, new PciBar(offset, region, BitOperations.RoundUpToPowerOf2(Math.Max(region.Size, 4)), true, false));
        SetDword(offset, PciConfig.BarIo);
    }

    /// <summary>An expansion ROM with this image, padded to a power of two.</summary>
    public void AddRom(ReadOnlySpan<byte> image, string name)
    {
        var size = BitOperations.RoundUpToPowerOf2((uint)Math.Max(image.Length, 2048));
        var ram = new RamBlock(name, size);
        ram.Span(0, (int)ram.Size).Fill(0xFF);
        image.CopyTo(ram.Span(0, image.Length));
        FixRomIds(ram.Span(0, image.Length));
        AddBar(RomIndex, new PciBar(IsBridge ? PciConfig.BridgeExpansionRom : PciConfig.ExpansionRom, MemoryRegion.Rom(name, ram), ram.Size, false, false));
        SetWritable(_bars[RomIndex]!.Offset, 4, (uint)~(ram.Size - 1) | PciConfig.RomEnable);
    }

    /// <summary>Gives the function the PCI Express capability and with it the extended configuration space.</summary>
    /// <param name="type">What kind of port or endpoint it is.</param>
    /// <param name="port">The number of a port.</param>
    /// <param name="at">Where the capability goes; 0 for the next free place.</param>
    protected PciExpressCapability AddExpress(PciExpressType type, byte port = 0, int at = 0)
    {
        Array.Resize(ref _config, ExtendedSize);
        Array.Resize(ref _reset, ExtendedSize);
        Array.Resize(ref _writable, ExtendedSize);
        Array.Resize(ref _writeOneClear, ExtendedSize);
        return Express = new PciExpressCapability(this, type, port, at);
    }

    /// <summary>The power management capability: states D0 and D3hot. Source: PCI Power Management Interface Specification 1.2, section 3.2.</summary>
    /// <param name="at">Where it goes; 0 for the next free place.</param>
    protected void AddPowerManagement(int at = 0)
    {
        const byte Id = 1;
        const ushort NoSoftReset = 8;
        var offset = AddCapability(Id, 8, at);
        SetWord(offset + 2, 3);
        SetWord(offset + 4, NoSoftReset);
        SetWritable(offset + 4, 2, 3);
    }

    /// <summary>Called when the function was put on a bus: what it offers can depend on which.</summary>
    protected internal virtual void OnPlugged()
    {
    }

    /// <summary>Links an extended capability into their list.</summary>
    protected internal void AddExtendedCapability(ushort id, byte version, int offset)
    {
        SetDword(offset, id | (uint)version << 16);
        if (_lastExtended != 0)
            SetWord(_lastExtended + 2, (ushort)((_reset[_lastExtended + 2] & 15) | offset << 4));
        _lastExtended = offset;
    }

    /// <summary>Reserves room for a capability and links it into the list.</summary>
    protected internal int AddCapability(byte id, int size, int at = 0)
    {
        var offset = at != 0 ? at : _nextCapability == 0 ? PciConfig.HeaderSize : _nextCapability;
        if (offset + size > ConventionalSize)
            throw new InvalidOperationException("no room for the capability");
        SetByte(offset, id);
        SetByte(offset + 1, _reset[PciConfig.CapabilitiesPointer]);
        SetByte(PciConfig.CapabilitiesPointer, (byte)offset);
        SetWord(PciConfig.Status, (ushort)(_reset[PciConfig.Status] | PciConfig.StatusCapabilities));
        _nextCapability = Math.Max(_nextCapability, (offset + size + 3) & ~3);
        return offset;
    }

    /// <summary>Where the first capability goes, for functions with registers of their own behind the header.</summary>
    protected void ReserveConfig(int upTo) => _nextCapability = upTo;

    internal void UpdateMappings()
    {
        if (Bus == null)
            return;
        using var transaction = MemoryTransaction.Begin();
        for (var i = 0; i <= RomIndex; i++)
        {
            if (_bars[i] is not { } bar)
                continue;
            var address = Decode(bar);
            if (address == bar.Mapped)
                continue;
            var space = bar.IsIo ? Bus.IoRoot : Bus.MemoryRoot;
            if (bar.Mapped != PciBar.Unmapped)
                space.Remove(bar.Region);
            bar.Mapped = address;
            if (address != PciBar.Unmapped)
                space.Add(address, bar.Region, 1);
        }
    }

    /// <summary>Takes the function's regions out of the address spaces.</summary>
    internal virtual void Unmap()
    {
        using var transaction = MemoryTransaction.Begin();
        foreach (var bar in _bars)
        {
            if (bar is { Mapped: not PciBar.Unmapped })
            {
                (bar.IsIo ? Bus!.IoRoot : Bus!.MemoryRoot).Remove(bar.Region);
                bar.Mapped = PciBar.Unmapped;
            }
        }

        _intx = false;
        DriveIntx();
    }

    protected static bool Overlaps(int offset, int size, int register, int length) =>
        offset < register + length && register < offset + size;

    private void AddBar(int index, PciBar bar)
    {
        _bars[index] = bar;
        if (index == RomIndex)
            return;
        var mask = ~(bar.Size - 1) & (bar.IsIo ? ~3UL : ~15UL);
        SetWritable(bar.Offset, 4, (uint)mask);
        if (bar.Is64)
            SetWritable(bar.Offset + 4, 4, (uint)(mask >> 32));
    }

    /// <summary>Where the register says the region goes, or nowhere while disabled or being sized.</summary>
    private ulong Decode(PciBar bar)
    {
        var command = Command;
        if ((command & (bar.IsIo ? PciConfig.CommandIo : PciConfig.CommandMemory)) == 0)
            return PciBar.Unmapped;
        ulong value = ConfigDword(bar.Offset);
        if (bar == _bars[RomIndex] && (value & PciConfig.RomEnable) == 0)
            return PciBar.Unmapped;
        if (bar.Is64)
            value |= (ulong)ConfigDword(bar.Offset + 4) << 32;
        var address = value & ~(bar.Size - 1) & (bar.IsIo ? ~3UL : ~15UL);
        var last = address + (bar.Size - 1);
        if (address == 0 || last < address)
            return PciBar.Unmapped;
        // A register full of ones is being sized, not placed.
        var limit = bar.IsIo ? 0xFFFFUL : bar.Is64 ? (ulong)long.MaxValue : 0xFFFF_FFFEUL;
        return last >= limit ? PciBar.Unmapped : address;
    }

    private void DriveIntx()
    {
        var pin = _config[PciConfig.InterruptPin];
        var level = _intx && (Command & PciConfig.CommandIntxDisable) == 0;
        if (pin == 0 || Bus == null || level == _driven)
            return;
        _driven = level;
        Bus.SetIntx(Slot, pin - 1, level);
    }

    /// <summary>Option ROMs name the device they belong to; a ROM used for a sibling gets this function's identity.</summary>
    private void FixRomIds(Span<byte> rom)
    {
        if (rom.Length < 0x1C || rom[0] != 0x55 || rom[1] != 0xAA)
            return;
        var data = BinaryPrimitives.ReadUInt16LittleEndian(rom[0x18..]);
        if (data + 8 > rom.Length || !rom.Slice(data, 4).SequenceEqual("PCIR"u8))
            return;
        var before = rom[data + 4] + rom[data + 5] + rom[data + 6] + rom[data + 7];
        BinaryPrimitives.WriteUInt16LittleEndian(rom[(data + 4)..], VendorId);
        BinaryPrimitives.WriteUInt16LittleEndian(rom[(data + 6)..], DeviceId);
        var after = rom[data + 4] + rom[data + 5] + rom[data + 6] + rom[data + 7];
        // Keep the checksum: byte 6 is free in images that carry one.
        rom[6] = (byte)(rom[6] + before - after);
    }
}
