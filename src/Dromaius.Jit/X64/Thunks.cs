using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>
/// The code between C# and units: entry, exit, and one bridge for each helper. A bridge stores the pinned globals, calls,
/// leaves generated code if the helper asked for it, and loads the pinned globals again. Units therefore see a call that
/// changes nothing but vectors and flags.
/// </summary>
/// <remarks>
/// Frame of generated code: RSP is 16-byte aligned; [RSP] holds the host's MXCSR, [RSP+4] its x87 control word. Arguments and result of helpers travel
/// in <see cref="EngineState.Args"/> and <see cref="EngineState.Result"/>.
/// </remarks>
internal sealed unsafe class Thunks
{
    private const int HostX87Control = 4;

    private readonly CodeCache _cache;
    private readonly GuestLayout _layout;
    private readonly Reg[] _pin;
    private readonly Dictionary<nint, nint> _bridges = [];
    private readonly Assembler _asm = new();

    public Thunks(CodeCache cache, GuestLayout layout, Reg[] pin, GuestMemoryCallbacks memory)
    {
        _cache = cache;
        _layout = layout;
        _pin = pin;
        Enter = (delegate* unmanaged<void*, byte*, void>)Emit(EmitEnter);
        Exit = (byte*)Emit(a => EmitExit(a, true));
        ExitStored = (byte*)Emit(a => EmitExit(a, false));
        Load = Bridge((nint)memory.Load, 2, true);
        Store = Bridge((nint)memory.Store, 3, true);
        Rmw = Bridge((nint)memory.Rmw, 3, true);
        Cas = Bridge((nint)memory.Cas, 4, true);
        VecLoad = Bridge((nint)memory.VecLoad, 2, true);
        VecStore = Bridge((nint)memory.VecStore, 2, true);
    }

    /// <summary>Runs code with a CPU state until it leaves.</summary>
    public delegate* unmanaged<void*, byte*, void> Enter { get; }

    /// <summary>Jumped to in order to leave: stores the pinned globals.</summary>
    public byte* Exit { get; }

    /// <summary>Jumped to in order to leave when the state in memory is right already.</summary>
    public byte* ExitStored { get; }
    public byte* Load { get; }
    public byte* Store { get; }
    public byte* Rmw { get; }
    public byte* Cas { get; }
    public byte* VecLoad { get; }
    public byte* VecStore { get; }

    /// <summary>The bridge of a helper, made on first use. Returns null when the cache is full.</summary>
    public byte* Of(Helper helper)
    {
        if (_bridges.TryGetValue((nint)helper.Code, out var known))
            return (byte*)known;
        return Bridge((nint)helper.Code, 4, (helper.Effects & HelperEffects.MayExit) != 0);
    }

    /// <summary>Every bridge the back end may need later must exist before the cache is used for units.</summary>
    private byte* Bridge(nint code, int args, bool mayExit)
    {
        var at = (byte*)Emit(a => EmitBridge(a, code, args, mayExit));
        _bridges[code] = (nint)at;
        return at;
    }

    /// <summary>Forgets bridges that a cleared cache no longer holds.</summary>
    public void DropAfter(byte* execLimit)
    {
        List<nint> gone = [];
        foreach (var (code, at) in _bridges)
        {
            if (at >= (nint)execLimit)
                gone.Add(code);
        }

        foreach (var code in gone)
            _bridges.Remove(code);
    }

    private nint Emit(Action<Assembler> body)
    {
        _asm.Begin(_cache.Next, _cache.End, _cache.ExecDelta);
        _asm.Align(16);
        var at = _asm.ExecPosition;
        body(_asm);
        _cache.Commit(_asm.Position);
        return (nint)at;
    }

    private int Eng(int offset) => _layout.EngineOffset + offset;

    private void LoadPinned(Assembler a)
    {
        for (var g = 0; g < _pin.Length; g++)
        {
            if (_pin[g] != Reg.None)
                a.Load(3, _pin[g], new Mem(Allocator.State, _layout.Globals[g].Offset));
        }
    }

    private void StorePinned(Assembler a)
    {
        for (var g = 0; g < _pin.Length; g++)
        {
            if (_pin[g] != Reg.None)
                a.Store(3, new Mem(Allocator.State, _layout.Globals[g].Offset), _pin[g]);
        }
    }

    private static ReadOnlySpan<Reg> Saved => [Reg.Rbx, Reg.Rbp, Reg.R12, Reg.R13, Reg.R14, Reg.R15];

    private void EmitEnter(Assembler a)
    {
        foreach (var r in Saved)
            a.Push(r);
        a.OpImm(Alu.Sub, 3, Reg.Rsp, 8);
        a.Mov(3, Allocator.State, Reg.Rdi);
        a.Mov(3, Reg.R10, Reg.Rsi);
        a.Stmxcsr(new Mem(Reg.Rsp, 0));
        LoadFpControl(a, Reg.R11);
        EnterX87(a);
        LoadPinned(a);
        a.JmpReg(Reg.R10);
    }

