using Dromaius.Core.Cpus;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Jit;
using Dromaius.Jit.Interpreter;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <content>The vCPU loop: find or make the unit at the program counter, run it, deal with why it came back.</content>
public sealed unsafe partial class X86Cpu : IEngineClient, ICodeFetcher
{
    private const int MaxInstructions = 64;
    private const int RecentBits = 14;

    /// <summary>Units by host address: survives what empties the jump cache, and needs no lock.</summary>
    private readonly (UnitKey Key, Unit? Unit)[] _recent = new (UnitKey, Unit?)[1 << RecentBits];

    private IrBuilder _builder = null!;
    private X86Translator _translator = null!;
    private JumpCacheEntry* _jumpCache;
    private int _kicked;
    private int _thread;

    EngineState* IEngineClient.Engine => &State->Engine;

    void IEngineClient.WatchPage(byte* hostPage) => _tlb.WatchPage(hostPage);

    /// <summary>Joins the machine's engine, shared by all processors. Called once, before <see cref="Run"/>.</summary>
    public void Attach(Engine engine)
    {
        _engine = engine;
        engine.Add(this);
        Memory.ViewChanged += MemoryMapChanged;
        if (SmmMemory is { } smm)
            smm.ViewChanged += MemoryMapChanged;
    }

    /// <summary>At once when this processor made the change, else before its next block.</summary>
    private void MemoryMapChanged()
    {
        if (_thread == Environment.CurrentManagedThreadId)
            FlushTlb(true);
        else
            RequestTlbFlush();
    }

