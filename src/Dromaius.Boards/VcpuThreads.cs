using Dromaius.Core.Cpus;
using Dromaius.Core.Processes;

namespace Dromaius.Boards;

/// <summary>
/// The threads that run processors: one each, or one for all in turn. They run between <see cref="Resume"/> and
/// <see cref="Pause"/>; paused, every one is parked outside guest code.
/// </summary>
internal sealed class VcpuThreads
{
    /// <summary>How long a processor keeps the shared thread while others wait for it, in milliseconds.</summary>
    private const int Slice = 5;

    private readonly IReadOnlyList<IVcpuRunner> _runners;
    private readonly Lock _machineLock;
    private readonly Action<Exception> _failed;
    private readonly object _gate = new();
    private readonly List<Thread> _threads = [];
    private readonly bool _single;
    private volatile bool _running;
    private volatile bool _quit;
    private volatile int _turn;
    private readonly int[] _threadIds;
    private int _parked;

    /// <param name="runners">The processors.</param>
    /// <param name="machineLock">Given up while waiting for the threads: they may need it to come to rest.</param>
    /// <param name="single">One thread for all.</param>
    /// <param name="failed">Told of an exception that ended a thread.</param>
    public VcpuThreads(IReadOnlyList<IVcpuRunner> runners, Lock machineLock, bool single, Action<Exception> failed)
    {
        _runners = runners;
        _machineLock = machineLock;
        _failed = failed;
        _single = single && runners.Count > 1;
        _threadIds = new int[runners.Count];
    }

    public bool IsRunning => _running;

    /// <summary>The host's thread that runs a processor; 0 before it runs.</summary>
    public int ThreadOf(int index)
    {
        lock (_gate)
        {
            if (index >= _threadIds.Length)
                return 0;
            while (_threads.Count > 0 && _threadIds[index] == 0)
                Monitor.Wait(_gate);
            return _threadIds[index];
        }
    }

    private void NoteThread(int first, int count)
    {
        lock (_gate)
        {
            _threadIds.AsSpan(first, count).Fill(HostThread.Id);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Makes the threads; they wait for <see cref="Resume"/>.</summary>
    public void Start()
    {
        // Deep guest-to-helper recursion does not happen; a modest stack keeps many processors cheap.
        const int StackSize = 4 << 20;
        if (_single)
            _threads.Add(new Thread(RunAll, StackSize) { IsBackground = true, Name = "CPUs/TCG" });
        else
        {
            foreach (var runner in _runners)
            {
                _threads.Add(new Thread(() => RunOne(runner), StackSize)
                {
                    IsBackground = true, Name = $"CPU {runner.Cpu.Index}/TCG",
                });
            }
        }

        foreach (var thread in _threads)
            thread.Start();
    }

    public void Resume()
    {
        lock (_gate)
        {
            _running = true;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Asks the threads to stop, without waiting; callable from one of them.</summary>
    public void RequestPause()
    {
        lock (_gate)
            _running = false;
        foreach (var runner in _runners)
            runner.Kick();
    }

    /// <summary>Stops the threads and waits until all are parked. Not to be called from one of them.</summary>
    public void Pause()
    {
        RequestPause();
        if (_threads.Count == 0)
            return;
        var depth = 0;
        while (_machineLock.IsHeldByCurrentThread)
        {
            _machineLock.Exit();
            depth++;
        }

        lock (_gate)
        {
            while (_parked < _threads.Count)
            {
                if (Monitor.Wait(_gate, 100) || _parked >= _threads.Count)
                    continue;
                // A kick that came just before a processor went to wait is given again.
                foreach (var runner in _runners)
                    runner.Kick();
            }
        }

        while (depth-- > 0)
            _machineLock.Enter();
    }

    /// <summary>Ends the threads.</summary>
    public void Stop()
    {
        Pause();
        lock (_gate)
        {
            _quit = true;
            Monitor.PulseAll(_gate);
        }

        foreach (var thread in _threads)
            thread.Join();
        _threads.Clear();
    }

    private void RunOne(IVcpuRunner runner)
    {
        CurrentVcpu.Index = runner.Cpu.Index;
        NoteThread(runner.Cpu.Index, 1);
        try
        {
            while (Park())
            {
                while (_running)
                {
                    if (!runner.Run() && _running)
                        runner.Wait(-1);
                }
            }
        }
        catch (Exception e)
        {
            Fail(e);
        }
    }

    private void RunAll()
    {
        NoteThread(0, _runners.Count);
        using var timer = new System.Threading.Timer(_ => _runners[_turn].Kick(), null, Slice, Slice);
        try
        {
            while (Park())
            {
                while (_running)
                {
                    // Reset before they run: what comes from then on ends the wait below.
                    foreach (var runner in _runners)
                        runner.WakeEvent.Reset();
                    var busy = false;
                    for (var i = 0; i < _runners.Count && _running; i++)
                    {
                        _turn = i;
                        CurrentVcpu.Index = i;
                        busy |= _runners[i].Run();
                    }

                    if (!busy && _running)
                        WaitForAny();
                }
            }
        }
        catch (Exception e)
        {
            Fail(e);
        }
    }

    /// <summary>All halted: waits until one of them is woken.</summary>
    private void WaitForAny()
    {
        // The host waits for at most 64 things at once.
        const int Most = 64;
        if (_runners.Count <= Most)
            _ = WaitHandle.WaitAny([.. _runners.Select(static r => r.WakeEvent.WaitHandle)]);
        else
            _runners[0].Wait(1);
    }

    /// <summary>Waits to run; false to end.</summary>
    private bool Park()
    {
        lock (_gate)
        {
            _parked++;
            Monitor.PulseAll(_gate);
            while (!_running && !_quit)
                Monitor.Wait(_gate);
            _parked--;
            return !_quit;
        }
    }

    /// <summary>A thread ended by a fault of ours counts as parked for good.</summary>
    private void Fail(Exception e)
    {
        lock (_gate)
        {
            _parked++;
            Monitor.PulseAll(_gate);
        }

        _failed(e);
    }
}
