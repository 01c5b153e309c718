using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>Turns guest code into IR, a basic block at a time. Not thread-safe: one per translating thread.</summary>
public sealed partial class X86Translator
{
    private const int PageSize = 4096;
    private const int MaxBlock = 128;

    private readonly X86Emitter _emitter;
    private readonly InstructionFacts _facts;
    private readonly CodeWindow _window = new();
    private readonly Decoder _decoder16, _decoder32, _decoder64;
    private readonly Instruction[] _instructions = new Instruction[MaxTrace];
    private readonly Turn[] _turns = new Turn[MaxTrace];
    private readonly FlagUse[] _flagUse = new FlagUse[MaxTrace];
    private readonly FlagLookahead _lookahead;
    private int _count;

    public X86Translator(X86Model model)
    {
        _emitter = new X86Emitter(model);
        _facts = new InstructionFacts(model);
        _lookahead = new FlagLookahead(_facts);
        var options = OptionsFor(model);
        _decoder16 = Decoder.Create(16, _window, options);
        _decoder32 = Decoder.Create(32, _window, options);
        _decoder64 = Decoder.Create(64, _window, options);
    }

    /// <summary>Exits to other pages may be linked directly (<see cref="Jit.Engine.LinksPages"/>).</summary>
    public bool LinksPages
    {
        set => _emitter.LinksPages = value;
    }

    /// <summary>What the flags come from now, where a block is about to run: most likely it will be that again.</summary>
    public CcOp LikelyFlags { get; set; }

    /// <summary>Units go to the native back end: x87 instructions may become its own operations.</summary>
    public bool IsNative { get; set; }

    /// <summary>
    /// Translates a basic block (or up to so many instructions) that begins at rip, an offset in CS: its linear address is
    /// <paramref name="codeBase"/> + <paramref name="rip"/>.
    /// </summary>
    public TranslatedBlock Translate(IrBuilder b, ICodeFetcher fetch, ulong rip, ulong codeBase, Mode mode, int maxInsns)
    {
        maxInsns = X86Emitter.IsSingle(mode) ? 1 : Math.Clamp(maxInsns, 1, MaxBlock);
        var is64 = (mode & Mode.Code64) != 0;
        var linear = is64 ? rip : (uint)(codeBase + rip);
        _emitter.Begin(b, mode, rip, codeBase, _instructions);
        _emitter.LikelyFlags = maxInsns > 1 ? LikelyFlags : CcOp.Eflags;
        b.HasFlatCode = is64;
        _emitter.InlinesFpu = IsNative && maxInsns > 1;
        if (_window.Open(fetch, linear, maxInsns * CodeWindow.MaxInstruction) == 0)
            return FetchFault(rip, linear, 0);

        var decoder = is64 ? _decoder64 : (mode & Mode.Code32) != 0 ? _decoder32 : _decoder16;
        decoder.IP = rip;
        _count = 0;
        var (failure, within) = (DecoderError.None, 0);
        while (_count < maxInsns)
        {
            var start = _window.Position;
            ref var insn = ref _instructions[_count];
            decoder.Decode(out insn);
            if (decoder.LastError == DecoderError.NoMoreBytes)
            {
                var boundary = linear + (ulong)_window.Length;
                if (_count > 0)
                {
                    if (boundary % CodeWindow.PageSize == 0)
                        _emitter.EndsInNextPage = _instructions[_count - 1].NextIP;
                    break;
                }

                if (!is64)
                    boundary = (uint)boundary;
                if (_window.Extend(fetch, boundary) == 0)
                    return FetchFault(rip, boundary, _window.Length);
                _window.Position = start;
                decoder.IP = rip;
                decoder.Decode(out insn);
            }

            failure = decoder.LastError;
            _turns[_count++] = Turn.None;
            if (failure != DecoderError.None)
                break;
            if (insn.FlowControl == FlowControl.Next)
                continue;
            if (_count == maxInsns || (mode & Mode.CodeBreakpoints) != 0 || !GoesOnBehind(insn, decoder))
                break;
            _turns[_count - 1] = Turn.Next;
            within = _count;
        }

        if (within != 0 && failure != DecoderError.None)
        {
            // What cannot be decoded gets a block of its own.
            (_count, failure, _turns[within - 1]) = (within, DecoderError.None, Turn.None);
        }

        var length = (int)(_instructions[_count - 1].NextIP - rip);
        if (length <= 0 || failure != DecoderError.None)
            length = Math.Max(1, _window.Position);
        _lookahead.Reset(linear, length);
        if (Array.IndexOf(_turns, Turn.Next, 0, _count) >= 0)
        {
            _emitter.BeginTrace();
            FindTraceFlags(fetch, decoder, false, codeBase, !is64);
            return Emit(b, length, failure, rip, false);
        }

        var precise = maxInsns == 1 || failure != DecoderError.None || (mode & Mode.CodeBreakpoints) != 0;
        var taken = precise || _lookahead.IsTakenLive(_window, decoder, fetch, _instructions[_count - 1], codeBase, !is64);
        var next = precise || _lookahead.IsNextLive(_window, decoder, fetch, _instructions[_count - 1], codeBase, !is64);
        _emitter.SetLiveExits(taken, next);
        _lookahead.FindUses(_instructions.AsSpan(0, _count), _flagUse, taken, next, precise);
        return Emit(b, length, failure, rip, maxInsns == 1);
    }

