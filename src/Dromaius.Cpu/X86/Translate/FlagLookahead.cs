using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>What becomes of the arithmetic flags that an instruction sets.</summary>
internal enum FlagUse : byte
{
    /// <summary>Somebody may look: the record is stored.</summary>
    Live,

    /// <summary>Overwritten first: no record.</summary>
    Dead,

    /// <summary>Used within the block; stored only on the way to successors that want them.</summary>
    Deferred,

    /// <summary>The same, and no register changes before the block ends.</summary>
    DeferredInPlace,
}

/// <summary>
/// Follows the arithmetic flags through a block and a few instructions into its known successors on the same page, so that what
/// nobody reads is not stored.
/// </summary>
internal sealed class FlagLookahead(InstructionFacts facts)
{
    /// <summary>How far to look into a successor.</summary>
    private const int MaxInstructions = 6;

    private const int PageBits = 12;
    private ulong _linear;

    /// <summary>First byte looked at, as a distance from the block's first; 0 or negative.</summary>
    public int Start { get; private set; }

    /// <summary>End of what was looked at.</summary>
    public int End { get; private set; }

    public void Reset(ulong linear, int length)
    {
        _linear = linear;
        Start = 0;
        End = length;
    }

    /// <summary>Whether the target of the block's last instruction, if it is a direct branch, may look at the flags.</summary>
    public bool IsTakenLive(CodeWindow window, Decoder decoder, ICodeFetcher fetch, in Instruction last, ulong codeBase, bool wrap) =>
        last.FlowControl is not (FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch)
        || last.Op0Kind is not (OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64)
        || IsLive(window, decoder, fetch, last.NearBranchTarget, codeBase, wrap);

    /// <summary>Whether what follows the block may look at the flags.</summary>
    public bool IsNextLive(CodeWindow window, Decoder decoder, ICodeFetcher fetch, in Instruction last, ulong codeBase, bool wrap)
    {
        switch (last.FlowControl)
        {
            case FlowControl.Next or FlowControl.ConditionalBranch:
                return IsLive(window, decoder, fetch, last.NextIP, codeBase, wrap);
            case FlowControl.UnconditionalBranch when last.Op0Kind is OpKind.NearBranch16 or OpKind.NearBranch32
                or OpKind.NearBranch64:
                return false;
            default:
                return true;
        }
    }

    /// <summary>Whether what is at an address may look at the flags.</summary>
    public bool IsLive(CodeWindow window, Decoder decoder, ICodeFetcher fetch, ulong rip, ulong codeBase, bool wrap)
    {
        var linear = wrap ? (uint)(codeBase + rip) : codeBase + rip;
        if (linear >> PageBits != _linear >> PageBits
            || window.Open(fetch, linear, MaxInstructions * CodeWindow.MaxInstruction) == 0)
            return true;
        decoder.IP = rip;
        var open = InstructionFacts.Arithmetic;
        for (var i = 0; i < MaxInstructions; i++)
        {
            decoder.Decode(out var insn);
            if (decoder.LastError != DecoderError.None || !facts.Supports(insn)
                || (InstructionFacts.ReadBy(insn) & open) != 0 || !InstructionFacts.CannotLeave(insn))
                break;
            open &= ~InstructionFacts.WrittenBy(insn);
            if (open != 0)
                continue;
            var distance = (int)(linear - _linear);
            Include(distance, distance + window.Position);
            return false;
        }

        return true;
    }

    /// <summary>The translation depends on these bytes too, as distances from the block's first.</summary>
    public void Include(int start, int end)
    {
        Start = Math.Min(Start, start);
        End = Math.Max(End, end);
    }

    /// <summary>Decides what becomes of the flags of each instruction of a block.</summary>
    /// <param name="precise">Not even a branch may be crossed: every instruction may leave the block.</param>
    public void FindUses(ReadOnlySpan<Instruction> block, FlagUse[] uses, bool taken, bool next, bool precise)
    {
        var live = taken || next ? InstructionFacts.Arithmetic : 0;
        for (var i = block.Length - 1; i >= 0; i--)
        {
            ref readonly var insn = ref block[i];
            uses[i] = (InstructionFacts.MayWrite(insn) & live) == 0 ? FlagUse.Dead : FlagUse.Live;
            var passes = facts.Supports(insn)
                && (InstructionFacts.CannotLeave(insn) || (!precise && IsBranch(insn)));
            live = passes ? (live & ~InstructionFacts.WrittenBy(insn)) | InstructionFacts.ReadBy(insn) : InstructionFacts.Arithmetic;
        }

        if (!precise && !(taken && next))
            Defer(block, uses);
    }

