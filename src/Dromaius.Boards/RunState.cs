namespace Dromaius.Boards;

/// <summary>What a machine is doing, with the names that monitors show.</summary>
public enum RunState
{
    /// <summary>Made, not started (<c>-S</c>).</summary>
    PreLaunch,
    Running,
    Paused,

    /// <summary>The guest shut down and the emulator stays (<c>-no-shutdown</c>).</summary>
    Shutdown,
    GuestPanicked,

    /// <summary>A disk error stopped it (<c>werror=stop</c>); going on tries the transfer again.</summary>
    IoError,

    /// <summary>An emulator fault stopped it.</summary>
    InternalError,
}

/// <summary>Why a machine ended or was reset.</summary>
public enum EventReason
{
    None,

    /// <summary>A monitor command, or the user closing the emulator.</summary>
    HostRequest,

    /// <summary>A monitor's command to reset.</summary>
    HostReset,

    /// <summary>A signal to the emulator.</summary>
    HostSignal,
    GuestShutdown,
    GuestReset,
    GuestPanic,
    HostError,
}

public enum MachineEventKind
{
    Started,
    Stopped,
    Reset,
    PowerDown,
    Shutdown,
    GuestPanicked,
    GuestCrashLoaded,
}

/// <summary>Something that happened to a machine. Raised under the machine lock.</summary>
public readonly record struct MachineEvent(MachineEventKind Kind, EventReason Reason);
