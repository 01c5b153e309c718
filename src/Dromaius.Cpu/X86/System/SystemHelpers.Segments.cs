using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

// Segment registers and descriptor tables.
public static unsafe partial class SystemHelpers
{
    /// <summary>Loads segment register a (<see cref="Seg"/>, not CS) with selector b, all checks made; c: 1 for MOV SS and
    /// POP SS (starts the shadow). The mode may change: end the block (SetPc next, ExitLookup) when a is ES, SS or DS outside
    /// 64-bit code or c is 1.</summary>
    public static readonly Helper LoadSegment =
        new("loadSegment", &LoadSegmentImpl, HelperEffects.All);

    /// <summary>LAR of selector a; b: old destination. Gives the new destination (32 bits) and sets ZF.</summary>
    public static readonly Helper Lar =
        new("lar", &LarImpl, HelperEffects.All);

    /// <summary>LSL of selector a; b: old destination. Gives the new destination (32 bits) and sets ZF.</summary>
    public static readonly Helper Lsl =
        new("lsl", &LslImpl, HelperEffects.All);

    /// <summary>VERR of selector a: sets ZF.</summary>
    public static readonly Helper Verr =
        new("verr", &VerrImpl, HelperEffects.All);

    /// <summary>VERW of selector a: sets ZF.</summary>
    public static readonly Helper Verw =
        new("verw", &VerwImpl, HelperEffects.All);

    /// <summary>ARPL with destination a, source b (16 bits): gives the new destination and sets ZF.</summary>
    public static readonly Helper Arpl =
        new("arpl", &ArplImpl, HelperEffects.All);

    /// <summary>Raises the page fault that a store of b bytes at linear address a would.</summary>
    public static readonly Helper ProbeWrite =
        new("probeWrite", &ProbeWriteImpl, HelperEffects.Reads | HelperEffects.MayExit);

    /// <summary>ARPL of the word at offset b of segment a (<see cref="Seg"/>) with source c: stores only when the RPL changes, and
    /// sets ZF. Makes its own segment checks.</summary>
    public static readonly Helper ArplMemory =
        new("arplMemory", &ArplMemoryImpl, HelperEffects.All);

    /// <summary>LLDT with selector a.</summary>
    public static readonly Helper Lldt =
        new("lldt", &LldtImpl, HelperEffects.All);

    /// <summary>LTR with selector a.</summary>
    public static readonly Helper Ltr =
        new("ltr", &LtrImpl, HelperEffects.All);

    /// <summary>SLDT: gives the selector (UMIP checked).</summary>
    public static readonly Helper Sldt =
        new("sldt", &SldtImpl, HelperEffects.All);

    /// <summary>STR: gives the selector (UMIP checked).</summary>
    public static readonly Helper Str =
        new("str", &StrImpl, HelperEffects.All);

    /// <summary>LGDT from linear address a with operand size b in bytes (2, 4, 8).</summary>
    public static readonly Helper Lgdt =
        new("lgdt", &LgdtImpl, HelperEffects.All);

    /// <summary>LIDT from linear address a with operand size b in bytes (2, 4, 8).</summary>
    public static readonly Helper Lidt =
        new("lidt", &LidtImpl, HelperEffects.All);

    /// <summary>SGDT to linear address a; b: operand size in bytes (8 in 64-bit code).</summary>
    public static readonly Helper Sgdt =
        new("sgdt", &SgdtImpl, HelperEffects.All);

    /// <summary>SIDT to linear address a; b: operand size in bytes (8 in 64-bit code).</summary>
    public static readonly Helper Sidt =
        new("sidt", &SidtImpl, HelperEffects.All);

    /// <summary>SWAPGS.</summary>
    public static readonly Helper Swapgs =
        new("swapgs", &SwapgsImpl, HelperEffects.All);

    /// <summary>RDFSBASE, RDGSBASE: a is <see cref="Seg.Fs"/> or <see cref="Seg.Gs"/>; gives the base (CR4.FSGSBASE
    /// checked).</summary>
    public static readonly Helper ReadSegmentBase =
        new("readSegmentBase", &ReadSegmentBaseImpl, HelperEffects.All);

    /// <summary>WRFSBASE, WRGSBASE: segment a, base b (zero-extended by the caller for 32-bit operands).</summary>
    public static readonly Helper WriteSegmentBase =
        new("writeSegmentBase", &WriteSegmentBaseImpl, HelperEffects.All);

    /// <summary>Raises #GP or #SS unless c bytes at offset b of segment a (<see cref="Seg"/>) may be accessed; d: 0 read, 1
    /// write, 2 execute. For code outside <see cref="Mode.FlatData"/>. Gives the linear address.</summary>
    public static readonly Helper CheckLimit =
        new("checkLimit", &CheckLimitImpl, HelperEffects.Reads | HelperEffects.MayExit);

    [UnmanagedCallersOnly]
    private static ulong LoadSegmentImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.LoadSegment((Seg)a, (ushort)b, c != 0);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LarImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.LoadAccessRights((ushort)a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LslImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.LoadSegmentLimit((ushort)a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong VerrImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.VerifySegment((ushort)a, false);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong VerwImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.VerifySegment((ushort)a, true);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ArplImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.AdjustRpl((ushort)a, (ushort)b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ProbeWriteImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.Probe(a, (int)b, AccessKind.Write);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ArplMemoryImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.AdjustRplInMemory((Seg)a, b, (ushort)c);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LldtImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.LoadLdt((ushort)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LtrImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.LoadTaskRegister((ushort)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SldtImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.StoreLdt();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong StrImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.StoreTaskRegister();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LgdtImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.LoadDescriptorTable(a, (int)b, false);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LidtImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.LoadDescriptorTable(a, (int)b, true);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SgdtImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.StoreDescriptorTable(a, (int)b, false);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SidtImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.StoreDescriptorTable(a, (int)b, true);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong SwapgsImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.SwapGs();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ReadSegmentBaseImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.ReadSegmentBase((Seg)a);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong WriteSegmentBaseImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            cpu.WriteSegmentBase((Seg)a, b);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CheckLimitImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        try
        {
            return cpu.CheckSegmentAccess((Seg)a, b, (uint)c, (AccessKind)d);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }
}
