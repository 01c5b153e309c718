using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>
/// The context in which one guest instruction becomes IR: the instruction, its place and mode, and what all families of instructions
/// share. Families live in the other parts of this class; x87 and vector instructions build on its public members.
/// </summary>
/// <remarks>
/// Order within an instruction: everything that can fault first (memory accesses, helpers that may exit), then changes of globals.
/// Memory operands of segments that need checks have been checked before the family is called, so that no label falls into an
/// instruction unless the family places one itself (through <see cref="PlaceLabel"/>).
/// </remarks>
public sealed partial class X86Emitter
{
    private Instruction[] _instructions = [];
    private int _index, _length, _baseAdjust;

    public X86Emitter(X86Model model) => Model = model;

    /// <summary>Starts a block whose instructions have been decoded (their IP is the offset in CS).</summary>
    internal void Begin(IrBuilder builder, Mode mode, ulong rip, ulong codeBase, Instruction[] instructions)
    {
        B = builder;
        Mode = mode;
        _blockPage = (codeBase + rip) >> PageBits;
        EndsInNextPage = null;
        _codeBase = codeBase;
        _skipStepTrap = false;
        _turn = Turn.None;
        _wentBack = false;
        _exits = -1;
        _instructions = instructions;
        _coldCount = 0;
        Ended = false;
        LikelyFlags = CcOp.Eflags;
        BeginFpu();
        ForgetFlags();
    }

    /// <summary>Which successors of the block may look at the arithmetic flags.</summary>
    internal void SetLiveExits(bool taken, bool next)
    {
        _takenLive = taken;
        _nextLive = next;
    }

    /// <summary>How many instructions the block has.</summary>
    internal void SetLength(int count) => _length = count;

    /// <summary>Makes an instruction the current one.</summary>
    internal void SelectInstruction(int index, FlagUse flags = FlagUse.Live)
    {
        _index = index;
        _flagsDead = flags == FlagUse.Dead;
        _deferFlags = flags >= FlagUse.Deferred;
        _registersStay = flags == FlagUse.DeferredInPlace;
        Rip = Insn.IP;
        NextRip = TruncateRip(Insn.NextIP);
        _offset = _linear = Val.None;
        // POP to memory addresses its operand with the stack pointer already moved.
        _baseAdjust = Insn.Mnemonic == Mnemonic.Pop && Insn.Op0Kind == OpKind.Memory
            && Insn.MemoryBase is Register.RSP or Register.ESP ? Insn.StackPointerIncrement : 0;
    }

    /// <summary>An instruction pointer as the mode holds it.</summary>
    public ulong TruncateRip(ulong rip) => Is64 ? rip : (uint)rip;

    public X86Model Model { get; }
    public IrBuilder B { get; private set; } = null!;

    /// <summary>What the block is specialised on.</summary>
    public Mode Mode { get; private set; }

    public ref readonly Instruction Insn => ref _instructions[_index];

    /// <summary>Offset of the instruction in CS.</summary>
    public ulong Rip { get; private set; }

    /// <summary>Offset of the instruction after it, as the mode truncates it.</summary>
    public ulong NextRip { get; private set; }

    /// <summary>Set when the block cannot go on after this instruction; the exits have been emitted.</summary>
    public bool Ended { get; private set; }

    public bool Is64 => (Mode & Mode.Code64) != 0;

    /// <summary>32-bit code (not 64-bit).</summary>
    public bool Is32 => (Mode & Mode.Code32) != 0;

    public bool IsFlatData => (Mode & Mode.FlatData) != 0;

    public int Cpl => (int)(Mode & Mode.Cpl);

    /// <summary>Protected mode and not virtual-8086.</summary>
    public bool IsProtected => (Mode & (Mode.Protected | Mode.V86)) == Mode.Protected;

    /// <summary>Real or virtual-8086 mode.</summary>
    public bool IsRealLike => !IsProtected;

    public Val Const(ulong value) => B.Const(value);

    public Val Const(long value) => B.Const(value);

    public Val Const(int value) => B.Const(value);

    /// <summary>The operand width of a size in bytes.</summary>
    public static W WidthOf(int bytes) => bytes switch
    {
        1 => W.B,
        2 => W.W,
        4 => W.D,
        8 => W.Q,
        16 => W.X,
        32 => W.Y,
        _ => throw new ArgumentOutOfRangeException(nameof(bytes)),
    };

    /// <summary>The width operations are done at: B and W are computed in D.</summary>
    public static W Wide(W w) => w == W.Q ? W.Q : W.D;

    public static int Bits(W w) => 8 << (int)w;

    // Registers.

    /// <summary>The global of general register n (0 to 15).</summary>
    public static Val Gpr(int number) => new(number);

    public static Val Rax => new(X86Layout.Rax);
    public static Val Rcx => new(X86Layout.Rcx);
    public static Val Rdx => new(X86Layout.Rdx);
    public static Val Rbx => new(X86Layout.Rbx);
    public static Val Rsp => new(X86Layout.Rsp);
    public static Val Rbp => new(X86Layout.Rbp);
    public static Val Rsi => new(X86Layout.Rsi);
    public static Val Rdi => new(X86Layout.Rdi);

