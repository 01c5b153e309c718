using System.Runtime.InteropServices;
using Dromaius.Core.Errors;
using Dromaius.Core.Storage;

namespace Dromaius.Core.Chardev;

/// <summary>POSIX descriptors as the character backends need them (open, poll, read, write, pseudo-terminals).</summary>
internal static unsafe partial class HostFile
{
    public const int ReadOnly = 0, WriteOnly = 1, ReadWrite = 2;
    public const int Create = 0x40, Truncate = 0x200, Append = 0x400, NoCtty = 0x100, CloseOnExec = 0x80000;
    public const int NonBlocking = 0x800;
    public const short PollIn = 1, PollOut = 4, PollErr = 8, PollHup = 0x10;

    private const int Eintr = 4, Eagain = 11;

    /// <summary>The words of strerror(3) for what failed last.</summary>
    public static string LastError => Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError());

    /// <summary>Opens a file, or throws what the user should read.</summary>
    public static int Open(string path, int flags)
    {
        var fd = TryOpen(path, flags);
        if (fd < 0)
            throw new UserErrorException($"Could not open '{path}': {LastError}");
        return fd;
    }

    public static int TryOpen(string path, int flags)
    {
        if (DescriptorSets.TryOpen(path, flags, out var fd))
            return fd;
        do
            fd = open(path, flags | CloseOnExec, 0x1B6);
        while (fd < 0 && Marshal.GetLastPInvokeError() == Eintr);
        return fd;
    }

    /// <summary>Bytes read; 0 at the end; negative on an error.</summary>
    public static int Read(int fd, Span<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            while (true)
            {
                var n = (int)read(fd, p, (nuint)buffer.Length);
                if (n >= 0)
                    return n;
                var error = Marshal.GetLastPInvokeError();
                if (error == Eagain)
                    _ = Poll(fd, PollIn, -1);
                else if (error != Eintr)
                    return -1;
            }
        }
    }

    /// <summary>Writes everything, waiting as long as it takes; false on an error.</summary>
    public static bool WriteAll(int fd, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var n = WriteOnce(fd, bytes);
            if (n < 0)
                return false;
            if (n == 0)
                _ = Poll(fd, PollOut, -1);
            bytes = bytes[n..];
        }

        return true;
    }

    /// <summary>Bytes written; 0 when it would block; negative on an error.</summary>
    public static int WriteOnce(int fd, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* p = bytes)
        {
            while (true)
            {
                var n = (int)write(fd, p, (nuint)bytes.Length);
                if (n >= 0)
                    return n;
                var error = Marshal.GetLastPInvokeError();
                if (error == Eagain)
                    return 0;
                if (error != Eintr)
                    return -1;
            }
        }
    }

    /// <summary>Events that are true now or within the time; 0 when none.</summary>
    public static short Poll(int fd, short events, int milliseconds)
    {
        var p = new PollFd { Fd = fd, Events = events };
        return poll(&p, 1, milliseconds) > 0 ? p.Returned : (short)0;
    }

    public static void Close(int fd)
    {
        if (fd >= 0)
            _ = close(fd);
    }

    public static bool IsTerminal(int fd) => isatty(fd) == 1;

    /// <summary>A new pseudo-terminal in raw mode: the master and the slave's path.</summary>
    public static (int Master, string SlavePath) OpenPty()
    {
        var master = posix_openpt(ReadWrite | NoCtty | CloseOnExec);
        var name = stackalloc byte[128];
        if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0 || ptsname_r(master, name, 128) != 0)
            throw new UserErrorException($"Failed to create PTY: {LastError}");
        var path = Marshal.PtrToStringUTF8((nint)name)!;

        var slave = Open(path, ReadWrite | NoCtty);
        var settings = new Termios();
        if (Termios.TryGet(slave, ref settings))
        {
            settings.MakeRaw();
            Termios.Set(slave, in settings);
        }

        Close(slave);
        return (master, path);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags, int mode);

    [LibraryImport("libc")]
    private static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int poll(PollFd* fds, nuint count, int timeout);

    [LibraryImport("libc")]
    private static partial int isatty(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int posix_openpt(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int grantpt(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int unlockpt(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ptsname_r(int fd, byte* buffer, nuint length);
}
