using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: the stack pointer and the instructions that use it (Intel SDM volume 1, chapter 6).</remarks>
public sealed partial class X86Emitter
{
    private bool EmitStackInstruction()
    {
        switch (Insn.Mnemonic)
        {
            case Mnemonic.Push: PushOperand(); break;
            case Mnemonic.Pop: PopOperand(); break;
            case Mnemonic.Pusha: PushAll(W.W); break;
            case Mnemonic.Pushad: PushAll(W.D); break;
            case Mnemonic.Popa: PopAll(W.W); break;
            case Mnemonic.Popad: PopAll(W.D); break;
            case Mnemonic.Pushf: PushFlags(W.W); break;
            case Mnemonic.Pushfd: PushFlags(W.D); break;
            case Mnemonic.Pushfq: PushFlags(W.Q); break;
            case Mnemonic.Popf: PopFlags(W.W); break;
            case Mnemonic.Popfd: PopFlags(W.D); break;
            case Mnemonic.Popfq: PopFlags(W.Q); break;
            case Mnemonic.Enter: Enter(); break;
            case Mnemonic.Leave: Leave(); break;
            default: return false;
        }

        return true;
    }

    /// <summary>Width of the stack pointer.</summary>
    public W StackWidth => Is64 ? W.Q : (Mode & Mode.Stack32) != 0 ? W.D : W.W;

    /// <summary>The stack pointer plus a displacement, wrapped to its width and zero-extended.</summary>
    public Val StackOffset(long delta) => StackRegisterOffset(Rsp, delta);

    /// <summary>The frame pointer plus a displacement, wrapped to the stack's width.</summary>
    private Val FrameOffset(long delta) => StackRegisterOffset(Rbp, delta);

    private Val StackRegisterOffset(Val register, long delta)
    {
        var w = StackWidth;
        if (delta == 0)
            return w == W.Q ? register : B.ZExt(w, register);
        var sum = B.Add(Wide(w), register, B.Const(delta));
        return w == W.W ? B.ZExt(W.W, sum) : sum;
    }

    /// <summary>Sets the stack pointer (zero-extended value of its width).</summary>
    public void SetStackPointer(Val offset)
    {
        GprChanges(X86Layout.Rsp);
        B.Set(Rsp, StackWidth == W.W ? B.Deposit(Rsp, offset, 0, 16) : offset);
    }

    private void AddToStack(long delta) => SetStackPointer(StackOffset(delta));

    /// <summary>Checks a stack slot where SS asks for it. Places labels: call before other temporaries exist.</summary>
    private void CheckStack(long delta, int size, bool write)
    {
        if (!Is64 && !IsFlatData)
            CheckRange(Seg.Ss, StackOffset(delta), size, write, ColdKind.Stack, delta);
    }

    private void CheckFrame(long delta, int size, bool write)
    {
        if (!Is64 && !IsFlatData)
            CheckRange(Seg.Ss, FrameOffset(delta), size, write, ColdKind.Frame, delta);
    }

    /// <summary>Stores at the stack pointer plus a displacement; the pointer stays.</summary>
    private void StoreStack(W w, long delta, Val value) => StoreMemory(w, ToLinear(Seg.Ss, StackOffset(delta)), value);

    private Val LoadStack(W w, long delta) => LoadMemory(w, ToLinear(Seg.Ss, StackOffset(delta)));

    /// <summary>Pushes a value into a slot of its width. The stack has been checked.</summary>
    private void Push(W w, Val value)
    {
        var offset = StackOffset(-(1 << (int)w));
        StoreMemory(w, ToLinear(Seg.Ss, offset), value);
        SetStackPointer(offset);
    }

    private void PushOperand()
    {
        ref readonly var insn = ref Insn;
        var size = -insn.StackPointerIncrement;
        var w = WidthOf(size);
        if (insn.Op0Kind == OpKind.Register && insn.Op0Register.IsSegmentRegister())
        {
            // Only the selector is written; the rest of a wider slot stays.
            CheckStack(-size, 2, true);
            var selector = B.LdState(W.W, X86Layout.SelectorOffset(SegmentOf(insn.Op0Register)));
            var slot = StackOffset(-size);
            StoreMemory(Is64 ? W.Q : W.W, ToLinear(Seg.Ss, slot), selector);
            SetStackPointer(slot);
            return;
        }

        CheckStack(-size, size, true);
        Push(w, LoadOperand(0, w));
    }