    /// <summary>Number (0 to 15) of a general register of any size; AH to BH give 0 to 3.</summary>
    public static int GprNumber(Register register)
    {
        if (register >= Register.RAX && register <= Register.R15)
            return register - Register.RAX;
        if (register >= Register.EAX && register <= Register.R15D)
            return register - Register.EAX;
        if (register >= Register.AX && register <= Register.R15W)
            return register - Register.AX;
        if (register >= Register.SPL && register <= Register.R15L)
            return register - Register.SPL + 4;
        if (register >= Register.AH && register <= Register.BH)
            return register - Register.AH;
        if (register >= Register.AL && register <= Register.BL)
            return register - Register.AL;
        throw new ArgumentOutOfRangeException(nameof(register));
    }

    public static bool IsHighByte(Register register) => register >= Register.AH && register <= Register.BH;

    public static W WidthOf(Register register)
    {
        if (register >= Register.RAX && register <= Register.R15)
            return W.Q;
        if (register >= Register.EAX && register <= Register.R15D)
            return W.D;
        return register >= Register.AX && register <= Register.R15W ? W.W : W.B;
    }

    /// <summary>A general register's value. Bits above the register's width are unspecified.</summary>
    public Val ReadGpr(Register register) =>
        IsHighByte(register) ? B.Extract(Gpr(GprNumber(register)), 8, 8) : Gpr(GprNumber(register));

    /// <summary>Writes a general register of any size; bits of the value above its width are ignored.</summary>
    public void WriteGpr(Register register, Val value)
    {
        if (IsHighByte(register))
        {
            var number = GprNumber(register);
            GprChanges(number);
            B.Set(Gpr(number), B.Deposit(Gpr(number), value, 8, 8));
            return;
        }

        WriteGpr(GprNumber(register), WidthOf(register), value);
    }

    /// <summary>Writes the low part of register n as instructions do: 32-bit writes clear the upper half.</summary>
    public void WriteGpr(int number, W w, Val value)
    {
        GprChanges(number);
        B.Set(Gpr(number), w switch
        {
            W.B => B.Deposit(Gpr(number), value, 0, 8),
            W.W => B.Deposit(Gpr(number), value, 0, 16),
            W.D => B.ZExt(W.D, value),
            _ => value,
        });
    }

    /// <summary>Writes a result of a D or Q operation (or a load), which has no stray bits above a D or Q register's width.</summary>
    public void WriteGprClean(Register register, Val value)
    {
        if (WidthOf(register) < W.D)
        {
            WriteGpr(register, value);
            return;
        }

        var number = GprNumber(register);
        GprChanges(number);
        B.Set(Gpr(number), value);
    }

    // Operands of the instruction.

    public OpKind KindOf(int operand) => Insn.GetOpKind(operand);

    public bool IsMemory(int operand) => Insn.GetOpKind(operand) == OpKind.Memory;

    /// <summary>A register, memory or immediate operand. Bits above the width are unspecified for registers, 0 for memory.</summary>
    public Val LoadOperand(int operand, W w)
    {
        switch (Insn.GetOpKind(operand))
        {
            case OpKind.Register:
                return ReadGpr(Insn.GetOpRegister(operand));
            case OpKind.Memory:
                return LoadMemory(w, EffectiveAddress());
            default:
                return B.Const(Insn.GetImmediate(operand));
        }
    }

    /// <summary>Stores to a register or memory operand.</summary>
    public void StoreOperand(int operand, W w, Val value)
    {
        if (Insn.GetOpKind(operand) == OpKind.Memory)
            StoreMemory(w, EffectiveAddress(), value);
        else
            WriteGpr(Insn.GetOpRegister(operand), value);
    }

    // Helpers and faults.

    /// <summary>Calls a helper that looks at the program counter or may leave.</summary>
    public Val CallWithPc(Helper helper, Val a = default, Val b = default, Val c = default, Val d = default)
    {
        B.SetPc(Rip);
        var result = B.Call(helper, a, b, c, d);
        if ((helper.Effects & HelperEffects.Writes) != 0)
            ForgetFlags();
        return result;
    }

    /// <summary>As <see cref="CallWithPc"/> for a helper that leaves the arithmetic flags alone.</summary>
    public Val CallKeepingFlags(Helper helper, Val a = default, Val b = default, Val c = default, Val d = default)
    {
        B.SetPc(Rip);
        var result = B.Call(helper, a, b, c, d);
        if ((helper.Effects & HelperEffects.Writes) != 0)
            ForgetFlagOperands();
        return result;
    }

    /// <summary>Raises an exception at this instruction and ends the block.</summary>
    public void RaiseFault(int vector, uint? error = null)
    {
        EmitRaise(vector, error);
        Ended = true;
    }

    public void RaiseInvalidOpcode() => RaiseFault(6);

    public void RaiseDeviceNotAvailable() => RaiseFault(7);

    public void RaiseGeneralProtection() => RaiseFault(13, 0);

    /// <summary>Code that raises and leaves, without ending the block: for a cold path behind a label.</summary>
    public void EmitRaise(int vector, uint? error = null)
    {
        B.SetPc(Rip);
        B.CallVoid(SystemHelpers.RaiseException, B.Const(vector), B.Const((ulong)(error ?? 0)), B.Const(error is null ? 0 : 1));
        B.ExitLoop();
    }

    /// <summary>Places a label: temporaries end here, and with them what is known of the flags' operands.</summary>
    public void PlaceLabel(int label)
    {
        B.Label(label);
        ForgetFlagOperands();
        _offset = Val.None;
        _linear = Val.None;
    }
}
