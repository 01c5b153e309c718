namespace Dromaius.Block;

/// <summary>
/// Threads for calls that wait for the host's disks. They are started when all others are busy, and end after a while without work.
/// </summary>
public static class IoThreads
{
    private const int MaxThreads = 64, IdleMilliseconds = 10_000;
    private static readonly object Gate = new();
    private static readonly Queue<Action> Work = new();
    private static int s_threads, s_idle;

    /// <summary>Runs an action on one of them, soon.</summary>
    public static void Run(Action action)
    {
        lock (Gate)
        {
            Work.Enqueue(action);
            // A thread that was woken counts as idle until it runs: what is waiting counts against it.
            if (s_idle >= Work.Count)
            {
                Monitor.Pulse(Gate);
                return;
            }

            if (s_threads == MaxThreads)
                return;
            s_threads++;
        }

        new Thread(Serve, 512 << 10) { IsBackground = true, Name = "block I/O" }.Start();
    }

    private static void Serve()
    {
        while (Next() is { } action)
            action();
    }

    /// <summary>The next action; null when there was none for long.</summary>
    private static Action? Next()
    {
        lock (Gate)
        {
            while (true)
            {
                if (Work.TryDequeue(out var action))
                    return action;
                s_idle++;
                var woken = Monitor.Wait(Gate, IdleMilliseconds);
                s_idle--;
                if (woken || Work.Count > 0)
                    continue;
                s_threads--;
                return null;
            }
        }
    }
}
