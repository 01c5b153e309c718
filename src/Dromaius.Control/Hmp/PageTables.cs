using System.Globalization;
using System.Text;

namespace Dromaius.Control.Hmp;

/// <summary>
/// What the x86 page tables map, for <c>info tlb</c> and <c>info mem</c>. Source: Intel SDM volume 3, chapter 4.
/// </summary>
internal sealed class PageTables
{
    private const ulong Present = 1, Writable = 2, User = 4, Large = 0x80, NoExecute = 1UL << 63;
    private const ulong AddressBits = 0x000F_FFFF_FFFF_F000;
    private const ulong Cr0Paging = 1UL << 31, Cr4LargePages = 1 << 4, Cr4Pae = 1 << 5, Cr4FiveLevels = 1 << 12, EferLongMode = 1 << 10;

    /// <summary>Lines after which a listing is cut: a guest can map far more than anybody reads.</summary>
    private const int MostLines = 100_000;

    private readonly IMachineControl _machine;
    private readonly List<(ulong Address, ulong Size, ulong Entry)> _pages = [];
    private readonly ulong _cr0, _cr3, _cr4, _efer;

    public PageTables(IMachineControl machine, int cpu)
    {
        _machine = machine;
        ulong Register(string name) => machine.TryGetRegister(cpu, name, out var value) ? value : 0;
        (_cr0, _cr3, _cr4, _efer) = (Register("cr0"), Register("cr3"), Register("cr4"), Register("efer"));
    }

    /// <summary>The text of <c>info tlb</c>: every page with the bits of its entry.</summary>
    public string ShowPages()
    {
        if ((_cr0 & Cr0Paging) == 0)
            return "PG disabled\n";
        WalkAll();
        var text = new StringBuilder();
        foreach (var (address, size, entry) in _pages)
        {
            text.Append(CultureInfo.InvariantCulture, $"{address:x16}: {entry & AddressBits & ~(size - 1):x16} ");
            ReadOnlySpan<(ulong Bit, char Letter)> bits =
            [
                (NoExecute, 'X'), (0x100, 'G'), (size > 0x1000 ? Large : 0, 'P'), (0x40, 'D'), (0x20, 'A'), (0x10, 'C'), (8, 'T'), (User, 'U'), (Writable, 'W'),
            ];
            foreach (var (bit, letter) in bits)
                text.Append((entry & bit) != 0 ? letter : '-');
            text.Append('\n');
        }

        return text.ToString();
    }

    /// <summary>Every page: its virtual address, size and physical address.</summary>
    public IEnumerable<(ulong Address, ulong Size, ulong Physical)> Mappings()
    {
        if ((_cr0 & Cr0Paging) == 0)
            return [];
        WalkAll();
        return _pages.Select(static p => (p.Address, p.Size, p.Entry & AddressBits & ~(p.Size - 1)));
    }

    /// <summary>The text of <c>info mem</c>: runs of pages with the same rights.</summary>
    public string ShowRanges()
    {
        if ((_cr0 & Cr0Paging) == 0)
            return "PG disabled\n";
        WalkAll();
        var text = new StringBuilder();
        ulong start = 0, end = 0, rights = 0;
        var open = false;
        void Close()
        {
            if (open)
            {
                text.Append(CultureInfo.InvariantCulture,
                    $"{start:x16}-{end:x16} {end - start:x16} {((rights & User) != 0 ? 'u' : '-')}r{((rights & Writable) != 0 ? 'w' : '-')}\n");
            }
        }

        foreach (var (address, size, entry) in _pages)
        {
            var now = entry & (User | Writable);
            if (open && address == end && now == rights)
            {
                end += size;
                continue;
            }

            Close();
            (start, end, rights, open) = (address, address + size, now, true);
        }

        Close();
        return text.ToString();
    }

    private void WalkAll()
    {
        _pages.Clear();
        if ((_cr4 & Cr4Pae) == 0)
            WalkTwoLevels();
        else if ((_efer & EferLongMode) != 0)
            Walk(_cr3 & AddressBits, (_cr4 & Cr4FiveLevels) != 0 ? 5 : 4, 0, User | Writable, 512);
        else
            Walk(_cr3 & 0xFFFF_FFE0, 3, 0, User | Writable, 4);
    }

    private void Walk(ulong table, int level, ulong address, ulong rights, int entries)
    {
        var shift = 12 + (9 * (level - 1));
        var bytes = new byte[entries * 8];
        _ = _machine.Memory.Read(table, bytes);
        for (var i = 0; i < entries && _pages.Count < MostLines; i++)
        {
            var entry = BitConverter.ToUInt64(bytes, i * 8);
            if ((entry & Present) == 0)
                continue;
            var at = address | ((ulong)i << shift);
            if (shift == 39 && level == 4 && (i & 0x100) != 0)
                at |= 0xFFFF_0000_0000_0000;
            // The directory pointers of PAE paging carry no rights.
            var both = level == 3 && entries == 4 ? rights : rights & entry;
            if (level == 1 || (level is 2 or 3 && entries != 4 && (entry & Large) != 0))
                _pages.Add((at, 1UL << shift, (entry & ~(User | Writable)) | (both & (User | Writable))));
            else
                Walk(entry & AddressBits, level - 1, at, both, 512);
        }
    }

    private void WalkTwoLevels()
    {
        var directory = new byte[4096];
        var table = new byte[4096];
        _ = _machine.Memory.Read(_cr3 & 0xFFFF_F000, directory);
        for (var i = 0; i < 1024 && _pages.Count < MostLines; i++)
        {
            ulong pde = BitConverter.ToUInt32(directory, i * 4);
            if ((pde & Present) == 0)
                continue;
            if ((pde & Large) != 0 && (_cr4 & Cr4LargePages) != 0)
            {
                _pages.Add(((ulong)i << 22, 1 << 22, pde));
                continue;
            }

            _ = _machine.Memory.Read(pde & 0xFFFF_F000, table);
            for (var j = 0; j < 1024; j++)
            {
                ulong pte = BitConverter.ToUInt32(table, j * 4);
                if ((pte & Present) != 0)
                    _pages.Add((((ulong)i << 22) | ((ulong)j << 12), 4096, (pte & ~(User | Writable)) | (pte & pde & (User | Writable))));
            }
        }
    }
}
