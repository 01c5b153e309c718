using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: the frame around instructions, and the ways out of a block.</remarks>
public sealed partial class X86Emitter
{
    private const int PageBits = 12;
    private readonly InstructionInfoFactory _info = new();
    private ulong _blockPage, _codeBase;

    // The instruction's helper deals with the single-step trap itself.
    private bool _skipStepTrap;

    /// <summary>Every instruction ends in the step-trap helper.</summary>
    private bool Steps => (Mode & (Mode.Trap | Mode.DataBreakpoints)) != 0;

    /// <summary>The block must be one instruction long.</summary>
    internal static bool IsSingle(Mode mode) =>
        (mode & (Mode.Trap | Mode.DataBreakpoints | Mode.InterruptShadow)) != 0;

    /// <summary>
    /// Where CS has a limit: checks that the block lies within it. A block that does not is left for one-instruction blocks, which
    /// fault exactly.
    /// </summary>
    internal void CheckCodeLimit(ulong lastByte, bool single)
    {
        if ((Mode & Mode.FlatCode) != 0)
            return;
        B.BrCond(Cond.ULt, W.Q, B.LdState(W.D, X86Layout.LimitOffset(Seg.Cs)), B.Const(lastByte),
            NewCold(ColdKind.CodeLimit, -1, write: single));
    }

    /// <summary>Emits one instruction.</summary>
    internal void EmitInstruction(bool supported)
    {
        B.InsnStart(Rip);
        if ((Mode & Mode.CodeBreakpoints) != 0)
            CallKeepingFlags(SystemHelpers.CodeBreakpoint);
        if ((Mode & Mode.InterruptShadow) != 0)
            ClearShadow();
        if (!supported)
        {
            RaiseInvalidOpcode();
            return;
        }

        if (!Is64)
            CheckSegments();
        if (!EmitInteger() && !VectorTranslator.TryEmit(this) && !FpuTranslator.TryEmit(this))
            RaiseInvalidOpcode();
    }

    /// <summary>An instruction that does not exist, or one of more than 15 bytes.</summary>
    internal void EmitUndecodable(bool tooLong)
    {
        B.InsnStart(Rip);
        if ((Mode & Mode.CodeBreakpoints) != 0)
            CallKeepingFlags(SystemHelpers.CodeBreakpoint);
        if (tooLong)
            RaiseGeneralProtection();
        else
            RaiseInvalidOpcode();
    }

    /// <summary>A unit that raises the fault of fetching code at a linear address.</summary>
    internal void EmitFetchFault(ulong rip, ulong linear)
    {
        B.InsnStart(rip);
        B.SetPc(rip);
        B.CallVoid(TranslateHelpers.RaiseFetchFault, B.Const(linear));
        B.ExitLoop();
    }

    /// <summary>Ends the block behind the current instruction.</summary>
    internal void FallThrough()
    {
        SettleFlags(_nextLive);
        ExitTo(NextRip, 0);
    }

    /// <summary>Emits what the hot path left behind.</summary>
    internal void Finish() => EmitColdPaths();

    /// <summary>The shadow of STI or MOV SS covers this instruction only; it may start a new one.</summary>
    private void ClearShadow()
    {
        B.StState(W.D, X86Layout.ShadowOffset, B.Const(0));
        B.StState(W.D, X86Layout.ModeOffset, B.Const((ulong)(Mode & ~Mode.InterruptShadow)));
    }

    private void CheckSegments()
    {
        ref readonly var insn = ref Insn;
        if (insn.MemorySize == MemorySize.Unknown || insn.IsVsib || !HasMemoryOperand(insn)
            || IsFlat(SegmentOf(insn.MemorySegment)))
            return;
        // No access, or one elsewhere that is checked there.
        if (insn.Mnemonic is Mnemonic.Lea or Mnemonic.Nop or Mnemonic.Reservednop or Mnemonic.Arpl or Mnemonic.Prefetch
            or Mnemonic.Prefetchw or Mnemonic.Prefetchwt1 or Mnemonic.Prefetchnta or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1
            or Mnemonic.Prefetcht2 or Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd
            or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq)
            return;
        if (insn.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && insn.Op1Kind == OpKind.Register)
            return;
        // Elements that the mask leaves out are not accessed and may lie beyond the limit.
        if (insn.Mnemonic is Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq)
            return;
        // These raise #NM or #UD before they look at memory.
        if ((Mode & (Mode.Cr0Em | Mode.Cr0Ts)) != 0 && IsFloatingPoint(insn))
            return;
        var access = _info.GetInfo(insn, InstructionInfoOptions.NoRegisterUsage | InstructionInfoOptions.NoMemoryUsage)
            .Op0Access;
        var write = insn.Op0Kind == OpKind.Memory && access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess);
        CheckMemoryOperand(insn.MemorySize.GetSize(), write);
    }

    private static bool IsFloatingPoint(in Instruction insn) => insn.Code.CpuidFeatures() is [var feature, ..]
        && feature is not (CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL286 or CpuidFeature.INTEL386
            or CpuidFeature.INTEL486);

    private static bool HasMemoryOperand(in Instruction insn)
    {
        for (var i = 0; i < insn.OpCount; i++)
        {
            if (insn.GetOpKind(i) == OpKind.Memory)
                return true;
        }

        return false;
    }

    // Exits. Under single-stepping all go through the trap helper; in a shadow the mode changes, so nothing is linked.

    /// <summary>Exits to other pages are linked too, and unlinked when addresses change their meaning.</summary>
    internal bool LinksPages { get; set; }

    /// <summary>Address of an instruction behind the block that ends in the next page, so that it counts as being there.</summary>
    internal ulong? EndsInNextPage { get; set; }

    /// <summary>Goes on at a known address and ends the path (not the block: that is <see cref="Ended"/>).</summary>
    private void ExitTo(ulong rip, int slot)
    {
        if (Steps || (Mode & Mode.InterruptShadow) != 0)
        {
            ExitStepping(B.Const(rip));
            return;
        }

        B.ExitDirect(rip, IsNear(rip) ? Slot(slot) : -1, ClosesCircle(rip));
    }

    /// <summary>An exit to there may be linked.</summary>
    private bool IsNear(ulong rip) =>
        LinksPages || ((_codeBase + rip) >> PageBits == _blockPage && rip != EndsInNextPage);

    /// <summary>Goes on at a computed address and ends the block.</summary>
    private void ExitTo(Val rip)
    {
        if (_turn != Turn.None)
        {
            B.ExitUnless(rip, _expected);
            return;
        }

        Ended = true;
        if (Steps || (Mode & Mode.InterruptShadow) != 0)
            ExitStepping(rip);
        else
            B.ExitIndirect(rip);
    }

    private void ExitStepping(Val rip)
    {
        B.StState(W.Q, X86Layout.RipOffset, rip);
        if (Steps)
            B.CallVoid(SystemHelpers.StepTrap, rip, TrapArgument);
        B.ExitLookup();
    }

    /// <summary>Ends the block after an instruction whose helper left the next address and mode in the state.</summary>
    public void EndWithLookup()
    {
        if (Steps)
            B.CallVoid(SystemHelpers.StepTrap, B.Const(~0UL), TrapArgument);
        B.ExitLookup();
        Ended = true;
    }

    /// <summary>Ends the block at the next instruction, whose mode may be another now, or before which interrupts are looked at.</summary>
    public void EndAtNext()
    {
        ExitStepping(B.Const(NextRip));
        Ended = true;
    }

    private Val TrapArgument => B.Const(_skipStepTrap ? 2 : (Mode & Mode.Trap) != 0 ? 1 : 0);
}
