using System.Runtime.CompilerServices;
using Dromaius.Core.Memory;
using Dromaius.Cpu.X86;
using Dromaius.Jit;
using NativePages = Dromaius.Core.Memory.NativeMemory;

namespace Dromaius.Cpu.Softmmu;

/// <summary>What the TLB asks its processor.</summary>
public interface ITlbOwner
{
    /// <summary>Walks the guest's page tables; false with an architecture-specific fault code.</summary>
    bool TryWalk(ulong address, AccessKind kind, int mmuIndex, out PageWalk walk, out uint fault);

    /// <summary>The physical address space the processor sees now.</summary>
    AddressSpace PhysicalSpace { get; }

    /// <summary>Bits of a physical address that reach the bus (A20).</summary>
    ulong PhysicalMask { get; }

    /// <summary>Bits of a virtual address that count when an access runs over a page's end.</summary>
    ulong AddressMask { get; }

    /// <summary>
    /// A store is about to change translated code. False: the running unit would be hit; leave it first (the exit reason is
    /// set) and make the store again.
    /// </summary>
    bool BeforeCodeWrite(RamBlock ram, ulong offset, int length);

    /// <summary>A data breakpoint lies in the page of an address: accesses take the slow path and are told.</summary>
    bool IsPageWatched(ulong address);

    /// <summary>An access to a watched page is made.</summary>
    void NoteDataAccess(ulong address, int size, AccessKind kind);
}

/// <summary>
/// The software TLBs of one processor: direct-mapped tables that generated code looks into, a small victim cache behind
/// each, and the slow paths for everything else: walks, devices, page crossings, watched pages.
/// </summary>
public sealed unsafe class SoftTlb : IDisposable
{
    private const int MinEntries = 1024;
    private const int MaxEntries = 32768;
    private const int CodeEntries = 256;
    private const int Modes = 3;
    private const int Victims = 8;
    private const int MaxLocalPages = 256;
    private const ulong PageMask = ~0xFFFUL;
    private const ulong GlobalBit = 1, LargeBit = 2;
    private const ulong SlowBits = TlbEntry.Device | TlbEntry.NotDirty | TlbEntry.ReadOnlyMemory;

    private readonly ITlbOwner _owner;
    private readonly EngineState* _engine;
    private readonly Lock _gate = new();
    private readonly byte* _memory;
    private readonly nuint _memorySize;
    private readonly TlbEntry*[] _tables = new TlbEntry*[Modes];
    private readonly TlbEntry*[] _victims = new TlbEntry*[Modes];
    private readonly int[] _victimNext = new int[Modes];
    private readonly TlbEntry*[] _code = new TlbEntry*[Modes];

    /// <summary>Pages that are not global which came in since they were dropped, and how many; more are not remembered.</summary>
    private readonly ulong[,] _localPages = new ulong[Modes, MaxLocalPages];
    private readonly int[] _used = new int[Modes];

    /// <summary>Entries of each table; a power of two.</summary>
    private readonly int[] _size = new int[Modes];

    /// <summary>Fills since the last flush, and how many of them threw out a valid entry.</summary>
    private readonly int[] _fills = new int[Modes];
    private readonly int[] _evictions = new int[Modes];

    /// <summary>Memory of displays that was seen: it tells when pages of it are marked.</summary>
    private readonly HashSet<RamBlock> _displays = [];

    /// <summary>Where large pages came in, global and other ones.</summary>
    private readonly GigabyteSet _largeGlobal = new(), _largeLocal = new();

    /// <summary>Locked accesses that no host instruction can make (page crossings, devices) exclude each other here.</summary>
    private static readonly Lock SplitLock = new();

    public SoftTlb(ITlbOwner owner, EngineState* engine)
    {
        _owner = owner;
        _engine = engine;
        const int PerMode = Victims + CodeEntries;
        _memorySize = (nuint)(PerMode * Modes * sizeof(TlbEntry));
        _memory = (byte*)NativePages.MapAnonymous(_memorySize);
        var next = (TlbEntry*)_memory;
        for (var m = 0; m < Modes; m++)
        {
            _victims[m] = next;
            _code[m] = next + Victims;
            Clear(next, PerMode);
            next += PerMode;
            NewTable(m, MinEntries);
        }

        engine->Tlb3 = engine->Tlb0;
        engine->ForgetPages();
    }

