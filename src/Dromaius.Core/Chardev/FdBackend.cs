using Dromaius.Core.Time;

namespace Dromaius.Core.Chardev;

/// <summary>A backend over an input and an output descriptor; either may be missing (-1).</summary>
public abstract class FdBackend : CharBackend
{
    private readonly int _input;
    private readonly int _output;
    private readonly bool _ownsDescriptors;
    private readonly OutputQueue _queue;

    private protected FdBackend(EventLoop loop, string id, int input, int output, bool ownsDescriptors)
        : base(loop, id)
    {
        _input = input;
        _output = output;
        _ownsDescriptors = ownsDescriptors;
        _queue = new OutputQueue(IsWritable, bytes => HostFile.WriteAll(_output, bytes), lossless: true);
    }

    private protected void StartReading()
    {
        PostOpen(true);
        if (_input >= 0)
            StartThread("input", ReadLoop);
    }

    protected override void Send(ReadOnlySpan<byte> bytes)
    {
        if (_output >= 0)
            _queue.Write(bytes);
    }

    protected override void Close()
    {
        _queue.Dispose();
        if (!_ownsDescriptors)
            return;
        HostFile.Close(_output);
        if (_input != _output)
            HostFile.Close(_input);
    }

    private int IsWritable() => (HostFile.Poll(_output, HostFile.PollOut, 0) & HostFile.PollOut) != 0 ? 1 : 0;

    private void ReadLoop()
    {
        var buffer = new byte[4096];
        while (!IsDisposed)
        {
            var n = HostFile.Read(_input, buffer);
            if (n <= 0)
                break;
            PostInput(buffer.AsMemory(0, n));
        }

        PostOpen(false);
    }
}

/// <summary>Standard input and output; a terminal is switched to character mode.</summary>
public sealed class StdioBackend : FdBackend
{
    /// <param name="loop">Where input is handed over.</param>
    /// <param name="id">The chardev's name.</param>
    /// <param name="signals">Ctrl-C signals the process instead of reaching the guest.</param>
    public StdioBackend(EventLoop loop, string id, bool signals)
        : base(loop, id, 0, 1, ownsDescriptors: false)
    {
        TerminalMode.Enter(signals);
        StartReading();
    }

    public override string Description => "stdio";

    protected override void Close()
    {
        base.Close();
        TerminalMode.Restore();
    }
}

/// <summary>A file that gets the output; optionally one that gives the input.</summary>
public sealed class FileBackend : FdBackend
{
    private readonly string _path;

    public FileBackend(EventLoop loop, string id, string path, bool append, string? inputPath = null)
        : base(loop, id, inputPath == null ? -1 : HostFile.Open(inputPath, HostFile.ReadOnly),
            HostFile.Open(path, HostFile.WriteOnly | HostFile.Create | (append ? HostFile.Append : HostFile.Truncate)),
            ownsDescriptors: true)
    {
        _path = path;
        StartReading();
    }

    public override string Description => "file";
}

/// <summary>A pair of named pipes <c>path.in</c> and <c>path.out</c>, or one file for both.</summary>
public sealed class PipeBackend : FdBackend
{
    private readonly string _path;

    private PipeBackend(EventLoop loop, string id, string path, int input, int output)
        : base(loop, id, input, output, ownsDescriptors: true)
    {
        _path = path;
        StartReading();
    }

    public override string Description => "pipe";

    public static PipeBackend Open(EventLoop loop, string id, string path)
    {
        // Read-write, so that opening does not wait for a peer and the peer's end does not end ours.
        var input = HostFile.TryOpen(path + ".in", HostFile.ReadWrite);
        var output = HostFile.TryOpen(path + ".out", HostFile.ReadWrite);
        if (input >= 0 && output >= 0)
            return new PipeBackend(loop, id, path, input, output);
        HostFile.Close(input);
        HostFile.Close(output);
        var both = HostFile.Open(path, HostFile.ReadWrite);
        return new PipeBackend(loop, id, path, both, both);
    }
}

/// <summary>A character device of the host (serial line, terminal) given by path.</summary>
public sealed class DeviceBackend : FdBackend
{
    private readonly string _path;

    private DeviceBackend(EventLoop loop, string id, string path, int fd)
        : base(loop, id, fd, fd, ownsDescriptors: true)
    {
        _path = path;
        StartReading();
    }

    public override string Description => "serial";

    public static DeviceBackend Open(EventLoop loop, string id, string path)
    {
        var fd = HostFile.Open(path, HostFile.ReadWrite | HostFile.NoCtty);
        var settings = new Termios();
        if (Termios.TryGet(fd, ref settings))
        {
            settings.MakeRaw();
            Termios.Set(fd, in settings);
        }

        return new DeviceBackend(loop, id, path, fd);
    }
}
