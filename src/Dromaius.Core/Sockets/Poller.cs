using System.Runtime.InteropServices;

namespace Dromaius.Core.Sockets;

/// <summary>What a descriptor is ready for.</summary>
[Flags]
public enum PollEvents
{
    None = 0,
    Readable = 1,
    Writable = 4,
    Error = 8,
    HangUp = 0x10,
}

/// <summary>
/// Waits for many descriptors at once, told of changes only (edge-triggered epoll), and can be woken from any thread. One thread
/// waits.
/// </summary>
public sealed unsafe partial class Poller : IDisposable
{
    private const int Add = 1, Delete = 2, CloseOnExec = 0x80000, NonBlocking = 0x800, MaxEvents = 64;
    private const uint In = 1, Out = 4, EdgeTriggered = 1u << 31;
    private const ulong WakeTag = ulong.MaxValue;

    private readonly int _epoll = epoll_create1(CloseOnExec);
    private readonly int _wake = eventfd(0, NonBlocking | CloseOnExec);
    private readonly Event[] _events = new Event[MaxEvents];
    private readonly Lock _closing = new();
    private int _signalled;
    private bool _disposed;

    public Poller()
    {
        var e = new Event { Events = In, Tag = WakeTag };
        _ = epoll_ctl(_epoll, Add, _wake, &e);
    }

    /// <summary>Watches a descriptor until it is closed.</summary>
    /// <param name="fd">The descriptor.</param>
    /// <param name="tag">What <see cref="Wait"/> names it by; not all ones.</param>
    public bool Watch(int fd, ulong tag)
    {
        var e = new Event { Events = In | Out | EdgeTriggered, Tag = tag };
        return epoll_ctl(_epoll, Add, fd, &e) == 0;
    }

    /// <summary>Ends watching a descriptor that stays open.</summary>
    public void Unwatch(int fd)
    {
        var e = default(Event);
        _ = epoll_ctl(_epoll, Delete, fd, &e);
    }

    /// <summary>Ends a wait, or the next one.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref _signalled, 1) != 0)
            return;
        var one = 1UL;
        // The number of a closed descriptor may be another file's by now.
        lock (_closing)
        {
            if (!_disposed)
                _ = write(_wake, &one, 8);
        }
    }

    /// <summary>Waits until something is ready, the time is over (negative: no limit) or <see cref="Wake"/> is called.</summary>
    /// <returns>How many there are for <see cref="this[int]"/>.</returns>
    public int Wait(int milliseconds)
    {
        int n;
        fixed (Event* events = _events)
            n = epoll_wait(_epoll, events, MaxEvents, milliseconds);
        var kept = 0;
        for (var i = 0; i < n; i++)
        {
            if (_events[i].Tag != WakeTag)
            {
                _events[kept++] = _events[i];
                continue;
            }

            var count = 0UL;
            _ = read(_wake, &count, 8);
            Volatile.Write(ref _signalled, 0);
        }

        return kept;
    }

    /// <summary>A ready descriptor of the last wait.</summary>
    public (ulong Tag, PollEvents Events) this[int index] => (_events[index].Tag, (PollEvents)_events[index].Events);

    public void Dispose()
    {
        lock (_closing)
        {
            if (_disposed)
                return;
            _disposed = true;
            HostSocket.Close(_epoll);
            HostSocket.Close(_wake);
        }
    }

    // The kernel's structure is packed on x86-64 only.
    [StructLayout(LayoutKind.Explicit, Size = 12)]
    private struct Event
    {
        [FieldOffset(0)]
        public uint Events;
        [FieldOffset(4)]
        public uint TagLow;
        [FieldOffset(8)]
        public uint TagHigh;

        public ulong Tag
        {
            readonly get => TagLow | ((ulong)TagHigh << 32);
            set => (TagLow, TagHigh) = ((uint)value, (uint)(value >> 32));
        }
    }

    [LibraryImport("libc")]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc")]
    private static partial int epoll_ctl(int epoll, int operation, int fd, Event* e);

    [LibraryImport("libc")]
    private static partial int epoll_wait(int epoll, Event* events, int count, int milliseconds);

    [LibraryImport("libc")]
    private static partial int eventfd(uint value, int flags);

    [LibraryImport("libc")]
    private static partial nint write(int fd, void* data, nuint size);

    [LibraryImport("libc")]
    private static partial nint read(int fd, void* data, nuint size);
}
