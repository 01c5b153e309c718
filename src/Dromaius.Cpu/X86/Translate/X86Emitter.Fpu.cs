using System.Numerics;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: what is known of the x87 stack while translating (<see cref="Mode.Fpu"/>).</remarks>
public sealed partial class X86Emitter
{
    // The mode as it is at this point of the block.
    private Mode _modeNow;

    /// <summary>Instructions may be translated to operations of the native back end only.</summary>
    internal bool InlinesFpu { get; set; }

    /// <summary>TOP and the number of full registers from there on are known, and no exception is unmasked or pending.</summary>
    public bool IsFpuKnown => (_modeNow & Mode.Fpu) < Mode.FpuAnything;

    public int FpuTop => FpuField & 7;

    public int FpuDepth => FpuField >> 3;

    private int FpuField => (int)((uint)_modeNow >> BitOperations.TrailingZeroCount((uint)Mode.Fpu));

    private void BeginFpu() => _modeNow = Mode & ~Mode.InterruptShadow;

    /// <summary>Ends the block before an instruction that computes where the x87 was ignored so far; it comes again in another mode.</summary>
    public bool AttendsFpu()
    {
        if (!InlinesFpu || (_modeNow & Mode.Fpu) != Mode.FpuIgnored)
            return false;
        B.CallVoid(FpuHelpers.Attend);
        B.StState(W.Q, X86Layout.RipOffset, B.Const(Rip));
        B.ExitLookup();
        Ended = true;
        return true;
    }

    /// <summary>The register that ST(i) is.</summary>
    public int FpuRegister(int i) => FpuTop + i & 7;

    /// <summary>Changes TOP and the number of full registers; where they are known the mode follows.</summary>
    public void SetFpuStack(int top, int depth)
    {
        top &= 7;
        if (IsFpuKnown)
        {
            if (FpuState.Known(top, depth) == (_modeNow & Mode.Fpu))
                return;
            _modeNow = (_modeNow & ~Mode.Fpu) | FpuState.Known(top, depth);
            B.StState(W.D, X86Layout.ModeOffset, B.Const((ulong)_modeNow));
        }

        B.StState(W.B, X86Layout.FpEmptyOffset, B.Const((ulong)FpuState.EmptyMask(top, depth)));
        B.StState(W.D, X86Layout.FpTopOffset, B.Const(top));
    }

    /// <summary>Leaves the block, with nothing known of the x87, if the condition holds.</summary>
    public void ForgetFpuIf(Cond cond, Val a, Val b)
    {
        FlushFlags();
        B.BrCond(cond, W.D, a, b, NewCold(ColdKind.FpuUnmasked, -1));
    }

    /// <summary>Behind a helper that may have changed stack, tags, masks or flags: leaves the block if the mode is another now.</summary>
    public void LeaveIfFpuChanged()
    {
        if ((_modeNow & Mode.Fpu) == Mode.FpuIgnored)
            return;
        FlushFlags();
        B.BrCond(Cond.Ne, W.D, B.LdState(W.D, X86Layout.ModeOffset), B.Const((ulong)_modeNow), NewCold(ColdKind.ModeChanged, -1));
    }
}
