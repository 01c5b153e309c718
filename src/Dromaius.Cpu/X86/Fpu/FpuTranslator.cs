using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>
/// x87, FXSAVE and XSAVE instructions to IR (Intel SDM volume 1, chapter 8; volume 2): the usual ones as operations of the back end
/// where the stack is known, else one helper call each, with memory operands through the IR so that faults are precise.
/// </summary>
/// <remarks>This file: dispatch.</remarks>
public static partial class FpuTranslator
{
    /// <summary>Emits an x87 or state instruction; false if it is none.</summary>
    public static bool TryEmit(X86Emitter e)
    {
        if (EmitState(e))
            return true;
        if (e.Insn.Mnemonic == Mnemonic.Wait)
        {
            const Mode blocked = Mode.Cr0Mp | Mode.Cr0Ts;
            if ((e.Mode & blocked) == blocked)
                e.RaiseDeviceNotAvailable();
            else
                Wait(e);
            return true;
        }

        if (e.Insn.Mnemonic is Mnemonic.Emms)
        {
            EmitEmms(e);
            return true;
        }

        if (!IsX87(e.Insn))
            return false;
        if (!e.Model.Has(X86Feature.Fpu) || (e.Insn.Mnemonic is Mnemonic.Fisttp && !e.Model.Has(X86Feature.Sse3)))
            e.RaiseInvalidOpcode();
        else if ((e.Mode & (Mode.Cr0Em | Mode.Cr0Ts)) != 0)
            e.RaiseDeviceNotAvailable();
        else if (!EmitControl(e) && !EmitOperation(e))
            e.RaiseInvalidOpcode();
        return true;
    }

    private static bool IsX87(in Instruction insn)
    {
        foreach (var feature in insn.Code.CpuidFeatures())
        {
            if (feature is CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU287XL_ONLY or CpuidFeature.FPU387
                or CpuidFeature.FPU387SL_ONLY)
                return true;
        }

        return insn.Mnemonic is Mnemonic.Fisttp;
    }

    /// <summary>Delivers a pending exception before a waiting instruction.</summary>
    internal static void Wait(X86Emitter e)
    {
        if (e.IsFpuKnown)
            return; // none can be pending
        var b = e.B;
        var go = b.NewLabel();
        b.BrCond(Cond.TestEq, W.D, b.LdState(W.W, X86Layout.FpStatusOffset), e.Const(FpuState.ErrorSummary), go);
        e.CallKeepingFlags(FpuHelpers.Wait);
        e.PlaceLabel(go);
    }

    /// <summary>Operations that compute or move: they wait first and leave their address behind.</summary>
    private static bool EmitOperation(X86Emitter e)
    {
        if (e.AttendsFpu())
            return true;
        var hasMemory = HasMemory(e);
        if (TryInline(e))
        {
            NotePointers(e, hasMemory);
            return true;
        }

        Wait(e);
        if (!EmitArithmetic(e) && !EmitCompare(e) && !EmitTransfer(e) && !EmitFunction(e))
            return false;
        NotePointers(e, hasMemory);
        e.LeaveIfFpuChanged();
        return true;
    }

    /// <summary>
    /// The last instruction and data pointers. FOP stays: processors without "fopcode compatibility" keep it for unmasked
    /// exceptions.
    /// </summary>
    private static void NotePointers(X86Emitter e, bool hasMemory)
    {
        var b = e.B;
        b.StState(W.Q, X86Layout.FpIpOffset, e.Const(e.Rip));
        if (!e.Is64)
            b.StState(W.W, X86Layout.FpCodeSelectorOffset, b.LdState(W.W, X86Layout.SelectorOffset(Seg.Cs)));
        if (!hasMemory)
            return;
        // Computed here: labels of the operation may have ended an earlier value.
        b.StState(W.Q, X86Layout.FpDpOffset, e.EffectiveOffset());
        if (!e.Is64)
        {
            var segment = X86Emitter.SegmentOf(e.Insn.MemorySegment);
            b.StState(W.W, X86Layout.FpDataSelectorOffset, b.LdState(W.W, X86Layout.SelectorOffset(segment)));
        }
    }

    private static bool HasMemory(X86Emitter e)
    {
        for (var i = 0; i < e.Insn.OpCount; i++)
        {
            if (e.IsMemory(i))
                return true;
        }

        return false;
    }

    private static int StackRegister(X86Emitter e, int operand) => e.Insn.GetOpRegister(operand) - Register.ST0;
}
