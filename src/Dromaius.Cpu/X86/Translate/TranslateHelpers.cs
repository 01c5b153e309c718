using System.Runtime.InteropServices;
using Dromaius.Cpu.Softmmu;
using Dromaius.Jit;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>What translations call about themselves.</summary>
public static unsafe class TranslateHelpers
{
    /// <summary>Leaves so that the instruction at <c>State.Rip</c> runs alone.</summary>
    public static readonly Helper SingleInstruction =
        new("singleInstruction", &SingleInstructionImpl, HelperEffects.Reads | HelperEffects.MayExit);

    /// <summary>Raises what fetching code at linear address a raises; if nothing any more, leaves to try again.</summary>
    public static readonly Helper RaiseFetchFault = new("raiseFetchFault", &RaiseFetchFaultImpl, HelperEffects.All);

    [UnmanagedCallersOnly]
    private static ulong SingleInstructionImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        ((X86State*)state)->Engine.ExitReason = ExitReason.SingleInsn;
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RaiseFetchFaultImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        cpu.QueueFetchFault(a);
        return 0;
    }
}

public sealed unsafe partial class X86Cpu
{
    /// <summary>Queues the fault of an instruction fetch.</summary>
    internal void QueueFetchFault(ulong linear)
    {
        const int user = 1, supervisor = 0;
        if (Code64 && (ulong)((long)linear << 16 >> 16) != linear)
        {
            QueueFault(GuestFaultException.GeneralProtection());
        }
        else if (TryWalk(linear, AccessKind.Execute, Cpl == 3 ? user : supervisor, out PageWalk _, out var error))
        {
            State->Engine.ExitReason = ExitReason.Reenter;
        }
        else
        {
            State->Cr2 = linear;
            QueueFault(GuestFaultException.PageFault(error));
        }
    }
}
