using System.Runtime.CompilerServices;
using Dromaius.Core.Memory;
using Dromaius.Cpu.Softmmu;

namespace Dromaius.Cpu.X86;

/// <content>Page-table walks (Intel SDM volume 3, chapter 4).</content>
public sealed unsafe partial class X86Cpu
{
    // Bits of paging-structure entries and of page-fault error codes (SDM volume 3, sections 4.3 to 4.7).
    private const ulong PtePresent = 1, PteWrite = 2, PteUser = 4, PteAccessed = 0x20, PteDirty = 0x40, PteLarge = 0x80,
        PteGlobal = 0x100, PteNx = 1UL << 63;

    private const uint FaultProtection = 1, FaultWrite = 2, FaultUser = 4, FaultReserved = 8, FaultFetch = 0x10,
        FaultKey = 0x20;

    /// <summary>Address bits of a 4 KiB-aligned entry.</summary>
    private const ulong PteAddress = 0x000F_FFFF_FFFF_F000;

    private const ulong A20Bit = 1UL << 20;

    /// <summary>The page-directory-pointer registers of PAE paging, loaded with CR3.</summary>
    private readonly ulong[] _pdptes = new ulong[4];

    /// <summary>An entry above the leaf that a walk went through.</summary>
    private struct WalkStep
    {
        public byte* Host;
        public RamBlock? Ram;
        public ulong Entry;
    }

    /// <summary>The entries of the walk under way. Their accessed bits are set only when it succeeds, as the 80386 did.</summary>
    private readonly WalkStep[] _steps = new WalkStep[3];
    private int _stepCount;

    /// <summary>
    /// The physical memory the processor sees now: in system-management mode <see cref="SmmMemory"/> when the board gave one.
    /// </summary>
    public AddressSpace ActiveMemory => State->InSmm != 0 && SmmMemory is { } smm ? smm : Memory;

    /// <summary>
    /// Translates a linear address as the access asks, setting accessed and dirty bits atomically. The address must be
    /// canonical (in long mode) or 32 bits wide. CR2 is not touched.
    /// </summary>
    /// <param name="linear">Linear address.</param>
    /// <param name="kind">What the access does.</param>
    /// <param name="mmuIndex">As <see cref="ModeExtensions.MmuIndex"/>.</param>
    /// <param name="walk">The mapping; rights are those of <paramref name="mmuIndex"/>.</param>
    /// <param name="errorCode">When false: the page fault's error code.</param>
    public bool TryWalk(ulong linear, AccessKind kind, int mmuIndex, out PageWalk walk, out uint errorCode) =>
        Walk(linear, kind, mmuIndex, true, out walk, out errorCode);

    /// <summary>Translates for a debugger: no rights are needed and nothing is changed.</summary>
    public bool TryTranslate(ulong linear, out ulong physical)
    {
        var found = Walk(linear, AccessKind.Read, 0, false, out var walk, out _);
        physical = walk.Physical | (linear & 0xFFF);
        return found;
    }

    private bool Walk(ulong linear, AccessKind kind, int mmuIndex, bool update, out PageWalk walk, out uint errorCode)
    {
        errorCode = 0;
        if ((State->Cr0 & Cr.Pg) == 0)
        {
            walk = new PageWalk
            {
                Physical = Gate20(linear & ~0xFFFUL),
                PageSize = 4096,
                Readable = true,
                Writable = true,
                Executable = true,
            };
            return true;
        }

        bool found;
        do
        {
            if (update)
                _stepCount = 0;
            found = LongMode ? WalkLong(linear, kind, mmuIndex, update, out walk, out errorCode, out var raced)
                : (State->Cr4 & Cr.Pae) != 0 ? WalkPae((uint)linear, kind, mmuIndex, update, out walk, out errorCode, out raced)
                : WalkLegacy((uint)linear, kind, mmuIndex, update, out walk, out errorCode, out raced);
            if (!raced)
                break;
        }
        while (true);

        if (found)
        {
            walk.Physical = Gate20(walk.Physical);
            return true;
        }

        if (kind == AccessKind.Write)
            errorCode |= FaultWrite;
        if (mmuIndex == 1)
            errorCode |= FaultUser;
        if (kind == AccessKind.Execute && NxOrSmep)
            errorCode |= FaultFetch;
        return false;
    }

    private bool NxOrSmep =>
        (State->Cr4 & Cr.Smep) != 0 || ((State->Efer & Cr.EferNxe) != 0 && (State->Cr4 & Cr.Pae) != 0);

    private ulong Gate20(ulong physical) => _a20 ? physical : physical & ~A20Bit;

    /// <summary>Reserved address bits above the physical width, and NX when it is not enabled.</summary>
    private ulong ReservedBits
    {
        get
        {
            var reserved = PteAddress & ~((1UL << Model.PhysicalBits) - 1);
            return (State->Efer & Cr.EferNxe) != 0 ? reserved : reserved | PteNx;
        }
    }

