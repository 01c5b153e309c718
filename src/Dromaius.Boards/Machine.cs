using Dromaius.Consoles;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;

namespace Dromaius.Boards;

/// <summary>
/// A machine: its lock, event loop and clocks, memory and ports, processors and devices, and its life from power-on to power-off.
/// Boards derive from it and do the wiring. Make one with <see cref="Create"/>, then <see cref="Run"/> it on the calling thread, or
/// <see cref="Start"/> it and go on; a test does the latter and talks to the serial port's backend.
/// </summary>
public abstract class Machine : IDisposable
{
    private readonly List<Device> _devices = [];
    private VcpuThreads? _threads;
    private Thread? _loopThread;
    private bool _started;
    private bool _ended;
    private bool _resetPending;

    protected Machine(MachineOptions options, EventLoop? loop)
    {
        Options = options;
        OnReboot = options.OnReboot;
        OnShutdown = options.OnShutdown;
        OnPanic = options.OnPanic;
        Loop = loop ?? new EventLoop(new Lock());
        VirtualClock = new HostClock(Loop, startPaused: true) { IsStepped = options.Accelerator == AcceleratorKind.Qtest };
        RealTimeClock = new HostClock(Loop);
        MemoryRoot = MemoryRegion.Container("system", 0);
        IoRoot = MemoryRegion.Container("io", 0x10000);
        Memory = new AddressSpace("memory", MemoryRoot, Lock);
        Io = new AddressSpace("I/O", IoRoot, Lock);
        Keys = new KeyPresser(Input, RealTimeClock);
    }

    public MachineOptions Options { get; }

    /// <summary>The one lock: whoever touches a device holds it.</summary>
    public Lock Lock => Loop.MachineLock;
    public EventLoop Loop { get; }

    /// <summary>Stops while the machine is stopped.</summary>
    public HostClock VirtualClock { get; }

    /// <summary>Goes on while the machine is stopped.</summary>
    public HostClock RealTimeClock { get; }
    public MemoryRegion MemoryRoot { get; }
    public MemoryRegion IoRoot { get; }
    public AddressSpace Memory { get; }
    public AddressSpace Io { get; }
    public string? Name => Options.Name;
    public Guid Uuid => Options.Uuid ?? Guid.Empty;
    public RunState State { get; private set; } = RunState.PreLaunch;

    // What happens at these turns can be changed while the machine runs.
    public RebootAction OnReboot { get; set; }
    public ShutdownAction OnShutdown { get; set; }
    public PanicAction OnPanic { get; set; }

    /// <summary>The screens of the graphics adapters.</summary>
    public DisplayList Displays { get; } = new();

    /// <summary>Where events of keyboards and mice go.</summary>
    public InputRouter Input => Options.Input;

    /// <summary>Presses keys for a time.</summary>
    public KeyPresser Keys { get; }

    /// <summary>The processors, by index.</summary>
    public abstract IReadOnlyList<IVcpuRunner> Vcpus { get; }

    /// <summary>All devices, in the order made.</summary>
    public IReadOnlyList<Device> Devices => _devices;

    /// <summary>What the process should end with.</summary>
    public int ExitStatus { get; private set; }

    /// <summary>Why the machine ended.</summary>
    public EventReason EndReason { get; private set; }

    /// <summary>The fault of ours that ended it, if one did.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Told under the machine lock.</summary>
    public event Action<MachineEvent>? Happened;

    /// <summary>Makes a machine. What the options ask for and cannot be throws <see cref="UserErrorException"/>.</summary>
    /// <param name="options">What it is made of.</param>
    /// <param name="loop">The event loop that character devices already use, or null for a new one.</param>
    public static Machine Create(MachineOptions options, EventLoop? loop = null) =>
        MachineTypes.Get(options.Machine).Create(options, loop);

    /// <summary>Powers on and runs until the end, on the calling thread.</summary>
    /// <returns>The exit status.</returns>
    public int Run()
    {
        PowerOn();
        Loop.Run();
        _threads?.Stop();
        return ExitStatus;
    }

    /// <summary>Powers on and returns; the event loop gets a thread of its own.</summary>
    public void Start()
    {
        PowerOn();
        _loopThread = new Thread(Loop.Run) { IsBackground = true, Name = "event loop" };
        _loopThread.Start();
    }

