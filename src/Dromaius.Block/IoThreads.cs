using System.Collections.Concurrent;

namespace Dromaius.Block;

/// <summary>
/// Threads for calls that wait for the host's disks. They are started when all others are busy, and end after a while without work.
/// </summary>
public static class IoThreads
{
    private const int MaxThreads = 64;
    private static readonly BlockingCollection<Action> Work = [];
    private static int s_threads, s_busy;

    /// <summary>Runs an action on one of them, soon.</summary>
    public static void Run(Action action)
    {
        // A thread that is about to wait counts as free; at worst one too many is started.
        var queued = Interlocked.Increment(ref s_busy);
        Work.Add(action);
        if (queued > Volatile.Read(ref s_threads) && Volatile.Read(ref s_threads) < MaxThreads)
        {
            _ = Interlocked.Increment(ref s_threads);
            new Thread(Serve, 512 << 10) { IsBackground = true, Name = "block I/O" }.Start();
        }
    }

    private static void Serve()
    {
        while (true)
        {
            while (Work.TryTake(out var action, 10_000))
            {
                try
                {
                    action();
                }
                finally
                {
                    _ = Interlocked.Decrement(ref s_busy);
                }
            }

            _ = Interlocked.Decrement(ref s_threads);
            // Work that came in between must not wait for the next.
            if (Work.Count == 0)
                return;
            _ = Interlocked.Increment(ref s_threads);
        }
    }
}