    private bool WalkLong(ulong linear, AccessKind kind, int mmuIndex, bool update, out PageWalk walk, out uint errorCode,
        out bool raced)
    {
        var reserved = ReservedBits;
        var table = State->Cr3 & PteAddress;
        var rights = PteWrite | PteUser;
        var nx = 0UL;
        for (var shift = 39; ; shift -= 9)
        {
            var slot = table + (((linear >> shift) & 0x1FF) << 3);
            var entry = ReadEntry(slot, 8, out var host, out var ram);
            var large = (entry & PteLarge) != 0;
            var leaf = shift == 12 || (large && shift <= 30);
            var bad = reserved;
            if (large && (shift == 39 || (shift == 30 && !Model.Has(X86Feature.Pdpe1Gb))))
                bad |= PteLarge;
            if (leaf && shift > 12)
                bad |= ((1UL << shift) - 1) & PteAddress & ~0x1000UL;
            if ((entry & PtePresent) == 0 || (entry & bad) != 0)
                return Fail(entry, out walk, out errorCode, out raced);
            rights &= entry;
            nx |= entry & PteNx;
            if (leaf)
                return Leaf(linear, entry, rights, nx, shift, host, ram, 8, kind, mmuIndex, update, out walk, out errorCode,
                    out raced);
            if (update)
                NoteStep(host, ram, entry);
            table = entry & PteAddress;
        }
    }

    private bool WalkPae(uint linear, AccessKind kind, int mmuIndex, bool update, out PageWalk walk, out uint errorCode,
        out bool raced)
    {
        // Bits 62:52 are reserved here, unlike in long mode.
        var reserved = ReservedBits | 0x7FF0_0000_0000_0000;
        var pdpte = _pdptes[linear >> 30];
        if ((pdpte & PtePresent) == 0)
            return Fail(0, out walk, out errorCode, out raced);
        var slot = (pdpte & PteAddress) + (((linear >> 21) & 0x1FF) << 3);
        var entry = ReadEntry(slot, 8, out var host, out var ram);
        var large = (entry & PteLarge) != 0;
        if ((entry & PtePresent) == 0 || (entry & reserved) != 0 || (large && (entry & 0x1FE000) != 0))
            return Fail(entry, out walk, out errorCode, out raced);
        var rights = entry & (PteWrite | PteUser);
        var nx = entry & PteNx;
        if (large)
            return Leaf(linear, entry, rights, nx, 21, host, ram, 8, kind, mmuIndex, update, out walk, out errorCode, out raced);
        if (update)
            NoteStep(host, ram, entry);

        slot = (entry & PteAddress) + (((linear >> 12) & 0x1FF) << 3);
        entry = ReadEntry(slot, 8, out host, out ram);
        if ((entry & PtePresent) == 0 || (entry & reserved) != 0)
            return Fail(entry, out walk, out errorCode, out raced);
        return Leaf(linear, entry, rights & entry, nx | (entry & PteNx), 12, host, ram, 8, kind, mmuIndex, update, out walk,
            out errorCode, out raced);
    }

    private bool WalkLegacy(uint linear, AccessKind kind, int mmuIndex, bool update, out PageWalk walk, out uint errorCode,
        out bool raced)
    {
        var slot = (State->Cr3 & 0xFFFFF000) + ((linear >> 22) << 2);
        var entry = ReadEntry(slot, 4, out var host, out var ram);
        if ((entry & PtePresent) == 0)
            return Fail(entry, out walk, out errorCode, out raced);
        var rights = entry & (PteWrite | PteUser);
        if ((entry & PteLarge) != 0 && (State->Cr4 & Cr.Pse) != 0)
        {
            // PSE-36: bits 20:13 are address bits 39:32; bit 21 is reserved (SDM volume 3, section 4.3).
            var pse36 = Model.Has(X86Feature.Pse36);
            if ((entry & (pse36 ? 0x200000u : 0x3FE000u)) != 0)
                return Fail(entry, out walk, out errorCode, out raced);
            var found = Leaf(linear, entry, rights, 0, 22, host, ram, 4, kind, mmuIndex, update, out walk, out errorCode,
                out raced);
            walk.Physical = (entry & 0xFFC00000) | (pse36 ? (entry & 0x1FE000) << 19 : 0) | (linear & 0x3FF000);
            return found;
        }

        if (update)
            NoteStep(host, ram, entry);
        slot = (entry & 0xFFFFF000) + (((linear >> 12) & 0x3FF) << 2);
        entry = ReadEntry(slot, 4, out host, out ram);
        if ((entry & PtePresent) == 0)
            return Fail(entry, out walk, out errorCode, out raced);
        return Leaf(linear, entry, rights & entry, 0, 12, host, ram, 4, kind, mmuIndex, update, out walk, out errorCode,
            out raced);
    }