    /// <summary>
    /// Whether a block goes on behind a branch: the next instruction looks at the same flags, which only this block knows. What is
    /// decoded next is that instruction.
    /// </summary>
    private bool GoesOnBehind(in Instruction insn, Decoder decoder)
    {
        if (!insn.Code.IsJccShortOrNear())
            return false;
        var (position, ip) = (_window.Position, decoder.IP);
        decoder.Decode(out var next);
        var reads = decoder.LastError == DecoderError.None && _facts.Supports(next) && InstructionFacts.ReadBy(next) != 0;
        (_window.Position, decoder.IP) = (position, ip);
        return reads;
    }

    private TranslatedBlock Emit(IrBuilder b, int length, DecoderError failure, ulong rip, bool single)
    {
        var last = _count - 1;
        _emitter.SetLength(_count);
        _emitter.SelectInstruction(0);
        b.InsnStart(rip);
        _emitter.CheckCodeLimit(rip + (ulong)length - 1, single);
        var emitted = 0;
        while (emitted < _count && !_emitter.Ended)
        {
            _emitter.SelectInstruction(emitted, _flagUse[emitted]);
            _emitter.SetTurn(_turns[emitted], 0);
            if (emitted == last && failure != DecoderError.None)
                _emitter.EmitUndecodable(length - (int)(_instructions[last].IP - rip) >= CodeWindow.MaxInstruction);
            else
                _emitter.EmitInstruction(_facts.Supports(_instructions[emitted]));
            emitted++;
        }

        if (emitted < _count)
            length = (int)(_instructions[emitted].IP - rip);
        if (!_emitter.Ended)
            _emitter.FallThrough();
        _emitter.Finish();
        return new TranslatedBlock(length, emitted, _lookahead.Start, Math.Max(length, _lookahead.End), false);
    }

    private TranslatedBlock FetchFault(ulong rip, ulong linear, int length)
    {
        _emitter.EmitFetchFault(rip, linear);
        return new TranslatedBlock(Math.Max(1, length), 1, 0, Math.Max(1, length), true);
    }

    /// <summary>Prefixes mean different instructions on processors without the newer ones.</summary>
    private static DecoderOptions OptionsFor(X86Model model)
    {
        var options = DecoderOptions.None;
        if (!model.Has(X86Feature.Bmi1))
            options |= DecoderOptions.NoMPFX_0FBC;
        if (!model.Has(X86Feature.Abm))
            options |= DecoderOptions.NoMPFX_0FBD;
        if (!model.Has(X86Feature.LahfLm))
            options |= DecoderOptions.NoLahfSahf64;
        if (!model.Has(X86Feature.Wbnoinvd))
            options |= DecoderOptions.NoWbnoinvd;
        return options;
    }
}
