using System.Text;
using Dromaius.Core.Time;

namespace Dromaius.Core.Chardev;

/// <summary>
/// One backend shared by several users (<c>mux=on</c>, <c>mon:</c>): everybody writes, one of them has the input. The escape
/// character, Ctrl-A, begins a command: x ends the emulator, c gives the input to the next user, b sends a break, t prints
/// times before lines, h shows help, Ctrl-A sends itself.
/// </summary>
public sealed class MuxBackend : ICharSink, IDisposable
{
    private const byte Escape = 1;
    private const int QueueSize = 4096;

    private readonly ICharBackend _under;
    private readonly EventLoop _loop;
    private readonly Action _terminate;
    private readonly List<Frontend> _frontends = [];
    private int _focus;
    private bool _escaped;
    private bool _timestamps;
    private bool _atLineStart = true;
    private readonly long _started = Environment.TickCount64;

    public MuxBackend(EventLoop loop, ICharBackend under, Action terminate)
    {
        _loop = loop;
        _under = under;
        _terminate = terminate;
        under.Sink = this;
    }

    public string Id => _under.Id;

    /// <summary>The shared backend.</summary>
    public ICharBackend Under => _under;

    /// <summary>A further user; the last one that was made has the input first.</summary>
    public ICharBackend CreateFrontend()
    {
        var frontend = new Frontend(this);
        _frontends.Add(frontend);
        SetFocus(_frontends.Count - 1);
        return frontend;
    }

    /// <summary>Gives the input to a user.</summary>
    public void SetFocus(ICharBackend frontend) => SetFocus(_frontends.IndexOf((Frontend)frontend));

    public int CanReceive => _frontends.Count == 0 ? 0 : _frontends[_focus].Room;

    public void Receive(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
        {
            if (_escaped)
            {
                _escaped = false;
                Command(b);
            }
            else if (b == Escape)
                _escaped = true;
            else
                _frontends[_focus].Enqueue(b);
        }

        _frontends[_focus].Deliver();
    }

    public void OnEvent(CharEvent e)
    {
        foreach (var frontend in _frontends)
            frontend.Sink?.OnEvent(e);
    }

    public void Dispose() => _under.Dispose();

    private void SetFocus(int index)
    {
        if (index < 0)
            return;
        var old = _focus;
        _focus = index;
        if (old != index)
            _frontends[old].Sink?.OnEvent(CharEvent.FocusOut);
        _frontends[index].Sink?.OnEvent(CharEvent.FocusIn);
        _under.AcceptInput();
    }

    private void Command(byte key)
    {
        switch (key)
        {
            case (byte)'x':
                _under.Write("Dromaius: Terminated\n\r"u8);
                _terminate();
                break;
            case (byte)'c':
                SetFocus((_focus + 1) % _frontends.Count);
                break;
            case (byte)'b':
                _frontends[_focus].Sink?.OnEvent(CharEvent.Break);
                break;
            case (byte)'t':
                _timestamps = !_timestamps;
                _atLineStart = false;
                break;
            case (byte)'s':
                break; // saves disk data where there are disks that hold any back
            case (byte)'h' or (byte)'?':
                _under.Write("\n\rC-a h    print this help\n\rC-a x    exit emulator\n\rC-a s    save disk data back to file (if -snapshot)\n\r"u8);
                _under.Write("C-a t    toggle console timestamps\n\rC-a b    send break (magic sysrq)\n\rC-a c    switch between console and monitor\n\rC-a C-a  sends C-a\n\r"u8);
                break;
            case Escape:
                _frontends[_focus].Enqueue(Escape);
                break;
        }
    }

    private void WriteOut(ReadOnlySpan<byte> bytes)
    {
        if (!_timestamps)
        {
            _under.Write(bytes);
            return;
        }

        Span<byte> one = stackalloc byte[1];
        foreach (var b in bytes)
        {
            if (_atLineStart)
            {
                var time = TimeSpan.FromMilliseconds(Environment.TickCount64 - _started);
                _under.Write(Encoding.ASCII.GetBytes($"[{(int)time.TotalHours:00}:{time.Minutes:00}:{time.Seconds:00}.{time.Milliseconds:000}] "));
            }

            one[0] = b;
            _under.Write(one);
            _atLineStart = b == (byte)'\n';
        }
    }

    private sealed class Frontend(MuxBackend mux) : ICharBackend
    {
        private readonly byte[] _queue = new byte[QueueSize];
        private int _head;
        private int _count;
        private ICharSink? _sink;

        public string Id => mux.Id;

        public int Room => QueueSize - _count;

        public ICharSink? Sink
        {
            get => _sink;
            set
            {
                _sink = value;
                if (value == null)
                    return;
                value.OnEvent(mux._frontends[mux._focus] == this ? CharEvent.FocusIn : CharEvent.FocusOut);
                AcceptInput();
            }
        }

        public void Write(ReadOnlySpan<byte> bytes) => mux.WriteOut(bytes);

        public void AcceptInput()
        {
            if (_count > 0)
                mux._loop.Post(Deliver);
            mux._under.AcceptInput();
        }

        public void Enqueue(byte b)
        {
            if (_count == QueueSize)
                return;
            _queue[(_head + _count) % QueueSize] = b;
            _count++;
        }

        public void Deliver()
        {
            while (_count > 0 && _sink is { } sink)
            {
                var n = Math.Min(Math.Min(sink.CanReceive, _count), QueueSize - _head);
                if (n <= 0)
                    break;
                var from = _head;
                _head = (_head + n) % QueueSize;
                _count -= n;
                sink.Receive(_queue.AsSpan(from, n));
            }

            mux._under.AcceptInput();
        }

        public void Dispose()
        {
        }
    }
}