    /// <summary>Gives a mode an empty table.</summary>
    private void NewTable(int mode, int size)
    {
        if (_tables[mode] != null)
            NativePages.Unmap(_tables[mode], (nuint)(_size[mode] * sizeof(TlbEntry)));
        _tables[mode] = (TlbEntry*)NativePages.MapAnonymous((nuint)(size * sizeof(TlbEntry)));
        _size[mode] = size;
        Clear(_tables[mode], size);
        var table = &_engine->Tlb0 + mode;
        table->Mask = (ulong)(size - 1) * (ulong)sizeof(TlbEntry);
        table->Entries = _tables[mode];
    }

    /// <summary>Doubles a table whose entries push one another out; what it holds moves along.</summary>
    private void Grow(int mode)
    {
        var old = _tables[mode];
        var size = _size[mode];
        _tables[mode] = null;
        NewTable(mode, size * 2);
        for (var i = 0; i < size; i++)
        {
            if (((old[i].Read & old[i].Write) & TlbEntry.Invalid) == 0)
                _tables[mode][Index((old[i].Read & TlbEntry.Invalid) == 0 ? old[i].Read : old[i].Write, mode)] = old[i];
        }

        NativePages.Unmap(old, (nuint)(size * sizeof(TlbEntry)));
        _evictions[mode] = 0;
    }

    /// <summary>The fault code of the last failed walk.</summary>
    public uint Fault { get; private set; }

    /// <summary>The address of the last failed walk.</summary>
    public ulong FaultAddress { get; private set; }

    // Flushing. By the processor's own thread, or with it stopped.

    public void Flush(bool includeGlobal)
    {
        lock (_gate)
        {
            for (var m = 0; m < Modes; m++)
            {
                // A table much larger than what is used costs more to clear than it saves.
                if (includeGlobal && _size[m] > MinEntries && _fills[m] < _size[m] / 8)
                    NewTable(m, _size[m] / 2);
                else if (includeGlobal)
                    Clear(_tables[m], _size[m]);
                if (includeGlobal)
                    Clear(_victims[m], Victims + CodeEntries);
                else if (_used[m] != 0)
                    ClearLocal(m);
                _used[m] = 0;
                _fills[m] = 0;
                _evictions[m] = 0;
            }

            _largeLocal.Clear();
            if (includeGlobal)
                _largeGlobal.Clear();
            _engine->ForgetPages();
        }
    }

    private static void Clear(TlbEntry* e, int count)
    {
        for (var i = 0; i < count; i++)
        {
            e[i].Read = TlbEntry.Invalid;
            e[i].Write = TlbEntry.Invalid;
        }
    }

    private void ClearLocal(int mode)
    {
        if (_used[mode] <= MaxLocalPages)
        {
            for (var i = 0; i < _used[mode]; i++)
            {
                var page = _localPages[mode, i];
                ClearLocal(_tables[mode] + Index(page, mode), 1);
                ClearLocal(_code[mode] + CodeIndex(page), 1);
            }

            ClearLocal(_victims[mode], Victims);
            return;
        }

        if (_size[mode] > MinEntries && _fills[mode] < _size[mode] / 8)
            NewTable(mode, _size[mode] / 2);
        else
            ClearLocal(_tables[mode], _size[mode]);
        ClearLocal(_victims[mode], Victims + CodeEntries);
    }

    private static void ClearLocal(TlbEntry* e, int count)
    {
        for (var i = 0; i < count; i++)
        {
            if ((e[i].Physical & GlobalBit) == 0)
            {
                e[i].Read = TlbEntry.Invalid;
                e[i].Write = TlbEntry.Invalid;
            }
        }
    }

    /// <summary>Forgets the page of an address; all pages when it may be part of a large one.</summary>
    public void FlushPage(ulong address)
    {
        lock (_gate)
        {
            if (MayBeLarge(address))
            {
                // A large page is held as 4 KiB pieces: drop every piece of one.
                for (var m = 0; m < Modes; m++)
                {
                    DropLarge(_tables[m], _size[m], address);
                    DropLarge(_victims[m], Victims + CodeEntries, address);
                }

                _engine->ForgetPages();
            }

            var page = address & PageMask;
            for (var m = 0; m < Modes; m++)
            {
                DropIf(_tables[m] + Index(address, m), page);
                DropIf(_code[m] + CodeIndex(address), page);
                for (var v = 0; v < Victims; v++)
                    DropIf(_victims[m] + v, page);
            }

            _engine->ForgetPage(page);
        }
    }

