using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: transfers of control (Intel SDM volume 1, chapters 6 and 7.3.8; volume 2).</remarks>
public sealed partial class X86Emitter
{
    private bool EmitControl()
    {
        ref readonly var insn = ref Insn;
        switch (insn.Mnemonic)
        {
            case Mnemonic.Jmp: Jump(); break;
            case Mnemonic.Call: Call(); break;
            case Mnemonic.Ret: Return(); break;
            case Mnemonic.Retf: FarReturn(); break;
            case Mnemonic.Iret: TransferControl(SystemHelpers.Iret, B.Const(2), B.Const(NextRip)); break;
            case Mnemonic.Iretd: TransferControl(SystemHelpers.Iret, B.Const(4), B.Const(NextRip)); break;
            case Mnemonic.Iretq: TransferControl(SystemHelpers.Iret, B.Const(8), B.Const(NextRip)); break;
            case Mnemonic.Loop: Loop(ConditionCode.None); break;
            case Mnemonic.Loope: Loop(ConditionCode.e); break;
            case Mnemonic.Loopne: Loop(ConditionCode.ne); break;
            case Mnemonic.Jcxz or Mnemonic.Jecxz or Mnemonic.Jrcxz: JumpIfCounterZero(); break;
            case Mnemonic.Int: Interrupt(SystemHelpers.InterruptN, B.Const((int)insn.Immediate8), B.Const(NextRip)); break;
            case Mnemonic.Int3: Interrupt(SystemHelpers.Int3, B.Const(NextRip)); break;
            case Mnemonic.Int1: Interrupt(SystemHelpers.Int1, B.Const(NextRip)); break;
            case Mnemonic.Into: InterruptOnOverflow(); break;
            case Mnemonic.Bound: Bound(); break;
            case Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2: RaiseInvalidOpcode(); break;
            case Mnemonic.Syscall:
                _skipStepTrap = true;
                TransferControl(SystemHelpers.Syscall, B.Const(NextRip));
                break;
            case Mnemonic.Sysret or Mnemonic.Sysretq:
                _skipStepTrap = true;
                TransferControl(SystemHelpers.Sysret, B.Const(insn.Mnemonic == Mnemonic.Sysretq ? 8 : 4));
                break;
            case Mnemonic.Sysenter: TransferControl(SystemHelpers.Sysenter); break;
            case Mnemonic.Sysexit: TransferControl(SystemHelpers.Sysexit, B.Const(4)); break;
            case Mnemonic.Sysexitq: TransferControl(SystemHelpers.Sysexit, B.Const(8)); break;
            case Mnemonic.Rsm: TransferControl(SystemHelpers.Rsm); break;
            default: return EmitStackInstruction();
        }

        return true;
    }

    /// <summary>A helper that stores the new address and mode, or raises.</summary>
    private void TransferControl(Helper helper, Val a = default, Val b = default, Val c = default, Val d = default)
    {
        CallWithPc(helper, a, b, c, d);
        EndWithLookup();
    }

    /// <summary>A software interrupt: delivery clears TF, so that no single-step trap follows.</summary>
    private void Interrupt(Helper helper, Val a = default, Val b = default)
    {
        CallWithPc(helper, a, b);
        B.ExitLookup();
        Ended = true;
    }

    private void BranchIf(ConditionCode condition)
    {
        if (_ccOp == Unknown && _turn == Turn.None)
            ExpectLikelyFlags(condition);
        var test = Condition(condition);
        BranchIf(test);
    }

    /// <summary>What the flags come from at the block's begin when it is translated; none: <see cref="CcOp.Eflags"/>.</summary>
    internal CcOp LikelyFlags { private get; set; }

    /// <summary>
    /// A branch on flags that another block has set: they are taken for what they come from now, and a copy of the branch on a cold path
    /// is for all others.
    /// </summary>
    private void ExpectLikelyFlags(ConditionCode condition)
    {
        if (LikelyFlags is CcOp.Eflags or >= CcOp.IncOver)
            return;
        for (var i = 0; i < _index; i++)
        {
            if (InstructionFacts.MayWrite(_instructions[i]) != 0)
                return;
        }

        B.BrCond(Cond.Ne, W.D, CcOpGlobal, B.Const((int)LikelyFlags), NewCold(ColdKind.OtherFlags, -1, size: (int)condition));
        _ccOp = _storedOp = (int)LikelyFlags;
    }

