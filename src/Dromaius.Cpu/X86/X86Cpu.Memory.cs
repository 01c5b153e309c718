using System.Runtime.InteropServices;
using Dromaius.Core.Memory;
using Dromaius.Cpu.Softmmu;
using Dromaius.Jit;

namespace Dromaius.Cpu.X86;

/// <content>Memory as the processor sees it: loads and stores by virtual address, for helpers and generated code.</content>
public sealed unsafe partial class X86Cpu : ITlbOwner
{
    /// <summary>What the slow path reports for an address that is not canonical: #GP instead of a page fault.</summary>
    private const uint NotCanonical = uint.MaxValue;

    /// <summary>Vector of a queued "exception" that only asks for the instruction to run alone (it writes its own code).</summary>
    private const int RunAloneVector = 0x100;

    private readonly SoftTlb _tlb;
    private Engine? _engine;
    private bool _mayWriteOwnCode;

    /// <summary>The view of memory in system management mode, when it differs (SMRAM).</summary>
    public AddressSpace? SmmMemory { get; set; }

    AddressSpace ITlbOwner.PhysicalSpace => State->InSmm != 0 && SmmMemory is { } smm ? smm : Memory;

    ulong ITlbOwner.PhysicalMask => A20Enabled ? ulong.MaxValue : ~(1UL << 20);

    ulong ITlbOwner.AddressMask => (State->Mode & (uint)Mode.LongMode) != 0 ? ulong.MaxValue : uint.MaxValue;

    bool ITlbOwner.TryWalk(ulong address, AccessKind kind, int mmuIndex, out PageWalk walk, out uint fault)
    {
        if ((State->Mode & (uint)Mode.LongMode) != 0 && (ulong)((long)address << 16 >> 16) != address)
        {
            walk = default;
            fault = NotCanonical;
            return false;
        }

        return TryWalk(address, kind, mmuIndex, out walk, out fault);
    }

    bool ITlbOwner.BeforeCodeWrite(RamBlock ram, ulong offset, int length)
    {
        if (_engine is not { } engine || !engine.MayHit(ram, offset, length))
            return true;
        if (!_mayWriteOwnCode && engine.WouldHit(ram, offset, length, State->Rip, State->CodeBase))
        {
            State->Engine.ExitReason = ExitReason.SingleInsn;
            return false;
        }

        engine.InvalidateRange(ram, offset, (ulong)length);
        return true;
    }

    private int MmuIndex(Privilege privilege)
    {
        var mode = (Mode)State->Mode;
        if (privilege == Privilege.Supervisor)
            return (State->Cr4 & 1 << 21) != 0 ? 2 : 0; // implicit accesses obey SMAP whatever EFLAGS.AC says
        return mode.MmuIndex();
    }

    /// <summary>Loads 1, 2, 4 or 8 bytes. Throws <see cref="GuestFaultException"/>.</summary>
    public ulong Load(ulong linear, int size, Privilege privilege = Privilege.Current)
    {
        if (!_tlb.TryLoad(linear, size, MmuIndex(privilege), out var value))
            throw MemoryFault();
        return value;
    }

    /// <summary>Stores 1, 2, 4 or 8 bytes. Throws <see cref="GuestFaultException"/>.</summary>
    public void Store(ulong linear, int size, ulong value, Privilege privilege = Privilege.Current)
    {
        if (!_tlb.TryStore(linear, size, value, MmuIndex(privilege)))
            throw MemoryFault();
    }

    /// <summary>Checks that an access would succeed, before anything is changed. Throws <see cref="GuestFaultException"/>.</summary>
    public void Probe(ulong linear, int size, AccessKind kind, Privilege privilege = Privilege.Current)
    {
        if (!_tlb.TryProbe(linear, size, kind == AccessKind.Write, MmuIndex(privilege)))
            throw MemoryFault();
    }

    /// <summary>
    /// Host memory behind an address, contiguous to the end of its page. False where element-wise access must be used:
    /// devices, faults, watched pages.
    /// </summary>
    public bool TryHostRange(ulong linear, AccessKind kind, out byte* host, out int contiguousBytes) =>
        _tlb.TryHost(linear, kind == AccessKind.Write, MmuIndex(Privilege.Current), out host, out contiguousBytes);

    /// <summary>The exception for the access that the TLB just refused.</summary>
    private GuestFaultException MemoryFault()
    {
        if (State->Engine.ExitReason == ExitReason.SingleInsn)
        {
            State->Engine.ExitReason = ExitReason.None;
            return new GuestFaultException(RunAloneVector, 0, false);
        }

        if (_tlb.Fault == NotCanonical)
            return GuestFaultException.GeneralProtection();
        State->Cr2 = _tlb.FaultAddress;
        return GuestFaultException.PageFault(_tlb.Fault);
    }

    /// <summary>Queues the exception for an access from generated code.</summary>
    private void QueueMemoryFault()
    {
        if (State->Engine.ExitReason == ExitReason.SingleInsn)
            return;
        if (_tlb.Fault == NotCanonical)
        {
            QueueException(13, 0, true);
            State->ExceptionFlags |= MaybeStackFault;
            return;
        }

        State->Cr2 = _tlb.FaultAddress;
        QueueException(14, _tlb.Fault, true);
    }