    private static void DropLarge(TlbEntry* e, int count, ulong address)
    {
        for (var i = 0; i < count; i++)
        {
            if ((e[i].Physical & LargeBit) != 0 && ((e[i].Read | e[i].Write) & TlbEntry.Invalid) == 0
                && ((e[i].Read ^ address) >> 30) == 0)
                Clear(e + i, 1);
        }
    }

    private static void DropIf(TlbEntry* e, ulong page)
    {
        if ((e->Read & PageMask) == page || (e->Write & PageMask) == page)
            Clear(e, 1);
    }

    /// <summary>A page got watched (it holds code now): stores to it must take the slow path. Any thread.</summary>
    public void WatchPage(byte* hostPage)
    {
        lock (_gate)
        {
            for (var m = 0; m < Modes; m++)
            {
                Watch(_tables[m], _size[m], hostPage);
                Watch(_victims[m], Victims, hostPage);
            }

            _engine->ForgetPages();
        }
    }

    /// <summary>Pages of a display's memory got marked: stores to them must take the slow path. Any thread.</summary>
    private void WatchPages(RamBlock ram, ulong first, ulong last)
    {
        var start = ram.Base + (first << RamBlock.PageShift);
        var length = (last - first + 1) << RamBlock.PageShift;
        lock (_gate)
        {
            for (var m = 0; m < Modes; m++)
            {
                WatchRange(_tables[m], _size[m], start, length);
                WatchRange(_victims[m], Victims, start, length);
            }

            _engine->ForgetPages();
        }
    }

    private static void WatchRange(TlbEntry* e, int count, byte* start, ulong length)
    {
        for (var i = 0; i < count; i++)
        {
            var w = e[i].Write;
            if ((w & (TlbEntry.Invalid | TlbEntry.Device)) == 0
                && (ulong)((byte*)(e[i].Addend + (nint)(w & PageMask)) - start) < length)
                e[i].Write = w | TlbEntry.NotDirty;
        }
    }

    private static void Watch(TlbEntry* e, int count, byte* hostPage)
    {
        for (var i = 0; i < count; i++)
        {
            var w = e[i].Write;
            if ((w & (TlbEntry.Invalid | TlbEntry.Device)) == 0
                && (byte*)(e[i].Addend + (nint)(w & PageMask)) == hostPage)
                e[i].Write = w | TlbEntry.NotDirty;
        }
    }

    private int Index(ulong address, int mode) => (int)(address >> 12) & (_size[mode] - 1);

    private static int CodeIndex(ulong address) => (int)(address >> 12) & (CodeEntries - 1);

    // Look-up.

    /// <summary>The entry that allows an access within one page, filled if need be; null: a fault.</summary>
    private TlbEntry* Find(ulong address, bool write, int mode)
    {
        var page = address & PageMask;
        var e = _tables[mode] + Index(address, mode);
        if (((write ? e->Write : e->Read) & ~SlowBits) == page)
            return e;
        for (var v = 0; v < Victims; v++)
        {
            var victim = _victims[mode] + v;
            if (((write ? victim->Write : victim->Read) & ~SlowBits) == page)
            {
                lock (_gate)
                    (*e, *victim) = (*victim, *e);
                return e;
            }
        }

        return Fill(e, address, write, mode);
    }

    private TlbEntry* Fill(TlbEntry* e, ulong address, bool write, int mode)
    {
        if (!_owner.TryWalk(address, write ? AccessKind.Write : AccessKind.Read, mode, out var walk, out var fault))
        {
            Fault = fault;
            FaultAddress = address;
            return null;
        }

        var page = address & PageMask;
        lock (_gate)
        {
            _fills[mode]++;
            if ((e->Read & TlbEntry.Invalid) == 0 && (e->Read & PageMask) != page)
            {
                _victims[mode][_victimNext[mode]++ & (Victims - 1)] = *e;
                if (++_evictions[mode] > _size[mode] && _size[mode] < MaxEntries)
                {
                    Grow(mode);
                    e = _tables[mode] + Index(address, mode);
                }
            }

            Resolve(e, page, walk, AccessKind.Read);
            if (!walk.Readable && !write)
                e->Read = page; // execute-only pages do not exist on the architectures here
            Note(address, mode, walk);
        }

        return e;
    }

