using Dromaius.Core.Errors;
using Dromaius.Jit;
using Dromaius.Jit.Interpreter;

namespace Dromaius.Cpu.X86;

/// <content>
/// Traces of hot code. Now and then a sample is asked for; where execution then stands, at a backward or looked-up jump, is where time
/// goes. Code found there twice is run block by block to see which way it goes, and that path becomes one unit.
/// </content>
public sealed unsafe partial class X86Cpu
{
    private const int SamplesForTrace = 2;

    /// <summary>How often a loop must go the same way, and how often that is tried.</summary>
    private const int Rounds = 3, Attempts = 4;

    // The blocks that ran, where they begin and in the interpreter's form.
    private readonly ulong[] _path = new ulong[X86Translator.MaxLoopBlocks * Rounds];
    private readonly (Unit Unit, InterpretedUnit Form)[] _recorded = new (Unit, InterpretedUnit)[X86Translator.MaxLoopBlocks * Rounds];
    private int _sampleAsked;

    // Inside of Run.
    private bool _runs;

    bool IEngineClient.RequestSample()
    {
        if (!Volatile.Read(ref _runs))
            return false;
        Volatile.Write(ref _sampleAsked, 1);
        RequestExit();
        return true;
    }

    /// <summary>Code at the program counter was found running.</summary>
    private void TakeSample()
    {
        Volatile.Write(ref _sampleAsked, 0);
        if (CanTrace && CurrentKey(out _) is { } key && _engine!.Find(key) is { IsTrace: false, Samples: >= 0 } unit
            && ++unit.Samples >= SamplesForTrace)
            Trace(unit);
    }

    /// <summary>How far a path goes the way of the one before from the same unit.</summary>
    private Span<ulong> TakenTwice(Unit unit, Span<ulong> path)
    {
        if (path.Length == 0)
            return [];
        if (unit.Path is { } before)
            return path[..path.CommonPrefixLength(before)];
        if (_engine!.TracesAlways)
            return path;
        unit.Path = path.ToArray();
        return [];
    }

    private bool CanTrace => State->Halted == 0 && (State->Mode & (uint)(Mode.Code64 | Mode.Code32)) != 0
        && (State->Mode & (uint)Mode.CodeBreakpoints) == 0 && !X86Emitter.IsSingle((Mode)State->Mode);

    /// <summary>Runs the code from a unit's begin on, once, and makes a trace of the path it took. Execution goes on behind it.</summary>
    private void Trace(Unit unit)
    {
        if (!_engine!.MayTrace(unit))
        {
            unit.Samples = -1;
            return;
        }

        unit.Samples = ++unit.Attempts < Attempts ? 0 : -1;
        var (key, mode, codeBase) = (unit.Key, State->Mode, State->CodeBase);
        var path = Record(unit, out var loops);
        Array.Clear(_recorded);
        State->Engine.LastExit = 0;
        if (!loops)
            path = TakenTwice(unit, path);
        if (path.Length == 0)
            return;
        var address = CodeLinear(path[0], codeBase, mode);
        // The path may have changed what addresses mean.
        var host = _tlb.FindCode(address, (mode & (uint)Mode.Cpl) == 3 ? 1 : 0, out _);
        if (host == null || (nint)host != key.Host + (nint)(path[0] - key.Pc) || State->Mode != mode || State->CodeBase != codeBase
            || !TryRam(_tlb.CodePhysical(address, CodeMmuIndex), out var ram, out var offset))
            return;
        var version = _engine.Watch(ram, offset);
        _builder.Reset();
        _builder.NoteLikelyValues(new ReadOnlySpan<ulong>(State->Gpr, 16));
        _translator.LinksPages = _engine.LinksPages;
        _translator.IsNative = _engine.IsNative;
        var block = _translator.TranslateTrace(_builder, this, path, ref loops, codeBase, (Mode)mode);
        if (block.Instructions == 0 || (path.Length < 2 && !loops))
            return;
        unit.Samples = -1;
        if (GuestLog.Has(TranslationItems))
            LogTrace(path, loops);
        var extent = new CodeExtent(ram, offset, block.Length, -block.WatchStart, block.WatchEnd, null, 0, Trace: true);
        var trace = _engine.Add(_builder, key with { Host = (nint)host, Pc = path[0] }, extent, version);
        if (trace != null && GuestLog.Has(TranslationItems))
            LogCompiled(trace);
    }

