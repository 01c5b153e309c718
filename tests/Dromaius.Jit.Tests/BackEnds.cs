using Dromaius.Jit.Interpreter;
using Dromaius.Jit.Ir;
using Dromaius.Jit.Passes;

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

    public string Name => "interpreter after passes";

    public UnitExit Run(IrBuilder b, void* state)
    {
        Coalesce.Run(b);
        _liveness.Run(b);
        return IrInterpreter.Compile(b).Run(state);
    }
}