    /// <summary>After <see cref="Start"/>: waits for the end.</summary>
    /// <returns>True if it ended, false if the time passed first.</returns>
    public bool WaitForEnd(TimeSpan timeout)
    {
        if (_loopThread is { } thread && !thread.Join(timeout))
            return false;
        _threads?.Stop();
        return true;
    }

    /// <summary>The host's thread that runs a processor; 0 before it runs.</summary>
    public int ThreadOf(int vcpu) => _threads?.ThreadOf(vcpu) ?? 0;

    /// <summary>Sets what firmware boots from after the next reset; false for a board without such a list.</summary>
    public virtual bool TrySetBootOrder(string order) => false;

    /// <summary>Stops the processors and virtual time. On the event loop, or under the lock elsewhere than on a processor.</summary>
    public void Stop() => Stop(RunState.Paused, EventReason.HostRequest);

    /// <summary>Stops because a transfer failed. On the event loop.</summary>
    public void StopForIoError() => Stop(RunState.IoError, EventReason.HostError);

    /// <summary>Runs on after a stop.</summary>
    public void Continue()
    {
        lock (Lock)
        {
            if (_ended || State == RunState.Running || State == RunState.InternalError)
                return;
            if (State is RunState.Shutdown or RunState.GuestPanicked)
                throw new UserErrorException("Resetting the Virtual Machine is required");
            State = RunState.Running;
            VirtualClock.Paused = false;
            _threads!.Resume();
            Happened?.Invoke(new MachineEvent(MachineEventKind.Started, EventReason.HostRequest));
        }
    }

    /// <summary>Asks for a reset of everything; callable from any thread, processors included.</summary>
    public void RequestReset(EventReason reason)
    {
        if (OnReboot == RebootAction.Shutdown)
        {
            RequestShutdown(reason);
            return;
        }

        if (_resetPending)
            return;
        _resetPending = true;
        // What the guest asked for has happened when its next instruction would run.
        _threads?.RequestPause();
        Loop.Post(() =>
        {
            if (_ended)
                return;
            var run = State is RunState.Running or RunState.Shutdown or RunState.GuestPanicked && _started;
            _threads!.Pause();
            _resetPending = false;
            ResetAll(reason);
            if (State is RunState.Shutdown or RunState.GuestPanicked)
                State = RunState.Paused;
            if (run && State == RunState.Running)
                _threads.Resume();
        });
    }

    /// <summary>Asks for the end of the machine; callable from any thread, processors included.</summary>
    public void RequestShutdown(EventReason reason)
    {
        _threads?.RequestPause();
        Loop.Post(() =>
        {
            if (_ended)
                return;
            Happened?.Invoke(new MachineEvent(MachineEventKind.Shutdown, reason));
            if (OnShutdown == ShutdownAction.Pause && reason is not (EventReason.HostRequest or EventReason.HostSignal))
                Stop(RunState.Shutdown, reason);
            else
                End(0, reason);
        });
    }

    /// <summary>Ends the emulator with this status; callable from any thread, processors included.</summary>
    public void RequestExit(int status)
    {
        _threads?.RequestPause();
        Loop.Post(() => End(status, EventReason.GuestShutdown));
    }

    /// <summary>Ends the emulator with status 0, at the user's wish.</summary>
    public void Quit() => RequestShutdown(EventReason.HostRequest);

    /// <summary>Presses the power button.</summary>
    public void PowerDown()
    {
        lock (Lock)
        {
            Happened?.Invoke(new MachineEvent(MachineEventKind.PowerDown, EventReason.HostRequest));
            PressPowerButton();
        }
    }

    /// <summary>The guest says it panicked; callable from a processor.</summary>
    public void ReportGuestPanic()
    {
        if (OnPanic != PanicAction.None)
            _threads?.RequestPause();
        Loop.Post(() =>
        {
            if (_ended)
                return;
            Happened?.Invoke(new MachineEvent(MachineEventKind.GuestPanicked, EventReason.GuestPanic));
            switch (OnPanic)
            {
                case PanicAction.None:
                    break;
                case PanicAction.ExitFailure:
                    End(1, EventReason.GuestPanic);
                    break;
                case PanicAction.Shutdown when OnShutdown == ShutdownAction.Poweroff:
                    Happened?.Invoke(new MachineEvent(MachineEventKind.Shutdown, EventReason.GuestPanic));
                    End(0, EventReason.GuestPanic);
                    break;
                default:
                    Stop(RunState.GuestPanicked, EventReason.GuestPanic);
                    break;
            }
        });
    }

