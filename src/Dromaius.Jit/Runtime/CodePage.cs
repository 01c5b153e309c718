using Dromaius.Core.Memory;

namespace Dromaius.Jit;

/// <summary>The units whose guest bytes lie in a page, and which of its bytes those are.</summary>
internal sealed class CodePage(RamBlock ram, ulong offset)
{
    private const int Size = 0x1000;

    /// <summary>A bit a byte: set for all bytes of all units, and of some that are gone.</summary>
    private readonly ulong[] _bytes = new ulong[Size / 64];

    public List<Unit> Units { get; } = [];

    public void Add(Unit unit)
    {
        Units.Add(unit);
        Mark(unit);
    }

    /// <summary>Whether some of the bytes may belong to units.</summary>
    public bool MayHold(int start, int length)
    {
        var end = Math.Min(start + length, Size);
        for (var at = start; at < end;)
        {
            var n = Math.Min(64 - (at & 63), end - at);
            if ((_bytes[at >> 6] & Mask(at, n)) != 0)
                return true;
            at += n;
        }

        return false;
    }

    /// <summary>Clears what is left of units that are gone.</summary>
    public void Recount()
    {
        Array.Clear(_bytes);
        foreach (var unit in Units)
            Mark(unit);
    }

    /// <summary>Whether a unit depends on some of the bytes.</summary>
    public static bool Overlaps(Unit u, RamBlock ram, ulong offset, ulong length)
    {
        var first = (ulong)(u.WatchLength - u.Length2);
        return (u.Ram == ram && offset < u.Offset + first && u.Offset < offset + length)
            || (u.Ram2 == ram && offset < u.Offset2 + (ulong)u.Length2 && u.Offset2 < offset + length);
    }

    private void Mark(Unit unit)
    {
        // Either end of a unit may be in this page, and both are when the next linear page is the same physical one.
        if (unit.Ram == ram && (unit.Offset & ~0xFFFUL) == offset)
            Mark((int)(unit.Offset & 0xFFF), unit.WatchLength - unit.Length2);
        if (unit.Ram2 == ram && (unit.Offset2 & ~0xFFFUL) == offset)
            Mark((int)(unit.Offset2 & 0xFFF), unit.Length2);
    }

    private void Mark(int start, int length)
    {
        var end = Math.Min(start + length, Size);
        for (var at = start; at < end;)
        {
            var n = Math.Min(64 - (at & 63), end - at);
            _bytes[at >> 6] |= Mask(at, n);
            at += n;
        }
    }

    private static ulong Mask(int at, int count) => ulong.MaxValue >> (64 - count) << (at & 63);
}
