namespace Dromaius.Core.Cpus;

/// <summary>What wants a processor's attention. Level-like: set until cleared by whoever set it or by the processor.</summary>
[Flags]
public enum CpuRequest
{
    None = 0,

    /// <summary>A maskable interrupt is pending at the interrupt controller.</summary>
    Interrupt = 1,
    NonMaskable = 2,
    SystemManagement = 4,
    Init = 8,
    StartUp = 0x10,

    /// <summary>Reset the processor (power-on state).</summary>
    Reset = 0x20,

    /// <summary>Run queued work between blocks (TLB flush after a memory map change, pause, state access).</summary>
    Work = 0x40,
    MachineCheck = 0x80,
}

/// <summary>A processor as interrupt controllers and boards see it. All members may be called from any thread.</summary>
public interface IVcpu
{
    /// <summary>Number in the machine, from 0.</summary>
    int Index { get; }

    /// <summary>Sets request bits and wakes the processor if it is halted.</summary>
    void Raise(CpuRequest request);

    /// <summary>Clears request bits (a line that dropped before it was taken).</summary>
    void Lower(CpuRequest request);

    /// <summary>Start-up IPI: begin in real mode at vector * 4096, if waiting for it.</summary>
    void StartUp(byte vector);

    /// <summary>The program counter now, for display; racy while running.</summary>
    ulong ProgramCounter { get; }

    bool IsHalted { get; }
}

/// <summary>The x86 local interrupt controller as the processor sees it. Called by the vCPU's thread; locks by itself.</summary>
public interface ILocalApic
{
    /// <summary>
    /// Takes the highest pending interrupt: its vector 0 to 255, or -1 when none is left (spurious wake-up). Delivers ExtINT
    /// from the 8259 too.
    /// </summary>
    int Acknowledge();

    /// <summary>Task priority as CR8 shows it (bits 7:4 of the TPR).</summary>
    byte Cr8 { get; set; }

    /// <summary>IA32_APIC_BASE (MSR 0x1B). Setting gives false for a transition that must raise #GP.</summary>
    ulong BaseMsr { get; }

    bool TrySetBaseMsr(ulong value);

    /// <summary>x2APIC registers, MSR 0x800 to 0x8FF; false raises #GP.</summary>
    bool TryReadMsr(uint index, out ulong value);

    bool TryWriteMsr(uint index, ulong value);

    /// <summary>IA32_TSC_DEADLINE (MSR 0x6E0), in guest TSC ticks.</summary>
    ulong TscDeadline { get; set; }

    /// <summary>INIT or reset of the processor reaches its APIC.</summary>
    void Reset(bool init);
}
