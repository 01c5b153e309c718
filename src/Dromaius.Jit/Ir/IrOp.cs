namespace Dromaius.Jit.Ir;

/// <summary>Operand width of an integer operation or a memory access.</summary>
public enum W : byte
{
    B = 0,
    W = 1,
    D = 2,
    Q = 3,

    /// <summary>128-bit vector.</summary>
    X = 4,

    /// <summary>256-bit vector.</summary>
    Y = 5,

    /// <summary>80-bit floating point.</summary>
    T = 6,
}

/// <summary>Conditions over two integers at the operation's width. <c>Test*</c> look at <c>a &amp; b</c>.</summary>
public enum Cond : byte
{
    Eq, Ne, ULt, UGe, ULe, UGt, SLt, SGe, SLe, SGt, TestEq, TestNe,
}

/// <summary>What a value can hold.</summary>
public enum ValType : byte
{
    /// <summary>A 64-bit integer container; operations say how much of it they use.</summary>
    Int,

    /// <summary>A vector of up to 256 bits (scalar floating point lives in its low lanes).</summary>
    Vec,
}

/// <summary>
/// The operations of the intermediate representation.
/// <para>Integer values are 64-bit containers. An operation of width D or Q reads the low 32 or 64 bits of its inputs and
/// writes a result that is zero-extended to 64 bits. Widths B and W are for comparisons, extensions and memory.</para>
/// </summary>
public enum IrOp : byte
{
    Nop,

    // Integer, D or Q.
    Mov, Add, Sub, And, Or, Xor, AndNot, Shl, Shr, Sar, Rol, Ror, Mul, MulHiU, MulHiS, Neg, Not, Bswap, Clz, Ctz, Popcnt,
    Pdep, Pext,

    /// <summary>A + (B &lt;&lt; Imm), Imm up to 3.</summary>
    AddScaled,

    /// <summary>A + B + C and A - B - C, where bit 0 of C counts; D or Q.</summary>
    AddCarry, SubBorrow,

    /// <summary>1 if that sum or difference carries out of the width, else 0. Before the operation above on the same operands it costs little.</summary>
    CarryOf, BorrowOf,

    /// <summary>Low W bits (B, W or D) zero- or sign-extended to 64 bits.</summary>
    ZExt, SExt,

    /// <summary>Bits pos..pos+len-1 (Imm = pos | len &lt;&lt; 8), zero-extended.</summary>
    Extract,

    /// <summary>A with bits pos..pos+len-1 replaced by the low bits of B; all 64 bits defined.</summary>
    Deposit,

    /// <summary>1 if the condition holds at width W, else 0.</summary>
    SetCond,

    /// <summary>C if cond(A, B) at width W, else D; moves 64 bits.</summary>
    Select,

    // CPU state by byte offset (Imm), for what is not a global. Loads zero-extend.
    LdState, StState,

    // Guest memory at virtual address A plus Imm (32 bits, signed). Faults are precise: no global may have been changed by this instruction before.
    GuestLd, GuestSt,

    /// <summary>Atomic read-modify-write at A with operand B, result: the old value (kind in Aux).</summary>
    GuestRmw,

    /// <summary>Atomic compare (B) and swap (C) at A; result: the old value, zero-extended.</summary>
    GuestCas,

    // Vectors. Sizes of loads and stores: D, Q, X, Y; loads clear the rest of the register. Extra of VStState: the value has
    // nothing beyond what is stored (set by passes).
    VLdState, VStState, VGuestLd, VGuestSt,

    /// <summary>Low W bits of an integer into a cleared vector; and back.</summary>
    VFromInt, VToInt,
    VMov,

    /// <summary>Vector operation <see cref="VecKind"/> in Aux: Dst = kind(A, B, C, imm8). Of width X it clears the upper half.</summary>
    VecOp,

    /// <summary>Vector operation with an integer result.</summary>
    VecToIntOp,

    /// <summary>Merges the host's sticky FP flags into the guest's control register in the state; and loads the host's from it.
    /// Needed around helpers that look at or change it.</summary>
    FpSync, FpLoad,

    /// <summary>An <see cref="X87Op"/> in Aux on registers in Extra: destination in the low, source in the high four bits.</summary>
    X87,

    /// <summary>An <see cref="X87Access"/> on the register in Extra and guest memory at A plus Imm.</summary>
    X87Mem,

    // Control.
    Label, Br, BrCond, Call,

    /// <summary>
    /// Goes on at a constant address (Imm, slot in Aux) if the condition holds; else nothing changes. Extra may be
    /// <see cref="IrInsn.CheckExit"/>, or <see cref="IrInsn.ToOperand"/>: the address is A.
    /// </summary>
    ExitIf,

    /// <summary>The head of the unit's loop, reached from above and by the one LoopBack to its label (Aux). No temporary crosses it.</summary>
    LoopHead,

    /// <summary>Back to the loop's head (label in Aux), unless an exit is asked for: then leaves, to go on at Imm.</summary>
    LoopBack,

    /// <summary>Marks the first operation of a guest instruction; Imm is its address.</summary>
    InsnStart,

    /// <summary>Goes on at a constant address (Imm); Aux is the slot that is patched when the target is known.</summary>
    ExitDirect,

    /// <summary>Goes on at the address in A, looked up inline under the unit's own mode.</summary>
    ExitIndirect,

    /// <summary>Goes on at the address and mode the CPU state holds (stored by a helper), looked up inline.</summary>
    ExitLookup,

    /// <summary>Leaves generated code; the address is in the CPU state.</summary>
    ExitLoop,
}

/// <summary>Kinds of <see cref="IrOp.GuestRmw"/>.</summary>
public enum RmwKind : byte
{
    Exchange, Add, And, Or, Xor,
}

/// <summary>How a guest access is made.</summary>
/// <param name="MmuIndex">Which of the CPU's TLBs (privilege) translates.</param>
/// <param name="AlignMask">Fault unless (address &amp; mask) == 0; 0 for no check.</param>
public readonly record struct MemOp(byte MmuIndex, byte AlignMask = 0)
{
    internal int Pack() => MmuIndex | AlignMask << 8;

    internal static MemOp Unpack(int v) => new((byte)v, (byte)(v >> 8));
}

/// <summary>A value: a guest-state global, a temporary, or a constant of the unit. The default is <see cref="None"/>.</summary>
public readonly record struct Val
{
    private readonly int _raw;

    public Val(int id) => _raw = id + 1;

    public static Val None => default;

    /// <summary>Zero and up: globals, then temporaries. -1: none. Below: constants.</summary>
    public int Id => _raw - 1;

    public bool IsConst => _raw < 0;

    public bool IsNone => _raw == 0;

    public bool IsValue => _raw > 0;

    internal static Val OfConst(int index) => new(-2 - index);

    internal int ConstIndex => -2 - Id;
}

/// <summary>One operation. Operands that an operation has not are <see cref="Val.None"/>.</summary>
public struct IrInsn
{
    /// <summary>Extra of exits: look at exit requests first.</summary>
    public const byte CheckExit = 1;

    /// <summary>Extra of an ExitIf whose address is an operand.</summary>
    public const byte ToOperand = 2;

    public IrOp Op;
    public W Width;
    public Cond Cond;
    public byte Extra;
    public int Aux;
    public Val Dst;
    public Val A, B, C, D;
    public ulong Imm;

    /// <summary>Guest accesses: set by a pass on those that lie close together; and how far from the group's first.</summary>
    public int Group, Delta;

    /// <summary>Set by the liveness pass: the last operation that needs what this one defines.</summary>
    public int LastNeed;
}
