using System.Runtime.InteropServices;
using Dromaius.Jit;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>A segment register with its hidden part, limits and bases expanded.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct Segment
{
    public ulong Base;

    /// <summary>Last valid byte offset (granularity applied).</summary>
    public uint Limit;

    /// <summary>Descriptor attribute word, as in bits 8 to 23 of the descriptor's second doubleword shifted right by 8: type and S
    /// (4:0), DPL (6:5), P (7), AVL (12), L (13), D/B (14), G (15).</summary>
    public ushort Attributes;
    public ushort Selector;

    /// <summary>Non-zero when the segment was loaded with a null selector (unusable).</summary>
    public uint Unusable;
    public uint Pad;

    public readonly int Type => Attributes & 0xF;
    public readonly bool IsCodeOrData => (Attributes & 0x10) != 0;
    public readonly bool IsCode => (Attributes & 0x18) == 0x18;
    public readonly int Dpl => (Attributes >> 5) & 3;
    public readonly bool Present => (Attributes & 0x80) != 0;
    public readonly bool Long => (Attributes & 0x2000) != 0;
    public readonly bool Big => (Attributes & 0x4000) != 0;
}

/// <summary>Segment register numbers as instruction encodings give them.</summary>
public enum Seg
{
    Es, Cs, Ss, Ds, Fs, Gs,
}

[StructLayout(LayoutKind.Sequential)]
public struct DescriptorTable
{
    public ulong Base;
    public ulong Limit;
}

/// <summary>
/// What translations are specialised on besides the address. Kept in <see cref="X86State.Mode"/> by
/// <c>X86Cpu.UpdateMode</c> after every change of CR0, CR4, EFER, XCR0, EFLAGS, CS, SS, DS or ES.
/// </summary>
[Flags]
public enum Mode : uint
{
    Cpl = 3,
    Code32 = 4,
    Code64 = 8,

    /// <summary>SS.B is set (32-bit stack pointer).</summary>
    Stack32 = 0x10,
    Protected = 0x20,
    V86 = 0x40,

    /// <summary>DS, ES and SS are writable, expand-up, base 0, limit 4 GiB (always set in 64-bit code): no checks needed.</summary>
    FlatData = 0x80,

    /// <summary>CS has base 0 and limit 4 GiB.</summary>
    FlatCode = 0x100,
    Smm = 0x200,

    /// <summary>EFLAGS.TF: blocks are one instruction long and end in a single-step trap.</summary>
    Trap = 0x400,

    /// <summary>The next instruction is in the shadow of STI or a load of SS: the block is one instruction long and then the
    /// shadow is cleared.</summary>
    InterruptShadow = 0x800,
    Cr0Em = 0x1000,
    Cr0Ts = 0x2000,
    Cr0Mp = 0x4000,
    OsFxsr = 0x8000,

    /// <summary>CR4.OSXSAVE and XCR0 has SSE and AVX: VEX instructions are usable.</summary>
    Avx = 0x10000,

    /// <summary>CR0.AM, EFLAGS.AC and CPL 3: data accesses check alignment.</summary>
    AlignCheck = 0x20000,

    /// <summary>CPL &lt;= IOPL (protected mode, not V86): IN, OUT, CLI and STI need no further check.</summary>
    IoAllowed = 0x40000,

    /// <summary>CR4.OSXSAVE (XGETBV, XSAVE are usable).</summary>
    OsXsave = 0x80000,

    /// <summary>DR7 has an enabled instruction breakpoint: each instruction looks.</summary>
    CodeBreakpoints = 0x100000,

    /// <summary>IA32_EFER.LMA: in long mode (64-bit or compatibility).</summary>
    LongMode = 0x200000,

    /// <summary>MXCSR unmasks an exception: SSE and AVX arithmetic goes through helpers that raise #XM precisely.</summary>
    SimdExceptions = 0x400000,

    /// <summary>DR7 has an enabled data or I/O breakpoint: blocks are one instruction long and end in the step-trap helper, as
    /// under <see cref="Trap"/>.</summary>
    DataBreakpoints = 0x800000,

