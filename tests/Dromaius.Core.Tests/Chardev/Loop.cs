using System.Text;
using Dromaius.Core.Chardev;
using Dromaius.Core.Time;

namespace Dromaius.Core.Tests.Chardev;

/// <summary>An event loop on a thread of its own, and a factory over it.</summary>
internal sealed class Loop : IDisposable
{
    private readonly Thread _thread;

    public Loop()
    {
        EventLoop = new EventLoop(new Lock());
        Factory = new CharBackendFactory(EventLoop, () => Terminated = true, Notices.Add, Prints.Add);
        _thread = new Thread(EventLoop.Run) { IsBackground = true };
        _thread.Start();
    }

    public EventLoop EventLoop { get; }
    public CharBackendFactory Factory { get; }
    public List<string> Notices { get; } = [];
    public List<string> Prints { get; } = [];
    public bool Terminated { get; private set; }

    public ICharBackend Open(string spec) => Factory.Open(spec, "test0", out _)!;

    public void Dispose()
    {
        Factory.Dispose();
        EventLoop.Stop();
        _thread.Join();
    }

    public static void Until(Func<bool> condition)
    {
        for (var i = 0; i < 500 && !condition(); i++)
            Thread.Sleep(10);
        Assert.True(condition());
    }
}

/// <summary>Takes what comes, a limited number of bytes at a time.</summary>
internal sealed class Sink : ICharSink
{
    private readonly StringBuilder _text = new();

    public int Room { get; set; } = 1000;
    public List<CharEvent> Events { get; } = [];
    public int CanReceive => Room;

    public string Text
    {
        get
        {
            lock (_text)
                return _text.ToString();
        }
    }

    public void Receive(ReadOnlySpan<byte> bytes)
    {
        Assert.True(bytes.Length <= Room);
        lock (_text)
            _text.Append(Encoding.Latin1.GetString(bytes));
        Room -= bytes.Length;
    }

    public void OnEvent(CharEvent e)
    {
        lock (_text)
            Events.Add(e);
    }

    public bool Saw(CharEvent e)
    {
        lock (_text)
            return Events.Contains(e);
    }
}
