using System.Runtime.InteropServices;
using Dromaius.Core.Errors;

namespace Dromaius.Core.Processes;

/// <summary>
/// <c>-daemonize</c>: the process starts itself again in a session of its own and ends when the new one is ready, with its
/// status. (A managed runtime cannot fork safely, so the new process reads the command line again.)
/// </summary>
public static unsafe partial class Daemon
{
    private const string Variable = "DROMAIUS_DAEMON_PIPE";
    private const short SetSid = 0x80;
    private const int CloseOnExec = 0x80000, ReadWrite = 2;

    /// <summary>True in the process that stays.</summary>
    public static bool IsChild => Environment.GetEnvironmentVariable(Variable) != null;

    /// <summary>Starts the process that stays and gives the status to end with.</summary>
    public static int Start()
    {
        var ends = stackalloc int[2];
        if (pipe2(ends, 0) != 0)
            throw new UserErrorException($"cannot daemonize: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
        SetCloseOnExec(ends[0]);

        using var environment = NativeStrings.OfEnvironment($"{Variable}={ends[1]}");
        using var arguments = new NativeStrings(Environment.GetCommandLineArgs());
        var attributes = (byte*)NativeMemory.AllocZeroed(512);
        _ = posix_spawnattr_init(attributes);
        _ = posix_spawnattr_setflags(attributes, SetSid);
        int pid;
        var error = posix_spawn(&pid, "/proc/self/exe", null, attributes, arguments.Pointer, environment.Pointer);
        if (error != 0)
            throw new UserErrorException($"cannot daemonize: {Marshal.GetPInvokeErrorMessage(error)}");
        _ = close(ends[1]);

        // The child writes one byte when it is ready; without one it ended, and has said why.
        byte ready;
        nint n;
        do
            n = read(ends[0], &ready, 1);
        while (n < 0 && Marshal.GetLastPInvokeError() == 4);
        return n == 1 ? 0 : 1;
    }

    /// <summary>Tells the waiting parent that all is set up, and lets go of its terminal.</summary>
    public static void Ready()
    {
        if (!int.TryParse(Environment.GetEnvironmentVariable(Variable), out var fd))
            return;
        Environment.SetEnvironmentVariable(Variable, null);
        var none = open("/dev/null", ReadWrite | CloseOnExec);
        var copies = CopiesOfTerminal();
        for (var i = 0; i < 3; i++)
            _ = dup2(none, i);
        foreach (var copy in copies)
            _ = dup2(none, copy);
        byte ready = 0;
        _ = write(fd, &ready, 1);
        _ = close(fd);
    }

    /// <summary>
    /// The runtime's own duplicates of the standard descriptors: who reads our output through a pipe waits until the last one is closed.
    /// </summary>
    private static List<int> CopiesOfTerminal()
    {
        const string Folder = "/proc/self/fd/";
        var ends = new HashSet<string>();
        var copies = new List<int>();
        for (var i = 0; i < 3; i++)
        {
            if (Target(Folder + i) is { } target && (target.StartsWith("pipe:", StringComparison.Ordinal) || target.StartsWith("socket:", StringComparison.Ordinal)))
                ends.Add(target);
        }

        foreach (var path in Directory.GetFiles(Folder))
        {
            if (int.TryParse(Path.GetFileName(path), out var fd) && fd > 2 && Target(path) is { } target && ends.Contains(target))
                copies.Add(fd);
        }

        return copies;

        // "pipe:[7]" is no path: the link's text comes with the folder before it.
        static string? Target(string path) => new FileInfo(path).LinkTarget is { } link ? Path.GetFileName(link) : null;
    }

    private static void SetCloseOnExec(int fd) => _ = fcntl(fd, 2, 1);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int pipe2(int* ends, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int posix_spawn(int* pid, string path, void* actions, void* attributes, byte** argv, byte** envp);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_init(void* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setflags(void* attributes, short flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int fd, void* buffer, nuint count);

    [LibraryImport("libc")]
    private static partial nint write(int fd, void* buffer, nuint count);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags);

    [LibraryImport("libc")]
    private static partial int dup2(int from, int to);

    [LibraryImport("libc")]
    private static partial int fcntl(int fd, int command, int argument);

    [LibraryImport("libc")]
    private static partial int close(int fd);
}
