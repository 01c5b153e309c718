namespace Dromaius.Jit.Ir;

/// <summary>
/// Operations of <see cref="IrOp.X87"/> on the 80-bit registers in the CPU state, named by their place there (not by the top of a
/// stack). They compute under the precision and rounding of the host's control word, which is the guest's, with all exceptions
/// masked; sticky flags and conditions reach the guest's status word before anybody can look. Only the native back end has them.
/// </summary>
public enum X87Op : byte
{
    /// <summary>dst = dst op src; Imm: an <see cref="X87Arith"/>, plus <see cref="X87Layout.Pops"/> when src is empty afterwards.</summary>
    Arithmetic,

    /// <summary>dst = op dst; Imm: second byte of the D9 instruction.</summary>
    Unary,

    /// <summary>dst = constant; Imm: second byte of the D9 instruction.</summary>
    Constant,
    Copy,

    /// <summary>dst = src, src is empty afterwards.</summary>
    Move,
    Exchange,

    /// <summary>dst is empty afterwards.</summary>
    Free,

    /// <summary>dst = src if A is not 0.</summary>
    MoveIf,

    /// <summary>Conditions of dst against src; Imm: opcode and second byte for ST(0).</summary>
    Compare,

    /// <summary>Conditions of dst alone; Imm: second byte of the D9 instruction.</summary>
    Examine,

    /// <summary>As <see cref="Compare"/>, giving ZF, PF and CF in their EFLAGS positions.</summary>
    CompareFlags,

    /// <summary>Gives the status word without TOP.</summary>
    Status,

    /// <summary>A is the control word from now on.</summary>
    LoadControl,

    /// <summary>Behind a helper that changed control or status word in the state.</summary>
    Reload,
}

/// <summary>Two-operand operations as the x87 encodes them.</summary>
public enum X87Arith : byte
{
    Add = 0, Multiply = 1, Subtract = 4, SubtractReverse = 5, Divide = 6, DivideReverse = 7,
}

/// <summary>An x87 instruction with a memory operand: its first byte and the digit in its ModRM byte.</summary>
public readonly record struct X87Access(byte Opcode, byte Digit)
{
    /// <summary>ST(0) = ST(0) op memory, or a comparison.</summary>
    public bool IsArithmetic => (Opcode & 1) == 0;

    /// <summary>Comparison without a pop.</summary>
    public bool IsCompare => IsArithmetic && Digit == 2;

    public bool IsLoad => !IsArithmetic && Digit is 0 or 5;

    public bool IsStore => !IsArithmetic && !IsLoad;

    /// <summary>A store that empties the register.</summary>
    public bool Pops => IsStore && Digit != 2;

    /// <summary>A move of all 80 bits: raises nothing.</summary>
    public bool IsExtended => Opcode == 0xDB && Digit is 5 or 7;

    internal static X87Access Of(in IrInsn insn) => new((byte)(insn.Aux >> 16), (byte)(insn.Aux >> 24));

    internal int Pack() => Opcode << 16 | Digit << 24;
}

/// <summary>Where the CPU state holds the x87.</summary>
/// <param name="Registers">Offset of eight slots of 16 bytes.</param>
/// <param name="Control">Offset of the 16-bit control word.</param>
/// <param name="Status">Offset of the 16-bit status word without TOP.</param>
public sealed record X87Layout(int Registers, int Control, int Status)
{
    public const int Count = 8, SlotSize = 16;

    /// <summary>Bits of the control and status words: exception flags and masks; conditions.</summary>
    public const int Exceptions = 0x3F, C1 = 0x200, C0C2C3 = 0x4500;

    /// <summary>With an <see cref="X87Arith"/>: the source is empty afterwards.</summary>
    public const int Pops = 0x100;
}
