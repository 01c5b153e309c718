using System.Runtime.InteropServices;

namespace Dromaius.Core.Processes;

/// <summary>Starts programs of the host that talk over a socket, as inetd does. (A managed runtime cannot hand a descriptor to a child.)</summary>
public static unsafe partial class SocketProgram
{
    private const short SetDefaultSignals = 0x04, SetSignalMask = 0x08, SetSid = 0x80;
    private const int StandardInput = 0, StandardOutput = 1, SignalSetSize = 128, OpaqueSize = 512;

    /// <summary>Starts a program whose standard input and output are the descriptor, which stays open here; false if there is no such program.</summary>
    public static bool Start(IReadOnlyList<string> words, int descriptor)
    {
        // Sizes beyond those of the C library's structures.
        var attributes = stackalloc byte[OpaqueSize];
        var actions = stackalloc byte[OpaqueSize];
        var signals = stackalloc byte[SignalSetSize];
        _ = posix_spawnattr_init(attributes);
        _ = posix_spawn_file_actions_init(actions);
        _ = posix_spawnattr_setflags(attributes, SetDefaultSignals | SetSignalMask | SetSid);
        // The runtime ignores some signals; the program is not to inherit that.
        new Span<byte>(signals, SignalSetSize).Clear();
        _ = posix_spawnattr_setsigmask(attributes, signals);
        new Span<byte>(signals, SignalSetSize).Fill(0xFF);
        _ = posix_spawnattr_setsigdefault(attributes, signals);
        _ = posix_spawn_file_actions_adddup2(actions, descriptor, StandardInput);
        _ = posix_spawn_file_actions_adddup2(actions, descriptor, StandardOutput);

        using var arguments = new NativeStrings(words);
        using var environment = NativeStrings.OfEnvironment();
        int pid;
        var error = posix_spawnp(&pid, words[0], actions, attributes, arguments.Pointer, environment.Pointer);
        _ = posix_spawn_file_actions_destroy(actions);
        _ = posix_spawnattr_destroy(attributes);
        if (error != 0)
            return false;
        var child = pid;
        new Thread(() => Reap(child), 64 << 10) { IsBackground = true, Name = "reaper" }.Start();
        return true;
    }

    /// <summary>Waits for the end, so that no dead process stays behind.</summary>
    private static void Reap(int pid)
    {
        const int Interrupted = 4;
        while (waitpid(pid, null, 0) < 0 && Marshal.GetLastPInvokeError() == Interrupted)
        {
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int posix_spawnp(int* pid, string file, void* actions, void* attributes, byte** argv, byte** envp);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_init(void* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_destroy(void* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setflags(void* attributes, short flags);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setsigmask(void* attributes, void* signals);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setsigdefault(void* attributes, void* signals);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_init(void* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_destroy(void* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_adddup2(void* actions, int from, int to);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int waitpid(int pid, int* status, int options);
}