    private void BranchOnOtherFlags(ConditionCode condition)
    {
        EmitMaterialize();
        var test = Condition(condition);
        var taken = B.NewLabel();
        B.BrCond(test.Cond, test.Width, test.A, test.B, taken);
        ExitTo(NextRip, 2);
        PlaceLabel(taken);
        ExitTo(Insn.NearBranchTarget, 3);
    }

    /// <summary>The end of a block: a pending flag record is stored on the paths that lead to where it is wanted.</summary>
    private void BranchIf(FlagTest test)
    {
        var target = Insn.NearBranchTarget;
        if (_turn != Turn.None)
        {
            if (_turn == Turn.Taken)
                SideExit(test.Negated(), NextRip);
            else
                SideExit(test, target);
            return;
        }

        if (_takenLive && _nextLive)
            FlushFlags();
        var other = B.NewLabel();
        if (_pending && _takenLive)
        {
            test = test.Negated();
            B.BrCond(test.Cond, test.Width, test.A, test.B, other);
            FlushFlags();
            ExitTo(target, 1);
            PlaceLabel(other);
            ExitTo(NextRip, 0);
        }
        else
        {
            B.BrCond(test.Cond, test.Width, test.A, test.B, other);
            if (_nextLive)
                FlushFlags();
            ExitTo(NextRip, 0);
            PlaceLabel(other);
            ExitTo(target, 1);
        }

        Ended = true;
    }

    /// <summary>A block that ends with one known successor.</summary>
    private void SettleFlags(bool live)
    {
        if (live)
            FlushFlags();
        _pending = false;
    }

    private void Jump()
    {
        ref readonly var insn = ref Insn;
        switch (insn.Op0Kind)
        {
            case OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64 when _turn != Turn.None:
                break;
            case OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64:
                SettleFlags(_takenLive);
                ExitTo(insn.NearBranchTarget, 0);
                Ended = true;
                break;
            case OpKind.FarBranch16 or OpKind.FarBranch32:
                FarTransfer(SystemHelpers.FarJump);
                break;
            default:
                if (IsFarPointer(insn.MemorySize) && insn.Op0Kind == OpKind.Memory)
                    FarTransfer(SystemHelpers.FarJump);
                else
                    ExitTo(LoadBranchTarget());
                break;
        }
    }

    private static bool IsFarPointer(MemorySize size) =>
        size is MemorySize.SegPtr16 or MemorySize.SegPtr32 or MemorySize.SegPtr64;

    /// <summary>The target of an indirect near branch, zero-extended; safe against changes of registers.</summary>
    private Val LoadBranchTarget()
    {
        var w = OperandWidth(0);
        var target = LoadOperand(0, w);
        if (Insn.Op0Kind == OpKind.Memory)
            return target;
        return w == W.Q ? B.Copy(target) : B.ZExt(w, target);
    }

    private void Call()
    {
        ref readonly var insn = ref Insn;
        if (insn.Op0Kind is OpKind.FarBranch16 or OpKind.FarBranch32
            || (insn.Op0Kind == OpKind.Memory && IsFarPointer(insn.MemorySize)))
        {
            FarTransfer(SystemHelpers.FarCall);
            return;
        }

        var size = -insn.StackPointerIncrement;
        CheckStack(-size, size, true);
        if (insn.Op0Kind is OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64)
        {
            Push(WidthOf(size), B.Const(NextRip));
            if (_turn != Turn.None)
                return;
            ExitTo(insn.NearBranchTarget, 0);
            Ended = true;
            return;
        }

        var target = LoadBranchTarget();
        Push(WidthOf(size), B.Const(NextRip));
        ExitTo(target);
    }

    private void Return()
    {
        var w = Insn.Code switch
        {
            Code.Retnw or Code.Retnw_imm16 => W.W,
            Code.Retnd or Code.Retnd_imm16 => W.D,
            _ => W.Q,
        };
        var size = 1 << (int)w;
        CheckStack(0, size, false);
        var target = LoadStack(w, 0);
        AddToStack(size + (Insn.OpCount == 1 ? Insn.Immediate16 : 0));
        ExitTo(target);
    }

