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
    private const int QueueSize = 4096;

    private readonly byte _escape;
    private readonly ICharBackend _under;
    private readonly EventLoop _loop;
    private readonly Action _terminate;
    private readonly List<Frontend> _frontends = [];
    private int _focus;
    private bool _escaped;
    private bool _timestamps;
    private bool _atLineStart = true;
    private readonly long _started = Environment.TickCount64;

    /// <param name="loop">Where events are told.</param>
    /// <param name="under">The shared backend.</param>
    /// <param name="escape">The escape character, 1 for Ctrl-A; 0 for none.</param>
    /// <param name="terminate">Ends the emulator.</param>
    public MuxBackend(EventLoop loop, ICharBackend under, byte escape, Action terminate)
    {
        _escape = escape;
        _loop = loop;
        _under = under;
        _terminate = terminate;
        under.Sink = this;
    }

    public string Id => _under.Id;

    /// <summary>The shared backend.</summary>
    public ICharBackend Under => _under;

    /// <summary>A further user; the last one that gets a sink has the input first.</summary>
    public ICharBackend CreateFrontend()
    {
        var frontend = new Frontend(this);
        _frontends.Add(frontend);
        return frontend;
    }

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
            else if (b == _escape && b != 0)
                _escaped = true;
            else
                _frontends[_focus].Enqueue(b);
        }

        foreach (var frontend in _frontends)
            frontend.Deliver();
    }

    public void OnEvent(CharEvent e)
    {
        if (e == CharEvent.Closed)
        {
            foreach (var frontend in _frontends)
                frontend.Sink?.OnEvent(e);
        }
        else if (_frontends.Count > 0)
            _frontends[_focus].Sink?.OnEvent(e);
    }

    public void Dispose() => _under.Dispose();

    private void SetFocus(int index)
    {
        var old = _focus;
        _focus = index;
        if (old != index)
            _frontends[old].Sink?.OnEvent(CharEvent.FocusOut);
        _frontends[index].Sink?.OnEvent(CharEvent.FocusIn);
        _under.AcceptInput();
    }

    /// <summary>The next user that has a sink; the present one when there is no other.</summary>
    private int Next()
    {
        for (var i = 1; i < _frontends.Count; i++)
        {
            var index = (_focus + i) % _frontends.Count;
            if (_frontends[index].Sink != null)
                return index;
        }

        return _focus;
    }

    private void Command(byte key)
    {
        if (key == _escape)
        {
            _frontends[_focus].Enqueue(key);
            return;
        }

        switch (key)
        {
            case (byte)'x':
                _under.Write("Dromaius: Terminated\n\r"u8);
                _terminate();
                break;
            case (byte)'c':
                SetFocus(Next());
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
                var index = mux._frontends.IndexOf(this);
                if (index > mux._focus || mux._frontends[mux._focus].Sink == null)
                    mux._focus = index;
                mux._loop.Post(() => value.OnEvent(mux._frontends[mux._focus] == this ? CharEvent.FocusIn : CharEvent.FocusOut));
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
