using Dromaius.Cpu.Tests.SystemTests;
using Dromaius.Cpu.X86;
using Dromaius.Jit;
using Dromaius.Jit.Interpreter;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.Tests.Translate;

/// <summary>Runs small programs through the translator and the interpreter. Paging is off.</summary>
internal sealed unsafe class ProgramMachine : ICodeFetcher, IDisposable
{
    private readonly X86Translator _translator;
    private readonly IrBuilder _builder = new(X86Layout.Layout);

    public ProgramMachine(string model = "max")
    {
        System = new SystemMachine(model);
        _translator = new X86Translator(System.Cpu.Model);
    }

    public SystemMachine System { get; }
    public X86State* S => System.S;

    /// <summary>Vectors of the exceptions delivered, in order.</summary>
    public List<(int Vector, uint Error, ulong Rip)> Exceptions { get; } = [];

    public string PrintIr() => IrPrinter.Print(_builder);

    public void Load(ulong address, ReadOnlySpan<byte> code)
    {
        for (var i = 0; i < code.Length; i++)
            System.Write(address + (ulong)i, 1, code[i]);
    }

    /// <summary>Runs blocks of up to so many instructions until RIP is the end, the processor halts, or too much was run.</summary>
    public void Run(ulong end, int maxInsns = 64, int limit = 10_000)
    {
        var single = false;
        for (var i = 0; i < limit; i++)
        {
            if (S->Rip == end || S->Halted != 0)
                return;
            Step(single ? 1 : maxInsns);
            single = false;
            switch (S->Engine.ExitReason)
            {
                case ExitReason.Exception:
                    S->Engine.ExitReason = ExitReason.None;
                    Exceptions.Add(((int)S->ExceptionVector, S->ExceptionError, S->Rip));
                    System.Cpu.DeliverQueuedException();
                    break;
                case ExitReason.SingleInsn:
                    single = true;
                    break;
                case ExitReason.Halt:
                    return;
            }
        }

        Assert.Fail($"still running at {S->Rip:x}");
    }

    private void Step(int maxInsns)
    {
        _builder.Reset();
        S->Engine.ExitReason = ExitReason.None;
        _ = _translator.Translate(_builder, this, S->Rip, S->CodeBase, (Mode)S->Mode, maxInsns);
        if (IrVerifier.Verify(_builder) is { } complaint)
            throw new InvalidOperationException(complaint);
        _ = IrInterpreter.Compile(_builder).Run(S);
    }

    public int Fetch(ulong linear, Span<byte> into)
    {
        for (var i = 0; i < into.Length; i++)
            into[i] = (byte)System.Read(linear + (ulong)i, 1);
        return into.Length;
    }

    public void Dispose() => System.Dispose();
}
