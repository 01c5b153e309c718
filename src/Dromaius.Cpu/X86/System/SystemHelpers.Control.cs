using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

// Control registers, MSRs, flags, ports and other privileged instructions.
public static unsafe partial class SystemHelpers
{
    /// <summary>MOV from CR a: gives the value.</summary>
    public static readonly Helper ReadControl =
        new("readControl", &ReadControlImpl, HelperEffects.All);

    /// <summary>MOV to CR a of value b (zero-extended to 64 bits). The mode may change: SetPc next, ExitLookup.</summary>
    public static readonly Helper WriteControl =
        new("writeControl", &WriteControlImpl, HelperEffects.All);

    /// <summary>MOV from DR a: gives the value.</summary>
    public static readonly Helper ReadDebug =
        new("readDebug", &ReadDebugImpl, HelperEffects.All);

    /// <summary>MOV to DR a of value b. The mode may change.</summary>
    public static readonly Helper WriteDebug =
        new("writeDebug", &WriteDebugImpl, HelperEffects.All);

    /// <summary>SMSW: gives CR0 (UMIP checked); the caller takes 16, 32 or 64 bits.</summary>
    public static readonly Helper Smsw =
        new("smsw", &SmswImpl, HelperEffects.All);

    /// <summary>LMSW with value a. The mode may change.</summary>
    public static readonly Helper Lmsw =
        new("lmsw", &LmswImpl, HelperEffects.All);

    /// <summary>CLTS. The mode changes.</summary>
    public static readonly Helper Clts =
        new("clts", &CltsImpl, HelperEffects.All);

    /// <summary>INVLPG of linear address a.</summary>
    public static readonly Helper Invlpg =
        new("invlpg", &InvlpgImpl, HelperEffects.All);

    /// <summary>INVPCID of type a with its descriptor at linear address b.</summary>
    public static readonly Helper Invpcid =
        new("invpcid", &InvpcidImpl, HelperEffects.All);

    /// <summary>INVD, WBINVD: privilege check only.</summary>
    public static readonly Helper CacheControl =
        new("cacheControl", &CacheControlImpl, HelperEffects.All);

    /// <summary>RDMSR: ECX to EDX:EAX.</summary>
    public static readonly Helper Rdmsr =
        new("rdmsr", &RdmsrImpl, HelperEffects.All);

    /// <summary>WRMSR: EDX:EAX to ECX. The mode may change: SetPc next, ExitLookup.</summary>
    public static readonly Helper Wrmsr =
        new("wrmsr", &WrmsrImpl, HelperEffects.All);

    /// <summary>XGETBV: ECX to EDX:EAX.</summary>
    public static readonly Helper Xgetbv =
        new("xgetbv", &XgetbvImpl, HelperEffects.All);

    /// <summary>XSETBV: EDX:EAX to ECX. The mode may change.</summary>
    public static readonly Helper Xsetbv =
        new("xsetbv", &XsetbvImpl, HelperEffects.All);

    /// <summary>RDTSC to EDX:EAX.</summary>
    public static readonly Helper Rdtsc =
        new("rdtsc", &RdtscImpl, HelperEffects.All);

    /// <summary>RDTSCP to EDX:EAX and ECX.</summary>
    public static readonly Helper Rdtscp =
        new("rdtscp", &RdtscpImpl, HelperEffects.All);

    /// <summary>RDPID: gives IA32_TSC_AUX.</summary>
    public static readonly Helper Rdpid =
        new("rdpid", &RdpidImpl, HelperEffects.Reads);

    /// <summary>RDPMC.</summary>
    public static readonly Helper Rdpmc =
        new("rdpmc", &RdpmcImpl, HelperEffects.All);

    /// <summary>RDPKRU: ECX must be 0; EAX receives PKRU, EDX 0.</summary>
    public static readonly Helper Rdpkru =
        new("rdpkru", &RdpkruImpl, HelperEffects.All);

    /// <summary>WRPKRU: ECX and EDX must be 0; PKRU receives EAX.</summary>
    public static readonly Helper Wrpkru =
        new("wrpkru", &WrpkruImpl, HelperEffects.All);

