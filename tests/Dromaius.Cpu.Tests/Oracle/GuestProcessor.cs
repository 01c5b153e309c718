using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Cpu.X86;
using Dromaius.Jit;
using Dromaius.Jit.Interpreter;
using Dromaius.Jit.Ir;
using Dromaius.Jit.X64;
using HostMemory = System.Runtime.InteropServices.NativeMemory;

namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>Runs one instruction through decoder, translator and IR back end, in 64-bit user mode with memory mapped one to one.</summary>
internal sealed unsafe class GuestProcessor : ICodeFetcher, IDisposable
{
    private const int JumpCacheSize = 1 << EngineState.JumpCacheBits;
    private readonly CodeCache? _cache;
    private readonly X64Compiler? _compiler;
    private readonly JumpCacheEntry* _jumpCache;
    private readonly RamBlock _arena = new("arena", MachineState.ArenaSize);
    private readonly X86Cpu _cpu;
    private readonly X86Translator _translator;
    private readonly IrBuilder _builder = new(X86Layout.Layout);
    private byte[] _code = [];
    private ulong _start;
    private int _runs;

    /// <param name="native">Compile to host code instead of interpreting.</param>
    public GuestProcessor(bool native)
    {
        var root = MemoryRegion.Container("memory", 0);
        root.Add(MachineState.ArenaBase, MemoryRegion.RamRegion("arena", _arena));
        var gate = new Lock();
        var memory = new AddressSpace("memory", root, gate);
        var io = new AddressSpace("io", MemoryRegion.Container("io", 0x10000), gate);
        var model = X86Model.Find("max") ?? throw new InvalidOperationException("no CPU model 'max'");
        _cpu = new X86Cpu(0, model, memory, io, new ManualClock());
        _translator = new X86Translator(model);

        // Every look-up misses: a unit runs alone.
        _jumpCache = (JumpCacheEntry*)HostMemory.Alloc(JumpCacheSize, (nuint)sizeof(JumpCacheEntry));
        for (var i = 0; i < JumpCacheSize; i++)
            _jumpCache[i] = new JumpCacheEntry { Mode = ulong.MaxValue };
        _cpu.State->Engine.JumpCache = _jumpCache;
        if (native)
        {
            _cache = new CodeCache(16 << 20);
            _compiler = new X64Compiler(_cache, X86Layout.Layout, X86Layout.Layout.Memory!);
            _translator.IsNative = true;
        }
    }

    /// <summary>How many traces ran.</summary>
    public int Traces { get; private set; }

    /// <summary>Executes code on the state, in place, until it leaves the code or faults.</summary>
    /// <param name="code">One instruction or more, at the state's address.</param>
    /// <param name="state">Registers and memory.</param>
    /// <param name="blockLength">Most instructions that are translated together.</param>
    /// <param name="loop">The blocks of a loop around it all, to be translated as a trace; null for none.</param>
    public void Run(byte[] code, MachineState state, int blockLength = 1, ulong[]? loop = null)
    {
        _code = code;
        _start = state.Rip;
        Load(state);
        // Every other time each page is new to the TLB: accesses take their cold paths.
        if ((_runs++ & 1) != 0)
            _cpu.FlushTlb(true);
        var s = _cpu.State;
        var loops = true;
        do
        {
            _builder.Reset();
            if (loop == null || s->Rip != loop[0]
                || _translator.TranslateTrace(_builder, this, loop, ref loops, s->CodeBase, (Mode)s->Mode).Instructions == 0)
            {
                _builder.Reset();
                // Right and wrong in turn.
                _translator.LikelyFlags = (_runs & 2) != 0 ? (CcOp)s->CcOp : CcOp.Sub + (uint)(_runs >> 2 & 3);
                _ = _translator.Translate(_builder, this, s->Rip, s->CodeBase, (Mode)s->Mode, blockLength);
            }
            else
                Traces++;

            if (IrVerifier.Verify(_builder) is { } complaint)
                throw new InvalidOperationException(complaint);
            if (_compiler != null)
                RunNative(s);
            else
                _ = IrInterpreter.Compile(_builder).Run(s);
        }
        while (s->Engine.ExitReason == ExitReason.None && s->Rip + s->CodeBase - _start < (ulong)code.Length
            && (loop != null || s->Rip + s->CodeBase != _start));
        Store(state);
    }

    /// <summary>The host code for a block in 64-bit user mode, without its cold paths; or for a trace that loops, if it can be one.</summary>
    public ReadOnlySpan<byte> Compile(byte[] code, bool loops, out ulong address)
    {
        address = 0;
        var state = new MachineState { Rip = MachineState.CodeBase, Mxcsr = 0x1F80, FpControl = 0x37F, FpTags = 0x0F };
        _code = code;
        _start = state.Rip;
        Load(state);
        _builder.Reset();
        var mode = (Mode)_cpu.State->Mode;
        var block = loops
            ? _translator.TranslateTrace(_builder, this, [state.Rip], ref loops, 0, mode)
            : _translator.Translate(_builder, this, state.Rip, 0, mode, 64);
        if (block.Instructions == 0)
            return [];
        if (_cache!.Used > _cache.Size / 2)
            _compiler!.Clear();
        if (!_compiler!.TryCompile(_builder, 1, out var unit))
            throw new InvalidOperationException("the unit does not compile");
        address = (ulong)unit.Code;
        return new ReadOnlySpan<byte>(unit.Code, unit.HotLength);
    }