    /// <summary>CPL below 3 and SMAP enforced.</summary>
    Smap = 0x1000000,

    /// <summary>
    /// What is known of the x87 stack: eight times the number of full registers, which begin at TOP and follow each other,
    /// plus TOP; or <see cref="FpuAnything"/> or <see cref="FpuIgnored"/>. The first only while no exception is unmasked or
    /// pending.
    /// </summary>
    Fpu = 0xFE000000,

    /// <summary>Tags in disorder, or exceptions unmasked: x87 instructions look at the state.</summary>
    FpuAnything = 0xFC000000,

    /// <summary>
    /// Not looked at: in a kernel, below CPL 3 with paging, x87 instructions are few, and code must not be translated anew for
    /// each stack that an interrupted program had. The first instruction that computes ends this until the mode is derived anew.
    /// </summary>
    FpuIgnored = 0xFE000000,
}

internal static class ModeExtensions
{
    /// <summary>Index of the TLB for data: 0 supervisor, 1 user, 2 supervisor with SMAP enforced.</summary>
    public static int MmuIndex(this Mode mode) => (mode & Mode.Smap) != 0 ? 2 : (mode & Mode.Cpl) == Mode.Cpl ? 1 : 0;
}

/// <summary>
/// How the arithmetic flags are held: <see cref="X86State.CcDst"/> is the result, <see cref="X86State.CcSrc"/> an operand.
/// For all but <see cref="Eflags"/> the value is family + log2 of the operand size in bytes (0 to 3); results and operands
/// are significant in their low bits only.
/// </summary>
public enum CcOp : uint
{
    /// <summary>CcSrc holds CF, PF, AF, ZF, SF and OF in their EFLAGS positions.</summary>
    Eflags = 0,

    /// <summary>CcSrc: second addend.</summary>
    Add = 4,

    /// <summary>CcSrc: subtrahend; the minuend is CcDst + CcSrc. Also NEG (minuend 0).</summary>
    Sub = 8,

    /// <summary>CF = OF = AF = 0.</summary>
    Logic = 12,

    /// <summary>CcSrc: CF (0 or 1), kept from before.</summary>
    Inc = 16,
    Dec = 20,

    /// <summary>CcSrc: the operand shifted left by count-1 (CF is its top bit; OF is CF xor the result's top bit).</summary>
    Shl = 24,

    /// <summary>CcSrc: the operand shifted right by count-1 (CF is bit 0; OF is the top bit of CcSrc xor that of the result).</summary>
    Sar = 28,

    /// <summary>CF = OF = (CcSrc != 0); SF, ZF and PF from CcDst.</summary>
    Mul = 32,

    /// <summary>BLSI, BLSR, BLSMSK, BZHI: CF = (CcSrc != 0), OF = 0; SF and ZF from CcDst.</summary>
    Bmi = 36,

    /// <summary>LZCNT, TZCNT: CF = (CcSrc == 0), ZF = (CcDst == 0); others 0.</summary>
    Count = 40,

    /// <summary>POPCNT: ZF = (CcDst == 0); others 0.</summary>
    Popcnt = 44,

    // From here on CcDst is not the result.

    /// <summary>CcDst: minuend; CcSrc: subtrahend. CMP, whose result nobody else needs.</summary>
    Cmp = 48,

    /// <summary>
    /// CcSrc2: the result of an INC or DEC. CF is that of the record before, in CcDst and CcSrc, whose <see cref="CcOp"/> is in the
    /// upper half of the field.
    /// </summary>
    IncOver = 52,
    DecOver = 56,

    // From here on CcSrc2 belongs to the record.

    /// <summary>CcDst: result; CcSrc: second addend; CcSrc2: carry in (0 or 1).</summary>
    Adc = 60,

    /// <summary>CcDst: result; CcSrc: subtrahend; CcSrc2: borrow in (0 or 1).</summary>
    Sbb = 64,