    /// <summary>CPUID.</summary>
    public static readonly Helper Cpuid =
        new("cpuid", &CpuidImpl, HelperEffects.All);

    /// <summary>CLI with every check (IOPL, VME, PVI).</summary>
    public static readonly Helper Cli =
        new("cli", &CliImpl, HelperEffects.All);

    /// <summary>STI with every check; starts the shadow if IF was clear: SetPc next, ExitLookup.</summary>
    public static readonly Helper Sti =
        new("sti", &StiImpl, HelperEffects.All);

    /// <summary>CLAC. The mode changes.</summary>
    public static readonly Helper Clac =
        new("clac", &ClacImpl, HelperEffects.All);

    /// <summary>STAC. The mode changes.</summary>
    public static readonly Helper Stac =
        new("stac", &StacImpl, HelperEffects.All);

    /// <summary>PUSHF with operand size a in bytes: gives the image to push (V86 checks made).</summary>
    public static readonly Helper PushFlags =
        new("pushFlags", &PushFlagsImpl, HelperEffects.All);

    /// <summary>POPF of image a with operand size b in bytes. The caller has loaded the image and adds to RSP after this
    /// returns. The mode may change: SetPc next, ExitLookup (or Loop).</summary>
    public static readonly Helper PopFlags =
        new("popFlags", &PopFlagsImpl, HelperEffects.All);

    /// <summary>IN from port a of b bytes with permission check: gives the value.</summary>
    public static readonly Helper In =
        new("in", &InImpl, HelperEffects.All);

    /// <summary>OUT to port a of b bytes of value c with permission check.</summary>
    public static readonly Helper Out =
        new("out", &OutImpl, HelperEffects.All);

    /// <summary>Raises #GP unless port a may be accessed with b bytes (before INS and OUTS touch memory).</summary>
    public static readonly Helper CheckIo =
        new("checkIo", &CheckIoImpl, HelperEffects.All);

    /// <summary>Gives EFLAGS whole.</summary>
    public static readonly Helper MaterializeFlags =
        new("materializeFlags", &MaterializeFlagsImpl, HelperEffects.Reads);

    /// <summary>Recomputes <c>Mode</c> and <c>CodeBase</c> from the state.</summary>
    public static readonly Helper UpdateMode =
        new("updateMode", &UpdateModeImpl, HelperEffects.All);

    [UnmanagedCallersOnly]
    private static ulong ReadControlImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.ReadControlRegister((int)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong WriteControlImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.WriteControlRegister((int)a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ReadDebugImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.ReadDebugRegister((int)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong WriteDebugImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.WriteDebugRegister((int)a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SmswImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.StoreMachineStatus();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LmswImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.LoadMachineStatus((ushort)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CltsImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ClearTaskSwitched();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong InvlpgImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.InvalidatePage(a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong InvpcidImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.InvalidatePcid(a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CacheControlImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.RequirePrivilege();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RdmsrImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ReadMsrInstruction();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong WrmsrImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.WriteMsrInstruction();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong XgetbvImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.GetExtendedControl();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong XsetbvImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.SetExtendedControl();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RdtscImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ReadTsc();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RdtscpImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ReadTscp();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RdpidImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.State->TscAux;
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RdpmcImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ReadPerformanceCounter();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong RdpkruImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ReadPkru();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong WrpkruImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.WritePkru();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CpuidImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Cpuid();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CliImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.ClearInterruptFlag();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong StiImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.SetInterruptFlag();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ClacImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.SetAccessCheck(false);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong StacImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.SetAccessCheck(true);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong PushFlagsImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.FlagsToPush((int)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong PopFlagsImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.PopFlags(a, (int)b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong InImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.PortIn((ushort)a, (int)b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong OutImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.PortOut((ushort)a, (int)b, (uint)c);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CheckIoImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.CheckPortAccess((ushort)a, (int)b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong MaterializeFlagsImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.ReadEflags();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong UpdateModeImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.UpdateMode();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }
}
