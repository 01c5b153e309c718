using Dromaius.Core.Cpus;
using Dromaius.Core.Errors;

namespace Dromaius.Cpu.X86;

/// <content>What other threads ask of the processor, and taking it between blocks.</content>
public sealed unsafe partial class X86Cpu
{
    private int _startUpVector;
    private bool _waitingForStartUp;

    /// <summary>After a triple fault: only RESET, INIT, SMI and NMI are looked at; here, the first two.</summary>
    private bool _shutDown;
    private int _flushRequested;
    private readonly Lock _nmiGate = new();
    private int _nmis;
    private bool _a20 = true;

    /// <summary>Set whenever a request is raised. A halted vCPU resets it, looks at requests and waits.</summary>
    public ManualResetEventSlim WakeEvent { get; } = new(false, 0);

    /// <summary>Something is pending, deliverable or not.</summary>
    public bool HasRequests => Volatile.Read(ref State->Requests) != 0;

    /// <summary>Pending requests.</summary>
    public CpuRequest Requests => (CpuRequest)Volatile.Read(ref State->Requests);

    /// <summary>An application processor that has not been started.</summary>
    public bool WaitingForStartUp => _waitingForStartUp;

    /// <summary>
    /// The A20 gate: when off, bit 20 of physical addresses reads as 0. May be changed from any thread; takes effect before the
    /// next block.
    /// </summary>
    public bool A20Enabled
    {
        get => Volatile.Read(ref _a20);
        set
        {
            if (Volatile.Read(ref _a20) == value)
                return;
            Volatile.Write(ref _a20, value);
            RequestTlbFlush();
        }
    }

    /// <summary>Asks for a flush of the whole TLB before the next block. May be called from any thread.</summary>
    public void RequestTlbFlush()
    {
        Volatile.Write(ref _flushRequested, 1);
        Raise(CpuRequest.Work);
    }

    public void Raise(CpuRequest request)
    {
        if ((request & CpuRequest.NonMaskable) != 0)
            RaiseNonMaskable();
        Interlocked.Or(ref State->Requests, (int)(request & ~CpuRequest.NonMaskable));
        RequestExit();
        WakeEvent.Set();
    }

    /// <summary>Of two NMIs that arrive before either is taken, one is served and one is held until its IRET.</summary>
    private void RaiseNonMaskable()
    {
        lock (_nmiGate)
        {
            if (_nmis < (State->NmiBlocked != 0 ? 1 : 2))
                _nmis++;
            Interlocked.Or(ref State->Requests, (int)CpuRequest.NonMaskable);
        }
    }

    private void TakeNonMaskable()
    {
        lock (_nmiGate)
        {
            State->NmiBlocked = 1;
            if (--_nmis > 0)
                return;
            _nmis = 0;
            Lower(CpuRequest.NonMaskable);
        }
    }

    public void Lower(CpuRequest request) => Interlocked.And(ref State->Requests, ~(int)request);

    public void StartUp(byte vector)
    {
        Volatile.Write(ref _startUpVector, vector);
        Raise(CpuRequest.StartUp);
    }

    /// <summary>
    /// Takes what is pending, in the order of Intel SDM volume 3, section 6.9. The caller has cleared
    /// <c>Engine.ExitRequest</c> before. <see cref="CpuRequest.Work"/> is the caller's to clear, except for the TLB flush
    /// asked by <see cref="RequestTlbFlush"/>, which is made here.
    /// </summary>
    /// <returns>True if the processor can run, false if it stays halted.</returns>
    public bool ServicePending()
    {
        if (Volatile.Read(ref _flushRequested) != 0 && Interlocked.Exchange(ref _flushRequested, 0) != 0)
            FlushTlb(true);
        var requests = Requests;
        if (requests == 0)
            return State->Halted == 0;
        if ((requests & CpuRequest.Reset) != 0)
        {
            Lower(CpuRequest.Reset | CpuRequest.Init | CpuRequest.StartUp | CpuRequest.SystemManagement
                | CpuRequest.NonMaskable | CpuRequest.MachineCheck);
            _nmis = 0;
            Reset();
            return State->Halted == 0;
        }

        if ((requests & CpuRequest.Init) != 0 && State->InSmm == 0)
        {
            Lower(CpuRequest.Init);
            Initialize();
            requests = Requests;
        }

        if ((requests & CpuRequest.StartUp) != 0)
        {
            Lower(CpuRequest.StartUp);
            if (_waitingForStartUp)
                Start(Volatile.Read(ref _startUpVector));
        }

        if (_waitingForStartUp || _shutDown)
            return false;
        TakeInterrupts(requests);
        return State->Halted == 0;
    }

    private void TakeInterrupts(CpuRequest requests)
    {
        var interruptible = (CpuRequest.SystemManagement | CpuRequest.NonMaskable | CpuRequest.Interrupt
            | CpuRequest.MachineCheck) & requests;
        if (interruptible == 0)
            return;
        if ((requests & CpuRequest.SystemManagement) != 0 && State->InSmm == 0)
        {
            Lower(CpuRequest.SystemManagement);
            EnterSmm();
            return;
        }

        if (State->Shadow != 0)
        {
            // The block in the shadow is one instruction long: look again right after it.
            State->Engine.ExitRequest = 1;
            return;
        }

        if ((requests & CpuRequest.MachineCheck) != 0)
        {
            Lower(CpuRequest.MachineCheck);
            if ((State->Cr4 & Cr.Mce) != 0)
            {
                WakeUp();
                DeliverBetweenBlocks(18, 0, false, EventKind.Exception, State->Rip);
            }
            else
                TripleFault();
            return;
        }

        if ((requests & CpuRequest.NonMaskable) != 0 && State->NmiBlocked == 0)
        {
            TakeNonMaskable();
            WakeUp();
            DeliverBetweenBlocks(2, 0, false, EventKind.External, State->Rip);
            return;
        }

        if ((requests & CpuRequest.Interrupt) != 0 && (State->Eflags & Eflags.If) != 0 && Apic is { } apic)
        {
            var vector = apic.Acknowledge();
            if (vector < 0)
                return;
            WakeUp();
            if (GuestLog.Has(LogItems.Int))
                GuestLog.Write($"Servicing hardware INT=0x{vector:x2}");
            DeliverBetweenBlocks(vector, 0, false, EventKind.External, State->Rip);
        }
    }

    private void WakeUp()
    {
        State->Halted = 0;
        State->Shadow = 0;
    }

    /// <summary>Makes the loop look at pending requests soon, after something that held them back has changed.</summary>
    private void RecheckRequests()
    {
        if (HasRequests)
            RequestExit();
    }
}
