using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>
/// What generated code calls for x87 instructions. They touch no IR global; only those that access guest memory or deliver a
/// pending exception can leave.
/// </summary>
internal static unsafe class FpuHelpers
{
    private const HelperEffects MayFault = HelperEffects.Reads | HelperEffects.MayExit;

    /// <summary>Delivers a pending exception: #MF, or the FERR# signal when CR0.NE is clear.</summary>
    public static readonly Helper Wait = new("fpuWait", &WaitImpl, MayFault);

    /// <summary>a: operation, b: dst, c: src, d: pop.</summary>
    public static readonly Helper Arithmetic = new("fpuArithmetic", &ArithmeticImpl, HelperEffects.None);

    /// <summary>a: operation, b: format, c: bits.</summary>
    public static readonly Helper ArithmeticMemory = new("fpuArithmeticMemory", &ArithmeticMemoryImpl, HelperEffects.None);

    /// <summary>a: src, b: quiet, c: pops.</summary>
    public static readonly Helper Compare = new("fpuCompare", &CompareImpl, HelperEffects.None);

    /// <summary>a: format, b: bits, c: pop.</summary>
    public static readonly Helper CompareMemory = new("fpuCompareMemory", &CompareMemoryImpl, HelperEffects.None);

    /// <summary>a: src, b: quiet, c: pop; gives flags.</summary>
    public static readonly Helper CompareFlags = new("fpuCompareFlags", &CompareFlagsImpl, HelperEffects.None);

    /// <summary>a: a <see cref="FpuSimple"/>, b: its operand.</summary>
    public static readonly Helper Simple = new("fpuSimple", &SimpleImpl, HelperEffects.None);

    /// <summary>a: register, b: condition.</summary>
    public static readonly Helper ConditionalMove = new("fpuConditionalMove", &ConditionalMoveImpl, HelperEffects.None);

    /// <summary>a: function.</summary>
    public static readonly Helper Function = new("fpuFunction", &FunctionImpl, HelperEffects.None);

    /// <summary>a: format, b: bits, c: upper bits of 80-bit formats.</summary>
    public static readonly Helper Load = new("fpuLoad", &LoadImpl, HelperEffects.None);

    /// <summary>a: format; gives the bits.</summary>
    public static readonly Helper PrepareStore = new("fpuPrepareStore", &PrepareStoreImpl, HelperEffects.None);

    /// <summary>a: pop.</summary>
    public static readonly Helper CommitStore = new("fpuCommitStore", &CommitStoreImpl, HelperEffects.None);

    /// <summary>a: control word.</summary>
    public static readonly Helper LoadControl = new("fpuLoadControl", &LoadControlImpl, HelperEffects.None);

    /// <summary>The x87 is ignored no longer.</summary>
    public static readonly Helper Attend = new("fpuAttend", &AttendImpl, HelperEffects.None);

    /// <summary>The control word in the state has changed.</summary>
    public static readonly Helper UpdateMode = new("fpuUpdateMode", &UpdateModeImpl, HelperEffects.None);
    public static readonly Helper StatusWord = new("fpuStatusWord", &StatusWordImpl, HelperEffects.None);

    /// <summary>a: linear address, b: a <see cref="FpuMemory"/>, c: bit 0 protected layout, bit 1 32-bit layout.</summary>
    public static readonly Helper Environment = new("fpuEnvironment", &EnvironmentImpl, MayFault);

    /// <summary>a: linear address, b: a <see cref="FpuMemory"/>, c: REX.W, d: requested components.</summary>
    public static readonly Helper ExtendedState = new("extendedState", &ExtendedStateImpl, MayFault);

