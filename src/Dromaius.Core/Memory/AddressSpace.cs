using System.Buffers.Binary;

namespace Dromaius.Core.Memory;

/// <summary>
/// Physical memory or I/O ports as one master sees them. Reads of nothing give all ones, stores to nothing vanish. Device
/// registers are reached under the machine lock; RAM needs none.
/// </summary>
public sealed class AddressSpace
{
    private volatile FlatView _view = FlatView.Empty;
    private readonly Lock _machineLock;

    public AddressSpace(string name, MemoryRegion root, Lock machineLock)
    {
        Name = name;
        Root = root;
        _machineLock = machineLock;
        root.SeenBy(this);
        Rebuild();
    }

    public string Name { get; }
    public MemoryRegion Root { get; }
    public FlatView View => _view;

    /// <summary>Raised after the view changed: cached translations of addresses must be dropped.</summary>
    public event Action? ViewChanged;

    internal void Rebuild()
    {
        var next = FlatView.Build(Root);
        if (next.Ranges.SequenceEqual(_view.Ranges))
            return;
        _view = next;
        ViewChanged?.Invoke();
    }

    /// <summary>Copies from memory and devices; the part that nothing answers reads as 0xFF.</summary>
    /// <returns>False if some part was unassigned.</returns>
    public bool Read(ulong address, Span<byte> into)
    {
        var all = true;
        Span<byte> word = stackalloc byte[8];
        while (!into.IsEmpty)
        {
            var n = into.Length;
            if (!_view.TryFind(address, out var r))
            {
                all = false;
                n = Gap(address, n);
                into[..n].Fill(0xFF);
            }
            else
            {
                n = (int)Math.Min((ulong)n - 1, r.Last - address) + 1;
                var offset = r.Offset + (address - r.Start);
                if (r.Region.Ram is { } ram)
                    ram.Span(offset, n).CopyTo(into);
                else
                {
                    n = Natural(address, n, r.Region);
                    BinaryPrimitives.WriteUInt64LittleEndian(word, ReadRegister(r.Region, offset, n));
                    word[..n].CopyTo(into);
                }
            }

            into = into[n..];
            address += (ulong)n;
        }

        return all;
    }

    /// <summary>Copies to memory and devices; the part that nothing answers is dropped.</summary>
    /// <returns>False if some part was unassigned or read-only.</returns>
    public bool Write(ulong address, ReadOnlySpan<byte> from)
    {
        var all = true;
        Span<byte> word = stackalloc byte[8];
        while (!from.IsEmpty)
        {
            var n = from.Length;
            if (!_view.TryFind(address, out var r))
            {
                all = false;
                n = Gap(address, n);
            }
            else
            {
                n = (int)Math.Min((ulong)n - 1, r.Last - address) + 1;
                var offset = r.Offset + (address - r.Start);
                if (r.Region.Ram is { } ram && !r.ReadOnly)
                {
                    ram.NoteWrite(offset, (ulong)n);
                    from[..n].CopyTo(ram.Span(offset, n));
                }
                else
                {
                    n = Natural(address, n, r.Region);
                    word.Clear();
                    from[..n].CopyTo(word);
                    all &= r.Region.Write != null;
                    WriteRegister(r.Region, offset, n, BinaryPrimitives.ReadUInt64LittleEndian(word));
                }
            }

            from = from[n..];
            address += (ulong)n;
        }

        return all;
    }

    /// <summary>One register-sized load: 1, 2, 4 or 8 bytes, any alignment.</summary>
    public ulong Load(ulong address, int size)
    {
        if (_view.TryFind(address, out var r) && r.Last - address >= (ulong)size - 1 && r.Region.Ram == null)
            return ReadRegister(r.Region, r.Offset + (address - r.Start), size);
        Span<byte> word = stackalloc byte[8];
        word.Clear();
        _ = Read(address, word[..size]);
        return BinaryPrimitives.ReadUInt64LittleEndian(word);
    }

    /// <summary>One register-sized store: 1, 2, 4 or 8 bytes, any alignment.</summary>
    public void Store(ulong address, int size, ulong value)
    {
        if (_view.TryFind(address, out var r) && r.Last - address >= (ulong)size - 1 && r.Region.Ram == null)
        {
            WriteRegister(r.Region, r.Offset + (address - r.Start), size, value);
            return;
        }

        Span<byte> word = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(word, value);
        _ = Write(address, word[..size]);
    }

    public uint LoadU32(ulong address) => (uint)Load(address, 4);

    public void StoreU32(ulong address, uint value) => Store(address, 4, value);

    private ulong ReadRegister(MemoryRegion region, ulong offset, int size)
    {
        if (region.Read is not { } read)
            return Mask(size);
        lock (_machineLock)
        {
            if (size >= region.MinAccess && size <= region.MaxAccess)
                return read(offset, size) & Mask(size);
            if (size > region.MaxAccess)
            {
                var value = 0UL;
                for (var i = 0; i < size; i += region.MaxAccess)
                    value |= (read(offset + (ulong)i, region.MaxAccess) & Mask(region.MaxAccess)) << (8 * i);
                return value;
            }

            var skew = offset & ((ulong)region.MinAccess - 1);
            return (read(offset - skew, region.MinAccess) >> (int)(8 * skew)) & Mask(size);
        }
    }

    private void WriteRegister(MemoryRegion region, ulong offset, int size, ulong value)
    {
        if (region.Write is not { } write)
            return;
        value &= Mask(size);
        lock (_machineLock)
        {
            if (size > region.MaxAccess)
            {
                for (var i = 0; i < size; i += region.MaxAccess)
                    write(offset + (ulong)i, region.MaxAccess, (value >> (8 * i)) & Mask(region.MaxAccess));
            }
            else if (size < region.MinAccess)
            {
                var skew = offset & ((ulong)region.MinAccess - 1);
                write(offset - skew, region.MinAccess, value << (int)(8 * skew));
            }
            else
                write(offset, size, value);
        }
    }

    /// <summary>How many of the next bytes are unassigned.</summary>
    private int Gap(ulong address, int most)
    {
        foreach (ref readonly var r in _view.Ranges)
        {
            if (r.Start > address)
                return (int)Math.Min((ulong)most, r.Start - address);
        }

        return most;
    }

    /// <summary>The widest aligned register access for the next bytes.</summary>
    private static int Natural(ulong address, int most, MemoryRegion region)
    {
        var n = Math.Min(8, region.MaxAccess);
        while (n > most || (address & ((ulong)n - 1)) != 0)
            n >>= 1;
        return n;
    }

    private static ulong Mask(int size) => size >= 8 ? ulong.MaxValue : (1UL << (8 * size)) - 1;
}
