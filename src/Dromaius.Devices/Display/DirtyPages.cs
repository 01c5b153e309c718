using Dromaius.Core.Memory;

namespace Dromaius.Devices.Display;

/// <summary>
/// Which pages of video memory changed since they were drawn. Pages that are looked at are marked, and the processors' TLBs send
/// the next store to them past the mark. A store may be under way while its page is marked: a page that changed is drawn once
/// more the next time, so that what such a store left is seen.
/// </summary>
internal sealed class DirtyPages(RamBlock memory)
{
    private readonly bool[] _dirty = new bool[memory.PageCount];
    private readonly bool[] _again = new bool[memory.PageCount];

    /// <summary>Looks at a run of pages and marks them.</summary>
    public void Collect(ulong offset, ulong length)
    {
        if (length == 0 || offset >= memory.Size)
            return;
        var last = Math.Min(offset + length, memory.Size) - 1 >> RamBlock.PageShift;
        var first = offset >> RamBlock.PageShift;
        var any = false;
        for (var page = first; page <= last; page++)
        {
            var changed = !memory.IsDisplayClean(page);
            _dirty[page] = changed || _again[page];
            _again[page] = changed;
            if (changed)
            {
                memory.SetFlag(page, PageFlags.DisplayClean);
                any = true;
            }
        }

        if (any)
            memory.FlagsSet(first, last);
    }

    /// <summary>Some page of these bytes was found changed by the last <see cref="Collect"/>.</summary>
    public bool IsDirty(ulong offset, ulong length)
    {
        if (length == 0 || offset >= memory.Size)
            return false;
        var last = Math.Min(offset + length, memory.Size) - 1 >> RamBlock.PageShift;
        for (var page = offset >> RamBlock.PageShift; page <= last; page++)
        {
            if (_dirty[page])
                return true;
        }

        return false;
    }
}