    [UnmanagedCallersOnly]
    private static ulong WaitImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        X86Cpu.Of(state).WaitFpu();
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ArithmeticImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.Arithmetic((X86State*)state, (FpuArith)a, (int)b, (int)c, d != 0);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ArithmeticMemoryImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.ArithmeticMemory((X86State*)state, (FpuArith)a, (FpuFormat)b, c);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CompareImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.Compare((X86State*)state, (int)a, b != 0, (int)c);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CompareMemoryImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.CompareMemory((X86State*)state, (FpuFormat)a, b, c != 0);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CompareFlagsImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var flags = FpuUnit.CompareFlags((X86State*)state, (int)a, b != 0, c != 0);
        FpuState.UpdateMode((X86State*)state);
        return flags;
    }

    [UnmanagedCallersOnly]
    private static ulong SimpleImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.Simple((X86State*)state, (FpuSimple)a, (int)b);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ConditionalMoveImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.ConditionalMove((X86State*)state, (int)a, b != 0);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong FunctionImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.Function((X86State*)state, (FpuFunction)a);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LoadImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var s = (X86State*)state;
        switch ((FpuFormat)a)
        {
            case FpuFormat.F80:
                FpuUnit.LoadExtended(s, b, c);
                break;
            case FpuFormat.Bcd:
                FpuUnit.LoadBcd(s, b, c);
                break;
            default:
                FpuUnit.Load(s, (FpuFormat)a, b);
                break;
        }

        FpuState.UpdateMode(s);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong PrepareStoreImpl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        FpuUnit.PrepareStore((X86State*)state, (FpuFormat)a);

    [UnmanagedCallersOnly]
    private static ulong CommitStoreImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuUnit.CommitStore((X86State*)state, a != 0);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LoadControlImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuState.SetControlWord((X86State*)state, (ushort)a);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong AttendImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuState.Attend((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong UpdateModeImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        FpuState.SetControlWord((X86State*)state, ((X86State*)state)->FpControl);
        FpuState.UpdateMode((X86State*)state);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong StatusWordImpl(void* state, ulong a, ulong b, ulong c, ulong d) => FpuState.StatusWord((X86State*)state);

    [UnmanagedCallersOnly]
    private static ulong EnvironmentImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        var format = new FpuUnit.EnvironmentFormat((c & 1) != 0, (c & 2) != 0);
        try
        {
            switch ((FpuMemory)b)
            {
                case FpuMemory.StoreEnvironment:
                    FpuUnit.StoreEnvironment(cpu, a, format);
                    break;
                case FpuMemory.LoadEnvironment:
                    FpuUnit.LoadEnvironment(cpu, a, format);
                    break;
                case FpuMemory.Save:
                    FpuUnit.Save(cpu, a, format);
                    break;
                default:
                    FpuUnit.Restore(cpu, a, format);
                    break;
            }

            FpuState.UpdateMode(cpu.State);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong ExtendedStateImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        var wide = c != 0;
        try
        {
            switch ((FpuMemory)b)
            {
                case FpuMemory.FxSave:
                    XState.FxSave(cpu, a, wide);
                    break;
                case FpuMemory.FxRestore:
                    XState.FxRestore(cpu, a, wide);
                    break;
                case FpuMemory.XSave:
                    XState.Save(cpu, a, d, wide, compact: false, optimize: false);
                    break;
                case FpuMemory.XSaveOptimized:
                    XState.Save(cpu, a, d, wide, compact: false, optimize: true);
                    break;
                case FpuMemory.XSaveCompacted:
                    XState.Save(cpu, a, d, wide, compact: true, optimize: true);
                    break;
                default:
                    XState.Restore(cpu, a, d, wide, (FpuMemory)b == FpuMemory.XRestoreSupervisor);
                    break;
            }

            FpuState.UpdateMode(cpu.State);
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }
}

/// <summary>Whole states in memory.</summary>
internal enum FpuMemory : byte
{
    StoreEnvironment, LoadEnvironment, Save, Restore, FxSave, FxRestore, XSave, XSaveOptimized, XSaveCompacted, XRestore,
    XRestoreSupervisor,
}

/// <summary>Instructions with at most a register as operand.</summary>
internal enum FpuSimple : byte
{
    Exchange, Duplicate, Store, StorePop, ChangeSign, Absolute, Test, Examine, Free, FreePop, IncrementTop, DecrementTop,
    Constant, Initialize, ClearExceptions,
}

internal static unsafe partial class FpuUnit
{
    public static void Simple(X86State* s, FpuSimple operation, int operand)
    {
        switch (operation)
        {
            case FpuSimple.Exchange:
                Exchange(s, operand);
                break;
            case FpuSimple.Duplicate:
                Duplicate(s, operand);
                break;
            case FpuSimple.Store:
            case FpuSimple.StorePop:
                StoreRegister(s, operand, operation == FpuSimple.StorePop);
                break;
            case FpuSimple.ChangeSign:
            case FpuSimple.Absolute:
                ChangeSign(s, operation == FpuSimple.Absolute);
                break;
            case FpuSimple.Test:
                Test(s);
                break;
            case FpuSimple.Examine:
                Examine(s);
                break;
            case FpuSimple.Free:
                FpuState.ClearC1(s);
                FpuState.Free(s, operand);
                break;
            case FpuSimple.FreePop:
                FpuState.ClearC1(s);
                FpuState.Free(s, operand);
                FpuState.Pop(s);
                break;
            case FpuSimple.IncrementTop:
            case FpuSimple.DecrementTop:
                FpuState.ClearC1(s);
                s->FpTop = s->FpTop + (operation == FpuSimple.IncrementTop ? 1u : 7u) & 7;
                break;
            case FpuSimple.Constant:
                LoadConstant(s, (FpuConstant)operand);
                break;
            case FpuSimple.Initialize:
                FpuState.Initialize(s);
                break;
            default:
                s->FpStatus &= unchecked((ushort)~0x80FF);
                break;
        }
    }
}

public sealed unsafe partial class X86Cpu
{
    /// <summary>
    /// The FERR# signal: an x87 exception is delivered with CR0.NE clear. A PC board wires it to IRQ 13 and lets port 0xF0
    /// withdraw it.
    /// </summary>
    public Action? FpuError { get; set; }

    /// <summary>Delivers the pending x87 exception at a waiting instruction.</summary>
    internal void WaitFpu()
    {
        const int mathFault = 16;
        if ((State->FpStatus & FpuState.ErrorSummary) == 0)
            return;
        if ((State->Cr0 & Cr.Ne) != 0)
            QueueException(mathFault, 0, false);
        else
            FpuError?.Invoke();
    }
}
