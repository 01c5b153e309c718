using Dromaius.Jit.Ir;

namespace Dromaius.Jit;

/// <summary>
/// The slow paths of guest memory, shared by all back ends: called when the inline TLB look-up misses, the access crosses a
/// page or is misaligned where it must not be, or the page is a device or watched. Addresses of
/// <c>[UnmanagedCallersOnly]</c> methods of the architecture; no exception may escape them. A fault is queued in the CPU
/// state and signalled by <see cref="EngineState.ExitReason"/>; the value returned is then meaningless.
/// </summary>
/// <remarks>Before a call the state's program counter is that of the instruction, and all globals are stored.</remarks>
public sealed unsafe class GuestMemoryCallbacks
{
    /// <summary>state, address, packed access → value, zero-extended.</summary>
    public required delegate* unmanaged<void*, ulong, ulong, ulong> Load { get; init; }

    /// <summary>state, address, value, packed access.</summary>
    public required delegate* unmanaged<void*, ulong, ulong, ulong, void> Store { get; init; }

    /// <summary>state, address, operand, packed access with <see cref="RmwKind"/> → old value, zero-extended.</summary>
    public required delegate* unmanaged<void*, ulong, ulong, ulong, ulong> Rmw { get; init; }

    /// <summary>state, address, expected, desired, packed access → old value, zero-extended.</summary>
    public required delegate* unmanaged<void*, ulong, ulong, ulong, ulong, ulong> Cas { get; init; }

    /// <summary>state, address, packed access: 2, 4, 8, 10, 16 or 32 bytes to the start of <see cref="EngineState.Bounce"/>.</summary>
    public required delegate* unmanaged<void*, ulong, ulong, void> VecLoad { get; init; }

    /// <summary>state, address, packed access: 2, 4, 8, 10, 16 or 32 bytes from the start of <see cref="EngineState.Bounce"/>.</summary>
    public required delegate* unmanaged<void*, ulong, ulong, void> VecStore { get; init; }
}

/// <summary>An access as one argument: size in bits 0 to 7, TLB index 8 to 15, alignment mask 16 to 23, RMW kind 24 to 31.</summary>
public readonly record struct PackedAccess(ulong Bits)
{
    /// <summary>Log2 of the size in bytes.</summary>
    public W Width => (W)(byte)Bits;

    /// <summary>Size in bytes.</summary>
    public int Size => Width == W.T ? 10 : 1 << (int)Width;
    public int MmuIndex => (byte)(Bits >> 8);
    public ulong AlignMask => (byte)(Bits >> 16);
    public RmwKind Kind => (RmwKind)(byte)(Bits >> 24);

    public static PackedAccess Of(W width, MemOp op, RmwKind kind = 0) =>
        new((ulong)width | (ulong)op.MmuIndex << 8 | (ulong)op.AlignMask << 16 | (ulong)kind << 24);

    /// <summary>The access that a memory operation of the IR makes.</summary>
    public static PackedAccess Of(in IrInsn insn) =>
        Of(insn.Width, MemOp.Unpack(insn.Aux), insn.Op == IrOp.GuestRmw ? (RmwKind)insn.Extra : 0);
}
