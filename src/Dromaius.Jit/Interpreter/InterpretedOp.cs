using System.Runtime.InteropServices;

namespace Dromaius.Jit.Interpreter;

/// <summary>How a unit ended; the address to go on at is in the CPU state.</summary>
public enum UnitExit
{
    /// <summary>Through linkable slot 0.</summary>
    Direct0,

    /// <summary>Through linkable slot 1.</summary>
    Direct1,

    /// <summary>At a constant address that is looked up each time.</summary>
    DirectNoSlot,

    /// <summary>At a computed address, under the unit's own mode.</summary>
    Indirect,

    /// <summary>At the address and mode that the CPU state holds.</summary>
    Lookup,

    /// <summary>Back to the vCPU loop: a fault, a request, or an instruction that asks for it.</summary>
    Loop,
}

/// <summary>What one decoded operation does. Common integer operations have a code a width; the others go through IrFold.</summary>
internal enum Code : ushort
{
    Mov64, Mov32, Add64, Add32, Sub64, Sub32, And64, And32, Or64, Or32, Xor64, Xor32, Shl64, Shl32, Shr64, Shr32, Sar64,
    Sar32, ZExt8, ZExt16, SExt8, SExt16, SExt32, Carry, Fold, SetCond, Select,
    LdState8, LdState16, LdState32, LdState64, StState8, StState16, StState32, StState64,
    GuestLd, GuestSt, GuestRmw, GuestCas,
    VLdState, VStState, VGuestLd, VGuestSt, VFromInt, VToInt, VMov, VecOp, VecToIntOp,
    Br, BrCond, ExitIf, ExitIfCheck, ExitIfTo, LoopBack, Call, CallMayExit,
    ExitDirect, ExitDirectCheck, ExitIndirect, ExitLookup, ExitLoop,
}

/// <summary>
/// A decoded operation. An operand is a byte offset shifted left by two with the base it counts from in the low bits:
/// 0 the CPU state, 1 the temporaries, 2 the unit's constants.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct InterpretedOp
{
    public Code Code;

    /// <summary>A <c>Cond</c>, or the <c>IrOp</c> of a Fold or Carry.</summary>
    public byte Sub;

    /// <summary>Conditions: left shift that brings the operands to the top of 64 bits. Others: a <c>W</c>.</summary>
    public byte Shape;

    /// <summary>State offset, distance of an access from its address, branch target (index of an operation), vector kind or the exit's kind.</summary>
    public int Aux;
    public int Dst, A, B, C, D;

    /// <summary>An immediate; for memory accesses, the address of their guest instruction.</summary>
    public ulong Imm;

    /// <summary>Helper or packed access.</summary>
    public void* Ptr;
}