    private void PopOperand()
    {
        ref readonly var insn = ref Insn;
        var size = insn.StackPointerIncrement;
        var w = WidthOf(size);
        if (insn.Op0Kind == OpKind.Register && insn.Op0Register.IsSegmentRegister())
        {
            CheckStack(0, 2, false);
            LoadSegmentRegister(insn.Op0Register, LoadStack(W.W, 0), size);
            return;
        }

        CheckStack(0, size, false);
        var value = LoadStack(w, 0);
        if (insn.Op0Kind == OpKind.Memory)
        {
            StoreMemory(w, EffectiveAddress(), value);
            AddToStack(size);
            return;
        }

        // POP SP keeps the value that was popped.
        AddToStack(size);
        WriteGprClean(insn.Op0Register, value);
    }

    private void PushAll(W w)
    {
        var size = 1 << (int)w;
        CheckStack(-8 * size, 8 * size, true);
        for (var i = 0; i < 8; i++)
            StoreStack(w, -(i + 1) * size, Gpr(i));
        AddToStack(-8 * size);
    }

    private void PopAll(W w)
    {
        var size = 1 << (int)w;
        CheckStack(0, 8 * size, false);
        Span<Val> values = stackalloc Val[8];
        for (var i = 0; i < 8; i++)
        {
            if (i != X86Layout.Rsp)
                values[i] = LoadStack(w, (7 - i) * size);
        }

        AddToStack(8 * size);
        for (var i = 0; i < 8; i++)
        {
            if (i != X86Layout.Rsp)
                WriteGpr(i, w, values[i]);
        }
    }

    private void PushFlags(W w)
    {
        var size = 1 << (int)w;
        CheckStack(-size, size, true);
        var image = CallKeepingFlags(SystemHelpers.PushFlags, B.Const(size));
        Push(w, image);
    }

    private void PopFlags(W w)
    {
        var size = 1 << (int)w;
        CheckStack(0, size, false);
        var image = LoadStack(w, 0);
        CallWithPc(SystemHelpers.PopFlags, image, B.Const(size));
        AddToStack(size);
        EndAtNext();
    }

    private void Enter()
    {
        ref readonly var insn = ref Insn;
        var w = insn.Code switch
        {
            Code.Enterw_imm16_imm8 => W.W,
            Code.Enterd_imm16_imm8 => W.D,
            _ => W.Q,
        };
        var size = 1 << (int)w;
        var level = insn.Immediate8_2nd & 31;
        var slots = level == 0 ? 1 : level + 1;
        CheckStack(-slots * size, slots * size, true);
        if (level > 1)
            CheckFrame(-(level - 1) * size, (level - 1) * size, false);
        StoreStack(w, -size, Rbp);
        for (var i = 1; i < level; i++)
            StoreStack(w, -(i + 1) * size, LoadMemory(w, ToLinear(Seg.Ss, FrameOffset(-i * size))));
        var frame = StackOffset(-size);
        if (level > 0)
        {
            // The whole register is pushed, also where the stack uses its low 16 bits only.
            StoreStack(w, -slots * size, StackWidth == W.W ? B.Deposit(Rsp, frame, 0, 16) : frame);
        }

        var change = -(slots * size) - insn.Immediate16;
        if (insn.Immediate16 != 0)
        {
            // ENTER faults when a store at the final stack pointer would (SDM volume 2, ENTER).
            CallKeepingFlags(SystemHelpers.ProbeWrite, ToLinear(Seg.Ss, StackOffset(change)), B.Const(size));
        }

        AddToStack(change);
        WriteGpr(X86Layout.Rbp, StackWidth, frame);
    }

    private void Leave()
    {
        var w = Insn.Code switch
        {
            Code.Leavew => W.W,
            Code.Leaved => W.D,
            _ => W.Q,
        };
        var size = 1 << (int)w;
        CheckFrame(0, size, false);
        var value = LoadMemory(w, ToLinear(Seg.Ss, FrameOffset(0)));
        SetStackPointer(FrameOffset(size));
        WriteGprClean(w switch { W.W => Register.BP, W.D => Register.EBP, _ => Register.RBP }, value);
    }
}