    private void Note(ulong address, int mode, in PageWalk walk)
    {
        if (!walk.Global && _used[mode]++ is var n and < MaxLocalPages)
            _localPages[mode, n] = address;
        if (walk.PageSize > 4096)
            (walk.Global ? _largeGlobal : _largeLocal).Add(address);
    }

    /// <summary>Sets an entry from a walk: host memory where there is some, else a device.</summary>
    private void Resolve(TlbEntry* e, ulong page, in PageWalk walk, AccessKind kind)
    {
        var physical = walk.Physical & PageMask & _owner.PhysicalMask;
        e->Physical = physical | (walk.Global ? GlobalBit : 0) | (walk.PageSize > 4096 ? LargeBit : 0);
        if (_owner.PhysicalSpace.View.TryFind(physical, out var range) && range.Region.Ram is { } ram
            && range.Last - physical >= 0xFFF)
        {
            var offset = range.Offset + (physical - range.Start);
            e->Addend = (nint)(ram.Base + offset) - (nint)page;
            e->Read = page;
            e->Write = !walk.Writable ? TlbEntry.Invalid
                : range.ReadOnly ? page | TlbEntry.ReadOnlyMemory
                : ram.Flags[offset >> 12] != 0 ? page | TlbEntry.NotDirty
                : page;
            if (ram.IsDisplay && _displays.Add(ram))
                ram.FlagsSetOn += WatchPages;
        }
        else
        {
            e->Addend = 0;
            e->Read = page | TlbEntry.Device;
            e->Write = walk.Writable ? page | TlbEntry.Device : TlbEntry.Invalid;
        }

        if (kind != AccessKind.Execute && _owner.IsPageWatched(page))
        {
            e->Read |= TlbEntry.NotDirty;
            if ((e->Write & (TlbEntry.Device | TlbEntry.ReadOnlyMemory)) == 0)
                e->Write |= TlbEntry.NotDirty;
        }
    }

    /// <summary>
    /// Host address of code at a virtual address, or null: with <paramref name="device"/> set the bytes are not in memory
    /// (fetch them one by one), else the fetch faults.
    /// </summary>
    public byte* FindCode(ulong address, int mode, out bool device)
    {
        var page = address & PageMask;
        var e = _code[mode] + CodeIndex(address);
        device = false;
        if ((e->Read & ~SlowBits) != page)
        {
            if (!_owner.TryWalk(address, AccessKind.Execute, mode, out var walk, out var fault))
            {
                Fault = fault;
                FaultAddress = address;
                return null;
            }

            lock (_gate)
            {
                Resolve(e, page, walk, AccessKind.Execute);
                e->Write = TlbEntry.Invalid;
                Note(address, mode, walk);
            }
        }

        if ((e->Read & TlbEntry.Device) != 0)
        {
            device = true;
            return null;
        }

        return (byte*)(e->Addend + (nint)address);
    }

    /// <summary>Whether code found with <see cref="FindCode"/> just before is in a global page.</summary>
    public bool IsCodeGlobal(ulong address, int mode)
    {
        var e = _code[mode] + CodeIndex(address);
        return (e->Read & PageMask) == (address & PageMask) && (e->Physical & GlobalBit) != 0;
    }

    /// <summary>The page of an address may be part of a large one.</summary>
    public bool MayBeLarge(ulong address) => _largeGlobal.Contains(address) || _largeLocal.Contains(address);

    /// <summary>Physical address of code found with <see cref="FindCode"/> just before.</summary>
    public ulong CodePhysical(ulong address, int mode) =>
        (_code[mode][CodeIndex(address)].Physical & PageMask) | (address & ~PageMask);

    /// <summary>
    /// Copies up to 32 bytes, which may run over a page's end, between guest memory and <paramref name="data"/>. False, with nothing
    /// copied: a fault, a device or a watched page.
    /// </summary>
    private bool TryCopy(ulong address, int size, bool write, int mode, byte* data)
    {
        var length = Math.Min(size, (int)(0x1000 - (address & 0xFFF)));
        byte* second = null;
        if (!TryHost(address, write, mode, out var first, out _)
            || (length < size && !TryHost(Next(address, length), write, mode, out second, out _)))
            return false;
        Copy(first, data, length, write);
        Copy(second, data + length, size - length, write);
        return true;

        static void Copy(byte* memory, byte* data, int length, bool write) =>
            Unsafe.CopyBlockUnaligned(write ? memory : data, write ? data : memory, (uint)length);
    }

