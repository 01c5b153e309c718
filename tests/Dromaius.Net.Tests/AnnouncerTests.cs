using Dromaius.Core.Time;

namespace Dromaius.Net.Tests;

/// <summary>Rounds of reverse address requests in the adapters' names.</summary>
public sealed class AnnouncerTests
{
    private const long Millisecond = 1_000_000;
    private readonly ManualClock _clock = new();
    private readonly NetworkSet _networks;
    private readonly Wire _first = new("a"), _second = new("b");

    public AnnouncerTests()
    {
        _networks = new NetworkSet(_clock, new Lock());
        _ = _networks.AddNic("one", "e1000", new MacAddress(0x5254_0000_0001), new Adapter(), _first);
        _ = _networks.AddNic("two", "e1000", new MacAddress(0x5254_0000_0002), new Adapter(), _second);
        _networks.IsPaused = false;
    }

    [Fact]
    public void SendsReverseRequestsInGrowingSteps()
    {
        _networks.Announcer.Start("", new AnnounceSchedule { Initial = 50, Step = 100, Max = 200, Rounds = 4 });
        List<int> seen = [_first.Frames.Count];
        foreach (var wait in (ReadOnlySpan<int>)[49, 1, 149, 1, 199, 1, 10_000])
        {
            _clock.Advance(wait * Millisecond);
            seen.Add(_first.Frames.Count);
        }

        Assert.Equal([1, 1, 2, 2, 3, 3, 4, 4], seen);
        Assert.Equal(4, _second.Frames.Count);
        Assert.Equal(
            "FFFFFFFFFFFF5254000000018035" + "0001080006040003" + "52540000000100000000" + "52540000000100000000" + new string('0', 36),
            Convert.ToHexString(_first.Frames[0]));
        Assert.Equal(4, ((Adapter)_networks.Nics[0].Adapter).Announced);
    }

    [Fact]
    public void NamesChooseAdaptersAndSeries()
    {
        _networks.Announcer.Start("x", new AnnounceSchedule { Interfaces = ["two"] });
        Assert.Empty(_first.Frames);
        Assert.Single(_second.Frames);
        _networks.Announcer.Start("x", new AnnounceSchedule { Rounds = 0 });
        _clock.Advance(10_000 * Millisecond);
        Assert.Single(_second.Frames);
    }

    [Theory]
    [InlineData(long.MaxValue, long.MaxValue, long.MaxValue)]
    [InlineData(long.MinValue, long.MinValue, long.MinValue)]
    [InlineData(0, -1, 5)]
    public void ManagesAnyNumbers(long initial, long max, long step)
    {
        _networks.Announcer.Start("", new AnnounceSchedule { Initial = initial, Max = max, Step = step, Rounds = 2 });
        _clock.Advance(100_000_000 * Millisecond);
        Assert.Equal(2, _first.Frames.Count);
    }

    private sealed class Adapter : INetworkAdapter
    {
        public int Announced { get; private set; }

        public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload) => true;

        public void Announce() => Announced++;
    }

    private sealed class Wire(string name) : NetEndpoint(name)
    {
        public override string Kind => "wire";
        public override string Description => "";
        public List<byte[]> Frames { get; } = [];

        protected internal override bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
        {
            Frames.Add(frame.ToArray());
            return true;
        }
    }
}
