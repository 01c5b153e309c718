using System.Buffers.Binary;
using System.Text;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// The firmware configuration device: numbered items and named files that firmware reads through a selector and a data port, or by
/// DMA. Source: "QEMU Firmware Configuration (fw_cfg) Device" specification.
/// </summary>
public sealed class FwCfg : Device
{
    private const int FileSlots = 0x30, NameLength = 56;
    private const ushort ArchitectureLocal = 0x8000, SelectorMask = 0x3FFF, WriteChannel = 0x4000;
    private const uint DmaError = 1, DmaRead = 2, DmaSkip = 4, DmaSelect = 8, DmaWrite = 16;

    private readonly Dictionary<ushort, Item> _items = [];
    private readonly List<(string Name, ushort Key)> _files = [];
    private readonly AddressSpace _memory;
    private ushort _selector;
    private uint _offset;
    private uint _dmaHigh;
    private byte[] _directory = [];

    /// <param name="memory">The memory that DMA reaches.</param>
    public FwCfg(AddressSpace memory)
    {
        _memory = memory;
        Ports = MemoryRegion.Device("fwcfg", 2, ReadPort, WritePort, 1, 2);
        DmaPorts = MemoryRegion.Device("fwcfg.dma", 8, ReadDma, WriteDma, 1, 8);
        Add(FwCfgKey.Signature, "QEMU"u8.ToArray());
        // Bit 0: the traditional interface; bit 1: DMA.
        Add(FwCfgKey.Id, 3u);
    }

    public override string TypeName => "fw_cfg_io";

    /// <summary>Goes to port 0x510.</summary>
    public MemoryRegion Ports { get; }

    /// <summary>Goes to port 0x514.</summary>
    public MemoryRegion DmaPorts { get; }

    /// <summary>The names of the files, in directory order.</summary>
    public IEnumerable<string> FileNames => _files.OrderBy(static f => f.Key).Select(static f => f.Name);

    public void Add(ushort key, byte[] data) => _items[key] = new Item(data, false, null);

    public void Add(ushort key, ushort value)
    {
        var data = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(data, value);
        Add(key, data);
    }

    public void Add(ushort key, uint value)
    {
        var data = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        Add(key, data);
    }

    public void Add(ushort key, ulong value)
    {
        var data = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(data, value);
        Add(key, data);
    }

    /// <summary>Adds or replaces a file.</summary>
    /// <param name="name">At most 55 characters.</param>
    /// <param name="data">Kept, not copied.</param>
    /// <param name="writable">The guest may change it by DMA; reset brings it back.</param>
    /// <param name="selected">Told each time the guest selects the file, to bring the data up to date in place.</param>
    public void AddFile(string name, byte[] data, bool writable = false, Action? selected = null)
    {
        foreach (var (existing, key) in _files)
        {
            if (existing == name)
            {
                _items[key] = new Item(data, writable, selected);
                BuildDirectory();
                return;
            }
        }

        if (_files.Count >= FileSlots)
            throw new UserErrorException($"fw_cfg: no room for file '{name}'");
        var next = (ushort)(FwCfgKey.FileFirst + _files.Count);
        _files.Add((name, next));
        _items[next] = new Item(data, writable, selected);
        BuildDirectory();
    }

    public byte[]? File(string name)
    {
        foreach (var (existing, key) in _files)
        {
            if (existing == name)
                return _items[key].Data;
        }

        return null;
    }

    public override void Reset()
    {
        _selector = 0;
        _offset = 0;
        _dmaHigh = 0;
        foreach (var item in _items.Values)
            item.Restore();
    }

    private void BuildDirectory()
    {
        _directory = new byte[4 + (_files.Count * 64)];
        BinaryPrimitives.WriteUInt32BigEndian(_directory, (uint)_files.Count);
        var at = 4;
        foreach (var (name, key) in _files.OrderBy(static f => f.Name, StringComparer.Ordinal))
        {
            var entry = _directory.AsSpan(at, 64);
            BinaryPrimitives.WriteUInt32BigEndian(entry, (uint)_items[key].Data.Length);
            BinaryPrimitives.WriteUInt16BigEndian(entry[4..], key);
            var bytes = Encoding.ASCII.GetBytes(name);
            bytes.AsSpan(0, Math.Min(bytes.Length, NameLength - 1)).CopyTo(entry[8..]);
            at += 64;
        }

        Add(FwCfgKey.FileDirectory, _directory);
    }

    private Item? Selected => _items.GetValueOrDefault((ushort)(_selector & (ArchitectureLocal | SelectorMask)));