    private static bool Fail(ulong entry, out PageWalk walk, out uint errorCode, out bool raced)
    {
        walk = default;
        errorCode = (entry & PtePresent) != 0 ? FaultProtection | FaultReserved : 0;
        raced = false;
        return false;
    }

    private void NoteStep(byte* host, RamBlock? ram, ulong entry) =>
        _steps[_stepCount++] = new WalkStep { Host = host, Ram = ram, Entry = entry };

    /// <summary>Marks the entries above the leaf; false if one has changed meanwhile.</summary>
    private bool MarkSteps(int size)
    {
        for (var i = 0; i < _stepCount; i++)
        {
            ref readonly var step = ref _steps[i];
            if (!SetBits(step.Host, step.Ram, size, step.Entry, PteAccessed))
                return false;
        }

        return true;
    }

    /// <summary>Checks the rights of a mapping (SDM volume 3, section 4.6) and marks its entry.</summary>
    private bool Leaf(ulong linear, ulong entry, ulong rights, ulong nx, int shift, byte* host, RamBlock? ram, int size,
        AccessKind kind, int mmuIndex, bool update, out PageWalk walk, out uint errorCode, out bool raced)
    {
        raced = false;
        errorCode = 0;
        walk = default;
        var userPage = (rights & PteUser) != 0;
        var writablePage = (rights & PteWrite) != 0;
        bool read, write, execute;
        var keyFault = 0u;
        if (mmuIndex == 1)
        {
            read = userPage;
            write = userPage && writablePage;
            execute = userPage && nx == 0;
        }
        else
        {
            read = !(userPage && mmuIndex == 2);
            write = read && (writablePage || (State->Cr0 & Cr.Wp) == 0);
            execute = nx == 0 && !(userPage && (State->Cr4 & Cr.Smep) != 0);
        }

        if (userPage && (State->Cr4 & Cr.Pke) != 0 && LongMode)
        {
            var key = (int)(entry >> 59) & 15;
            var denied = (uint)(State->Pkru >> (2 * key)) & 3;
            var keyRead = (denied & 1) == 0;
            var keyWrite = keyRead && ((denied & 2) == 0 || (mmuIndex != 1 && (State->Cr0 & Cr.Wp) == 0));

            // Reported even if other rights are missing as well (SDM volume 3, section 4.7).
            if ((kind == AccessKind.Read && !keyRead) || (kind == AccessKind.Write && !keyWrite))
                keyFault = FaultKey;
            read &= keyRead;
            write &= keyWrite;
        }

        if (update)
        {
            var allowed = kind switch
            {
                AccessKind.Read => read,
                AccessKind.Write => write,
                _ => execute,
            };
            if (!allowed)
            {
                errorCode = FaultProtection | keyFault;
                return false;
            }

            var wanted = kind == AccessKind.Write ? PteAccessed | PteDirty : PteAccessed;
            if (!MarkSteps(size) || !SetBits(host, ram, size, entry, wanted))
            {
                raced = true;
                return false;
            }

            entry |= wanted;
        }

        var inner = (1UL << shift) - 1;
        walk = new PageWalk
        {
            Physical = (entry & PteAddress & ~inner) | (linear & inner & ~0xFFFUL),
            PageSize = 1UL << shift,
            Readable = read,
            Writable = write && (entry & PteDirty) != 0,
            Executable = execute,
            Global = (entry & PteGlobal) != 0 && (State->Cr4 & Cr.Pge) != 0,
        };
        return true;
    }

    /// <summary>Reads an entry, and finds where it lies in host memory (null for what is not writable RAM).</summary>
    private ulong ReadEntry(ulong physical, int size, out byte* host, out RamBlock? ram)
    {
        physical = Gate20(physical);
        var memory = ActiveMemory;
        if (memory.View.TryFind(physical, out var range) && range.Region.Ram is { } block)
        {
            var p = block.Base + range.Offset + (physical - range.Start);
            host = range.ReadOnly ? null : p;
            ram = block;
            return size == 8 ? Volatile.Read(ref Unsafe.AsRef<ulong>(p)) : Volatile.Read(ref Unsafe.AsRef<uint>(p));
        }

        host = null;
        ram = null;
        return memory.Load(physical, size);
    }

    /// <summary>Sets bits in an entry unless it has changed meanwhile, which gives false.</summary>
    private static bool SetBits(byte* host, RamBlock? ram, int size, ulong entry, ulong bits)
    {
        if ((entry & bits) == bits || host == null)
            return true;
        ram!.NoteWrite((ulong)(host - ram.Base), (ulong)size);
        return size == 8
            ? Interlocked.CompareExchange(ref Unsafe.AsRef<ulong>(host), entry | bits, entry) == entry
            : Interlocked.CompareExchange(ref Unsafe.AsRef<uint>(host), (uint)(entry | bits), (uint)entry) == (uint)entry;
    }
}