    /// <summary>Loads a vector. False: a fault.</summary>
    public bool TryLoadVector(ulong address, int size, int mode, ulong* to)
    {
        if (TryCopy(address, size, false, mode, (byte*)to))
            return true;
        // Nothing is read from a device before both pages have answered.
        if (!TryProbe(address, size, false, mode))
            return false;
        for (var at = 0; at < size; at += 8)
        {
            if (!TryLoad(Next(address, at), Math.Min(size - at, 8), mode, out to[at / 8]))
                return false;
        }

        return true;
    }

    /// <summary>Stores a vector. False: a fault, or a unit that must be left first.</summary>
    public bool TryStoreVector(ulong address, int size, int mode, ulong* from)
    {
        if (TryCopy(address, size, true, mode, (byte*)from))
            return true;
        if (!TryProbe(address, size, true, mode))
            return false;
        for (var at = 0; at < size; at += 8)
        {
            if (!TryStore(Next(address, at), Math.Min(size - at, 8), from[at / 8], mode))
                return false;
        }

        return true;
    }

    // Slow-path accesses. False: a fault (Fault, FaultAddress) or, for stores, a unit that must be left first.

    public bool TryLoad(ulong address, int size, int mode, out ulong value)
    {
        value = 0;
        if ((address & 0xFFF) + (ulong)size > 0x1000)
        {
            var bytes = 0UL;
            if (TryCopy(address, size, false, mode, (byte*)&bytes))
            {
                value = bytes;
                return true;
            }

            // Both pages must answer before a device register is read.
            if (Find(address, false, mode) == null || Find(Next(address, size - 1) & PageMask, false, mode) == null)
                return false;
            for (var i = 0; i < size; i++)
            {
                if (!TryLoad(Next(address, i), 1, mode, out var b))
                    return false;
                value |= b << (8 * i);
            }

            return true;
        }

        var e = Find(address, false, mode);
        if (e == null)
            return false;
        if ((e->Read & TlbEntry.NotDirty) != 0)
            _owner.NoteDataAccess(address, size, AccessKind.Read);
        if ((e->Read & TlbEntry.Device) != 0)
        {
            value = _owner.PhysicalSpace.Load((e->Physical & PageMask) | (address & 0xFFF), size);
            return true;
        }

        var host = (byte*)(e->Addend + (nint)address);
        value = size switch
        {
            1 => *host,
            2 => *(ushort*)host,
            4 => *(uint*)host,
            _ => *(ulong*)host,
        };
        return true;
    }

    private ulong Next(ulong address, int n) => (address + (ulong)n) & _owner.AddressMask;

    public bool TryStore(ulong address, int size, ulong value, int mode)
    {
        if ((address & 0xFFF) + (ulong)size > 0x1000)
        {
            if (TryCopy(address, size, true, mode, (byte*)&value))
                return true;
            if (Find(Next(address, size - 1) & PageMask, true, mode) == null || Find(address, true, mode) == null)
                return false;
            var first = (int)(0x1000 - (address & 0xFFF));
            if (!MayStore(address, first, mode) || !MayStore(Next(address, first), size - first, mode))
                return false;
            for (var i = 0; i < size; i++)
            {
                if (!TryStore(Next(address, i), 1, value >> (8 * i), mode))
                    return false;
            }

            return true;
        }

        var e = Find(address, true, mode);
        if (e == null)
            return false;
        if ((e->Write & SlowBits) != 0)
        {
            if ((e->Read & TlbEntry.NotDirty) != 0)
                _owner.NoteDataAccess(address, size, AccessKind.Write);
            if ((e->Write & TlbEntry.NotDirty) == 0)
            {
                _owner.PhysicalSpace.Store((e->Physical & PageMask) | (address & 0xFFF), size, value);
                return true;
            }

            if (!Unwatch(e, address, size))
                return false;
        }

        var host = (byte*)(e->Addend + (nint)address);
        switch (size)
        {
            case 1:
                *host = (byte)value;
                break;
            case 2:
                *(ushort*)host = (ushort)value;
                break;
            case 4:
                *(uint*)host = (uint)value;
                break;
            default:
                *(ulong*)host = value;
                break;
        }

        return true;
    }

    private bool MayStore(ulong address, int size, int mode)
    {
        var e = Find(address, true, mode);
        if (e == null)
            return false;
        return (e->Write & TlbEntry.NotDirty) == 0 || Unwatch(e, address, size);
    }