    private byte NextByte()
    {
        if (Selected is not { } item || _offset >= item.Data.Length)
            return 0;
        return item.Data[_offset++];
    }

    private void Select(ushort key)
    {
        _offset = 0;
        _selector = (ushort)(key & ~WriteChannel);
        Selected?.Selected?.Invoke();
    }

    private ulong ReadPort(ulong offset, int size)
    {
        // The selector is write-only; a byte at offset 1 is the data port. A word read at the selector takes nothing.
        return offset == 1 ? NextByte() : 0UL;
    }

    private void WritePort(ulong offset, int size, ulong value)
    {
        // Writing data was withdrawn long ago: bytes to the data port go nowhere.
        if (offset == 0 && size == 2)
            Select((ushort)value);
    }

    private ulong ReadDma(ulong offset, int size)
    {
        // Reads as "QEMU CFG", big-endian.
        const ulong Signature = 0x5145_4D55_2043_4647;
        var value = BinaryPrimitives.ReverseEndianness(Signature) >> (int)(8 * offset);
        return value;
    }

    /// <summary>The address of the request, big-endian; its low half starts it.</summary>
    private void WriteDma(ulong offset, int size, ulong value)
    {
        switch (offset, size)
        {
            case (0, 4):
                _dmaHigh = BinaryPrimitives.ReverseEndianness((uint)value);
                break;
            case (4, 4):
                RunDma(((ulong)_dmaHigh << 32) | BinaryPrimitives.ReverseEndianness((uint)value));
                break;
            case (0, 8):
                RunDma(BinaryPrimitives.ReverseEndianness(value));
                break;
        }
    }

    private void RunDma(ulong address)
    {
        _dmaHigh = 0;
        Span<byte> request = stackalloc byte[16];
        if (!_memory.Read(address, request))
        {
            Finish(address, DmaError);
            return;
        }

        var control = BinaryPrimitives.ReadUInt32BigEndian(request);
        var length = BinaryPrimitives.ReadUInt32BigEndian(request[4..]);
        var target = BinaryPrimitives.ReadUInt64BigEndian(request[8..]);
        if ((control & DmaSelect) != 0)
            Select((ushort)(control >> 16));

        var ok = true;
        if ((control & DmaRead) != 0)
            ok = CopyOut(target, length);
        else if ((control & DmaWrite) != 0)
            ok = CopyIn(target, length);
        else if ((control & DmaSkip) != 0)
            Skip(length);
        Finish(address, ok ? 0 : DmaError);
    }

    private void Skip(uint length)
    {
        if (Selected is { } item)
            _offset = (uint)Math.Min((ulong)_offset + length, (ulong)item.Data.Length);
    }

    private bool CopyOut(ulong target, uint length)
    {
        var ok = true;
        if (Selected is { } item && _offset < item.Data.Length)
        {
            var n = (int)Math.Min(length, (uint)item.Data.Length - _offset);
            ok = _memory.Write(target, item.Data.AsSpan((int)_offset, n));
            _offset += (uint)n;
            target += (uint)n;
            length -= (uint)n;
        }

        // What the item does not have reads as zeros. A wild length is cut at the end of what memory could hold.
        Span<byte> zeros = stackalloc byte[512];
        zeros.Clear();
        while (ok && length > 0)
        {
            var n = (int)Math.Min(length, (uint)zeros.Length);
            ok = _memory.Write(target, zeros[..n]);
            target += (uint)n;
            length -= (uint)n;
        }

        return ok;
    }

    private bool CopyIn(ulong source, uint length)
    {
        if (Selected is not { IsWritable: true } item || length > (ulong)item.Data.Length - Math.Min(_offset, (ulong)item.Data.Length))
            return false;
        var ok = _memory.Read(source, item.Data.AsSpan((int)_offset, (int)length));
        _offset += length;
        return ok;
    }

    private void Finish(ulong address, uint result)
    {
        Span<byte> control = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(control, result);
        _memory.Write(address, control);
    }

    private sealed class Item
    {
        private readonly byte[]? _original;

        public Item(byte[] data, bool writable, Action? selected)
        {
            Selected = selected;
            Data = data;
            IsWritable = writable;
            _original = writable ? (byte[])data.Clone() : null;
        }

        public byte[] Data { get; }
        public bool IsWritable { get; }
        public Action? Selected { get; }

        /// <summary>Reset brings back what the guest overwrote.</summary>
        public void Restore() => _original?.CopyTo(Data, 0);
    }
}