    private void EmitExit(Assembler a, bool store)
    {
        if (store)
            StorePinned(a);
        SyncFpControl(a, Reg.Rax);
        if (HostFeatures.Avx)
            a.Vzeroupper();
        a.Ldmxcsr(new Mem(Reg.Rsp, 0));
        if (_layout.X87 != null)
            a.X87Mem(0xD9, 5, new Mem(Reg.Rsp, HostX87Control));
        a.OpImm(Alu.Add, 3, Reg.Rsp, 8);
        for (var i = Saved.Length - 1; i >= 0; i--)
            a.Pop(Saved[i]);
        a.Ret();
    }

    /// <summary>The guest's x87 control word; and no sticky flag that the guest has not got. RAX is free.</summary>
    private void EnterX87(Assembler a)
    {
        if (_layout.X87 == null)
            return;
        a.X87Mem(0xD9, 7, new Mem(Reg.Rsp, HostX87Control)); // FNSTCW
        LoadX87Control(a, Reg.R11);
        a.X87(0xDF, 0xE0); // FNSTSW AX
        a.Load(1, Reg.R11, new Mem(Allocator.State, _layout.X87.Status));
        a.Not(2, Reg.R11);
        a.Op(Alu.And, 2, Reg.Rax, Reg.R11);
        a.TestImm(2, Reg.Rax, X87Layout.Exceptions);
        var clean = a.Jcc(Cc.E);
        a.X87(0xDB, 0xE2); // FNCLEX
        a.PatchHere(clean);
    }

    /// <summary>The guest's x87 control word, with all exceptions masked, into the host's.</summary>
    public void LoadX87Control(Assembler a, Reg scratch)
    {
        var temp = new Mem(Allocator.State, Eng(EngineOffsets.Scratch0));
        a.Load(1, scratch, new Mem(Allocator.State, _layout.X87!.Control));
        a.OpImm(Alu.Or, 2, scratch, X87Layout.Exceptions);
        a.Store(2, temp, scratch);
        a.X87Mem(0xD9, 5, temp);
    }

    /// <summary>Guest control (all exceptions masked) into the host's MXCSR.</summary>
    public void LoadFpControl(Assembler a, Reg scratch)
    {
        if (_layout.FpControlOffset == 0)
            return;
        var temp = new Mem(Allocator.State, Eng(EngineOffsets.Scratch0));
        a.Load(2, scratch, new Mem(Allocator.State, _layout.FpControlOffset));
        a.OpImm(Alu.Or, 2, scratch, 0x1F80);
        a.Store(2, temp, scratch);
        a.Ldmxcsr(temp);
    }

    /// <summary>The host's sticky flags into the guest's.</summary>
    public void SyncFpControl(Assembler a, Reg scratch)
    {
        if (_layout.FpControlOffset == 0)
            return;
        var temp = new Mem(Allocator.State, Eng(EngineOffsets.Scratch0));
        a.Stmxcsr(temp);
        a.Load(2, scratch, temp);
        a.OpImm(Alu.And, 2, scratch, 0x3F);
        a.OpStore(Alu.Or, 2, new Mem(Allocator.State, _layout.FpControlOffset), scratch);
    }

    private void EmitBridge(Assembler a, nint code, int args, bool mayExit)
    {
        ReadOnlySpan<Reg> order = [Reg.Rsi, Reg.Rdx, Reg.Rcx, Reg.R8];
        StorePinned(a);
        a.Push(Reg.R10);
        a.Push(Reg.R11);
        a.OpImm(Alu.Sub, 3, Reg.Rsp, 8);

        // What C# computes in floating point must not raise the guest's sticky flags.
        var keepsFlags = _layout.FpControlOffset != 0;
        if (keepsFlags)
            a.Stmxcsr(new Mem(Reg.Rsp, 0));
        if (HostFeatures.Avx)
            a.Vzeroupper();
        a.Mov(3, Reg.Rdi, Allocator.State);
        for (var i = 0; i < args; i++)
            a.Load(3, order[i], new Mem(Allocator.State, Eng(EngineOffsets.Args) + 8 * i));
        a.MovImm(Reg.Rax, (ulong)code);
        a.CallReg(Reg.Rax);
        if (keepsFlags)
            a.Ldmxcsr(new Mem(Reg.Rsp, 0));
        a.OpImm(Alu.Add, 3, Reg.Rsp, 8);
        a.Pop(Reg.R11);
        a.Pop(Reg.R10);
        a.Store(3, new Mem(Allocator.State, Eng(EngineOffsets.Result)), Reg.Rax);
        if (mayExit)
        {
            a.OpImm(Alu.Cmp, 2, new Mem(Allocator.State, Eng(EngineOffsets.ExitReason)), 0);
            var stay = a.Jcc(Cc.E);
            a.OpImm(Alu.Add, 3, Reg.Rsp, 8); // drop the return address into the unit
            a.StoreImm(3, new Mem(Allocator.State, Eng(EngineOffsets.LastExit)), 0);
            a.JmpTo(ExitStored);
            a.PatchHere(stay);
        }

        LoadPinned(a);
        a.Ret();
    }
}
