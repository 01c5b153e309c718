using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <content>
/// Traces: several basic blocks along a path that execution took, as one unit. Branches within it leave it on the side not taken;
/// registers, flags and address checks are kept across them. A path that comes back to its begin becomes a loop behind one
/// straight run of it, which finds out what is where.
/// </content>
public sealed partial class X86Translator
{
    /// <summary>Blocks at most in a trace that goes one way, and in one that is a loop.</summary>
    public const int MaxTraceBlocks = 16, MaxLoopBlocks = 40;

    private const int MaxTrace = 256;

    private readonly ulong[] _next = new ulong[MaxTrace];
    private readonly bool[] _sides = new bool[MaxTrace];

    /// <summary>Translates the blocks at these offsets in CS, all on one page.</summary>
    /// <param name="b">Gets the operations.</param>
    /// <param name="fetch">Where the code is.</param>
    /// <param name="path">The blocks in the order in which they ran.</param>
    /// <param name="loops">Behind the last one the first came again. Set also if a branch on the path leads back to its begin: the
    /// way that leaves a loop was taken by chance.</param>
    /// <param name="codeBase">Linear address of the code segment.</param>
    /// <param name="mode">The mode at the begin.</param>
    /// <returns>No instructions if the path cannot be a trace.</returns>
    public TranslatedBlock TranslateTrace(IrBuilder b, ICodeFetcher fetch, ReadOnlySpan<ulong> path, ref bool loops, ulong codeBase,
        Mode mode)
    {
        var is64 = (mode & Mode.Code64) != 0;
        var linear = is64 ? path[0] : (uint)(codeBase + path[0]);
        var decoder = is64 ? _decoder64 : _decoder32;
        _emitter.Begin(b, mode, path[0], codeBase, _instructions);
        _emitter.BeginTrace();
        _emitter.InlinesFpu = IsNative;
        b.HasFlatCode = is64;
        b.IsHot = true;
        _lookahead.Reset(linear, 0);
        _count = 0;
        for (var k = 0; k < path.Length; k++)
        {
            var last = k == path.Length - 1;
            ulong? next = !last ? path[k + 1] : loops ? path[0] : null;
            if (!DecodeBlock(fetch, decoder, path[k], next, linear, codeBase, !is64))
                return default;
            ref readonly var branch = ref _instructions[_count - 1];
            if (loops || branch.FlowControl != FlowControl.ConditionalBranch || !IsNear(branch) || branch.NearBranchTarget != path[0])
                continue;
            (loops, _turns[_count - 1], _next[_count - 1]) = (true, Turn.Taken, path[0]);
            break;
        }

        FindTraceFlags(fetch, decoder, loops, codeBase, !is64);
        if (!EmitTrace(b, path[0], loops))
            return default;
        _emitter.Finish();
        return new TranslatedBlock(_lookahead.End, _count, _lookahead.Start, _lookahead.End, false);
    }

    /// <summary>Adds the instructions of a block, up to the branch that leads to the next.</summary>
    private bool DecodeBlock(ICodeFetcher fetch, Decoder decoder, ulong rip, ulong? next, ulong head, ulong codeBase, bool wrap)
    {
        var linear = wrap ? (uint)(codeBase + rip) : rip;
        if ((linear ^ head) / PageSize != 0 || _window.Open(fetch, linear, MaxBlock * CodeWindow.MaxInstruction) == 0)
            return false;
        decoder.IP = rip;
        while (_count < MaxTrace)
        {
            ref var insn = ref _instructions[_count];
            decoder.Decode(out insn);
            if (decoder.LastError != DecoderError.None || !_facts.Supports(insn))
                return false;
            var start = (int)(long)(linear - head) + _window.Position - insn.Length;
            _lookahead.Include(start, start + insn.Length);
            var turn = insn.FlowControl switch
            {
                FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch when IsNear(insn)
                    && insn.NearBranchTarget == next => Turn.Taken,
                FlowControl.Call when IsNear(insn) && insn.NearBranchTarget == next => Turn.Taken,
                FlowControl.ConditionalBranch when insn.NextIP == next => Turn.Next,
                FlowControl.IndirectBranch or FlowControl.IndirectCall or FlowControl.Return when next != null && IsNearIndirect(insn)
                    => Turn.Taken,
                _ => Turn.None,
            };
            var within = turn == Turn.None && GoesOnBehind(insn, decoder);
            _next[_count] = next ?? 0;
            _turns[_count++] = within ? Turn.Next : turn;
            if (insn.FlowControl != FlowControl.Next && !within)
                return next == null || turn != Turn.None;
            if (insn.NextIP == next)
                return true;
        }

        return next == null;
    }

    private static bool IsNear(in Instruction insn) =>
        insn.Op0Kind is OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64;

    private static bool IsNearIndirect(in Instruction insn) => insn.Code is Code.Retnd or Code.Retnd_imm16 or Code.Retnq
        or Code.Retnq_imm16 or Code.Jmp_rm32 or Code.Jmp_rm64 or Code.Call_rm32 or Code.Call_rm64;

    private void FindTraceFlags(ICodeFetcher fetch, Decoder decoder, bool loops, ulong codeBase, bool wrap)
    {
        var trace = _instructions.AsSpan(0, _count);
        for (var i = 0; i < trace.Length; i++)
        {
            ref readonly var insn = ref trace[i];
            _sides[i] = _turns[i] != Turn.None && insn.FlowControl == FlowControl.ConditionalBranch
                && _lookahead.IsLive(_window, decoder, fetch, _turns[i] == Turn.Taken ? insn.NextIP : insn.NearBranchTarget, codeBase, wrap);
        }

        if (loops)
        {
            // What the begin looks at is what matters at the end.
            var atBegin = _lookahead.FindUses(trace, _turns, _sides, _flagUse, InstructionFacts.Arithmetic);
            _lookahead.FindUses(trace, _turns, _sides, _flagUse, atBegin);
            return;
        }

        var taken = _lookahead.IsTakenLive(_window, decoder, fetch, trace[^1], codeBase, wrap);
        var next = _lookahead.IsNextLive(_window, decoder, fetch, trace[^1], codeBase, wrap);
        _emitter.SetLiveExits(taken, next);
        _lookahead.FindUses(trace, _turns, _sides, _flagUse, taken || next ? InstructionFacts.Arithmetic : 0);
        if (!(taken && next))
            _lookahead.Defer(trace, _flagUse);
    }

    private bool EmitTrace(IrBuilder b, ulong head, bool loops)
    {
        _emitter.SetLength(_count);
        _emitter.SelectInstruction(0);
        b.InsnStart(head);
        _emitter.CheckCodeLimit(head + (ulong)_lookahead.End - 1, false);
        if (!EmitRun(loops))
            return false;
        if (loops)
        {
            if (!_emitter.KeepsMode)
                return false;
            var loop = _emitter.LoopHead();
            if (!EmitRun(true))
                return false;
            _emitter.LoopBack(loop, head);
        }
        else if (!_emitter.Ended)
            _emitter.FallThrough();
        return true;
    }

    /// <summary>All instructions once; false if one of them ends the block too early.</summary>
    private bool EmitRun(bool goesOn)
    {
        for (var i = 0; i < _count; i++)
        {
            if (_emitter.Ended)
                return false;
            _emitter.SelectInstruction(i, _flagUse[i]);
            _emitter.SetTurn(_turns[i], _next[i]);
            _emitter.EmitInstruction(true);
        }

        return !goesOn || !_emitter.Ended;
    }
}
