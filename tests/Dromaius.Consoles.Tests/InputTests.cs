using Dromaius.Core.Time;

namespace Dromaius.Consoles.Tests;

public sealed class InputTests
{
    private sealed class Recorder(string name, InputKinds kinds) : IInputHandler
    {
        public List<string> Events { get; } = [];
        public string Name => name;
        public InputKinds Kinds => kinds;

        void IInputHandler.Key(int code, bool down) => Events.Add($"{KeyNames.NameOf(code)} {down}");

        void IInputHandler.Button(PointerButton button, bool down) => Events.Add($"{button} {down}");

        void IInputHandler.Move(PointerAxis axis, int delta) => Events.Add($"{axis} {delta:+0;-0}");

        void IInputHandler.MoveTo(PointerAxis axis, int position) => Events.Add($"{axis} {position}");
    }

    private readonly InputRouter _router = new();

    [Fact]
    public void EventsGoToTheLastActivated()
    {
        var mouse = new Recorder("mouse", InputKinds.Button | InputKinds.Relative);
        var tablet = new Recorder("tablet", InputKinds.Button | InputKinds.Absolute);
        _router.Register(mouse);
        _router.Register(tablet);
        _router.Button(PointerButton.Left, true);
        _router.Move(PointerAxis.X, -3);
        _router.MoveTo(PointerAxis.Y, 1 << 20);
        Assert.Equal(["Left True", "X -3"], mouse.Events);
        Assert.Equal(["Y 32767"], tablet.Events);
        Assert.False(_router.IsAbsolute);
        Assert.True(_router.Activate(2));
        Assert.True(_router.IsAbsolute);
        _router.Button(PointerButton.Left, false);
        Assert.Equal("Left False", tablet.Events[^1]);
        Assert.False(_router.Activate(7));
        Assert.False(_router.Takes(InputKinds.Key));
        _router.Unregister(tablet);
        Assert.Single(_router.Pointers);
    }

    [Fact]
    public void KeysAreHeldAndReleasedInReverse()
    {
        var keyboard = new Recorder("keyboard", InputKinds.Key);
        _router.Register(keyboard);
        var clock = new ManualClock();
        var presser = new KeyPresser(_router, clock);
        presser.Press([0x1D, 0x38], 100);
        presser.Press([0x1E], 50);
        Assert.Equal(["ctrl True"], keyboard.Events);
        clock.Advance(99_000_000);
        Assert.Single(keyboard.Events);
        clock.Advance(1_000_000);
        Assert.Equal(["ctrl True", "alt True"], keyboard.Events);
        clock.Advance(300_000_000);
        Assert.Equal(["ctrl True", "alt True", "alt False", "ctrl False", "a True"], keyboard.Events);
        clock.Advance(50_000_000);
        Assert.Equal(["ctrl True", "alt True", "alt False", "ctrl False", "a True", "a False"], keyboard.Events);
    }

    [Fact]
    public void NamesAndNumbers()
    {
        Assert.True(KeyNames.TryParse("kp_enter", out var code));
        Assert.Equal(0xE01C, code);
        Assert.True(KeyNames.TryParse("0x9c", out code));
        Assert.Equal(0xE01C, code);
        Assert.False(KeyNames.TryParse("nokey", out _));
    }
}