    /// <summary>
    /// CcSrc2: the result of a ROL or ROR, from which CF and OF follow. The others are those of the record before, as for
    /// <see cref="IncOver"/>.
    /// </summary>
    RolOver = 68,
    RorOver = 72,

    // From here on CF is CcDst and OF is CcSrc2, each 0 or 1: long additions, and what counts their words.

    /// <summary>CcSrc: the others in their EFLAGS positions.</summary>
    Carries = 76,

    /// <summary>CcSrc: the result, from which the others follow.</summary>
    CarriesInc = 80,
    CarriesDec = 84,
}

/// <summary>The state of one x86 processor, in native memory. Generated code reaches it through one base register.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct X86State
{
    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.</summary>
    public fixed ulong Gpr[16];
    public ulong Rip;
    public ulong CcDst, CcSrc, CcSrc2;

    /// <summary>A <see cref="CcOp"/>; above bit 32 a second one where the first says so.</summary>
    public ulong CcOp;

    /// <summary>EFLAGS without CF, PF, AF, ZF, SF and OF (those follow from the Cc fields); bit 1 set.</summary>
    public ulong Eflags;

    /// <summary>A <see cref="X86.Mode"/>.</summary>
    public uint Mode;

    /// <summary>Read together with <see cref="Mode"/> when code is looked up; changes when cached look-ups become stale.</summary>
    public uint JumpGeneration;

    /// <summary>1 in the shadow of STI, 2 of MOV SS / POP SS; 0 outside.</summary>
    public uint Shadow;

    /// <summary>Base of CS, as the third key of translations.</summary>
    public ulong CodeBase;
    public Segment Es, Cs, Ss, Ds, Fs, Gs, Ldt, Tr;
    public DescriptorTable Gdt, Idt;
    public ulong Cr0, Cr2, Cr3, Cr4, Cr8;
    public ulong Xcr0, Efer, Star, Lstar, Cstar, Fmask, KernelGsBase;
    public ulong SysenterCs, SysenterEsp, SysenterEip;
    public ulong Pat, TscAux, TscOffset, MiscEnable, FeatureControl, SmBase, Pkru, Xss;

    /// <summary>DR0 to DR3, (4 and 5 unused), DR6, DR7.</summary>
    public fixed ulong Dr[8];

    // A queued exception (ExitReason.Exception).
    public uint ExceptionVector;
    public uint ExceptionError;

    /// <summary>Bit 0: has an error code. Bit 1: software interrupt (INT n, INT3, INTO). Bit 2: INT1.</summary>
    public uint ExceptionFlags;

    /// <summary>RIP after the instruction, for software interrupts and traps.</summary>
    public ulong ExceptionNextRip;

    /// <summary>-1, or the vector being delivered (for double faults).</summary>
    public int Delivering;
    public uint Halted;
    public uint InSmm;
    public uint NmiBlocked;

    // x87 and MMX: physical registers R0 to R7 as 16-byte slots, the low 10 bytes used (an MMX register is the low 8).
    public fixed ulong FpRegs[16];

    /// <summary>Top of stack, 0 to 7; kept apart from <see cref="FpStatus"/>.</summary>
    public uint FpTop;
    public ushort FpControl;

    /// <summary>Status word without TOP.</summary>
    public ushort FpStatus;

    /// <summary>One bit a physical register, set when empty.</summary>
    public byte FpEmpty;
    public ushort FpOpcode;
    public ushort FpCodeSelector, FpDataSelector;
    public ulong FpIp, FpDp;
    public uint Mxcsr;

    /// <summary>YMM0 to YMM15, 32 bytes each; 32-byte aligned when the state is.</summary>
    public fixed ulong Ymm[64];

    /// <summary>Operands and result of vector instructions that run in a helper.</summary>
    public VecArgs Vector;
    public EngineState Engine;

    /// <summary>Pending requests (<see cref="Core.Cpus.CpuRequest"/>), deliverable or not. Changed by any thread.</summary>
    public int Requests;
}