    /// <summary>Forgets translations of addresses; those of global pages only when asked.</summary>
    public void FlushTlb(bool includeGlobal)
    {
        _tlb.Flush(includeGlobal);
        State->Engine.GroupsEnd = EngineState.NoPage;
        ForgetJumps(User);
        if (includeGlobal || _jumpsLocal)
            ForgetJumps(Supervisor);
    }

    public void FlushPage(ulong linear)
    {
        _tlb.FlushPage(linear);
        State->Engine.GroupsEnd = EngineState.NoPage;
        ForgetJumpsOf(linear);
    }

    /// <summary>Makes generated code leave at its next check.</summary>
    public void RequestExit() => Volatile.Write(ref State->Engine.ExitRequest, 1);

    // Called by generated code when the inline look-up does not do.

    internal static GuestMemoryCallbacks MemoryCallbacks { get; } = new()
    {
        Load = &LoadSlow,
        Store = &StoreSlow,
        Rmw = &RmwSlow,
        Cas = &CasSlow,
        VecLoad = &VecLoadSlow,
        VecStore = &VecStoreSlow,
    };

    private bool Misaligned(ulong address, PackedAccess access)
    {
        if ((address & access.AlignMask) == 0)
            return false;
        QueueException(17, 0, true);
        return true;
    }

    [UnmanagedCallersOnly]
    private static ulong LoadSlow(void* state, ulong address, ulong bits)
    {
        var cpu = Of(state);
        var access = new PackedAccess(bits);
        if (cpu.Misaligned(address, access))
            return 0;
        if (!cpu._tlb.TryLoad(address, access.Size, access.MmuIndex, out var value))
            cpu.QueueMemoryFault();
        return value;
    }

    [UnmanagedCallersOnly]
    private static void StoreSlow(void* state, ulong address, ulong value, ulong bits)
    {
        var cpu = Of(state);
        var access = new PackedAccess(bits);
        if (cpu.Misaligned(address, access))
            return;
        if (!cpu._tlb.TryStore(address, access.Size, value, access.MmuIndex))
            cpu.QueueMemoryFault();
    }

    private static ulong NextExchange(ulong old, ulong a, ulong b) => a;

    private static ulong NextAdd(ulong old, ulong a, ulong b) => old + a;

    private static ulong NextAnd(ulong old, ulong a, ulong b) => old & a;

    private static ulong NextOr(ulong old, ulong a, ulong b) => old | a;

    private static ulong NextXor(ulong old, ulong a, ulong b) => old ^ a;

    private static ulong NextCas(ulong old, ulong expected, ulong desired) => old == expected ? desired : old;

    [UnmanagedCallersOnly]
    private static ulong RmwSlow(void* state, ulong address, ulong operand, ulong bits)
    {
        var access = new PackedAccess(bits);
        delegate*<ulong, ulong, ulong, ulong> next = access.Kind switch
        {
            Jit.Ir.RmwKind.Exchange => &NextExchange,
            Jit.Ir.RmwKind.Add => &NextAdd,
            Jit.Ir.RmwKind.And => &NextAnd,
            Jit.Ir.RmwKind.Or => &NextOr,
            _ => &NextXor,
        };
        return Atomic(state, address, access, next, operand, 0);
    }

    [UnmanagedCallersOnly]
    private static ulong CasSlow(void* state, ulong address, ulong expected, ulong desired, ulong bits)
    {
        var access = new PackedAccess(bits);
        if (access.Size < 8)
            expected &= (1UL << (8 * access.Size)) - 1;
        return Atomic(state, address, access, &NextCas, expected, desired);
    }

    private static ulong Atomic(void* state, ulong address, PackedAccess access,
        delegate*<ulong, ulong, ulong, ulong> next, ulong a, ulong b)
    {
        var cpu = Of(state);
        if (cpu.Misaligned(address, access))
            return 0;
        if (!cpu._tlb.TryAtomic(address, access.Size, access.MmuIndex, next, a, b, out var old))
            cpu.QueueMemoryFault();
        return old;
    }

    [UnmanagedCallersOnly]
    private static void VecLoadSlow(void* state, ulong address, ulong bits)
    {
        var cpu = Of(state);
        var access = new PackedAccess(bits);
        if (cpu.Misaligned(address, access))
            return;
        if (!cpu._tlb.TryLoadVector(address, access.Size, access.MmuIndex, cpu.State->Engine.Bounce))
            cpu.QueueMemoryFault();
    }

    [UnmanagedCallersOnly]
    private static void VecStoreSlow(void* state, ulong address, ulong bits)
    {
        var cpu = Of(state);
        var access = new PackedAccess(bits);
        if (cpu.Misaligned(address, access))
            return;
        if (!cpu._tlb.TryStoreVector(address, access.Size, access.MmuIndex, cpu.State->Engine.Bounce))
            cpu.QueueMemoryFault();
    }
}
