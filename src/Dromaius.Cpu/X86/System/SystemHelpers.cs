using System.Runtime.InteropServices;
using Dromaius.Jit;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>
/// What generated code calls for privileged and structural instructions. Arguments are a, b, c, d in order. Before a
/// call the translation stores <c>State.Rip</c> (the offset of the current instruction in CS); a fault is queued in the state
/// and leaves through <see cref="ExitReason.Exception"/>. Helpers that transfer control store the new RIP
/// themselves. Results are returned.
/// </summary>
/// <remarks>This file: control transfers, exceptions, halting and debug traps.</remarks>
public static unsafe partial class SystemHelpers
{
    /// <summary>Raises exception a with error code b if c is not 0. <c>State.Rip</c> is the faulting instruction.</summary>
    public static readonly Helper RaiseException =
        new("raiseException", &RaiseExceptionImpl, HelperEffects.All);

    /// <summary>INT a; b: RIP of the next instruction. Transfers control (end with ExitLookup).</summary>
    public static readonly Helper InterruptN =
        new("interruptN", &InterruptNImpl, HelperEffects.All);

    /// <summary>INT3 (0xCC); a: next RIP. Transfers control.</summary>
    public static readonly Helper Int3 =
        new("int3", &Int3Impl, HelperEffects.All);

    /// <summary>INTO with OF set (the caller has tested it); a: next RIP. Transfers control.</summary>
    public static readonly Helper Into =
        new("into", &IntoImpl, HelperEffects.All);

    /// <summary>INT1 (ICEBP, 0xF1); a: next RIP. Transfers control.</summary>
    public static readonly Helper Int1 =
        new("int1", &Int1Impl, HelperEffects.All);

    /// <summary>IRET with operand size a in bytes (2, 4, 8); b: next RIP. Transfers control.</summary>
    public static readonly Helper Iret =
        new("iret", &IretImpl, HelperEffects.All);

    /// <summary>Far JMP to selector a, offset b, operand size c in bytes; d: next RIP (for task switches). Transfers
    /// control.</summary>
    public static readonly Helper FarJump =
        new("farJump", &FarJumpImpl, HelperEffects.All);

    /// <summary>Far CALL to selector a, offset b, operand size c in bytes; d: next RIP. Transfers control.</summary>
    public static readonly Helper FarCall =
        new("farCall", &FarCallImpl, HelperEffects.All);

    /// <summary>Far RET with operand size a in bytes, releasing b bytes of parameters. Transfers control.</summary>
    public static readonly Helper FarReturn =
        new("farReturn", &FarReturnImpl, HelperEffects.All);

    /// <summary>SYSCALL; a: next RIP. Transfers control. The single-step trap, if any, is decided by TF after it.</summary>
    public static readonly Helper Syscall =
        new("syscall", &SyscallImpl, HelperEffects.All);

    /// <summary>SYSRET with operand size a in bytes (8: to 64-bit code). Transfers control.</summary>
    public static readonly Helper Sysret =
        new("sysret", &SysretImpl, HelperEffects.All);

    /// <summary>SYSENTER. Transfers control.</summary>
    public static readonly Helper Sysenter =
        new("sysenter", &SysenterImpl, HelperEffects.All);

    /// <summary>SYSEXIT with operand size a in bytes (8: to 64-bit code). Transfers control.</summary>
    public static readonly Helper Sysexit =
        new("sysexit", &SysexitImpl, HelperEffects.All);

    /// <summary>RSM. Transfers control.</summary>
    public static readonly Helper Rsm =
        new("rsm", &RsmImpl, HelperEffects.All);

    /// <summary>HLT; a: next RIP (stored). Leaves with <see cref="ExitReason.Halt"/>.</summary>
    public static readonly Helper Hlt =
        new("hlt", &HltImpl, HelperEffects.All);

    /// <summary>MONITOR of linear address a.</summary>
    public static readonly Helper Monitor =
        new("monitor", &MonitorImpl, HelperEffects.All);

    /// <summary>MWAIT; a: next RIP (stored). Leaves with <see cref="ExitReason.Reenter"/> or Halt.</summary>
    public static readonly Helper Mwait =
        new("mwait", &MwaitImpl, HelperEffects.All);

    /// <summary>Ends an instruction of a block translated with <see cref="Mode.Trap"/> or <see cref="Mode.DataBreakpoints"/>.
    /// a: next RIP, or ~0 when <c>State.Rip</c> holds it already (after transfers); b: 1 if EFLAGS.TF was set when the
    /// instruction began (always 0 after SYSCALL, which is judged by TF afterwards: pass 2). Raises #DB when TF or a data
    /// breakpoint says so; otherwise only stores the RIP.</summary>
    public static readonly Helper StepTrap =
        new("stepTrap", &StepTrapImpl, HelperEffects.All);

    /// <summary>Begins each instruction under <see cref="Mode.CodeBreakpoints"/> (<c>State.Rip</c> stored): #DB if DR0 to DR3
    /// match and RF is clear; clears RF.</summary>
    public static readonly Helper CodeBreakpoint =
        new("codeBreakpoint", &CodeBreakpointImpl, HelperEffects.All);

    /// <summary>Ends the shadow of STI or MOV SS; call after the one instruction of an <see cref="Mode.InterruptShadow"/>
    /// block (not if it set a new one). Only needed where the translation does not clear <c>Shadow</c> and the mode bit
    /// itself.</summary>
    public static readonly Helper EndShadow =
        new("endShadow", &EndShadowImpl, HelperEffects.All);

    [UnmanagedCallersOnly]
    private static ulong RaiseExceptionImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.QueueException((int)a, (uint)b, c != 0);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong InterruptNImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.SoftwareInterrupt((int)a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong Int3Impl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.BreakpointInterrupt(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong IntoImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.OverflowInterrupt(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong Int1Impl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.DebugInterrupt(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong IretImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.InterruptReturn((int)a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong FarJumpImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.FarJump((ushort)a, b, (int)c, d);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong FarCallImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.FarCall((ushort)a, b, (int)c, d);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong FarReturnImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.FarReturn((int)a, (uint)b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SyscallImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Syscall(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SysretImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Sysret((int)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SysenterImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Sysenter();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SysexitImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Sysexit((int)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RsmImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ResumeFromSmm();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong HltImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Halt(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong MonitorImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Monitor(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong MwaitImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Mwait(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong StepTrapImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.StepTrap(a, (uint)b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CodeBreakpointImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.CheckCodeBreakpoint();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong EndShadowImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.EndShadow();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }
}
