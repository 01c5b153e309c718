using System.Runtime.InteropServices;
using Dromaius.Core.Cpus;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Jit;

namespace Dromaius.Cpu.X86;

/// <summary>On whose behalf memory is touched.</summary>
public enum Privilege
{
    /// <summary>The running code: user at CPL 3, else supervisor (with SMAP as EFLAGS.AC says).</summary>
    Current,

    /// <summary>The processor itself (descriptor tables, TSS, stack switches to inner rings): supervisor.</summary>
    Supervisor,
}

public enum AccessKind
{
    Read, Write, Execute,
}

/// <summary>
/// One x86 processor: the state in native memory and everything that acts on it. Parts: <c>X86Cpu.Memory</c> (softmmu),
/// <c>System/</c> (segments, gates, paging, control registers), <c>Translate/</c> (guest code to IR), <c>Fpu/</c>, <c>Vector/</c>.
/// </summary>
public sealed unsafe partial class X86Cpu : IVcpu, IDisposable
{
    private readonly GCHandle _self;
    private void* _allocation;

    public X86Cpu(int index, X86Model model, AddressSpace memory, AddressSpace io, Clock clock)
    {
        Index = index;
        Model = model;
        Memory = memory;
        Io = io;
        Clock = clock;
        _allocation = System.Runtime.InteropServices.NativeMemory.AlignedAlloc((nuint)sizeof(X86State), 64);
        State = (X86State*)_allocation;
        *State = default;
        _self = GCHandle.Alloc(this);
        State->Engine.Self = GCHandle.ToIntPtr(_self);
        _tlb = new Softmmu.SoftTlb(this, &State->Engine);
        InitializeEngine();
    }

    public int Index { get; }
    public X86Model Model { get; }
    public AddressSpace Memory { get; }
    public AddressSpace Io { get; }

    /// <summary>The virtual clock.</summary>
    public Clock Clock { get; }
    public ILocalApic? Apic { get; set; }
    public X86State* State { get; private set; }
    public ulong ProgramCounter => State->Rip;
    public bool IsHalted => State->Halted != 0;

    /// <summary>The vCPU of a state that generated code passed to a helper.</summary>
    public static X86Cpu Of(void* state) =>
        (X86Cpu)GCHandle.FromIntPtr(((X86State*)state)->Engine.Self).Target!;

    public void Dispose()
    {
        if (_allocation == null)
            return;
        System.Runtime.InteropServices.NativeMemory.AlignedFree(_allocation);
        _allocation = null;
        System.Runtime.InteropServices.NativeMemory.AlignedFree(_jumpCache);
        _tlb.Dispose();
        _self.Free();
    }
}
