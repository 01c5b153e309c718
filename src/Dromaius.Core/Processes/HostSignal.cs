using System.Runtime.InteropServices;

namespace Dromaius.Core.Processes;

/// <summary>Signals of the host to this process, for tools that end themselves as a crash would.</summary>
public static partial class HostSignal
{
    public const int Abort = 6;

    /// <summary>Sends a signal to this process.</summary>
    public static void Raise(int number) => _ = kill(Environment.ProcessId, number);

    [LibraryImport("libc")]
    private static partial int kill(int process, int signal);
}
