using Dromaius.Core.Time;

namespace Dromaius.Core.Chardev;

/// <summary>A new pseudo-terminal; what is written while nobody has it open is dropped.</summary>
public sealed class PtyBackend : CharBackend
{
    private readonly int _master;
    private readonly OutputQueue _queue;

    public PtyBackend(EventLoop loop, string id)
        : base(loop, id)
    {
        (_master, SlavePath) = HostFile.OpenPty();
        _queue = new OutputQueue(IsWritable, bytes => HostFile.WriteAll(_master, bytes), lossless: false);
        StartThread("input", ReadLoop);
    }

    public string SlavePath { get; }

    public override string Description => $"pty:{SlavePath}";

    protected override void Send(ReadOnlySpan<byte> bytes) => _queue.Write(bytes);

    protected override void Close()
    {
        _queue.Dispose();
        HostFile.Close(_master);
    }

    private int IsWritable()
    {
        var events = HostFile.Poll(_master, HostFile.PollOut, 0);
        return (events & HostFile.PollHup) != 0 ? -1 : (events & HostFile.PollOut) != 0 ? 1 : 0;
    }

    private void ReadLoop()
    {
        var buffer = new byte[4096];
        while (!IsDisposed)
        {
            // A master whose slave nobody has open polls as hung up; there is no event to wait for until somebody opens it.
            var events = HostFile.Poll(_master, HostFile.PollIn, 1000);
            if ((events & HostFile.PollHup) != 0)
            {
                PostOpen(false);
                Thread.Sleep(100);
                continue;
            }

            PostOpen(true);
            if ((events & HostFile.PollIn) == 0)
                continue;
            var n = HostFile.Read(_master, buffer);
            if (n > 0)
            {
                _queue.Clear();
                PostInput(buffer.AsMemory(0, n));
            }
        }
    }
}
