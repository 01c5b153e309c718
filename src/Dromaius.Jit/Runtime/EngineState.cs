using System.Runtime.InteropServices;

namespace Dromaius.Jit;

/// <summary>Why generated code came back.</summary>
public enum ExitReason : uint
{
    None = 0,

    /// <summary>A guest exception is queued in the CPU state.</summary>
    Exception = 1,

    /// <summary>Go on from the state's program counter (mode changed, interrupts to look at).</summary>
    Reenter = 2,

    /// <summary>The next instruction must run alone: it writes to its own code.</summary>
    SingleInsn = 3,

    /// <summary>The processor halted.</summary>
    Halt = 4,
}

/// <summary>One TLB entry. A tag is the page address, with low bits set when the fast path must not be taken.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct TlbEntry
{
    public const ulong Invalid = 0x800;
    public const ulong Device = 0x400;
    public const ulong NotDirty = 0x200;
    public const ulong ReadOnlyMemory = 0x100;

    public ulong Read;
    public ulong Write;

    /// <summary>Host address minus guest virtual address, for memory.</summary>
    public nint Addend;

    /// <summary>Guest physical page address.</summary>
    public ulong Physical;
}

/// <summary>A TLB: direct-mapped on the virtual page number.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct TlbTable
{
    /// <summary>(entries - 1) * sizeof(TlbEntry).</summary>
    public ulong Mask;
    public TlbEntry* Entries;
}

/// <summary>An entry of the per-CPU cache from address to code.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct JumpCacheEntry
{
    public ulong Pc;
    public ulong CodeBase;
    public ulong Mode;
    public byte* Code;
}

/// <summary>The part of a CPU state that generated code and the engine share.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct EngineState
{
    public const int MmuModes = 4;
    public const int JumpCacheBits = 15;
    public const int SpillSlots = 64;

    /// <summary>Non-zero: leave generated code at the next check. Set by any thread.</summary>
    public uint ExitRequest;

    /// <summary>
    /// <see cref="NoPage"/> once address translation changed since generated code was entered: groups of accesses that share a
    /// check look again. Else 0.
    /// </summary>
    public uint GroupsEnd;

    /// <summary>An offset in a page that no access passes with: negative with a sign, too high without.</summary>
    public const uint NoPage = 3u << 30;

    /// <summary>Set by helpers to leave generated code at once.</summary>
    public ExitReason ExitReason;

    /// <summary>Host stack pointer inside generated code's frame.</summary>
    public ulong HostStack;
    public JumpCacheEntry* JumpCache;

    /// <summary>The exit slot that was left through, to be linked; 0 for none.</summary>
    public ulong LastExit;

    /// <summary>GCHandle of the managed vCPU.</summary>
    public nint Self;
    public TlbTable Tlb0, Tlb1, Tlb2, Tlb3;

    /// <summary>Bounce buffer for vector accesses on the slow path.</summary>
    public fixed ulong Bounce[8];

    /// <summary>Where temporaries go when registers run out.</summary>
    public fixed ulong Spill[SpillSlots * 4];
    public ulong Scratch0, Scratch1;

    /// <summary>Arguments and result of helper calls on their way between generated code and C#.</summary>
    public fixed ulong Args[4];
    public ulong Result;

    /// <summary>Operands of vector operations that run in C#.</summary>
    public Ir.VecArgs Vec;

    /// <summary>
    /// Pages that single accesses of hot code touched last: their address, and host minus guest address. By MMU mode, reads before
    /// writes; each access has one of <see cref="LastPages"/>. Emptied with any change of the TLBs.
    /// </summary>
    public fixed ulong PageTags[PageSlots];
    public fixed long PageAddends[PageSlots];

    /// <summary>How many there are for an MMU mode and a direction.</summary>
    public const int LastPages = 64;

    private const int PageSlots = LastPages * 2 * MmuModes;

    /// <summary>
    /// The address of an empty slot: that of a page nobody can name, since it is not canonical, and one of 2^50 that is drawn when the
    /// program starts.
    /// </summary>
    internal static readonly ulong UnknownPage =
        ((ulong)Random.Shared.NextInt64() & 0x3FFF_FFFF_FFFF_F000) | 0x4000_0000_0000_0000;

    /// <summary>
    /// No access knows its page any more. Any thread: an access that has just passed its check goes on with what it found, so that only
    /// the addresses change.
    /// </summary>
    public void ForgetPages()
    {
        fixed (ulong* tags = PageTags)
            new Span<ulong>(tags, PageSlots).Fill(UnknownPage);
    }

    /// <summary>No access knows one page any more. As <see cref="ForgetPages"/>.</summary>
    public void ForgetPage(ulong page)
    {
        fixed (ulong* tags = PageTags)
            new Span<ulong>(tags, PageSlots).Replace(page, UnknownPage);
    }

    /// <summary>Counts, in its top bits, stores to other pages than the slot's: not every one takes the slot over.</summary>
    public uint PageMisses;

    /// <summary>The host's x87 environment over the slow path of an access.</summary>
    public fixed uint X87Environment[7];
    public uint X87StoreStatus;

    /// <summary>Index of an address in the jump cache.</summary>
    public static int JumpIndex(ulong pc) => (int)((pc ^ pc >> 12) & ((1 << JumpCacheBits) - 1));
}
