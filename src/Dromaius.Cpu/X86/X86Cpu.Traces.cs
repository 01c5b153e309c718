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

    /// <summary>How often a loop must go the same way again, and how often that is tried.</summary>
    private const int Repetitions = 2, Attempts = 4;

    private readonly ulong[] _path = new ulong[X86Translator.MaxTraceBlocks];
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
        var count = Record(out var first);
        State->Engine.LastExit = 0;
        if (count == 0)
            return;
        var loops = first >= 0;
        var path = loops ? _path.AsSpan(first, count - first) : TakenTwice(unit, _path.AsSpan(0, count));
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

    /// <summary>Runs block by block until the path closes, leaves the page, or goes where no trace can follow.</summary>
    /// <param name="loop">Index in the path of the block that came again, or -1.</param>
    /// <returns>Blocks of the path that ran to their end; 0 if something came between.</returns>
    private int Record(out int loop)
    {
        loop = -1;
        var (mode, codeBase) = (State->Mode, State->CodeBase);
        var page = CodeAddress(State->Rip) >> 12;
        var limit = Math.Min(_engine!.TraceBlocks, _path.Length);
        for (var count = 0; count < limit;)
        {
            _path[count++] = State->Rip;
            switch (RunBlock(mode, codeBase))
            {
                case BlockEnd.Interrupted:
                    return 0;
                case BlockEnd.Elsewhere:
                    return count;
            }

            if (CodeAddress(State->Rip) >> 12 != page)
                return count;
            loop = _path.AsSpan(0, count).IndexOf(State->Rip);
            if (loop >= 0)
                return Repeats(loop, count, mode, codeBase) ? count : 0;
            if (!IsTranslated(out var isTrace) || isTrace)
                return count;
        }

        return limit;
    }

    /// <summary>The loop takes the same path again.</summary>
    private bool Repeats(int first, int count, uint mode, ulong codeBase)
    {
        for (var n = 0; n < Repetitions; n++)
        {
            for (var i = first; i < count; i++)
            {
                if (State->Rip != _path[i] || RunBlock(mode, codeBase) != BlockEnd.GoesOn)
                    return false;
            }
        }

        return true;
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
    private BlockEnd RunBlock(uint mode, ulong codeBase)
    {
        _builder.Reset();
        _translator.LinksPages = false;
        _translator.IsNative = false;
        if (_translator.Translate(_builder, this, State->Rip, codeBase, (Mode)mode, MaxInstructions).Transient)
            return BlockEnd.Interrupted;
        var exit = IrInterpreter.Compile(_builder).Run(State);
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
    /// Whether there is a unit at the program counter. Only then may the block be interpreted: the engine must know of it to see
    /// that it writes its own code.
    /// </summary>
    private bool IsTranslated(out bool isTrace)
    {
        isTrace = false;
        if (CurrentKey(out _) is not { } key)
            return false;
        var unit = _engine!.Find(key) ?? (_engine.TracesAlways ? TranslateUnit(key) : null);
        isTrace = unit is { IsTrace: true };
        return unit != null;
    }
}