    /// <summary>
    /// Decides for a trace. <paramref name="sides"/> says of each branch within it whether the way out of it may look at the flags.
    /// </summary>
    /// <param name="live">Flags that may be looked at behind the trace's end.</param>
    /// <returns>Flags that may be looked at from its begin on.</returns>
    public RflagsBits FindUses(ReadOnlySpan<Instruction> trace, ReadOnlySpan<Turn> turns, ReadOnlySpan<bool> sides, FlagUse[] uses,
        RflagsBits live)
    {
        // Only branches of the trace look at the flags now; and only the next one does.
        var (forBranchesOnly, forNextOnly) = (false, false);
        for (var i = trace.Length - 1; i >= 0; i--)
        {
            ref readonly var insn = ref trace[i];
            var reads = InstructionFacts.ReadBy(insn);
            if (turns[i] != Turn.None || (i == trace.Length - 1 && IsBranch(insn)))
            {
                uses[i] = FlagUse.Dead;
                if (insn.FlowControl is not (FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch))
                {
                    // Calls and returns access memory; who is called otherwise may look.
                    (live, forBranchesOnly) = (InstructionFacts.Arithmetic, false);
                    continue;
                }

                if (sides[i])
                    live = InstructionFacts.Arithmetic;
                forNextOnly = live == 0;
                forBranchesOnly = forNextOnly || (forBranchesOnly && !sides[i]);
                live |= reads;
                continue;
            }

            var passes = facts.Supports(insn) && (InstructionFacts.CannotLeave(insn) || IsBranch(insn));
            var written = InstructionFacts.WrittenBy(insn);
            uses[i] = FlagUse.Live;
            if ((InstructionFacts.MayWrite(insn) & live) == 0)
                uses[i] = FlagUse.Dead;
            else if (forBranchesOnly && passes && written == InstructionFacts.Arithmetic)
                uses[i] = forNextOnly ? FlagUse.DeferredInPlace : FlagUse.Deferred;
            forNextOnly = false;
            forBranchesOnly &= passes && InstructionFacts.MayWrite(insn) == 0 && reads == 0;
            live = passes ? (live & ~written) | reads : InstructionFacts.Arithmetic;
        }

        return live;
    }

    private static bool IsBranch(in Instruction insn) => insn.Code.IsJccShortOrNear() || insn.Code.IsJmpShortOrNear();

    /// <summary>
    /// Leaves the last record of the block pending if only moves lie between it and the branch at the end, all of them fit to be
    /// crossed by values at hand.
    /// </summary>
    public void Defer(ReadOnlySpan<Instruction> block, FlagUse[] uses)
    {
        var last = block.Length - 1;
        var i = last;
        if (IsBranch(block[last]))
            i--;
        else if (block[last].FlowControl != FlowControl.Next)
            return;
        for (; i >= 0; i--)
        {
            ref readonly var insn = ref block[i];
            if (!facts.Supports(insn))
                return;
            if (InstructionFacts.MayWrite(insn) == 0)
            {
                if (!InstructionFacts.CannotLeave(insn))
                    return;
                continue;
            }

            // INC and DEC go without their carry, which the branch then must not ask for.
            var keepsCarry = insn.Mnemonic is Mnemonic.Inc or Mnemonic.Dec;
            var complete = InstructionFacts.WrittenBy(insn) == InstructionFacts.Arithmetic;
            if (uses[i] == FlagUse.Live
                && (complete || (keepsCarry && i >= last - 1 && (InstructionFacts.ReadBy(block[last]) & RflagsBits.CF) == 0)))
            {
                var inPlace = insn.Mnemonic is Mnemonic.Cmp or Mnemonic.Test && i >= last - 1 && IsBranch(block[last]);
                uses[i] = inPlace ? FlagUse.DeferredInPlace : FlagUse.Deferred;
            }

            return;
        }
    }
}
