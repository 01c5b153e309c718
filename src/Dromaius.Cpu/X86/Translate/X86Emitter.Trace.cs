namespace Dromaius.Cpu.X86;

/// <summary>Which way a trace goes on at a branch.</summary>
internal enum Turn : byte
{
    /// <summary>It ends here, or the instruction is no branch.</summary>
    None,

    /// <summary>Behind the branch.</summary>
    Next,

    /// <summary>At its target.</summary>
    Taken,
}

/// <remarks>This file: branches within a trace, which leave it on one side and go on at the other, and its loop.</remarks>
public sealed partial class X86Emitter
{
    private Turn _turn;

    // Slots given to exits of a trace; -1 in a basic block, whose exits have theirs.
    private int _exits = -1;

    /// <summary>What follows is a trace.</summary>
    internal void BeginTrace() => _exits = 0;

    // Where the trace goes on behind a jump through a register or memory.
    private ulong _expected;

    /// <summary>The way the trace goes on after the current instruction, and where.</summary>
    internal void SetTurn(Turn turn, ulong next)
    {
        (_turn, _expected) = (turn, next);
        _wentBack |= turn == Turn.Taken && next <= Rip;
    }

    // The path has gone backwards: a circle may be closed by any exit from here on.
    private bool _wentBack;

    /// <summary>An exit to there may close a circle, in which somebody has to look at exit requests.</summary>
    private bool ClosesCircle(ulong rip) => rip <= Rip || _wentBack;

    /// <summary>The next exit's slot.</summary>
    private int Slot(int ofBlock) => _exits < 0 ? ofBlock : _exits++;

    private void SideExit(FlagTest test, ulong rip) =>
        B.ExitIf(test.Cond, test.Width, test.A, test.B, rip, IsNear(rip) ? Slot(0) : -1, ClosesCircle(rip));

    /// <summary>Starts the loop; its label. What was at hand above is only in the globals now.</summary>
    internal int LoopHead()
    {
        ForgetFlags(); // a record that is pending was for a branch above only
        var label = B.NewLabel();
        B.LoopHead(label);
        return label;
    }

    /// <summary>Ends the loop, which began at an address.</summary>
    internal void LoopBack(int label, ulong rip)
    {
        B.LoopBack(label, rip);
        Ended = true;
    }

    /// <summary>The mode is what it was at the block's begin.</summary>
    internal bool KeepsMode => _modeNow == (Mode & ~Mode.InterruptShadow);
}
