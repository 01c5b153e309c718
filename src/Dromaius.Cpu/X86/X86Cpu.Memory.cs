using Dromaius.Cpu.Softmmu;

namespace Dromaius.Cpu.X86;

public sealed unsafe partial class X86Cpu
{
    /// <summary>Makes generated code leave at its next check, and wakes a halted processor.</summary>
    public void RequestExit() => Volatile.Write(ref State->Engine.ExitRequest, 1);
}