    private void InitializeEngine()
    {
        _builder = new IrBuilder(X86Layout.Layout);
        _translator = new X86Translator(Model);
        var bytes = (nuint)(sizeof(JumpCacheEntry) << EngineState.JumpCacheBits);
        _jumpCache = (JumpCacheEntry*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc(bytes, 64);
        for (var i = 0; i < 1 << EngineState.JumpCacheBits; i++)
            _jumpCache[i].Pc = ulong.MaxValue;
        State->Engine.JumpCache = _jumpCache;
    }

    /// <summary>
    /// Runs guest code on the calling thread until the processor halts or <see cref="Kick"/> asks it to come back. Never waits.
    /// </summary>
    /// <returns>False if it halted and has nothing to do.</returns>
    public bool Run()
    {
        _thread = Environment.CurrentManagedThreadId;
        Volatile.Write(ref _runs, true);
        while (true)
        {
            if (State->Engine.ExitRequest != 0 || HasRequests)
            {
                Volatile.Write(ref State->Engine.ExitRequest, 0);
                Interlocked.MemoryBarrier();
                var (rip, codeBase, mode) = (State->Rip, State->CodeBase, State->Mode);
                Lower(CpuRequest.Work);
                if (Interlocked.Exchange(ref _kicked, 0) != 0)
                {
                    State->Engine.LastExit = 0;
                    Volatile.Write(ref _runs, false);
                    return true;
                }

                ServicePending();
                // An interrupt changes where it goes on; one that stays masked must not keep new code from being linked.
                if (State->Rip != rip || State->CodeBase != codeBase || State->Mode != mode)
                    State->Engine.LastExit = 0;
                else if (Volatile.Read(ref _sampleAsked) != 0)
                    TakeSample();
            }

            if (State->Halted != 0 || WaitingForStartUp)
            {
                Volatile.Write(ref _runs, false);
                return false;
            }

            Step();
            HandleExit();
        }
    }

    /// <summary>Makes <see cref="Run"/> return soon and ends <see cref="Wait"/>. Any thread.</summary>
    public void Kick()
    {
        Volatile.Write(ref _kicked, 1);
        RequestExit();
        WakeEvent.Set();
    }

    /// <summary>Waits, halted, until there is something to do, a kick comes or the time has passed.</summary>
    /// <param name="milliseconds">-1 for no limit.</param>
    public void Wait(int milliseconds)
    {
        WakeEvent.Reset();
        if (Volatile.Read(ref _kicked) != 0)
            return;
        ServicePending();
        if (State->Halted == 0 && !WaitingForStartUp)
            return;
        WakeEvent.Wait(milliseconds);
    }

    private void HandleExit()
    {
        var reason = State->Engine.ExitReason;
        if (reason == ExitReason.None)
            return;
        State->Engine.ExitReason = ExitReason.None;
        switch (reason)
        {
            case ExitReason.Exception when State->ExceptionVector == RunAloneVector:
            case ExitReason.SingleInsn:
                RunAlone();
                break;
            case ExitReason.Exception:
                DeliverQueuedException();
                break;
            case ExitReason.Halt:
                State->Halted = 1;
                break;
        }
    }

    // Finding and making units.

    private int CodeMmuIndex => ((Mode)State->Mode & Mode.Cpl) == (Mode)3 ? 1 : 0;

    private UnitKey? CurrentKey(out bool device)
    {
        var host = _tlb.FindCode(CodeAddress(State->Rip), CodeMmuIndex, out device);
        return host == null ? null : new UnitKey((nint)host, State->Rip, State->CodeBase, State->Mode);
    }

    private ulong CodeAddress(ulong rip) => CodeLinear(rip, State->CodeBase, State->Mode);

    private static ulong CodeLinear(ulong rip, ulong codeBase, uint mode)
    {
        var linear = codeBase + rip;
        return (mode & (uint)Mode.Code64) != 0 ? linear : (uint)linear;
    }

    /// <summary>Runs from the program counter on until generated code leaves.</summary>
    private void Step()
    {
        var lastExit = State->Engine.LastExit;
        State->Engine.LastExit = 0;
        var unit = FindUnit(lastExit);
        if (unit == null)
            return;
        if (_engine!.TracesAlways && unit is { IsTrace: false, Samples: >= 0 } && CanTrace)
        {
            Trace(unit);
            return;
        }

        if (unit.Interpreted == null)
        {
            if (unit.Code == null)
                return; // thrown away meanwhile
            var entry = _jumpCache + EngineState.JumpIndex(State->Rip);
            entry->Pc = ulong.MaxValue;
            entry->CodeBase = State->CodeBase;
            entry->Mode = State->Mode | (ulong)State->JumpGeneration << 32;
            entry->Code = unit.Code;
            Volatile.Write(ref entry->Pc, State->Rip);
            if (unit.Invalid)
            {
                Volatile.Write(ref entry->Pc, ulong.MaxValue);
                return;
            }
        }

        State->Engine.GroupsEnd = 0;
        if (GuestLog.Has(LogItems.Exec | LogItems.Cpu))
            LogExec(unit);
        _engine!.Run(State, unit);
    }

    private static int RecentIndex(in UnitKey key)
    {
        var host = (ulong)key.Host;
        return (int)((host ^ host >> RecentBits ^ key.Mode) & ((1 << RecentBits) - 1));
    }

    private Unit? FindUnit(ulong lastExit)
    {
        var engine = _engine!;
        for (var attempt = 0; attempt < 100; attempt++)
        {
            var key = CurrentKey(out var device);
            if (key is not { } k)
            {
                if (device)
                    RunAlone();
                else
                    DeliverFetchFault();
                return null;
            }

            ref var recent = ref _recent[RecentIndex(k)];
            var unit = recent.Key == k && recent.Unit is { Invalid: false } known ? known : engine.Find(k);
            if (unit != null && Engine.SecondPage(unit) is var second && second != null)
            {
                // The next page may be mapped elsewhere now.
                var nextPage = CodeAddress((State->Rip | 0xFFF) + 1);
                if ((byte*)((nint)_tlb.FindCode(nextPage, CodeMmuIndex, out _) & ~0xFFF) != second)
                {
                    engine.Invalidate(unit);
                    unit = null;
                }
            }

            unit ??= TranslateUnit(k);
            if (unit == null)
            {
                lastExit = 0; // an instruction may have run alone: the exit does not lead here
                continue;
            }

            recent = (k, unit);
            NoteJump(unit);
            if (lastExit != 0)
                engine.Link(lastExit, unit, JumpSide);
            return unit;
        }

        RunAlone(); // other processors keep writing this code
        return null;
    }

    private Unit? TranslateUnit(in UnitKey key)
    {
        var address = CodeAddress(State->Rip);
        if (!TryRam(_tlb.CodePhysical(address, CodeMmuIndex), out var ram, out var offset))
        {
            RunAlone();
            return null;
        }

        var version = _engine!.Watch(ram, offset);
        var block = Translate(MaxInstructions);
        if (block.Transient)
        {
            RunAlone();
            return null;
        }

        RamBlock? ram2 = null;
        var offset2 = 0UL;
        var inFirst = 0x1000 - (int)(address & 0xFFF);
        if (block.WatchEnd > inFirst)
        {
            var next = CodeAddress((State->Rip | 0xFFF) + 1);
            if (_tlb.FindCode(next, CodeMmuIndex, out _) == null
                || !TryRam(_tlb.CodePhysical(next, CodeMmuIndex), out ram2, out offset2))
            {
                RunAlone();
                return null;
            }

            version = _engine.Watch(ram2, offset2) == version ? version : -1;
        }

        var extent = new CodeExtent(ram, offset, block.Length, -block.WatchStart, block.WatchEnd, ram2, offset2);
        var unit = _engine.Add(_builder, key, extent, version);
        if (unit != null && GuestLog.Has(TranslationItems))
            LogCompiled(unit);
        return unit;
    }

    private bool TryRam(ulong physical, out RamBlock ram, out ulong offset)
    {
        ram = null!;
        offset = 0;
        if (!((Softmmu.ITlbOwner)this).PhysicalSpace.View.TryFind(physical, out var range) || range.Region.Ram is not { } found)
            return false;
        ram = found;
        offset = range.Offset + (physical - range.Start);
        return true;
    }

    private TranslatedBlock Translate(int maxInstructions)
    {
        _builder.Reset();
        _translator.LinksPages = _engine!.LinksPages;
        _translator.IsNative = _engine.IsNative;
        _translator.LikelyFlags = (CcOp)State->CcOp;
        var block = _translator.Translate(_builder, this, State->Rip, State->CodeBase, (Mode)State->Mode, maxInstructions);
        if (GuestLog.Has(TranslationItems))
            LogTranslated(block.Length);
        return block;
    }

    private void DeliverFetchFault()
    {
        if (_tlb.Fault == NotCanonical)
            QueueException(13, 0, true);
        else
        {
            State->Cr2 = _tlb.FaultAddress;
            QueueException(14, _tlb.Fault, true);
        }

        State->Engine.ExitReason = ExitReason.None;
        DeliverQueuedException();
    }

    /// <summary>Runs one instruction that may be anywhere and may change its own bytes.</summary>
    private void RunAlone()
    {
        _mayWriteOwnCode = true;
        try
        {
            Translate(1);
            IrInterpreter.Compile(_builder).Run(State);
        }
        finally
        {
            _mayWriteOwnCode = false;
        }

        State->Engine.LastExit = 0;
        if (State->Engine.ExitReason is ExitReason.Exception or ExitReason.Halt)
            HandleExit();
        else
            State->Engine.ExitReason = ExitReason.None;
    }

    int ICodeFetcher.Fetch(ulong linear, Span<byte> into)
    {
        var done = 0;
        while (done < into.Length)
        {
            var address = (linear + (ulong)done) & ((Softmmu.ITlbOwner)this).AddressMask;
            var host = _tlb.FindCode(address, CodeMmuIndex, out var device);
            if (host == null && !device)
                break;
            var n = Math.Min(into.Length - done, 0x1000 - (int)(address & 0xFFF));
            if (host != null)
                new ReadOnlySpan<byte>(host, n).CopyTo(into[done..]);
            else
                ((Softmmu.ITlbOwner)this).PhysicalSpace.Read(_tlb.CodePhysical(address, CodeMmuIndex), into.Slice(done, n));
            done += n;
        }

        return done;
    }
}
