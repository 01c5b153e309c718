using System.Runtime.InteropServices;

namespace Dromaius.Core.Time;

/// <summary>A wait with a nanosecond time limit that any thread can end early (an eventfd and ppoll).</summary>
internal sealed unsafe partial class WakeSignal
{
    private const int Nonblocking = 0x800, CloseOnExec = 0x80000;
    private const short PollIn = 1;
    private readonly int _fd = eventfd(0, Nonblocking | CloseOnExec);

    public void Set()
    {
        var one = 1UL;
        _ = write(_fd, &one, 8);
    }

    /// <summary>Waits until set or the time is over; negative: no limit. Takes the signal.</summary>
    public void Wait(long nanoseconds)
    {
        var poll = new PollFd { Fd = _fd, Events = PollIn };
        var time = new TimeSpec { Seconds = nanoseconds / 1_000_000_000, Nanoseconds = nanoseconds % 1_000_000_000 };
        if (ppoll(&poll, 1, nanoseconds < 0 ? null : &time, null) > 0)
        {
            var count = 0UL;
            _ = read(_fd, &count, 8);
        }
    }

    ~WakeSignal() => _ = close(_fd);

    private struct PollFd
    {
        public int Fd;
        public short Events, Returned;
    }

    private struct TimeSpec
    {
        public long Seconds, Nanoseconds;
    }

    [LibraryImport("libc")]
    private static partial int eventfd(uint value, int flags);

    [LibraryImport("libc")]
    private static partial nint write(int fd, void* data, nuint size);

    [LibraryImport("libc")]
    private static partial nint read(int fd, void* data, nuint size);

    [LibraryImport("libc")]
    private static partial int close(int fd);

    [LibraryImport("libc")]
    private static partial int ppoll(PollFd* fds, nuint count, TimeSpec* time, void* signals);
}
