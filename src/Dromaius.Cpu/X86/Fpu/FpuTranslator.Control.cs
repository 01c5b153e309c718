using Dromaius.Jit.Ir;
using Dromaius.Jit.Ir.SoftFloat;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: control instructions, FXSAVE and XSAVE.</remarks>
public static partial class FpuTranslator
{
    /// <summary>Iced gives the waiting forms (FINIT = FWAIT, FNINIT) as one instruction when it decodes them so.</summary>
    private static bool EmitControl(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Fnop:
                return false;
            case Mnemonic.Fldcw:
                Wait(e);
                LoadControl(e, e.LoadMemory(W.W, e.EffectiveAddress()));
                return true;
            case Mnemonic.Fnstcw or Mnemonic.Fstcw:
                WaitIf(e, e.Insn.Mnemonic == Mnemonic.Fstcw);
                e.StoreMemory(W.W, e.EffectiveAddress(), e.B.LdState(W.W, X86Layout.FpControlOffset));
                return true;
            case Mnemonic.Fnstsw or Mnemonic.Fstsw:
                WaitIf(e, e.Insn.Mnemonic == Mnemonic.Fstsw);
                e.StoreOperand(0, W.W, StatusWord(e));
                return true;
            case Mnemonic.Fninit or Mnemonic.Finit:
                WaitIf(e, e.Insn.Mnemonic == Mnemonic.Finit);
                Simple(e, FpuSimple.Initialize);
                Changed(e);
                return true;
            case Mnemonic.Fnclex or Mnemonic.Fclex:
                WaitIf(e, e.Insn.Mnemonic == Mnemonic.Fclex);
                Simple(e, FpuSimple.ClearExceptions);
                Changed(e);
                return true;

            // 8087 and 80287 instructions that later processors ignore.
            case Mnemonic.Fneni or Mnemonic.Feni or Mnemonic.Fndisi or Mnemonic.Fdisi or Mnemonic.Fnsetpm or Mnemonic.Fsetpm:
                return true;
            case Mnemonic.Fnstenv or Mnemonic.Fstenv:
                WaitIf(e, e.Insn.Mnemonic == Mnemonic.Fstenv);
                Environment(e, FpuMemory.StoreEnvironment);
                return true;
            case Mnemonic.Fldenv:
                Wait(e);
                Environment(e, FpuMemory.LoadEnvironment);
                return true;
            case Mnemonic.Fnsave or Mnemonic.Fsave:
                WaitIf(e, e.Insn.Mnemonic == Mnemonic.Fsave);
                Environment(e, FpuMemory.Save);
                return true;
            case Mnemonic.Frstor:
                Wait(e);
                Environment(e, FpuMemory.Restore);
                return true;
            default:
                return false;
        }
    }

    private static void WaitIf(X86Emitter e, bool waits)
    {
        if (waits)
            Wait(e);
    }

    private static void Environment(X86Emitter e, FpuMemory operation)
    {
        var wide = e.Insn.MemorySize is MemorySize.FpuEnv28 or MemorySize.FpuState108;
        e.CallKeepingFlags(FpuHelpers.Environment, e.EffectiveAddress(), e.Const((int)operation),
            e.Const((e.IsProtected ? 1 : 0) | (wide ? 2 : 0)));
        Changed(e);
    }

    /// <summary>A helper may have changed control word, flags and stack.</summary>
    private static void Changed(X86Emitter e)
    {
        e.B.X87(X87Op.Reload, 0);
        e.LeaveIfFpuChanged();
    }

    /// <summary>FLDCW. The host's control word follows; code that unmasks exceptions goes on in another mode.</summary>
    private static void LoadControl(X86Emitter e, Val value)
    {
        if (!e.InlinesFpu || !e.IsFpuKnown)
        {
            e.B.CallVoid(FpuHelpers.LoadControl, value);
            Changed(e);
            return;
        }

        var b = e.B;
        b.X87(X87Op.LoadControl, 0, 0, 0, value);
        var word = b.Or(W.D, b.And(W.D, value, e.Const((int)FpuState.ControlMask)), e.Const((int)FpuState.ControlFixed));
        b.StState(W.W, X86Layout.FpControlOffset, word);
        var masked = b.And(W.D, word, e.Const((int)FpFlags.All));
        e.ForgetFpuIf(Cond.Ne, masked, e.Const((int)FpFlags.All));
    }

    private static Val StatusWord(X86Emitter e)
    {
        if (!e.InlinesFpu || !e.IsFpuKnown)
            return e.B.Call(FpuHelpers.StatusWord);
        return e.B.Or(W.D, e.B.X87ToInt(X87Op.Status), e.Const(e.FpuTop << 11));
    }

    private static void EmitEmms(X86Emitter e)
    {
        if (!e.Model.Has(X86Feature.Mmx) || (e.Mode & Mode.Cr0Em) != 0)
        {
            e.RaiseInvalidOpcode();
        }
        else if ((e.Mode & Mode.Cr0Ts) != 0)
        {
            e.RaiseDeviceNotAvailable();
        }
        else
        {
            Wait(e);
            e.SetFpuStack(0, 0);
        }
    }

    // FXSAVE, XSAVE.

    private static bool EmitState(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Fxsave: ExtendedState(e, FpuMemory.FxSave, X86Feature.Fxsr, wide: false); break;
            case Mnemonic.Fxsave64: ExtendedState(e, FpuMemory.FxSave, X86Feature.Fxsr, wide: true); break;
            case Mnemonic.Fxrstor: ExtendedState(e, FpuMemory.FxRestore, X86Feature.Fxsr, wide: false); break;
            case Mnemonic.Fxrstor64: ExtendedState(e, FpuMemory.FxRestore, X86Feature.Fxsr, wide: true); break;
            case Mnemonic.Xsave: ExtendedState(e, FpuMemory.XSave, X86Feature.Xsave, wide: false); break;
            case Mnemonic.Xsave64: ExtendedState(e, FpuMemory.XSave, X86Feature.Xsave, wide: true); break;
            case Mnemonic.Xsaveopt: ExtendedState(e, FpuMemory.XSaveOptimized, X86Feature.Xsaveopt, wide: false); break;
            case Mnemonic.Xsaveopt64: ExtendedState(e, FpuMemory.XSaveOptimized, X86Feature.Xsaveopt, wide: true); break;
            case Mnemonic.Xsavec: ExtendedState(e, FpuMemory.XSaveCompacted, X86Feature.Xsavec, wide: false); break;
            case Mnemonic.Xsavec64: ExtendedState(e, FpuMemory.XSaveCompacted, X86Feature.Xsavec, wide: true); break;
            case Mnemonic.Xsaves: ExtendedState(e, FpuMemory.XSaveCompacted, X86Feature.Xsaves, wide: false); break;
            case Mnemonic.Xsaves64: ExtendedState(e, FpuMemory.XSaveCompacted, X86Feature.Xsaves, wide: true); break;
            case Mnemonic.Xrstor: ExtendedState(e, FpuMemory.XRestore, X86Feature.Xsave, wide: false); break;
            case Mnemonic.Xrstor64: ExtendedState(e, FpuMemory.XRestore, X86Feature.Xsave, wide: true); break;
            case Mnemonic.Xrstors: ExtendedState(e, FpuMemory.XRestoreSupervisor, X86Feature.Xsaves, wide: false); break;
            case Mnemonic.Xrstors64: ExtendedState(e, FpuMemory.XRestoreSupervisor, X86Feature.Xsaves, wide: true); break;
            default: return false;
        }

        return true;
    }

    private static void ExtendedState(X86Emitter e, FpuMemory operation, X86Feature feature, bool wide)
    {
        var b = e.B;
        var isFx = feature == X86Feature.Fxsr;
        if (!e.Model.Has(feature) || (!isFx && (e.Mode & Mode.OsXsave) == 0))
        {
            e.RaiseInvalidOpcode();
            return;
        }

        var blocked = isFx ? Mode.Cr0Em | Mode.Cr0Ts : Mode.Cr0Ts;
        if ((e.Mode & blocked) != 0)
        {
            e.RaiseDeviceNotAvailable();
            return;
        }

        if (feature == X86Feature.Xsaves && e.Cpl != 0)
        {
            e.RaiseGeneralProtection();
            return;
        }

        var requested = isFx ? Val.None : b.Deposit(b.ZExt(W.D, X86Emitter.Rax), X86Emitter.Rdx, 32, 32);
        b.FpSync();
        e.CallKeepingFlags(FpuHelpers.ExtendedState, e.EffectiveAddress(), e.Const((int)operation), e.Const(wide ? 1 : 0),
            requested);
        if (operation is not (FpuMemory.FxRestore or FpuMemory.XRestore or FpuMemory.XRestoreSupervisor))
            return;
        // MXCSR is new, and with it perhaps the mode.
        b.FpLoad();
        b.X87(X87Op.Reload, 0);
        e.EndAtNext();
    }
}