    /// <summary>The IR of the last instruction.</summary>
    public string PrintIr() => IrPrinter.Print(_builder);

    public int Fetch(ulong linear, Span<byte> into)
    {
        if (linear - _start >= (ulong)_code.Length)
            return 0;
        var rest = _code.AsSpan((int)(linear - _start));
        var n = Math.Min(into.Length, rest.Length);
        rest[..n].CopyTo(into);
        return n;
    }

    private void RunNative(X86State* s)
    {
        if (!_compiler!.TryCompile(_builder, 1, out var unit))
        {
            _compiler.Clear();
            if (!_compiler.TryCompile(_builder, 1, out unit))
                throw new InvalidOperationException("the unit does not compile");
        }

        _compiler.Thunks.Enter(s, unit.Code);
    }

    public void Dispose()
    {
        HostMemory.Free(_jumpCache);
        _cache?.Dispose();
        _cpu.Dispose();
        _arena.Dispose();
    }

    private void Load(MachineState state)
    {
        var s = _cpu.State;
        s->Cr0 = 0x33; // PE, MP, ET, NE
        s->Cr4 = 0x40620; // PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
        s->Efer = 0x501; // SCE, LME, LMA
        s->Xcr0 = 7;
        s->Cs = new Segment { Limit = uint.MaxValue, Attributes = 0xA0FB, Selector = 0x33 };
        s->Ss = s->Ds = s->Es = new Segment { Limit = uint.MaxValue, Attributes = 0xC0F3, Selector = 0x2B };
        if (state.Bits == 32)
        {
            s->Cs.Attributes = 0xC0FB;
            s->Cs.Selector = 0x23;
        }
        else if (state.Bits == 16)
        {
            s->Cs = new Segment { Base = state.CodeSegment, Limit = 0xFFFF, Attributes = 0x00FB, Selector = 0x07 };
            s->Ss = s->Ds = s->Es = new Segment
            {
                Base = state.DataSegment,
                Limit = MachineState.ArenaSize - 1,
                Attributes = 0x00F3,
                Selector = 0x0F,
            };
        }

        for (var i = 0; i < 16; i++)
            s->Gpr[i] = state.Gpr[i];
        s->Rip = state.Rip - state.CodeSegment;
        s->Eflags = (state.Rflags & 0x400) | 0x202;
        s->CcOp = (ulong)CcOp.Eflags;
        s->CcSrc = state.Rflags & 0x8D5;
        state.Ymm.CopyTo(new Span<byte>(s->Ymm, 512));
        s->Mxcsr = state.Mxcsr;
        s->FpControl = state.FpControl;
        s->FpTop = (uint)(state.FpStatus >> 11) & 7;
        s->FpStatus = (ushort)(state.FpStatus & ~0x3800);
        s->FpEmpty = (byte)~state.FpTags;
        for (var i = 0; i < 8; i++)
        {
            var slot = new Span<byte>(&s->FpRegs[2 * (int)((s->FpTop + (uint)i) & 7)], 16);
            slot.Clear();
            state.Fp.AsSpan(i * 10, 10).CopyTo(slot);
        }

        state.Memory.CopyTo(_arena.Span(0, MachineState.ArenaSize));
        s->Engine.ExitReason = ExitReason.None;
        s->Engine.ExitRequest = 0;
        _cpu.UpdateMode();
    }

    private void Store(MachineState state)
    {
        var s = _cpu.State;
        state.Trap = s->Engine.ExitReason == ExitReason.Exception ? (int)s->ExceptionVector : MachineState.NoTrap;
        for (var i = 0; i < 16; i++)
            state.Gpr[i] = s->Gpr[i];
        state.Rip = s->Rip + state.CodeSegment;
        state.Rflags = _cpu.ReadEflags();
        new Span<byte>(s->Ymm, 512).CopyTo(state.Ymm);
        state.Mxcsr = s->Mxcsr;
        state.FpControl = s->FpControl;
        state.FpStatus = (ushort)(s->FpStatus | s->FpTop << 11);
        state.FpTags = (byte)~s->FpEmpty;
        for (var i = 0; i < 8; i++)
        {
            var slot = new Span<byte>(&s->FpRegs[2 * (int)((s->FpTop + (uint)i) & 7)], 16);
            slot[..10].CopyTo(state.Fp.AsSpan(i * 10, 10));
        }

        _arena.Span(0, MachineState.ArenaSize).CopyTo(state.Memory);
    }
}
