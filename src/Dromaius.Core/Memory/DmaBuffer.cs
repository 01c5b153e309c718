namespace Dromaius.Core.Memory;

/// <summary>
/// Scattered guest memory for one transfer that may run on another thread. Parts that are RAM are reached in place; parts
/// that are not (device registers, nothing, ROM as a target) go through a bounce buffer, so that a hostile address never
/// makes a device a party of a disk transfer. Call <see cref="Complete"/> under the machine lock when the data is there.
/// </summary>
public sealed class DmaBuffer
{
    /// <summary>What is beyond RAM for more than this, in bytes, reads as zeroes and is written nowhere.</summary>
    private const int MaxBounce = 1 << 20;
    private static readonly byte[] Discarded = new byte[RamBlock.PageSize], Zeroes = new byte[RamBlock.PageSize];
    private int _bounced;
    private readonly AddressSpace _space;
    private readonly bool _toGuest;
    private readonly List<Memory<byte>> _segments = [];
    private readonly List<Part> _parts = [];

    /// <param name="space">What the bus master sees.</param>
    /// <param name="toGuest">The transfer writes guest memory.</param>
    public DmaBuffer(AddressSpace space, bool toGuest)
    {
        _space = space;
        _toGuest = toGuest;
    }

    private readonly record struct Part(ulong Address, int Length, RamBlock? Ram, ulong Offset, byte[]? Bounce);

    /// <summary>The memory, in order of <see cref="Add"/>.</summary>
    public IReadOnlyList<Memory<byte>> Segments => _segments;

    /// <summary>Bytes in all segments.</summary>
    public long Length { get; private set; }

    /// <summary>Appends a run of guest addresses; the caller has bounded the length.</summary>
    public void Add(ulong address, int length)
    {
        Length += length;
        while (length > 0)
        {
            var n = length;
            Part part;
            if (_space.View.TryFind(address, out var range) && range.Region.Ram is { } ram && !(range.ReadOnly && _toGuest))
            {
                n = (int)Math.Min((ulong)n - 1, range.Last - address) + 1;
                var offset = range.Offset + (address - range.Start);
                part = new Part(address, n, ram, offset, null);
                _segments.Add(new RamMemory(ram, offset, n).Memory);
            }
            else
            {
                n = Math.Min(n, (int)(RamBlock.PageSize - (address & (RamBlock.PageSize - 1))));
                if (_bounced > MaxBounce - n)
                {
                    _segments.Add((_toGuest ? Discarded : Zeroes).AsMemory(0, n));
                    address += (ulong)n;
                    length -= n;
                    continue;
                }

                _bounced += n;
                var bounce = new byte[n];
                if (!_toGuest)
                    _ = _space.Read(address, bounce);
                part = new Part(address, n, null, 0, bounce);
                _segments.Add(bounce);
            }

            _parts.Add(part);
            address += (ulong)n;
            length -= n;
        }
    }

    /// <summary>Tells memory that it was written: translated code is dropped, the screen is drawn, bounced parts are stored.</summary>
    public void Complete()
    {
        if (!_toGuest)
            return;
        foreach (var part in _parts)
        {
            if (part.Ram is { } ram)
                ram.NoteWrite(part.Offset, (ulong)part.Length);
            else
                _ = _space.Write(part.Address, part.Bounce);
        }
    }
}