    public void ReportGuestCrashLoaded() => Loop.Post(() =>
        Happened?.Invoke(new MachineEvent(MachineEventKind.GuestCrashLoaded, EventReason.GuestPanic)));

    /// <summary>A non-maskable interrupt on every processor.</summary>
    public abstract void Nmi();

    /// <summary>What the engine says of its work (<c>info jit</c>).</summary>
    public virtual string TranslatorStatistics => "";

    /// <summary>What it is made of, for monitors.</summary>
    public virtual MachineDescription Describe() => throw new NotSupportedException();

    /// <summary>Plugs a device in while the machine is on.</summary>
    public virtual void PlugDevice(DeviceOption option) => throw new UserErrorException($"Bus '{option.Name}' does not support hotplugging");

    /// <summary>The guest set the real-time clock, so many seconds ahead. Raised under the machine lock.</summary>
    public event Action<Device, long>? ClockSet;

    protected void ReportClockSet(Device clock, long seconds) => ClockSet?.Invoke(clock, seconds);

    /// <summary>A device is gone that <see cref="UnplugDevice"/> was asked for. Raised under the machine lock.</summary>
    public event Action<Device>? DeviceDeleted;

    /// <summary>Takes a device out, or asks the guest to give it away; <see cref="DeviceDeleted"/> tells when it is gone.</summary>
    public virtual void UnplugDevice(Device device) =>
        throw new UserErrorException($"Device '{device.Id}' can not be unplugged");

    public virtual void Dispose()
    {
        if (_loopThread != null)
        {
            Loop.Stop();
            _loopThread.Join();
        }

        _threads?.Stop();
        foreach (var vcpu in Vcpus)
            vcpu.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Takes a device into the list of those that are reset.</summary>
    protected T Add<T>(T device)
        where T : Device
    {
        if (device.Id is { } id && _devices.Exists(d => d.Id == id))
            throw new UserErrorException($"Duplicate ID '{id}' for device");
        _devices.Add(device);
        return device;
    }

    /// <summary>Takes a device out of the list.</summary>
    protected void Remove(Device device) => _devices.Remove(device);

    /// <summary>Says that a device that was to be unplugged is gone.</summary>
    protected void NoteDeleted(Device device) => DeviceDeleted?.Invoke(device);

    /// <summary>Resets what the board itself holds, after the devices and before the processors.</summary>
    protected virtual void ResetBoard()
    {
    }

    protected abstract void PressPowerButton();

    private void PowerOn()
    {
        lock (Lock)
        {
            if (_started)
                throw new InvalidOperationException("the machine runs already");
            _started = true;
            _threads = new VcpuThreads(Options.Accelerator == AcceleratorKind.Qtest ? [] : Vcpus, Lock, Options.SingleThread, Fail);
            ResetAll(EventReason.None);
            _threads.Start();
            if (!Options.StartPaused)
                Continue();
        }
    }

    private void ResetAll(EventReason reason)
    {
        // A copy: a reset gives away what was about to be unplugged.
        foreach (var device in _devices.ToArray())
            device.Reset();
        ResetBoard();
        foreach (var vcpu in Vcpus)
            vcpu.Reset();
        if (reason != EventReason.None)
            Happened?.Invoke(new MachineEvent(MachineEventKind.Reset, reason));
    }

    private void Stop(RunState state, EventReason reason)
    {
        lock (Lock)
        {
            if (_ended)
                return;
            var ran = State == RunState.Running;
            if (ran)
            {
                _threads!.Pause();
                VirtualClock.Paused = true;
            }

            State = state;
            if (ran)
                Happened?.Invoke(new MachineEvent(MachineEventKind.Stopped, reason));
        }
    }

    private void End(int status, EventReason reason)
    {
        if (_ended)
            return;
        _ended = true;
        ExitStatus = status;
        EndReason = reason;
        _threads?.Pause();
        VirtualClock.Paused = true;
        Loop.Stop();
    }

    private void Fail(Exception e)
    {
        Failure = e;
        Loop.Post(() =>
        {
            State = RunState.InternalError;
            End(1, EventReason.HostError);
        });
    }
}
