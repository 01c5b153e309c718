using System.Buffers.Binary;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Virtio;

/// <summary>
/// A run of guest memory that a device looks at again and again: reached in place while it is RAM, through the address space
/// otherwise.
/// </summary>
internal sealed class GuestRing(AddressSpace space)
{
    private FlatView? _view;
    private RamBlock? _ram;
    private ulong _offset;
    private ulong _address;
    private int _length;

    public void Set(ulong address, int length)
    {
        _address = address;
        _length = length;
        _view = null;
    }

    public ushort Read16(int at)
    {
        if (Find() is { } ram)
            return BinaryPrimitives.ReadUInt16LittleEndian(ram.Span(_offset + (uint)at, 2));
        return (ushort)space.Load(_address + (uint)at, 2);
    }

    public void Read(int at, Span<byte> into)
    {
        if (Find() is { } ram)
            ram.Span(_offset + (uint)at, into.Length).CopyTo(into);
        else
            _ = space.Read(_address + (uint)at, into);
    }

    public void Write16(int at, ushort value)
    {
        if (Find() is not { } ram)
        {
            space.Store(_address + (uint)at, 2, value);
            return;
        }

        BinaryPrimitives.WriteUInt16LittleEndian(ram.Span(_offset + (uint)at, 2), value);
        ram.NoteWrite(_offset + (uint)at, 2);
    }

    public void Write(int at, ReadOnlySpan<byte> from)
    {
        if (Find() is not { } ram)
        {
            _ = space.Write(_address + (uint)at, from);
            return;
        }

        from.CopyTo(ram.Span(_offset + (uint)at, from.Length));
        ram.NoteWrite(_offset + (uint)at, (ulong)from.Length);
    }

    /// <summary>The RAM, if all of the run is in one piece of it that can be written.</summary>
    private RamBlock? Find()
    {
        var view = space.View;
        if (ReferenceEquals(view, _view))
            return _ram;
        _view = view;
        _ram = null;
        if (view.TryFind(_address, out var range) && range.Region.Ram is { } ram && !range.ReadOnly
            && range.Last - _address >= (ulong)_length - 1)
        {
            _ram = ram;
            _offset = range.Offset + (_address - range.Start);
        }

        return _ram;
    }
}