    /// <summary>A store to a watched page: tells the watchers, and takes the fast path again if none is left.</summary>
    private bool Unwatch(TlbEntry* e, ulong address, int size)
    {
        var physical = (e->Physical & PageMask) | (address & 0xFFF);
        if (!_owner.PhysicalSpace.View.TryFind(physical, out var range) || range.Region.Ram is not { } ram)
            return true;
        var offset = range.Offset + (physical - range.Start);
        var page = offset >> 12;
        if ((ram.Flags[page] & (byte)PageFlags.Code) != 0 && !_owner.BeforeCodeWrite(ram, offset, size))
            return false;
        if ((ram.Flags[page] & (byte)PageFlags.DisplayClean) != 0)
            ram.ClearFlag(page, PageFlags.DisplayClean);
        if (ram.Flags[page] != 0)
            return true;
        lock (_gate)
        {
            if (ram.Flags[page] == 0 && (e->Read & TlbEntry.NotDirty) == 0)
                e->Write &= ~TlbEntry.NotDirty;
        }

        return true;
    }

    /// <summary>Checks that an access would be allowed, filling the TLB.</summary>
    public bool TryProbe(ulong address, int size, bool write, int mode) =>
        Find(address, write, mode) != null
        && ((address & 0xFFF) + (ulong)size <= 0x1000 || Find(Next(address, size - 1) & PageMask, write, mode) != null);

    /// <summary>
    /// Host memory behind an address, good for <paramref name="length"/> bytes to the page's end; false for devices, faults and
    /// watched pages, which go element by element.
    /// </summary>
    public bool TryHost(ulong address, bool write, int mode, out byte* host, out int length)
    {
        host = null;
        length = 0;
        var e = Find(address, write, mode);
        if (e == null || ((write ? e->Write : e->Read) & SlowBits) != 0)
            return false;
        host = (byte*)(e->Addend + (nint)address);
        length = (int)(0x1000 - (address & 0xFFF));
        return true;
    }

    /// <summary>Atomic operation on memory the fast path does not reach. Operation: old, operand → new.</summary>
    public bool TryAtomic(ulong address, int size, int mode, delegate*<ulong, ulong, ulong, ulong> next, ulong a, ulong b,
        out ulong old)
    {
        old = 0;
        var e = Find(address, true, mode);
        if (e == null)
            return false;
        if ((address & 0xFFF) + (ulong)size <= 0x1000 && (e->Write & TlbEntry.NotDirty) != 0)
        {
            if ((e->Read & TlbEntry.NotDirty) != 0)
                _owner.NoteDataAccess(address, size, AccessKind.Write);
            if (!Unwatch(e, address, size))
                return false;
        }

        if ((address & ((ulong)size - 1)) == 0 && (e->Write & (TlbEntry.Device | TlbEntry.ReadOnlyMemory)) == 0)
        {
            var host = (byte*)(e->Addend + (nint)address);
            while (true)
            {
                old = size switch
                {
                    1 => Volatile.Read(ref *host),
                    2 => Volatile.Read(ref *(ushort*)host),
                    4 => Volatile.Read(ref *(uint*)host),
                    _ => Volatile.Read(ref *(ulong*)host),
                };
                var value = next(old, a, b);
                var done = size switch
                {
                    1 => Interlocked.CompareExchange(ref *host, (byte)value, (byte)old) == (byte)old,
                    2 => Interlocked.CompareExchange(ref *(ushort*)host, (ushort)value, (ushort)old) == (ushort)old,
                    4 => Interlocked.CompareExchange(ref *(uint*)host, (uint)value, (uint)old) == (uint)old,
                    _ => Interlocked.CompareExchange(ref *(ulong*)host, value, old) == old,
                };
                if (done)
                    return true;
            }
        }

        lock (SplitLock)
        {
            if (!TryProbe(address, size, true, mode) || !TryLoad(address, size, mode, out old))
                return false;
            return TryStore(address, size, next(old, a, b), mode);
        }
    }

    public void Dispose()
    {
        foreach (var ram in _displays)
            ram.FlagsSetOn -= WatchPages;
        for (var m = 0; m < Modes; m++)
            NativePages.Unmap(_tables[m], (nuint)(_size[m] * sizeof(TlbEntry)));
        NativePages.Unmap(_memory, _memorySize);
    }
}
