using System.Text;
using Dromaius.Core.Chardev;
using Dromaius.Core.Time;

namespace Dromaius.Core.Tests.Chardev;

public sealed class MuxTests
{
    private sealed class Terminal : ICharBackend
    {
        public StringBuilder Shown { get; } = new();
        public string Id => "terminal";
        public ICharSink? Sink { get; set; }

        public void Write(ReadOnlySpan<byte> bytes) => Shown.Append(Encoding.Latin1.GetString(bytes));

        public void AcceptInput()
        {
        }

        public void Dispose()
        {
        }

        public void Type(string text) => Sink!.Receive(Encoding.Latin1.GetBytes(text));
    }

    private readonly Terminal _terminal = new();
    private readonly EventLoop _loop = new(new Lock());
    private readonly Sink _first = new(), _second = new();
    private bool _terminated;

    public MuxTests()
    {
        var mux = new MuxBackend(_loop, _terminal, 1, () => _terminated = true);
        var (a, b) = (mux.CreateFrontend(), mux.CreateFrontend());
        _ = mux.CreateFrontend();
        b.Sink = _second;
        a.Sink = _first;
        _loop.RunDue();
    }

    [Fact]
    public void LastUserHasTheInputUntilItIsSwitched()
    {
        _terminal.Type("one\u0001ctwo\u0001cthree");
        Assert.Equal("two", _first.Text);
        Assert.Equal("onethree", _second.Text);
        Assert.Equal([CharEvent.FocusOut, CharEvent.FocusIn, CharEvent.FocusOut], _first.Events);
    }

    [Fact]
    public void EscapeCommands()
    {
        _terminal.Type("\u0001\u0001\u0001b\u0001h\u0001x");
        Assert.Equal("\u0001", _second.Text);
        Assert.Contains(CharEvent.Break, _second.Events);
        Assert.Contains("C-a x    exit emulator", _terminal.Shown.ToString());
        Assert.True(_terminated);
    }

    [Fact]
    public void EscapeWorksWhileTheGuestDoesNotRead()
    {
        _second.Room = 0;
        _terminal.Type("ignored\u0001x");
        Assert.True(_terminated);
        Assert.Equal("", _second.Text);
    }
}
