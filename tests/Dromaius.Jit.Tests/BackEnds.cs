using Dromaius.Jit.Interpreter;
using Dromaius.Jit.Ir;
using Dromaius.Jit.Passes;
using Dromaius.Jit.X64;
using NativeMemory = System.Runtime.InteropServices.NativeMemory;

namespace Dromaius.Jit.Tests;

/// <summary>A way to execute a unit.</summary>
internal unsafe interface IBackEnd
{
    string Name { get; }

    /// <summary>Translates what the builder holds (and may change it), then runs it once.</summary>
    UnitExit Run(IrBuilder b, void* state);
}

/// <summary>The oracle: the interpreter on the IR as it was written.</summary>
internal sealed unsafe class PlainInterpreter : IBackEnd
{
    public string Name => "interpreter";

    public UnitExit Run(IrBuilder b, void* state) => IrInterpreter.Compile(b).Run(state);
}

/// <summary>The interpreter on optimised IR: tests the passes.</summary>
internal sealed unsafe class OptimisedInterpreter : IBackEnd
{
    private readonly Liveness _liveness = new();
    private readonly Addresses _addresses = new();
    private readonly ForwardVectors _forward = new();

    public string Name => "interpreter after passes";

    public UnitExit Run(IrBuilder b, void* state)
    {
        Coalesce.Run(b);
        _addresses.Run(b);
        _forward.Run(b);
        _liveness.Run(b);
        return IrInterpreter.Compile(b).Run(state);
    }
}

/// <summary>Host code for x86-64.</summary>
internal sealed unsafe class X64BackEnd : IBackEnd, IDisposable
{
    private const int JumpCacheSize = 1 << EngineState.JumpCacheBits;
    private readonly CodeCache _cache = new(16 << 20);
    private readonly X64Compiler _compiler;
    private readonly JumpCacheEntry* _jumpCache;

    public X64BackEnd()
    {
        _compiler = new X64Compiler(_cache, TestGuest.Layout, TestGuest.Layout.Memory!);
        _jumpCache = (JumpCacheEntry*)NativeMemory.Alloc(JumpCacheSize, (nuint)sizeof(JumpCacheEntry));
        for (var i = 0; i < JumpCacheSize; i++)
            _jumpCache[i] = new JumpCacheEntry { Mode = ulong.MaxValue };
    }

    public string Name => "x64";

    /// <summary>Looked-up exits miss and come back as <see cref="UnitExit.Loop"/>.</summary>
    public UnitExit Run(IrBuilder b, void* state)
    {
        var engine = &((TestState*)state)->Engine;
        engine->JumpCache = _jumpCache;
        if (_cache.Used > _cache.Size / 2)
            _compiler.Clear();
        if (!_compiler.TryCompile(b, 1, out var unit))
            throw new InvalidOperationException("the unit does not compile");
        _compiler.Thunks.Enter(state, unit.Code);
        return engine->LastExit switch { 1 => UnitExit.Direct0, 2 => UnitExit.Direct1, _ => UnitExit.Loop };
    }

    public void Dispose()
    {
        NativeMemory.Free(_jumpCache);
        _cache.Dispose();
    }
}