    private void FarTransfer(Helper helper)
    {
        ref readonly var insn = ref Insn;
        Val selector, offset;
        int size;
        if (insn.Op0Kind is OpKind.FarBranch16 or OpKind.FarBranch32)
        {
            size = insn.Op0Kind == OpKind.FarBranch16 ? 2 : 4;
            selector = B.Const((ulong)insn.FarBranchSelector);
            offset = B.Const(size == 2 ? insn.FarBranch16 : (ulong)insn.FarBranch32);
        }
        else
        {
            size = FarPointerOffsetSize(insn.MemorySize);
            offset = LoadMemory(WidthOf(size), EffectiveAddress());
            selector = LoadMemory(W.W, AddressPlus(EffectiveAddress(), size));
        }

        TransferControl(helper, selector, offset, B.Const(size), B.Const(NextRip));
    }

    private static int FarPointerOffsetSize(MemorySize size) => size switch
    {
        MemorySize.SegPtr16 => 2,
        MemorySize.SegPtr32 => 4,
        _ => 8,
    };

    /// <summary>A linear address a little further on.</summary>
    private Val AddressPlus(Val address, int bytes) => B.Add(Is64 ? W.Q : W.D, address, B.Const(bytes));

    private void FarReturn()
    {
        var size = Insn.Code switch
        {
            Code.Retfw or Code.Retfw_imm16 => 2,
            Code.Retfd or Code.Retfd_imm16 => 4,
            _ => 8,
        };
        TransferControl(SystemHelpers.FarReturn, B.Const(size), B.Const(Insn.OpCount == 1 ? Insn.Immediate16 : 0));
    }

    /// <summary>Width of the register that LOOP and JCXZ count in and MONITOR addresses with: the address size.</summary>
    private W CounterWidth => Insn.Code switch
    {
        Code.Loop_rel8_16_CX or Code.Loop_rel8_32_CX or Code.Loope_rel8_16_CX or Code.Loope_rel8_32_CX
            or Code.Loopne_rel8_16_CX or Code.Loopne_rel8_32_CX or Code.Jcxz_rel8_16 or Code.Jcxz_rel8_32
            or Code.Monitorw => W.W,
        Code.Loop_rel8_16_RCX or Code.Loop_rel8_64_RCX or Code.Loope_rel8_16_RCX or Code.Loope_rel8_64_RCX
            or Code.Loopne_rel8_16_RCX or Code.Loopne_rel8_64_RCX or Code.Jrcxz_rel8_16 or Code.Jrcxz_rel8_64
            or Code.Monitorq => W.Q,
        _ => W.D,
    };

    private void Loop(ConditionCode condition)
    {
        var w = CounterWidth;
        var count = B.Sub(Wide(w), Rcx, B.Const(1));
        if (condition == ConditionCode.None)
        {
            WriteGpr(X86Layout.Rcx, w, count);
            BranchIf(new FlagTest(Cond.Ne, w, count, B.Const(0)));
            return;
        }

        var both = B.And(W.D, B.SetCond(Cond.Ne, w, count, B.Const(0)), ConditionValue(condition));
        WriteGpr(X86Layout.Rcx, w, count);
        BranchIf(new FlagTest(Cond.Ne, W.D, both, B.Const(0)));
    }

    private void JumpIfCounterZero() => BranchIf(new FlagTest(Cond.Eq, CounterWidth, Rcx, B.Const(0)));

    private void InterruptOnOverflow()
    {
        var test = Condition(ConditionCode.o);
        var taken = B.NewLabel();
        B.BrCond(test.Cond, test.Width, test.A, test.B, taken);
        ExitTo(NextRip, 0);
        PlaceLabel(taken);
        Interrupt(SystemHelpers.Into, B.Const(NextRip));
    }

    private void Bound()
    {
        var w = WidthOf(Insn.Op0Register);
        var low = LoadMemory(w, EffectiveAddress());
        var high = LoadMemory(w, AddressPlus(EffectiveAddress(), 1 << (int)w));
        var index = ReadGpr(Insn.Op0Register);
        var outside = NewCold(ColdKind.BoundRange, -1);
        B.BrCond(Cond.SLt, w, index, low, outside);
        B.BrCond(Cond.SGt, w, index, high, outside);
    }
}
