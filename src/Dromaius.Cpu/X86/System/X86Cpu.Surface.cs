using Dromaius.Jit;

namespace Dromaius.Cpu.X86;

public sealed unsafe partial class X86Cpu
{
    internal void SoftwareInterrupt(int a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal void BreakpointInterrupt(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void OverflowInterrupt(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void DebugInterrupt(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void InterruptReturn(int a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal void FarJump(ushort a0, ulong a1, int a2, ulong a3) => throw GuestFaultException.InvalidOpcode();
    internal void FarCall(ushort a0, ulong a1, int a2, ulong a3) => throw GuestFaultException.InvalidOpcode();
    internal void FarReturn(int a0, uint a1) => throw GuestFaultException.InvalidOpcode();
    internal void Syscall(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void Sysret(int a0) => throw GuestFaultException.InvalidOpcode();
    internal void Sysenter() => throw GuestFaultException.InvalidOpcode();
    internal void Sysexit(int a0) => throw GuestFaultException.InvalidOpcode();
    internal void ResumeFromSmm() => throw GuestFaultException.InvalidOpcode();
    internal void Halt(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void Monitor(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void Mwait(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void StepTrap(ulong a0, uint a1) => throw GuestFaultException.InvalidOpcode();
    internal void CheckCodeBreakpoint() => throw GuestFaultException.InvalidOpcode();
    internal void EndShadow() => throw GuestFaultException.InvalidOpcode();
    internal void LoadSegment(Seg a0, ushort a1, bool a2) => throw GuestFaultException.InvalidOpcode();
    internal ulong LoadAccessRights(ushort a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal ulong LoadSegmentLimit(ushort a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal void VerifySegment(ushort a0, bool a1) => throw GuestFaultException.InvalidOpcode();
    internal ulong AdjustRpl(ushort a0, ushort a1) => throw GuestFaultException.InvalidOpcode();
    internal void LoadLdt(ushort a0) => throw GuestFaultException.InvalidOpcode();
    internal void LoadTaskRegister(ushort a0) => throw GuestFaultException.InvalidOpcode();
    internal ulong StoreLdt() => throw GuestFaultException.InvalidOpcode();
    internal ulong StoreTaskRegister() => throw GuestFaultException.InvalidOpcode();
    internal void LoadDescriptorTable(ulong a0, int a1, bool a2) => throw GuestFaultException.InvalidOpcode();
    internal void StoreDescriptorTable(ulong a0, int a1, bool a2) => throw GuestFaultException.InvalidOpcode();
    internal void SwapGs() => throw GuestFaultException.InvalidOpcode();
    internal ulong ReadSegmentBase(Seg a0) => throw GuestFaultException.InvalidOpcode();
    internal void WriteSegmentBase(Seg a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal ulong CheckSegmentAccess(Seg a0, ulong a1, uint a2, AccessKind a3) => throw GuestFaultException.InvalidOpcode();
    internal ulong ReadControlRegister(int a0) => throw GuestFaultException.InvalidOpcode();
    internal void WriteControlRegister(int a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal ulong ReadDebugRegister(int a0) => throw GuestFaultException.InvalidOpcode();
    internal void WriteDebugRegister(int a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal ulong StoreMachineStatus() => throw GuestFaultException.InvalidOpcode();
    internal void LoadMachineStatus(ushort a0) => throw GuestFaultException.InvalidOpcode();
    internal void ClearTaskSwitched() => throw GuestFaultException.InvalidOpcode();
    internal void InvalidatePage(ulong a0) => throw GuestFaultException.InvalidOpcode();
    internal void InvalidatePcid(ulong a0, ulong a1) => throw GuestFaultException.InvalidOpcode();
    internal void RequirePrivilege() => throw GuestFaultException.InvalidOpcode();
    internal void ReadMsrInstruction() => throw GuestFaultException.InvalidOpcode();
    internal void WriteMsrInstruction() => throw GuestFaultException.InvalidOpcode();
    internal void GetExtendedControl() => throw GuestFaultException.InvalidOpcode();
    internal void SetExtendedControl() => throw GuestFaultException.InvalidOpcode();
    internal void ReadTsc() => throw GuestFaultException.InvalidOpcode();
    internal void ReadTscp() => throw GuestFaultException.InvalidOpcode();
    internal void ReadPerformanceCounter() => throw GuestFaultException.InvalidOpcode();
    internal void ReadPkru() => throw GuestFaultException.InvalidOpcode();
    internal void WritePkru() => throw GuestFaultException.InvalidOpcode();
    internal void Cpuid() => throw GuestFaultException.InvalidOpcode();
    internal void ClearInterruptFlag() => throw GuestFaultException.InvalidOpcode();
    internal void SetInterruptFlag() => throw GuestFaultException.InvalidOpcode();
    internal void SetAccessCheck(bool a0) => throw GuestFaultException.InvalidOpcode();
    internal ulong FlagsToPush(int a0) => throw GuestFaultException.InvalidOpcode();
    internal void PopFlags(ulong a0, int a1) => throw GuestFaultException.InvalidOpcode();
    internal ulong PortIn(ushort a0, int a1) => throw GuestFaultException.InvalidOpcode();
    internal void PortOut(ushort a0, int a1, uint a2) => throw GuestFaultException.InvalidOpcode();
    internal void CheckPortAccess(ushort a0, int a1) => throw GuestFaultException.InvalidOpcode();

    internal void QueueException(int vector, uint error, bool hasError)
    {
        State->ExceptionVector = (uint)vector;
        State->ExceptionError = error;
        State->ExceptionFlags = hasError ? 1u : 0;
        State->ExceptionNextRip = State->Rip;
        State->Engine.ExitReason = ExitReason.Exception;
    }

    /// <summary>Queues a fault for the vCPU loop and makes generated code leave.</summary>
    public void QueueFault(GuestFaultException fault) => QueueException(fault.Vector, fault.Error, fault.HasError);

    private enum EventKind { Exception, Software, External }

    private void Reset() { }
    private void Initialize() { }
    private void Start(int vector) => _waitingForStartUp = false;
    private void EnterSmm() { }
    private void TripleFault() { }
    private void DeliverEvent(int vector, uint error, bool hasError, EventKind kind, ulong nextRip) { }

    /// <summary>Delivers the queued exception.</summary>
    public void DeliverQueuedException() { }
}