    /// <summary>
    /// Runs block by block until the path has gone round a loop several times, leaves the page, or goes where no trace can follow.
    /// </summary>
    /// <param name="unit">The first block.</param>
    /// <param name="loops">The path is one round of a loop.</param>
    /// <returns>Blocks of the path that ran to their end; none if something came between, or if it is neither a loop nor straight.</returns>
    private Span<ulong> Record(Unit unit, out bool loops)
    {
        var (mode, codeBase) = (State->Mode, State->CodeBase);
        var page = CodeAddress(State->Rip) >> 12;
        var longest = Math.Min(_engine!.TraceBlocks, X86Translator.MaxLoopBlocks);
        var straight = Math.Min(longest, X86Translator.MaxTraceBlocks);
        var (count, repeats) = (0, false);
        loops = false;
        while (count < longest * Rounds && (repeats || count < straight))
        {
            repeats |= _path.AsSpan(0, count).Contains(State->Rip);
            _path[count] = State->Rip;
            var end = RunBlock(unit, count, mode, codeBase);
            if (end == BlockEnd.Interrupted)
                return [];
            count++;
            if (end == BlockEnd.GoesOn && LoopLength(_path.AsSpan(0, count), longest) is var length and > 0
                && State->Rip == _path[count - length])
            {
                loops = true;
                return _path.AsSpan(count - length, length);
            }

            if (end == BlockEnd.Elsewhere || CodeAddress(State->Rip) >> 12 != page || NextUnit() is not { IsTrace: false } next)
                break;
            unit = next;
        }

        return repeats ? [] : _path.AsSpan(0, Math.Min(count, straight));
    }

    /// <summary>Blocks in the shortest loop that the end of a path goes round as often as a trace takes; 0: none.</summary>
    private static int LoopLength(ReadOnlySpan<ulong> path, int longest)
    {
        for (var length = 1; length <= longest && length * Rounds <= path.Length; length++)
        {
            var rounds = path[^(length * Rounds)..];
            if (rounds[length..].SequenceEqual(rounds[..^length]))
                return length;
        }

        return 0;
    }

    private enum BlockEnd
    {
        GoesOn,

        /// <summary>At an address or in a mode that a helper left.</summary>
        Elsewhere,

        /// <summary>By an exception or a request of its own.</summary>
        Interrupted,
    }

    /// <summary>Interprets the block at the program counter, so that nothing it leads to runs.</summary>
    private BlockEnd RunBlock(Unit unit, int index, uint mode, ulong codeBase)
    {
        ref var recorded = ref _recorded[index];
        // What lies on two pages may be elsewhere by now.
        for (var i = index - 1; i >= 0 && recorded.Form == null && Engine.SecondPage(unit) == null; i--)
        {
            if (_recorded[i].Unit == unit)
                recorded = _recorded[i];
        }

        if (recorded.Form == null)
        {
            _builder.Reset();
            _translator.LinksPages = false;
            _translator.IsNative = false;
            if (_translator.Translate(_builder, this, State->Rip, codeBase, (Mode)mode, MaxInstructions).Transient)
                return BlockEnd.Interrupted;
            recorded = (unit, IrInterpreter.Compile(_builder));
        }

        var exit = recorded.Form.Run(State);
        if (State->Engine.ExitReason != ExitReason.None)
        {
            HandleExit();
            return BlockEnd.Interrupted;
        }

        return exit == UnitExit.Lookup || State->Mode != mode || State->CodeBase != codeBase
            ? BlockEnd.Elsewhere
            : BlockEnd.GoesOn;
    }

    /// <summary>
    /// The unit at the program counter, if there is one. Only then may the block be interpreted: the engine must know of it to see that it
    /// writes its own code.
    /// </summary>
    private Unit? NextUnit()
    {
        if (CurrentKey(out _) is not { } key)
            return null;
        return _engine!.Find(key) ?? (_engine.TracesAlways ? TranslateUnit(key) : null);
    }
}
